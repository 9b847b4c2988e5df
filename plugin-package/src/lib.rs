//! Plugin packages: what is in one, how it is read, checked and made, and the document that says
//! which of them an instance runs.
//!
//! Shared by the operator, the core server and the command line tool, so that all three judge a
//! package alike. Nothing here does I/O: every function takes bytes and gives values.
//!
//! [`PluginPackage::read`] is the way in: bytes of a `.tgz` to a plugin that can run, or every
//! reason why not. [`pack`](mod@pack) is the way back.

pub mod archive;
pub mod assets;
pub mod canonical;
pub mod component;
pub mod digest;
#[cfg(test)]
mod fixtures;
pub mod integrity;
pub mod metadata;
pub mod migrations;
pub mod ordering;
pub mod pack;
pub mod package;
pub mod plugin_id;
pub mod plugin_set;

pub use archive::{Archive, ArchiveError};
pub use assets::InvalidAssets;
pub use component::{ComponentError, ComponentInterface};
pub use digest::Digest;
pub use integrity::{Integrity, IntegrityMismatch, InvalidIntegrity};
pub use metadata::{InvalidMetadata, PackageMetadata, PluginType};
pub use migrations::{InvalidMigrations, Migration};
pub use ordering::{Cycle, Ordering, order};
pub use package::{PackageError, PluginPackage};
pub use plugin_id::PluginId;
pub use plugin_set::{Grants, HttpGrant, PluginEntry, PluginSet};
