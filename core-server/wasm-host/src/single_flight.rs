//! Blocking work that is done once for all who want its result, a bounded number of times at once.
//!
//! Nothing can stop a computation on a blocking thread. So whoever asked for it may go, but it runs
//! to its end, keeps its slot until then, and whoever asks for the same meanwhile joins it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::{Mutex, Semaphore, watch};

/// The work under way, by what it is about.
pub(crate) struct SingleFlight<Key, Output> {
    slots: Arc<Semaphore>,
    flights: std::sync::Mutex<HashMap<Key, Weak<Flight<Output>>>>,
}

/// Kept by those who wait for it and by the work itself. The result, once the work has begun.
type Flight<Output> = Mutex<Option<watch::Receiver<Option<Output>>>>;

/// The work has not been done: it panicked, or the server is going away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl<Key: Eq + Hash, Output: Clone + Send + Sync + 'static> SingleFlight<Key, Output> {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))), flights: std::sync::Mutex::default() }
    }

    /// The result of `work`, or of the same work that is under way. `known` may find that there is
    /// nothing to do, without a slot.
    pub(crate) async fn run(
        &self,
        key: Key,
        known: impl Future<Output = Option<Output>>,
        work: impl FnOnce() -> Output + Send + 'static,
    ) -> Result<Output, Lost> {
        let flight = self.flight(key);
        let mut result = {
            // Held while waiting for a slot: when this caller goes, the next one takes its turn.
            let mut begun = flight.lock().await;
            match &*begun {
                Some(result) if is_under_way(result) => result.clone(),
                _ => {
                    if let Some(output) = known.await {
                        return Ok(output);
                    }
                    let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Lost)?;
                    let (sender, result) = watch::channel(None);
                    let of_the_work = Arc::clone(&flight);
                    tokio::task::spawn_blocking(move || {
                        let output = work();
                        drop(slot);
                        // Who asks after this begins anew. That nobody waits any more is no fault.
                        let _ = sender.send(Some(output));
                        drop(of_the_work);
                    });
                    begun.insert(result).clone()
                }
            }
        };
        let output = result.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        output.clone().ok_or(Lost)
    }

    fn flight(&self, key: Key) -> Arc<Flight<Output>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

/// A result that is there was about the past; none will come from work that has panicked.
fn is_under_way<Output>(result: &watch::Receiver<Option<Output>>) -> bool {
    result.borrow().is_none() && result.has_changed().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Work that begins at once and ends when it is told to.
    struct Work {
        begun: AtomicUsize,
        ends: std::sync::Mutex<mpsc::Receiver<u32>>,
    }

    fn work() -> (mpsc::Sender<u32>, Arc<Work>) {
        let (end, ends) = mpsc::channel();
        (end, Arc::new(Work { begun: AtomicUsize::new(0), ends: std::sync::Mutex::new(ends) }))
    }

    type Flights = Arc<SingleFlight<&'static str, u32>>;

    fn ask(flights: &Flights, key: &'static str, work: &Arc<Work>) -> tokio::task::JoinHandle<Result<u32, Lost>> {
        let (flights, work) = (Arc::clone(flights), Arc::clone(work));
        tokio::spawn(async move {
            let computed = move || {
                work.begun.fetch_add(1, Ordering::SeqCst);
                work.ends.lock().unwrap().recv().unwrap()
            };
            flights.run(key, async { None }, computed).await
        })
    }

    async fn until_begun(work: &Work, times: usize) {
        let begun = async {
            while work.begun.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), begun).await.unwrap();
    }

    const A_WHILE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_slot() {
        let flights = Arc::new(SingleFlight::new(1));
        let ((end_first, first), (end_second, second)) = (work(), work());
        let abandoned = ask(&flights, "first", &first);
        until_begun(&first, 1).await;
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        let waiting = ask(&flights, "second", &second);
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(second.begun.load(Ordering::SeqCst), 0, "the slot is taken");
        end_first.send(1).unwrap();
        end_second.send(2).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn who_comes_later_joins_although_the_first_has_gone() {
        let flights = Arc::new(SingleFlight::new(4));
        let (end, work) = work();
        let abandoned = ask(&flights, "same", &work);
        until_begun(&work, 1).await;
        abandoned.abort();
        let joined: Vec<_> = (0..3).map(|_| ask(&flights, "same", &work)).collect();
        tokio::time::sleep(A_WHILE).await;
        end.send(7).unwrap();
        for joined in joined {
            // One that has begun anew waits for a second word, which never comes.
            let joined = tokio::time::timeout(Duration::from_secs(10), joined).await;
            assert_eq!(joined.unwrap().unwrap(), Ok(7));
        }
        assert_eq!(work.begun.load(Ordering::SeqCst), 1);
        // A result is not kept, not even while somebody still has to hear of it.
        end.send(8).unwrap();
        assert_eq!(ask(&flights, "same", &work).await.unwrap(), Ok(8));
    }

    #[tokio::test]
    async fn the_turn_of_one_who_goes_before_there_is_a_slot_is_taken_by_the_next() {
        let flights = Arc::new(SingleFlight::new(1));
        let ((end_first, first), (end_second, second)) = (work(), work());
        let running = ask(&flights, "first", &first);
        until_begun(&first, 1).await;
        let gone = ask(&flights, "second", &second);
        let next = ask(&flights, "second", &second);
        tokio::time::sleep(A_WHILE).await;
        gone.abort();
        end_first.send(1).unwrap();
        end_second.send(2).unwrap();
        assert_eq!((running.await.unwrap(), next.await.unwrap()), (Ok(1), Ok(2)));
        assert_eq!(second.begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_is_known_needs_no_slot() {
        let flights: Flights = Arc::new(SingleFlight::new(1));
        let (end, work) = work();
        let running = ask(&flights, "first", &work);
        until_begun(&work, 1).await;
        assert_eq!(flights.run("second", async { Some(5) }, || 6).await, Ok(5));
        end.send(1).unwrap();
        assert_eq!(running.await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_frees_the_slot() {
        let flights: Flights = Arc::new(SingleFlight::new(1));
        let panicking = || -> u32 { std::panic::resume_unwind(Box::new("on purpose")) };
        assert_eq!(flights.run("a", async { None }, panicking).await, Err(Lost));
        assert_eq!(flights.run("a", async { None }, || 3).await, Ok(3));
    }
}
