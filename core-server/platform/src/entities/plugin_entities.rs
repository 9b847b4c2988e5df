//! The entities of one plugin in the sandbox.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::schema::{PathSegment, Schema};
use checkstack_entities::PluginEntities;
use checkstack_events::Actor;
use checkstack_plugin_package::PluginId;
use checkstack_signals::Quota;
use serde_json::Value;

use crate::database::changes::{PluginChanges, ReadableKind, Work};
use crate::plugin::{EntityFailure, EntityKindDescription, EntityMutation, EntityStore, InStateSince, SqlStatement};

/// Statements of one change.
const MAX_STATEMENTS: usize = 1_000;

/// The entities of one version of a plugin. It reaches no kinds but those that it describes.
pub(crate) struct ReactiveEntities {
    plugin_id: PluginId,
    changes: PluginChanges,
    entities: PluginEntities,
    described: OnceLock<BTreeMap<String, Kind>>,
    /// Attempts at a change: each costs something, whether anything is different or not.
    attempts: Quota,
    /// What others are told.
    told: Quota,
}

struct Kind {
    readable: ReadableKind,
    schema: Schema,
}

impl Kind {
    fn check(&self, id: &str, state: Option<&Value>) -> Result<(), EntityFailure> {
        let issues = state.map(|state| self.schema.issues(state)).unwrap_or_default();
        let Some(issue) = issues.first() else { return Ok(()) };
        let place: String = issue.path.iter().map(place_of).collect();
        let Self { readable: ReadableKind { name, .. }, .. } = self;
        Err(EntityFailure::Invalid(format!(
            "the state of entity '{id}' of kind '{name}' is not what its schema says: at '{place}': {}",
            issue.message
        )))
    }
}

fn place_of(segment: &PathSegment) -> String {
    match segment {
        PathSegment::Field(field) => format!("/{field}"),
        PathSegment::Index(index) => format!("/{index}"),
    }
}

impl ReactiveEntities {
    /// Before the plugin has described anything.
    pub(crate) fn new(plugin_id: PluginId, changes: PluginChanges, entities: PluginEntities) -> Self {
        let (attempts, told) = (Quota::new(Quota::PLUGIN), Quota::new(Quota::PLUGIN));
        Self { plugin_id, changes, entities, described: OnceLock::new(), attempts, told }
    }

    fn kind(&self, name: &str) -> Result<&Kind, EntityFailure> {
        let unknown = || {
            let name: String = name.chars().take(100).collect();
            EntityFailure::Invalid(format!("the plugin describes no kind of entities '{name}'"))
        };
        self.described.get().and_then(|described| described.get(name)).ok_or_else(unknown)
    }

    fn limited(&self) -> EntityFailure {
        let message = format!("plugin '{}' has changed too much of late; the same may work in a moment", self.plugin_id);
        EntityFailure::Limited(message)
    }
}

#[async_trait]
impl EntityStore for ReactiveEntities {
    fn describe(&self, kinds: &[EntityKindDescription]) -> Result<(), String> {
        let kind = |EntityKindDescription { name, schema, query }: &EntityKindDescription| {
            let invalid = |problem: String| format!("the schema of the kind of entities '{name}' {problem}");
            let schema = serde_json::from_str(schema).map_err(|problem| invalid(format!("is no JSON: {problem}")))?;
            let schema = Schema::compile(schema).map_err(|problem| invalid(format!("cannot be used: {problem}")))?;
            let readable = ReadableKind::new(self.entities.kind(name).map_err(|problem| problem.to_string())?, query);
            Ok((name.clone(), Kind { readable, schema }))
        };
        let kinds: Result<_, String> = kinds.iter().map(kind).collect();
        // A version of a plugin is described once.
        let _ = self.described.set(kinds?);
        Ok(())
    }

    async fn mutate(
        &self,
        kind: &str,
        id: &str,
        statements: Vec<SqlStatement>,
        removes: bool,
        actor: Option<Actor>,
    ) -> Result<EntityMutation, EntityFailure> {
        let known = self.kind(kind)?;
        if statements.len() > MAX_STATEMENTS {
            return Err(EntityFailure::Invalid(format!(
                "a change has {} statements; at most {MAX_STATEMENTS} are allowed",
                statements.len()
            )));
        }
        if !self.attempts.take(1, 0) {
            return Err(self.limited());
        }
        let actor = actor.unwrap_or_else(|| Actor::service(self.plugin_id.as_str()));
        let work = Work { kind: &known.readable, id, statements, removes, actor: &actor };
        let admit = |bytes| match self.told.take(1, bytes) {
            true => Ok(()),
            false => Err(self.limited()),
        };
        self.changes.make(&self.entities, work, |state| known.check(id, state), admit).await
    }

    async fn in_state_since(&self, kind: &str, id: &str, field: &str) -> Result<Option<InStateSince>, EntityFailure> {
        self.changes.in_state_since(&self.entities, &self.kind(kind)?.readable, id, field).await
    }

    async fn transition_count(&self, kind: &str, id: &str, field: &str, within: Duration) -> Result<u64, EntityFailure> {
        self.changes.transition_count(&self.entities, &self.kind(kind)?.readable, id, field, within).await
    }
}
