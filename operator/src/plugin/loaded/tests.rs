#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::fixtures::{active, entry, failed as failing, fleet, pod, silent_pod, target};
use std::sync::Arc;

fn starting(waiting: Option<&str>) -> Observation {
    Observation::Starting { waiting: waiting.map(str::to_owned) }
}

/// Verdict, counts and rows for `uptime` in these pods.
fn look(pods: impl FnOnce(&crate::fleet::Target) -> Vec<PodView>) -> (Verdict, InstanceCounts, Vec<PodPluginStatus>) {
    let target = target(vec![entry("uptime", "uptime")]);
    let pods = pods(&target);
    let fleet = fleet(target, pods);
    let hash = fleet.target.entries["uptime"];
    (verdict(&fleet, "uptime", &hash), counts(&fleet, "uptime", &hash), rows(&fleet, "uptime"))
}

fn said(verdict: &Verdict) -> (ConditionStatus, Reason, &str) {
    (verdict.status, verdict.reason, verdict.message.as_str())
}

#[test]
fn active_everywhere_is_loaded() {
    let uptime = entry("uptime", "uptime");
    let (verdict, counts, rows) = look(|target| vec![pod("a", target, vec![active(&uptime)]), pod("b", target, vec![active(&uptime)])]);
    assert_eq!(said(&verdict), (ConditionStatus::True, Reason::Active, "serves in 2 pods"));
    assert_eq!((counts.active, counts.desired), (2, 2));
    assert_eq!((rows[0].version.as_deref(), rows[0].state), (Some("1.0.0"), PodPluginState::Active));
}

#[test]
fn other_settings_than_those_of_the_set_are_not_loaded() {
    let mut other = active(&entry("uptime", "uptime"));
    other.active.as_mut().unwrap().entry_hash = Digest::of(b"other settings");
    let (verdict, counts, _) = look(|target| vec![pod("a", target, vec![other])]);
    assert_eq!(said(&verdict), (ConditionStatus::False, Reason::Starting, "active in 0 of 1 pods"));
    assert_eq!(counts.active, 0);
}

#[test]
fn a_pod_that_starts_does_not_make_a_serving_plugin_look_broken() {
    let (verdict, counts, rows) =
        look(|target| vec![pod("a", target, vec![active(&entry("uptime", "uptime"))]), silent_pod("b", false, starting(None))]);
    assert_eq!(said(&verdict), (ConditionStatus::True, Reason::Active, "serves in 1 pod"));
    assert_eq!((counts.active, counts.desired), (1, 2));
    assert_eq!((rows[1].state, rows[1].reason.as_str()), (PodPluginState::Loading, "Starting"));
}

#[test]
fn a_pod_that_is_not_ready_may_say_that_it_failed() {
    let uptime = entry("uptime", "uptime");
    let (verdict, ..) = look(|target| {
        let failed = failing(&uptime, PluginState::Failed, PluginReason::InitFailed, "no route to host");
        let new = PodView { ready: false, ..pod("b", target, vec![failed]) };
        vec![pod("a", target, vec![active(&uptime)]), new]
    });
    assert_eq!(said(&verdict), (ConditionStatus::False, Reason::InitFailed, "no route to host (pod b)"));
}

#[test]
fn one_message_of_many_pods_is_told_once() {
    let failed = failing(&entry("uptime", "uptime"), PluginState::Failed, PluginReason::InvalidConfig, "interval is missing");
    let (verdict, ..) = look(|target| ["a", "b", "c"].map(|name| pod(name, target, vec![failed.clone()])).into());
    assert_eq!(verdict.message, "interval is missing (in 3 pods)");
}

#[test]
fn different_messages_are_told_in_the_order_of_pods_up_to_a_number() {
    let failed = |message: &str| failing(&entry("uptime", "uptime"), PluginState::Failed, PluginReason::InitFailed, message);
    let (verdict, ..) = look(|target| ["a", "b", "c", "d", "e"].map(|name| pod(name, target, vec![failed(name)])).into());
    assert_eq!(verdict.message, "pod a: a; pod b: b; pod c: c; and 2 more pods");
}

