//! Entities of a guest, as it describes and changes them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use checkstack_events::Actor;
use checkstack_platform::plugin::{
    EntityChanged, EntityFailure, EntityKindDescription, EntityMutation, EntityStore, InStateSince, PluginServices, SqlError, SqlStatement,
};
use serde_json::json;

use crate::fixture::{Sandbox, ask, services};
use crate::guest::{self, Guest};

/// Does as the id of the entity says, and notes what it was asked.
#[derive(Default)]
struct Entities(Mutex<Vec<Asked>>);

/// Kind, id, texts of the statements, and whether it is a removal.
type Asked = (String, String, Vec<String>, bool);

fn failure(id: &str) -> Option<EntityFailure> {
    let database = SqlError::Database { code: "23505".into(), message: "twice".into(), constraint: None };
    match id {
        "invalid" => Some(EntityFailure::Invalid("no such kind".into())),
        "limited" => Some(EntityFailure::Limited("too much".into())),
        "refused" => Some(EntityFailure::Sql(database)),
        "slow" => Some(EntityFailure::Sql(SqlError::Timeout("too slow".into()))),
        "large" => Some(EntityFailure::Sql(SqlError::TooLarge("too large".into()))),
        "down" => Some(EntityFailure::Unavailable("no answer".into())),
        _ => None,
    }
}

#[async_trait]
impl EntityStore for Entities {
    fn describe(&self, _: &[EntityKindDescription]) -> Result<(), String> {
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
        assert_eq!(actor, None, "a request without a principal is the plugin's own");
        let texts = statements.into_iter().map(|statement| statement.text).collect();
        self.0.lock().unwrap().push((kind.to_owned(), id.to_owned(), texts, removes));
        if let Some(failure) = failure(id) {
            return Err(failure);
        }
        let change: EntityChanged = serde_json::from_value(json!({
            "kind": "subject.key", "id": id, "prev": null, "next": {"up": true}, "delta": {}, "changedFields": ["up"],
            "actor": {"type": "system", "id": "system", "name": ""}, "occurredAt": "2026-01-02T03:04:05Z",
            "changeId": "8f0f4b9e-32a5-4d4e-9b10-7d1f2a3b4c5d", "sequence": 7,
        }))
        .unwrap();
        Ok(EntityMutation { touched: vec![3], change: (id == "changes").then_some(change) })
    }

    async fn in_state_since(&self, _: &str, id: &str, _: &str) -> Result<Option<InStateSince>, EntityFailure> {
        match failure(id) {
            Some(failure) => Err(failure),
            None if id == "unknown" => Ok(None),
            None => Ok(Some(InStateSince { at: "2026-01-02T03:04:05Z".parse().unwrap(), ago: Duration::from_millis(42) })),
        }
    }

    async fn transition_count(&self, _: &str, id: &str, _: &str, within: Duration) -> Result<u64, EntityFailure> {
        assert_eq!(within, Duration::from_secs(60));
        failure(id).map_or(Ok(5), Err)
    }
}

#[tokio::test]
async fn a_guest_describes_and_changes_its_entities() {
    let (sandbox, entities) = (Sandbox::new(), Arc::new(Entities::default()));
    let services = PluginServices { entities: Some(entities.clone()), ..services() };
    let plugin = sandbox.start(&Guest::default().with_entities().component(), services).await;
    let described = EntityKindDescription { name: "key".into(), schema: "{}".into(), query: "key".into() };
    assert_eq!(plugin.description().entities, [described]);
    assert_eq!(ask(&plugin, "/H", "changes").await, (203, r#"{"up":true}"#.to_owned()));
    assert_eq!(ask(&plugin, "/R", "same").await, (203, String::new()));
    let asked = |id: &str, removes| ("key".to_owned(), id.to_owned(), vec!["key".to_owned()], removes);
    assert_eq!(*entities.0.lock().unwrap(), [asked("changes", false), asked("same", true)]);
    assert_eq!(ask(&plugin, "/L", "unknown").await.0, 404);
    assert_eq!(ask(&plugin, "/L", "known").await.1.len(), 42);
    assert_eq!(ask(&plugin, "/T", "known").await.0, 205);
    // 500 and the place of the error in the world
    for (id, status, problem) in [
        ("invalid", 501, "no such kind"),
        ("large", 501, "too large"),
        ("limited", 502, "too much"),
        ("slow", 504, "too slow"),
        ("down", 505, "no answer"),
    ] {
        for path in ["/H", "/L", "/T"] {
            assert_eq!(ask(&plugin, path, id).await, (status, problem.to_owned()), "{path}");
        }
    }
    // The record of a database's error begins with its code.
    assert_eq!(ask(&plugin, "/H", "refused").await, (503, "23505".to_owned()));
}

#[tokio::test]
async fn without_a_database_there_are_no_entities() {
    let plugin = Sandbox::new().start(&guest::plain(), services()).await;
    let (status, problem) = ask(&plugin, "/H", "x").await;
    assert!(status == 500 && problem.contains("grant 'database'"), "{status} {problem}");
}
