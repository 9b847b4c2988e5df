#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use checkstack_control_api::report::{PluginReason, PluginState};
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{active, at, entry, failed, fleet, instance, pod, silent_pod, target};
use crate::pods::DatabaseCheck;

/// What there is besides the instance.
struct Around {
    problem: Option<(Reason, String)>,
    database_problem: Option<&'static str>,
    oidc_problem: Option<&'static str>,
    deployment: Value,
    fleet: Option<FleetView>,
    overdue: bool,
}

fn serving() -> FleetView {
    let uptime = entry("uptime", "uptime");
    let target = target(vec![uptime.clone()]);
    let pods = ["a", "b"].map(|name| pod(name, &target, vec![active(&uptime)])).into();
    fleet(target, pods)
}

impl Default for Around {
    fn default() -> Self {
        Self {
            problem: None,
            database_problem: None,
            oidc_problem: None,
            deployment: rolled_out(2),
            fleet: Some(serving()),
            overdue: false,
        }
    }
}

fn rolled_out(ready: i32) -> Value {
    json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready, "availableReplicas": ready })
}

fn computed_for(instance: &Checkstack, around: &Around) -> CheckstackStatus {
    let deployment: Deployment =
        serde_json::from_value(json!({ "metadata": { "name": "main", "generation": 1 }, "status": around.deployment })).unwrap();
    compute(&StatusInputs {
        instance,
        problem: around.problem.clone(),
        database_problem: around.database_problem,
        oidc_problem: around.oidc_problem,
        set: Some((7, around.fleet.as_ref().unwrap_or(&serving()).target.hash)),
        deployment: Some(&deployment),
        fleet: around.fleet.as_ref(),
        overdue: around.overdue,
        now: at(100),
    })
}

fn computed(around: &Around) -> CheckstackStatus {
    computed_for(&instance(json!({ "replicas": 2 })), around)
}

fn told(status: &CheckstackStatus) -> Vec<String> {
    status.conditions.iter().map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason)).collect()
}

fn message<'a>(status: &'a CheckstackStatus, type_: &str) -> &'a str {
    &find_condition(&status.conditions, type_).unwrap().message
}

#[test]
fn an_instance_that_serves_is_ready() {
    let status = computed(&Around::default());
    assert_eq!(
        told(&status),
        ["DatabaseReachable=True Connected", "Available=True PodsReady", "Progressing=False RolloutComplete", "Ready=True Ready"]
    );
    assert_eq!((status.pods_ready.as_str(), status.version.as_deref()), ("2/2", Some("0.1.0")));
    assert_eq!(status.plugins_active, "1/1");
    assert_eq!(status.plugin_set.active.unwrap().revision, 7);
    assert_eq!(status.plugin_set.desired.unwrap().revision, 7);
    assert_eq!(status.url.as_deref(), Some("http://main.monitoring.svc"));
    assert_eq!(status.selector, "app.kubernetes.io/component=core,app.kubernetes.io/instance=main,app.kubernetes.io/name=checkstack");
}

#[test]
fn a_provider_without_its_secret_is_told_and_keeps_nobody_else_out() {
    let oidc = json!({ "issuer": "https://id.example.com", "clientId": "a", "clientSecretRef": { "name": "sso" } });
    let instance = instance(json!({ "replicas": 2, "baseUrl": "https://a.example", "signIn": { "oidc": oidc } }));
    let around = |oidc_problem| Around { oidc_problem, ..Around::default() };
    let missing = computed_for(&instance, &around(Some("Secret 'sso' does not exist")));
    let sign_in = |status: &CheckstackStatus| told(status).into_iter().find(|told| told.starts_with("SignInConfigured")).unwrap();
    assert_eq!(sign_in(&missing), "SignInConfigured=False OidcSecretNotFound");
    assert_eq!(message(&missing, "SignInConfigured"), "Secret 'sso' does not exist");
    assert!(told(&missing).contains(&"Ready=True Ready".to_owned()), "one can sign in with a password");
    assert!(transitions(None, &missing).iter().any(|event| event.warning && event.reason == "OidcSecretNotFound"));
    let there = computed_for(&instance, &around(None));
    assert_eq!(sign_in(&there), "SignInConfigured=True OidcSecretsFound");
    assert_eq!(message(&there, "SignInConfigured"), "people can be sent to https://id.example.com to sign in");
    let problem = Some((Reason::KeysInvalid, "edited".to_owned()));
    assert_eq!(sign_in(&computed_for(&instance, &Around { problem, ..Around::default() })), "SignInConfigured=Unknown WaitingForPod");
    assert!(
        !told(&computed(&Around::default())).iter().any(|told| told.starts_with("SignInConfigured")),
        "without a provider there is none"
    );
}

