//! The controller of Checkstack: everything that an instance consists of, the plugin set its pods
//! shall run, and the truth about them.
//!
//! [`objects`], [`set`], [`attempts`], [`artifacts`], [`revision`], [`keys`], [`rotation`] and [`status`] are pure; [`secrets`],
//! [`admin_secret`] and [`history`] read and write; [`reconcile`] calls them in order.

mod admin_secret;
mod artifacts;
mod attempts;
mod encryption;
mod history;
pub(crate) mod keys;
mod memory;
pub(crate) mod objects;
mod reconcile;
pub(crate) mod revision;
mod rotation;
mod secrets;
pub(crate) mod set;
mod status;

pub(crate) use keys::InstanceKeys;
pub(crate) use memory::Memory;
pub(crate) use reconcile::{InstanceError, reconcile};
pub use rotation::KeyRotation;
