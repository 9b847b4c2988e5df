//! Jobs that come again and again, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::QueueError;
use crate::job::{CheckedJob, MAX_DELAY, MAX_ID_BYTES, NewJob, QueueName, check_delay, check_name};

/// Shortest interval.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Most recurring jobs of one queue.
pub const MAX_SCHEDULES: usize = 10_000;
const MAX_PATTERN_BYTES: usize = 200;

/// When a schedule has its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Recurrence {
    /// At once (or after the start delay), then after each interval, counted from the first run.
    Interval {
        /// At least [`SHORTEST_INTERVAL`].
        #[serde(rename = "milliseconds", with = "milliseconds")]
        every: Duration,
    },
    /// When the clock of a time zone shows what the pattern says.
    Cron {
        /// Five fields (minute, hour, day, month, weekday), or six with seconds before them.
        pattern: String,
        /// Of the IANA database, for example `Europe/Berlin`.
        time_zone: String,
    },
}

impl Recurrence {
    /// At intervals.
    pub fn every(interval: Duration) -> Self {
        Self::Interval { every: interval }
    }

    /// By a cron pattern, in UTC.
    pub fn cron(pattern: impl Into<String>) -> Self {
        Self::cron_in(pattern, "UTC")
    }

    /// By a cron pattern, in a time zone.
    pub fn cron_in(pattern: impl Into<String>, time_zone: impl Into<String>) -> Self {
        Self::Cron { pattern: pattern.into(), time_zone: time_zone.into() }
    }
}

/// A job that comes again and again. Its runs never overlap within a group: a slot that comes while the run before waits or is
/// running is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Of the schedule, unique in its queue. Runs have the id `<job id>:<milliseconds since 1970 of the slot>`.
    pub job_id: String,
    /// Of each run.
    pub data: Value,
    /// Of each run; higher is earlier.
    #[serde(default)]
    pub priority: i32,
    /// For intervals: until the first run. For cron patterns: slots within it are left out.
    #[serde(default, rename = "startDelayMilliseconds", with = "milliseconds")]
    pub start_delay: Duration,
    /// When.
    pub recurrence: Recurrence,
}

impl Schedule {
    /// Without a start delay, of priority 0.
    pub fn new(job_id: impl Into<String>, data: Value, recurrence: Recurrence) -> Self {
        Self { job_id: job_id.into(), data, priority: 0, start_delay: Duration::ZERO, recurrence }
    }

    /// Checks names, limits, pattern and time zone.
    pub(crate) fn check(&self, queue: &QueueName) -> Result<(), QueueError> {
        // Leaves room for the slot.
        check_name("a recurring job", &self.job_id, MAX_ID_BYTES - 20)?;
        check_delay(self.start_delay)?;
        CheckedJob::new(queue, &NewJob::new(self.data.clone()))?;
        match &self.recurrence {
            Recurrence::Interval { every } if !(SHORTEST_INTERVAL..=MAX_DELAY).contains(every) => Err(self.invalid(&format!(
                "an interval of {} ms is not in {}..={} ms",
                every.as_millis(),
                SHORTEST_INTERVAL.as_millis(),
                MAX_DELAY.as_millis()
            ))),
            Recurrence::Interval { .. } => Ok(()),
            // A pattern that has no run at all is refused here.
            Recurrence::Cron { .. } => self.first_run(Timestamp::now()).map(drop),
        }
    }

    /// When a schedule that is set at `now` has its first run.
    pub(crate) fn first_run(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        let begin = self.later(now, self.start_delay)?;
        match &self.recurrence {
            Recurrence::Interval { .. } => Ok(begin),
            Recurrence::Cron { pattern, time_zone } => self.next_by_clock(pattern, time_zone, begin),
        }
    }

    /// The first slot after `now`, where `slot` is one that has come. Slots between them are left out.
    pub(crate) fn next_run(&self, slot: Timestamp, now: Timestamp) -> Result<Timestamp, QueueError> {
        let now = now.max(slot);
        match &self.recurrence {
            Recurrence::Interval { every } => {
                let step = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
                let passed = now.as_millisecond().saturating_sub(slot.as_millisecond()) / step;
                let ahead = step.saturating_mul(passed.saturating_add(1));
                self.later(slot, Duration::from_millis(ahead.unsigned_abs()))
            }
            Recurrence::Cron { pattern, time_zone } => self.next_by_clock(pattern, time_zone, now),
        }
    }

