//! Artifacts that nothing needs any more, and code that was compiled from artifacts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use checkstack_control_api::paths;
use checkstack_control_api::report::{ArtifactsCollected, ArtifactsInUse};
use checkstack_platform::plugin::{CodeCache, PluginLoader};
use checkstack_plugin_package::Digest;
use reqwest::{Method, StatusCode};

use crate::instance::{Instance, Pod, Reported as _, no_native_parts, refusal};
use crate::packages::{Package, package};
use crate::postgres::execute;

async fn collect(pod: &Pod, in_use: &[&Package], grace_seconds: u32) -> u64 {
    let list = ArtifactsInUse { digests: in_use.iter().map(|package| package.entry.digest).collect(), grace_seconds };
    let response = pod.signed(Method::PUT, paths::ARTIFACTS, serde_json::to_vec(&list).unwrap()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json::<ArtifactsCollected>().await.unwrap().deleted
}

async fn has(pod: &Pod, package: &Package) -> bool {
    pod.signed(Method::HEAD, &paths::artifact(&package.entry.digest), vec![]).send().await.unwrap().status() == StatusCode::OK
}

async fn digests(instance: &Instance) -> BTreeSet<String> {
    let query = "SELECT coalesce(string_agg(digest, ' '), '') FROM checkstack.plugin_artifacts";
    instance.database.value::<String>(query).await.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_has_been_of_no_use_for_some_time_is_deleted_with_all_that_belongs_to_it() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (kept, gone) = (package("kept", &[]), package("gone", &[]));
    pod.run(1, &[&kept, &gone]).await;
    assert_eq!(collect(&pod, &[&kept], 3600).await, 0, "not at once");
    assert_eq!(collect(&pod, &[&kept], 3600).await, 0);
    execute(
        &mut instance.database.admin().await,
        "UPDATE checkstack.plugin_artifacts SET unneeded_since = unneeded_since - interval '1 hour'",
    )
    .await;
    assert_eq!(collect(&pod, &[&kept], 3600).await, 1);
    assert_eq!(digests(&instance).await, BTreeSet::from([kept.entry.digest.to_string()]));
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_artifact_chunks").await, 1);
    assert_eq!(pod.get("/api/gone/").await.status(), 200, "what serves does not need the store");
}

#[tokio::test]
async fn what_is_asked_for_or_sent_again_or_needed_again_stays() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let artifacts = [package("asked", &[]), package("sent", &[]), package("needed", &[]), package("gone", &[])];
    let [asked, sent, needed, gone] = &artifacts;
    for artifact in &artifacts {
        pod.upload(artifact).await;
    }
    collect(&pod, &[], 3600).await;
    execute(
        &mut instance.database.admin().await,
        "UPDATE checkstack.plugin_artifacts SET unneeded_since = unneeded_since - interval '1 hour'",
    )
    .await;
    assert!(has(&pod, asked).await);
    assert_eq!(pod.upload(sent).await.status(), 200);
    assert_eq!(collect(&pod, &[needed], 3600).await, 1);
    assert!(!has(&pod, gone).await);
    assert_eq!(digests(&instance).await.len(), 3);
}

#[tokio::test]
async fn only_the_operator_says_what_is_in_use() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let list = br#"{"digests":[],"graceSeconds":0}"#.to_vec();
    let unsigned = pod.client.put(format!("{}{}", pod.address, paths::ARTIFACTS)).body(list.clone()).send().await.unwrap();
    assert_eq!(refusal(unsigned).await, (401, "unauthenticated".into()));
    let malformed = pod.signed(Method::PUT, paths::ARTIFACTS, b"{}".to_vec()).send().await.unwrap();
    assert_eq!(refusal(malformed).await, (422, "invalid_list".into()));
    assert_eq!(pod.client.get(format!("{}{}", pod.address, paths::ARTIFACTS)).send().await.unwrap().status(), 405);
    assert_eq!(pod.signed(Method::PUT, paths::ARTIFACTS, list).send().await.unwrap().status(), 200);
}

/// A pod, and the cache that its plugins' loader is given.
async fn with_cache(instance: &Instance, name: &str) -> (Pod, Arc<dyn CodeCache>) {
    let given = Arc::new(Mutex::new(None));
    let (scripts, taken) = (instance.scripts.clone(), given.clone());
    let pod = instance.new_pod(name).await;
    let loader = move |_: &_, cache| {
        *taken.lock().unwrap() = Some(cache);
        Ok(Arc::new(scripts) as Arc<dyn PluginLoader>)
    };
    pod.platform.start(loader, no_native_parts).await.unwrap();
    let cache = given.lock().unwrap().take().unwrap();
    (pod, cache)
}

#[tokio::test]
async fn compiled_code_is_there_for_other_pods_as_long_as_its_artifact() {
    let instance = Instance::new().await;
    let ((one, mine), (_other, theirs)) = (with_cache(&instance, "one").await, with_cache(&instance, "other").await);
    let uptime = package("uptime", &[]);
    let digest = uptime.entry.digest;
    mine.put(&digest, "x86", Bytes::from_static(b"too early")).await;
    assert_eq!(theirs.get(&digest, "x86").await, None, "there is no such artifact");
    one.upload(&uptime).await;
    mine.put(&digest, "x86", Bytes::from_static(b"code")).await;
    mine.put(&digest, "x86", Bytes::from_static(b"better code")).await;
    assert_eq!(theirs.get(&digest, "x86").await.as_deref(), Some(&b"better code"[..]));
    assert_eq!(theirs.get(&digest, "arm").await, None);
    assert_eq!(theirs.get(&Digest::of(b""), "x86").await, None);

    let stored = "UPDATE checkstack.compiled_code SET stored_at = now() - interval '8 days'";
    execute(&mut instance.database.admin().await, stored).await;
    mine.put(&digest, "arm", Bytes::from_static(b"code")).await;
    assert_eq!(theirs.get(&digest, "x86").await, None, "of a release that is long gone");

    collect(&one, &[], 0).await;
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.compiled_code").await, 0);
}

#[tokio::test]
async fn a_cache_that_cannot_be_reached_is_an_empty_one() {
    let instance = Instance::new().await;
    let (pod, cache) = with_cache(&instance, "pod").await;
    let uptime = package("uptime", &[]);
    pod.upload(&uptime).await;
    execute(&mut instance.database.admin().await, "ALTER TABLE checkstack.compiled_code RENAME TO away").await;
    cache.put(&uptime.entry.digest, "x86", Bytes::from_static(b"code")).await;
    assert_eq!(cache.get(&uptime.entry.digest, "x86").await, None);
    assert!(pod.run(1, &[&uptime]).await.is_active("uptime"));
}
