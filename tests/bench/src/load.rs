//! Load on one route, by wrk, straight to the pod.

use anyhow::{Context, Result, bail};
use checkstack_e2e::namespace::Namespace;
use tokio::process::Command;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) p50_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
}

/// How often each route is measured: other guests of the machine come and go, and would be charged to one route.
const ROUNDS: usize = 7;

/// The median run of each route, the routes measured in turns: one second to warm up and three to measure, 16
/// connections, one thread. `key` is that of the application that asks.
pub(crate) async fn measure<const ROUTES: usize>(ns: &Namespace, paths: [&str; ROUTES], key: &str) -> Result<[Load; ROUTES]> {
    let pods = ns.core_pods().await?;
    let address = pods.first().and_then(|pod| pod["status"]["podIP"].as_str()).context("no core pod with an address")?;
    let mut runs = [const { Vec::new() }; ROUTES];
    for _ in 0..ROUNDS {
        for (path, runs) in paths.iter().zip(&mut runs) {
            let url = format!("http://{address}:3000{path}");
            wrk(&url, key, 1).await?;
            runs.push(wrk(&url, key, 3).await?);
        }
    }
    Ok(runs.map(|mut runs| {
        runs.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
        runs[ROUNDS / 2]
    }))
}

async fn wrk(url: &str, key: &str, seconds: u32) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", "16", "--duration", &format!("{seconds}s"), "--latency"])
        .args(["--header", &format!("Authorization: Bearer {key}"), url])
        .output()
        .await
        .context("wrk is not installed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("{url} did not answer every request with success: {text}");
    }
    Ok(Load {
        per_second: field(&text, "Requests/sec:")?.parse()?,
        p50_milliseconds: milliseconds(field(&text, "50%")?)?,
        p99_milliseconds: milliseconds(field(&text, "99%")?)?,
    })
}

/// The word after a label.
fn field<'a>(text: &'a str, label: &str) -> Result<&'a str> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(label))
        .map(str::trim)
        .with_context(|| format!("wrk did not print '{label}': {text}"))
}

/// wrk prints `12.34us`, `1.20ms` or `1.02s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>().with_context(|| text.to_owned())? * factor);
        }
    }
    bail!("not a time: {text}")
}