    /// The next slot, where `next` was it before the clock went back to `now`, by `by` or up to `uncertain` more: as much later as it was to be, so that
    /// none is left out for long, and none comes twice because its time does.
    pub(crate) fn after_clock_went_back(
        &self,
        next: Timestamp,
        now: Timestamp,
        by: Duration,
        uncertain: Duration,
    ) -> Result<Timestamp, QueueError> {
        let earlier = |by: Duration| SignedDuration::try_from(by).ok().and_then(|by| next.checked_sub(by).ok()).unwrap_or(now).max(now);
        match &self.recurrence {
            Recurrence::Interval { .. } => Ok(earlier(by)),
            Recurrence::Cron { pattern, time_zone } => {
                let slot = self.next_by_clock(pattern, time_zone, earlier(by.saturating_add(uncertain)))?;
                Ok(slot.min(next))
            }
        }
    }

    /// The id of the run of a slot.
    pub(crate) fn run_id(&self, slot: Timestamp) -> String {
        format!("{}:{}", self.job_id, slot.as_millisecond())
    }

    /// The same text for the same schedule, whatever order the members of its data are in.
    pub(crate) fn definition(&self) -> Result<String, QueueError> {
        let value = serde_json::to_value(self).map_err(|problem| self.invalid(&problem.to_string()))?;
        Ok(sorted(value).to_string())
    }

    /// What [`Self::definition`] has written.
    pub(crate) fn from_definition(definition: &str) -> Result<Self, QueueError> {
        serde_json::from_str(definition).map_err(|problem| QueueError::Refused(format!("a recurring job cannot be read: {problem}")))
    }

    fn next_by_clock(&self, pattern: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, QueueError> {
        let zone = TimeZone::get(time_zone).map_err(|_| self.invalid(&format!("there is no time zone '{time_zone}'")))?;
        let next = self.parse(pattern)?.find_next_occurrence(&after.to_zoned(zone), false);
        next.map(|next| next.timestamp()).map_err(|problem| self.invalid(&format!("the pattern '{pattern}' has no next run: {problem}")))
    }

    fn parse(&self, pattern: &str) -> Result<Cron, QueueError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(self.invalid(&format!("the pattern has more than {MAX_PATTERN_BYTES} bytes")));
        }
        CronParser::builder()
            .seconds(Seconds::Optional)
            .build()
            .parse(pattern)
            .map_err(|problem| self.invalid(&format!("'{pattern}' is not a cron pattern: {problem}")))
    }

    fn later(&self, from: Timestamp, by: Duration) -> Result<Timestamp, QueueError> {
        SignedDuration::try_from(by).and_then(|by| from.checked_add(by)).map_err(|_| self.invalid("its next run is beyond the calendar"))
    }

    fn invalid(&self, problem: &str) -> QueueError {
        QueueError::Invalid(format!("recurring job '{}': {problem}", self.job_id))
    }
}

