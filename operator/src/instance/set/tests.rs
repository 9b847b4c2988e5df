#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use checkstack_control_api::entry_hash;
use serde_json::json;

use super::*;
use crate::fixtures::{entry, materialized, plugin, stored_plugin};

/// What a set is built from, apart from the plugins.
#[derive(Default)]
struct Around {
    selector: Selector,
    strategy: RolloutStrategy,
    unreadable: BTreeSet<String>,
    secrets: BTreeMap<String, SecretConfig>,
    previous: PreviousSet,
    past: Vec<PluginSet>,
}

fn build_with(plugins: &[CheckstackPlugin], around: &Around) -> BuiltSet {
    let plugins: Vec<&CheckstackPlugin> = plugins.iter().collect();
    let keyed_hash = |id: &PluginId, values: &Map<String, Value>| Ok(format!("{id}:{}", Value::Object(values.clone())));
    build(&SetInputs {
        instance: "monitoring/main".into(),
        selector: &around.selector,
        strategy: around.strategy,
        plugins: &plugins,
        unreadable: &around.unreadable,
        secrets: &around.secrets,
        previous: &around.previous,
        past: &around.past.iter().map(|set| (set.revision, set)).collect::<Vec<_>>(),
        keyed_hash: &keyed_hash,
    })
    .unwrap()
}

fn secrets(token: &str) -> BTreeMap<PluginId, Map<String, Value>> {
    BTreeMap::from([("uptime".parse().unwrap(), Map::from_iter([("token".to_owned(), json!(token))]))])
}

/// The set of a revision.
fn set(revision: u64, entries: Vec<PluginEntry>) -> PluginSet {
    PluginSet { revision, plugins: entries, ..PluginSet::empty("monitoring/main") }
}

/// A row of the history of a plugin.
fn tried(entry: &PluginEntry, state: &str, attempt: &str) -> Value {
    json!({
        "revision": 1, "version": entry.version, "digest": entry.digest, "hash": entry_hash(entry).unwrap(), "state": state,
        "startedAt": "2026-01-01T00:00:00Z", "attempt": attempt,
    })
}

fn resources(built: &BuiltSet) -> Vec<&str> {
    built.set.plugins.iter().map(|entry| entry.resource.as_str()).collect()
}

fn standing<'a>(built: &'a BuiltSet, name: &str) -> &'a Standing {
    &built.members[name].standing
}

#[test]
fn an_entry_has_everything_that_the_spec_says() {
    let spec = json!({ "spec": {
        "critical": true, "config": { "interval": 5 },
        "grants": { "http": { "allow": ["https://example.com"], "allowCidrs": ["127.0.0.0/8"] }, "database": true, "frontend": true, "memory": "32Mi", "deadline": "500ms" },
    }, "status": { "dependencies": { "catalog": "^1" } } });
    let built = build_with(&[stored_plugin("checks", "uptime", spec)], &Around::default());
    let entry = &built.set.plugins[0];
    assert_eq!((entry.resource.as_str(), entry.plugin_id.as_str(), entry.version.as_str()), ("checks", "uptime", "1.0.0"));
    assert_eq!((entry.digest, entry.critical), (Digest::of(b"uptime"), true));
    assert_eq!(Value::Object(entry.config.clone()), json!({ "interval": 5 }));
    assert_eq!((entry.grants.memory_bytes, entry.grants.deadline_milliseconds, entry.grants.database), (32 << 20, 500, true));
    assert!(entry.grants.frontend);
    assert_eq!(entry.grants.http.allow_cidrs, ["127.0.0.0/8".parse().unwrap()]);
    assert_eq!(entry.dependencies.len(), 1);
    assert_eq!(entry.secret_config_hash, None);
    assert_eq!(*standing(&built, "checks"), Standing::Current);
}

#[test]
fn plugins_come_after_what_they_need_and_else_by_id() {
    let needs =
        |ids: &[&str]| json!({ "status": { "dependencies": ids.iter().map(|id| ((*id).to_owned(), json!("*"))).collect::<Map<_, _>>() } });
    let plugins = [
        stored_plugin("one", "alpha", needs(&["zeta"])),
        stored_plugin("two", "beta", json!({})),
        stored_plugin("three", "zeta", json!({})),
    ];
    let built = build_with(&plugins, &Around::default());
    assert_eq!(resources(&built), ["two", "three", "one"]);
    // The order in which the API server lists them means nothing.
    let reversed: Vec<_> = plugins.into_iter().rev().collect();
    assert_eq!(build_with(&reversed, &Around::default()).set, built.set);
}

#[test]
fn a_circle_is_part_of_the_set_for_the_pods_to_name() {
    let plugins = [
        stored_plugin("one", "alpha", json!({ "status": { "dependencies": { "beta": "*" } } })),
        stored_plugin("two", "beta", json!({ "status": { "dependencies": { "alpha": "*" } } })),
        stored_plugin("three", "gamma", json!({})),
    ];
    assert_eq!(resources(&build_with(&plugins, &Around::default())), ["three", "one", "two"]);
}

