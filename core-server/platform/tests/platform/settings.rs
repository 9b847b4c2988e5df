//! Settings of plugins: versioned records, of which each version of a plugin finds its own.

use std::sync::Arc;

use checkstack_platform::plugin::{Setting, SettingsError, SettingsStore};

use crate::instance::Instance;
use crate::packages::package;
use crate::postgres::execute;

async fn stores(instance: &Instance) -> (Arc<dyn SettingsStore>, Arc<dyn SettingsStore>) {
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("one", &[]), &package("two", &[])]).await;
    let store = |plugin| instance.scripts.services(plugin).settings.unwrap();
    (store("one"), store("two"))
}

/// Version and data of what is found.
async fn found(store: &Arc<dyn SettingsStore>, version: u32) -> Option<(u32, String)> {
    store.get("mood", version).await.unwrap().map(|setting| (setting.version, setting.data))
}

fn of(version: u32, data: &str) -> Option<(u32, String)> {
    Some((version, data.to_owned()))
}

#[tokio::test]
async fn each_version_finds_its_own_record_or_the_one_before() {
    let instance = Instance::new().await;
    let (one, two) = stores(&instance).await;
    assert_eq!(found(&one, 3).await, None);
    one.set("mood", 1, r#"{"calm": true}"#.into()).await.unwrap();
    assert_eq!(found(&one, 1).await, of(1, r#"{"calm": true}"#));
    assert_eq!(found(&two, 1).await, None, "another plugin's");

    // A newer version of the plugin finds it, and keeps what it makes of it beside.
    let source = one.get("mood", 3).await.unwrap().unwrap();
    assert_eq!((source.version, source.original_version, source.migrated_at), (1, None, None));
    let migrated = one.migrate("mood", source.clone(), 3, "[3]".into()).await.unwrap().unwrap();
    assert_eq!((migrated.version, migrated.data.as_str(), migrated.original_version), (3, "[3]", Some(1)));
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
        - i64::try_from(migrated.migrated_at.unwrap()).unwrap();
    assert!(age.abs() < 60_000_000, "{age} us");
    assert_eq!((found(&one, 1).await, found(&one, 2).await), (of(1, r#"{"calm": true}"#), of(1, r#"{"calm": true}"#)));

    // It is put back: the older one goes on with its own, and what it writes counts from then on.
    one.set("mood", 3, "[4]".into()).await.unwrap();
    assert_eq!((found(&one, 1).await, found(&one, 3).await), (of(1, r#"{"calm": true}"#), of(3, "[4]")));
    one.set("mood", 1, "1".into()).await.unwrap();
    assert_eq!(found(&one, 3).await, of(1, "1"), "to be migrated again");

    assert!(one.delete("mood").await.unwrap());
    assert!(!one.delete("mood").await.unwrap());
    assert_eq!(found(&one, 3).await, None);
}

#[tokio::test]
async fn what_only_a_newer_version_has_is_an_error_that_names_it() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    one.set("mood", 4, "0".into()).await.unwrap();
    one.set("mood", 7, "0".into()).await.unwrap();
    assert_eq!(one.get("mood", 3).await, Err(SettingsError::Newer(4)));
    assert_eq!(found(&one, 9).await, of(7, "0"));
}

#[tokio::test]
async fn a_migration_of_what_has_changed_meanwhile_is_not_stored() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    let source = async || one.get("mood", 1).await.unwrap().unwrap();
    let migrate = async |source: Setting, data: &str| one.migrate("mood", source, 2, data.into()).await.unwrap().unwrap();

    one.set("mood", 1, "1".into()).await.unwrap();
    let stale = source().await;
    one.set("mood", 1, "2".into()).await.unwrap();
    let told = migrate(stale, "[1]").await;
    assert_eq!((told.version, told.data.as_str()), (1, "2"), "this is to be migrated now");
    // Of two that migrate the same, one does, and both have the same.
    let (left, right) = tokio::join!(migrate(source().await, r#"["left"]"#), migrate(source().await, r#"["right"]"#));
    assert_eq!(left, right);
    // What somebody has set is not written over.
    let source = source().await;
    one.set("mood", 2, "[5]".into()).await.unwrap();
    assert_eq!(migrate(source, "[4]").await.data, "[5]");
}

/// Whoever is faster: no version made of older data stays beside newer data of an older version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_different_versions_do_not_get_past_each_other() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    for round in 0..50 {
        one.set("mood", 1, "0".into()).await.unwrap();
        let source = one.get("mood", 3).await.unwrap().unwrap();
        let written = format!("{}", round + 1);
        let version = 1 + round % 2;
        let (set, migrated) = tokio::join!(one.set("mood", version, written.clone()), one.migrate("mood", source, 3, r#""old""#.into()));
        assert!(set.is_ok() && migrated.is_ok(), "{set:?} {migrated:?}");
        assert_eq!(found(&one, 3).await, of(version, &written), "round {round}");
        one.delete("mood").await.unwrap();
    }
}

#[tokio::test]
async fn ids_are_listed_once_and_limits_are_kept() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    for id in ["b", "a", "a/1", "B"] {
        one.set(id, 1, "0".into()).await.unwrap();
        one.set(id, 2, "0".into()).await.unwrap();
    }
    assert_eq!(one.ids(None, 1000).await.unwrap(), ["B", "a", "a/1", "b"]);
    assert_eq!(one.ids(Some("a"), 1).await.unwrap(), ["a/1"]);
    let invalid = |result: Result<(), SettingsError>| matches!(result, Err(SettingsError::Invalid(_)));
    assert!(invalid(one.set("", 1, "0".into()).await));
    assert!(invalid(one.set("a", 0, "0".into()).await));
    assert!(invalid(one.set("a", 1, "{".into()).await));
    assert!(invalid(one.get("a\0", 1).await.map(drop)));
    assert!(invalid(one.ids(None, 1001).await.map(drop)));
    let source = one.get("a", 2).await.unwrap().unwrap();
    assert!(invalid(one.migrate("a", source, 2, "0".into()).await.map(drop)), "not a newer version");

    let mut admin = instance.database.admin().await;
    let many = "INSERT INTO checkstack.plugin_settings (plugin_id, setting_id, record) \
              SELECT 'one', 'many-' || n, '{\"version\": 1, \"data\": 0}' FROM generate_series(1, 996) n";
    execute(&mut admin, many).await;
    assert!(invalid(one.set("one too many", 1, "0".into()).await));
    one.set("a", 3, "1".into()).await.unwrap();
}

#[tokio::test]
async fn only_so_many_versions_of_a_setting_are_kept() {
    let instance = Instance::new().await;
    let (one, _) = stores(&instance).await;
    for version in 1..=15 {
        one.set("mood", version, version.to_string()).await.unwrap();
    }
    let kept: i64 = instance.database.value("SELECT count(*) FROM checkstack.plugin_settings").await;
    assert_eq!((kept, found(&one, 6).await), (10, of(6, "6")));
    assert_eq!(one.get("mood", 5).await, Err(SettingsError::Newer(6)));
}