#[test]
fn a_failure_says_more_than_waiting_for_another_plugin() {
    let uptime = entry("uptime", "uptime");
    let (verdict, ..) = look(|target| {
        vec![
            pod("a", target, vec![failing(&uptime, PluginState::Blocked, PluginReason::DependencyNotActive, "needs catalog")]),
            pod("b", target, vec![failing(&uptime, PluginState::Failed, PluginReason::Trapped, "unreachable")]),
        ]
    });
    assert_eq!(verdict.reason, Reason::Trapped);
}

#[test]
fn pods_that_do_not_answer_are_unknown() {
    let unreachable = Observation::Unreachable { message: "the connection failed".into() };
    let (verdict, _, rows) = look(|_| vec![silent_pod("a", true, unreachable)]);
    assert_eq!(
        said(&verdict),
        (ConditionStatus::Unknown, Reason::PodUnreachable, "the pod does not answer: the connection failed (pod a)")
    );
    assert_eq!((rows[0].state, rows[0].reason.as_str()), (PodPluginState::Unknown, "PodUnreachable"));
}

#[test]
fn without_pods_nothing_is_wrong_and_nothing_is_known() {
    let (verdict, counts, rows) = look(|_| Vec::new());
    assert_eq!(said(&verdict), (ConditionStatus::Unknown, Reason::WaitingForPod, "no pod of the instance runs"));
    assert_eq!((counts.desired, rows.len()), (0, 0));
    let (verdict, ..) = look(|_| vec![silent_pod("a", false, starting(None))]);
    assert_eq!(said(&verdict), (ConditionStatus::Unknown, Reason::WaitingForPod, "the pods of the instance are starting"));
    let (verdict, ..) = look(|_| vec![silent_pod("a", false, starting(Some("ImagePullBackOff")))]);
    assert_eq!(verdict.message, "the pod cannot start: ImagePullBackOff (pod a)");
}

#[test]
fn a_set_on_its_way_is_not_loaded() {
    let (verdict, ..) = look(|target| {
        let mut behind = pod("a", target, Vec::new());
        let Observation::Reported(report) = &mut behind.observation else { return Vec::new() };
        let report = Arc::make_mut(report);
        (report.revision, report.set_hash) = (6, Digest::of(b"before"));
        vec![behind]
    });
    assert_eq!(said(&verdict), (ConditionStatus::False, Reason::RollingOut, "1 of 1 pods do not have revision 7 of the plugin set yet"));
}

#[test]
fn every_reason_of_a_pod_is_a_reason_of_a_condition() {
    for (from_pod, in_condition) in
        [(PluginReason::MigrationFailed, "MigrationFailed"), (PluginReason::SecretConfigMissing, "SecretConfigMissing")]
    {
        assert_eq!(reason(from_pod).as_str(), in_condition);
        assert_eq!(serde_json::to_value(from_pod).unwrap(), in_condition);
    }
}

#[test]
fn of_many_pods_those_that_fail_are_listed() {
    let uptime = entry("uptime", "uptime");
    let (_, counts, rows) = look(|target| {
        let mut pods: Vec<PodView> =
            (0..MAX_REPORTED_PODS + 5).map(|n| pod(&format!("pod-{n:04}"), target, vec![active(&uptime)])).collect();
        let last = pods.last_mut().unwrap();
        *last = pod(&last.name.clone(), target, vec![failing(&uptime, PluginState::Failed, PluginReason::Trapped, "x")]);
        pods
    });
    assert_eq!((rows.len(), counts.desired), (MAX_REPORTED_PODS, 205));
    assert_eq!(rows.last().unwrap().state, PodPluginState::Failed);
}
