//! The sandbox from outside: real components, a platform in memory, servers on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should panic")]

mod cache;
mod call_chains;
mod compiled_code;
mod entities;
mod events;
mod failures;
mod fixture;
mod guest;
mod host_services;
mod isolation;
mod jobs;
mod lifecycle;
mod outgoing_http;
mod pools;
mod procedures;
mod signals;
