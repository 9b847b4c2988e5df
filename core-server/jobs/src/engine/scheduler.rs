//! Makes the jobs of recurring schedules. Every process does, for all queues of its store: the store sees to it that each slot is
//! made once.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Shared;
use crate::retry;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        match shared.store.run_schedules().await {
            Ok((queues, next)) => {
                failures = 0;
                queues.iter().for_each(|queue| shared.wakes.wake(queue.as_str()));
                let pause = shared.safety_poll().min(next.unwrap_or(Duration::MAX));
                let _ = tokio::time::timeout(pause, shared.wakes.scheduler_woken()).await;
            }
            Err(problem) => {
                failures += 1;
                warn!(%problem, "recurring jobs cannot be made; trying again");
                tokio::time::sleep(retry::pause(failures, rand::random())).await;
            }
        }
    }
}
