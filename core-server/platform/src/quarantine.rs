//! Keeps calls away from a version of a plugin that is at fault again and again: it traps, or gives an answer that cannot be
//! passed on. A trap costs an instance, which the server has to make anew, and a refused answer may be large; neither tells the
//! caller anything.
//!
//! Three faults within a minute, with no more answers between them than faults, close it. After a pause one call is let
//! through: if it is answered, all are again, else the next pause is longer. A plugin that is at fault on some requests and
//! answers most is left alone, and so is one that is only slow: its calls end at their deadline.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::backoff;

/// So many faults
const FAULTS: usize = 3;
/// within this time.
const WITHIN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether one version of a plugin is called.
pub(crate) struct Quarantine {
    /// What every call looks at.
    closed: AtomicBool,
    answers: AtomicU64,
    state: Mutex<State>,
    /// Told when it closes or opens.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// The last faults: when, and how many answers there had been by then.
    faults: VecDeque<(Instant, u64)>,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Closed {
    why: String,
    pauses: u32,
    until: Instant,
    on_trial: bool,
}

/// How a call ended, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended<'a> {
    /// The plugin gave an answer, whatever it said.
    Answered,
    /// It trapped, or gave an answer that is none: how.
    AtFault(&'a str),
    /// It was not called, or did not come to an end in time.
    Otherwise,
}

/// A call that may be made. To be ended by [`Admission::end`]; a call that is dropped counts for nothing.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    quarantine: &'a Quarantine,
    is_trial: bool,
    ended: bool,
}

/// Nobody is to call it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// When it may be worth trying again.
    pub(crate) retry_after: Duration,
}

