//! One queue: the lanes of its groups, and what has ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::handler::GroupLifetime;
use crate::job::QueueName;
use crate::listing::{HISTORY, JobState, JobSummary};
use crate::store::{Claim, ClaimedJob, Ending, Outcome, Published};

/// Order in which jobs are taken.
type Place = (Reverse<i32>, Timestamp, i64);

/// A job, for one group.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) number: i64,
    pub(super) id: String,
    pub(super) named: bool,
    pub(super) schedule: Option<String>,
    pub(super) data: Arc<str>,
    pub(super) priority: i32,
    pub(super) enqueued_at: Timestamp,
    pub(super) run_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) fence: i32,
    pub(super) failed_reason: Option<String>,
}

impl Delivery {
    fn place(&self) -> Place {
        (Reverse(self.priority), self.run_at, self.number)
    }

    fn summary(&self, queue: &QueueName, group: Option<&str>, state: JobState) -> JobSummary {
        JobSummary {
            id: self.id.clone(),
            queue: queue.to_string(),
            group: group.map(str::to_owned),
            state,
            enqueued_at: self.enqueued_at,
            started_at: self.started_at,
            finished_at: None,
            attempts: self.attempts,
            failed_reason: self.failed_reason.clone(),
            next_run_at: Some(self.run_at).filter(|_| state == JobState::Delayed),
            recurring: self.schedule.is_some(),
        }
    }
}

/// The jobs of one group.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: BTreeMap<Place, Delivery>,
    active: HashMap<Claim, Delivery>,
    /// How many named jobs wait, by id
    named: HashMap<String, usize>,
    /// Schedules with a run that waits or is being run
    scheduled: HashSet<String>,
}

impl Lane {
    pub(super) fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// How many could be taken now and how many later, and for how long the first could have been.
    pub(super) fn waiting(&self, now: Timestamp) -> (u64, u64, Duration) {
        let due = self.waiting.keys().filter(|(_, run_at, _)| *run_at <= now).count();
        let lag = self.waiting.keys().map(|(_, run_at, _)| run_at.duration_until(now)).max().unwrap_or_default();
        (due as u64, (self.waiting.len() - due) as u64, lag.max(SignedDuration::ZERO).unsigned_abs())
    }

    pub(super) fn running(&self) -> usize {
        self.active.len()
    }

    /// Unless the job is there already.
    pub(super) fn add(&mut self, delivery: Delivery) {
        if delivery.named && self.named.contains_key(&delivery.id) {
            return;
        }
        if let Some(schedule) = &delivery.schedule
            && !self.scheduled.insert(schedule.clone())
        {
            return;
        }
        self.wait(delivery);
    }

    fn wait(&mut self, delivery: Delivery) {
        if delivery.named {
            *self.named.entry(delivery.id.clone()).or_default() += 1;
        }
        self.waiting.insert(delivery.place(), delivery);
    }

    fn remove(&mut self, place: &Place) -> Option<Delivery> {
        let delivery = self.waiting.remove(place)?;
        if let Some(count) = self.named.get_mut(&delivery.id).filter(|_| delivery.named) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.named.remove(&delivery.id);
            }
        }
        Some(delivery)
    }

    pub(super) fn take_waiting(&mut self) -> Vec<Delivery> {
        self.named.clear();
        self.scheduled.clear();
        let mut waiting: Vec<Delivery> = std::mem::take(&mut self.waiting).into_values().collect();
        waiting.sort_by_key(|delivery| delivery.number);
        waiting
    }

    pub(super) fn claim(&mut self, most: usize, now: Timestamp) -> Vec<ClaimedJob> {
        let due: Vec<Place> = self.waiting.keys().filter(|(_, run_at, _)| *run_at <= now).take(most).copied().collect();
        let taken: Vec<Delivery> = due.iter().filter_map(|place| self.remove(place)).collect();
        let mut claimed = Vec::with_capacity(taken.len());
        for mut delivery in taken {
            delivery.fence = delivery.fence.saturating_add(1);
            delivery.started_at = Some(now);
            let claim = Claim { delivery: delivery.number, fence: delivery.fence };
            claimed.push(ClaimedJob {
                claim,
                id: delivery.id.clone(),
                data: delivery.data.clone(),
                priority: delivery.priority,
                enqueued_at: delivery.enqueued_at,
                attempts: delivery.attempts,
            });
            self.active.insert(claim, delivery);
        }
        claimed
    }

    pub(super) fn next_due(&self, now: Timestamp) -> Option<Duration> {
        let next = self.waiting.keys().map(|(_, run_at, _)| *run_at).min()?;
        Some(now.duration_until(next).max(SignedDuration::ZERO).unsigned_abs())
    }

    /// Ends an attempt; what has ended for good is returned.
    fn end(&mut self, claim: &Claim, ending: &Ending, now: Timestamp) -> Option<Option<Delivery>> {
        let mut delivery = self.active.remove(claim)?;
        match ending {
            Ending::Completed => {}
            Ending::GivenBack => {
                self.wait(delivery);
                return Some(None);
            }
            Ending::Retry { after, reason } => {
                delivery.attempts = delivery.attempts.saturating_add(1);
                delivery.failed_reason = Some(reason.clone());
                delivery.run_at = later(now, *after);
                self.wait(delivery);
                return Some(None);
            }
            Ending::Failed { reason } => {
                delivery.attempts = delivery.attempts.saturating_add(1);
                delivery.failed_reason = Some(reason.clone());
            }
        }
        if let Some(schedule) = &delivery.schedule {
            self.scheduled.remove(schedule);
        }
        Some(Some(delivery))
    }

    /// Runs of a schedule that wait
    pub(super) fn cancel(&mut self, schedule: &str) {
        let of_it = |delivery: &Delivery| delivery.schedule.as_deref() == Some(schedule);
        let places: Vec<Place> = self.waiting.iter().filter(|(_, delivery)| of_it(delivery)).map(|(place, _)| *place).collect();
        if places.iter().filter_map(|place| self.remove(place)).count() > 0 {
            self.scheduled.remove(schedule);
        }
    }

    fn take_older(&mut self, than: Timestamp) -> Vec<Delivery> {
        let places: Vec<Place> = self.waiting.keys().filter(|(_, run_at, _)| *run_at < than).copied().collect();
        let old: Vec<Delivery> = places.iter().filter_map(|place| self.remove(place)).collect();
        for schedule in old.iter().filter_map(|delivery| delivery.schedule.as_ref()) {
            self.scheduled.remove(schedule);
        }
        old
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) groups: BTreeMap<String, Lane>,
    /// Those of them that get nothing from before
    ephemeral: HashSet<String>,
    /// For the first group
    pub(super) unclaimed: Lane,
    pub(super) completed: u64,
    pub(super) failed: u64,
    history: [VecDeque<JobSummary>; 2],
}

