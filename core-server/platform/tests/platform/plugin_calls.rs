//! Requests to plugins and what comes back.

use std::time::Duration;

use checkstack_platform::plugin::CallFailure;
use futures::StreamExt as _;
use serde_json::json;

use crate::instance::{Instance, Pod, no_native_parts};
use crate::packages::package;
use crate::scripted::{Answer, Script};

async fn pod_with(instance: &Instance, call: Answer) -> Pod {
    instance.scripts.set("uptime", Script { call, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    pod
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_without_what_concerns_the_connection() {
    let instance = Instance::new().await;
    let pod = pod_with(&instance, Answer::Echo).await;
    let request = pod
        .client
        .patch(format!("{}/api/uptime/checks//a%2Fb/?x=1&y=%20", pod.address))
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("te", "trailers")
        .header("x-correlation-id", "abc-123")
        .header("authorization", "Bearer theirs")
        .body("hello");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-correlation-id"], "abc-123");
    let seen: serde_json::Value = response.json().await.unwrap();
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["query"], &seen["body"], &seen["caller"], &seen["correlationId"]),
        (&json!("PATCH"), &json!("/checks//a%2Fb/"), &json!("x=1&y=%20"), &json!("hello"), &json!("anonymous"), &json!("abc-123"))
    );
    let names: Vec<&str> = seen["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.contains(&"authorization") && names.contains(&"host"), "{names:?}");
    for hop in ["connection", "x-hop", "te"] {
        assert!(!names.contains(&hop), "{names:?}");
    }
    let (_, seen) = pod.json("/api/uptime").await;
    assert_eq!((&seen["path"], &seen["query"]), (&json!("/"), &json!(null)));
}

#[tokio::test]
async fn every_answer_below_api_has_the_security_headers() {
    let instance = Instance::new().await;
    let fields = vec![
        ("connection", "x-gone"),
        ("x-gone", "1"),
        ("content-length", "99999"),
        ("x-frame-options", "ALLOWALL"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ];
    let pod = pod_with(&instance, Answer::Headers(fields)).await;
    for (path, status) in [("/api/uptime/", 200), ("/api/nobody/", 404)] {
        let response = pod.get(path).await;
        assert_eq!(response.status(), status);
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("x-frame-options").as_deref(), Some("DENY"));
        assert_eq!(header("content-security-policy").as_deref(), Some("default-src 'none'; frame-ancestors 'none'"));
        assert_eq!(header("strict-transport-security").as_deref(), Some("max-age=31536000; includeSubDomains"));
        assert_eq!(header("x-gone"), None);
        if status == 200 {
            assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
            let policies: Vec<_> = response.headers().get_all("content-security-policy").iter().collect();
            assert_eq!(policies[1], "sandbox allow-downloads allow-forms allow-popups allow-scripts", "a page is of no origin");
        }
    }
    let head = pod.client.head(format!("{}/api/uptime/", pod.address)).send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn failures_have_their_status_and_tell_nothing_of_the_inside() {
    for (failure, status, retry_after) in [
        ((|id| CallFailure::Overloaded(id)) as fn(_) -> _, 503, Some("1")),
        (|id| CallFailure::DeadlineExceeded(id, 2000), 504, None),
        (|id| CallFailure::Trapped(id, "secret of the inside".into()), 502, None),
        (|id| CallFailure::InvalidAnswer(id, "secret of the inside".into()), 502, None),
    ] {
        let instance = Instance::new().await;
        let pod = pod_with(&instance, Answer::Fails(failure)).await;
        let response = pod.get("/api/uptime/").await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry_after);
        let body = response.text().await.unwrap();
        assert!(body.starts_with(r#"{"error":"#) && !body.contains("secret"), "{body}");
    }
}

#[tokio::test]
async fn silence_and_panics_are_contained() {
    let instance = Instance::new().await;
    let (mut silent, panicking, good) = (package("silent", &[]), package("panicking", &[]), package("good", &[]));
    silent.entry.grants.deadline_milliseconds = 200;
    instance.scripts.set("silent", Script { call: Answer::Hangs, ..Script::default() });
    instance.scripts.set("panicking", Script { call: Answer::Panics, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&silent, &panicking, &good]).await;
    assert_eq!(pod.get("/api/silent/").await.status(), 504);
    assert_eq!(pod.get("/api/panicking/").await.status(), 502);
    assert_eq!(pod.get("/api/good/").await.status(), 200);
}

#[tokio::test]
async fn bodies_are_limited() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.max_body_bytes = 1000;
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod.run(1, &[&package("uptime", &[])]).await;
    let url = format!("{}/api/uptime/", pod.address);
    assert_eq!(pod.client.post(&url).body(vec![b'x'; 1000]).send().await.unwrap().status(), 200);
    assert_eq!(pod.client.post(&url).body(vec![b'x'; 1001]).send().await.unwrap().status(), 413);
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = (0..11).map(|_| Ok(vec![b'x'; 100])).collect();
    let streamed = pod.client.post(&url).body(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
    assert_eq!(streamed.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn bodies_of_all_requests_together_are_limited() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.max_buffered_bytes = 1024 * 1024;
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod.run(1, &[&package("uptime", &[])]).await;
    let url = format!("{}/api/uptime/", pod.address);
    // One that sends much and does not come to an end.
    let much = futures::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; 700 * 1024])]).chain(futures::stream::pending());
    let slow = tokio::spawn(pod.client.post(&url).body(reqwest::Body::wrap_stream(much)).send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = pod.client.post(&url).body(vec![b'x'; 700 * 1024]).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(pod.client.post(&url).body("small").send().await.unwrap().status(), 200);
    slow.abort();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    // As much again for the answer, which repeats the body.
    while pod.client.post(&url).body(vec![b'x'; 300 * 1024]).send().await.unwrap().status() != 200 {
        assert!(std::time::Instant::now() < deadline, "what the first had is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn plugins_call_each_other_but_not_for_ever() {
    let instance = Instance::new().await;
    instance.scripts.set("front", Script { call: Answer::Asks("back"), ..Script::default() });
    // Two chains: each plugin asks the next, from where it runs or from elsewhere.
    let chains = ["here", "there"];
    let mut packages = vec![package("back", &[]), package("front", &["back"])];
    for chain in chains {
        packages.push(package(&format!("{chain}-8"), &[]));
        for number in 0..8 {
            let next = format!("{chain}-{}", number + 1);
            packages.push(package(&format!("{chain}-{number}"), &[&next]));
            let call = if chain == "here" { Answer::Asks(next.leak()) } else { Answer::AsksElsewhere(next.leak()) };
            instance.scripts.set(&format!("{chain}-{number}"), Script { call, ..Script::default() });
        }
    }
    let pod = instance.pod("pod").await;
    pod.run(1, &packages.iter().collect::<Vec<_>>()).await;
    let (status, seen) = pod.json("/api/front/x").await;
    assert_eq!((status, &seen["plugin"], &seen["caller"], &seen["path"]), (200, &json!("back@1.0.0"), &json!("front"), &json!("/x")));
    for chain in chains {
        assert_eq!(pod.get(&format!("/api/{chain}-1/")).await.status(), 200, "eight calls");
        assert_eq!(pod.get(&format!("/api/{chain}-0/")).await.status(), 502, "nine calls");
    }
}

#[tokio::test]
async fn a_replaced_version_finishes_what_it_has_begun() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime@1.0.0", Script { call: Answer::Takes(Duration::from_secs(1)), ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime@1.0.0", &[])]).await;
    instance.scripts.taken_events();
    let slow = tokio::spawn(pod.client.get(format!("{}/api/uptime/", pod.address)).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    pod.run(2, &[&package("uptime@1.0.1", &[])]).await;
    assert_eq!(pod.json("/api/uptime/").await.1["plugin"], "uptime@1.0.1");
    assert_eq!(instance.scripts.taken_events(), ["init uptime@1.0.1", "ready uptime@1.0.1"]);
    let answer: serde_json::Value = slow.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["plugin"], "uptime@1.0.0");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(instance.scripts.taken_events(), ["shutdown uptime@1.0.0"]);
}

