//! The program as a pod runs it: environment, mounts, signals, exit codes, with a real PostgreSQL and
//! real sandboxed plugins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(dead_code, reason = "modules shared with the tests of other crates have more than is needed here")]

#[path = "../../../wasm-host/tests/sandbox/guest.rs"]
mod guest;
#[path = "../../../platform/tests/platform/packages.rs"]
mod packages;
#[path = "../../../platform/tests/platform/postgres.rs"]
mod postgres;

mod cache;
mod clients;
mod dev_auth;
mod fresh_pods;
mod granted;
mod identity;
mod oidc;
mod openapi;
mod process;
mod provider;
mod queue;
mod secrets;
mod traces;
mod upgrade;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use checkstack_plugin_package::PluginSet;
use packages::{Package, package, package_of};
use process::{NAME, Pod};
use serde_json::Value;

fn plugin(name: &str, component: &[u8]) -> Package {
    let mut package = package_of(name, &[], &[], component);
    package.entry.grants.database = false;
    package
}

fn set(revision: u64, packages: &[&Package]) -> PluginSet {
    PluginSet { revision, plugins: packages.iter().map(|package| package.entry.clone()).collect(), ..PluginSet::empty(NAME) }
}

#[tokio::test]
async fn a_pod_starts_from_the_store_serves_sandboxed_plugins_and_ends_in_order() {
    let pod = Pod::new().await;
    let noise = [("0001_noise", "DO $$ BEGIN RAISE WARNING 'noise of a plugin'; END $$")];
    let good = package_of("good", &[], &noise, &guest::plain());
    let bad = plugin("bad", &guest::Guest::default().init("unreachable").component());
    let missing = package("missing", &[]);
    let mut first = pod.serve();
    pod.until_ready().await;
    for package in [&good, &bad] {
        pod.upload(package).await;
    }
    assert!(first.terminate().success());

    pod.mount(&set(1, &[&bad, &good, &missing]));
    let materialised = pod.materialise();
    assert!(materialised.status.success(), "some that are missing keep nobody from starting");
    let log = String::from_utf8(materialised.stdout).unwrap();
    assert!(
        log.contains("not all plugins of the set are materialised") && log.contains("missing: the artifact store has no artifact"),
        "{log}"
    );

    let begin = Instant::now();
    let mut server = pod.serve();
    pod.until_ready().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(pod.get("/api/good/").await.0, 204);
    assert_eq!(pod.get("/api/bad/").await.0, 503);
    assert_eq!(pod.get("/api/missing/").await.0, 503);
    let (_, report) = pod.get("/.checkstack/plugins").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["revision"], report["serverVersion"].as_str()), (&1.into(), Some(env!("CARGO_PKG_VERSION"))));
    let reasons: Vec<(&str, &str)> = report["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| (plugin["pluginId"].as_str().unwrap(), plugin["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(reasons, [("bad", "Trapped"), ("good", "Active"), ("missing", "ArtifactMissing")]);

    let begin = Instant::now();
    assert!(server.terminate().success());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let log = server.log();
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(log.contains("ending: unready from now on") && log.contains(r#""message":"ended""#), "{log}");
    assert!(!log.contains("secret"), "no password is logged");
    assert!(!log.contains("noise of a plugin") && !log.contains("already exists"), "what the database remarks is not: {log}");
}

#[tokio::test]
async fn killed_without_warning_it_starts_again_from_what_there_is() {
    let pod = Pod::new().await;
    let good = plugin("good", &guest::plain());
    let mut server = pod.serve();
    pod.until_ready().await;
    pod.upload(&good).await;
    pod.mount(&set(3, &[&good]));
    server.kill();
    let mut server = pod.serve();
    pod.until_ready().await;
    assert_eq!(pod.get("/api/good/").await.0, 204);
    server.kill();
    assert!(pod.materialise().status.success());
}

/// Opens a named pipe for writing as soon as somebody reads it, who then waits for what is written.
async fn write_end(pipe: &Path) -> std::fs::File {
    const O_NONBLOCK: i32 = 0o4000;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match std::fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(pipe) {
            Ok(file) => return file,
            Err(error) => assert!(Instant::now() < deadline, "nobody reads the component: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_deadline_for_the_end_holds_while_a_plugin_is_compiled() {
    let pod = Pod::new().await.with("CHECKSTACK_SHUTDOWN_DEADLINE_SECONDS", "3");
    let endless = plugin("endless", &guest::plain());
    // As if it had been unpacked, but the compiler waits for the component for ever.
    let artifact = pod.path("state/artifacts").join(endless.entry.digest.hex());
    std::fs::create_dir_all(artifact.join("migrations")).unwrap();
    // By a server since the machine came up.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(pod.path("state/artifacts.boot"), boot).unwrap();
    let component = artifact.join("plugin.wasm");
    assert!(Command::new("mkfifo").arg(&component).status().unwrap().success());
    pod.mount(&set(1, &[&endless]));
    let mut server = pod.serve();
    let _compiling = write_end(&component).await;
    let begin = Instant::now();
    assert!(server.terminate().success());
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_cannot_start_exits_with_one_clear_line() {
    let pod = Pod::new()
        .await
        .with("DATABASE_URL", "postgres://nobody:secret@127.0.0.1:1/nothing")
        .with("CHECKSTACK_DATABASE_CONNECT_SECONDS", "1");
    pod.mount(&set(1, &[&package("good", &[])]));
    let mut server = pod.serve();
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(1));
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains("the server cannot serve: the database does not answer") && !log.contains("secret"), "{log}");

    let materialised = pod.materialise();
    assert_eq!(materialised.status.code(), Some(1));
    let log = String::from_utf8(materialised.stdout).unwrap();
    assert!(log.contains("plugins cannot be materialised: the database does not answer"), "{log}");

    let unset = Pod::new().await.with("DATABASE_URL", "");
    let (status, log) = unset.serve().ended();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("DATABASE_URL is not a PostgreSQL URL: it is not set"), "{log}");
}

#[tokio::test]
async fn on_the_database_of_another_instance_it_exits_with_one_clear_line() {
    let pod = Pod::new().await;
    let mut server = pod.serve();
    pod.until_ready().await;
    assert!(server.terminate().success());

    let pod = pod.with("CHECKSTACK_INSTANCE", "staging/main");
    let (status, log) = pod.serve().ended();
    assert_eq!(status.code(), Some(1));
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for part in [
        "the server cannot serve: the database belongs to the instance 'monitoring/main', and this is 'staging/main'",
        "run in that database: UPDATE",
    ] {
        assert!(errors[0].contains(part), "{log}");
    }
}

#[tokio::test]
async fn what_the_database_says_is_for_the_log_and_not_for_everybody() {
    let pod = Pod::new().await;
    let server = pod.serve();
    pod.until_ready().await;
    let (mut admin, owner) = (pod.database.admin().await, &pod.database.owner);
    postgres::execute(&mut admin, &format!("ALTER ROLE {owner} NOLOGIN")).await;
    postgres::execute(&mut admin, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{owner}'")).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let told = loop {
        match pod.get("/.checkstack/ready").await {
            (503, told) => break told,
            last => assert!(Instant::now() < deadline, "still ready: {last:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.contains(r#""ok":false,"error":"the database refused""#) && !told.contains(owner), "{told}");
    assert!(server.log().contains(&format!(r#"role \"{owner}\" is not permitted to log in"#)), "{}", server.log());
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_by_name() {
    let pod = Pod::new().await.with("CHECKSTACK_DATABASE_CONNECTIONS", "3");
    let output = pod.command("serve").stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("--database-connections") && said.contains("3 is not in 12..=1000"), "{said}");
}

#[tokio::test]
async fn a_set_that_nobody_has_signed_is_not_materialised() {
    let pod = Pod::new().await;
    pod.mount(&set(1, &[&package("good", &[])]));
    pod.write("set/plugins.lock.jws", b"x.y.z");
    let materialised = pod.materialise();
    assert!(materialised.status.success());
    assert!(String::from_utf8(materialised.stdout).unwrap().contains("the mounted plugin set is not used"));
}
