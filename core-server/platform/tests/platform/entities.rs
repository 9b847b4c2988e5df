//! Entities of plugins that are a part of the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use checkstack_control_api::paths;
use checkstack_control_api::report::PluginReason;
use checkstack_entities::{Entities, EntityChanged, EntityError, EntityHandle, EntityKind};
use checkstack_events::{Actor, Mode, Subscription};
use checkstack_platform::StartError;
use checkstack_platform::native::{Migrations, NativeDatabase, NativeParts, NativePlugin, NativeServices};
use checkstack_platform::plugin::{CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};

use crate::instance::{Instance, Pod};
use crate::packages::package;
use crate::postgres::execute;

const MIGRATIONS: Migrations = Migrations {
    schema: "plugin_catalog",
    steps: &[(1, "systems", "CREATE TABLE plugin_catalog.systems (id text PRIMARY KEY, name text NOT NULL)")],
};
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct SystemState {
    name: String,
}

struct System;

#[async_trait]
impl EntityKind for System {
    const KIND: &'static str = "catalog-system";
    type State = SystemState;

    async fn read(&self, connection: &mut PgConnection, ids: &[String]) -> Result<HashMap<String, SystemState>, sqlx::Error> {
        let rows = sqlx::query_as("SELECT id, name FROM plugin_catalog.systems WHERE id = ANY($1)").bind(ids);
        let rows: Vec<(String, String)> = rows.fetch_all(connection).await?;
        Ok(rows.into_iter().map(|(id, name)| (id, SystemState { name })).collect())
    }
}

async fn write(connection: &mut PgConnection, id: &str, name: &str) -> Result<(), sqlx::Error> {
    let write = "INSERT INTO plugin_catalog.systems VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    sqlx::query(write).bind(id).bind(name).execute(connection).await.map(drop)
}

type Changes = Arc<Mutex<Vec<EntityChanged<SystemState>>>>;

/// What a plugin does when it is initialised.
#[derive(Clone)]
enum Work {
    /// Makes the tables.
    Own(Box<NativeDatabase>),
    /// Notes what it hears.
    Listen(Entities, Changes),
    /// Declares the kind, which is too late.
    Declare(Entities),
}

struct Part {
    id: &'static str,
    description: Description,
    work: Work,
    subscription: Mutex<Option<Subscription>>,
}

impl Part {
    fn native(id: &'static str, work: Work) -> NativePlugin {
        let plugin = Self { id, description: Description::default(), work, subscription: Mutex::default() };
        NativePlugin { id: id.parse().unwrap(), plugin: Arc::new(plugin) }
    }
}

#[async_trait]
impl Plugin for Part {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        let failed = |problem: String| PluginFailure::terminal(PluginReason::InitFailed, problem);
        match &self.work {
            Work::Own(database) => database.migrate(MIGRATIONS).await.map_err(|problem| failed(problem.to_string())),
            Work::Declare(entities) => {
                let declared = entities.define(&self.id.parse().unwrap(), System);
                declared.map(drop).map_err(|problem| failed(problem.to_string()))
            }
            Work::Listen(entities, heard) => {
                let heard = heard.clone();
                let listener = move |change: EntityChanged<SystemState>| {
                    heard.lock().unwrap().push(change);
                    std::future::ready(Ok(()))
                };
                let subscribed = entities.subscribe(&self.id.parse().unwrap(), System::KIND, Mode::Broadcast, listener).await;
                *self.subscription.lock().unwrap() = Some(subscribed.map_err(|problem| failed(problem.to_string()))?);
                Ok(())
            }
        }
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn handle(&self, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Err(CallFailure::NotRunning(self.id.parse().unwrap()))
    }

    async fn check(&self, _: &str) -> Result<ProbeOutcome, CallFailure> {
        Err(CallFailure::NotRunning(self.id.parse().unwrap()))
    }

    async fn shutdown(&self) {}
}

/// What a test reaches of a pod.
struct Catalog {
    pod: Pod,
    systems: EntityHandle<System>,
    database: NativeDatabase,
    heard: Changes,
}

/// `mail` listens to what `catalog` owns, and is initialised before it.
async fn catalog(instance: &Instance, name: &str) -> Catalog {
    let pod = instance.new_pod(name).await;
    let heard = Changes::default();
    let reached = Arc::new(Mutex::new(None));
    let (noted, kept) = (heard.clone(), reached.clone());
    let native = move |services: NativeServices| {
        let mail = Part::native("mail", Work::Listen(services.entities.clone(), noted));
        let catalog = "catalog".parse().map_err(|problem| format!("{problem}"))?;
        let systems = services.entities.define(&catalog, System).map_err(|problem| problem.to_string())?;
        *kept.lock().unwrap() = Some((systems, services.database.clone()));
        let catalog = Part::native("catalog", Work::Own(Box::new(services.database)));
        Ok(NativeParts { plugins: vec![mail, catalog], ..NativeParts::default() })
    };
    pod.platform.start(instance.loader(), native).await.unwrap();
    let (systems, database) = reached.lock().unwrap().take().unwrap();
    Catalog { pod, systems, database, heard }
}

