//! What the end-to-end tests stand on: a cluster, namespaces with a database and an instance in
//! them, and packages. The tests themselves are in `tests/`.
//!
//! They see the product as an admin does: YAML goes in through `kubectl apply`, the truth is read
//! from status, and plugins are asked over HTTP through the instance's Service.
// An index into a JSON value that is not there gives null, not a panic.
#![allow(clippy::indexing_slicing)]

pub mod cluster;
pub mod database;
pub mod eventually;
pub mod footprint;
pub mod instance;
pub mod load;
pub mod namespace;
pub mod operator;
pub mod packages;
pub mod port_forward;
pub mod processes;
pub mod web_server;
