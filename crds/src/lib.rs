//! The custom resources of the group `checkstack.io`: what an admin writes and what the operator
//! answers.
//!
//! [`Checkstack`] is an instance, [`CheckstackPlugin`] a plugin of one. Every rule for them is in
//! their schema, so that the API server refuses a bad object at once and says why; [`conditions`]
//! holds what the operator may answer, a closed list. The YAML of the definitions comes from
//! [`definitions`], the reference pages from [`mod@reference`]; `crdgen` writes both.

pub mod checkstack;
pub mod conditions;
pub mod definitions;
mod finish;
pub mod generated;
pub mod names;
pub mod plugin;
pub mod quantities;
pub mod reference;
mod schemas;

pub use checkstack::{Checkstack, CheckstackSpec, CheckstackStatus};
pub use plugin::{CheckstackPlugin, CheckstackPluginSpec, CheckstackPluginStatus};

/// The API group of every kind.
pub const GROUP: &str = "checkstack.io";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
