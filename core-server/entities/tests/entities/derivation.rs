//! Kinds, whose they are, and which events their changes are.

use std::collections::HashMap;

use async_trait::async_trait;
use checkstack_entities::{ChangeDeriver, EntityChanged, EntityError, EntityKind, EntitySettings, KindDescription};
use checkstack_events::{ListenerError, Mode};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::replica::{Change, Replica, System, SystemState, plugin, setup, state};

/// As the platform's satellites will be (domain facts §1.9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Connection {
    status: String,
    name: String,
    last_event: String,
}

struct Connections;

#[async_trait]
impl EntityKind for Connections {
    const KIND: &'static str = "satellite-connection";
    type State = Connection;

    async fn read(&self, _: &mut PgConnection, _: &[String]) -> Result<HashMap<String, Connection>, sqlx::Error> {
        Ok(HashMap::new())
    }
}

const EDGES: [&str; 3] = ["connected", "disconnected", "heartbeat_lost"];

struct Edges;

impl ChangeDeriver<Connection> for Edges {
    fn derive(&self, change: &EntityChanged<Connection>) -> Vec<&'static str> {
        let edge = change.next.as_ref().map(|next| next.last_event.as_str());
        EDGES.into_iter().filter(|known| edge == Some(known)).collect()
    }

    fn payload(&self, change: &EntityChanged<Connection>) -> Value {
        json!({"satelliteId": change.id, "name": change.next.as_ref().map(|next| &next.name)})
    }
}

fn change(kind: &str, next: Option<Value>) -> EntityChanged {
    let change = json!({
        "kind": kind, "id": "s1", "prev": null, "next": next, "delta": {}, "changedFields": [],
        "actor": {"type": "system", "id": "system", "name": "System"},
        "occurredAt": "2026-01-02T03:04:05Z", "changeId": "0c5b2f60-5d4e-4a56-9d4a-3f1f8f3f7a10", "sequence": 1,
    });
    serde_json::from_value(change).unwrap()
}

fn connection(last_event: &str) -> Option<Value> {
    Some(json!({"status": "online", "name": "Oslo", "lastEvent": last_event}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_is_its_plugins_and_who_asks_for_another_is_told() {
    let setup = setup().await;
    let replica = Replica::start(&setup).await;
    let entities = &replica.entities;
    let taken = entities.define(&plugin("mail"), System).err().unwrap();
    assert_eq!(taken, EntityError::DuplicateKind { kind: "system".into(), owner: "catalog".into(), plugin: "mail".into() });
    entities.define(&plugin("satellite"), Connections).unwrap();
    let kinds = entities.kinds();
    let listed: Vec<(&str, &str)> = kinds.iter().map(|KindDescription { kind, owner, .. }| (kind.as_str(), owner.as_str())).collect();
    assert_eq!(listed, [("satellite-connection", "satellite"), ("system", "catalog")]);
    assert_eq!(kinds[0].schema["required"], json!(["status", "name", "lastEvent"]));

    let unknown = EntityError::UnknownKind { kind: "slo".into(), known: vec!["satellite-connection".into(), "system".into()] };
    assert_eq!(entities.read("slo", &["1".into()]).await.unwrap_err(), unknown);
    let listener = |_: EntityChanged| std::future::ready(Ok::<(), ListenerError>(()));
    assert_eq!(entities.subscribe(&plugin("mail"), "slo", Mode::Broadcast, listener).await.err(), Some(unknown.clone()));
    assert_eq!(entities.derive(&change("slo", None)).unwrap_err(), unknown);

    replica.set("shop", state("healthy", 2)).await.unwrap();
    let ids = ["shop".to_owned(), "other".to_owned()];
    let read = entities.read("system", &ids).await.unwrap();
    assert_eq!(read, HashMap::from([("shop".to_owned(), json!({"status": "healthy", "checks": 2}))]));
    assert_eq!(replica.systems.get_many(&ids).await.unwrap(), HashMap::from([("shop".to_owned(), state("healthy", 2))]));
    assert_eq!(replica.systems.get("other").await.unwrap(), None);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_other_kinds_are_not_heard_and_those_of_all_can_be() {
    let setup = setup().await;
    let mut replica = Replica::start(&setup).await;
    replica.entities.define(&plugin("satellite"), Connections).unwrap();
    let (satellites, all) = (crate::setup::Log::new(), crate::setup::Log::new());
    let noted = satellites.clone();
    let listener = move |change: EntityChanged<Connection>| {
        noted.note(change.id);
        std::future::ready(Ok(()))
    };
    let _one = replica.entities.subscribe(&plugin("a"), "satellite-connection", Mode::Broadcast, listener).await.unwrap();
    let noted = all.clone();
    let listener = move |change: EntityChanged| {
        noted.note((change.kind, change.id));
        std::future::ready(Ok(()))
    };
    let _all = replica.entities.subscribe_to_all(&plugin("a"), Mode::Broadcast, listener).await.unwrap();
    let systems = replica.hear(Mode::Broadcast).await;
    replica.set("shop", state("healthy", 2)).await.unwrap();
    let heard: Vec<Change> = systems.reach(1).await;
    assert_eq!(heard[0].next, Some(SystemState { status: Some("healthy".into()), checks: 2 }));
    assert_eq!(all.reach(1).await, [("system".to_owned(), "shop".to_owned())]);
    let queue = replica.queues.queue("hook:automation.entity.changed").unwrap();
    crate::setup::settled(&queue).await;
    assert!(satellites.entries().is_empty());
    assert_eq!(queue.stats().await.unwrap().failed, 0, "a state of another type was not looked at");
    replica.stop().await;
}

#[test]
fn a_change_is_the_events_that_its_deriver_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let replica =
        runtime.block_on(async { Replica::on(&setup().await, crate::setup::Setup::Memory.start().await, EntitySettings::default()) });
    let entities = &replica.entities;
    let early = entities.derive_by(&plugin("satellite"), "satellite-connection", Edges).unwrap_err();
    assert!(matches!(early, EntityError::UnknownKind { .. }));
    entities.define(&plugin("satellite"), Connections).unwrap();
    assert_eq!(entities.derive(&change("satellite-connection", connection("connected"))).unwrap(), [], "nobody derives any yet");
    entities.derive_by(&plugin("satellite"), "satellite-connection", Edges).unwrap();
    let again = entities.derive_by(&plugin("mail"), "satellite-connection", Edges).unwrap_err();
    assert!(matches!(again, EntityError::DuplicateDeriver { .. }));
    assert!(entities.derive(&change("satellite-connection", Some(json!({"status": 1})))).is_err());

    let any_event = prop_oneof![prop::sample::select(EDGES.as_slice()).prop_map(str::to_owned), "[a-z_]{0,12}"];
    proptest!(ProptestConfig::with_cases(200), |(next in prop::option::of(any_event))| {
        let change = change("satellite-connection", next.as_deref().and_then(connection));
        let events = entities.derive(&change).unwrap();
        prop_assert_eq!(&entities.derive(&change).unwrap(), &events, "asked again it says the same");
        match next.filter(|event| EDGES.contains(&event.as_str())) {
            None => prop_assert!(events.is_empty(), "a tombstone, or something new"),
            Some(expected) => {
                prop_assert_eq!(events.len(), 1);
                prop_assert_eq!(&events[0].event, &format!("satellite.{expected}"));
                prop_assert_eq!(&events[0].context_key, "s1");
                prop_assert_eq!(&events[0].payload, &json!({"satelliteId": "s1", "name": "Oslo"}));
            }
        }
    });
}
