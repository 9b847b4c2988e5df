//! The others, for who reads and changes entries here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Timings;
use super::backplane::Backplane;
use super::hearing::Hearing;
use super::pending::{Change, Pending};
use crate::CacheError;
use crate::entry::ScopeName;

/// See the module. [`super::keep_linked`] does what is asked of it.
pub(crate) struct Replicas {
    /// This store among those of all replicas
    pub(super) id: Uuid,
    pub(super) backplane: Arc<dyn Backplane>,
    pub(super) timings: Timings,
    hearing: Hearing,
    untold: Mutex<Untold>,
    wanted: Notify,
    state: watch::Sender<LinkState>,
}

#[derive(Default)]
struct Untold {
    changes: Pending,
    /// How many changes there have been
    number: u64,
}

#[derive(Default)]
struct LinkState {
    /// Which changes have been told: those up to this one.
    told: u64,
    /// Why there is no link, since it was lost.
    lost: Option<String>,
}

impl Replicas {
    pub(crate) fn new(backplane: Arc<dyn Backplane>, timings: Timings) -> Self {
        Self {
            id: Uuid::new_v4(),
            backplane,
            timings,
            hearing: Hearing::new(),
            untold: Mutex::default(),
            wanted: Notify::new(),
            state: watch::Sender::default(),
        }
    }

    /// Whether it is known what the others have changed.
    pub(crate) fn are_heard(&self, now: Instant) -> bool {
        self.hearing.is_good(now)
    }

    /// Tells them of a change that has been made here. It is remembered until it has been told, also when nobody waits any more.
    ///
    /// # Errors
    /// [`CacheError::Untold`].
    pub(crate) async fn tell(&self, scope: &ScopeName, change: Change) -> Result<(), CacheError> {
        let number = {
            let mut untold = self.untold();
            untold.changes.add(scope, change);
            untold.number += 1;
            untold.number
        };
        self.wanted.notify_one();
        let mut state = self.state.subscribe();
        let patience = self.timings.tell;
        match timeout(patience, state.wait_for(|state| state.told >= number || state.lost.is_some())).await {
            Ok(Ok(state)) if state.told >= number => Ok(()),
            Ok(Ok(state)) => Err(CacheError::Untold(state.lost.clone().unwrap_or_default())),
            // It lives as long as this.
            Ok(Err(_)) => Err(CacheError::Stopped),
            Err(_) => Err(CacheError::Untold(format!("it could not be said within {} ms", patience.as_millis()))),
        }
    }

    /// Waits until there is something to tell.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn has_untold(&self) -> bool {
        !self.untold().changes.is_empty()
    }

    /// What is to be told, and the number of the last change in it.
    pub(super) fn take(&self) -> (Pending, u64) {
        let mut untold = self.untold();
        (std::mem::take(&mut untold.changes), untold.number)
    }

    pub(super) fn put_back(&self, taken: Pending) {
        self.untold().changes.put_back(taken);
    }

    /// All changes up to this one have been told, and what others said before `seen` is known.
    pub(super) fn exchanged(&self, told: u64, seen: Instant) {
        self.hearing.renew(seen, self.timings.lease);
        self.state.send_modify(|state| *state = LinkState { told, lost: None });
    }

    pub(super) fn lose(&self, problem: String) {
        self.hearing.lose();
        self.state.send_modify(|state| state.lost = Some(problem));
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