#[test]
fn plugins_are_counted_where_requests_arrive() {
    let (uptime, page) = (entry("uptime", "uptime"), entry("page", "page"));
    let target = target(vec![uptime.clone(), page.clone()]);
    let counted = |pods: Vec<crate::fleet::PodView>| {
        let around = Around { fleet: Some(fleet(target.clone(), pods)), ..Around::default() };
        computed(&around).plugins_active
    };
    let both = || pod("a", &target, vec![active(&uptime), active(&page)]);
    let one = || pod("b", &target, vec![active(&uptime)]);
    assert_eq!(counted(vec![both(), both()]), "2/2");
    assert_eq!(counted(vec![both(), one()]), "1/2");
    assert_eq!(counted(vec![both(), crate::fleet::PodView { ready: false, ..one() }]), "2/2");
    assert_eq!(counted(Vec::new()), "0/2");
}

#[test]
fn scaled_to_zero_nothing_is_wrong() {
    let around =
        Around { deployment: json!({ "observedGeneration": 1 }), fleet: Some(fleet(target(Vec::new()), Vec::new())), ..Around::default() };
    let status = computed_for(&instance(json!({ "replicas": 0 })), &around);
    assert_eq!(
        told(&status),
        [
            "DatabaseReachable=Unknown ScaledToZero",
            "Available=False ScaledToZero",
            "Progressing=False ScaledToZero",
            "Ready=False ScaledToZero"
        ]
    );
    assert_eq!((&status.plugin_set.active, status.pods_ready.as_str()), (&None, "0/0"));
    let events = transitions(None, &status);
    assert!(events.iter().all(|event| !event.warning), "{events:?}");
}

#[test]
fn every_way_not_to_be_ready_has_its_reason() {
    let with_pods = |change: fn(&mut FleetView)| {
        let mut view = serving();
        change(&mut view);
        Some(view)
    };
    let unsettle = |view: &mut FleetView| {
        let Observation::Reported(report) = &mut view.pods[1].observation else { return };
        Arc::make_mut(report).settled = false;
    };
    for (name, around, ready, companion) in [
        (
            "no database secret",
            Around { database_problem: Some("Secret 'main-db' does not exist"), ..Around::default() },
            "Ready=False DatabaseSecretNotFound",
            Some("Stalled"),
        ),
        (
            "database down",
            Around {
                fleet: with_pods(|view| view.pods[0].database = Some(DatabaseCheck { ok: false, message: Some("refused".into()) })),
                deployment: rolled_out(1),
                ..Around::default()
            },
            "Ready=False DatabaseUnreachable",
            None,
        ),
        ("pods missing", Around { deployment: rolled_out(1), ..Around::default() }, "Ready=False PodsNotReady", Some("Reconciling")),
        (
            "deployment controller behind",
            Around {
                deployment: json!({ "observedGeneration": 0, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2 }),
                ..Around::default()
            },
            "Ready=False RolloutInProgress",
            Some("Reconciling"),
        ),
        (
            "set on its way",
            Around { fleet: with_pods(unsettle), ..Around::default() },
            "Ready=False RolloutInProgress",
            Some("Reconciling"),
        ),
        (
            "set stuck",
            Around { fleet: with_pods(unsettle), overdue: true, ..Around::default() },
            "Ready=False RolloutStuck",
            Some("Stalled"),
        ),
        (
            "deployment stuck",
            Around {
                deployment: json!({
                    "observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2,
                    "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }],
                }),
                ..Around::default()
            },
            "Ready=False RolloutStuck",
            Some("Stalled"),
        ),
        (
            "pods silent",
            Around {
                fleet: with_pods(|view| view.pods[1] = silent_pod("b", true, Observation::Unreachable { message: "x".into() })),
                ..Around::default()
            },
            "Ready=Unknown PodsUnreachable",
            None,
        ),
        (
            "plugin failed",
            Around {
                fleet: with_pods(|view| {
                    let uptime = entry("uptime", "uptime");
                    view.pods[1] = pod("b", &view.target, vec![failed(&uptime, PluginState::Failed, PluginReason::Trapped, "x")]);
                }),
                ..Around::default()
            },
            "Ready=False PluginsNotReady",
            Some("Stalled"),
        ),
        (
            "somebody else's Service",
            Around { problem: Some((Reason::ResourceConflict, "Service 'main' exists".into())), ..Around::default() },
            "Ready=False ResourceConflict",
            Some("Stalled"),
        ),
    ] {
        let status = computed(&around);
        assert_eq!(told(&status)[3], ready, "{name}");
        assert_eq!(told(&status).get(4).map(|told| told.split('=').next().unwrap()), companion, "{name}");
    }
}

