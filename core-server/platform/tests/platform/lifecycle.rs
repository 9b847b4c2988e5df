//! Sets, plugins that fail, and readiness.

use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_control_api::report::{PluginReason, PluginState};
use checkstack_platform::plugin::{PluginFailure, ProbeDescription};
use checkstack_plugin_package::PluginId;
use checkstack_plugin_package::plugin_id::InvalidPluginId;
use reqwest::Method;
use serde_json::json;

use crate::instance::{Instance, Reported as _, set};
use crate::packages::package;
use crate::scripted::{Script, Step};

#[tokio::test]
async fn a_plugin_that_does_not_come_up_never_disturbs_the_others() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    for (plugin, script) in [
        ("trapping", Script { init: Step::Fails(PluginFailure::transient(PluginReason::Trapped, "unreachable")), ..Script::default() }),
        ("panicking", Script { init: Step::Panics, ..Script::default() }),
        ("looping", Script { init: Step::Hangs, ..Script::default() }),
        ("invalid", Script { load: Step::Fails(PluginFailure::terminal(PluginReason::InvalidComponent, "no")), ..Script::default() }),
        ("exploding", Script { load: Step::Panics, ..Script::default() }),
        ("regretting", Script { ready: Step::fails("not after all"), ..Script::default() }),
    ] {
        instance.scripts.set(plugin, script);
    }
    let packages = [
        package("looping", &[]),
        package("good", &[]),
        package("trapping", &[]),
        package("panicking", &[]),
        package("invalid", &[]),
        package("exploding", &[]),
        package("regretting", &[]),
        package("lonely", &["nobody ^2"]),
        package("on-trapping", &["trapping"]),
    ];
    for package in &packages {
        pod.upload(package).await;
    }
    let begin = Instant::now();
    pod.deliver(&set(1, &packages.iter().collect::<Vec<_>>())).await;
    pod.wait_for(|report| report.is_active("good")).await;
    assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
    assert_eq!(pod.get("/api/good/").await.status(), 200);
    assert_eq!(pod.ready().await.0, 200);
    for plugin in ["trapping", "looping", "lonely"] {
        assert_eq!(pod.get(&format!("/api/{plugin}/")).await.status(), 503);
    }
    let report = pod.settled(1).await;
    for (plugin, state, reason) in [
        ("trapping", PluginState::Failed, PluginReason::Trapped),
        ("panicking", PluginState::Failed, PluginReason::Internal),
        ("looping", PluginState::Failed, PluginReason::DeadlineExceeded),
        ("invalid", PluginState::Failed, PluginReason::InvalidComponent),
        ("exploding", PluginState::Failed, PluginReason::Internal),
        ("regretting", PluginState::Failed, PluginReason::InitFailed),
        ("lonely", PluginState::Blocked, PluginReason::DependencyMissing),
        ("on-trapping", PluginState::Blocked, PluginReason::DependencyNotActive),
    ] {
        assert_eq!((report.plugin(plugin).state, report.plugin(plugin).reason), (state, reason), "{plugin}");
    }
    // What was initialised and then failed was told that it is over.
    let events = instance.scripts.taken_events();
    assert!(events.contains(&"shutdown regretting@1.0.0".to_owned()), "{events:?}");
    assert!(!events.contains(&"shutdown trapping@1.0.0".to_owned()), "{events:?}");

    // Correcting the YAML heals it.
    let good: Vec<_> = ["trapping@1.0.1", "looping@1.0.1"].iter().map(|plugin| package(plugin, &[])).collect();
    for plugin in ["trapping@1.0.1", "looping@1.0.1"] {
        instance.scripts.set(plugin, Script::default());
    }
    let report = pod.run(2, &[&good[0], &good[1], &packages[1], &packages[8]]).await;
    for plugin in ["trapping", "looping", "good", "on-trapping"] {
        assert!(report.is_active(plugin), "{report:#?}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_removed_is_not_found_and_what_needs_it_stops_serving() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (base, top, other) = (package("base", &[]), package("top", &["base"]), package("other", &[]));
    pod.run(1, &[&base, &top, &other]).await;
    instance.scripts.taken_events();
    let report = pod.run(2, &[&top, &other]).await;
    assert_eq!(pod.json("/api/base/").await, (404, json!({ "error": "Not Found" })));
    assert_eq!(pod.get("/api/top/").await.status(), 503);
    assert_eq!(pod.get("/api/other/").await.status(), 200);
    assert_eq!(report.plugin("top").reason, PluginReason::DependencyMissing);
    assert_eq!(report.plugins.len(), 2);
    assert_eq!(instance.scripts.taken_events(), ["shutdown top@1.0.0", "shutdown base@1.0.0"]);
    pod.run(3, &[&base, &top, &other]).await;
    assert_eq!(pod.get("/api/top/").await.status(), 200);
    assert_eq!(instance.scripts.taken_events().join(", "), "init base@1.0.0, init top@1.0.0, ready base@1.0.0, ready top@1.0.0");
}

#[tokio::test]
async fn a_plugin_that_never_came_up_leaves_no_metrics_when_it_is_removed() {
    let instance = Instance::new().await;
    instance.scripts.set("failing", Script { init: Step::fails("no"), ..Script::default() });
    instance.scripts.set("hanging", Script { init: Step::Hangs, ..Script::default() });
    let pod = instance.pod("pod").await;
    let packages = [package("failing", &[]), package("blocked", &["failing"]), package("lonely", &["nobody"]), package("hanging", &[])];
    let metrics = async || pod.get(paths::METRICS).await.text().await.unwrap();
    for package in &packages {
        pod.upload(package).await;
    }
    pod.deliver(&set(1, &packages.iter().collect::<Vec<_>>())).await;
    pod.wait_for(|report| !report.plugins.is_empty() && report.plugin("failing").state == PluginState::Failed).await;
    let before = metrics().await;
    for (plugin, state) in [("failing", "Failed"), ("blocked", "Blocked"), ("lonely", "Blocked"), ("hanging", "Loading")] {
        let line = format!(r#"checkstack_plugin_state{{plugin="{plugin}",state="{state}"}} 1"#);
        assert!(before.contains(&line), "{line}: {before}");
    }
    pod.run(2, &[]).await;
    let after = metrics().await;
    for plugin in ["failing", "blocked", "lonely", "hanging"] {
        assert!(!after.contains(&format!(r#"plugin="{plugin}""#)), "{after}");
    }
    // The same again: what was forgotten is shown as before.
    instance.scripts.set("failing", Script::default());
    pod.run(3, &[&packages[0]]).await;
    assert!(metrics().await.contains(r#"checkstack_plugin_state{plugin="failing",state="Active"} 1"#));
}

#[tokio::test]
async fn what_is_initialised_can_be_called_by_plugins_before_it_can_be_by_others() {
    let instance = Instance::new().await;
    instance.scripts.set("base", Script { ready: Step::Takes(Duration::from_millis(500)), ..Script::default() });
    instance.scripts.set("top", Script { init: Step::Calls("base"), ready: Step::Calls("base"), ..Script::default() });
    let pod = instance.pod("pod").await;
    let packages = [package("base", &[]), package("top", &["base"])];
    for package in &packages {
        pod.upload(package).await;
    }
    pod.deliver(&set(1, &[&packages[0], &packages[1]])).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut events = vec![];
    while !events.contains(&"ready base@1.0.0".to_owned()) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
        events.extend(instance.scripts.taken_events());
    }
    assert!(events.contains(&"init top@1.0.0".to_owned()), "{events:?}");
    assert_eq!(pod.get("/api/base/").await.status(), 503);
    assert!(pod.settled(1).await.is_active("top"));
}

#[tokio::test]
async fn a_changed_configuration_makes_a_new_one_beside_the_old() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let mut uptime = package("uptime", &[]);
    pod.run(1, &[&uptime]).await;
    uptime.entry.config.insert("interval".into(), json!(5));
    pod.run(2, &[&uptime]).await;
    assert_eq!(pod.json("/api/uptime/").await.1["config"], json!({ "interval": 5 }));
}

#[tokio::test]
async fn a_command_makes_failed_plugins_try_again() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", Script { init: Step::fails("no"), ..Script::default() });
    let pod = instance.pod("pod").await;
    let report = pod.run(1, &[&package("uptime", &[])]).await;
    assert_eq!(report.plugin("uptime").message, "no");
    instance.scripts.set("uptime", Script::default());
    assert_eq!(pod.signed(Method::POST, paths::RECONCILE, vec![]).send().await.unwrap().status(), 202);
    pod.wait_for(|report| report.is_active("uptime")).await;
}

#[tokio::test]
async fn a_newer_set_ends_what_was_being_done_for_an_older_one() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime@1.0.0", Script { init: Step::Hangs, ..Script::default() });
    let pod = instance.pod("pod").await;
    let (hanging, good) = (package("uptime@1.0.0", &[]), package("uptime@1.0.1", &[]));
    pod.upload(&hanging).await;
    pod.deliver(&set(1, &[&hanging])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begin = Instant::now();
    pod.run(2, &[&good]).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(pod.json("/api/uptime/").await.1["plugin"], "uptime@1.0.1");
}

#[tokio::test]
async fn a_critical_plugin_that_never_came_up_holds_back_new_pods_and_not_old_ones() {
    let instance = Instance::new().await;
    let old = instance.pod("old").await;
    assert_eq!(old.ready().await.0, 200);
    instance.scripts.set("vital", Script { init: Step::fails("no"), ..Script::default() });
    let mut vital = package("vital", &[]);
    vital.entry.critical = true;
    old.run(1, &[&vital]).await;
    assert_eq!(old.ready().await.0, 200);
    assert_eq!(old.checks().await["plugins.vital"], (false, false));

    instance.mount(&set(1, &[&vital]));
    let new = instance.pod("new").await;
    let (status, ready) = new.ready().await;
    assert_eq!(status, 503);
    let check = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == "plugins.vital").unwrap();
    assert_eq!((&check["critical"], &check["ok"], check["message"].as_str()), (&json!(true), &json!(false), Some("InitFailed")));

    // Healed: ready, and from then on it decides.
    instance.scripts.set("vital", Script::default());
    new.signed(Method::POST, paths::RECONCILE, vec![]).send().await.unwrap();
    new.wait_for(|report| report.is_active("vital")).await;
    assert_eq!(new.ready().await.0, 200);
    assert_eq!(new.checks().await["plugins.vital"], (true, true));
    // An upgrade that fails leaves the old version, and the pod is ready with it.
    instance.scripts.set("vital@1.0.1", Script { init: Step::fails("no"), ..Script::default() });
    let mut upgrade = package("vital@1.0.1", &[]);
    upgrade.entry.critical = true;
    new.run(2, &[&upgrade]).await;
    assert_eq!(new.ready().await.0, 200);
    // No longer part of the set, no longer asked for.
    new.run(3, &[]).await;
    assert!(!new.checks().await.contains_key("plugins.vital"));
}

#[tokio::test]
async fn no_plugin_can_take_the_name_of_a_probe_of_the_platform() {
    let instance = Instance::new().await;
    let mut vital = package("vital", &[]);
    vital.entry.critical = true;
    // A set that the operator has not signed brings the last of the platform's probes.
    instance.mount(&set(1, &[&vital]));
    instance.write("set/plugins.lock.jws", b"");
    let pod = instance.pod("pod").await;
    pod.run(1, &[&vital]).await;
    let checks = pod.checks().await;
    assert_eq!(checks.keys().collect::<Vec<_>>(), ["core.init", "core.plugin-set", "database", "plugins.vital"]);
    for name in checks.keys() {
        let id = name.split('.').next().unwrap();
        assert!(matches!(id.parse::<PluginId>(), Err(InvalidPluginId::Reserved(_))), "{name} could be the probe of a plugin '{id}'");
    }
}

#[tokio::test]
async fn probes_of_a_plugin_are_shown_and_decide_only_for_critical_plugins() {
    let instance = Instance::new().await;
    let probes = |name: &str| vec![ProbeDescription { name: name.into(), critical: true }];
    instance.scripts.set("plain", Script { probes: probes("plain-queue"), ..Script::default() });
    instance.scripts.set("vital", Script { probes: probes("vital-queue"), ..Script::default() });
    let (plain, mut vital) = (package("plain", &[]), package("vital", &[]));
    vital.entry.critical = true;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&plain, &vital]).await;
    let checks = pod.checks().await;
    assert_eq!((checks["plain.plain-queue"], checks["vital.vital-queue"]), ((false, true), (true, true)));
    instance.scripts.set_probe("plain-queue", false);
    assert_eq!(pod.ready().await.0, 200);
    assert_eq!(pod.checks().await["plain.plain-queue"], (false, false));
    instance.scripts.set_probe("vital-queue", false);
    assert_eq!(pod.ready().await.0, 503);
    instance.scripts.set_probe("vital-queue", true);
    pod.run(2, &[&vital]).await;
    assert!(!pod.checks().await.contains_key("plain.plain-queue"));
    assert_eq!(pod.ready().await.0, 200);
}

#[tokio::test]
async fn a_version_takes_the_place_of_another_only_when_its_critical_probes_are_ok() {
    let instance = Instance::new().await;
    let probe = |name: &str, critical| ProbeDescription { name: name.into(), critical };
    let probes = vec![probe("extra", false), probe("queue", true)];
    instance.scripts.set("uptime", Script { probes, ..Script::default() });
    instance.scripts.set_probe("queue", false);
    let pod = instance.pod("pod").await;
    let (old, new) = (package("uptime@1.0.0", &[]), package("uptime@2.0.0", &[]));
    assert!(pod.run(1, &[&old]).await.is_active("uptime"), "there is none whose place it takes");
    instance.scripts.set_probe("extra", false);
    let report = pod.run(2, &[&new]).await;
    let uptime = report.plugin("uptime");
    assert_eq!((uptime.state, uptime.reason, uptime.terminal), (PluginState::Failed, PluginReason::ProbeFailed, false));
    assert_eq!(uptime.message, "the critical probe 'queue' of the new version is not ok: scripted; the version before goes on");
    assert_eq!(pod.json("/api/uptime/").await.1["plugin"], "uptime@1.0.0");
    instance.scripts.set_probe("queue", true);
    // By itself.
    pod.wait_for(|report| report.is_active("uptime")).await;
    assert_eq!(pod.json("/api/uptime/").await.1["plugin"], "uptime@2.0.0");
}

#[tokio::test]
async fn the_end_is_orderly() {
    let instance = Instance::new().await;
    instance.scripts.set("slow", Script { call: crate::scripted::Answer::Takes(Duration::from_secs(1)), ..Script::default() });
    instance.scripts.set("stubborn", Script { shutdown_hangs: true, ..Script::default() });
    let mut pod = instance.pod("pod").await;
    pod.run(1, &[&package("base", &[]), &package("slow", &["base"]), &package("top", &["slow"]), &package("stubborn", &[])]).await;
    instance.scripts.taken_events();
    let under_way = tokio::spawn(pod.client.get(format!("{}/api/slow/", pod.address)).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    pod.platform.begin_shutdown();
    let ready = pod.get("/.checkstack/ready").await;
    assert_eq!(
        (ready.status().as_u16(), ready.text().await.unwrap().as_str()),
        (503, r#"{"ready":false,"reason":"shutting down","checks":[]}"#)
    );
    assert_eq!(pod.get("/api/base/").await.status(), 200, "still served");
    pod.end().await;
    assert_eq!(under_way.await.unwrap().unwrap().status(), 200, "what was under way was answered");
    let events = instance.scripts.taken_events();
    let order: Vec<&str> = events.iter().map(String::as_str).filter(|event| !event.contains("stubborn")).collect();
    assert_eq!(order, ["shutdown top@1.0.0", "shutdown slow@1.0.0", "shutdown base@1.0.0"]);
    let connections =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()", instance.database.name);
    assert_eq!(instance.database.value::<i64>(&connections).await, 0, "no connection is left");
}
