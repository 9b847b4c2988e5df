//! A bad plugin hurts only itself: the pods stay Ready, the others answer, `kubectl describe` says
//! what is wrong and what to do, and correcting the YAML is all that is needed.

use std::time::Duration;

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::{always, eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE, uptime};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed, with_metadata};
use serde_json::{Value, json};

use crate::shared_operator;

/// How a plugin is bad, and what an admin reads about it.
struct Fault<'a> {
    /// The condition that is False, beside Ready.
    condition: &'a str,
    reason: &'a str,
    /// What is wrong.
    says: &'a [&'a str],
    /// What to do.
    remedy: &'a str,
    /// A route of the plugin, once it is good.
    route: &'a str,
    /// The form before is put back.
    rolled_back: bool,
}

impl Default for Fault<'_> {
    fn default() -> Self {
        Self { condition: "Loaded", reason: "", says: &[], remedy: "", route: "/api/bad/version", rolled_back: false }
    }
}

/// A namespace with an instance and a good neighbour.
async fn with_neighbour(test: &str) -> Result<Namespace> {
    let ns = Namespace::create(test).await?;
    ns.bring_up_instance(1).await?;
    ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({})).await?;
    ns.await_plugin_ready("neighbour").await?;
    Ok(ns)
}

/// Nobody notices the bad plugin but those who ask for it.
async fn nobody_else_suffers(ns: &Namespace) -> Result<()> {
    let answer = ns.http_get(INSTANCE, "/api/neighbour/version").await?;
    ensure!(answer.status == 200 && answer.body.contains("build-one"), "the neighbour: {answer:?}");
    ns.ensure_core_pods_ready(1).await
}

/// The plugin `bad` is installed from `tarball` with `spec`, fails, and is corrected; all the time nobody else suffers.
async fn fails_alone_and_heals(ns: Namespace, tarball: &[u8], spec: Value, fault: Fault<'_>, corrected: Value) -> Result<()> {
    let pods = ns.core_pod_names().await?;
    let story = async {
        ns.install_plugin("bad", tarball, spec).await?;
        says_what_is_wrong_and_what_to_do(&ns, &fault).await?;
        always("the plugin does not answer", Duration::from_secs(3), || async {
            let answer = ns.http_get(INSTANCE, fault.route).await?;
            ensure!(matches!(answer.status, 404 | 503), "{answer:?}");
            Ok(())
        })
        .await?;
        ns.apply_plugin("bad", corrected).await?;
        heals(&ns, &fault).await
    };
    throughout("the pods are Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    ensure!(ns.core_pod_names().await? == pods, "the pod was replaced");
    ns.remove().await
}

/// In the status, in `kubectl describe`, in an Event, and in the row of the pod if it is the pod that says so.
async fn says_what_is_wrong_and_what_to_do(ns: &Namespace, fault: &Fault<'_>) -> Result<()> {
    let Fault { condition, reason, says, remedy, rolled_back, .. } = fault;
    if *rolled_back {
        ns.await_condition("checkstackplugin/bad", "RolledBack", "True", reason, PATIENCE).await?;
    }
    ensure!(!remedy.is_empty() && !says.is_empty(), "this test does not say what it expects");
    let failed = ns.await_condition("checkstackplugin/bad", "Ready", "False", reason, PATIENCE).await?;
    let cause = ns.await_condition("checkstackplugin/bad", condition, "False", reason, PATIENCE).await?;
    ensure!(cause.message == failed.message, "Ready says '{}', {condition} says '{}'", failed.message, cause.message);
    for words in says.iter().chain([remedy]) {
        ensure!(failed.message.contains(words), "the message does not say '{words}': {}", failed.message);
    }
    let description = ns.kubectl(&["describe", "checkstackplugin/bad"]).await?;
    ensure!(description.contains(&failed.message), "kubectl describe: {description}");
    eventually("an Event warns, and says the same", PATIENCE, || async {
        let events = ns.events("bad").await?;
        let warns = |(kind, why, note): &(String, String, String)| {
            kind == "Warning" && (why == reason || why == "RolledBack") && note.contains(remedy)
        };
        ensure!(events.iter().any(warns), "{events:?}");
        Ok(())
    })
    .await?;
    if *condition == "Loaded" && !rolled_back {
        let status = ns.get("checkstackplugin/bad").await?["status"].take();
        let row = &status["pods"][0];
        ensure!(row["reason"] == *reason && row["message"].as_str().is_some_and(|text| text.contains(remedy)), "{status}");
    }
    Ok(())
}

/// Ready, nothing left of the complaint, and it answers.
async fn heals(ns: &Namespace, fault: &Fault<'_>) -> Result<()> {
    ns.await_plugin_ready("bad").await?;
    let cause = ns.condition("checkstackplugin/bad", fault.condition).await?;
    ensure!(cause.status == "True" && !cause.message.contains(fault.remedy), "{cause:?}");
    ensure!(ns.condition("checkstackplugin/bad", "Stalled").await.is_err(), "healthy, but Stalled");
    let answer = ns.http_get(INSTANCE, fault.route).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// A working package under the id `bad`.
fn good() -> Result<Vec<u8>> {
    renamed(&package("chaos")?, "bad")
}

/// A working package in the ConfigMap `good`, and the spec that takes it.
async fn store_good(ns: &Namespace) -> Result<Value> {
    ns.store_package("good", &good()?).await?;
    Ok(json!({"source": {"tarball": {"configMapRef": {"name": "good", "key": "package.tgz"}}}}))
}

#[tokio::test]
async fn a_corrupt_package() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("corrupt").await?;
    let mut tarball = good()?;
    let middle = tarball.len() / 2;
    for byte in &mut tarball[middle..middle + 64] {
        *byte ^= 0xff;
    }
    let corrected = store_good(&ns).await?;
    let fault = Fault {
        condition: "Verified",
        reason: "InvalidPackage",
        says: &["the archive is not"],
        remedy: "build the package with: checkstack plugin pack",
        ..Fault::default()
    };
    fails_alone_and_heals(ns, &tarball, json!({}), fault, corrected).await
}

#[tokio::test]
async fn another_version_of_the_plugin_world() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("world").await?;
    let corrected = store_good(&ns).await?;
    let fault = Fault {
        condition: "Compatible",
        reason: "IncompatibleWorld",
        says: &["0.9.0", "this server provides 0.2.0"],
        remedy: "use a build of the plugin for 0.2.0",
        ..Fault::default()
    };
    fails_alone_and_heals(ns, &renamed(&package("wrong-world")?, "bad")?, json!({}), fault, corrected).await
}

