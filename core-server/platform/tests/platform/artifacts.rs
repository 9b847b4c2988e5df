//! The artifact store, and the way from it to a pod's directory.

use std::time::Duration;

use checkstack_control_api::report::{PluginReason, PluginState};
use checkstack_control_api::{paths, token};
use checkstack_platform::materialise;
use checkstack_plugin_package::Digest;
use reqwest::Method;
use std::time::SystemTime;

use crate::instance::{Instance, NAME, Reported as _, refusal, set};
use crate::packages::{Package, package, package_of_another_world};
use crate::postgres::execute;

/// Not a package, but bytes enough for several chunks.
fn megabytes(count: usize, seed: u8) -> Package {
    let mut artifact = package("uptime", &[]);
    artifact.bytes = (0..count * 1024 * 1024 + 17).map(|index| (index % 251) as u8 ^ seed).collect();
    artifact.entry.digest = Digest::of(&artifact.bytes);
    artifact
}

#[tokio::test]
async fn an_artifact_is_stored_once_and_is_there_for_every_pod() {
    let instance = Instance::new().await;
    let (one, other) = (instance.pod("one").await, instance.pod("other").await);
    let artifact = megabytes(3, 0);
    let path = paths::artifact(&artifact.entry.digest);
    assert_eq!(one.signed(Method::HEAD, &path, vec![]).send().await.unwrap().status(), 404);
    assert_eq!(one.upload(&artifact).await.status(), 201);
    assert_eq!(one.signed(Method::HEAD, &path, vec![]).send().await.unwrap().status(), 200);
    assert_eq!(other.signed(Method::HEAD, &path, vec![]).send().await.unwrap().status(), 200);
    assert_eq!(other.upload(&artifact).await.status(), 200, "idempotent");
    let query = "SELECT count(*) || ' chunks of ' || sum(length(bytes)) FROM checkstack.plugin_artifact_chunks";
    assert_eq!(instance.database.value::<String>(query).await, format!("4 chunks of {}", artifact.bytes.len()));
}

