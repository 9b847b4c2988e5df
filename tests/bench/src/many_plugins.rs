//! An instance with up to a thousand plugins: how long a new pod takes, and what a plugin takes that nobody calls.

use std::fmt;

use anyhow::{Context, Result};
use checkstack_e2e::instance::plugin_object;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, package_object, renamed};
use serde_json::{Value, json};

use crate::memory;
use crate::pod_start::{self, Starts};

/// So many plugins there are, one after the other.
const SIZES: [usize; 4] = [100, 250, 500, 1000];
/// Objects that are applied at a time.
const BATCH: usize = 50;

/// What came of so many plugins.
pub(crate) struct Point {
    pub(crate) plugins: usize,
    /// Of new pods.
    pub(crate) starts: Starts,
    /// Bytes of the process.
    pub(crate) bytes: u64,
}

/// The instance has one pod, and no such plugin yet.
pub(crate) async fn measure(ns: &Namespace) -> Result<Vec<Point>> {
    let chaos = package("chaos")?;
    let (mut points, mut there) = (Vec::new(), 0);
    for plugins in SIZES {
        let names: Vec<String> = (there..plugins).map(|index| format!("many-{index}")).collect();
        for names in names.chunks(BATCH) {
            let packages = names.iter().map(|name| Ok(package_object(name, &renamed(&chaos, name)?))).collect::<Result<Vec<Value>>>()?;
            let objects = packages.into_iter().chain(names.iter().map(|name| plugin_object(name, json!({}))));
            ns.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>()}).to_string()).await?;
        }
        ns.kubectl(&["wait", "checkstackplugin", "--all", "--for=condition=Ready", "--timeout=600s"]).await.context("not all came up")?;
        there = plugins;
        // Every measured pod is a new one, and finds the code that the first has compiled.
        let starts = pod_start::measure(ns).await?;
        let point = Point { plugins, starts, bytes: memory::of_core(ns).await? };
        // The next may take long.
        eprintln!(
            "{plugins} plugins: {}, with the init container {}, {} MiB",
            point.starts.core,
            point.starts.both,
            point.bytes / 1_048_576
        );
        points.push(point);
    }
    Ok(points)
}

/// The points as a Mermaid chart.
pub(crate) struct Plot<'a>(pub(crate) &'a [Point]);

impl fmt::Display for Plot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |of: &dyn Fn(&Point) -> String| self.0.iter().map(of).collect::<Vec<_>>().join(", ");
        for (title, unit, line) in [
            ("Both containers of a new pod", "ms", row(&|point| point.starts.both.median().as_millis().to_string())),
            ("Memory", "MiB", row(&|point| (point.bytes / 1_048_576).to_string())),
        ] {
            writeln!(formatter, "```mermaid\nxychart-beta\n    title \"{title}\"")?;
            writeln!(formatter, "    x-axis \"plugins\" [{}]", row(&|point| point.plugins.to_string()))?;
            writeln!(formatter, "    y-axis \"{unit}\"\n    line [{line}]\n```\n")?;
        }
        Ok(())
    }
}
