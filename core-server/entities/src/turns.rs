//! Who changes an entity in this process waits here for others who do, and not on a connection, of which there are few. It also keeps the
//! order of events that are emitted after the commit.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// More than a process has connections.
const PLACES: usize = 64;

/// Some entities share a place, which only makes them slower.
#[derive(Debug)]
pub(crate) struct Turns {
    places: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect(), hasher: RandomState::default() }
    }
}

impl Turns {
    /// To be dropped when the change is made and told. None: there is no such place, which does not come to pass.
    pub(crate) async fn take(&self, kind: &str, id: &str) -> Option<MutexGuard<'_, ()>> {
        let hash = self.hasher.hash_one((kind, id));
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        match self.places.get(place) {
            Some(place) => Some(place.lock().await),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_entity_has_one_turn_at_a_time() {
        let turns = Turns::default();
        let held = turns.take("health", "1").await;
        assert!(held.is_some());
        assert!(turns.take("health", "1").now_or_never().is_none());
        let others = (0..100).filter(|number| turns.take("health", &format!("x{number}")).now_or_never().is_some()).count();
        assert!(others > 80, "{others}");
        drop(held);
        assert!(turns.take("health", "1").now_or_never().is_some());
    }
}
