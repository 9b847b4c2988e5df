//! An instance with a hundred plugins: how long a new pod takes, and what a plugin takes that nobody calls.

use anyhow::{Context, Result};
use checkstack_e2e::instance::plugin_object;
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::memory;
use crate::pod_start;
use crate::table::Times;

pub(crate) const COUNT: usize = 100;

/// What came of it.
pub(crate) struct Many {
    /// Start of the container → ready.
    pub(crate) start: Times,
    /// Bytes of a plugin.
    pub(crate) each: u64,
}

/// The instance has one pod. `before` are the bytes of its process without these plugins.
pub(crate) async fn measure(ns: &Namespace, before: u64) -> Result<Many> {
    let chaos = package("chaos")?;
    for index in 0..COUNT {
        let name = format!("many-{index}");
        ns.store_package(&name, &renamed(&chaos, &name)?).await?;
        ns.apply(&plugin_object(&name, json!({})).to_string()).await?;
    }
    ns.kubectl(&["wait", "checkstackplugin", "--all", "--for=condition=Ready", "--timeout=300s"]).await.context("not all came up")?;
    // Every measured pod is a new one, and finds the code that the first has compiled.
    let start = pod_start::measure(ns).await?;
    let each = memory::of_core(ns).await?.saturating_sub(before) / COUNT as u64;
    Ok(Many { start, each })
}
