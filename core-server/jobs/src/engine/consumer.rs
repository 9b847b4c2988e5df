//! One consumer: claims jobs of a queue for its group and runs them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::active::Lease;
use super::{LAST_WORDS, Shared, tell_of_gap};
use crate::QueueError;
use crate::handler::{ConsumerOptions, Handler, HandlerError};
use crate::job::{Job, QueueName};
use crate::retry;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedJob, Ending, Membership, Outcome};

/// Most bytes that are kept of why an attempt failed.
const MAX_REASON_BYTES: usize = 1_000;

/// Between two claims that found less than they asked for: a job that is due may be one that another worker is just taking.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Ends a consumer.
#[derive(Debug, Clone)]
pub(crate) struct EngineConsumer {
    /// Until when jobs that are being run may go on; none while it claims more.
    end_by: Arc<watch::Sender<Option<Instant>>>,
    ended: CancellationToken,
}

impl EngineConsumer {
    /// Claims nothing more from now on; what is being run has `grace`.
    pub(crate) fn begin_end(&self, grace: Duration) {
        let end_by = Instant::now() + grace;
        self.end_by.send_modify(|current| *current = Some(current.map_or(end_by, |current| current.min(end_by))));
    }

    /// Ends it, and returns when the store knows how its jobs ended, or does not answer.
    pub(crate) async fn end(&self, grace: Duration) {
        self.begin_end(grace);
        // Twice: for handlers that do not let themselves be ended, and for the store.
        let _ = tokio::time::timeout(grace + LAST_WORDS * 2, self.ended.cancelled()).await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }
}

/// A consumer, and what has to be run for it.
pub(super) fn consumer(
    shared: Arc<Shared>,
    queue: QueueName,
    options: ConsumerOptions,
    handler: Arc<dyn Handler>,
    joined: bool,
) -> (EngineConsumer, impl Future<Output = ()> + Send + 'static) {
    let (end_by, ending) = watch::channel(None);
    let ended = CancellationToken::new();
    let worker = Worker {
        woken: shared.wakes.register(&queue),
        queue_limit: shared.limit(&queue),
        own_limit: Arc::new(Semaphore::new(options.concurrency)),
        unfinished: TaskTracker::new(),
        give_back: CancellationToken::new(),
        shared,
        queue,
        options,
        handler,
    };
    let done = ended.clone().drop_guard();
    let run = async move {
        // Whoever waits for the end hears of it even when this is aborted.
        let _done = done;
        worker.run(joined, ending).await;
    };
    (EngineConsumer { end_by: Arc::new(end_by), ended }, run)
}

struct Worker {
    shared: Arc<Shared>,
    queue: QueueName,
    options: ConsumerOptions,
    handler: Arc<dyn Handler>,
    woken: Arc<Notify>,
    queue_limit: Arc<Semaphore>,
    own_limit: Arc<Semaphore>,
    /// Jobs of which the store does not know yet how they ended
    unfinished: TaskTracker,
    give_back: CancellationToken,
}

