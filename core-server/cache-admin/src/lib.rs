//! What an admin sees and sets of the caches: the native plugin `cache` of the core server (platform facts §7.5). Values are never shown.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod caches;
mod plugin;
mod procedures;

pub use plugin::part;
