//! The custom resources against a real API server: what it accepts, what it refuses and with which
//! words, what it fills in, and what `kubectl` shows.
//!
//! `CHECKSTACK_TEST_KUBECONFIG` names the kubeconfig of an administrator, whose cluster gets the
//! definitions and a namespace for each test. Without it the tests bring up a control plane of
//! their own with `tests/cluster/cluster`, and take it down when they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "these are tests"
)]

mod checkstack;
mod control_plane;
mod kubectl;
mod plugin;
mod reading;
mod refusal;
