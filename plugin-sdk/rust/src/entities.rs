//! Things whose changes others hear, on all replicas; grant `database`.
//!
//! A plugin names its kinds in [`Plugin::entities`](crate::Plugin::entities), each with a query that reads states from the plugin's own
//! tables, and changes an entity with a [`Change`]: its statements run in one transaction, and what is different afterwards is told with it.
//! Others know a kind as `<plugin id>.<name>`, and hear of its changes with a subscription to
//! `automation.entity.changed/<plugin id>.<name>` ([`EntityChanged`] is its payload).
//!
//! ```no_run
//! use checkstack_plugin::entities::{Change, EntityChanged, Kind};
//! use checkstack_plugin::events::{Event, Subscription};
//! use checkstack_plugin::jobs::JobError;
//! use checkstack_plugin::{Error, InitError, NoConfig, Plugin, log, params};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Door {
//!     open: bool,
//! }
//!
//! struct House;
//!
//! impl Plugin for House {
//!     type Config = NoConfig;
//!
//!     fn init(_: NoConfig) -> Result<Self, InitError> {
//!         Ok(Self)
//!     }
//!
//!     fn entities() -> Vec<Kind> {
//!         vec![Kind::new::<Door>("door", "SELECT name AS id, open FROM doors WHERE name = ANY($1)")]
//!     }
//!
//!     fn subscriptions() -> Vec<Subscription<Self>> {
//!         vec![Subscription::broadcast("automation.entity.changed/house.door", Self::changed)]
//!     }
//! }
//!
//! impl House {
//!     fn open(&self, name: &str) -> Result<(), Error> {
//!         Change::of("door", name).execute("UPDATE doors SET open = true WHERE name = $1", params![name]).commit()?;
//!         Ok(())
//!     }
//!
//!     fn changed(&self, change: EntityChanged<Door>, _: &Event) -> Result<(), JobError> {
//!         log::info!(door = change.id; "{}", if change.next.is_some_and(|door| door.open) { "opened" } else { "closed" });
//!         Ok(())
//!     }
//! }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;

use crate::bindings::checkstack::plugin::entities as host;
use crate::bindings::checkstack::plugin::sql::Statement;
use crate::clock::Timestamp;
use crate::events::Actor;
use crate::sql;

/// Why an entity was not changed, or nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// A kind that the plugin does not name, an id or a state that cannot be one, statements that end their transaction.
    #[error("{0}")]
    Invalid(String),
    /// Too much was changed of late.
    #[error("{0}")]
    Limited(String),
    /// The database refused a statement, or the kind's query.
    #[error("{message} (SQLSTATE {code})")]
    Database {
        /// The five characters of SQLSTATE.
        code: String,
        /// As the database put it.
        message: String,
        /// The constraint that was violated, where one was.
        constraint: Option<String>,
    },
    /// It took too long, others who change the same entity included.
    #[error("{0}")]
    Timeout(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// A kind of entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub(crate) name: &'static str,
    pub(crate) schema: String,
    pub(crate) query: &'static str,
}

impl Kind {
    /// Of lower-case letters, digits and `-`. The query reads the states of those of the ids that there are: `$1` is a `text[]` of ids, the
    /// column `id` a text, and every other column a field of `State`.
    pub fn new<State: JsonSchema>(name: &'static str, query: &'static str) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let schema = settings.into_generator().into_root_schema_for::<State>().to_value().to_string();
        Self { name, schema, query }
    }
}

/// A change of an entity: statements that happen together with it, or not at all.
pub struct Change {
    kind: &'static str,
    id: String,
    statements: Vec<Statement>,
}

impl Change {
    /// Of an entity that is there, or will be, or will not be any more.
    pub fn of(kind: &'static str, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), statements: Vec::new() }
    }

    /// Adds a statement.
    #[must_use]
    pub fn execute(mut self, text: &str, parameters: Vec<sql::Value>) -> Self {
        self.statements.push(sql::statement(text, parameters));
        self
    }

    /// Runs them in order, with nobody else changing the entity meanwhile, and tells others if its state is another one afterwards.
    pub fn commit(self) -> Result<Changed, Error> {
        Ok(host::mutate(self.kind, &self.id, &self.statements)?.into())
    }

