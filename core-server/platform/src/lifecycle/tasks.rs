//! The tasks in which stages run, and waiting for them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::PluginId;
use futures::FutureExt as _;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reconciler::Event;
use super::stages::Loaded;
use crate::plugin::PluginFailure;

/// Runs a stage until it ends or is cancelled. A panic of the platform itself becomes a failure of
/// this plugin, so that the others go on.
pub(super) async fn stage(
    plugin_id: PluginId,
    cancel: CancellationToken,
    work: impl Future<Output = Event>,
    failed: impl FnOnce(Result<Loaded, PluginFailure>) -> Event,
) -> (PluginId, Event) {
    let event = tokio::select! {
        biased;
        () = cancel.cancelled() => Event::Cancelled,
        event = AssertUnwindSafe(work).catch_unwind() => event.unwrap_or_else(|_| {
            failed(Err(PluginFailure::transient(PluginReason::Internal, "the server panicked while it brought the plugin up")))
        }),
    };
    (plugin_id, event)
}

/// The longest pause between two plans.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// A shorter one is not worth a timer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The first that ended, and all that end within a pause, so that many are planned for and published as one.
/// Planning costs more the more plugins there are: it gets a third of the time.
pub(super) async fn with_all_others<T: 'static>(
    first: Result<T, JoinError>,
    tasks: &mut JoinSet<T>,
    planning: Duration,
) -> Vec<Result<T, JoinError>> {
    let pause = (planning * 2).min(LONGEST_PAUSE);
    if pause >= SHORTEST_PAUSE {
        tokio::time::sleep(pause).await;
    }
    let others = std::iter::from_fn(|| tasks.try_join_next());
    std::iter::once(first).chain(others).collect()
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_ended_at_once_is_taken_at_once() {
        let mut tasks = JoinSet::new();
        for task in 0..1000 {
            tasks.spawn(async move { task });
        }
        tasks.spawn(std::future::pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let first = tasks.join_next().await.unwrap();
        assert_eq!(with_all_others(first, &mut tasks, Duration::ZERO).await.len(), 1000);
        assert_eq!(tasks.len(), 1);
    }
}
