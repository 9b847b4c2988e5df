//! Says that this worker is there, and looks for those that are not.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::Shared;
use crate::QueueError;
use crate::handler::{GroupLifetime, Handler};
use crate::retry;
use crate::store::Membership;

/// Renews claims and groups, and takes over those that were not renewed.
pub(super) async fn keep(shared: Arc<Shared>) {
    let Some(lease) = shared.store.lease() else { return };
    let (mut failures, mut absent) = (0, HashSet::new());
    loop {
        let pause = pause(shared.timings.renewal, failures);
        // Woken as soon as the store answers again.
        let _ = timeout(pause, shared.wakes.keeper_woken()).await;
        // What is this process's own first: others are given up by the same clock.
        let renewed = async {
            renew_claims(&shared, lease).await?;
            renew_groups(&shared, &mut absent).await
        };
        if let Err(problem) = renewed.await {
            failures += 1;
            warn!(%problem, failures, "leases cannot be renewed; trying again");
            continue;
        }
        failures = 0;
        match shared.store.recover().await {
            Ok(0) => {}
            Ok(jobs) => {
                shared.tally.recovered(jobs);
                warn!(jobs, "took over jobs of workers that are gone");
                shared.wakes.wake_all();
            }
            Err(problem) => debug!(%problem, "cannot look for jobs of workers that are gone"),
        }
    }
}

/// Earlier rather than later than asked for, and soon again after a failure.
fn pause(renewal: Duration, failures: u32) -> Duration {
    let pause = renewal.mul_f64(1.0 - rand::random::<f64>() / 5.0);
    match failures {
        0 => pause,
        failures => pause.min(retry::pause(failures, rand::random())),
    }
}

async fn renew_claims(shared: &Shared, lease: Duration) -> Result<(), QueueError> {
    let (claims, since) = (shared.active.claims(), Instant::now());
    if claims.is_empty() {
        return Ok(());
    }
    let held = shared.store.renew(&claims).await?;
    let lost = shared.active.renewed(&claims, &held, since, lease);
    if lost > 0 {
        warn!(lost, "claims were lost: this worker was away for too long, or groups were forgotten");
    }
    Ok(())
}

/// A group that was removed meanwhile is joined anew, and its handler hears of the gap. `absent` are those for which that is not done.
async fn renew_groups(shared: &Shared, absent: &mut HashSet<Membership>) -> Result<(), QueueError> {
    let asked = shared.memberships.all();
    if asked.is_empty() {
        return Ok(());
    }
    let mut held = shared.store.renew_groups(&asked).await?;
    // It may have been joined by an attempt that was not answered.
    held.retain(|membership| !absent.contains(membership));
    let lost = shared.memberships.lost(asked, &held);
    *absent = lost.iter().map(|(membership, _)| membership.clone()).collect();
    for (lost, handler) in lost {
        shared.store.join(&lost.queue, &lost.group, GroupLifetime::Ephemeral).await?;
        warn!(queue = %lost.queue, group = lost.group, "this process was away for too long: its group was removed, and has joined anew");
        absent.remove(&lost);
        if !shared.memberships.has(&lost) {
            // Its consumer has left meanwhile.
            shared.store.forget(&lost.queue, &lost.group).await?;
            continue;
        }
        tell_of_gap(handler.as_ref());
        shared.wakes.wake(lost.queue.as_str());
    }
    Ok(())
}

/// What the handler does with it is not to end this worker.
pub(crate) fn tell_of_gap(handler: &dyn Handler) {
    if catch_unwind(AssertUnwindSafe(|| handler.missed())).is_err() {
        warn!("a handler panicked when it was told that it has missed jobs");
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