#[test]
fn of_two_with_one_id_the_older_wins() {
    let plugins = [
        stored_plugin("young", "uptime", json!({ "metadata": { "creationTimestamp": "2026-02-01T00:00:00Z" } })),
        stored_plugin("old", "uptime", json!({})),
    ];
    let built = build_with(&plugins, &Around::default());
    assert_eq!(resources(&built), ["old"]);
    let duplicate = Obstacle::Duplicate { plugin_id: "uptime".parse().unwrap(), winner: "old".into() };
    assert_eq!(*standing(&built, "young"), Standing::Out(duplicate));
}

#[test]
fn of_two_of_one_age_the_name_decides() {
    let plugins = [stored_plugin("b", "uptime", json!({})), stored_plugin("a", "uptime", json!({}))];
    assert_eq!(resources(&build_with(&plugins, &Around::default())), ["a"]);
    // Unless one of them runs already: it is not stopped for that.
    let previous = PreviousSet { entries: vec![entry("b", "uptime")], ..PreviousSet::default() };
    assert_eq!(resources(&build_with(&plugins, &Around { previous, ..Around::default() })), ["b"]);
}

#[test]
fn the_younger_takes_over_when_the_older_goes() {
    let young = stored_plugin("young", "uptime", json!({ "metadata": { "creationTimestamp": "2026-02-01T00:00:00Z" } }));
    for gone in [json!({ "spec": { "enabled": false } }), json!({ "metadata": { "deletionTimestamp": "2026-03-01T00:00:00Z" } })] {
        let built = build_with(&[stored_plugin("old", "uptime", gone), young.clone()], &Around::default());
        assert_eq!(resources(&built), ["young"]);
    }
}

#[test]
fn plugins_that_do_not_belong_are_out_with_the_reason() {
    let around = Around { selector: Selector::from_iter([("tier", "gold")]), ..Around::default() };
    let gold = json!({ "metadata": { "labels": { "tier": "gold" } } });
    let with = |patch| crate::fixtures::merged(gold.clone(), patch);
    let plugins = [
        stored_plugin("in", "a", gold.clone()),
        stored_plugin("other", "b", json!({})),
        stored_plugin("off", "c", with(json!({ "spec": { "enabled": false } }))),
        stored_plugin("deleted", "d", with(json!({ "metadata": { "deletionTimestamp": "2026-03-01T00:00:00Z" } }))),
        plugin("new", gold.clone()),
    ];
    let built = build_with(&plugins, &around);
    assert_eq!(resources(&built), ["in"]);
    for (name, obstacle) in
        [("other", Obstacle::NotSelected), ("off", Obstacle::Disabled), ("deleted", Obstacle::Deleting), ("new", Obstacle::NotMaterialised)]
    {
        assert_eq!(*standing(&built, name), Standing::Out(obstacle), "{name}");
    }
}

#[test]
fn new_settings_wait_for_the_package_that_they_came_with() {
    let previous = PreviousSet { entries: vec![entry("checks", "uptime")], ..PreviousSet::default() };
    let around = Around { previous, ..Around::default() };
    let changed = json!({ "spec": { "config": { "interval": 9 } } });
    let not_there = json!({ "status": { "version": "2.0.0", "digest": Digest::of(b"new"), "conditions": [] } });
    let not_looked_at_yet = json!({ "metadata": { "generation": 6 } });
    for waiting in [not_there, not_looked_at_yet] {
        let built = build_with(&[stored_plugin("checks", "uptime", crate::fixtures::merged(changed.clone(), waiting))], &around);
        assert_eq!(built.set.plugins, [entry("checks", "uptime")]);
        assert_eq!(*standing(&built, "checks"), Standing::Held(Obstacle::NotMaterialised));
    }
    let built = build_with(&[stored_plugin("checks", "uptime", changed)], &around);
    assert_eq!(Value::Object(built.set.plugins[0].config.clone()), json!({ "interval": 9 }));
}

