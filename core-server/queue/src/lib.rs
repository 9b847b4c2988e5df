//! What an admin sees and sets of the queues of jobs: the native plugin `queue` of the core server (platform facts §7.4).
//!
//! Which provider keeps the jobs is stored with a version that grows with each choice. The replica that is asked for a change makes it and
//! stores it; the others see it within seconds and follow.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod plugin;
mod procedures;
mod store;

pub use plugin::part;