#[tokio::test]
async fn uploads_of_one_artifact_at_once_all_succeed() {
    let instance = Instance::new().await;
    let (one, other) = (instance.pod("one").await, instance.pod("other").await);
    let artifact = megabytes(5, 1);
    let (first, second) = tokio::join!(one.upload(&artifact), other.upload(&artifact));
    assert!(first.status().is_success() && second.status().is_success());
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_artifacts").await, 1);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_artifact_chunks").await, 6);
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_refused_and_leaves_nothing() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let artifact = megabytes(1, 2);
    let path = paths::artifact(&artifact.entry.digest);
    let put = |path: &str, signed: Option<Digest>, body: Vec<u8>| {
        let token = token::sign(&instance.signing, NAME, "PUT", path, signed.as_ref(), SystemTime::now()).unwrap();
        pod.client.put(format!("{}{path}", pod.address)).bearer_auth(token).body(body)
    };

    let truncated = artifact.bytes[..artifact.bytes.len() / 2].to_vec();
    let refused = put(&path, Some(artifact.entry.digest), truncated).send().await.unwrap();
    assert_eq!(refusal(refused).await, (422, "digest_mismatch".into()));

    let refused = put(&path, Some(Digest::of(b"something else")), artifact.bytes.clone()).send().await.unwrap();
    assert_eq!(refusal(refused).await, (403, "digest_mismatch".into()));

    let bad_path = format!("{}/sha256:abc", paths::ARTIFACTS);
    assert_eq!(refusal(put(&bad_path, None, vec![]).send().await.unwrap()).await, (400, "invalid_digest".into()));

    // Without a length it is noticed while it streams; with one, before anything is read.
    let large = megabytes(51, 3);
    let path = paths::artifact(&large.entry.digest);
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = large.bytes.chunks(1024 * 1024).map(|chunk| Ok(chunk.to_vec())).collect();
    let streamed = put(&path, Some(large.entry.digest), vec![]).body(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
    match streamed.send().await {
        Ok(refused) => assert_eq!(refusal(refused).await, (413, "too_large".into())),
        // The server has answered and closed while the client was still sending.
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
    match put(&path, Some(large.entry.digest), large.bytes).send().await {
        Ok(refused) => assert_eq!(refusal(refused).await, (413, "too_large".into())),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }

    for table in ["plugin_artifacts", "plugin_artifact_chunks"] {
        assert_eq!(instance.database.value::<i64>(&format!("SELECT count(*) FROM checkstack.{table}")).await, 0);
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let artifact = megabytes(4, 4);
    let path = paths::artifact(&artifact.entry.digest);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let token = token::sign(&instance.signing, NAME, "PUT", &path, Some(&artifact.entry.digest), SystemTime::now()).unwrap();
    let request = pod.client.put(format!("{}{path}", pod.address)).bearer_auth(token).body(reqwest::Body::wrap_stream(body));
    let upload = tokio::spawn(request.send());
    sender.send(Ok(artifact.bytes[..2 * 1024 * 1024].to_vec())).await.unwrap();
    sender.send(Err(std::io::Error::other("gone"))).await.unwrap();
    assert!(upload.await.unwrap().is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_artifact_chunks").await, 0);
    assert_eq!(pod.upload(&artifact).await.status(), 201);
}

#[tokio::test]
async fn the_init_container_materialises_what_it_can_and_the_server_takes_it_from_there() {
    let instance = Instance::new().await;
    let (good, missing) = (package("good", &[]), package("missing", &[]));
    instance.pod("old").await.upload(&good).await;
    instance.mount(&set(1, &[&good, &missing]));
    let settings = instance.settings("new");

    let failed = materialise(&settings, instance.loader()).await.unwrap().unwrap();
    let failed: Vec<_> = failed.iter().map(|(entry, failure)| (entry.plugin_id.as_str(), failure.reason)).collect();
    assert_eq!(failed, [("missing", PluginReason::ArtifactMissing)]);
    let directory = settings.state_directory.join("artifacts").join(good.entry.digest.hex());
    assert!(directory.join("plugin.wasm").exists() && directory.join("compiled").exists());

    // The server needs neither source nor store for it any more.
    sqlx::query("DELETE FROM checkstack.plugin_artifacts").execute(&mut instance.database.admin().await).await.unwrap();
    let pod = instance.pod("new").await;
    let report = pod.report().await;
    assert!(report.is_active("good"), "{}", report.plugin("good").message);
    assert_eq!(report.plugin("missing").reason, PluginReason::ArtifactMissing);
    // Uploaded again: nobody has to ask for another attempt.
    pod.upload(&missing).await;
    pod.wait_for(|report| report.is_active("missing")).await;
}

#[tokio::test]
async fn an_artifact_that_cannot_be_run_says_why() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (good, mut corrupt, foreign) = (package("good", &[]), megabytes(1, 5), package_of_another_world("foreign"));
    let mut misnamed = package("misnamed", &[]);
    corrupt.entry.plugin_id = "corrupt".parse().unwrap();
    misnamed.entry.version = "2.0.0".into();
    let mut damaged = package("damaged", &[]);
    pod.upload(&damaged).await;
    let query = "UPDATE checkstack.plugin_artifact_chunks SET bytes = overlay(bytes placing '\\x00'::bytea from 20)";
    sqlx::query(query).execute(&mut instance.database.admin().await).await.unwrap();
    damaged.bytes = vec![];

    for package in [&good, &corrupt, &foreign, &misnamed] {
        assert_eq!(pod.upload(package).await.status(), 201);
    }
    pod.deliver(&set(1, &[&good, &corrupt, &foreign, &misnamed, &damaged])).await;
    let report = pod.settled(1).await;
    assert!(report.is_active("good"));
    for (plugin, reason, says) in [
        ("corrupt", PluginReason::ArtifactCorrupt, "neither gzip nor tar"),
        ("foreign", PluginReason::IncompatibleWorld, "0.9.0"),
        ("misnamed", PluginReason::InvalidPackage, "version '1.0.0', but the plugin set expects '2.0.0'"),
        ("damaged", PluginReason::ArtifactCorrupt, "was damaged in the database"),
    ] {
        let plugin = report.plugin(plugin);
        assert_eq!((plugin.state, plugin.reason), (PluginState::Failed, reason), "{plugin:?}");
        assert!(plugin.message.contains(says), "{}", plugin.message);
    }
    assert_eq!(pod.ready().await.0, 200);
}

/// What faults of the database's storage leave behind.
const DAMAGES: [&str; 3] = [
    "UPDATE checkstack.plugin_artifact_chunks SET bytes = overlay(bytes placing '\\x00'::bytea from 20)",
    "UPDATE checkstack.plugin_artifact_chunks SET bytes = ''",
    "DELETE FROM checkstack.plugin_artifact_chunks",
];

#[tokio::test]
async fn a_damaged_artifact_is_replaced_by_the_next_upload() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    for (revision, damage) in (1..).zip(DAMAGES) {
        let package = package(&format!("uptime@1.0.{revision}"), &[]);
        pod.upload(&package).await;
        execute(&mut instance.database.admin().await, damage).await;
        pod.deliver(&set(revision, &[&package])).await;
        let report = pod.settled(revision).await;
        assert_eq!(report.plugin("uptime").reason, PluginReason::ArtifactCorrupt, "{damage}");

        // As the operator does.
        assert_eq!(pod.upload(&package).await.status(), 201, "{damage}");
        assert!(pod.signed(Method::POST, paths::RECONCILE, vec![]).send().await.unwrap().status().is_success());
        pod.wait_for(|report| report.is_active("uptime")).await;
        assert_eq!(pod.upload(&package).await.status(), 200, "it is whole now");
        let chunks = "SELECT count(*) || ' in ' || count(DISTINCT content) FROM checkstack.plugin_artifact_chunks";
        assert_eq!(instance.database.value::<String>(chunks).await, "1 in 1", "nothing is left of the damaged one");
        execute(&mut instance.database.admin().await, "DELETE FROM checkstack.plugin_artifacts").await;
    }
}

#[tokio::test]
async fn a_damaged_artifact_is_replaced_once_and_only_by_what_it_should_be() {
    let instance = Instance::new().await;
    let (one, other) = (instance.pod("one").await, instance.pod("other").await);
    let artifact = megabytes(3, 6);
    one.upload(&artifact).await;
    execute(&mut instance.database.admin().await, DAMAGES[0]).await;
    let mut wrong = megabytes(3, 7);
    wrong.entry.digest = artifact.entry.digest;
    let path = paths::artifact(&artifact.entry.digest);
    let token = token::sign(&instance.signing, NAME, "PUT", &path, Some(&artifact.entry.digest), SystemTime::now()).unwrap();
    let refused = one.client.put(format!("{}{path}", one.address)).bearer_auth(token).body(wrong.bytes).send().await.unwrap();
    assert_eq!(refusal(refused).await, (422, "digest_mismatch".into()));
    let (first, second) = tokio::join!(one.upload(&artifact), other.upload(&artifact));
    assert!(first.status().is_success() && second.status().is_success());
    let whole = "SELECT count(*) || ' of ' || sum(length(bytes)) FROM checkstack.plugin_artifact_chunks";
    assert_eq!(instance.database.value::<String>(whole).await, format!("4 of {}", artifact.bytes.len()));
    assert_eq!(other.upload(&artifact).await.status(), 200);
}

#[tokio::test]
async fn an_artifact_that_is_deleted_while_it_is_read_is_missing_and_not_corrupt() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let package = package("uptime", &[]);
    pod.upload(&package).await;
    // The reader comes after the deletion began, and goes on when it is committed.
    let mut admin = instance.database.admin().await;
    execute(&mut admin, "BEGIN").await;
    execute(&mut admin, "DELETE FROM checkstack.plugin_artifacts").await;
    execute(&mut admin, "LOCK TABLE checkstack.plugin_artifact_chunks IN ACCESS EXCLUSIVE MODE").await;
    pod.deliver(&set(1, &[&package])).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while instance.database.value::<i64>(waiting).await == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody reads it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    execute(&mut admin, "COMMIT").await;
    let report = pod.wait_for(|report| report.plugin("uptime").state == PluginState::Failed).await;
    assert_eq!(report.plugin("uptime").reason, PluginReason::ArtifactMissing, "{}", report.plugin("uptime").message);
}

