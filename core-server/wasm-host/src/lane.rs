//! Where guest code runs.
//!
//! A call begins on the thread that serves the request: most calls end within microseconds, and
//! nothing is faster than not to switch threads. Guest code that goes on computing is interrupted
//! by the engine's clock. When it has had a thread for 5 to 10 ms in one stretch the call is moved to
//! the **background lane**: a few threads of lower priority that take turns between all such calls,
//! tick by tick. So a plugin that computes for long, or for ever, can neither hold a thread that
//! serves others nor take more than an equal share of the background threads. For a few seconds after
//! that, all calls of the same plugin begin in the background lane; so they do after a call that the clock could not
//! interrupt, since it was the host that worked for it: a large answer has to be copied out of the guest. The lane as a whole pauses
//! before it has used up what the container may have of the processors (see [`processor_budget`](crate::processor_budget)).
//!
//! The deadline of a call is not watched here: the clock's callback looks at it when guest code
//! computes, a timer does when the guest waits for the host
//! (see [`instance`](crate::instance)).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;
use tokio_util::context::TokioContext;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::WasmHostError;
use crate::processor_budget::{ProcessorBudget, Sparing};

/// How long calls of a plugin begin in the background after one of them had to be moved there.
const BACKGROUND_PERIOD: Duration = Duration::from_secs(5);

/// Processor time between two ticks after which guest code is moved: a little less than a tick.
const SLICE_NANOSECONDS: u64 = 4_000_000;

/// Added to the niceness of threads that run guests in the background.
const BACKGROUND_NICENESS: i32 = 10;

/// Lowers the priority of the calling thread. On Linux a niceness belongs to a thread; that it
/// could not be set changes fairness, not correctness.
pub(crate) fn lower_thread_priority(niceness: i32) {
    if let Err(error) = rustix::process::nice(niceness) {
        tracing::debug!(%error, "a background thread keeps its normal priority");
    }
}

/// The background lane.
pub(crate) struct BackgroundLane {
    /// `None` only while it is dropped. It drives no I/O and no timers: its tasks use those of the
    /// runtime that they come from, so that a computing guest never delays a connection.
    runtime: Option<Runtime>,
    budget: Arc<ProcessorBudget>,
}

impl BackgroundLane {
    pub(crate) fn new(threads: usize) -> Result<Self, WasmHostError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("plugin-background")
            .on_thread_start(|| lower_thread_priority(BACKGROUND_NICENESS))
            .build()
            .map_err(WasmHostError::Thread)?;
        Ok(Self { runtime: Some(runtime), budget: Arc::new(ProcessorBudget::of_container()) })
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<AbortOnDropHandle<T>> {
        let runtime = self.runtime.as_ref()?;
        let work = Sparing::new(work.in_current_span(), Arc::clone(&self.budget));
        Some(AbortOnDropHandle::new(runtime.spawn(TokioContext::new(work, Handle::current()))))
    }
}

impl Drop for BackgroundLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads is not allowed in asynchronous code; tasks end at their next tick.
            runtime.shutdown_background();
        }
    }
}

/// Between a call and the clock's callback: how long the guest has been computing in one stretch.
#[derive(Debug)]
pub(crate) struct Stretch {
    in_background: AtomicBool,
    /// Counts the times that the call was polled on a thread that serves others.
    number: AtomicU64,
    /// The stretch in which a tick was seen last, and the thread's processor time at the first tick.
    ticked: AtomicU64,
    processor_time: AtomicU64,
    /// The callback asked for the background.
    overrun: AtomicBool,
}

/// What the callback tells the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OnTick {
    Continue,
    Yield,
}

impl Default for Stretch {
    fn default() -> Self {
        Self {
            in_background: AtomicBool::new(true),
            number: AtomicU64::new(0),
            ticked: AtomicU64::new(0),
            processor_time: AtomicU64::new(0),
            overrun: AtomicBool::new(false),
        }
    }
}

// One thread at a time works on a call, so the order of accesses is that of the program.
impl Stretch {
    /// Called by the clock while the guest computes.
    pub(crate) fn on_tick(&self) -> OnTick {
        if self.in_background.load(Ordering::Relaxed) {
            return OnTick::Yield;
        }
        let now = processor_time_of_thread();
        let number = self.number.load(Ordering::Relaxed);
        if self.ticked.swap(number, Ordering::Relaxed) != number {
            // The first tick of a stretch may come at once.
            self.processor_time.store(now, Ordering::Relaxed);
            return OnTick::Continue;
        }
        // Time in which the system gave the processor to others is not the guest's.
        if now.saturating_sub(self.processor_time.load(Ordering::Relaxed)) < SLICE_NANOSECONDS {
            return OnTick::Continue;
        }
        self.overrun.store(true, Ordering::Relaxed);
        OnTick::Yield
    }

