//! A connection in use.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use deadpool::managed::{Object, Pool};
use sqlx::{Connection as _, PgConnection};

use crate::opener::Opener;

/// What may be left to do after a statement that failed: to hear that it is over, and to undo a transaction.
const SETTLE: Duration = Duration::from_secs(1);

/// A connection of the pool. Unless it is said to be at rest it is closed when it is dropped: nobody knows what its server is
/// doing, nothing may be left of a transaction, and an answer may never come.
pub struct Lent {
    at_rest: bool,
    // Dropped in this order.
    object: Object<Opener>,
    closing: Closing,
}

/// Closes what has just been given back, and must not be used again.
struct Closing {
    pool: Pool<Opener>,
    is_needed: bool,
}

impl Lent {
    pub(crate) fn new(object: Object<Opener>, pool: &Pool<Opener>) -> Self {
        Self { at_rest: false, object, closing: Closing { pool: pool.clone(), is_needed: false } }
    }

    /// Its last answer was complete, and no transaction is open.
    pub fn rest(&mut self) {
        self.at_rest = true;
    }

    /// Something has failed on it, and it was an answer of the database: makes sure that it can be used again. Where it cannot be,
    /// it is closed.
    pub async fn rest_after_failure(&mut self) {
        self.at_rest = matches!(tokio::time::timeout(SETTLE, self.ping()).await, Ok(Ok(()))) && !self.is_in_transaction();
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.object.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.object.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A transaction that was dropped has left its end in the buffer, for whoever uses the connection next.
        let is_left = self.at_rest && !self.should_flush() && !self.is_in_transaction();
        self.object.given_back = Instant::now();
        self.object.is_broken = !is_left;
        self.closing.is_needed = !is_left;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.is_needed {
            drop(self.pool.retain(|pooled, _| !pooled.is_broken));
        }
    }
}
