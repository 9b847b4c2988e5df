//! A process whose plugin `catalog` owns systems.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_entities::{Entities, EntityChanged, EntityError, EntityHandle, EntityKind, EntitySettings, MIGRATIONS, Mutated, SCHEMA};
use checkstack_events::{Actor, EventBus, Limits, ListenerError, Mode, Subscriber, Subscription};
use checkstack_jobs::QueueManager;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};

use crate::postgres::execute;
use crate::setup::{Log, Setup};

/// Where systems are. What is in `note` is no part of their state.
const TABLE: &str = "CREATE TABLE public.systems (id text PRIMARY KEY, status text, checks bigint NOT NULL DEFAULT 0, note text)";
const SET: &str = "
    INSERT INTO public.systems (id, status, checks) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, checks = excluded.checks";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SystemState {
    pub(crate) status: Option<String>,
    pub(crate) checks: i64,
}

pub(crate) struct System;

#[async_trait]
impl EntityKind for System {
    const KIND: &'static str = "system";
    type State = SystemState;

    async fn read(&self, connection: &mut PgConnection, ids: &[String]) -> Result<HashMap<String, SystemState>, sqlx::Error> {
        let read = sqlx::query_as("SELECT id, status, checks FROM public.systems WHERE id = ANY($1)").bind(ids);
        let rows: Vec<(String, Option<String>, i64)> = read.fetch_all(connection).await?;
        Ok(rows.into_iter().map(|(id, status, checks)| (id, SystemState { status, checks })).collect())
    }
}

pub(crate) type Change = EntityChanged<SystemState>;

pub(crate) fn system() -> &'static Actor {
    static SYSTEM: LazyLock<Actor> = LazyLock::new(Actor::system);
    &SYSTEM
}

fn ada() -> &'static Actor {
    static ADA: LazyLock<Actor> = LazyLock::new(|| Actor::user("7", "Ada"));
    &ADA
}

pub(crate) fn plugin(id: &str) -> Subscriber {
    id.parse().unwrap()
}

pub(crate) fn state(status: &str, checks: i64) -> SystemState {
    SystemState { status: Some(status.to_owned()), checks }
}

/// As an owner does it.
pub(crate) async fn write(connection: &mut PgConnection, id: &str, state: &SystemState) -> Result<(), EntityError> {
    sqlx::query(SET).bind(id).bind(&state.status).bind(state.checks).execute(connection).await?;
    Ok(())
}

pub(crate) async fn delete(connection: &mut PgConnection, id: &str) -> Result<(), EntityError> {
    sqlx::query("DELETE FROM public.systems WHERE id = $1").bind(id).execute(connection).await?;
    Ok(())
}

/// A database with the schemas of jobs and entities.
pub(crate) async fn setup() -> Setup {
    let setup = Setup::postgres().await;
    let database = setup.database();
    execute(&mut database.admin().await, &format!("CREATE SCHEMA {SCHEMA} AUTHORIZATION {}", database.owner)).await;
    let mut owner = connection(&setup).await;
    for (_, _, step) in MIGRATIONS {
        execute(&mut owner, step).await;
    }
    execute(&mut owner, TABLE).await;
    setup
}

/// As the server's role.
pub(crate) async fn connection(setup: &Setup) -> PgConnection {
    PgConnection::connect(&setup.database().url).await.unwrap()
}

/// A process.
pub(crate) struct Replica {
    // The order in which they are dropped: without its queues, nothing ends in peace.
    pub(crate) queues: QueueManager,
    pub(crate) bus: EventBus,
    pub(crate) entities: Entities,
    pub(crate) systems: EntityHandle<System>,
    subscriptions: Vec<Subscription>,
}

impl Replica {
    pub(crate) async fn start(setup: &Setup) -> Self {
        Self::with(setup, EntitySettings::default()).await
    }

    pub(crate) async fn with(setup: &Setup, settings: EntitySettings) -> Self {
        Self::on(setup, setup.start().await, settings)
    }

    pub(crate) fn on(setup: &Setup, queues: QueueManager, settings: EntitySettings) -> Self {
        let bus = EventBus::new(queues.clone(), Limits::default());
        let entities = Entities::new(setup.pool(), bus.clone(), settings);
        let systems = entities.define(&plugin("catalog"), System).unwrap();
        Self { queues, bus, entities, systems, subscriptions: Vec::new() }
    }

    /// Notes what the plugin `automation` hears.
    pub(crate) async fn hear(&mut self, mode: Mode) -> Log<Change> {
        let log = Log::new();
        let noted = log.clone();
        let listener = move |change: Change| {
            noted.note(change);
            std::future::ready(Ok::<(), ListenerError>(()))
        };
        let subscription = self.entities.subscribe(&plugin("automation"), "system", mode, listener).await.unwrap();
        self.subscriptions.push(subscription);
        log
    }

    pub(crate) async fn set(&self, id: &str, to: SystemState) -> Result<Mutated<(), SystemState>, EntityError> {
        let own = id.to_owned();
        let apply = self.systems.mutate(id, ada(), |connection, _| Box::pin(async move { write(connection, &own, &to).await }));
        apply.await
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<Mutated<(), SystemState>, EntityError> {
        let own = id.to_owned();
        self.systems.remove(id, system(), |connection, _| Box::pin(async move { delete(connection, &own).await })).await
    }

    pub(crate) async fn stop(self) {
        self.bus.stop(Duration::from_secs(1)).await;
        self.queues.stop(Duration::ZERO).await;
    }
}

/// Rows of all tables that a change touches, and events that wait.
pub(crate) async fn traces(setup: &Setup) -> [i64; 4] {
    let mut counts = [0; 4];
    let tables = ["public.systems", "checkstack_entities.entities", "checkstack_entities.transitions", "checkstack_jobs.deliveries"];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = setup.database().value(&format!("SELECT count(*) FROM {table}")).await;
    }
    counts
}
