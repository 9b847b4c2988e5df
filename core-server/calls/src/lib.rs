//! Calls between plugins, and from outside to plugins: pure functions of what was sent, who sent it and what is offered.
//!
//! - A [`Contract`](contract::Contract) says which procedures a plugin offers, with schemas, and who may call them.
//! - [`gate`] decides whether a [`Principal`](access::Principal) may.
//! - [`envelope`], [`query_string`] and [`error`] are the wire: JSON with a note of the types that JSON lacks, query
//!   strings with brackets, error objects.
//! - [`files`] are parts of their own beside the input.
//! - [`event_stream`] is the wire of procedures that answer with events.
//! - [`openapi`] describes it to others.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

pub mod access;
pub mod contract;
pub mod envelope;
pub mod error;
pub mod event_stream;
pub mod files;
pub mod gate;
pub mod instance;
pub mod native_type;
pub mod openapi;
pub mod query_string;
pub mod route;
pub mod schema;
