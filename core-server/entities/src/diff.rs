//! What is different between two states of an entity. Pure.
//!
//! A state is a JSON object. A field that is absent is one that is null.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::EntityError;

/// Most bytes of a state as JSON. An event has the states before and after, and their difference: all of it is less than what an event may
/// have.
pub const MAX_STATE_BYTES: usize = 16 * 1024;
/// Most fields of a state.
pub const MAX_FIELDS: usize = 64;
const MAX_FIELD_BYTES: usize = 200;

/// A state, as JSON.
pub(crate) type State = Map<String, Value>;
/// The fields that are different, by their names.
pub(crate) type Delta = BTreeMap<String, FieldChange>;

/// A field that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Null where the entity was not there, too.
    pub from: Value,
    /// Null where the entity is not there any more, too.
    pub to: Value,
}

/// A state as JSON, if it can be one.
pub(crate) fn state_of(kind: &str, id: &str, state: &impl Serialize) -> Result<State, EntityError> {
    let invalid = |problem: String| EntityError::Invalid(format!("the state of entity '{id}' of kind '{kind}' {problem}"));
    let state = serde_json::to_value(state).map_err(|problem| invalid(format!("cannot be written as JSON: {problem}")))?;
    let bytes = state.to_string().len();
    if bytes > MAX_STATE_BYTES {
        return Err(EntityError::StateTooLarge { kind: kind.to_owned(), id: id.to_owned(), bytes, most: MAX_STATE_BYTES });
    }
    let Value::Object(state) = state else { return Err(invalid("is not a JSON object".to_owned())) };
    if state.len() > MAX_FIELDS {
        return Err(invalid(format!("has {} fields, and at most {MAX_FIELDS} are allowed", state.len())));
    }
    let is_good = |field: &str| (1..=MAX_FIELD_BYTES).contains(&field.len()) && !field.chars().any(char::is_control);
    match state.keys().find(|field| !is_good(field)) {
        Some(field) => Err(invalid(format!("has a field {field:?}: 1 to {MAX_FIELD_BYTES} bytes without control characters are allowed"))),
        None => Ok(state),
    }
}

/// None: nothing is different. An entity that comes or goes is a change, whatever fields it has.
pub(crate) fn diff(prev: Option<&State>, next: Option<&State>) -> Option<Delta> {
    if prev.is_none() && next.is_none() {
        return None;
    }
    let names: BTreeSet<&String> = [prev, next].into_iter().flatten().flat_map(State::keys).collect();
    let value = |state: Option<&State>, name: &str| state.and_then(|state| state.get(name)).cloned().unwrap_or_default();
    let changed = names.into_iter().filter_map(|name| {
        let (from, to) = (value(prev, name), value(next, name));
        (from != to).then(|| (name.clone(), FieldChange { from, to }))
    });
    let delta: Delta = changed.collect();
    (prev.is_some() != next.is_some() || !delta.is_empty()).then_some(delta)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> State {
        state_of("health", "1", &value).unwrap()
    }

    #[test]
    fn what_is_different_is_named_with_both_values() {
        let (before, after) = (object(json!({"status": "healthy", "checks": 2})), object(json!({"status": "degraded", "checks": 2})));
        let delta = diff(Some(&before), Some(&after)).unwrap();
        assert_eq!(serde_json::to_value(&delta).unwrap(), json!({"status": {"from": "healthy", "to": "degraded"}}));
        assert_eq!(diff(Some(&before), Some(&before)), None);
        assert_eq!(diff(None, None), None);
    }

    #[test]
    fn what_comes_and_goes_is_a_change_even_without_a_field() {
        let nothing = object(json!({"name": null}));
        assert_eq!(diff(None, Some(&nothing)), Some(Delta::new()));
        assert_eq!(diff(Some(&nothing), None), Some(Delta::new()));
        assert_eq!(diff(Some(&nothing), Some(&State::new())), None, "a field that is absent is null");
    }

    #[test]
    fn states_are_bounded_objects() {
        for bad in [json!(1), json!("x"), json!(null), json!([]), json!({"": 1}), json!({"a\0": 1})] {
            assert!(matches!(state_of("health", "1", &bad), Err(EntityError::Invalid(_))), "{bad}");
        }
        let many: State = (0..=MAX_FIELDS).map(|number| (format!("f{number}"), json!(1))).collect();
        assert!(state_of("health", "1", &many).is_err());
        let large = json!({"name": "x".repeat(MAX_STATE_BYTES)});
        assert!(matches!(state_of("health", "1", &large), Err(EntityError::StateTooLarge { bytes, .. }) if bytes > MAX_STATE_BYTES));
    }

    pub(crate) fn any_state() -> impl Strategy<Value = State> {
        let value = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..3i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
            prop::collection::vec(0..3u8, 0..3).prop_map(Value::from),
        ];
        prop::collection::btree_map("[a-d]{1,2}", value, 0..6).prop_map(|fields| fields.into_iter().collect())
    }

    fn without_nulls(state: State) -> State {
        state.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    proptest! {
        #[test]
        fn the_difference_leads_from_one_state_to_the_other(prev in prop::option::of(any_state()), next in prop::option::of(any_state())) {
            let Some(delta) = diff(prev.as_ref(), next.as_ref()) else {
                prop_assert_eq!(prev.map(without_nulls), next.map(without_nulls));
                return Ok(());
            };
            let mut reached = prev.clone().unwrap_or_default();
            for (field, FieldChange { from, to }) in &delta {
                prop_assert_ne!(from, to);
                prop_assert_eq!(&reached.insert(field.clone(), to.clone()).unwrap_or_default(), from);
            }
            prop_assert_eq!(without_nulls(reached), without_nulls(next.clone().unwrap_or_default()));
            // Back again
            let back = diff(next.as_ref(), prev.as_ref()).unwrap();
            let turned = delta.into_iter().map(|(field, FieldChange { from, to })| (field, FieldChange { from: to, to: from }));
            prop_assert_eq!(back, turned.collect::<Delta>());
        }
    }
}