async fn hears(catalog: &Catalog, count: usize) -> Vec<EntityChanged<SystemState>> {
    let begin = Instant::now();
    loop {
        let heard = catalog.heard.lock().unwrap().clone();
        if heard.len() >= count {
            return heard;
        }
        assert!(begin.elapsed() < SOON, "{heard:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn every_pod_hears_of_the_changes_of_a_native_plugin() {
    let instance = Instance::new().await;
    let (mut one, mut other) = (catalog(&instance, "one").await, catalog(&instance, "other").await);
    let (system, ada) = (Actor::system(), Actor::user("7", "Ada"));
    let made = one
        .systems
        .mutate("shop", &system, |connection, _| Box::pin(async move { Ok::<_, EntityError>(write(connection, "shop", "Shop").await?) }));
    let made = made.await.unwrap().change.unwrap();
    assert_eq!((&made.kind[..], &made.id[..], made.sequence), ("catalog-system", "shop", 1));
    // In a transaction that changes more.
    let systems = other.systems.clone();
    let pending = other.database.run(SOON, |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            let renamed = systems.mutate_in(&mut transaction, "shop", &ada, |connection, before| {
                assert_eq!(before, Some(&SystemState { name: "Shop".into() }));
                Box::pin(async move { Ok::<_, EntityError>(write(connection, "shop", "Shop 2").await?) })
            });
            let renamed = renamed.await.unwrap();
            sqlx::query("INSERT INTO plugin_catalog.systems VALUES ('beside', 'x')").execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(renamed)
        })
    });
    let renamed = pending.await.unwrap().committed().await.change.unwrap();
    assert_eq!((renamed.prev.clone(), renamed.sequence), (made.next.clone(), 2));
    for catalog in [&one, &other] {
        assert_eq!(hears(catalog, 2).await, [made.clone(), renamed.clone()]);
    }
    assert_eq!(one.systems.in_state_since("shop", "name").await.unwrap(), Some(renamed.occurred_at));
    one.pod.end().await;
    other.pod.end().await;
}

#[tokio::test]
async fn a_kind_that_is_taken_or_declared_too_late_keeps_the_server_from_starting() {
    let instance = Instance::new().await;
    let twice = |services: NativeServices| {
        for plugin in ["catalog", "mail"] {
            let defined = services.entities.define(&plugin.parse().map_err(|problem| format!("{problem}"))?, System);
            defined.map(drop).map_err(|problem| problem.to_string())?;
        }
        Ok(NativeParts::default())
    };
    let refused = instance.new_pod("twice").await.platform.start(instance.loader(), twice).await.unwrap_err();
    let expected = "plugin 'mail' cannot define the kind of entities 'catalog-system': plugin 'catalog' has defined it; take another name";
    assert!(matches!(&refused, StartError::Native { problem, .. } if problem == expected), "{refused}");

    let late = |services: NativeServices| {
        Ok(NativeParts { plugins: vec![Part::native("catalog", Work::Declare(services.entities))], ..NativeParts::default() })
    };
    let refused = instance.new_pod("late").await.platform.start(instance.loader(), late).await.unwrap_err();
    let is_late = |problem: &str| problem.contains("before any is initialised");
    assert!(matches!(&refused, StartError::Native { part, problem } if part == "catalog" && is_late(problem)), "{refused}");

    let unknown = |services: NativeServices| {
        Ok(NativeParts {
            plugins: vec![Part::native("mail", Work::Listen(services.entities, Changes::default()))],
            ..NativeParts::default()
        })
    };
    let refused = instance.new_pod("unknown").await.platform.start(instance.loader(), unknown).await.unwrap_err();
    assert!(refused.to_string().ends_with("there is no kind of entities 'catalog-system'; there are: none"), "{refused}");
}

#[tokio::test]
async fn what_is_known_of_entities_goes_with_the_plugins_data() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let uptime = package("uptime", &[]);
    pod.run(1, &[&uptime]).await;
    let mut admin = instance.database.admin().await;
    for plugin in ["uptime", "uptime-2"] {
        let row = format!("INSERT INTO checkstack_entities.entities (kind, entity_id, plugin_id) VALUES ('k', '{plugin}', '{plugin}')");
        execute(&mut admin, &row).await;
    }
    pod.run(2, &[]).await;
    let purge = format!("{}/uptime", paths::PLUGIN_DATA);
    assert_eq!(pod.signed(Method::DELETE, &purge, vec![]).send().await.unwrap().status(), 204);
    let left: String = instance.database.value("SELECT string_agg(plugin_id, ',') FROM checkstack_entities.entities").await;
    assert_eq!(left, "uptime-2");
}
