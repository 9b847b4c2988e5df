//! Changing the provider.
//!
//! 1. The recurring jobs of the old provider are set in the new one. Calls go on with the old one meanwhile.
//! 2. Consumers claim nothing more, and jobs that are being run may end; they may still enqueue others, with the old one.
//! 3. The groups of the consumers join the new one, so that nothing is published past them.
//! 4. Calls wait. What has changed of the recurring jobs since is set, and the new provider becomes the active one.
//! 5. Consumers go on with the new one. Those of ephemeral groups hear that they have missed something.
//!
//! Jobs that wait stay where they are, and are run when that provider is active again; those in memory are lost.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::{error, info, warn};

use super::queue::Remembered;
use super::{ActiveBackend, Current, QueueManager};
use crate::QueueError;
use crate::engine::Engine;
use crate::job::QueueName;
use crate::provider::OpenStore;
use crate::recurring::Schedule;
use crate::store::JobStore;

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Switched {
    /// To be kept, and announced to other replicas.
    pub backend: ActiveBackend,
    /// Recurring jobs that were carried over.
    pub migrated_recurring_jobs: usize,
    /// What an admin should know.
    pub warnings: Vec<String>,
}

type Schedules = BTreeMap<(QueueName, String), Schedule>;

impl QueueManager {
    /// Changes to another provider, or to another configuration, as an admin has asked for. Afterwards the recurring jobs of the new
    /// provider are those of the old one. When the new one cannot be reached, nothing changes.
    ///
    /// # Errors
    /// When there is no such provider, its configuration is not valid, or it cannot be reached.
    pub async fn switch(&self, provider: &str, configuration: Value) -> Result<Switched, QueueError> {
        let _changing = self.shared.changing.lock().await;
        let open = self.open(provider, &configuration)?;
        open.store.test_connection().await?;
        let version = self.active().await.map_or(0, |active| active.version).saturating_add(1);
        let backend = ActiveBackend { provider: provider.to_owned(), configuration, version };
        self.change(open, backend, true).await
    }

    /// Changes to what another replica has announced or what is stored, unless it is older than what is active; whether it did. Nobody
    /// asks whether the provider can be reached: it is what was chosen, and its engine tries until it is there.
    ///
    /// # Errors
    /// When there is no such provider, or its configuration is not valid.
    pub async fn follow(&self, announced: ActiveBackend) -> Result<Option<Switched>, QueueError> {
        let _changing = self.shared.changing.lock().await;
        if self.active().await.is_some_and(|active| !active.is_followed_by(&announced)) {
            return Ok(None);
        }
        let open = self.open(&announced.provider, &announced.configuration)?;
        self.change(open, announced, false).await.map(Some)
    }

    fn open(&self, id: &str, configuration: &Value) -> Result<OpenStore, QueueError> {
        let providers = self.shared.providers.read().unwrap_or_else(PoisonError::into_inner);
        providers.get(id).ok_or_else(|| QueueError::UnknownProvider(id.to_owned()))?.open(configuration)
    }

    async fn change(&self, open: OpenStore, backend: ActiveBackend, replace: bool) -> Result<Switched, QueueError> {
        let old = match &*self.shared.current.read().await {
            Current::Stopped => return Err(QueueError::Stopped),
            Current::Active { engine, .. } => Some(engine.clone()),
            Current::None => None,
        };
        let mut carry = CarryOver { to: open.store.clone(), replace, carried: Schedules::new(), warnings: Vec::new() };
        if let Some(old) = &old {
            carry.over(old).await;
            old.end_consumers(self.shared.patience.jobs).await;
        }
        let joined = self.join_groups(open.store.as_ref()).await;
        let tally = self.shared.tallies.of(&backend.provider);
        let engine = Arc::new(Engine::start(open.store, open.concurrency, self.shared.timings, tally));
        {
            // Waits for calls that are under way, each of which has a deadline of its own.
            let mut current = self.shared.current.write().await;
            if let Some(old) = &old {
                carry.over(old).await;
            }
            *current = Current::Active { engine: engine.clone(), backend: backend.clone() };
        }
        self.shared.changed.notify_waiters();
        for consumer in self.shared.remembered() {
            if let Err(problem) = consumer.start(&engine).await {
                error!(%problem, "a consumer cannot go on with the new queue provider");
                carry.warnings.push(format!("A consumer cannot go on: {problem}"));
            }
            if old.is_some() {
                consumer.tell_of_gap();
            }
        }
        for consumer in joined {
            consumer.leave_if_ended(engine.store()).await;
        }
        if let Some(old) = old {
            // Consumers that were started in between
            old.stop(Duration::ZERO).await;
            self.warn_of_left_jobs(&old, &mut carry.warnings).await;
        }
        info!(provider = backend.provider, version = backend.version, recurring = carry.carried.len(), "a queue provider became active");
        Ok(Switched { backend, migrated_recurring_jobs: carry.carried.len(), warnings: carry.warnings })
    }

    /// What cannot join now does when its consumer starts.
    async fn join_groups(&self, store: &dyn JobStore) -> Vec<Arc<Remembered>> {
        let consumers = self.shared.remembered();
        for consumer in &consumers {
            if let Err(problem) = consumer.join(store).await {
                warn!(%problem, "groups cannot join the new queue provider yet");
                break;
            }
        }
        consumers
    }

    async fn warn_of_left_jobs(&self, old: &Engine, warnings: &mut Vec<String>) {
        let left = match old.store().stats(&self.names()).await {
            Ok(stats) => stats.pending,
            Err(_) => return warnings.push("It is not known how many jobs wait in the old provider: it does not answer".to_owned()),
        };
        if left > 0 {
            let fate = match old.store().lease() {
                Some(_) => "they are run when it is active again",
                None => "they are lost",
            };
            warnings.push(format!("{left} jobs wait in the old provider: {fate}"));
        }
    }
}

struct CarryOver {
    to: Arc<dyn JobStore>,
    /// Whether the new provider's own schedules go.
    replace: bool,
    carried: Schedules,
    warnings: Vec<String>,
}

impl CarryOver {
    /// Sets what is new since the last time. Setting again what is there does no harm.
    async fn over(&mut self, from: &Engine) {
        let found = match all(from.store()).await {
            Ok(found) => found,
            Err(problem) => return self.warn(format!("Recurring jobs were not carried over: {problem}")),
        };
        if self.replace {
            match all(self.to.as_ref()).await {
                Ok(there) => {
                    for (queue, job_id) in there.into_keys().filter(|key| !found.contains_key(key)) {
                        if let Err(problem) = self.to.cancel_schedule(&queue, &job_id).await {
                            self.warn(format!("Recurring job '{job_id}' was not removed: {problem}"));
                        }
                    }
                }
                Err(problem) => self.warn(format!("Recurring jobs of an earlier time were not removed: {problem}")),
            }
        }
        for (key, schedule) in found {
            if self.carried.get(&key) == Some(&schedule) {
                continue;
            }
            match self.to.set_schedule(&key.0, &schedule).await {
                Ok(_) => drop(self.carried.insert(key, schedule)),
                Err(problem) => self.warn(format!("Recurring job '{}' was not carried over: {problem}", schedule.job_id)),
            }
        }
    }

    fn warn(&mut self, warning: String) {
        warn!(warning, "changing the queue provider");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

async fn all(store: &dyn JobStore) -> Result<Schedules, QueueError> {
    let schedules = store.schedules(None).await?.into_iter();
    Ok(schedules.map(|(queue, job)| ((queue, job.schedule.job_id.clone()), job.schedule)).collect())
}
