//! Events of this process alone.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tracing::{error, warn};

use crate::counts::Tallies;
use crate::hook::Subscriber;
use crate::listener::{Event, Listener, hear};

/// Listeners that hear one event at the same time.
const AT_ONCE: usize = 16;

/// What became of an event of this process alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmittedLocally {
    /// Listeners that have heard it
    pub heard: usize,
    /// Listeners that have failed; why is in the log.
    pub failed: usize,
}

/// Waits for all of them; the failure of one is nothing to the others.
pub(crate) async fn emit(
    listeners: Vec<(Subscriber, Arc<dyn Listener>)>,
    event: &Event,
    within: Duration,
    tallies: &Tallies,
) -> EmittedLocally {
    let all = listeners.into_iter().map(|(subscriber, listener)| {
        let event = event.clone();
        async move {
            let hook = event.hook.clone();
            let heard = hear(listener.as_ref(), event, within).await;
            if let Err(problem) = &heard {
                error!(%subscriber, %hook, %problem, "a local listener has failed");
            }
            tallies.of(subscriber.as_str()).heard(heard.is_ok());
            heard.is_ok()
        }
    });
    let mut emitted = EmittedLocally::default();
    let mut results = futures::stream::iter(all).buffer_unordered(AT_ONCE);
    while let Some(heard) = results.next().await {
        match heard {
            true => emitted.heard += 1,
            false => emitted.failed += 1,
        }
    }
    if emitted.failed > 0 {
        warn!(hook = %event.hook, failed = emitted.failed, "local listeners have failed");
    }
    emitted
}
