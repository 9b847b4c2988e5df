//! The tasks in which stages run, and waiting for them.

use std::panic::AssertUnwindSafe;

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

/// Waits until a task has ended; all that have by then, so that many are planned for and published
/// as one.
pub(super) async fn all_ended<T: 'static>(tasks: &mut JoinSet<T>) -> Vec<Result<T, JoinError>> {
    let mut ended: Vec<_> = tasks.join_next().await.into_iter().collect();
    ended.extend(std::iter::from_fn(|| tasks.try_join_next()));
    ended
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
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(all_ended(&mut tasks).await.len(), 1000);
        assert_eq!(tasks.len(), 1);
    }
}
