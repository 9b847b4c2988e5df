//! What replicas that each keep entries of their own must know of each other.
//!
//! Who changes an entry does so in its own memory first, and then tells the others what to forget; it waits until that is said. Who is told
//! forgets, unless it has the same value. So at the end no two replicas have different values of one key: of two that changed it, the one that
//! heard of the other's change after its own has forgotten it.
//!
//! A replica trusts its memory only while it knows that it hears the others: for a few seconds since it last saw that. When the link is lost,
//! nothing is found any more, and everything is forgotten before the next begins.

mod backplane;
mod hearing;
mod link;
mod message;
mod pending;
mod teller;

pub use backplane::{Backplane, Link, LinkLost, MAX_MESSAGE_BYTES};
pub(crate) use link::{Entries, keep_linked};
pub(crate) use pending::Change;
pub(crate) use teller::Replicas;

use std::time::Duration;

/// Durations of the link to the other replicas. The defaults are meant for production; tests make them short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How long a replica trusts its memory since it last saw that it hears the others. More than `check` and `answer` together.
    pub lease: Duration,
    /// How often it sees to that when nothing else is said.
    pub check: Duration,
    /// For one answer of the backplane.
    pub answer: Duration,
    /// How long a change waits until the others have been told.
    pub tell: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self { lease: Duration::from_secs(6), check: Duration::from_secs(2), answer: Duration::from_secs(2), tell: Duration::from_secs(1) }
    }
}