#[tokio::test]
async fn what_depends_on_a_replaced_plugin_is_replaced_with_it_and_old_calls_reach_old_versions() {
    let instance = Instance::new().await;
    instance.scripts.set("front", Script { call: Answer::Asks("back"), ..Script::default() });
    instance.scripts.set("back@1.0.0", Script { call: Answer::Takes(Duration::from_secs(1)), ..Script::default() });
    let front = package("front", &["back"]);
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("back@1.0.0", &[]), &front]).await;
    instance.scripts.taken_events();
    let slow = tokio::spawn(pod.client.get(format!("{}/api/front/", pod.address)).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    pod.run(2, &[&package("back@1.1.0", &[]), &front]).await;
    assert_eq!(instance.scripts.taken_events(), ["init back@1.1.0", "init front@1.0.0", "ready back@1.1.0", "ready front@1.0.0"]);
    assert_eq!(pod.json("/api/front/").await.1["plugin"], "back@1.1.0");
    let answer: serde_json::Value = slow.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["plugin"], "back@1.0.0");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(instance.scripts.taken_events(), ["shutdown front@1.0.0", "shutdown back@1.0.0"], "who is asked goes last");
}

#[tokio::test]
async fn no_request_is_lost_while_versions_are_exchanged() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let versions: Vec<_> = (0..6).map(|patch| package(&format!("uptime@1.0.{patch}"), &[])).collect();
    pod.run(1, &[&versions[0]]).await;
    let done = std::sync::atomic::AtomicBool::new(false);
    let load = async {
        let mut answered = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(pod.get("/api/uptime/").await.status(), 200);
            answered += 1;
        }
        answered
    };
    let exchange = async {
        for (revision, version) in (2..).zip(&versions[1..]) {
            pod.run(revision, &[version]).await;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (first, second, ()) = tokio::join!(
        load,
        async {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                pod.get("/api/uptime/").await;
            }
            0
        },
        exchange
    );
    assert!(first + second > 20, "{first}");
}
