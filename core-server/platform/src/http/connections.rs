//! The connections there are: a bounded number, and always room for one more. When all places are
//! taken, the connection on which nothing has happened for longest makes way, so that neither idle
//! clients nor those that do not read keep the kubelet from asking how the server is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// When all connections are busy with a request, which does not take long: see
/// [`RequestLimit`](super::budget::RequestLimit).
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// All connections.
pub(super) struct Connections {
    most: usize,
    places: Mutex<Places>,
    began: Instant,
}

#[derive(Default)]
struct Places {
    next: u64,
    taken: HashMap<u64, Arc<Activity>>,
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    id: u64,
    activity: Arc<Activity>,
    connections: Arc<Connections>,
}

/// What happens on a connection.
struct Activity {
    /// Requests of it that are being answered.
    busy: AtomicUsize,
    /// When bytes last came or went: microseconds since `began`.
    moved: AtomicU64,
    evicted: CancellationToken,
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, places: Mutex::default(), began: Instant::now() })
    }

    /// A place for a new connection.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_place() {
                return place;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.most {
            let idle = places.taken.iter().filter(|(_, activity)| activity.busy.load(Ordering::Relaxed) == 0);
            let (longest, _) = idle.min_by_key(|(id, activity)| (activity.moved.load(Ordering::Relaxed), **id))?;
            let longest = *longest;
            if let Some(evicted) = places.taken.remove(&longest) {
                evicted.evicted.cancel();
            }
        }
        let moved = AtomicU64::new(self.now());
        let activity = Arc::new(Activity { busy: AtomicUsize::new(0), moved, evicted: CancellationToken::new() });
        let id = places.next;
        places.next += 1;
        places.taken.insert(id, activity.clone());
        Some(Place { id, activity, connections: self.clone() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Bytes have come or gone.
    pub(super) fn moved(&self) {
        self.activity.moved.store(self.connections.now(), Ordering::Relaxed);
    }

    /// A request is being answered, until this is dropped.
    pub(super) fn busy(&self) -> impl Drop + '_ {
        struct Busy<'a>(&'a Place);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.moved();
                self.0.activity.busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.activity.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// Gives the place up, although the stream may live on.
    pub(super) fn leave(&self) {
        self.connections.places().taken.remove(&self.id);
    }

    /// When it has to make way.
    pub(super) async fn evicted(&self) {
        self.activity.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_has_been_quiet_for_longest_makes_way_and_who_is_busy_never() {
        let connections = Connections::new(3);
        let places = [connections.place().await, connections.place().await, connections.place().await];
        tokio::time::sleep(Duration::from_millis(5)).await;
        places[0].moved();
        let busy = places[1].busy();
        let evicted = |place: &Place| place.evicted().now_or_never().is_some();
        let next = connections.place().await;
        assert_eq!(places.each_ref().map(evicted), [false, false, true]);
        let _more = connections.place().await;
        assert_eq!(places.each_ref().map(evicted), [true, false, true]);
        let _busy_too = (next.busy(), _more.busy());
        assert!(connections.place().now_or_never().is_none(), "all are busy");
        drop(busy);
        connections.place().await;
        assert!(evicted(&places[1]));
    }

    #[tokio::test]
    async fn a_place_is_free_when_its_connection_has_ended() {
        let connections = Connections::new(1);
        for _ in 0..3 {
            let place = connections.place().await;
            assert!(place.evicted().now_or_never().is_none());
        }
        assert!(connections.places().taken.is_empty());
        let place = connections.place().await;
        place.leave();
        assert!(connections.places().taken.is_empty(), "what has become a socket is no connection");
        drop(place);
    }
}
