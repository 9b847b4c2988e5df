//! The platform against a real PostgreSQL, which the tests start for themselves, with scripted
//! plugins in the place of sandboxed ones. Everything goes through the same doors as in a cluster:
//! HTTP with signed calls, mounted files, and what a plugin is given.
//!
//! `CHECKSTACK_TEST_POSTGRES_BIN` names the directory of another PostgreSQL's programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod instance;
mod packages;
mod postgres;
mod scripted;

mod artifacts;
mod boot;
mod collection;
mod configurations;
mod connections;
mod control;
mod documents;
mod entities;
mod event_streams;
mod events;
mod frontend;
mod hostile_entities;
mod identity;
mod isolation;
mod jobs;
mod key_value;
mod large_answers;
mod lifecycle;
mod logins;
mod metrics;
mod migrations;
mod outages;
mod plugin_calls;
mod plugin_entities;
mod principals;
mod procedures;
mod quarantine;
mod secrets;
mod settings;
mod sockets;
mod sql;
mod swap_faults;
mod taken_back;
