//! The core server of a Checkstack instance.
//!
//! `serve` is the main container of a pod; `materialise` its init container, which brings the
//! plugins of the mounted set to where the server finds them.

mod dev_auth;
mod logging;
mod serve;
mod settings;
mod telemetry;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::SealingKey;
use checkstack_platform::plugin::{CodeCache, PluginLoader};
use checkstack_platform::{PlatformSettings, materialise};
use checkstack_wasm_host::{WasmHostSettings, WasmPluginLoader};
use clap::Parser as _;
use settings::{Command, Settings};
use telemetry::{TelemetryError, TraceSettings, Traces};
use tracing::{error, info};

/// For blocking threads, at the very end. Nothing stops a thread that compiles, and nothing it does has
/// to be finished: files get their names when they are whole.
const LAST_THREADS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let settings = Settings::parse();
    // Only the first call of a process can fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut platform = settings.platform();
    let traces = traces(&settings, &platform);
    logging::begin(&settings, traces.as_ref().ok().and_then(Option::as_ref).map(Traces::tracer));
    let traces = traces.unwrap_or_else(|problem| {
        error!("traces are not sent: {problem}");
        None
    });
    platform.span_counts = traces.as_ref().map(Traces::counts);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            error!("the server cannot start: no threads: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let tracing = traces.map(Traces::begin);
        let ended = match settings.command {
            Command::Serve => serve::serve(&settings, platform).await,
            Command::Materialise => materialise_plugins(&platform).await,
        };
        if let Some(tracing) = tracing {
            tracing.end().await;
        }
        ended
    });
    // Dropping it instead would wait for them without a limit.
    runtime.shutdown_timeout(LAST_THREADS);
    ended
}

/// None: nobody wants any. Whatever is wrong with them never keeps the server from starting.
fn traces(settings: &Settings, platform: &PlatformSettings) -> Result<Option<Traces>, TelemetryError> {
    if !matches!(settings.command, Command::Serve) {
        return Ok(None);
    }
    let wanted = TraceSettings::read(|variable| std::env::var(variable).ok())?;
    wanted.map(|wanted| Traces::new(&wanted, &platform.instance, &platform.pod)).transpose()
}

/// What cannot be materialised never keeps the pod from starting: the server says what is missing.
async fn materialise_plugins(settings: &PlatformSettings) -> ExitCode {
    let begin = Instant::now();
    let materialised = materialise(settings, loader).await;
    let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    match materialised {
        Ok(Ok(failed)) if failed.is_empty() => info!(milliseconds, "all plugins of the set are materialised"),
        Ok(Ok(failed)) => {
            let names: Vec<String> = failed.iter().map(|(entry, failure)| format!("{}: {failure}", entry.plugin_id)).collect();
            error!(milliseconds, failed = names.len(), "not all plugins of the set are materialised: {}", names.join("; "));
        }
        Ok(Err(problem)) => error!("the mounted plugin set is not used: {problem}"),
        Err(problem) => {
            error!("plugins cannot be materialised: {problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The sandbox. Native code that another replica of this instance compiled is trusted, nothing else.
fn loader(key: &SealingKey, cache: Arc<dyn CodeCache>) -> Result<Arc<dyn PluginLoader>, String> {
    let settings = WasmHostSettings::new(key.precompiled_code_key().tag(&[]));
    Ok(Arc::new(WasmPluginLoader::new(settings, Some(cache)).map_err(|problem| problem.to_string())?))
}
