//! Secrets by name, to which the configurations of plugins refer as `${{ secrets.NAME }}` (platform facts §5.5): the native plugin
//! `secrets` of the core server.
//!
//! There are two places where a secret can be: the database, where admins put it by the procedures of this plugin and where it is
//! encrypted, and Secrets of Kubernetes that the instance's spec names, which are mounted as files. What is mounted counts: it is what
//! the YAML says. Values leave by one way only, into the configuration of a plugin that is granted the name.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod error;
mod keeper;
mod mounted;
mod plugin;
mod procedures;
mod seal;
mod store;

pub use plugin::parts;
