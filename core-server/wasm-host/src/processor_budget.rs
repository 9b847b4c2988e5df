//! Background work leaves a part of the container's processor time to those who answer requests.
//!
//! A container with a CPU limit is stopped as a whole once its threads have used what they may have in one of the kernel's periods
//! (100 ms), and goes on in the next. Priorities do not help against that: it does not matter who has used the time. One guest that
//! computes all the time would so have every neighbour wait for some milliseconds in each period. Therefore background work pauses
//! while the process as a whole has used more than [`SHARE`] of its limit.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The part of the limit up to which there is background work.
const SHARE: f64 = 0.85;
/// What may be used at once, of a processor: with it, the share and one tick of a guest a period is full.
const BURST: Duration = Duration::from_millis(10);
/// What has been used too much is forgotten beyond this.
const DEBT: Duration = Duration::from_millis(50);
/// A pod's limit can be changed while it runs.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Who has paused for so long gets a turn, or it would never end where requests alone use up the limit.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Where a container sees its own control group.
const CONTROL_GROUP: &str = "/sys/fs/cgroup";

/// See the module.
#[derive(Debug)]
pub(crate) struct ProcessorBudget {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In processors. None: there is no limit.
    limit: Option<f64>,
    looked: Instant,
    account: Account,
}

/// What may still be used: it grows with time and shrinks with what the process uses.
#[derive(Debug, Clone, Copy)]
struct Account {
    /// Seconds of a processor; below zero, too much was used.
    balance: f64,
    at: Instant,
    used: Duration,
}

impl ProcessorBudget {
    /// Of the container that this process is in.
    pub(crate) fn of_container() -> Self {
        let now = Instant::now();
        let account = Account { balance: 0.0, at: now, used: processor_time_of_process() };
        Self { state: Mutex::new(State { limit: limit(), looked: now, account }) }
    }

    /// How long background work should wait before it goes on. None: it need not.
    fn pause(&self) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(state.looked) >= LOOK_AGAIN {
            (state.limit, state.looked) = (limit(), now);
        }
        let limit = state.limit?;
        state.account.pause(now, processor_time_of_process(), limit)
    }
}

impl Account {
    /// `used` is what the process has used since it began.
    fn pause(&mut self, now: Instant, used: Duration, limit: f64) -> Option<Duration> {
        let rate = SHARE * limit;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        let spent = used.saturating_sub(self.used).as_secs_f64();
        let balance = (self.balance + earned - spent).clamp(-DEBT.as_secs_f64() * limit, BURST.as_secs_f64() * limit);
        *self = Self { balance, at: now, used };
        (balance < 0.0 && rate > 0.0).then(|| Duration::from_secs_f64(-balance / rate))
    }
}

/// Work that pauses while there is too little processor time.
pub(crate) struct Sparing<Work> {
    work: Pin<Box<Work>>,
    budget: Arc<ProcessorBudget>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Since its last turn.
    paused: Duration,
}

impl<Work> Sparing<Work> {
    pub(crate) fn new(work: Work, budget: Arc<ProcessorBudget>) -> Self {
        Self { work: Box::pin(work), budget, pause: None, paused: Duration::ZERO }
    }
}

impl<Work: Future> Future for Sparing<Work> {
    type Output = Work::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Work::Output> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
            }
            match this.budget.pause().filter(|_| this.paused < LONGEST_PAUSE) {
                Some(pause) => {
                    this.paused += pause;
                    this.pause = Some(Box::pin(tokio::time::sleep(pause)));
                }
                None => {
                    this.paused = Duration::ZERO;
                    return this.work.as_mut().poll(context);
                }
            }
        }
    }
}

/// In processors.
fn limit() -> Option<f64> {
    limit_of(Path::new(CONTROL_GROUP))
}

/// What a container may use, in microseconds of each period: one file has both in version 2 of control groups, two files in version 1.
fn limit_of(group: &Path) -> Option<f64> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    match read("cpu.max") {
        Some(both) => parse(&both),
        None => parse(&format!("{} {}", read("cpu/cpu.cfs_quota_us")?.trim(), read("cpu/cpu.cfs_period_us")?.trim())),
    }
}

/// `150000 100000`; without a limit `max 100000` or `-1 100000`.
fn parse(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u32, u32) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

