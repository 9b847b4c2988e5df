//! From the open port to a server that serves.

use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_control_api::report::PluginReason;
use checkstack_platform::StartError;
use checkstack_plugin_package::Digest;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::instance::{Instance, Pod, Reported as _, no_native_parts, set};
use crate::packages::package;
use crate::scripted::{Script, Step};

#[tokio::test]
async fn probes_answer_before_the_core_has_started_and_other_requests_wait_for_it() {
    let instance = Instance::new().await;
    let pod = instance.new_pod("pod").await;
    assert_eq!(pod.json("/.checkstack/health").await, (200, json!({ "status": "ok" })));
    let ready = pod.get("/.checkstack/ready").await;
    assert_eq!((ready.status().as_u16(), ready.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(ready.text().await.unwrap(), r#"{"ready":false,"reason":"initializing","checks":[]}"#);
    for path in ["/.checkstack/plugins", "/.checkstack/nothing"] {
        assert!([503, 404].contains(&pod.get(path).await.status().as_u16()), "not gated: {path}");
    }
    assert_eq!(pod.get("/.checkstack/metrics").await.status(), 200);

    let waiting = tokio::spawn(pod.client.get(format!("{}/api/nobody/", pod.address)).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (404, r#"{"error":"Not Found"}"#.to_owned()));

    let (status, ready) = pod.ready().await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)));
    let names: Vec<&str> = ready["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["core.init", "database"]);
}

#[tokio::test]
async fn plugins_of_the_mounted_set_are_up_when_the_pod_is_ready() {
    let instance = Instance::new().await;
    let (base, top) = (package("base", &[]), package("top", &["base"]));
    let first = instance.pod("first").await;
    first.upload(&base).await;
    first.upload(&top).await;
    instance.mount(&set(7, &[&top, &base]));
    let pod = instance.pod("pod").await;
    let report = pod.report().await;
    assert_eq!((report.revision, report.settled, report.pod.as_str()), (7, true, "pod"));
    assert!(report.is_active("base") && report.is_active("top"));
    assert_eq!(instance.scripts.taken_events().join(", "), "init base@1.0.0, init top@1.0.0, ready base@1.0.0, ready top@1.0.0");
    assert_eq!(pod.ready().await.0, 200);
}

/// Starts a pod, beside what the test does.
fn start(instance: &Instance, pod: &Pod) -> JoinHandle<Result<(), StartError>> {
    let (platform, loader) = (pod.platform.clone(), instance.loader());
    tokio::spawn(async move { platform.start(loader, no_native_parts).await })
}

/// Waits until the pod works towards the set that it found.
async fn begun(pod: &Pod) {
    while pod.get(paths::PLUGINS).await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pod.wait_for(|report| report.revision == 1).await;
}

/// It is known to work; the newer one, on its way into all pods, may not.
#[tokio::test]
async fn a_newer_set_waits_for_what_the_pod_began_with() {
    let instance = Instance::new().await;
    let package = package("uptime", &[]);
    instance.pod("first").await.upload(&package).await;
    instance.scripts.set("uptime@1.0.0", Script { init: Step::Takes(Duration::from_secs(1)), ..Script::default() });
    instance.mount(&set(1, &[&package]));
    let pod = instance.new_pod("pod").await;
    let starting = start(&instance, &pod);
    begun(&pod).await;
    let mut newer = set(2, &[&package]);
    newer.plugins[0].grants.deadline_milliseconds = 100;
    newer.plugins[0].digest = Digest::of(b"nowhere");
    assert_eq!(pod.deliver(&newer).await.status(), 202);
    starting.await.unwrap().unwrap();
    assert_eq!(pod.ready().await.0, 200);
    assert_eq!(pod.get("/api/uptime/").await.status(), 200, "the pod is ready, and does not serve what it can");
    let report = pod.settled(2).await;
    let uptime = report.plugin("uptime");
    assert!(uptime.active.is_some() && uptime.reason == PluginReason::ArtifactMissing, "{uptime:?}");
    assert_eq!(pod.get("/api/uptime/").await.status(), 200);

    // But not for ever.
    instance.scripts.set("uptime@1.0.0", Script { load: Step::Hangs, ..Script::default() });
    let stuck = instance.new_pod("stuck").await;
    let starting = start(&instance, &stuck);
    begun(&stuck).await;
    assert_eq!(stuck.deliver(&newer).await.status(), 202);
    stuck.wait_for(|report| report.revision == 2).await;
    starting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_comes_while_plugins_come_up_is_told_to_come_back() {
    let instance = Instance::new().await;
    let slow = package("slow", &[]);
    instance.pod("first").await.upload(&slow).await;
    instance.scripts.set("slow", Script { init: Step::Takes(Duration::from_secs(2)), ..Script::default() });
    instance.mount(&set(1, &[&slow]));
    let pod = instance.new_pod("pod").await;
    let starting = start(&instance, &pod);
    let answer = pod.get("/api/slow/").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "2"));
    assert_eq!(pod.ready().await.1["reason"], "initializing");
    starting.await.unwrap().unwrap();
    assert_eq!(pod.get("/api/slow/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_have_waited_are_not_told_that_there_are_no_plugins() {
    let instance = Instance::new().await;
    let uptime = package("uptime", &[]);
    instance.pod("first").await.upload(&uptime).await;
    instance.scripts.set("uptime", Script { init: Step::Takes(Duration::from_secs(1)), ..Script::default() });
    // Many that need what is not there: taking the set over takes a while.
    let lonely: Vec<_> = (0..500).map(|number| package(&format!("lonely-{number}"), &["nobody"])).collect();
    let packages: Vec<_> = lonely.iter().chain([&uptime]).collect();
    instance.mount(&set(1, &packages));
    let pod = instance.new_pod("pod").await;
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(pod.client.get(format!("{}/api/uptime/", pod.address)).send())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().status(), 503);
    }
    assert_eq!(pod.get("/api/uptime/").await.status(), 200);
}

#[tokio::test]
async fn a_mounted_set_that_the_operator_has_not_signed_is_not_run() {
    let instance = Instance::new().await;
    let package = package("uptime", &[]);
    instance.pod("first").await.upload(&package).await;
    instance.mount(&set(1, &[&package]));
    let mut changed = set(1, &[&package]);
    changed.plugins[0].grants.memory_bytes *= 2;
    instance.write("set/plugins.lock.json", changed.to_json().unwrap().as_bytes());
    let pod = instance.pod("pod").await;
    assert!(pod.report().await.plugins.is_empty());
    let (status, ready) = pod.ready().await;
    assert_eq!(status, 503);
    let check = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == "core.plugin-set").unwrap();
    assert_eq!(check["message"], "the mounted plugin set is not used");
    let check = pod.check_as_operator("core.plugin-set").await;
    assert!(check["message"].as_str().unwrap().contains("changed after it was signed"), "{check}");
    assert_eq!(pod.get("/api/uptime/").await.status(), 503, "it is not known that there is no such plugin");
    // The operator's own word counts.
    pod.deliver(&set(1, &[&package])).await;
    assert!(pod.settled(1).await.is_active("uptime"));
    assert_eq!(pod.get("/api/nobody/").await.status(), 404);
    assert_eq!(pod.ready().await.0, 200);
}

#[tokio::test]
async fn without_a_database_the_core_gives_up_and_says_so() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.database.url = "postgres://nobody:secret@127.0.0.1:1/nothing".into();
    settings.database.connect_within = Duration::from_secs(2);
    let pod = instance.new_pod_with(settings).await;
    let begin = Instant::now();
    let error = pod.platform.start(instance.loader(), no_native_parts).await.unwrap_err();
    assert!(matches!(error, StartError::Database(_)) && begin.elapsed() < Duration::from_secs(4));
    let message = error.to_string();
    assert!(message.contains("the database does not answer") && !message.contains("secret"), "{message}");

    let gated = pod.get("/api/uptime/").await;
    assert_eq!((gated.status().as_u16(), gated.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    // The whole message is for the log.
    assert_eq!(gated.text().await.unwrap(), r#"{"error":"Backend init failed","message":"the database does not answer"}"#);
    let ready = pod.get("/.checkstack/ready").await;
    assert_eq!((ready.status().as_u16(), ready.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    assert_eq!(ready.text().await.unwrap(), r#"{"ready":false,"error":"the database does not answer","checks":[]}"#);
    assert_eq!(pod.json("/.checkstack/health").await.0, 200);
}

#[tokio::test]
async fn pods_that_start_at_once_share_one_migration() {
    let instance = Instance::new().await;
    let pods = futures::future::join_all((0..4).map(|index| {
        let instance = &instance;
        async move { instance.pod(&format!("pod-{index}")).await }
    }))
    .await;
    for pod in &pods {
        assert_eq!(pod.ready().await.0, 200);
    }
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.core_migrations").await, migrations as i64);
}

#[tokio::test]
async fn the_clear_line_names_what_is_missing() {
    let instance = Instance::new().await;
    std::fs::remove_file(instance.directory.path().join("keys/sealing.key")).unwrap();
    let pod = instance.new_pod("pod").await;
    let error = pod.platform.start(instance.loader(), no_native_parts).await.unwrap_err().to_string();
    assert!(error.contains("sealing.key cannot be read") && !error.contains('\n'), "{error}");
}
