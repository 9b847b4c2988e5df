//! How fast a plugin answers when nothing but the sandbox is in the way.
//!
//! ```text
//! cargo run -p checkstack-wasm-host --example throughput -- plugin.wasm /path [threads] [seconds] [calls per instance] [configuration]
//! ```
//!
//! Each thread makes one call after the other. The plugin must start without grants.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_cache::CacheManager;
use checkstack_events::{EventBus, Limits};
use checkstack_jobs::{Patience, QueueManager, Timings};
use checkstack_platform::plugin::{
    CallFailure, Caller, MaterialisedArtifact, PeerPlugins, Plugin, PluginLoader as _, PluginRequest, PluginResponse, PluginServices,
    PluginSignals,
};
use checkstack_plugin_package::{Digest, Grants, PluginEntry, PluginId};
use checkstack_signals::{NobodyKnows, SignalBus};
use checkstack_wasm_host::{WasmHostSettings, WasmPluginLoader};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};

struct NoPeers;

#[async_trait]
impl PeerPlugins for NoPeers {
    async fn call(&self, target: &PluginId, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Err(CallFailure::NotRunning(target.clone()))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let component = PathBuf::from(arguments.next().ok_or("the path of a component is missing")?);
    let path = arguments.next().unwrap_or_else(|| "/".into());
    let threads = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut settings = WasmHostSettings::new([0; 32]);
    settings.max_calls_per_instance = arguments.next().map_or(Ok(settings.max_calls_per_instance), |text| text.parse())?;
    let config = arguments.next().map_or(Ok(Map::new()), |text| serde_json::from_str(&text))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(measure(settings, config, component, path, threads, Duration::from_secs(seconds)))
}

async fn measure(
    settings: WasmHostSettings,
    config: Map<String, Value>,
    component: PathBuf,
    path: String,
    threads: usize,
    duration: Duration,
) -> Result<(), Box<dyn Error>> {
    let directory = component.parent().map(PathBuf::from).unwrap_or_default();
    let artifact = MaterialisedArtifact { digest: Digest::of(&std::fs::read(&component)?), directory, component };
    let loader = WasmPluginLoader::new(settings, None)?;
    timed("precompile", loader.precompile(&artifact)).await?;
    let plugin = timed("load", loader.load(&entry(&artifact)?, &artifact, services(config)?)).await?;
    timed("init", plugin.init()).await?;
    plugin.after_plugins_ready().await?;
    timed("first call", plugin.handle(request(&path))).await?;
    let before = resident_kilobytes();

    let end = Instant::now() + duration;
    let workers: Vec<_> = (0..threads).map(|_| tokio::spawn(call_until(Arc::clone(&plugin), path.clone(), end))).collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{threads} thread(s): {:.0} calls/s, p50 {:?}, p99 {:?}, p99.9 {:?}",
        times.len() as f64 / duration.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
    println!("resident: {before} KiB before, {} KiB after", resident_kilobytes());
    Ok(())
}

async fn call_until(plugin: Arc<dyn Plugin>, path: String, end: Instant) -> Result<Vec<Duration>, CallFailure> {
    let mut times = Vec::new();
    let mut begin = Instant::now();
    while begin < end {
        plugin.handle(request(&path)).await?;
        let now = Instant::now();
        times.push(now - begin);
        begin = now;
        if times.len() % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(times)
}

async fn timed<T>(name: &str, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let result = work.await;
    println!("{name}: {:?}", begin.elapsed());
    result
}

fn request(path: &str) -> PluginRequest {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "main.monitoring.svc"),
        ("accept", "application/json"),
        ("user-agent", "throughput/1"),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    PluginRequest {
        method: Method::GET,
        path: path.into(),
        query: None,
        headers,
        body: Bytes::from_static(br#"{"hello":"world"}"#),
        caller: Caller::Anonymous,
        correlation_id: "0123456789abcdef0123456789abcdef".into(),
        depth: 0,
    }
}

/// Over queues without a provider.
fn no_signals() -> SignalBus {
    let events = EventBus::new(QueueManager::new(Timings::default(), Patience::default()), Limits::default());
    SignalBus::new(events, Arc::default(), Arc::new(NobodyKnows))
}

fn services(config: Map<String, Value>) -> Result<PluginServices, Box<dyn Error>> {
    Ok(PluginServices {
        plugin_id: "measured".parse()?,
        config: Arc::new(config),
        masker: None,
        config_version: 1,
        grants: Arc::new(Grants::default()),
        dependencies: Arc::new(BTreeMap::new()),
        key_value: None,
        settings: None,
        sql: None,
        jobs: None,
        events: None,
        entities: None,
        signals: Arc::new(PluginSignals::new(no_signals(), "measured".parse()?)),
        cache: CacheManager::new().scope("measured".parse()?),
        peers: Arc::new(NoPeers),
    })
}

fn entry(artifact: &MaterialisedArtifact) -> Result<PluginEntry, Box<dyn Error>> {
    Ok(PluginEntry {
        resource: "measured".into(),
        plugin_id: "measured".parse()?,
        package: "measured".into(),
        version: "0.0.0".into(),
        digest: artifact.digest,
        dependencies: BTreeMap::new(),
        critical: false,
        config: Map::new(),
        config_version: 1,
        secret_config_hash: None,
        grants: Grants::default(),
        unknown: Map::new(),
    })
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
