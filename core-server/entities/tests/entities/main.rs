//! Entities as their owners and listeners on several replicas see them, with real PostgreSQL servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(dead_code, reason = "modules shared with the tests of other crates have more than is needed here")]

#[path = "../../../platform/tests/platform/postgres.rs"]
mod postgres;
#[path = "../../../jobs/tests/jobs/setup.rs"]
mod setup;

mod atomicity;
mod derivation;
mod forgetting;
mod history;
mod order;
mod replica;
