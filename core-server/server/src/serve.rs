//! Serving, from the first request to an orderly end.

use std::process::ExitCode;
use std::time::Duration;

use checkstack_auth::Auth;
use checkstack_platform::native::NativeServices;
use checkstack_platform::{Platform, PlatformSettings, serve as serve_connections};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::settings::Settings;
use crate::{LAST_THREADS, dev_auth};

/// Between the failure of the core and the end of the process, so that who asks is told why.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// The port is open before anything else is done: probes and the boot gate answer at once.
pub(crate) async fn serve(settings: &Settings, platform: PlatformSettings) -> ExitCode {
    let mut signals = match watch_signals() {
        Ok(signals) => signals,
        Err(problem) => return fail(&format!("signals cannot be watched: {problem}")),
    };
    if settings.sign_in.wants_dev_auth() {
        if let Err(refused) = dev_auth::check(&settings.server.listen, |variable| std::env::var_os(variable).is_some()) {
            return fail(&refused.to_string());
        }
        dev_auth::warn_loudly();
    }
    let listener = match TcpListener::bind(&*settings.server.listen).await {
        Ok(listener) => listener,
        Err(problem) => return fail(&format!("{:?} cannot be listened on: {problem}", settings.server.listen)),
    };
    info!(listen = ?settings.server.listen, version = env!("CARGO_PKG_VERSION"), "listening");
    let platform = Platform::new(platform);
    let stop = CancellationToken::new();
    let (auth, secrets) = (settings.auth(), settings.secrets_directory());
    let native = |services: NativeServices| {
        let mut parts = Auth::parts(&services, auth)?;
        let (plugin, kept) = checkstack_secrets::parts(services.clone(), secrets, parts.audit.clone())?;
        parts.plugins.push(plugin);
        parts.secrets = Some(kept);
        parts.plugins.push(checkstack_queue::part(services.clone())?);
        parts.plugins.push(checkstack_cache_admin::part(services)?);
        Ok(parts)
    };
    let drain = settings.server.shutdown_deadline().saturating_sub(settings.server.shutdown_grace()) / 2;
    let mut connections = tokio::spawn(serve_connections(listener, platform.surface(), stop.clone(), drain));
    tokio::select! {
        started = platform.start(crate::loader, native) => {
            if let Err(problem) = started {
                tokio::time::sleep(LAST_WORDS).await;
                return fail(&problem.to_string());
            }
            tokio::select! {
                _ = signals.recv() => {}
                _ = &mut connections => return fail("connections are no longer accepted"),
                () = platform.broken() => return fail("the task that manages plugins has ended"),
            }
        }
        _ = signals.recv() => info!("told to end before the server had started"),
    }
    end(settings, &platform, &stop, connections, signals).await
}

/// Unready first, then no more requests, then no more plugins.
async fn end(
    settings: &Settings,
    platform: &Platform,
    stop: &CancellationToken,
    connections: JoinHandle<()>,
    mut signals: mpsc::Receiver<()>,
) -> ExitCode {
    info!("ending: unready from now on");
    platform.begin_shutdown();
    let orderly = async {
        tokio::time::sleep(settings.server.shutdown_grace()).await;
        stop.cancel();
        if let Err(problem) = connections.await {
            warn!(%problem, "connections did not end in order");
        }
        platform.finish_shutdown().await;
    };
    let in_order = settings.server.shutdown_deadline().saturating_sub(LAST_THREADS);
    tokio::select! {
        ended = tokio::time::timeout(in_order, orderly) => match ended {
            Ok(()) => info!("ended"),
            Err(_) => warn!("ended at the deadline, with something still under way"),
        },
        Some(()) = signals.recv() => warn!("told twice to end: ended at once"),
    }
    ExitCode::SUCCESS
}

fn fail(problem: &str) -> ExitCode {
    error!("the server cannot serve: {problem}");
    ExitCode::FAILURE
}

/// One message for each SIGTERM or SIGINT.
fn watch_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(2);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = terminate.recv() => {}
                Some(()) = interrupt.recv() => {}
                else => return,
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