    /// The call is, or will be, polled by a background thread.
    pub(crate) fn enter_background(&self) {
        self.in_background.store(true, Ordering::Relaxed);
    }

    /// The call is about to be polled here.
    fn begin(&self) {
        self.in_background.store(false, Ordering::Relaxed);
        self.overrun.store(false, Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }
}

fn processor_time_of_thread() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Remembers whether calls of one plugin should begin in the background, and how long threads have worked on them.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    /// Nanoseconds.
    worked: AtomicU64,
    /// Milliseconds after `since`.
    background_until: AtomicU64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), worked: AtomicU64::new(0), background_until: AtomicU64::new(0) }
    }

    /// How long threads have worked for the plugin.
    pub(crate) fn worked(&self) -> Duration {
        Duration::from_nanos(self.worked.load(Ordering::Relaxed))
    }

    /// Works, and says whether that took the processor for as long as a call may have it in one stretch.
    fn measured<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        let (since, before) = (Instant::now(), processor_time_of_thread());
        let result = work();
        let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.worked.fetch_add(took, Ordering::Relaxed);
        let is_long = took >= SLICE_NANOSECONDS && processor_time_of_thread().saturating_sub(before) >= SLICE_NANOSECONDS;
        (result, is_long)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn begins_in_background(&self) -> bool {
        let until = self.background_until.load(Ordering::Relaxed);
        until != 0 && self.now() < until
    }

    fn slow_down(&self) {
        let period = u64::try_from(BACKGROUND_PERIOD.as_millis()).unwrap_or(u64::MAX);
        self.background_until.store(self.now().saturating_add(period), Ordering::Relaxed);
    }
}

/// The call was given up because the server is going away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// A panic is a fault of the host: it goes on to whoever made the call, as it does without a move.
fn finished<T>(result: Result<T, JoinError>) -> Result<T, Abandoned> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Abandoned,
    })
}

/// Runs `work` in the background from the start.
pub(crate) async fn run_in_background<T: Send + 'static>(
    lane: &BackgroundLane,
    pace: Arc<Pace>,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Abandoned> {
    // How long a step takes says nothing about calls.
    finished(lane.spawn(Measured { work: Box::pin(work), pace, is_call: false }).ok_or(Abandoned)?.await)
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work whose time counts.
struct Measured<T> {
    work: Work<T>,
    pace: Arc<Pace>,
    is_call: bool,
}

impl<T> Future for Measured<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Self { work, pace, is_call } = &mut *self;
        let (polled, is_long) = pace.measured(|| work.as_mut().poll(context));
        if is_long && *is_call {
            pace.slow_down();
        }
        polled
    }
}

/// Runs `work` on this thread, and in the background when it takes long. Dropping the future drops
/// the work, wherever it is.
pub(crate) fn run<T: Send + 'static>(
    lane: Arc<BackgroundLane>,
    pace: Arc<Pace>,
    stretch: Arc<Stretch>,
    work: impl Future<Output = T> + Send + 'static,
) -> Run<T> {
    let place = match pace.begins_in_background() {
        true => {
            stretch.enter_background();
            Place::background(&lane, &pace, Box::pin(work))
        }
        false => Place::Here(Box::pin(work)),
    };
    Run { lane, pace, stretch, place }
}

/// The future of [`run`].
pub(crate) struct Run<T> {
    lane: Arc<BackgroundLane>,
    pace: Arc<Pace>,
    stretch: Arc<Stretch>,
    place: Place<T>,
}

enum Place<T> {
    Here(Work<T>),
    Background(AbortOnDropHandle<T>),
    Nowhere,
}

impl<T: Send + 'static> Place<T> {
    fn background(lane: &BackgroundLane, pace: &Arc<Pace>, work: Work<T>) -> Self {
        lane.spawn(Measured { work, pace: Arc::clone(pace), is_call: true }).map_or(Self::Nowhere, Self::Background)
    }
}

