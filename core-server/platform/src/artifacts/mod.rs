//! Plugin packages: the store in the database, which every pod of an instance shares, and the
//! pod's own directory, where they lie unpacked and compiled.

mod assets;
mod code_cache;
mod collection;
mod essentials;
pub(crate) mod materialise;
pub(crate) mod store;
mod sweep;
mod unpack;

pub(crate) use assets::ArtifactAssets;
pub(crate) use code_cache::DatabaseCodeCache;
pub(crate) use materialise::Materialiser;
pub(crate) use store::{ArtifactStore, MAX_ARTIFACT_BYTES, StoreError, Stored};
