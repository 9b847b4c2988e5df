//! Reactive entities (platform facts: domain §4.4, §6.2): things of plugins whose changes others hear, whichever replica makes them.
//!
//! - The **state** of an entity belongs to the plugin that owns its [`EntityKind`], and lies in its tables. The platform reads it, and never
//!   stores it.
//! - A **change** is made with [`EntityHandle::mutate`]: the state before, the owner's own write, the state after it, and what is different. If
//!   anything is, it is noted with its transitions and told as [`EntityChanged`], in the transaction of the write: all of it, or none.
//! - **Who changes one entity waits for whoever does so**, on all replicas. So its changes are numbered without a gap, and a broadcast is
//!   heard in their order ([`Position::order_after`] tells what is old, or missing).
//! - **Transitions** say since when a field is what it is, and how often it has changed: [`EntityHandle::in_state_since`],
//!   [`EntityHandle::transition_count`]. How many are kept is bounded ([`EntitySettings`]).
//! - **Plugins in the sandbox** have kinds, too, `<plugin>.<name>`: [`PluginEntities`] does the same on a connection with the plugin's own role.
//! - **Derivers** say which trigger events a change is: [`ChangeDeriver`].
//!
//! Why it is so is in `docs/decisions/0024-entities.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod change;
mod deriver;
mod diff;
mod entities;
mod error;
mod handle;
mod history;
mod kind;
mod listener;
mod mutation;
mod name;
mod order;
mod plugins;
mod registry;
mod settings;
mod store;
mod sweep;
mod turns;

pub use change::{ENTITY_CHANGED, EntityChanged};
pub use deriver::{ChangeDeriver, TriggerEvent};
pub use diff::{FieldChange, MAX_FIELDS, MAX_STATE_BYTES};
pub use entities::Entities;
pub use error::EntityError;
pub use handle::EntityHandle;
pub use kind::{EntityKind, KindDescription};
pub use listener::ChangeListener;
pub use mutation::{Mutated, PendingMutation};
pub use name::{MAX_ENTITY_ID_BYTES, MAX_KIND_BYTES, MAX_PLUGIN_KIND_BYTES, check_kind};
pub use order::{Order, Position};
pub use plugins::{InStateSince, LockedEntity, PluginEntities, PluginKey, Turn};
pub use settings::EntitySettings;
pub use store::{MIGRATIONS, SCHEMA};
pub use sweep::Swept;
