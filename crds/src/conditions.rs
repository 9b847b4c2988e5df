//! What the operator may say in a condition, and how a list of conditions changes.
//!
//! Types and reasons are closed lists. Each carries its documentation, from which
//! `docs/reference/conditions.md` is generated, so that a reason nobody explained cannot occur.

mod list;
mod reasons;
mod types;

pub use list::{ConditionStatus, NewCondition, equal_ignoring_times, find_condition, is_true, remove_condition, set_condition, shortened};
pub use reasons::{InstanceConditionReason, PluginConditionReason, ReasonDocumentation};
pub use types::{ConditionTypeDocumentation, InstanceConditionType, PluginConditionType};
