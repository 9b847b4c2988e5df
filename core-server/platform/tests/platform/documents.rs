//! What the instance says about itself.

use std::sync::Arc;

use checkstack_platform::native::{NativeParts, NativeServices};
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};
use crate::packages::{package, package_with_assets};
use crate::principals::Known;

async fn pod(instance: &Instance, known: Arc<Known>) -> Pod {
    let mut settings = instance.settings("pod");
    settings.base_url = "https://checks.example.com".into();
    settings.server_version = "4.5.6".into();
    let pod = instance.new_pod_with(settings).await;
    pod.platform
        .start(instance.loader(), move |_: NativeServices| Ok(NativeParts { identity: Some(known), ..NativeParts::default() }))
        .await
        .unwrap();
    let mut not_granted = package_with_assets("shy", &[("main.js", "")]);
    not_granted.entry.grants.frontend = false;
    pod.run(1, &[&package("plain@1.2.3", &[]), &package_with_assets("widget", &[("main.js", "")]), &not_granted]).await;
    pod
}

async fn get(pod: &Pod, path: &str, who: &str) -> (u16, Value) {
    let response = pod.client.get(format!("{}{path}", pod.address)).header("authorization", who).send().await.unwrap();
    assert_eq!(
        (&response.headers()["cache-control"], &response.headers()["x-content-type-options"]),
        (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
    );
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn everybody_learns_what_a_web_ui_needs() {
    let instance = Instance::new().await;
    let pod = pod(&instance, Arc::default()).await;
    assert_eq!(get(&pod, "/api/config", "nobody").await, (200, json!({ "baseUrl": "https://checks.example.com" })));
    let plugins = json!([{ "name": "@acme/widget", "path": "/assets/plugins/@acme/widget" }]);
    assert_eq!(get(&pod, "/api/plugins", "nobody").await, (200, plugins));
    for path in ["/api/config", "/api/plugins", "/api/about"] {
        let sent = |method: http::Method| pod.client.request(method, format!("{}{path}", pod.address)).send();
        assert_eq!(sent(http::Method::POST).await.unwrap().status(), 405, "{path}");
        assert_eq!(sent(http::Method::HEAD).await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(pod.get("/api/about/").await.status(), 404, "it is not below the document");
}

#[tokio::test]
async fn versions_are_for_those_who_have_signed_in() {
    let instance = Instance::new().await;
    let known = Arc::new(Known::default());
    let pod = pod(&instance, known.clone()).await;
    let plugin = |id: &str| json!({ "name": format!("@acme/{id}"), "type": "backend" });
    assert_eq!(get(&pod, "/api/about", "nobody").await, (200, json!({ "plugins": [plugin("plain"), plugin("shy"), plugin("widget")] })));
    let (status, about) = get(&pod, "/api/about", "bob").await;
    assert_eq!((status, &about["coreVersion"]), (200, &json!("4.5.6")));
    assert_eq!(about["plugins"][0], json!({ "name": "@acme/plain", "version": "1.2.3", "type": "backend" }));
    assert_eq!(get(&pod, "/api/about", "too-many").await.0, 429);
    known.take_down();
    assert_eq!(get(&pod, "/api/about", "bob").await.0, 503);
}
