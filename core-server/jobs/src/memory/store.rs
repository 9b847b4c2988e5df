//! The store in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::queue::{Delivery, Lane, Queue, later};
use crate::handler::GroupLifetime;
use crate::job::{CheckedJob, QueueName};
use crate::listing::{JobPage, JobQuery, JobState, JobSummary, QueueStats, Scope, Waiting};
use crate::recurring::{RecurringJob, Schedule};
use crate::store::{Claim, ClaimRequest, Claimed, JobStore, Membership, Outcome, Published};
use crate::{MAX_SCHEDULES, QueueError};

/// See the module.
pub struct MemoryStore {
    max_queue_size: usize,
    delay_multiplier: f64,
    retention: Duration,
    /// Delays are not to jump with the clock on the wall.
    begin: (Instant, Timestamp),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<QueueName, Queue>,
    schedules: BTreeMap<(QueueName, String), Planned>,
    deliveries: i64,
}

struct Planned {
    schedule: Schedule,
    next_run: Timestamp,
    set_at: Timestamp,
}

impl State {
    fn cancel_runs(&mut self, queue: &QueueName, schedule: &str) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.groups.values_mut().chain([&mut queue.unclaimed]).for_each(|lane| lane.cancel(schedule));
        }
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new(max_queue_size: usize, delay_multiplier: f64, retention: Duration) -> Self {
        Self { max_queue_size, delay_multiplier, retention, begin: (Instant::now(), Timestamp::now()), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        later(self.begin.1, self.begin.0.elapsed())
    }

    fn delivery(&self, job: &CheckedJob, now: Timestamp) -> Delivery {
        Delivery {
            number: 0,
            id: job.id.clone(),
            named: job.named,
            schedule: None,
            data: Arc::from(job.data.as_str()),
            priority: job.priority,
            enqueued_at: now,
            run_at: later(now, job.delay.mul_f64(self.delay_multiplier)),
            started_at: None,
            attempts: 0,
            fence: 0,
            failed_reason: None,
        }
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    fn scope(&self) -> Scope {
        Scope::Instance
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn delay_multiplier(&self) -> f64 {
        self.delay_multiplier
    }

    async fn enqueue(&self, name: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        let now = self.now();
        let mut state = self.state();
        let State { queues, deliveries, .. } = &mut *state;
        let queue = queues.entry(name.clone()).or_default();
        let full = queue.lanes().find(|(_, lane)| lane.depth().saturating_add(jobs.len()) > self.max_queue_size);
        if let Some((group, _)) = full {
            return Err(QueueError::Full { queue: name.to_string(), group: group.map(str::to_owned), most: self.max_queue_size });
        }
        for job in jobs {
            queue.add(&self.delivery(job, now), deliveries);
        }
        Ok(())
    }

    async fn publish(&self, name: &QueueName, job: &CheckedJob) -> Result<Published, QueueError> {
        let now = self.now();
        let mut state = self.state();
        let State { queues, deliveries, .. } = &mut *state;
        // A queue that has no group is not made for it.
        let queue = queues.get_mut(name);
        Ok(queue.map(|queue| queue.publish(&self.delivery(job, now), self.max_queue_size, deliveries)).unwrap_or_default())
    }

    async fn join(&self, name: &QueueName, group: &str, lifetime: GroupLifetime) -> Result<(), QueueError> {
        self.state().queues.entry(name.clone()).or_default().join(group, lifetime);
        Ok(())
    }

    /// They hold as long as the process.
    async fn renew_groups(&self, groups: &[Membership]) -> Result<HashSet<Membership>, QueueError> {
        Ok(groups.iter().cloned().collect())
    }

    async fn forget(&self, name: &QueueName, group: &str) -> Result<bool, QueueError> {
        Ok(self.state().queues.get_mut(name).is_some_and(|queue| queue.forget(group)))
    }

    async fn forget_groups(&self, queue_prefix: &str, group_prefix: &str) -> Result<u64, QueueError> {
        let mut state = self.state();
        let mut forgotten = 0;
        for (_, queue) in state.queues.iter_mut().filter(|(name, _)| name.as_str().starts_with(queue_prefix)) {
            let groups: Vec<String> = queue.groups.keys().filter(|group| group.starts_with(group_prefix)).cloned().collect();
            forgotten += groups.iter().filter(|group| queue.forget(group)).count() as u64;
        }
        Ok(forgotten)
    }

    async fn forget_queues(&self, prefix: &str) -> Result<bool, QueueError> {
        let mut state = self.state();
        let before = state.queues.len() + state.schedules.len();
        state.queues.retain(|name, _| !name.as_str().starts_with(prefix));
        state.schedules.retain(|(name, _), _| !name.as_str().starts_with(prefix));
        Ok(state.queues.len() + state.schedules.len() < before)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, QueueError> {
        let now = self.now();
        let mut state = self.state();
        let lane = state.queues.get_mut(&request.queue).and_then(|queue| queue.groups.get_mut(&request.group));
        let Some(lane) = lane else { return Ok(Claimed::default()) };
        let jobs = lane.claim(request.most, now);
        let next_due = (jobs.len() < request.most).then(|| lane.next_due(now)).flatten();
        Ok(Claimed { jobs, next_due })
    }

    async fn finish(&self, outcomes: &[Outcome]) -> Result<HashSet<Claim>, QueueError> {
        let now = self.now();
        let mut state = self.state();
        let mut end =
            |outcome: &&Outcome| state.queues.get_mut(&outcome.queue).is_some_and(|queue| queue.end(&outcome.queue, outcome, now));
        Ok(outcomes.iter().filter(|outcome| end(outcome)).map(|outcome| outcome.claim).collect())
    }

    /// They hold as long as the process.
    async fn renew(&self, claims: &[Claim]) -> Result<HashSet<Claim>, QueueError> {
        Ok(claims.iter().copied().collect())
    }

    async fn recover(&self) -> Result<u64, QueueError> {
        Ok(0)
    }

    async fn sweep(&self) -> Result<(), QueueError> {
        let now = self.now();
        let than = SignedDuration::try_from(self.retention).ok().and_then(|by| now.checked_sub(by).ok()).unwrap_or(Timestamp::MIN);
        let reason = format!("it waited for longer than {} s", self.retention.as_secs());
        self.state().queues.iter_mut().for_each(|(name, queue)| queue.give_up_older(name, than, &reason, now));
        Ok(())
    }

    async fn set_schedule(&self, name: &QueueName, schedule: &Schedule) -> Result<bool, QueueError> {
        let now = Timestamp::now();
        let mut state = self.state();
        let key = (name.clone(), schedule.job_id.clone());
        match state.schedules.get(&key) {
            Some(planned) if planned.schedule == *schedule => return Ok(false),
            Some(_) => {}
            None if state.schedules.keys().filter(|(queue, _)| queue == name).count() >= MAX_SCHEDULES => {
                return Err(QueueError::Invalid(format!("queue '{name}' has {MAX_SCHEDULES} recurring jobs, and more are not taken")));
            }
            None => {}
        }
        let delayed = Schedule { start_delay: schedule.start_delay.mul_f64(self.delay_multiplier), ..schedule.clone() };
        let next_run = delayed.first_run(now)?;
        state.cancel_runs(name, &schedule.job_id);
        state.schedules.insert(key, Planned { schedule: schedule.clone(), next_run, set_at: now });
        Ok(true)
    }

    async fn cancel_schedule(&self, name: &QueueName, job_id: &str) -> Result<bool, QueueError> {
        let mut state = self.state();
        state.cancel_runs(name, job_id);
        Ok(state.schedules.remove(&(name.clone(), job_id.to_owned())).is_some())
    }

    async fn schedules(&self, name: Option<&QueueName>) -> Result<Vec<(QueueName, RecurringJob)>, QueueError> {
        let state = self.state();
        let wanted = state.schedules.iter().filter(|((queue, _), _)| name.is_none_or(|name| name == queue));
        Ok(wanted
            .map(|((queue, _), planned)| {
                (queue.clone(), RecurringJob { schedule: planned.schedule.clone(), next_run_at: planned.next_run })
            })
            .collect())
    }

    async fn run_schedules(&self) -> Result<(Vec<QueueName>, Option<Duration>), QueueError> {
        let (now, enqueued_at) = (Timestamp::now(), self.now());
        let mut state = self.state();
        let mut due = Vec::new();
        for ((queue, _), planned) in state.schedules.iter_mut().filter(|(_, planned)| planned.next_run <= now) {
            let slot = planned.next_run;
            planned.next_run = planned.schedule.next_run(slot, now)?;
            due.push((queue.clone(), planned.schedule.clone(), slot));
        }
        let mut woken = Vec::new();
        for (name, schedule, slot) in due {
            let State { queues, deliveries, .. } = &mut *state;
            let delivery = Delivery {
                number: 0,
                id: schedule.run_id(slot),
                named: false,
                data: Arc::from(schedule.data.to_string()),
                priority: schedule.priority,
                schedule: Some(schedule.job_id),
                enqueued_at,
                run_at: enqueued_at,
                started_at: None,
                attempts: 0,
                fence: 0,
                failed_reason: None,
            };
            queues.entry(name.clone()).or_default().add(&delivery, deliveries);
            woken.push(name);
        }
        let next = state.schedules.values().map(|planned| planned.next_run).min();
        Ok((woken, next.map(|next| now.duration_until(next).max(SignedDuration::ZERO).unsigned_abs())))
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<QueueStats, QueueError> {
        let state = self.state();
        let mut stats = QueueStats::empty(Scope::Instance);
        for queue in queues.iter().filter_map(|name| state.queues.get(name)) {
            let sum = |figure: fn(&Lane) -> usize| queue.lanes().map(|(_, lane)| figure(lane) as u64).sum::<u64>();
            stats.pending += sum(Lane::depth);
            stats.processing += sum(Lane::running);
            stats.completed += queue.completed;
            stats.failed += queue.failed;
            stats.consumer_groups += queue.groups.len() as u64;
        }
        Ok(stats)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, QueueError> {
        let now = self.now();
        let state = self.state();
        let lanes = state.queues.iter().flat_map(|(name, queue)| queue.lanes().map(move |(group, lane)| (name, group, lane)));
        let waiting = lanes.map(|(name, group, lane)| {
            let (due, delayed, lag) = lane.waiting(now);
            Waiting { queue: name.to_string(), group: group.unwrap_or_default().to_owned(), due, delayed, lag }
        });
        Ok(waiting.filter(|waiting| waiting.due + waiting.delayed > 0).collect())
    }

    async fn list_jobs(&self, queues: &[QueueName], query: &JobQuery) -> Result<JobPage, QueueError> {
        let now = self.now();
        let state = self.state();
        let known = queues.iter().filter_map(|name| Some((name, state.queues.get(name)?)));
        let mut found: Vec<JobSummary> = known.flat_map(|(name, queue)| queue.list(name, query.state, now)).collect();
        if matches!(query.state, JobState::Pending | JobState::Delayed) {
            let planned = state.schedules.iter().filter(|((queue, _), _)| queues.contains(queue));
            found.extend(planned.map(|((queue, _), planned)| JobSummary {
                id: planned.schedule.job_id.clone(),
                queue: queue.to_string(),
                group: None,
                state: JobState::Delayed,
                enqueued_at: planned.set_at,
                started_at: None,
                finished_at: None,
                attempts: 0,
                failed_reason: None,
                next_run_at: Some(planned.next_run),
                recurring: true,
            }));
        }
        let total = found.len() as u64;
        Ok(JobPage::cut(found, total, query))
    }

    async fn test_connection(&self) -> Result<(), QueueError> {
        Ok(())
    }
}