    /// The same, and the entity has to be gone afterwards.
    pub fn commit_removal(self) -> Result<Changed, Error> {
        Ok(host::remove(self.kind, &self.id, &self.statements)?.into())
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let statements: Vec<&str> = self.statements.iter().map(|statement| statement.text.as_str()).collect();
        formatter.debug_struct("Change").field("kind", &self.kind).field("id", &self.id).field("statements", &statements).finish()
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// Rows that each statement touched.
    pub touched: Vec<u64>,
    /// Names of the fields that are different. None: nothing is, and nobody was told.
    pub fields: Option<Vec<String>>,
}

impl From<host::Mutation> for Changed {
    fn from(mutation: host::Mutation) -> Self {
        Self { touched: mutation.touched, fields: mutation.change.map(|change| change.changed_fields) }
    }
}

/// Since when a field has the value that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Since {
    /// By the clock of the database.
    pub at: Timestamp,
    /// The time that has passed.
    pub ago: Duration,
}

/// Since when a field has the value that it has. None: there is no such entity, or nothing is known of the field.
pub fn in_state_since(kind: &str, id: &str, field: &str) -> Result<Option<Since>, Error> {
    let since = host::in_state_since(kind, id, field)?;
    let since = since.map(|since| Since {
        at: Timestamp::from_unix_microseconds(i64::try_from(since.at).unwrap_or(i64::MAX)),
        ago: Duration::from_millis(since.ago),
    });
    Ok(since)
}

/// How often a field has changed of late. That the entity comes or goes does not count.
pub fn transition_count(kind: &str, id: &str, field: &str, within: Duration) -> Result<u64, Error> {
    Ok(host::transition_count(kind, id, field, u64::try_from(within.as_millis()).unwrap_or(u64::MAX))?)
}

/// The payload of `automation.entity.changed/<plugin id>.<name>`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EntityChanged<State = Value> {
    /// `<plugin id>.<name>`.
    pub kind: String,
    /// Which.
    pub id: String,
    /// None: it was not there.
    #[serde(bound(deserialize = "State: Deserialize<'de>"))]
    pub prev: Option<State>,
    /// None: it is not there any more.
    #[serde(bound(deserialize = "State: Deserialize<'de>"))]
    pub next: Option<State>,
    /// The fields that are different, by their names.
    pub delta: BTreeMap<String, FieldChange>,
    /// Who has caused it.
    pub actor: Actor,
    /// When, as RFC 3339, by the clock of the database.
    pub occurred_at: String,
    /// The same each time it is heard.
    pub change_id: String,
    /// Counts the changes of the entity from 1, without a gap. A work queue may tell them out of their order: a lower number is old.
    pub sequence: u64,
}

impl<State> EntityChanged<State> {
    /// Whether a field is different, which it is for all that have a value when the entity comes or goes.
    pub fn has_changed(&self, field: &str) -> bool {
        self.delta.contains_key(field)
    }
}

/// A field that is different.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct FieldChange {
    /// Null where the entity was not there, too.
    pub from: Value,
    /// Null where the entity is not there any more, too.
    pub to: Value,
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Limited(message) => Self::Limited(message),
            host::Error::Database(error) => Self::Database { code: error.code, message: error.message, constraint: error.constraint },
            host::Error::Timeout(message) => Self::Timeout(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "its schema is what counts")]
    struct Door {
        open: bool,
    }

    #[test]
    fn a_kind_has_the_schema_of_its_states() {
        let kind = Kind::new::<Door>("door", "SELECT");
        let schema: Value = serde_json::from_str(&kind.schema).unwrap();
        assert_eq!(schema.pointer("/properties/open/type"), Some(&json!("boolean")));
        assert_eq!(schema.pointer("/required"), Some(&json!(["open"])));
    }

    #[test]
    fn a_change_is_read_as_the_server_tells_it() {
        let change: EntityChanged<Door> = serde_json::from_value(json!({
            "kind": "house.door", "id": "front", "prev": null, "next": {"open": true}, "delta": {"open": {"from": null, "to": true}},
            "changedFields": ["open"], "actor": {"type": "user", "id": "7", "name": "Ada"}, "occurredAt": "2026-01-02T03:04:05Z",
            "changeId": "c", "sequence": 3,
        }))
        .unwrap();
        assert_eq!((&change.prev, &change.next), (&None, &Some(Door { open: true })));
        assert!(change.has_changed("open") && !change.has_changed("locked") && change.sequence == 3);
        assert_eq!((&change.actor.kind[..], &change.actor.name[..]), ("user", "Ada"));
    }
}