fn processor_time_of_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_is_read() {
        assert_eq!(parse("max 100000\n"), None);
        assert_eq!(parse("150000 100000\n"), Some(1.5));
        for other in ["", "x", "0 100000", "100000 0", "100000", "-1 100000"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
        let group = tempfile::tempdir().unwrap();
        assert_eq!(limit_of(group.path()), None, "no container");
        std::fs::create_dir(group.path().join("cpu")).unwrap();
        std::fs::write(group.path().join("cpu/cpu.cfs_period_us"), "100000\n").unwrap();
        for (quota, limit) in [("-1\n", None), ("250000\n", Some(2.5))] {
            std::fs::write(group.path().join("cpu/cpu.cfs_quota_us"), quota).unwrap();
            assert_eq!(limit_of(group.path()), limit, "version 1");
        }
        std::fs::write(group.path().join("cpu.max"), "50000 100000\n").unwrap();
        assert_eq!(limit_of(group.path()), Some(0.5), "version 2");
    }

    /// One background thread that always has work, beside requests that use `requests` of the limit of one processor: what the
    /// background used, and the most that all used in a period.
    fn simulate(requests: f64, ticks: usize) -> (f64, f64) {
        const TICK: f64 = 0.005;
        let begin = Instant::now();
        let mut account = Account { balance: 0.0, at: begin, used: Duration::ZERO };
        let (mut now, mut used, mut background, mut paused) = (0.0, 0.0, 0.0, 0.0);
        let mut uses = Vec::new();
        for _ in 0..ticks {
            let pause = account.pause(begin + Duration::from_secs_f64(now), Duration::from_secs_f64(used), 1.0);
            match pause.filter(|_| paused < LONGEST_PAUSE.as_secs_f64()) {
                Some(pause) => {
                    let pause = pause.as_secs_f64().max(0.001);
                    (now, used, paused) = (now + pause, used + pause * requests, paused + pause);
                    uses.push((now, pause * requests));
                }
                None => {
                    (now, used, background, paused) = (now + TICK, used + TICK * (1.0 + requests), background + TICK, 0.0);
                    uses.push((now, TICK * (1.0 + requests)));
                }
            }
        }
        let in_period = |end: f64| uses.iter().filter(|(at, _)| (end - 0.1..end).contains(at)).map(|(_, used)| used).sum::<f64>();
        let most = uses.iter().map(|(at, _)| in_period(*at)).fold(0.0, f64::max);
        (background / now, most)
    }

    proptest! {
        #[test]
        fn no_period_is_used_up_as_long_as_requests_alone_do_not(requests in 0.0..0.8) {
            let (background, most) = simulate(requests, 2000);
            prop_assert!(most <= 0.102, "{most} s of 0.1 s");
            prop_assert!(background > SHARE - requests - 0.05, "what is left is used: {background}");
        }

        #[test]
        fn background_work_always_gets_a_turn_now_and_then(requests in 0.8..3.0) {
            let (background, _) = simulate(requests, 2000);
            prop_assert!(background > 0.02, "{background}");
        }
    }

    #[tokio::test]
    async fn work_waits_until_there_is_time_again_and_never_for_ever() {
        for (limit, least) in [(1_000.0, Duration::ZERO), (0.001, DEBT)] {
            let budget = Arc::new(ProcessorBudget::of_container());
            budget.state.lock().unwrap().limit = Some(limit);
            let spend = Instant::now();
            while spend.elapsed() < Duration::from_millis(5) {}
            let begin = Instant::now();
            let work = Sparing::new(async {}, Arc::clone(&budget));
            tokio::time::timeout(Duration::from_secs(10), work).await.unwrap();
            assert!(begin.elapsed() >= least, "{:?} with {limit}", begin.elapsed());
        }
    }

    #[test]
    fn without_a_limit_there_is_no_pause() {
        let budget = ProcessorBudget::of_container();
        budget.state.lock().unwrap().limit = None;
        assert_eq!(budget.pause(), None);
    }

    #[test]
    fn who_uses_more_than_the_limit_has_to_pause() {
        let budget = ProcessorBudget::of_container();
        budget.state.lock().unwrap().limit = Some(0.01);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(20) {}
        let pause = budget.pause().unwrap();
        assert!(pause <= DEBT.div_f64(SHARE) + Duration::from_millis(1), "{pause:?}");
    }
}
