//! A new pod beside others: it takes what they have made of a package, if it can be trusted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::packages::{Package, package_of};
use crate::postgres::execute;
use crate::process::Pod;
use crate::{guest, set};

const MIGRATIONS: [(&str, &str); 1] = [("0001_notes", "CREATE TABLE notes (id integer)")];

/// One pod has the plugin, and has left what it made of it.
async fn one_pod() -> (Pod, Package) {
    let pod = Pod::new().await;
    let plugin = package_of("good", &[], &MIGRATIONS, &guest::plain());
    let mut server = pod.serve();
    pod.until_ready().await;
    pod.upload(&plugin).await;
    assert!(server.terminate().success());
    pod.mount(&set(1, &[&plugin]));
    assert!(log_of(&pod).contains("all plugins of the set are materialised"));
    assert!(artifact(&pod.path("state"), &plugin).join("plugin.wasm").exists());
    (pod, plugin)
}

/// A pod with nothing in its state directory.
fn fresh(pod: &Pod, state: &str) -> Pod {
    std::fs::create_dir(pod.path(state)).unwrap();
    pod.replica().with("CHECKSTACK_STATE_DIR", pod.path(state).to_str().unwrap())
}

fn artifact(state: &Path, plugin: &Package) -> PathBuf {
    state.join("artifacts").join(plugin.entry.digest.hex())
}

/// What the init container says.
fn log_of(pod: &Pod) -> String {
    let materialised = pod.materialise();
    assert!(materialised.status.success());
    String::from_utf8(materialised.stdout).unwrap()
}

async fn lose_the_package(pod: &Pod) {
    execute(&mut pod.database.admin().await, "DELETE FROM checkstack.plugin_artifact_chunks").await;
}

async fn until_it_answers(pod: &Pod) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !reqwest::get(pod.url("/api/good/")).await.is_ok_and(|answer| answer.status() == 204) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_new_pod_needs_no_package_of_which_another_has_left_what_came_of_it() {
    let (pod, plugin) = one_pod().await;
    lose_the_package(&pod).await;
    let fresh = fresh(&pod, "fresh");
    let log = log_of(&fresh);
    assert!(log.contains("all plugins of the set are materialised"), "{log}");
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["milliseconds"].is_u64(), "it says how long it took: {log}");
    let directory = artifact(&pod.path("fresh"), &plugin);
    assert!(directory.join("plugin.cwasm").exists() && !directory.join("plugin.wasm").exists());

    let mut server = fresh.serve();
    fresh.until_ready().await;
    assert_eq!(fresh.get("/api/good/").await.0, 204);
    assert_eq!(pod.database.value::<i64>("SELECT count(*) FROM plugin_good.notes").await, 0, "its migrations came with it");
    server.terminate();
}

#[tokio::test]
async fn what_cannot_be_trusted_is_made_of_the_package_again() {
    let (pod, plugin) = one_pod().await;
    let mut admin = pod.database.admin().await;
    for (place, damage) in [
        ("essentials", "UPDATE checkstack.package_essentials SET essentials = set_byte(essentials, 20, 0)"),
        (
            "tag",
            "UPDATE checkstack.package_essentials SET essentials = set_byte(essentials, length(essentials) - 1, get_byte(essentials, length(essentials) - 1) # 1)",
        ),
        ("nothing", "DELETE FROM checkstack.package_essentials"),
        ("code", "UPDATE checkstack.compiled_code SET code = set_byte(code, length(code) / 2, get_byte(code, length(code) / 2) # 1)"),
    ] {
        execute(&mut admin, damage).await;
        let other = fresh(&pod, place);
        assert!(log_of(&other).contains("all plugins of the set are materialised"), "{place}");
        assert!(artifact(&pod.path(place), &plugin).join("plugin.wasm").exists(), "{place}: the package was unpacked");
        let next = fresh(&pod, &format!("after-{place}"));
        assert!(log_of(&next).contains("all plugins of the set are materialised"), "{place}");
        let directory = artifact(&pod.path(&format!("after-{place}")), &plugin);
        assert!(!directory.join("plugin.wasm").exists(), "{place}: it is in order again for the next pod");
    }
    // And nobody can do without a package that is damaged as well.
    execute(&mut admin, "DELETE FROM checkstack.package_essentials").await;
    lose_the_package(&pod).await;
    let last = fresh(&pod, "last");
    assert!(log_of(&last).contains("damaged in the database"));
}

#[tokio::test]
async fn a_pod_whose_code_is_damaged_gets_the_component_after_all() {
    let (pod, plugin) = one_pod().await;
    let fresh = fresh(&pod, "fresh");
    assert!(log_of(&fresh).contains("all plugins of the set are materialised"));
    let code = artifact(&pod.path("fresh"), &plugin).join("plugin.cwasm");
    std::fs::remove_file(&code).unwrap();
    std::fs::write(&code, "not code").unwrap();
    execute(&mut pod.database.admin().await, "DELETE FROM checkstack.compiled_code").await;
    let mut server = fresh.serve();
    until_it_answers(&fresh).await;
    assert!(artifact(&pod.path("fresh"), &plugin).join("plugin.wasm").exists());
    server.terminate();
}
