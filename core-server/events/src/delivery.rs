//! From a job of a hook's queue to a listener.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use checkstack_jobs::{Handler, HandlerError, Job};
use tracing::{debug, warn};

use crate::counts::Tally;
use crate::envelope;
use crate::hook::{HookId, Subscriber};
use crate::limits::TurnsOfOne;
use crate::listener::{Event, Listener, hear};

/// Events that are known to have been heard. More than one at a time are never in doubt: they are heard one after the other.
const REMEMBERED: usize = 64;

/// The events of one subscription.
///
/// The queue gives a broadcast again whose claim was lost: its answer did not come, or the end of the attempt could not be told. Its group
/// ends with this process, so it is known here whether it was heard.
pub(crate) struct Delivery {
    pub(crate) subscriber: Subscriber,
    pub(crate) hook: HookId,
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) turns: TurnsOfOne,
    pub(crate) within: Duration,
    /// Of a broadcast: each event is heard once, whether the listener fails or not.
    pub(crate) heard: Option<Heard>,
    pub(crate) tally: Arc<Tally>,
}

/// The newest events that were heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<VecDeque<String>>);

impl Heard {
    fn has(&self, event: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == event)
    }

    fn note(&self, event: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.truncate(REMEMBERED - 1);
        heard.push_front(event.to_owned());
    }
}

#[async_trait]
impl Handler for Delivery {
    async fn run(&self, job: Job) -> Result<(), HandlerError> {
        let Job { id, data, attempts, .. } = job;
        if self.heard.as_ref().is_some_and(|heard| heard.has(&id)) {
            debug!(subscriber = %self.subscriber, hook = %self.hook, event = id, "an event was heard before");
            return Ok(());
        }
        let (payload, actor) = envelope::open(data).map_err(|problem| {
            self.tally.heard(false);
            HandlerError::Permanent(problem)
        })?;
        let event = Event { hook: self.hook.clone(), payload, actor, id: Some(id.clone()), attempts };
        let _turn = self.turns.take().await;
        let result = hear(self.listener.as_ref(), event, self.within).await;
        self.tally.heard(result.is_ok());
        if let Err(problem) = &result {
            warn!(subscriber = %self.subscriber, hook = %self.hook, event = id, attempts, %problem, "a listener has failed");
        }
        let Some(heard) = &self.heard else { return result };
        heard.note(&id);
        result.map_err(|problem| HandlerError::Permanent(problem.to_string()))
    }

    fn missed(&self) {
        warn!(subscriber = %self.subscriber, hook = %self.hook, "a subscription may have missed broadcasts");
        self.tally.missed();
        self.listener.missed();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::limits::{Limits, Turns};

    /// Its listener fails with odd payloads.
    fn delivery(heard: Option<Heard>) -> (Delivery, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let listener = move |event: Event| {
            counted.fetch_add(1, Ordering::SeqCst);
            let odd = event.payload.as_u64().is_some_and(|number| number % 2 == 1);
            async move { if odd { Err(HandlerError::Retry("odd".into())) } else { Ok(()) } }
        };
        let subscriber: Subscriber = "plugin".parse().unwrap();
        let turns = Turns::new(&Limits::default()).of(&subscriber);
        let (hook, within) = ("test.hook".parse().unwrap(), Duration::from_secs(9));
        (Delivery { subscriber, hook, listener: Arc::new(listener), turns, within, heard, tally: Arc::default() }, runs)
    }

    fn job(number: usize) -> Job {
        Job { id: number.to_string(), data: json!(number), priority: 0, timestamp: Default::default(), attempts: 0 }
    }

    #[tokio::test]
    async fn a_broadcast_is_heard_once_however_often_it_comes_and_fails_for_good() {
        let (delivery, runs) = delivery(Some(Heard::default()));
        for number in 0..REMEMBERED * 3 {
            let failed = Err(HandlerError::Permanent("odd".into()));
            assert_eq!(delivery.run(job(number)).await, if number % 2 == 1 { failed } else { Ok(()) });
            assert_eq!(delivery.run(job(number)).await, Ok(()));
            assert_eq!(runs.load(Ordering::SeqCst), number + 1);
        }
        assert_eq!(delivery.heard.unwrap().0.lock().unwrap().len(), REMEMBERED);
    }

    #[tokio::test]
    async fn an_event_of_a_work_queue_is_heard_each_time() {
        let (delivery, runs) = delivery(None);
        for _ in 0..2 {
            assert_eq!(delivery.run(job(1)).await, Err(HandlerError::Retry("odd".into())));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