impl Queue {
    /// For each group, or for the first that joins. Each delivery has a number of its own: `last` is that of the last one.
    pub(super) fn add(&mut self, delivery: &Delivery, last: &mut i64) {
        let none = self.groups.is_empty().then_some(&mut self.unclaimed);
        for lane in self.groups.values_mut().chain(none) {
            *last = last.saturating_add(1);
            lane.add(Delivery { number: *last, ..delivery.clone() });
        }
    }

    /// All of them, each with the name of its group.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (Option<&str>, &Lane)> {
        self.groups.iter().map(|(group, lane)| (Some(group.as_str()), lane)).chain([(None, &self.unclaimed)])
    }

    /// For each group that is not full; how many get it, and those that are full.
    pub(super) fn publish(&mut self, delivery: &Delivery, limit: usize, last: &mut i64) -> Published {
        let mut published = Published::default();
        for (group, lane) in &mut self.groups {
            if lane.depth() >= limit {
                published.full.push(group.clone());
                continue;
            }
            *last = last.saturating_add(1);
            lane.add(Delivery { number: *last, ..delivery.clone() });
            published.groups += 1;
        }
        published
    }

    pub(super) fn join(&mut self, group: &str, lifetime: GroupLifetime) {
        match lifetime {
            GroupLifetime::Durable => {
                self.ephemeral.remove(group);
                let lane = self.groups.entry(group.to_owned()).or_default();
                self.unclaimed.take_waiting().into_iter().for_each(|delivery| lane.add(delivery));
            }
            GroupLifetime::Ephemeral => {
                if self.ephemeral.insert(group.to_owned()) {
                    self.groups.insert(group.to_owned(), Lane::default());
                }
            }
        }
    }

    pub(super) fn forget(&mut self, group: &str) -> bool {
        self.ephemeral.remove(group);
        self.groups.remove(group).is_some()
    }

    /// Whether the attempt still had its claim.
    pub(super) fn end(&mut self, name: &QueueName, outcome: &Outcome, now: Timestamp) -> bool {
        let ended = self.groups.iter_mut().find_map(|(group, lane)| Some((group.clone(), lane.end(&outcome.claim, &outcome.ending, now)?)));
        let Some((group, delivery)) = ended else { return false };
        if let Some(delivery) = delivery {
            let state = match outcome.ending {
                Ending::Completed => JobState::Completed,
                _ => JobState::Failed,
            };
            self.remember(delivery.summary(name, Some(&group), state), now);
        }
        true
    }

    pub(super) fn give_up_older(&mut self, name: &QueueName, than: Timestamp, reason: &str, now: Timestamp) {
        let mut old = Vec::new();
        for (group, lane) in self.groups.iter_mut().map(|(group, lane)| (Some(group.as_str()), lane)).chain([(None, &mut self.unclaimed)]) {
            old.extend(lane.take_older(than).into_iter().map(|delivery| delivery.summary(name, group, JobState::Failed)));
        }
        for summary in old {
            self.remember(JobSummary { failed_reason: Some(reason.to_owned()), ..summary }, now);
        }
    }

    fn remember(&mut self, summary: JobSummary, now: Timestamp) {
        let [completed, failed] = &mut self.history;
        let (count, history) = match summary.state {
            JobState::Completed => (&mut self.completed, completed),
            _ => (&mut self.failed, failed),
        };
        *count = count.saturating_add(1);
        history.push_front(JobSummary { finished_at: Some(now), ..summary });
        history.truncate(HISTORY);
    }

    /// Jobs in a state.
    pub(super) fn list(&self, name: &QueueName, state: JobState, now: Timestamp) -> Vec<JobSummary> {
        let [completed, failed] = &self.history;
        match state {
            JobState::Completed => return completed.iter().cloned().collect(),
            JobState::Failed => return failed.iter().cloned().collect(),
            JobState::Pending | JobState::Waiting | JobState::Delayed | JobState::Active => {}
        }
        let mut found = Vec::new();
        for (group, lane) in self.lanes() {
            let waiting = lane.waiting.values().map(|delivery| match delivery.run_at > now {
                true => (delivery, JobState::Delayed),
                false => (delivery, JobState::Waiting),
            });
            let all = waiting.chain(lane.active.values().map(|delivery| (delivery, JobState::Active)));
            let wanted = all.filter(|(_, is)| *is == state || (state == JobState::Pending && *is != JobState::Active));
            found.extend(wanted.map(|(delivery, is)| delivery.summary(name, group, is)));
        }
        found
    }
}

/// Not later than the calendar ends.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