#[test]
fn secret_settings_are_in_the_set_by_their_hash_alone() {
    let values: Map<String, Value> = [("token".to_owned(), json!("s3cret"))].into_iter().collect();
    let around = Around { secrets: BTreeMap::from([("checks".into(), Ok(values.clone()))]), ..Around::default() };
    let built = build_with(&[stored_plugin("checks", "uptime", json!({}))], &around);
    assert_eq!(built.secrets, BTreeMap::from([("uptime".parse().unwrap(), values)]));
    assert_eq!(built.set.plugins[0].secret_config_hash.as_deref(), Some(r#"uptime:{"token":"s3cret"}"#));
    assert!(!built.set.plugins[0].config.contains_key("token"));
}

#[test]
fn a_changed_secret_is_a_changed_entry() {
    let hash = |value: &str| {
        let values: Map<String, Value> = [("token".to_owned(), json!(value))].into_iter().collect();
        let around = Around { secrets: BTreeMap::from([("checks".into(), Ok(values))]), ..Around::default() };
        entry_hash(&build_with(&[stored_plugin("checks", "uptime", json!({}))], &around).set.plugins[0]).unwrap()
    };
    assert_eq!(hash("a"), hash("a"));
    assert_ne!(hash("a"), hash("b"));
}

#[test]
fn a_plugin_whose_secret_went_away_goes_on_as_it_was() {
    let gone = SecretProblem::SecretNotFound { secret: "smtp".into() };
    let values: Map<String, Value> = [("token".to_owned(), json!("old"))].into_iter().collect();
    let previous = PreviousSet { entries: vec![entry("checks", "uptime")], secrets: secrets("old"), ..PreviousSet::default() };
    let around = Around { secrets: BTreeMap::from([("checks".into(), Err(gone.clone()))]), previous, ..Around::default() };
    let built = build_with(&[stored_plugin("checks", "uptime", json!({ "spec": { "config": { "interval": 9 } } }))], &around);
    assert_eq!(built.set.plugins, [entry("checks", "uptime")]);
    assert_eq!(built.secrets.values().collect::<Vec<_>>(), [&values]);
    assert_eq!(*standing(&built, "checks"), Standing::Held(Obstacle::Secret(gone.clone())));

    let around = Around { previous: PreviousSet::default(), ..around };
    let built = build_with(&[stored_plugin("checks", "uptime", json!({}))], &around);
    assert_eq!((resources(&built).len(), standing(&built, "checks")), (0, &Standing::Out(Obstacle::Secret(gone))));
}

#[test]
fn a_field_from_two_places_is_refused() {
    let values: Map<String, Value> = [("token".to_owned(), json!("x"))].into_iter().collect();
    let around = Around { secrets: BTreeMap::from([("checks".into(), Ok(values))]), ..Around::default() };
    let built = build_with(&[stored_plugin("checks", "uptime", json!({ "spec": { "config": { "token": "y" } } }))], &around);
    let problem = SecretProblem::FieldTwice { field: "token".into() };
    assert_eq!(*standing(&built, "checks"), Standing::Out(Obstacle::Secret(problem)));
}

#[test]
fn a_plugin_that_cannot_be_read_stays_as_it_is() {
    let previous = PreviousSet { entries: vec![entry("odd", "uptime")], ..PreviousSet::default() };
    let around = Around { previous, unreadable: BTreeSet::from(["odd".into(), "never-seen".into()]), ..Around::default() };
    let built = build_with(&[stored_plugin("other", "alpha", json!({})), stored_plugin("young", "uptime", json!({}))], &around);
    assert_eq!(resources(&built), ["other", "odd"]);
    assert!(matches!(standing(&built, "young"), Standing::Out(Obstacle::Duplicate { winner, .. }) if winner == "odd"));
}

#[test]
fn what_was_rolled_back_is_in_the_set_as_it_was_before() {
    let good = PluginEntry { version: "0.9.0".into(), ..entry("checks", "uptime") };
    let bad = build_with(&[stored_plugin("checks", "uptime", json!({}))], &Around::default());
    let attempt = &bad.members["checks"].attempt;
    let history = |attempt: &str| vec![tried(&bad.set.plugins[0], "RolledBack", attempt), tried(&good, "Active", "earlier")];
    let plugin = |attempt: &str, patch: Value| {
        stored_plugin("checks", "uptime", crate::fixtures::merged(json!({ "status": { "history": history(attempt) } }), patch))
    };
    let past = vec![
        set(9, bad.set.plugins.clone()),
        set(8, vec![entry("other", "alpha")]),
        set(4, vec![good.clone()]),
        set(3, vec![good.clone()]),
    ];
    let around = Around { past, ..Around::default() };

    let built = build_with(&[plugin(attempt, json!({}))], &around);
    assert_eq!(built.set.plugins, std::slice::from_ref(&good));
    assert_eq!(*standing(&built, "checks"), Standing::Held(Obstacle::RolledBack));
    assert_eq!(&built.members["checks"].attempt, attempt, "it is still what was tried");
    assert!(built.needed_revisions.is_empty(), "the set has what it needs");

    // Another attempt: the object was touched, or somebody asked for it.
    let touched = json!({ "metadata": { "generation": 6 }, "status": { "conditions": [materialized(6)] } });
    for patch in [touched, json!({ "metadata": { "annotations": { "checkstack.io/retry": "1" } } })] {
        let built = build_with(&[plugin(attempt, patch)], &around);
        assert_eq!(built.set.plugins, bad.set.plugins);
        assert_eq!(*standing(&built, "checks"), Standing::Current);
        assert_eq!(built.needed_revisions, [4].into(), "it may have to go back again");
    }

    // Nobody has the form before any more.
    let built = build_with(&[plugin(attempt, json!({}))], &Around::default());
    assert_eq!((&built.set.plugins, standing(&built, "checks")), (&bad.set.plugins, &Standing::Current));
}

#[test]
fn pods_that_start_have_what_is_known_to_work() {
    let good = entry("checks", "uptime");
    let changed = json!({ "spec": { "config": { "interval": 9 } } });
    let with =
        |history: Vec<Value>| stored_plugin("checks", "uptime", json!({ "spec": changed["spec"], "status": { "history": history } }));
    let around = |past| Around { past, ..Around::default() };
    let proven = |plugins: &[CheckstackPlugin], past| build_with(plugins, &around(past)).proven.map(|set| set.revision);
    let new = build_with(&[with(vec![])], &Around::default()).set.plugins.remove(0);
    let past = || vec![set(5, vec![new.clone()]), set(4, vec![good.clone()]), set(3, vec![])];

    // Not handed out yet; on its way; another try of what was put back.
    let before = |state| vec![tried(&new, state, "earlier"), tried(&good, "Active", "")];
    for history in [vec![tried(&good, "Active", "")], before("RollingOut"), before("RolledBack")] {
        assert_eq!(proven(&[with(history)], past()), Some(4));
    }
    // It works; it was the first; it has failed and nobody puts it back.
    for history in [before("Active"), vec![tried(&new, "RollingOut", "")], vec![], before("Failed")] {
        assert_eq!(proven(&[with(history)], past()), None);
    }
    assert_eq!(proven(&[with(before("RollingOut"))], vec![set(5, vec![new.clone()])]), None, "there is no set before");

    let built = build_with(&[with(before("RollingOut"))], &around(past()));
    assert_eq!(built.needed_revisions, [4].into(), "it is not pruned");
    let replaced = Around { strategy: RolloutStrategy::Restart, ..around(past()) };
    assert_eq!(build_with(&[with(before("RollingOut"))], &replaced).proven, None, "pods that are made for a set find it");
    // A plugin that was taken out meanwhile does not come back in a pod that starts.
    let both = vec![set(5, vec![new.clone()]), set(4, vec![good.clone(), entry("other", "catalog")])];
    assert_eq!(proven(&[with(before("RollingOut"))], both), None);
}

#[test]
fn secret_settings_that_worked_are_kept_until_others_do() {
    let around = |previous: &str, last_good: Option<&str>, past: Vec<PluginSet>| Around {
        secrets: BTreeMap::from([("checks".into(), Ok(secrets("new").into_values().next().unwrap()))]),
        previous: PreviousSet {
            entries: Vec::new(),
            secrets: secrets(previous),
            last_good_secrets: last_good.map(secrets).unwrap_or_default(),
        },
        past,
        ..Around::default()
    };
    let good = PluginEntry { secret_config_hash: Some(r#"uptime:{"token":"old"}"#.into()), ..entry("checks", "uptime") };
    let plugin = |history: Vec<Value>| [stored_plugin("checks", "uptime", json!({ "status": { "history": history } }))];
    let past = || vec![set(4, vec![good.clone()])];

    // The Secret has just been changed.
    let rolling = build_with(&plugin(vec![tried(&good, "Active", "")]), &around("old", None, past()));
    assert_eq!((&rolling.secrets, &rolling.last_good_secrets), (&secrets("new"), &secrets("old")));
    // The new values are on their way.
    let history = || vec![tried(&rolling.set.plugins[0], "RollingOut", ""), tried(&good, "Active", "")];
    let still = build_with(&plugin(history()), &around("new", Some("old"), past()));
    assert_eq!((&still.secrets, &still.last_good_secrets), (&secrets("new"), &secrets("old")));
    // They do not work.
    let attempt = &still.members["checks"].attempt;
    let refused = || vec![tried(&rolling.set.plugins[0], "RolledBack", attempt), tried(&good, "Active", "")];
    let back = build_with(&plugin(refused()), &around("new", Some("old"), past()));
    assert_eq!((&back.set.plugins, &back.secrets, back.last_good_secrets.len()), (&vec![good.clone()], &secrets("old"), 0));
    // They do.
    let done = build_with(&plugin(vec![tried(&rolling.set.plugins[0], "Active", "")]), &around("new", Some("old"), past()));
    assert_eq!((&done.secrets, done.last_good_secrets.len()), (&secrets("new"), 0));
    // The old values are lost: there is nothing to go back to.
    let lost = build_with(&plugin(refused()), &around("new", None, past()));
    assert_eq!((standing(&lost, "checks"), &lost.secrets), (&Standing::Current, &secrets("new")));
}
