//! Identity on two replicas with a real PostgreSQL, which the tests start for themselves. What one person sees of the program is
//! tested with the program (`core-server/server/tests`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(dead_code, reason = "modules shared with the tests of other crates have more than is needed here")]

#[path = "../../../platform/tests/platform/instance.rs"]
mod instance;
#[path = "../../../platform/tests/platform/packages.rs"]
mod packages;
#[path = "../../../platform/tests/platform/postgres.rs"]
mod postgres;
#[path = "../../../platform/tests/platform/scripted.rs"]
mod scripted;

mod replica;

mod attempts;
mod dev_auth;
mod purge;
mod service_tokens;
mod sessions;