#[test]
fn messages_name_the_pods_and_what_keeps_them() {
    let uptime = entry("uptime", "uptime");
    let mut view = serving();
    view.pods[1] = silent_pod("b", false, Observation::Starting { waiting: Some("ImagePullBackOff".into()) });
    let status = computed(&Around { deployment: rolled_out(1), fleet: Some(view), ..Around::default() });
    assert_eq!(message(&status, "Available"), "1 of 2 pods are ready; cannot start: ImagePullBackOff (pod b)");

    let mut critical = entry("uptime", "uptime");
    critical.critical = true;
    let target = target(vec![critical]);
    let broken = failed(&uptime, PluginState::Failed, PluginReason::InitFailed, "no route");
    let new = crate::fleet::PodView { ready: false, ..pod("b", &target, vec![broken]) };
    let stuck = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }],
    });
    let status = computed(&Around { deployment: stuck, fleet: Some(fleet(target, vec![new])), ..Around::default() });
    assert_eq!(message(&status, "Ready"), "new pods did not become ready within 120 s: critical plugin 'uptime': no route (pod b)");
}

#[test]
fn a_restarted_operator_concludes_nothing_before_it_has_asked() {
    let mut ready = instance(json!({ "replicas": 2 }));
    ready.status = Some(computed(&Around::default()));
    let before = ready.status.clone().unwrap();
    for fleet in [None, Some(FleetView { complete: false, pods: Vec::new(), ..serving() })] {
        assert_eq!(computed_for(&ready, &Around { fleet, ..Around::default() }), before);
    }
}

#[test]
fn a_restarted_operator_does_not_take_back_that_a_set_is_stuck() {
    let unsettled = |target| {
        let mut view = FleetView { target: Arc::new(target), ..serving() };
        for pod in &mut view.pods {
            let Observation::Reported(report) = &mut pod.observation else { panic!("not reported") };
            Arc::make_mut(report).settled = false;
        }
        Some(view)
    };
    let same = || target(vec![entry("uptime", "uptime")]);
    let ready = |instance: &Checkstack, around: &Around| told(&computed_for(instance, around))[3].clone();
    let mut instance = instance(json!({ "replicas": 2 }));
    instance.status = Some(computed_for(&instance, &Around { fleet: unsettled(same()), overdue: true, ..Around::default() }));
    // This operator has not waited yet.
    let around = Around { fleet: unsettled(same()), ..Around::default() };
    assert_eq!(ready(&instance, &around), "Ready=False RolloutStuck");
    assert_eq!(ready(&instance, &Around::default()), "Ready=True Ready");
    // Another set, or another spec, has its own time.
    let other = Around { fleet: unsettled(target(vec![entry("other", "other")])), ..Around::default() };
    assert_eq!(ready(&instance, &other), "Ready=False RolloutInProgress");
    instance.metadata.generation = Some(4);
    assert_eq!(ready(&instance, &around), "Ready=False RolloutInProgress");
}

#[test]
fn the_active_set_is_what_all_ready_pods_report() {
    let mut view = serving();
    let Observation::Reported(report) = &mut view.pods[1].observation else { unreachable!() };
    Arc::make_mut(report).revision = 6;
    assert_eq!(active_set(&view), None);
    view.pods[1].ready = false;
    assert_eq!(active_set(&view).unwrap().revision, 7);
}

#[test]
fn events_tell_what_changed_once() {
    let ready = computed(&Around::default());
    assert_eq!(transitions(None, &ready).iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["Ready"]);
    assert_eq!(transitions(Some(&ready), &ready), []);
    let mut view = serving();
    view.pods[0].database = Some(DatabaseCheck { ok: false, message: Some("refused".into()) });
    let down = computed(&Around { fleet: Some(view), ..Around::default() });
    let events = transitions(Some(&ready), &down);
    assert_eq!(events.iter().map(|event| (event.reason.as_str(), event.warning)).collect::<Vec<_>>(), [("DatabaseUnreachable", true)]);
    let events = transitions(Some(&down), &ready);
    assert_eq!(events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["Connected", "Ready"]);
}

#[test]
fn a_plugin_that_was_rolled_back_is_neither_counted_nor_good() {
    let mut view = serving();
    let mut target = (*view.target).clone();
    target.members.get_mut("uptime").unwrap().standing = Standing::Held(Obstacle::RolledBack);
    view.target = target.into();
    let status = computed(&Around { fleet: Some(view.clone()), ..Around::default() });
    assert_eq!(
        told(&status)[3..],
        ["Ready=False PluginRolledBack", "RolledBack=True PluginRolledBack", "Stalled=True PluginRolledBack"].map(str::to_owned)
    );
    assert_eq!(message(&status, "RolledBack"), "put back to the form before, see there: CheckstackPlugin 'uptime'");
    assert_eq!((status.plugins_active.as_str(), status.plugin_set.last_good.as_ref().unwrap().revision), ("0/1", 7));

    view.complete = false;
    let mut instance = instance(json!({ "replicas": 2 }));
    instance.status = Some(status);
    let kept = computed_for(&instance, &Around { fleet: Some(view), ..Around::default() });
    assert!(told(&kept).contains(&"RolledBack=True PluginRolledBack".to_owned()), "{:?}", told(&kept));
}
