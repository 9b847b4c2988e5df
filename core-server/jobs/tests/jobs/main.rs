//! Queues as plugins and replicas see them, with real PostgreSQL servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(dead_code, reason = "modules shared with the tests of other crates have more than is needed here")]

#[path = "../../../platform/tests/platform/postgres.rs"]
mod postgres;

mod clock;
mod contract;
mod counts;
mod groups;
mod model;
mod outage;
mod processes;
mod recurring;
mod replicas;
mod setup;
mod switching;
