//! The web UI, the parts of it that plugins bring, and what is there instead.

use std::os::unix::fs::symlink;

use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::instance::{Instance, Pod, no_native_parts};
use crate::packages::{package, package_with_assets};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const INDEX: &str = "<!doctype html><head><title>UI</title><script type=module src=/assets/index-B1xZ9abc.js></script></head>";

async fn pod_with_ui(instance: &Instance) -> Pod {
    let ui = instance.directory.path().join("ui");
    for folder in ["assets/nested", "vendor", ".git"] {
        std::fs::create_dir_all(ui.join(folder)).unwrap();
    }
    let large = format!("export default 1; // {}", "x".repeat(5000));
    for (path, content) in [
        ("index.html", INDEX),
        ("favicon.svg", "<svg/>"),
        ("assets/index-B1xZ9abc.js", large.as_str()),
        ("assets/plain.js", large.as_str()),
        ("assets/plain.js.br", "brotli"),
        ("vendor/react.js", "react"),
        (".git/config", "hidden"),
    ] {
        std::fs::write(ui.join(path), content).unwrap();
    }
    instance.write("outside.txt", b"outside");
    symlink(instance.directory.path().join("outside.txt"), ui.join("link.txt")).unwrap();
    symlink(instance.directory.path().join("keys"), ui.join("assets/keys")).unwrap();
    let mut settings = instance.settings("pod");
    settings.frontend_directory = ui;
    settings.base_url = "https://checks.example.com".into();
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

async fn asked(pod: &Pod, method: Method, path: &str, fields: &[(&'static str, &str)]) -> Answer {
    let mut request = pod.client.request(method, format!("{}{path}", pod.address));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: response.text().await.unwrap() }
}

async fn browsed(pod: &Pod, path: &str) -> Answer {
    asked(pod, Method::GET, path, &[("accept", BROWSER)]).await
}

/// As it is, where a client would make another path of it.
async fn asked_for_exactly(pod: &Pod, path: &str) -> String {
    let mut stream = TcpStream::connect(pod.address.trim_start_matches("http://")).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nAccept: {BROWSER}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_path_of_the_ui_is_its_page_with_what_it_has_to_know() {
    let instance = Instance::new().await;
    let pod = pod_with_ui(&instance).await;
    pod.run(1, &[&package_with_assets("widget", &[("main.js", "")])]).await;
    let script = r#"<script>window.__CHECKSTACK_BOOTSTRAP__={"config":{"baseUrl":"https://checks.example.com"},"enabledPlugins":[{"name":"@acme/widget","path":"/assets/plugins/@acme/widget"}]};</script><script type=module"#;
    for path in ["/", "/index.html", "/systems/1", "/systems/my.host", "/systems/"] {
        let page = browsed(&pod, path).await;
        assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.body.contains(script), "{path}: {}", page.body);
        assert_eq!((page.field("cache-control"), page.field("x-frame-options")), ("no-cache", "DENY"));
        assert!(page.field("content-security-policy").contains("script-src 'self' 'sha256-") && page.field("vary").contains("accept"));
        assert!(!page.field("content-security-policy").contains("script-src 'self' 'unsafe-inline'"));
    }
    let page = browsed(&pod, "/").await;
    let known = asked(&pod, Method::GET, "/", &[("accept", BROWSER), ("if-none-match", page.field("etag"))]).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert!(known.field("content-security-policy").contains("sha256-"), "a browser takes it from here");
    // Another plugin is another page.
    pod.run(2, &[]).await;
    assert_eq!(asked(&pod, Method::GET, "/", &[("accept", BROWSER), ("if-none-match", page.field("etag"))]).await.status, 200);
    let head = asked(&pod, Method::HEAD, "/", &[("accept", BROWSER)]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn files_have_their_type_their_tag_and_their_time() {
    let instance = Instance::new().await;
    let pod = pod_with_ui(&instance).await;
    for (path, content_type, cache_control) in [
        ("/assets/index-B1xZ9abc.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/plain.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/vendor/react.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/favicon.svg", "image/svg+xml", "no-cache"),
    ] {
        let file = asked(&pod, Method::GET, path, &[]).await;
        assert_eq!((file.status, file.field("content-type"), file.field("cache-control")), (200, content_type, cache_control), "{path}");
        assert_eq!(file.field("x-content-type-options"), "nosniff");
        let again = asked(&pod, Method::GET, path, &[("if-none-match", file.field("etag"))]).await;
        assert_eq!((again.status, again.body.as_str(), again.field("etag")), (304, "", file.field("etag")), "{path}");
    }
    let coded = asked(&pod, Method::GET, "/assets/plain.js", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((coded.body.as_str(), coded.field("content-encoding"), coded.field("vary")), ("brotli", "br", "accept-encoding"));
    // What has no coding beside it is compressed on its way, and its tag still counts.
    let compressed = asked(&pod, Method::GET, "/assets/index-B1xZ9abc.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!((compressed.field("content-encoding"), compressed.field("etag").starts_with("W/")), ("gzip", true));
    let fields = [("accept-encoding", "gzip"), ("if-none-match", compressed.field("etag"))];
    assert_eq!(asked(&pod, Method::GET, "/assets/index-B1xZ9abc.js", &fields).await.status, 304);
    let head = asked(&pod, Method::HEAD, "/favicon.svg", &[]).await;
    assert_eq!((head.status, head.field("content-length"), head.body.as_str()), (200, "6", ""));
    assert_eq!(asked(&pod, Method::POST, "/favicon.svg", &[]).await.status, 404);
}

#[tokio::test]
async fn what_is_missing_is_no_page() {
    let instance = Instance::new().await;
    let pod = pod_with_ui(&instance).await;
    for path in [
        "/assets/gone-B1xZ9abc.js",
        "/assets/",
        "/assets/nested",
        "/vendor/gone.js",
        "/assets/plain.js.br",
        "/api/nobody/x",
        "/rest/nobody/x",
    ] {
        let gone = browsed(&pod, path).await;
        assert_eq!((gone.status, gone.body.as_str()), (404, r#"{"error":"Not Found"}"#), "{path}");
    }
    for (path, accept) in [("/systems", "application/json"), ("/gone.png", "image/*, */*"), ("/robots.txt", "*/*")] {
        assert_eq!(asked(&pod, Method::GET, path, &[("accept", accept)]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_leads_out_of_the_directory() {
    let instance = Instance::new().await;
    let pod = pod_with_ui(&instance).await;
    for path in [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/assets/../../outside.txt",
        "/assets/%2e%2e/%2e%2e/outside.txt",
        "/assets/..%5c..%5coutside.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/assets//etc/passwd",
        "/index.html%00.js",
        "/.git/config",
        "/%2egit/config",
        "/assets/keys/sealing.key",
        "/assets/plugins/../../../outside.txt",
        "/assets/plugins/@acme/widget/../../outside.txt",
        "/%ff",
    ] {
        let answer = asked_for_exactly(&pod, path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("outside") && !answer.contains("root:"), "{path}: {answer}");
    }
    // A link is as if it were not there.
    let link = browsed(&pod, "/link.txt").await;
    assert!(link.body.contains("<title>UI</title>"), "{}", link.body);
    assert_eq!(asked(&pod, Method::GET, "/link.txt", &[]).await.status, 404);
}

#[tokio::test]
async fn without_a_ui_a_browser_is_told_that_the_instance_answers() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let page = browsed(&pod, "/").await;
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.body.contains("/api/openapi.json") && page.body.contains("CHECKSTACK_FRONTEND_DIR") && !page.body.contains("<script"));
    assert!(
        page.field("content-security-policy").starts_with("default-src 'none'; style-src"),
        "{}",
        page.field("content-security-policy")
    );
    for (path, accept) in [("/", "*/*"), ("/", "application/json"), ("/other", BROWSER), ("/index.html", BROWSER)] {
        let answer = asked(&pod, Method::GET, path, &[("accept", accept)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"error":"Not Found"}"#), "{path} {accept}");
    }
}

#[tokio::test]
async fn a_ui_that_cannot_be_used_keeps_nothing_else_from_being_served() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    // It has no index.html.
    settings.frontend_directory = instance.directory.path().join("keys");
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    assert_eq!((pod.ready().await.0, browsed(&pod, "/").await.status), (200, 200));
    assert_eq!(asked(&pod, Method::GET, "/sealing.key", &[]).await.status, 404);
}

#[tokio::test]
async fn a_plugins_files_are_those_of_the_version_that_serves() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let path = "/assets/plugins/@acme/widget/main.js";
    assert_eq!(asked(&pod, Method::GET, path, &[]).await.status, 404);
    let first = package_with_assets("widget@1.0.0", &[("main.js", "first"), ("chunks/a-B1xZ9abc.js", "a"), ("page.html", "<script>")]);
    pod.run(1, &[&first]).await;
    let one = asked(&pod, Method::GET, path, &[]).await;
    assert_eq!((one.status, one.body.as_str(), one.field("content-type")), (200, "first", "text/javascript; charset=utf-8"));
    assert_eq!((one.field("cache-control"), one.field("x-content-type-options")), ("no-cache", "nosniff"));
    let known = async |tag: &str| asked(&pod, Method::GET, path, &[("if-none-match", tag)]).await.status;
    assert_eq!(known(one.field("etag")).await, 304);
    let chunk = asked(&pod, Method::GET, "/assets/plugins/@acme/widget/chunks/a-B1xZ9abc.js", &[]).await;
    assert_eq!((chunk.body.as_str(), chunk.field("cache-control")), ("a", "public, max-age=31536000, immutable"));
    let page = asked(&pod, Method::GET, "/assets/plugins/@acme/widget/page.html", &[]).await;
    let policies: Vec<&str> = page.headers.get_all("content-security-policy").iter().map(|policy| policy.to_str().unwrap()).collect();
    assert!(policies.len() == 2 && policies[1].starts_with("sandbox"), "as a page it acts in nobody's name: {policies:?}");

    pod.run(2, &[&package_with_assets("widget@1.1.0", &[("main.js", "second")])]).await;
    let two = asked(&pod, Method::GET, path, &[]).await;
    assert_eq!((two.body.as_str(), known(one.field("etag")).await), ("second", 200));
    assert_eq!(asked(&pod, Method::GET, "/assets/plugins/@acme/widget/chunks/a-B1xZ9abc.js", &[]).await.status, 404);
    pod.run(3, &[]).await;
    assert_eq!(asked(&pod, Method::GET, path, &[]).await.status, 404);
}

#[tokio::test]
async fn a_plugins_files_are_served_only_when_that_is_granted_and_nothing_else_of_it() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let mut shy = package_with_assets("shy", &[("main.js", "shy")]);
    shy.entry.grants.frontend = false;
    pod.run(1, &[&shy, &package("plain", &[]), &package_with_assets("widget", &[("main.js", "x"), ("folder/a.js", "a")])]).await;
    for path in [
        "shy/main.js",
        "plain/main.js",
        "plain/package.json",
        "widget/package.json",
        "widget/../plugin.wasm",
        "widget/%2e%2e/plugin.wasm",
        "widget/..%2fplugin.wasm",
        "widget/..%5cplugin.wasm",
        "widget/folder",
        "widget/folder/",
        "widget/",
        "widget",
        "widget/main.js/",
        "widget/main.js%00",
    ] {
        let answer = asked_for_exactly(&pod, &format!("/assets/plugins/@acme/{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    assert_eq!(asked(&pod, Method::GET, "/assets/plugins/widget/main.js", &[]).await.status, 404, "the scope is a part of the name");
    assert_eq!(asked(&pod, Method::GET, "/assets/plugins/%40acme/widget/main.js", &[]).await.body, "x");
}

#[tokio::test]
async fn large_files_of_plugins_count_among_all_bodies() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.max_buffered_bytes = 100 * 1024;
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    let (fits, too_large) = ("x".repeat(60 * 1024), "x".repeat(200 * 1024));
    pod.run(1, &[&package_with_assets("widget", &[("fits.png", &fits), ("large.png", &too_large)])]).await;
    for _ in 0..3 {
        assert_eq!(asked(&pod, Method::GET, "/assets/plugins/@acme/widget/fits.png", &[]).await.body.len(), fits.len());
    }
    let refused = asked(&pod, Method::GET, "/assets/plugins/@acme/widget/large.png", &[]).await;
    assert_eq!((refused.status, refused.field("retry-after")), (StatusCode::SERVICE_UNAVAILABLE.as_u16(), "1"));
}
