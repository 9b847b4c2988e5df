//! How much the server takes on at any one time: requests, and bytes of bodies. What is over it is
//! refused at once, so that no number of clients can make the pod run out of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::plugins::failure;

/// Bodies of all requests and answers together, if the settings do not say otherwise.
pub(crate) const DEFAULT_MAX_BUFFERED_BYTES: usize = 64 * 1024 * 1024;
/// So much of each body is not counted: small ones neither wait for a lock nor are refused when
/// large ones have used up the budget. There are not more of them than requests.
const FREE_BYTES: usize = 8 * 1024;
const UNIT: usize = 1024;

/// Bytes of bodies, of requests and answers alike.
#[derive(Clone)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

/// What one body takes of the budget, until it is dropped.
pub(super) struct Share {
    budget: BodyBudget,
    taken: Option<OwnedSemaphorePermit>,
}

/// Nothing is left of the budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl BodyBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), taken: None }
    }

    /// For what is otherwise not counted of a body of this size.
    pub(super) fn small_share(&self, bytes: u64) -> Result<Share, Exhausted> {
        let small = usize::try_from(bytes).unwrap_or(usize::MAX).min(FREE_BYTES);
        let mut share = self.share();
        share.grow_to(FREE_BYTES + small)?;
        Ok(share)
    }

    /// The same bytes, counted for as long as anybody holds them.
    pub(super) fn counted(&self, bytes: Bytes) -> Result<Bytes, Exhausted> {
        let mut share = self.share();
        share.grow_to(bytes.len())?;
        Ok(share.hold(bytes))
    }
}

impl Share {
    /// Counts these bytes for as long as anybody holds them: those that it has grown for.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        if self.taken.is_some() { Bytes::from_owner(Counted { bytes, _share: self }) } else { bytes }
    }

    /// Takes what is missing for a body of this size.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(UNIT);
        let missing = wanted.saturating_sub(self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| Exhausted)?;
        let more = self.budget.0.clone().try_acquire_many_owned(missing).map_err(|_| Exhausted)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Requests that are being answered, those to the platform itself not among them.
pub(crate) struct RequestLimit {
    most: usize,
    current: AtomicUsize,
}

impl RequestLimit {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, current: AtomicUsize::new(0) }
    }

    /// A place, until it is dropped; else the answer.
    pub(super) fn enter(&self) -> Result<impl Drop + '_, Box<Response>> {
        struct Place<'a>(&'a AtomicUsize);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.current.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.current);
        if before < self.most { Ok(place) } else { Err(Box::new(overloaded())) }
    }
}

/// What is told to whom there is no room for.
pub(super) fn overloaded() -> Response {
    failure(StatusCode::SERVICE_UNAVAILABLE, "the server has too much to do at the moment", Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_the_budget_and_small_ones_need_none() {
        let budget = BodyBudget::new(100 * 1024);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert_eq!(one.grow_to(FREE_BYTES + 60 * 1024), Ok(()));
        assert_eq!(two.grow_to(FREE_BYTES + 41 * 1024), Err(Exhausted));
        assert_eq!(two.grow_to(FREE_BYTES + 40 * 1024), Ok(()));
        assert_eq!(two.grow_to(FREE_BYTES + 1), Ok(()), "it has that much");
        assert_eq!(budget.share().grow_to(FREE_BYTES), Ok(()));
        assert_eq!(budget.share().grow_to(FREE_BYTES + 1), Err(Exhausted));
        drop(one);
        assert_eq!(two.grow_to(FREE_BYTES + 100 * 1024), Ok(()));
    }

    #[test]
    fn small_bodies_count_where_there_are_many() {
        let budget = BodyBudget::new(20 * 1024);
        let one = budget.small_share(1).unwrap().hold(Bytes::from_static(b"1"));
        let most = budget.small_share(1_000_000).unwrap().hold(Bytes::from_static(b"2"));
        assert_eq!(budget.share().grow_to(FREE_BYTES + 12 * 1024), Err(Exhausted));
        assert_eq!(budget.share().grow_to(FREE_BYTES + 11 * 1024), Ok(()));
        drop((one, most));
        assert_eq!(budget.share().grow_to(FREE_BYTES + 20 * 1024), Ok(()));
    }

    #[test]
    fn an_answer_counts_until_nobody_holds_it() {
        let budget = BodyBudget::new(100 * 1024);
        let body = Bytes::from(vec![b'x'; 80 * 1024]);
        let held = budget.counted(body.clone()).unwrap();
        assert_eq!(held, body);
        let part = held.slice(..10);
        drop(held);
        assert_eq!(budget.counted(body.clone()), Err(Exhausted));
        drop(part);
        assert!(budget.counted(body).is_ok());
    }

    #[test]
    fn requests_over_the_limit_are_refused_and_do_not_count() {
        let limit = RequestLimit::new(1);
        let place = limit.enter().ok().unwrap();
        for _ in 0..2 {
            let refused = limit.enter().err().unwrap();
            assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
        }
        drop(place);
        assert!(limit.enter().is_ok());
    }
}
