//! Tells the store how attempts ended: all that have ended meanwhile with one question, so that the busier a process is, the fewer
//! questions there are for each job.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::Shared;
use crate::retry;
use crate::store::{Ending, Outcome};

/// Most of one question.
const BATCH: usize = 500;

pub(super) async fn run(shared: Arc<Shared>, mut outcomes: mpsc::Receiver<Outcome>) {
    let mut batch = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        tell(&shared, &batch).await;
        batch.clear();
    }
}

/// Tries until the store has them. Meanwhile the claims are renewed, if the store answers at all.
async fn tell(shared: &Shared, batch: &[Outcome]) {
    let mut attempt = 0;
    loop {
        match try_to_tell(shared, batch).await {
            Ok(()) => return,
            Err(problem) if problem.is_transient() => {
                attempt += 1;
                warn!(%problem, jobs = batch.len(), attempt, "the store cannot be told how jobs ended; trying again");
                tokio::time::sleep(retry::pause(attempt, rand::random())).await;
            }
            Err(problem) => match batch {
                [] => return,
                [outcome] => {
                    error!(%problem, ?outcome, "the store does not take how a job ended; the job will be repeated");
                    return shared.active.remove(&outcome.claim);
                }
                // One that is refused must not take the others with it.
                batch => {
                    for outcome in batch {
                        Box::pin(tell(shared, std::slice::from_ref(outcome))).await;
                    }
                    return;
                }
            },
        }
    }
}

async fn try_to_tell(shared: &Shared, batch: &[Outcome]) -> Result<(), crate::QueueError> {
    let accepted = shared.store.finish(batch).await?;
    for Outcome { claim, queue, ending } in batch {
        match accepted.contains(claim) {
            true => shared.tally.ended(queue, ending),
            false => debug!(%queue, ?claim, "what a job came to is not used: its claim had been lost"),
        }
        shared.active.remove(claim);
        if matches!(ending, Ending::Retry { .. } | Ending::GivenBack) {
            shared.wakes.wake(queue.as_str());
        }
    }
    Ok(())
}
