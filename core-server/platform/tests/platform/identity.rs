//! One database belongs to one instance; one PostgreSQL server may have the databases of many.

use checkstack_control_api::paths;
use checkstack_platform::plugin::{SqlStatement, SqlValue};
use checkstack_platform::{DatabaseError, StartError, materialise};
use reqwest::Method;

use crate::instance::{Instance, NAME, Reported as _, no_native_parts, set};
use crate::packages::{package, package_with};
use crate::postgres::execute;

const OTHER: &str = "staging/main";

#[tokio::test]
async fn an_instance_does_not_start_on_the_database_of_another() {
    let instance = Instance::new().await;
    let (_first, _second) = (instance.pod("first").await, instance.pod("second").await);
    assert_eq!(instance.database.value::<String>("SELECT name FROM checkstack.instance").await, NAME);

    let mut settings = instance.settings("stranger");
    settings.instance = OTHER.into();
    let stranger = instance.new_pod_with(settings.clone()).await;
    let error = stranger.platform.start(instance.loader(), no_native_parts).await.unwrap_err();
    assert!(matches!(&error, StartError::Database(DatabaseError::OtherInstance { owner, this }) if owner == NAME && this == OTHER));
    let message = error.to_string();
    for part in [NAME, OTHER, "spec.database.urlSecretRef", "UPDATE checkstack.instance SET name = 'staging/main'"] {
        assert!(message.contains(part) && !message.contains('\n'), "{message}");
    }
    let (status, ready) = stranger.ready().await;
    assert_eq!((status, ready["error"].as_str()), (503, Some("the database belongs to another instance")));
    // Nor does its init container do anything.
    instance.mount(&set(1, &[&package("uptime", &[])]));
    let materialised = materialise(&instance.settings("init"), instance.loader()).await;
    assert!(materialised.is_ok(), "that of the owner does");
    assert!(materialise(&settings, instance.loader()).await.unwrap().is_err(), "the set is not for it");

    // The first is gone for good: what the message says is all that there is to do.
    let (_, statement) = message.split_once("run in that database: ").unwrap();
    execute(&mut instance.database.admin().await, statement).await;
    let heir = instance.new_pod_with(settings).await;
    heir.platform.start(instance.loader(), no_native_parts).await.unwrap();
    let error = instance.new_pod("late").await.platform.start(instance.loader(), no_native_parts).await.unwrap_err();
    assert!(error.to_string().contains("belongs to the instance 'staging/main', and this is 'monitoring/main'"), "{error}");
}

#[tokio::test]
async fn instances_that_start_at_once_on_one_database_do_not_both_start() {
    let instance = Instance::new().await;
    let starts = (0..6).map(|index| {
        let mut settings = instance.settings(&format!("pod-{index}"));
        settings.instance = format!("namespace-{}/main", index % 2);
        let instance = &instance;
        async move { instance.new_pod_with(settings).await.platform.start(instance.loader(), no_native_parts).await }
    });
    let results = futures::future::join_all(starts).await;
    let started: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert!(started == [true, false, true, false, true, false] || started == [false, true, false, true, false, true], "{results:?}");
}

/// As a server of the release before would have left it, which did not know of instances.
#[tokio::test]
async fn a_database_without_an_owner_is_taken_by_the_first_that_starts() {
    let instance = Instance::new().await;
    instance.pod("first").await.end().await;
    execute(&mut instance.database.admin().await, "DELETE FROM checkstack.instance").await;
    let mut settings = instance.settings("pod");
    settings.instance = OTHER.into();
    instance.new_pod_with(settings).await.platform.start(instance.loader(), no_native_parts).await.unwrap();
    assert_eq!(instance.database.value::<String>("SELECT name FROM checkstack.instance").await, OTHER);
}

/// Roles belong to the whole PostgreSQL server, and so a plugin's role must not be the same in two
/// databases.
#[tokio::test]
async fn two_instances_on_one_server_share_nothing() {
    let (one, other) = (Instance::new().await, Instance::new().await);
    assert!(std::sync::Arc::ptr_eq(&one.database.server, &other.database.server));
    let table = [("0001_notes", "CREATE TABLE notes (text text)")];
    let uptime = package_with("uptime", &[], &table);
    let mut roles: Vec<String> = Vec::new();
    let mut pods = Vec::new();
    for (instance, name) in [(&one, "one"), (&other, "other")] {
        let pod = instance.pod("pod").await;
        assert!(pod.run(1, &[&uptime]).await.is_active("uptime"));
        let sql = instance.scripts.services("uptime").sql.unwrap();
        let insert = SqlStatement { text: "INSERT INTO notes VALUES ($1)".into(), parameters: vec![SqlValue::Text(name.into())] };
        sql.execute(insert).await.unwrap();
        roles.push(instance.database.value("SELECT role_name FROM checkstack.plugin_databases").await);
        pods.push(pod);
    }
    assert_ne!(roles[0], roles[1]);

    // What becomes of one is nothing to the other.
    pods[0].run(2, &[]).await;
    let purged = pods[0].signed(Method::DELETE, &format!("{}/uptime", paths::PLUGIN_DATA), vec![]).send().await.unwrap();
    assert_eq!(purged.status(), 204);
    let left: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)")
        .bind(&roles)
        .fetch_all(&mut one.database.admin().await)
        .await
        .unwrap();
    assert_eq!(left, roles[1..]);
    let notes = SqlStatement { text: "SELECT text FROM notes".into(), parameters: vec![] };
    let notes = other.scripts.services("uptime").sql.unwrap().query(notes).await.unwrap();
    assert_eq!(notes.rows, [[SqlValue::Text("other".into())]]);
}
