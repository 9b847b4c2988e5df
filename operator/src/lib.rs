//! The operator: turns Checkstack and CheckstackPlugin objects into running instances, and tells
//! the truth about them in their status.
//!
//! ```text
//! cli, run          the process: arguments, lease, health, shutdown
//! controllers       watches → stores → triggers → reconciliations
//!   plugin          CheckstackPlugin: source → package → artifact store → status
//!   instance        Checkstack: plugin set, owned objects → status
//!   fleet           pods: delivers sets, asks for reports
//! fetch, pods, references, apply, events, lease     one edge to the world each
//! rbac, names, scope, wake, backoff, object_key     what they share
//! ```
//!
//! Data flows one way: a plugin's status says what is in the store; the instance controller makes
//! the set from it and hands it to the fleet; what pods report comes back through the fleet's view
//! and wakes both controllers, which copy it into status.

mod apply;
mod backoff;
pub mod cli;
mod context;
pub mod controllers;
mod error;
mod events;
pub mod fetch;
#[cfg(test)]
mod fixtures;
mod fleet;
mod instance;
pub mod lease;
pub mod names;
mod object_key;
mod plugin;
mod pods;
pub mod rbac;
mod references;
pub mod run;
pub mod scope;
pub mod telemetry;
mod wake;
mod watch;

pub use fleet::{CollectionPace, FleetPace};
pub use instance::KeyRotation;
pub use pods::PodTimeouts;
pub use references::REREAD;