/// The right to run one job.
struct Slot(#[allow(dead_code, reason = "given back when dropped")] [OwnedSemaphorePermit; 2]);

impl Worker {
    async fn run(self, joined: bool, mut ending: watch::Receiver<Option<Instant>>) {
        let mut jobs = JoinSet::new();
        if joined || self.join(&mut ending).await {
            let membership = self.options.is_ephemeral().then(|| self.keep_membership());
            self.claim_and_start(&mut jobs, &mut ending).await;
            let until = ending.borrow().unwrap_or_else(Instant::now);
            self.finish(jobs, until).await;
            if let Some(membership) = membership {
                self.leave(membership).await;
            }
        }
    }

    /// From now on the group is renewed.
    fn keep_membership(&self) -> Membership {
        let membership = Membership { queue: self.queue.clone(), group: self.options.group.clone() };
        self.shared.memberships.add(membership.clone(), self.handler.clone());
        membership
    }

    async fn leave(&self, membership: Membership) {
        self.shared.memberships.remove(&membership);
        if let Err(problem) = self.shared.store.forget(&membership.queue, &membership.group).await {
            debug!(queue = %self.queue, group = self.options.group, %problem, "a group could not be removed; it ends with its lease");
        }
    }

    /// Whether its group has joined before it is told to end.
    async fn join(&self, ending: &mut watch::Receiver<Option<Instant>>) -> bool {
        let join = async {
            let mut failures = 0;
            while let Err(problem) = self.shared.store.join(&self.queue, &self.options.group, self.options.lifetime).await {
                failures += 1;
                warn!(queue = %self.queue, group = self.options.group, %problem, "a consumer group cannot join; trying again");
                tokio::time::sleep(retry::pause(failures, rand::random())).await;
            }
        };
        tokio::select! {
            _ = ending.wait_for(Option::is_some) => false,
            () = join => {
                // Its consumer believes that it has been there.
                if self.options.is_ephemeral() {
                    tell_of_gap(self.handler.as_ref());
                }
                true
            }
        }
    }

    /// Until it is told to end. That waits for an answer to a claim: nobody would run the jobs that came with it.
    async fn claim_and_start(&self, jobs: &mut JoinSet<()>, ending: &mut watch::Receiver<Option<Instant>>) {
        let mut failures = 0;
        loop {
            let slots = tokio::select! {
                biased;
                _ = ending.wait_for(Option::is_some) => return,
                slots = self.slots() => slots,
            };
            while jobs.try_join_next().is_some() {}
            let (asked, since) = (slots.len(), Instant::now());
            let pause = match self.claim(asked).await {
                Ok(claimed) => {
                    failures = 0;
                    let (found, next_due) = (claimed.jobs.len(), claimed.next_due);
                    self.start(claimed.jobs, since, slots, jobs);
                    if found == asked {
                        continue;
                    }
                    self.shared.safety_poll().min(next_due.unwrap_or(Duration::MAX).max(SHORTEST_PAUSE))
                }
                Err(problem) => {
                    failures += 1;
                    warn!(queue = %self.queue, group = self.options.group, %problem, "jobs cannot be claimed; trying again");
                    retry::pause(failures, rand::random())
                }
            };
            let woken = async {
                match failures {
                    0 => self.woken.notified().await,
                    // Others may well enqueue while the store has trouble with claims.
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = ending.wait_for(Option::is_some) => return,
                () = tokio::time::sleep(pause) => {}
                () = woken => {}
            }
        }
    }

    /// As many as there are, at least one.
    async fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        // The semaphores are never closed.
        let Ok(own) = self.own_limit.clone().acquire_owned().await else { return std::future::pending().await };
        let Ok(shared) = self.queue_limit.clone().acquire_owned().await else { return std::future::pending().await };
        slots.push(Slot([own, shared]));
        while let Ok(own) = self.own_limit.clone().try_acquire_owned()
            && let Ok(shared) = self.queue_limit.clone().try_acquire_owned()
        {
            slots.push(Slot([own, shared]));
        }
        slots
    }

    async fn claim(&self, most: usize) -> Result<Claimed, QueueError> {
        let request =
            ClaimRequest { queue: self.queue.clone(), group: self.options.group.clone(), most, max_retries: self.options.max_retries };
        self.shared.store.claim(&request).await
    }

    fn start(&self, claimed: Vec<ClaimedJob>, since: Instant, slots: Vec<Slot>, jobs: &mut JoinSet<()>) {
        let until = self.shared.store.lease().map(|lease| since + lease);
        for (job, slot) in claimed.into_iter().zip(slots) {
            let lease = self.shared.active.add(job.claim, until, self.unfinished.token());
            let attempt = Attempt {
                shared: self.shared.clone(),
                queue: self.queue.clone(),
                handler: self.handler.clone(),
                max_retries: self.options.max_retries,
                give_back: self.give_back.clone(),
            };
            jobs.spawn(async move {
                attempt.run(job, &lease).await;
                drop(slot);
            });
        }
    }

    /// Lets jobs go on until then, gives the others back, and waits until the store knows.
    async fn finish(&self, mut jobs: JoinSet<()>, until: Instant) {
        let all = async { while jobs.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, all).await.is_err() {
            self.give_back.cancel();
            let all = async { while jobs.join_next().await.is_some() {} };
            if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
                warn!(queue = %self.queue, group = self.options.group, "jobs do not let themselves be ended; they are abandoned");
                jobs.abort_all();
            }
        }
        self.unfinished.close();
        if tokio::time::timeout(LAST_WORDS, self.unfinished.wait()).await.is_err() {
            warn!(queue = %self.queue, group = self.options.group, "the store was not told how the last jobs ended; they will be repeated");
        }
    }
}

struct Attempt {
    shared: Arc<Shared>,
    queue: QueueName,
    handler: Arc<dyn Handler>,
    max_retries: u32,
    give_back: CancellationToken,
}

impl Attempt {
    async fn run(&self, job: ClaimedJob, lease: &Lease) {
        let (claim, id) = (job.claim, job.id.clone());
        let ending = tokio::select! {
            biased;
            () = lease.lost() => None,
            () = self.give_back.cancelled() => Some(Ending::GivenBack),
            ending = self.attempt(job) => Some(ending),
        };
        match ending {
            Some(ending) => self.tell(claim, ending).await,
            None => {
                warn!(queue = %self.queue, job = id, "a job was ended: its claim was lost, and another worker may have it");
                self.shared.active.remove(&claim);
            }
        }
    }

    async fn tell(&self, claim: Claim, ending: Ending) {
        self.shared.active.ended(claim);
        // The receiver lives as long as the engine.
        let _ = self.shared.outcomes.send(Outcome { claim, queue: self.queue.clone(), ending }).await;
    }

    async fn attempt(&self, claimed: ClaimedJob) -> Ending {
        let ClaimedJob { id, data, priority, enqueued_at, attempts, .. } = claimed;
        let Ok(data) = serde_json::from_str(&data) else { return Ending::Failed { reason: "its data is not JSON".to_owned() } };
        let job = Job { id, data, priority, timestamp: enqueued_at, attempts };
        debug!(queue = %self.queue, job = job.id, attempts, "a job begins");
        let result = AssertUnwindSafe(self.handler.run(job)).catch_unwind().await;
        let problem = match result {
            Ok(Ok(())) => return Ending::Completed,
            Ok(Err(problem)) => problem,
            Err(_) => HandlerError::Retry("its handler panicked".to_owned()),
        };
        match problem {
            HandlerError::Retry(reason) if attempts < self.max_retries => {
                let after = self.shared.timings.retry.after(attempts.saturating_add(1), rand::random());
                Ending::Retry { after: after.mul_f64(self.shared.store.delay_multiplier()), reason: short(reason) }
            }
            HandlerError::Retry(reason) | HandlerError::Permanent(reason) => Ending::Failed { reason: short(reason) },
        }
    }
}

/// What a table can hold of a reason.
fn short(reason: String) -> String {
    let mut short = reason.replace('\0', "\u{fffd}");
    short.truncate(short.floor_char_boundary(MAX_REASON_BYTES));
    short
}