/// Objects with their members by name.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// A schedule, and when it has its next run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecurringJob {
    /// As it was set.
    pub schedule: Schedule,
    /// By the clock of the store.
    pub next_run_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn runs(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut now = at(from);
        std::iter::repeat_with(|| {
            now = schedule.next_run(now, now).unwrap();
            now.to_string()
        })
        .take(count)
        .collect()
    }

    fn cron(pattern: &str, time_zone: &str) -> Schedule {
        Schedule::new("job", Value::Null, Recurrence::cron_in(pattern, time_zone))
    }

    #[test]
    fn cron_follows_the_clock_of_its_time_zone_over_the_change_to_summer_time() {
        // 2026-03-29 has no 02:30 in Berlin.
        let nightly = cron("30 2 * * *", "Europe/Berlin");
        assert_eq!(runs(&nightly, "2026-03-27T12:00:00Z", 3), ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let hourly = cron("0 * * * *", "Europe/Berlin");
        assert_eq!(runs(&hourly, "2026-03-29T00:30:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    }

    #[test]
    fn cron_runs_once_in_the_hour_that_comes_twice() {
        // 2026-10-25 has 02:30 twice in Berlin.
        let nightly = cron("30 2 * * *", "Europe/Berlin");
        assert_eq!(runs(&nightly, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn cron_is_utc_unless_told_otherwise_and_may_have_seconds() {
        let schedule = Schedule::new("job", Value::Null, Recurrence::cron("15 0 12 * * MON"));
        assert_eq!(runs(&schedule, "2026-11-22T00:00:00Z", 2), ["2026-11-23T12:00:15Z", "2026-11-30T12:00:15Z"]);
    }

    #[test]
    fn intervals_keep_their_grid_and_leave_out_what_was_missed() {
        let schedule = Schedule::new("job", Value::Null, Recurrence::every(Duration::from_secs(60)));
        let slot = at("2026-01-01T00:00:00Z");
        assert_eq!(schedule.first_run(slot).unwrap(), slot);
        assert_eq!(schedule.next_run(slot, slot).unwrap(), at("2026-01-01T00:01:00Z"));
        assert_eq!(schedule.next_run(slot, at("2026-01-01T00:59:30Z")).unwrap(), at("2026-01-01T01:00:00Z"));
        // A clock that went back does not repeat a slot.
        assert_eq!(schedule.next_run(slot, at("2025-12-31T00:00:00Z")).unwrap(), at("2026-01-01T00:01:00Z"));
        let delayed = Schedule { start_delay: Duration::from_secs(5), ..schedule };
        assert_eq!(delayed.first_run(slot).unwrap(), at("2026-01-01T00:00:05Z"));
    }

    #[test]
    fn a_slot_is_neither_lost_nor_doubled_when_the_clock_goes_back() {
        let (second, minute, hour) = (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(3600));
        let every = |interval| Schedule::new("job", Value::Null, Recurrence::every(interval));
        for (schedule, next, now, by, expected) in [
            (every(minute), "10:00:30", "09:00:10", hour, "09:00:30"),
            (every(hour), "10:59:00", "09:00:10", hour, "09:59:00"),
            // It has just run, and its time comes again.
            (cron("0 10 * * *", "UTC"), "34:00:00", "09:59:50", second * 20, "34:00:00"),
            // Its last slot was ten minutes ago; the next is in fifty.
            (cron("0 * * * *", "UTC"), "11:00:00", "09:10:00", hour, "10:00:00"),
            (cron("* * * * * *", "UTC"), "10:00:01", "09:00:00", hour, "09:00:01"),
            (cron("* * * * *", "UTC"), "10:01:00", "09:59:13", second * 52, "10:00:00"),
        ] {
            let time = |text: &str| {
                let parts: Vec<i64> = text.split(':').map(|part| part.parse().unwrap()).collect();
                at("2026-11-22T00:00:00Z") + SignedDuration::from_secs(parts[0] * 3600 + parts[1] * 60 + parts[2])
            };
            let moved = schedule.after_clock_went_back(time(next), time(now), by, second * 10).unwrap();
            assert_eq!(moved, time(expected), "{schedule:?}");
        }
    }

    #[test]
    fn what_can_never_run_is_refused_with_its_name() {
        let queue: QueueName = "q".parse().unwrap();
        for (pattern, zone, problem) in [
            ("* * *", "UTC", "is not a cron pattern"),
            ("0 0 30 2 *", "UTC", "has no next run"),
            ("* * * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ] {
            let begin = std::time::Instant::now();
            let refused = cron(pattern, zone).check(&queue).unwrap_err().to_string();
            assert!(refused.contains("recurring job 'job'") && refused.contains(problem), "{refused}");
            assert!(begin.elapsed() < Duration::from_secs(2), "{pattern}: {:?}", begin.elapsed());
        }
        assert!(Schedule::new("job", Value::Null, Recurrence::every(Duration::from_millis(99))).check(&queue).is_err());
    }

    #[test]
    fn the_definition_does_not_depend_on_the_order_of_members() {
        let with = |data: &str| Schedule::new("job", serde_json::from_str(data).unwrap(), Recurrence::cron("* * * * *"));
        let one = with(r#"{"a":{"c":1,"b":[{"e":1,"d":2}]}}"#);
        assert_eq!(one.definition().unwrap(), with(r#"{"a":{"b":[{"d":2,"e":1}],"c":1}}"#).definition().unwrap());
        assert_eq!(Schedule::from_definition(&one.definition().unwrap()).unwrap(), one);
        let interval = Schedule::new("job", Value::Null, Recurrence::every(Duration::from_secs(1)));
        assert_eq!(Schedule::from_definition(&interval.definition().unwrap()).unwrap(), interval);
    }
}
