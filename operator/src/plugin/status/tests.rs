#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use checkstack_control_api::report::{PluginReason, PluginState};
use checkstack_plugin_package::Digest;
use serde_json::json;

use super::*;
use crate::fixtures::{active, at, entry, failed as failing, fleet, plugin, pod, target};

fn facts() -> Facts {
    Facts {
        plugin_id: "uptime".parse().unwrap(),
        package: "@acme/uptime".into(),
        version: "1.0.0".into(),
        digest: Digest::of(b"uptime"),
        size: 7,
        dependencies: Default::default(),
        source: Digest::of(b"source"),
    }
}

fn stored() -> Artifact {
    Artifact::Verified { facts: facts(), store: Store::Stored }
}

fn failure(step: Type, reason: Reason, transient: bool) -> Artifact {
    Artifact::Failed(Failure { step, reason, message: "what is wrong".into(), transient })
}

fn computed(plugin: &CheckstackPlugin, situation: &Situation, artifact: &Artifact, fleet: Option<&FleetView>) -> CheckstackPluginStatus {
    let policy = RolloutPolicy { deadline: std::time::Duration::from_secs(120), rolls_back: true };
    compute(&StatusInputs { plugin, situation, artifact, fleet, policy, now: at(100) })
}

/// `Resolved=True Fetched` and so on, a line each.
fn told(status: &CheckstackPluginStatus) -> Vec<String> {
    status.conditions.iter().map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason)).collect()
}

fn serving() -> FleetView {
    let uptime = entry("uptime", "uptime");
    let target = target(vec![uptime.clone()]);
    let pods = vec![pod("a", &target, vec![active(&uptime)])];
    fleet(target, pods)
}

/// A fleet in which the plugin is not in the set, or not as it says.
fn with_standing(standing: Standing, in_set: bool) -> FleetView {
    let mut view = serving();
    let mut target = (*view.target).clone();
    target.members.get_mut("uptime").unwrap().standing = standing;
    if !in_set {
        target.entries.clear();
        target.set.plugins.clear();
    }
    view.target = target.into();
    view
}

#[test]
fn a_plugin_that_serves_is_ready() {
    let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &stored(), Some(&serving()));
    assert_eq!(
        told(&status),
        [
            "Resolved=True Fetched",
            "Verified=True DigestRecorded",
            "Compatible=True Compatible",
            "Materialized=True Stored",
            "Loaded=True Active",
            "Ready=True Active"
        ]
    );
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(5)));
    assert_eq!((status.pods_active.as_str(), status.version.as_deref()), ("1/1", Some("1.0.0")));
    assert_eq!(status.conditions[5].message, "version 1.0.0 serves in 1 pod");
}

#[test]
fn a_pin_is_named_as_what_was_compared() {
    let pinned = plugin("uptime", json!({ "spec": { "integrity": "sha512-x" } }));
    let status = computed(&pinned, &Situation::Wanted, &stored(), Some(&serving()));
    assert_eq!(told(&status)[1], "Verified=True IntegrityMatches");
}

#[test]
fn the_first_step_that_fails_is_the_reason() {
    let loaded = "Loaded=Unknown PreviousStepNotDone";
    for (artifact, expected) in [
        (
            failure(Type::Resolved, Reason::SourceNotFound, true),
            [
                "Resolved=False SourceNotFound",
                "Verified=Unknown PreviousStepNotDone",
                "Compatible=Unknown PreviousStepNotDone",
                "Materialized=Unknown PreviousStepNotDone",
                loaded,
                "Ready=False SourceNotFound",
                "Reconciling=True SourceNotFound",
            ],
        ),
        (
            failure(Type::Verified, Reason::IntegrityMismatch, false),
            [
                "Resolved=True Fetched",
                "Verified=False IntegrityMismatch",
                "Compatible=Unknown PreviousStepNotDone",
                "Materialized=Unknown PreviousStepNotDone",
                loaded,
                "Ready=False IntegrityMismatch",
                "Stalled=True IntegrityMismatch",
            ],
        ),
        (
            failure(Type::Compatible, Reason::IncompatibleWorld, false),
            [
                "Resolved=True Fetched",
                "Verified=True DigestRecorded",
                "Compatible=False IncompatibleWorld",
                "Materialized=Unknown PreviousStepNotDone",
                loaded,
                "Ready=False IncompatibleWorld",
                "Stalled=True IncompatibleWorld",
            ],
        ),
        (
            Artifact::Verified { facts: facts(), store: Store::WaitingForPod },
            [
                "Resolved=True Fetched",
                "Verified=True DigestRecorded",
                "Compatible=True Compatible",
                "Materialized=Unknown WaitingForPod",
                loaded,
                "Ready=Unknown WaitingForPod",
                "",
            ],
        ),
        (
            Artifact::Verified { facts: facts(), store: Store::Uploading },
            [
                "Resolved=True Fetched",
                "Verified=True DigestRecorded",
                "Compatible=True Compatible",
                "Materialized=Unknown Uploading",
                loaded,
                "Ready=Unknown Uploading",
                "Reconciling=True Uploading",
            ],
        ),
        (
            Artifact::Verified { facts: facts(), store: Store::Failed { reason: Reason::UploadFailed, message: String::new() } },
            [
                "Resolved=True Fetched",
                "Verified=True DigestRecorded",
                "Compatible=True Compatible",
                "Materialized=False UploadFailed",
                loaded,
                "Ready=False UploadFailed",
                "Reconciling=True UploadFailed",
            ],
        ),
        (
            Artifact::Resolving,
            [
                "Resolved=Unknown Resolving",
                "Verified=Unknown PreviousStepNotDone",
                "Compatible=Unknown PreviousStepNotDone",
                "Materialized=Unknown PreviousStepNotDone",
                loaded,
                "Ready=Unknown Resolving",
                "Reconciling=True Resolving",
            ],
        ),
    ] {
        let fleet = with_standing(Standing::Out(Obstacle::NotMaterialised), false);
        let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &artifact, Some(&fleet));
        let expected: Vec<&str> = expected.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(told(&status), expected, "{artifact:?}");
    }
}

