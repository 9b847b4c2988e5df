//! What an admin sees and sets of the queues of jobs: the native plugin `queue` of the core server (platform facts §7.4).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod plugin;
mod procedures;
mod queues;

pub use plugin::part;