#[tokio::test]
async fn a_trap_in_init() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("trap").await?;
    let fault = Fault { reason: "Trapped", says: &["trapped in init"], remedy: "report it to its author", ..Fault::default() };
    fails_alone_and_heals(ns, &good()?, json!({"config": {"init": "trap"}}), fault, json!({"config": {"init": "ok"}})).await
}

#[tokio::test]
async fn an_endless_loop_in_init() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("loop").await?;
    let spec = json!({"config": {"init": "loop"}, "grants": {"deadline": "500ms"}});
    let fault = Fault {
        reason: "DeadlineExceeded",
        says: &["did not finish init within"],
        remedy: "raise spec.grants.deadline or use a version of the plugin that does less there",
        ..Fault::default()
    };
    fails_alone_and_heals(ns, &good()?, spec, fault, json!({"config": {"init": "ok"}})).await
}

#[tokio::test]
async fn an_error_and_too_much_memory_in_init() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("init").await?;
    let fault = Fault {
        reason: "InitFailed",
        says: &["init failed: failed as configured"],
        remedy: "the log lines of the plugin in the pod may say more",
        ..Fault::default()
    };
    let memory = Fault { reason: "MemoryExceeded", says: &["more memory in init"], remedy: "raise spec.grants.memory", ..Fault::default() };
    let story = async {
        ns.install_plugin("bad", &good()?, json!({"config": {"init": "fail"}})).await?;
        says_what_is_wrong_and_what_to_do(&ns, &fault).await?;
        // The remedy that helps is another one here, and it is not hidden behind the first fault.
        ns.apply_plugin("bad", json!({"config": {"init": "memory"}})).await?;
        says_what_is_wrong_and_what_to_do(&ns, &memory).await?;
        ns.apply_plugin("bad", json!({"config": {"init": "ok"}})).await?;
        heals(&ns, &memory).await
    };
    throughout("the pods are Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    ns.remove().await
}