#[test]
fn what_stands_against_it_in_the_set_is_told() {
    let missing = SecretProblem::SecretNotFound { secret: "smtp".into() };
    let twice = SecretProblem::FieldTwice { field: "token".into() };
    for (standing, in_set, expected) in [
        (Standing::Out(Obstacle::Secret(missing.clone())), false, "Loaded=False SecretNotFound"),
        (Standing::Held(Obstacle::Secret(missing)), true, "Loaded=False SecretNotFound"),
        (Standing::Out(Obstacle::Secret(twice)), false, "Loaded=False ConfigKeyConflict"),
        (Standing::Out(Obstacle::InvalidGrant("x".into())), false, "Loaded=False InvalidSpec"),
        (Standing::Out(Obstacle::NotMaterialised), false, "Loaded=Unknown RollingOut"),
        (Standing::Held(Obstacle::NotMaterialised), true, "Loaded=Unknown RollingOut"),
    ] {
        let fleet = with_standing(standing.clone(), in_set);
        let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &stored(), Some(&fleet));
        assert_eq!(told(&status)[4], expected, "{standing:?}");
        assert!(!is_true(&status.conditions, "Ready"));
    }
}

#[test]
fn a_duplicate_is_not_compatible_and_the_other_is_named() {
    let duplicate = Obstacle::Duplicate { plugin_id: "uptime".parse().unwrap(), winner: "older".into() };
    let fleet = with_standing(Standing::Out(duplicate), false);
    let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &stored(), Some(&fleet));
    assert_eq!(told(&status)[2], "Compatible=False DuplicatePluginId");
    assert!(status.conditions[2].message.contains("'older'"));
    assert_eq!(told(&status)[5..], ["Ready=False DuplicatePluginId", "Stalled=True DuplicatePluginId"]);
}

#[test]
fn while_the_source_of_a_new_version_fails_the_old_one_is_loaded_and_not_ready() {
    let fleet = with_standing(Standing::Held(Obstacle::NotMaterialised), true);
    let artifact = failure(Type::Resolved, Reason::SourceNotFound, true);
    let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &artifact, Some(&fleet));
    assert_eq!((told(&status)[4].as_str(), told(&status)[5].as_str()), ("Loaded=True Active", "Ready=False SourceNotFound"));
    assert_eq!(status.pods_active, "1/1");
}

#[test]
fn an_edited_plugin_is_not_ready_before_the_set_knows_the_edit() {
    let edited = plugin("uptime", json!({ "metadata": { "generation": 6 } }));
    let status = computed(&edited, &Situation::Wanted, &stored(), Some(&serving()));
    assert_eq!(told(&status)[4..], ["Loaded=Unknown RollingOut", "Ready=Unknown RollingOut", "Reconciling=True RollingOut"]);
}

#[test]
fn another_package_than_the_one_in_the_set_is_not_ready() {
    let newer = Artifact::Verified { facts: Facts { digest: Digest::of(b"newer"), ..facts() }, store: Store::Stored };
    let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &newer, Some(&serving()));
    assert_eq!(told(&status)[5], "Ready=Unknown RollingOut");
}

#[test]
fn a_restarted_operator_concludes_nothing_before_it_has_asked() {
    let mut ready = plugin("uptime", json!({}));
    ready.status = Some(computed(&ready, &Situation::Wanted, &stored(), Some(&serving())));
    let unasked = FleetView { complete: false, pods: Vec::new(), ..serving() };
    for fleet in [None, Some(&unasked)] {
        let status = computed(&ready, &Situation::Wanted, &stored(), fleet);
        assert_eq!(&status, ready.status.as_ref().unwrap());
    }
}

