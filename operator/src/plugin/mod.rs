//! The controller of CheckstackPlugin: source → package in the store, and the truth about it.
//!
//! [`package`] judges, [`loaded`], [`rollout`] and [`status`] compute what to say, [`artifact`] and
//! [`finalize`] do what has to be done, [`reconcile`] calls them in order. All of a plugin's status
//! is written here.

mod artifact;
mod finalize;
mod loaded;
mod memory;
mod package;
mod reconcile;
pub(crate) mod rollout;
mod status;

pub(crate) use artifact::instance_key;
pub(crate) use loaded::{joined, runs};
#[cfg(test)]
pub(crate) use memory::FailedPurge;
pub(crate) use memory::Memory;
pub(crate) use package::Facts;
pub(crate) use reconcile::{PluginError, reconcile, state_of};