impl<T: Send + 'static> Future for Run<T> {
    type Output = Result<T, Abandoned>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Place::Here(work) = &mut this.place {
            this.stretch.begin();
            let (polled, is_long) = this.pace.measured(|| work.as_mut().poll(context));
            if is_long {
                this.pace.slow_down();
            }
            match polled {
                Poll::Ready(result) => return Poll::Ready(Ok(result)),
                Poll::Pending if !this.stretch.is_overrun() => return Poll::Pending,
                Poll::Pending => {}
            }
            this.pace.slow_down();
            this.stretch.enter_background();
            if let Place::Here(work) = std::mem::replace(&mut this.place, Place::Nowhere) {
                this.place = Place::background(&this.lane, &this.pace, work);
            }
        }
        match &mut this.place {
            Place::Background(task) => Pin::new(task).poll(context).map(finished),
            Place::Here(_) | Place::Nowhere => Poll::Ready(Err(Abandoned)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use super::*;

    fn thread_name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    struct Fixture {
        lane: Arc<BackgroundLane>,
        pace: Arc<Pace>,
        stretch: Arc<Stretch>,
    }

    fn fixture() -> Fixture {
        Fixture { lane: Arc::new(BackgroundLane::new(1).unwrap()), pace: Arc::new(Pace::new()), stretch: Arc::default() }
    }

    impl Fixture {
        fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Run<T> {
            run(Arc::clone(&self.lane), Arc::clone(&self.pace), Arc::clone(&self.stretch), work)
        }
    }

    /// Computes until the clock asks to yield; a tick here is a millisecond.
    fn compute(stretch: &Stretch) {
        loop {
            let tick = Instant::now() + Duration::from_millis(1);
            while Instant::now() < tick {}
            if stretch.on_tick() == OnTick::Yield {
                return;
            }
        }
    }

    #[test]
    fn a_stretch_is_as_long_as_the_thread_computes() {
        let stretch = Stretch::default();
        assert_eq!(stretch.on_tick(), OnTick::Yield, "in the background every tick is a turn");
        for _ in 0..10 {
            // Ticks of different stretches, and time in which the thread does nothing, do not add up.
            stretch.begin();
            assert_eq!(stretch.on_tick(), OnTick::Continue);
            thread::sleep(Duration::from_millis(6));
            assert_eq!(stretch.on_tick(), OnTick::Continue);
        }
        assert!(!stretch.is_overrun());
        compute(&stretch);
        assert!(stretch.is_overrun());
        stretch.begin();
        assert!(!stretch.is_overrun());
    }

    #[tokio::test]
    async fn short_work_stays_on_its_thread() {
        let here = thread_name();
        let there = fixture()
            .run(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                thread_name()
            })
            .await;
        assert_eq!(there.unwrap(), here);
    }

    #[tokio::test]
    async fn long_work_moves_and_the_next_begins_in_the_background() {
        let fixture = fixture();
        let stretch = Arc::clone(&fixture.stretch);
        let moved = fixture.run(async move {
            compute(&stretch);
            tokio::task::yield_now().await;
            // Timers of the original runtime still work.
            tokio::time::sleep(Duration::from_millis(1)).await;
            thread_name()
        });
        assert_eq!(moved.await.unwrap(), "plugin-background");
        assert_eq!(fixture.run(async { thread_name() }).await.unwrap(), "plugin-background");
    }

    /// As the host does, for a guest.
    fn copy_for_long() {
        let begin = processor_time_of_thread();
        while processor_time_of_thread() - begin < SLICE_NANOSECONDS {}
    }

    #[tokio::test]
    async fn after_work_that_could_not_be_interrupted_the_next_begins_in_the_background() {
        let (fixture, here) = (fixture(), thread_name());
        let long = async {
            copy_for_long();
            thread_name()
        };
        assert_eq!(fixture.run(long).await.unwrap(), here);
        assert_eq!(fixture.run(async { thread_name() }).await.unwrap(), "plugin-background");
    }

    #[tokio::test]
    async fn a_plugin_stays_in_the_background_for_as_long_as_its_calls_are_long() {
        let fixture = fixture();
        let soon = fixture.pace.now() + 60_000;
        fixture.pace.background_until.store(soon, Ordering::Relaxed);
        fixture.run(async {}).await.unwrap();
        assert_eq!(fixture.pace.background_until.load(Ordering::Relaxed), soon, "a short call changes nothing");
        fixture.run(async { copy_for_long() }).await.unwrap();
        assert_ne!(fixture.pace.background_until.load(Ordering::Relaxed), soon, "the period begins anew");
        let fixture = self::fixture();
        run_in_background(&fixture.lane, Arc::clone(&fixture.pace), async { copy_for_long() }).await.unwrap();
        assert!(!fixture.pace.begins_in_background(), "a step in the plugin's life is no call");
    }

    #[tokio::test]
    async fn dropping_the_future_drops_moved_work() {
        let fixture = fixture();
        let alive = Arc::new(());
        let (stretch, guard) = (Arc::clone(&fixture.stretch), Arc::clone(&alive));
        let endless = fixture.run(async move {
            let _guard = guard;
            compute(&stretch);
            loop {
                tokio::task::yield_now().await;
            }
        });
        let result: Result<Result<(), _>, _> = tokio::time::timeout(Duration::from_millis(50), endless).await;
        assert!(result.is_err());
        let gone = async {
            while Arc::strong_count(&alive) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    }
}