#[test]
fn what_is_not_wanted_says_so_and_keeps_what_was_found() {
    let mut ready = plugin("uptime", json!({}));
    ready.status = Some(computed(&ready, &Situation::Wanted, &stored(), Some(&serving())));
    for (situation, reason, warns) in [
        (Situation::Disabled, "Disabled", false),
        (Situation::NotSelected, "NotSelected", true),
        (Situation::InstanceNotFound, "InstanceNotFound", true),
    ] {
        let status = computed(&ready, &situation, &Artifact::Untried, None);
        assert_eq!(told(&status)[3], "Materialized=True Stored");
        assert_eq!(told(&status)[4..6], [format!("Loaded=False {reason}"), format!("Ready=False {reason}")]);
        assert_eq!((status.pods_active.as_str(), status.pods.len()), ("0/0", 0));
        let events = transitions(ready.status.as_ref(), &status);
        assert_eq!((events.len(), events[0].warning, events[0].reason.as_str()), (1, warns, reason));
    }
}

#[test]
fn a_failure_in_a_pod_stalls_with_the_pods_own_words() {
    let uptime = entry("uptime", "uptime");
    let target = target(vec![uptime.clone()]);
    let pods =
        vec![pod("a", &target, vec![failing(&uptime, PluginState::Failed, PluginReason::InvalidConfig, "interval must be a number")])];
    let status = computed(&plugin("uptime", json!({})), &Situation::Wanted, &stored(), Some(&fleet(target, pods)));
    assert_eq!(told(&status)[4..], ["Loaded=False InvalidConfig", "Ready=False InvalidConfig", "Stalled=True InvalidConfig"]);
    assert_eq!(status.conditions[5].message, "interval must be a number (pod a)");
}

#[test]
fn events_are_for_transitions_alone() {
    let before = computed(&plugin("uptime", json!({})), &Situation::Wanted, &Artifact::Resolving, None);
    assert_eq!(transitions(None, &before), []);
    let ready = computed(&plugin("uptime", json!({})), &Situation::Wanted, &stored(), Some(&serving()));
    let events = transitions(Some(&before), &ready);
    assert_eq!((events.len(), events[0].reason.as_str(), events[0].warning), (1, "Active", false));
    assert_eq!(transitions(Some(&ready), &ready), []);
}

/// A plugin of which version 2 was put back, and the pods that run version 1.
fn rolled_back() -> (CheckstackPlugin, FleetView) {
    let form = |version: &str, state: &str, reason: &str| {
        json!({
            "revision": 6, "version": version, "digest": Digest::of(b"uptime"), "hash": Digest::of(version.as_bytes()), "state": state,
            "startedAt": "2026-01-01T00:00:00Z", "attempt": "first", "reason": reason, "message": "what was wrong (pod a)",
        })
    };
    let history = [form("2.0.0", "RolledBack", "InitFailed"), form("1.0.0", "Active", "")];
    let plugin = plugin("uptime", json!({ "status": { "history": history } }));
    (plugin, with_standing(Standing::Held(Obstacle::RolledBack), true))
}

#[test]
fn what_was_rolled_back_is_told_with_the_reason_of_the_pod() {
    let (mut plugin, mut fleet) = rolled_back();
    let status = computed(&plugin, &Situation::Wanted, &stored(), Some(&fleet));
    let expected =
        ["Loaded=False InitFailed", "Ready=False InitFailed", "RolledBack=True InitFailed", "Stalled=True InitFailed"].map(str::to_owned);
    assert_eq!(told(&status)[4..], expected);
    assert_eq!((status.pods_active.as_str(), status.pods[0].version.as_deref()), ("0/1", Some("1.0.0")));
    let events = transitions(None, &status);
    assert_eq!((events.len(), events[0].reason.as_str(), events[0].warning), (1, "RolledBack", true));
    assert!(events[0].note.starts_with("version 2.0.0 of revision 6 was rolled back to version 1.0.0 of revision 6. What was wrong: what"));
    assert!(transitions(Some(&status), &status).is_empty());

    // An operator that has just begun takes nothing back.
    plugin.status = Some(status.clone());
    fleet.complete = false;
    for fleet in [None, Some(&fleet)] {
        assert_eq!(told(&computed(&plugin, &Situation::Wanted, &stored(), fleet))[4..], expected);
    }
    let disabled = computed(&plugin, &Situation::Disabled, &Artifact::Untried, None);
    assert!(!told(&disabled).iter().any(|told| told.starts_with("RolledBack")));
}