#[tokio::test]
async fn a_missing_dependency() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("dependency").await?;
    let needy = with_metadata(&good()?, |metadata| {
        metadata["checkstack"]["dependencies"] = json!({"provider": "^0.1.0"});
    })?;
    let fault = Fault {
        reason: "DependencyMissing",
        says: &["'provider' (^0.1.0)", "which this instance does not have"],
        remedy: "add a CheckstackPlugin for it",
        ..Fault::default()
    };
    // The remedy does what it promises: nothing of the plugin itself is touched.
    let story = async {
        ns.install_plugin("bad", &needy, json!({})).await?;
        says_what_is_wrong_and_what_to_do(&ns, &fault).await?;
        ns.install_plugin("provider", &renamed(&package("chaos")?, "provider")?, json!({})).await?;
        heals(&ns, &fault).await?;
        ns.kubectl(&["delete", "checkstackplugin/provider", "--timeout=60s"]).await
    };
    throughout("the pods are Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    // Taken away again, it is missed again; a version without the dependency helps as well.
    let corrected = store_good(&ns).await?;
    fails_alone_and_heals(ns, &needy, json!({}), fault, corrected).await
}

#[tokio::test]
async fn a_configuration_that_the_plugin_refuses() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("config").await?;
    let corrected = uptime(&ns.name);
    let mut spec = corrected.clone();
    spec["config"] = json!({"targets": [{"name": "x", "url": "not a url"}]});
    let fault = Fault {
        reason: "InvalidConfig",
        says: &["not a url"],
        remedy: "correct spec.config",
        route: "/api/bad/targets",
        ..Fault::default()
    };
    fails_alone_and_heals(ns, &renamed(&package("uptime")?, "bad")?, spec, fault, corrected).await
}

/// The same goes for the plugin itself: until a change of it is up, what was there before serves.
#[tokio::test]
async fn a_bad_change_of_a_good_plugin() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("change-bad").await?;
    ns.apply_instance(json!({"replicas": 1, "rollout": {"progressDeadlineSeconds": 10}})).await?;
    ns.install_plugin("bad", &good()?, json!({"config": {"label": "first"}})).await?;
    ns.await_plugin_ready("bad").await?;
    let still_serves = || async {
        let answer = ns.http_get(INSTANCE, "/api/bad/version").await?;
        ensure!(answer.status == 200 && answer.body.contains("first"), "{answer:?}");
        nobody_else_suffers(&ns).await
    };
    let says = &["trapped in init", "was rolled back to version"];
    let fault = Fault { reason: "Trapped", says, remedy: "report it to its author", rolled_back: true, ..Fault::default() };
    let story = async {
        ns.apply_plugin("bad", json!({"config": {"label": "second", "init": "trap"}})).await?;
        says_what_is_wrong_and_what_to_do(&ns, &fault).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    };
    throughout("what was there before serves", still_serves, story).await?;
    ns.apply_plugin("bad", json!({"config": {"label": "third"}})).await?;
    let story = heals(&ns, &fault);
    throughout("the pods are Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    let answer = ns.http_get(INSTANCE, "/api/bad/version").await?;
    ensure!(answer.body.contains("third"), "{answer:?}");
    ns.remove().await
}

/// One that is up and traps when it is called is left alone, until it answers again.
#[tokio::test]
async fn a_plugin_that_traps_again_and_again() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("quarantine").await?;
    ns.install_plugin("bad", &good()?, json!({})).await?;
    ns.await_plugin_ready("bad").await?;
    let fault = Fault {
        reason: "Quarantined",
        says: &["failed again and again", "trapped in handle"],
        remedy: "report it to its author",
        ..Fault::default()
    };
    let story = async {
        for _ in 0..3 {
            let trapped = ns.http_get(INSTANCE, "/api/bad/behave/trap").await?;
            ensure!(trapped.status == 502, "{trapped:?}");
        }
        says_what_is_wrong_and_what_to_do(&ns, &fault).await?;
        eventually("it is called again", PATIENCE, || async {
            let answer = ns.http_get(INSTANCE, fault.route).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await?;
        heals(&ns, &fault).await
    };
    throughout("the pods are Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    ns.remove().await
}
