//! Says that this worker is there, and looks for those that are not.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::Shared;

/// Renews claims, and takes over those that were not renewed.
pub(super) async fn keep(shared: Arc<Shared>) {
    let Some(lease) = shared.store.lease() else { return };
    loop {
        // Earlier rather than later than asked for.
        tokio::time::sleep(shared.timings.renewal.mul_f64(1.0 - rand::random::<f64>() / 5.0)).await;
        let (claims, since) = (shared.active.claims(), Instant::now());
        if !claims.is_empty() {
            match shared.store.renew(&claims).await {
                Ok(held) => {
                    let lost = shared.active.renewed(&claims, &held, since, lease);
                    if lost > 0 {
                        warn!(lost, "claims were lost: this worker was away for too long, or groups were forgotten");
                    }
                }
                Err(problem) => warn!(%problem, jobs = claims.len(), "claims cannot be renewed"),
            }
        }
        match shared.store.recover().await {
            Ok(0) => {}
            Ok(jobs) => {
                warn!(jobs, "took over jobs of workers that are gone");
                shared.wakes.wake_all();
            }
            Err(problem) => debug!(%problem, "cannot look for jobs of workers that are gone"),
        }
    }
}

/// Gives up what has waited too long.
pub(super) async fn sweep(shared: Arc<Shared>) {
    loop {
        // All replicas do it, so not at the same time.
        tokio::time::sleep(shared.timings.sweep.mul_f64(0.5 + rand::random::<f64>())).await;
        if let Err(problem) = shared.store.sweep().await {
            debug!(%problem, "cannot look for jobs that have waited too long");
        }
    }
}
