//! Changing a list of `metav1.Condition`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{InstanceConditionReason, InstanceConditionType, PluginConditionReason, PluginConditionType};

/// Longer messages are cut: `kubectl describe` must stay readable, and a message may quote others.
const MAX_MESSAGE_BYTES: usize = 2048;

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say.
    Unknown,
}

impl ConditionStatus {
    /// The status as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What shall be said now. Made by [`NewCondition::plugin`] or [`NewCondition::instance`], so that a
/// reason of one kind cannot stand in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCondition {
    type_: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl NewCondition {
    /// A condition of a CheckstackPlugin.
    pub fn plugin(
        type_: PluginConditionType,
        status: impl Into<ConditionStatus>,
        reason: PluginConditionReason,
        message: impl Into<String>,
    ) -> Self {
        Self { type_: type_.as_str(), status: status.into(), reason: reason.as_str(), message: shortened(message.into()) }
    }

    /// A condition of a Checkstack.
    pub fn instance(
        type_: InstanceConditionType,
        status: impl Into<ConditionStatus>,
        reason: InstanceConditionReason,
        message: impl Into<String>,
    ) -> Self {
        Self { type_: type_.as_str(), status: status.into(), reason: reason.as_str(), message: shortened(message.into()) }
    }
}

/// Puts a condition into the list, in place of the one of its type, else at the end. The time of
/// the last transition stays when the status does. Says whether anything but a time changed.
pub fn set_condition(conditions: &mut Vec<Condition>, new: NewCondition, observed_generation: Option<i64>, now: Time) -> bool {
    let mut next = Condition {
        type_: new.type_.to_owned(),
        status: new.status.as_str().to_owned(),
        reason: new.reason.to_owned(),
        message: new.message,
        observed_generation,
        last_transition_time: now,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == next.type_) {
        None => {
            conditions.push(next);
            true
        }
        Some(current) => {
            if current.status == next.status {
                next.last_transition_time = current.last_transition_time.clone();
            }
            let changed = *current != next;
            *current = next;
            changed
        }
    }
}

/// Takes the condition of a type out of the list. Says whether it was there.
pub fn remove_condition(conditions: &mut Vec<Condition>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.len() != before
}

/// The condition of a type.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

/// Whether two lists say the same, whenever they began to. The order of types does not matter.
pub fn equal_ignoring_times(one: &[Condition], other: &[Condition]) -> bool {
    let same = |a: &Condition, b: &Condition| {
        a.status == b.status && a.reason == b.reason && a.message == b.message && a.observed_generation == b.observed_generation
    };
    one.len() == other.len() && one.iter().all(|a| find_condition(other, &a.type_).is_some_and(|b| same(a, b)))
}

/// At most as long as a message of a status may be, cut between two characters.
pub fn shortened(mut message: String) -> String {
    const ELLIPSIS: &str = "…";
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES - ELLIPSIS.len()));
        message.push_str(ELLIPSIS);
    }
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::conditions::PluginConditionReason as Reason;
    use crate::conditions::PluginConditionType as Type;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn loaded(status: bool, reason: Reason, message: &str) -> NewCondition {
        NewCondition::plugin(Type::Loaded, status, reason, message)
    }

    #[test]
    fn a_condition_keeps_its_time_as_long_as_its_status() {
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, loaded(false, Reason::Starting, ""), Some(1), at(10)));
        assert!(set_condition(&mut conditions, loaded(false, Reason::InitFailed, "no route"), Some(1), at(20)));
        assert_eq!((conditions[0].reason.as_str(), &conditions[0].last_transition_time), ("InitFailed", &at(10)));
        assert!(set_condition(&mut conditions, loaded(true, Reason::Active, ""), Some(2), at(30)));
        assert_eq!((conditions[0].status.as_str(), &conditions[0].last_transition_time), ("True", &at(30)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, loaded(true, Reason::Active, ""), Some(1), at(10));
        let before = conditions.clone();
        assert!(!set_condition(&mut conditions, loaded(true, Reason::Active, ""), Some(1), at(99)));
        assert_eq!(conditions, before);
    }

    #[test]
    fn a_new_generation_is_a_change_without_a_transition() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, loaded(true, Reason::Active, ""), Some(1), at(10));
        assert!(set_condition(&mut conditions, loaded(true, Reason::Active, ""), Some(2), at(20)));
        assert_eq!((conditions[0].observed_generation, &conditions[0].last_transition_time), (Some(2), &at(10)));
    }

    #[test]
    fn the_order_of_types_stays_and_a_removed_one_is_gone() {
        let mut conditions = Vec::new();
        for type_ in [Type::Resolved, Type::Stalled, Type::Ready] {
            set_condition(&mut conditions, NewCondition::plugin(type_, true, Reason::Active, ""), None, at(1));
        }
        set_condition(&mut conditions, NewCondition::plugin(Type::Resolved, ConditionStatus::Unknown, Reason::Resolving, ""), None, at(2));
        assert!(remove_condition(&mut conditions, "Stalled"));
        assert!(!remove_condition(&mut conditions, "Stalled"));
        let types: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Resolved", "Ready"]);
        assert!(is_true(&conditions, "Ready") && !is_true(&conditions, "Resolved") && !is_true(&conditions, "Stalled"));
    }

    #[test]
    fn lists_are_equal_whatever_their_times_and_order() {
        let list = |second, types: [Type; 2], message: &str| {
            let mut conditions = Vec::new();
            for type_ in types {
                set_condition(&mut conditions, NewCondition::plugin(type_, true, Reason::Active, message), Some(1), at(second));
            }
            conditions
        };
        let one = list(1, [Type::Loaded, Type::Ready], "");
        assert!(equal_ignoring_times(&one, &list(2, [Type::Ready, Type::Loaded], "")));
        assert!(!equal_ignoring_times(&one, &list(1, [Type::Loaded, Type::Ready], "other")));
        assert!(!equal_ignoring_times(&one, &list(1, [Type::Loaded, Type::Verified], "")));
        assert!(!equal_ignoring_times(&one, &one[..1]));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, loaded(false, Reason::InitFailed, &"ä".repeat(3000)), None, at(1));
        let message = &conditions[0].message;
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.ends_with('…') && message.starts_with('ä'));
    }
}