#[tokio::test]
async fn what_a_killed_server_left_half_done_is_deleted_by_the_next() {
    let instance = Instance::new().await;
    let artifacts = instance.settings("pod").state_directory.join("artifacts");
    let left_behind = [".unpacking-a1b2c3", ".deleting-d4e5f6"].map(|name| artifacts.join(name));
    for directory in &left_behind {
        std::fs::create_dir_all(directory.join("migrations")).unwrap();
    }
    let (old, new) = (package("uptime@1.0.0", &[]), package("uptime@1.0.1", &[]));
    let pod = instance.pod("pod").await;
    pod.run(1, &[&old]).await;
    assert!(left_behind.iter().all(|directory| !directory.exists()));
    // And back again: what a rollback does.
    pod.run(2, &[&new]).await;
    assert!(pod.run(3, &[&old]).await.is_active("uptime"));
}

#[tokio::test]
async fn artifacts_that_are_no_longer_used_are_deleted_from_the_pod() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (old, new) = (package("uptime@1.0.0", &[]), package("uptime@1.0.1", &[]));
    let directory = |package: &Package| instance.settings("pod").state_directory.join("artifacts").join(package.entry.digest.hex());
    pod.run(1, &[&old]).await;
    assert!(directory(&old).exists());
    pod.run(2, &[&new]).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while directory(&old).exists() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(directory(&new).exists());
}
