//! A plugin that is at fault again and again.

use std::time::Duration;

use checkstack_control_api::paths;
use checkstack_control_api::report::{PluginReason, PluginState};
use checkstack_platform::plugin::CallFailure;
use reqwest::header::RETRY_AFTER;

use crate::instance::{Instance, Pod, Reported as _};
use crate::packages::package;
use crate::scripted::{Answer, Script};

const HEALTHY: &str = "healthy";

async fn trapping(instance: &Instance) -> Pod {
    instance.scripts.set("uptime@1.0.0", Script { call: Answer::TrapsUnless(HEALTHY), ..Script::default() });
    instance.scripts.set("asking", Script { call: Answer::Asks("uptime"), ..Script::default() });
    instance.scripts.set_probe(HEALTHY, false);
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime@1.0.0", &[]), &package("asking", &["uptime"]), &package("good", &[])]).await;
    for _ in 0..3 {
        assert_eq!(pod.get("/api/uptime/").await.status(), 502);
    }
    pod
}

#[tokio::test]
async fn is_left_alone_says_so_and_comes_back_by_itself() {
    let instance = Instance::new().await;
    let pod = trapping(&instance).await;
    let refused = pod.get("/api/uptime/").await;
    assert_eq!((refused.status().as_u16(), refused.headers()[RETRY_AFTER].to_str().unwrap()), (503, "1"));
    assert!(refused.text().await.unwrap().contains("plugin 'uptime' failed too often"));
    assert_eq!(pod.get("/api/good/").await.status(), 200);

    let report = pod.wait_for(|report| !report.is_active("uptime")).await;
    let uptime = report.plugin("uptime");
    assert_eq!((uptime.state, uptime.reason, uptime.terminal), (PluginState::Failed, PluginReason::Quarantined, false));
    assert_eq!(uptime.message, "calls are refused because they failed again and again: unreachable");
    assert!(uptime.active.is_some() && report.is_active("asking"), "{report:?}");
    assert_eq!(pod.ready().await.0, 200);
    let metrics = pod.get(paths::METRICS).await.text().await.unwrap();
    for line in [
        r#"checkstack_plugin_quarantines_total{plugin="uptime"} 1"#,
        r#"checkstack_plugin_calls_total{plugin="uptime",outcome="quarantined"} 1"#,
        r#"checkstack_plugin_state{plugin="uptime",state="Failed"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }

    instance.scripts.set_probe(HEALTHY, true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pod.get("/api/uptime/").await.status(), 200);
    pod.wait_for(|report| report.is_active("uptime")).await;
}

#[tokio::test]
async fn is_left_alone_whatever_the_fault() {
    let instance = Instance::new().await;
    let invalid = Answer::Fails(|plugin| CallFailure::InvalidAnswer(plugin, "the body has 25165824 bytes".into()));
    instance.scripts.set("large", Script { call: invalid, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("large", &[])]).await;
    for status in [502, 502, 502, 503] {
        assert_eq!(pod.get("/api/large/").await.status(), status);
    }
    let report = pod.wait_for(|report| !report.is_active("large")).await;
    assert_eq!(report.plugin("large").message, "calls are refused because they failed again and again: the body has 25165824 bytes");
}

#[tokio::test]
async fn is_left_alone_by_other_plugins_too() {
    let instance = Instance::new().await;
    let pod = trapping(&instance).await;
    let peers = instance.scripts.services("asking").peers;
    let refused = peers.call(&"uptime".parse().unwrap(), crate::scripted::request("asking")).await.unwrap_err();
    assert_eq!(refused, CallFailure::Quarantined("uptime".parse().unwrap(), 1));
    drop(pod);
}

#[tokio::test]
async fn a_new_version_begins_with_a_clean_slate() {
    let instance = Instance::new().await;
    let pod = trapping(&instance).await;
    assert_eq!(pod.get("/api/uptime/").await.status(), 503);
    let report = pod.run(2, &[&package("uptime@1.1.0", &[]), &package("asking", &["uptime"])]).await;
    assert!(report.is_active("uptime"), "{report:?}");
    assert_eq!(pod.json("/api/asking/").await.1["plugin"], "uptime@1.1.0");
    let metrics = pod.get(paths::METRICS).await.text().await.unwrap();
    assert!(metrics.contains(r#"checkstack_plugin_swaps_total{plugin="uptime"} 1"#), "{metrics}");
}
