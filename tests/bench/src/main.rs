//! `make bench`: the figures of `docs/benchmarks.md`, on the real node, each beside its baseline in
//! the same run. Prints a Markdown table to standard output.
//!
//! It measures the images as they are deployed: requests go from this process, on one core, to a
//! pod that is limited to the other.
// An index into a JSON value that is not there gives null, not a panic.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::indexing_slicing)]

mod caller;
mod load;
mod many_plugins;
mod memory;
mod neighbour;
mod plugin_apply;
mod pod_start;
mod table;

use anyhow::{Result, bail};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::many_plugins::{Plot, Point};
use crate::table::Table;

/// What is measured: all of it, or what the arguments name.
const PARTS: [&str; 6] = ["start", "apply", "load", "neighbours", "change", "many"];

#[tokio::main]
async fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part '{unknown}'; there are {}", PARTS.join(", "));
    }
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let mut table = Table::default();
    let mut plots = String::new();

    let ns = Namespace::create("bench").await?;
    // Whatever it has done before, its memory may still be there.
    ns.restart_operator().await?;
    let idle_operator = memory::of_operator(&ns).await?;
    ns.bring_up_database().await?;
    resize(&ns, 1, 1).await?;
    let bare_start = pod_start::measure(&ns).await?;
    let bare_memory = memory::of_core(&ns).await?;
    ns.install_samples().await?;
    if wants("start") {
        table.time(
            "container start → ready, two plugins",
            pod_start::measure(&ns).await?.core,
            "the same without plugins",
            bare_start.core,
            "≤ 1 s",
        );
        table.memory("RSS of the core, two plugins", memory::of_core(&ns).await?, "the same without plugins", bare_memory, "≤ 120 MiB");
        table.memory("RSS of the operator", memory::of_operator(&ns).await?, "before the first instance", idle_operator, "≤ 40 MiB");
    }
    if wants("apply") {
        let restart = plugin_apply::measure_restart(&ns, 1).await?;
        let apply = plugin_apply::measure(&ns, 10).await?;
        table.time("`kubectl apply` of a plugin → Ready", apply, "restart of the same Deployment", restart, "≤ 2 s");
    }
    ns.install_plugin("hello", &renamed(&package("chaos")?, "hello")?, json!({})).await?;
    ns.install_plugin("hello-ts", &package("hello-ts")?, json!({})).await?;
    for plugin in ["hello", "hello-ts"] {
        ns.await_plugin_ready(plugin).await?;
    }
    if wants("load") {
        for (cpus, on) in [(2, ", 2 threads"), (1, "")] {
            resize(&ns, 1, cpus).await?;
            let key = caller::new_key(&ns).await?;
            let routes =
                ["/.checkstack/health", "/rest/auth/whoAmI", "/rest/auth/getServiceKeys", "/api/hello/hello", "/api/hello-ts/hello"];
            let [native, call, query, rust, typescript] = load::measure(&ns, routes, &key).await?;
            table.load(&format!("native axum handler{on}"), &native, None, "≥ 90,000/s");
            table.load(&format!("authenticated call without a query{on}"), &call, Some(&native), "≥ 40,000/s");
            table.load(&format!("authenticated call with one query{on}"), &query, Some(&native), "≥ 25,000/s");
            table.load(&format!("plugin route, Rust{on}"), &rust, Some(&native), "within 2×");
            table.load(&format!("plugin route, TypeScript{on}"), &typescript, Some(&native), "within 3×");
        }
    }
    if wants("neighbours") {
        for suffering in neighbour::measure(&ns, "hello").await? {
            table.suffering(&suffering);
        }
    }
    if wants("change") {
        resize(&ns, 3, 1).await?;
        let restart = plugin_apply::measure_restart(&ns, 3).await?;
        let change = plugin_apply::measure_change(&ns, 20).await?;
        table.time("`kubectl apply` of a change → Ready on 3 pods", change, "restart of the same Deployment", restart, "p95 ≤ 1 s");
    }
    if wants("many") {
        resize(&ns, 1, 1).await?;
        let few_start = pod_start::measure(&ns).await?;
        let few_memory = memory::of_core(&ns).await?;
        let points = many_plugins::measure(&ns).await?;
        for Point { plugins, starts, bytes } in &points {
            let aim = if *plugins == 100 { "≤ 1 s" } else { "linear" };
            let what = format!("container start → ready, {plugins} plugins more");
            table.time(&what, starts.core.clone(), "without them", few_start.core.clone(), aim);
            table.time(&format!("{what}, init container included"), starts.both.clone(), "without them", few_start.both.clone(), aim);
            let each = bytes.saturating_sub(few_memory) / *plugins as u64;
            table.memory(&format!("memory of an idle plugin of {plugins}"), each, "the whole core without them", few_memory, "linear");
        }
        plots = Plot(&points).to_string();
    }
    println!("{table}\n{plots}");
    ns.remove().await
}

/// One core for the server, the other for the load generator, unless it is to have both. Requests are small: the pods of a
/// rolling restart stand side by side on a node of two cores.
async fn resize(ns: &Namespace, replicas: u32, cpus: u32) -> Result<()> {
    let resources = json!({"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": cpus.to_string(), "memory": "2Gi"}});
    ns.apply_instance(json!({"replicas": replicas, "resources": resources})).await?;
    eventually("there is a Deployment", PATIENCE, || ns.get("deployment/main")).await?;
    ns.kubectl(&["rollout", "status", "deployment/main", "--timeout=120s"]).await?;
    ns.await_core_pods_ready(replicas as usize).await
}