impl Quarantine {
    /// Open. `changed` is told when that changes.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self { closed: AtomicBool::new(false), answers: AtomicU64::new(0), state: Mutex::default(), changed }
    }

    /// Whether a call may be made now.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admission<'_>, Refused> {
        let admission = |is_trial| Ok(Admission { quarantine: self, is_trial, ended: false });
        if !self.closed.load(Ordering::Relaxed) {
            return admission(false);
        }
        match &mut self.state().closed {
            None => admission(false),
            Some(closed) if now < closed.until => Err(Refused { retry_after: closed.until - now }),
            Some(Closed { on_trial: true, .. }) => Err(Refused { retry_after: FIRST_PAUSE }),
            Some(closed) => {
                closed.on_trial = true;
                admission(true)
            }
        }
    }

    /// Why it is closed, if it is.
    pub(crate) fn why(&self) -> Option<String> {
        self.closed.load(Ordering::Relaxed).then(|| self.state().closed.as_ref().map(|closed| closed.why.clone())).flatten()
    }

    fn answered(&self, was_trial: bool) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if was_trial {
            *self.state() = State::default();
            self.closed.store(false, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    fn at_fault(&self, was_trial: bool, how: &str, now: Instant, jitter: impl FnOnce() -> f64) {
        let answers = self.answers.load(Ordering::Relaxed);
        let mut state = self.state();
        if let Some(closed) = &mut state.closed {
            // Calls that were under way when it closed say nothing new.
            if was_trial {
                closed.pauses = closed.pauses.saturating_add(1);
                closed.until = now + backoff::pause(FIRST_PAUSE, LONGEST_PAUSE, closed.pauses, jitter());
                closed.on_trial = false;
            }
            return;
        }
        state.faults.push_back((now, answers));
        while state.faults.len() > FAULTS {
            state.faults.pop_front();
        }
        let Some((first, answers_then)) = state.faults.front().copied().filter(|_| state.faults.len() == FAULTS) else { return };
        if now.saturating_duration_since(first) <= WITHIN && answers.saturating_sub(answers_then) <= FAULTS as u64 {
            let until = now + backoff::pause(FIRST_PAUSE, LONGEST_PAUSE, 1, jitter());
            state.closed = Some(Closed { why: how.to_owned(), pauses: 1, until, on_trial: false });
            self.closed.store(true, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    fn give_up_trial(&self) {
        if let Some(closed) = &mut self.state().closed {
            closed.on_trial = false;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// The call has ended. `jitter` gives a number between 0 and 1, and is asked only when a pause begins.
    pub(crate) fn end(mut self, how: Ended<'_>, now: Instant, jitter: impl FnOnce() -> f64) {
        match how {
            Ended::Answered => self.quarantine.answered(self.is_trial),
            Ended::AtFault(how) => self.quarantine.at_fault(self.is_trial, how, now, jitter),
            Ended::Otherwise => return,
        }
        self.ended = true;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_trial && !self.ended {
            self.quarantine.give_up_trial();
        }
    }
}

impl std::fmt::Debug for Quarantine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Quarantine").field("state", &*self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixture {
        quarantine: Quarantine,
        now: Instant,
    }

    fn fixture() -> Fixture {
        Fixture { quarantine: Quarantine::new(Arc::default()), now: Instant::now() }
    }

    impl Fixture {
        fn call(&self, how: Ended<'_>) -> Result<(), Refused> {
            self.quarantine.admit(self.now).map(|admission| admission.end(how, self.now, || 1.0))
        }

        fn fault(&self, times: usize) {
            for _ in 0..times {
                self.call(Ended::AtFault("unreachable")).unwrap();
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }
    }

    #[test]
    fn three_faults_in_a_row_close_it_and_an_answer_opens_it() {
        let mut plugin = fixture();
        plugin.fault(2);
        assert_eq!(plugin.quarantine.why(), None);
        plugin.fault(1);
        assert_eq!(plugin.quarantine.why().as_deref(), Some("unreachable"));
        assert_eq!(plugin.call(Ended::Answered), Err(Refused { retry_after: FIRST_PAUSE }));
        plugin.pass(FIRST_PAUSE);
        plugin.call(Ended::Answered).unwrap();
        assert_eq!(plugin.quarantine.why(), None);
        plugin.fault(2);
        assert_eq!(plugin.quarantine.why(), None, "what was before is forgotten");
    }

    #[test]
    fn faults_that_are_rare_in_time_or_among_answers_do_not() {
        let mut plugin = fixture();
        for _ in 0..10 {
            plugin.fault(1);
            plugin.pass(WITHIN / 2 + Duration::from_secs(1));
        }
        plugin.pass(WITHIN);
        for _ in 0..10 {
            plugin.fault(1);
            for _ in 0..2 {
                plugin.call(Ended::Answered).unwrap();
            }
        }
        for _ in 0..10 {
            plugin.call(Ended::Otherwise).unwrap();
        }
        assert_eq!(plugin.quarantine.why(), None);
    }

    #[test]
    fn one_call_at_a_time_is_tried_and_pauses_grow_to_a_minute() {
        let mut plugin = fixture();
        plugin.fault(3);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            plugin.pass(Duration::from_secs(seconds) - Duration::from_millis(1));
            assert!(plugin.call(Ended::Answered).is_err(), "{seconds}");
            plugin.pass(Duration::from_millis(1));
            let trial = plugin.quarantine.admit(plugin.now).unwrap();
            assert!(plugin.call(Ended::Answered).is_err(), "a second one at the same time");
            trial.end(Ended::AtFault("again"), plugin.now, || 1.0);
        }
        assert_eq!(plugin.quarantine.why().as_deref(), Some("unreachable"), "the message stays");
    }

    #[test]
    fn a_trial_that_comes_to_nothing_is_followed_by_another() {
        let mut plugin = fixture();
        plugin.fault(3);
        plugin.pass(FIRST_PAUSE);
        drop(plugin.quarantine.admit(plugin.now).unwrap());
        plugin.call(Ended::Otherwise).unwrap();
        plugin.call(Ended::Answered).unwrap();
        assert_eq!(plugin.quarantine.why(), None);
    }

    #[test]
    fn calls_that_were_under_way_do_not_lengthen_the_pause() {
        let mut plugin = fixture();
        let begun: Vec<_> = (0..10).map(|_| plugin.quarantine.admit(plugin.now).unwrap()).collect();
        for call in begun {
            call.end(Ended::AtFault("unreachable"), plugin.now, || 1.0);
        }
        plugin.pass(FIRST_PAUSE);
        plugin.call(Ended::Answered).unwrap();
    }

    proptest! {
        /// Whatever happened before: a plugin that answers from some moment on is called again within a minute.
        #[test]
        fn it_always_opens_again(calls in proptest::collection::vec((0u8..4, 0u64..90_000), 0..60)) {
            let mut plugin = fixture();
            for (what, milliseconds) in calls {
                plugin.pass(Duration::from_millis(milliseconds));
                match what {
                    0 => drop(plugin.quarantine.admit(plugin.now)),
                    1 => drop(plugin.call(Ended::Answered)),
                    2 => drop(plugin.call(Ended::Otherwise)),
                    _ => drop(plugin.call(Ended::AtFault("unreachable"))),
                }
            }
            plugin.pass(LONGEST_PAUSE);
            prop_assert_eq!(plugin.call(Ended::Answered), Ok(()));
            prop_assert_eq!(plugin.quarantine.why(), None);
        }
    }
}
