//! What is put into a queue for an event: its payload, and who has caused it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::EventError;
use crate::hook::HookId;

/// Most bytes of the JSON of one payload.
pub const MAX_PAYLOAD_BYTES: usize = 128 * 1024;
/// Most bytes of each part of an actor.
const MAX_ACTOR_BYTES: usize = 400;

const MARKER: &str = "__checkstackHookEnvelope";
const VERSION: u64 = 1;

/// Who has caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `system`, `user`, `application` or `service`; later releases may know others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the user, the application or the plugin
    pub id: String,
    /// For people
    #[serde(default)]
    pub name: String,
}

impl Actor {
    /// The server itself.
    pub fn system() -> Self {
        Self::of("system", "system", "System")
    }

    /// Somebody who has signed in.
    pub fn user(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self::of("user", id, name)
    }

    /// A program with a key.
    pub fn application(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self::of("application", id, name)
    }

    /// A plugin, by its id.
    pub fn service(plugin_id: &str) -> Self {
        Self::of("service", plugin_id, plugin_id)
    }

    fn of(kind: &str, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), id: id.into(), name: name.into() }
    }

    fn check(&self) -> Result<(), EventError> {
        for (part, text) in [("type", &self.kind), ("id", &self.id), ("name", &self.name)] {
            if text.len() > MAX_ACTOR_BYTES {
                let bytes = text.len();
                return Err(EventError::Invalid(format!(
                    "the {part} of an actor has {bytes} bytes, and at most {MAX_ACTOR_BYTES} are allowed"
                )));
            }
        }
        Ok(())
    }
}

/// The data of a job.
pub(crate) fn seal(hook: &HookId, payload: Value, actor: &Actor) -> Result<Value, EventError> {
    actor.check()?;
    let bytes = payload.to_string().len();
    match bytes > MAX_PAYLOAD_BYTES {
        true => Err(EventError::TooLarge { hook: hook.to_string(), bytes, most: MAX_PAYLOAD_BYTES }),
        false => Ok(json!({MARKER: VERSION, "payload": payload, "meta": {"actor": actor}})),
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    payload: Value,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    actor: Actor,
}

/// What the data of a job says. Data that is no envelope is a payload of the system. What looks like one and cannot be read is not taken
/// for that, since nobody knows who has caused it.
pub(crate) fn open(data: Value) -> Result<(Value, Actor), String> {
    if data.get(MARKER).and_then(Value::as_u64) != Some(VERSION) {
        return Ok((data, Actor::system()));
    }
    let Envelope { payload, meta } =
        serde_json::from_value(data).map_err(|problem| format!("the envelope of an event cannot be read: {problem}"))?;
    Ok((payload, meta.actor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hook() -> HookId {
        "test.hook".parse().unwrap()
    }

    #[test]
    fn an_envelope_is_that_of_the_original() {
        let sealed = seal(&hook(), json!({"pluginId": "mail"}), &Actor::user("7", "Ada")).unwrap();
        let expected = json!({
            "__checkstackHookEnvelope": 1,
            "payload": {"pluginId": "mail"},
            "meta": {"actor": {"type": "user", "id": "7", "name": "Ada"}},
        });
        assert_eq!(sealed, expected);
    }

    #[test]
    fn data_without_the_marker_is_the_systems_and_a_broken_envelope_nobodys() {
        for data in [json!(null), json!([1]), json!({"payload": 1}), json!({MARKER: 2, "payload": 1}), json!({MARKER: "1"})] {
            assert_eq!(open(data.clone()).unwrap(), (data, Actor::system()));
        }
        for broken in [json!({MARKER: 1}), json!({MARKER: 1, "payload": 1, "meta": {"actor": "root"}})] {
            assert!(open(broken).unwrap_err().contains("cannot be read"));
        }
        let without_payload = json!({MARKER: 1, "meta": {"actor": Actor::system()}});
        assert_eq!(open(without_payload).unwrap().0, Value::Null);
    }

    #[test]
    fn payloads_and_actors_are_bounded() {
        let large = Value::from("x".repeat(MAX_PAYLOAD_BYTES - 1));
        let refused = seal(&hook(), large, &Actor::system()).unwrap_err();
        assert_eq!(refused, EventError::TooLarge { hook: "test.hook".into(), bytes: MAX_PAYLOAD_BYTES + 1, most: MAX_PAYLOAD_BYTES });
        let largest = Value::from("x".repeat(MAX_PAYLOAD_BYTES - 2));
        assert!(seal(&hook(), largest, &Actor::system()).unwrap().to_string().len() < checkstack_jobs::MAX_DATA_BYTES);
        assert!(seal(&hook(), Value::Null, &Actor::user("1", "x".repeat(MAX_ACTOR_BYTES + 1))).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = prop_oneof!["[a-z]{0,4}", Just(MARKER.to_owned()), Just("payload".to_owned()), Just("meta".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Also a payload that looks like an envelope itself.
        #[test]
        fn what_is_sealed_is_opened(payload in any_json(), (kind, id, name) in (".{0,20}", ".{0,20}", ".{0,20}")) {
            let actor = Actor { kind, id, name };
            let sealed = seal(&hook(), payload.clone(), &actor).unwrap();
            prop_assert_eq!(open(sealed).unwrap(), (payload, actor));
        }

        #[test]
        fn anything_can_be_opened_or_is_told(data in any_json()) {
            let is_envelope = data.get(MARKER).and_then(Value::as_u64) == Some(VERSION);
            match open(data.clone()) {
                Ok(opened) if !is_envelope => prop_assert_eq!(opened, (data, Actor::system())),
                Ok(_) => {}
                Err(_) => prop_assert!(is_envelope),
            }
        }
    }
}
