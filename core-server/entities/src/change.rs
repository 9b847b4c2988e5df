//! What is told of a change.

use std::collections::BTreeMap;

use checkstack_events::{Actor, Hook};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::diff::{Delta, FieldChange, State};
use crate::error::EntityError;
use crate::order::Position;

/// All changes of all entities (domain facts §6.3). It is emitted by [`crate::EntityHandle`] alone, and heard with
/// [`crate::Entities::subscribe`].
pub const ENTITY_CHANGED: Hook<EntityChanged> = Hook::new("automation.entity.changed");

/// An entity has changed (domain facts §4.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityChanged<State = Value> {
    /// Of what kind
    pub kind: String,
    /// Which
    pub id: String,
    /// None: it was not there.
    pub prev: Option<State>,
    /// None: it is not there any more.
    pub next: Option<State>,
    /// The fields that are different, by their names
    pub delta: BTreeMap<String, FieldChange>,
    /// Their names
    pub changed_fields: Vec<String>,
    /// Who has caused it
    pub actor: Actor,
    /// By the clock of the database
    pub occurred_at: Timestamp,
    /// The same each time it is heard
    pub change_id: Uuid,
    /// Counts the changes of this entity from 1, without a gap.
    pub sequence: u64,
}

impl<State> EntityChanged<State> {
    /// Where it stands among the changes of its entity.
    pub fn position(&self) -> Position {
        Position { sequence: self.sequence, occurred_at: self.occurred_at }
    }

    /// Whether the entity was removed.
    pub fn is_tombstone(&self) -> bool {
        self.next.is_none()
    }

    /// Whether a field is different, which it is for all that have a value when the entity comes or goes.
    pub fn has_changed(&self, field: &str) -> bool {
        self.delta.contains_key(field)
    }
}

impl EntityChanged {
    pub(crate) fn new(kind: &str, id: &str, [prev, next]: [Option<State>; 2], delta: Delta, actor: &Actor, position: Position) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
            prev: prev.map(Value::Object),
            next: next.map(Value::Object),
            changed_fields: delta.keys().cloned().collect(),
            delta,
            actor: actor.clone(),
            occurred_at: position.occurred_at,
            change_id: Uuid::new_v4(),
            sequence: position.sequence,
        }
    }

    /// With states of their type.
    ///
    /// # Errors
    /// [`EntityError::Invalid`]: they are not of it.
    pub fn typed<State: DeserializeOwned>(&self) -> Result<EntityChanged<State>, EntityError> {
        let state = |state: &Option<Value>| {
            let state = state.as_ref().map(State::deserialize).transpose();
            state.map_err(|problem| {
                EntityError::Invalid(format!("a state of entity '{}' of kind '{}' is not what is expected: {problem}", self.id, self.kind))
            })
        };
        Ok(EntityChanged {
            kind: self.kind.clone(),
            id: self.id.clone(),
            prev: state(&self.prev)?,
            next: state(&self.next)?,
            delta: self.delta.clone(),
            changed_fields: self.changed_fields.clone(),
            actor: self.actor.clone(),
            occurred_at: self.occurred_at,
            change_id: self.change_id,
            sequence: self.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use checkstack_events::MAX_PAYLOAD_BYTES;
    use serde_json::json;

    use super::*;
    use crate::diff::{MAX_FIELDS, MAX_STATE_BYTES, diff, state_of};
    use crate::name::{MAX_ENTITY_ID_BYTES, MAX_PLUGIN_KIND_BYTES};

    fn change(prev: Option<Value>, next: Option<Value>) -> EntityChanged {
        let states = [prev, next].map(|state| state.map(|state| state_of("health", "7", &state).unwrap()));
        let delta = diff(states[0].as_ref(), states[1].as_ref()).unwrap();
        let occurred_at = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        EntityChanged::new("health", "7", states, delta, &Actor::user("1", "Ada"), Position { sequence: 3, occurred_at })
    }

    #[test]
    fn it_is_written_as_in_the_original_and_with_its_number() {
        let change = change(Some(json!({"status": "healthy", "checks": 1})), Some(json!({"status": "degraded", "checks": 1})));
        let written = serde_json::to_value(&change).unwrap();
        let expected = json!({
            "kind": "health",
            "id": "7",
            "prev": {"status": "healthy", "checks": 1},
            "next": {"status": "degraded", "checks": 1},
            "delta": {"status": {"from": "healthy", "to": "degraded"}},
            "changedFields": ["status"],
            "actor": {"type": "user", "id": "1", "name": "Ada"},
            "occurredAt": "2026-01-02T03:04:05.678901Z",
            "changeId": change.change_id.to_string(),
            "sequence": 3,
        });
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_value::<EntityChanged>(written).unwrap(), change);
        assert_eq!(change.typed::<Value>().unwrap(), change);
        assert!(change.typed::<u8>().is_err());
        assert!(change.has_changed("status") && !change.has_changed("checks") && !change.is_tombstone());
    }

    #[test]
    fn a_tombstone_says_so_with_a_null() {
        let gone = change(Some(json!({"status": "healthy"})), None);
        assert!(gone.is_tombstone());
        let written = serde_json::to_value(&gone).unwrap();
        assert_eq!((&written["next"], &written["delta"]), (&Value::Null, &json!({"status": {"from": "healthy", "to": null}})));
    }

    /// Long names are what is repeated most.
    #[test]
    fn the_largest_change_fits_into_an_event() {
        let state = |letter: &str| {
            let fields: State = (0..MAX_FIELDS).map(|number| (format!("{letter}{number:0>150}"), json!("x".repeat(85)))).collect();
            state_of("health", "7", &fields).unwrap()
        };
        let (prev, next) = (state("a"), state("b"));
        let bytes = json!(prev).to_string().len();
        assert!(bytes > MAX_STATE_BYTES - 1_000, "{bytes}");
        let delta = diff(Some(&prev), Some(&next)).unwrap();
        let actor = Actor::user("x".repeat(400), "x".repeat(400));
        let (kind, id) = ("k".repeat(MAX_PLUGIN_KIND_BYTES), "i".repeat(MAX_ENTITY_ID_BYTES));
        let position = Position { sequence: u64::MAX, occurred_at: Timestamp::MAX };
        let change = EntityChanged::new(&kind, &id, [Some(prev), Some(next)], delta, &actor, position);
        let bytes = serde_json::to_string(&change).unwrap().len();
        assert!(bytes < MAX_PAYLOAD_BYTES, "{bytes}");
    }
}
