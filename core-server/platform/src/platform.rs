//! The platform as a whole: started, serving, ended.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use checkstack_control_api::SealingKey;
use checkstack_events::{EventBus, Limits};
use checkstack_plugin_package::{PluginEntry, PluginId, PluginSet};
use checkstack_signals::{Relay, SignalBus, SignalService};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::artifacts::{ArtifactStore, DatabaseCodeCache, Materialiser};
use crate::attendance;
use crate::caches::{self, DEFAULT_CACHE_BYTES};
use crate::database::provision::Provisioner;
use crate::database::schema_users::{self, SchemaUsers};
use crate::database::sessions::PluginSessions;
use crate::database::{Database, DatabaseError, DatabaseSettings, key_value};
use crate::dispatch::{DispatchTable, Endpoint};
use crate::encryption::EncryptionKeys;
use crate::entities;
use crate::events::{self, Listeners};
use crate::http::budget::{BodyBudget, DEFAULT_MAX_BUFFERED_BYTES, RequestLimit};
use crate::http::documents::About;
use crate::http::event_streams::{EventStreams, MAX_EVENT_STREAMS};
use crate::http::frontend::Frontend;
use crate::http::gate::{Gate, Phase};
use crate::http::openapi;
use crate::http::sockets::{ServerSockets, SocketSettings};
use crate::http::{Core, DEFAULT_MAX_BODY_BYTES, MAX_REQUESTS, Shared, Surface};
use crate::jobs::{self, JobsError, Workers};
use crate::keys::{Keys, KeysError};
use crate::lifecycle::{Lifecycle, LifecycleSettings, OnceReady, Stages};
use crate::metrics::{Metrics, WaitingJobs};
use crate::mounted_set::{self, MountedSetError};
use crate::native::{self, Configurations, MakeNativeParts, NativeDatabase, NativeParts, NativeServices};
use crate::plugin::{CodeCache, PluginFailure, PluginLoader};
use crate::readiness::{Finding, Probe, ReadinessRegistry, ReadyLog, Words};
use crate::signals::AskIdentity;
use crate::trace::SpanCounts;

/// For the first set: after this the pod says what it can do, whatever plugins are still busy.
const FIRST_SET: Duration = Duration::from_secs(30);
/// For the routes of the first set, which are there before any of its plugins is.
const ROUTES: Duration = Duration::from_secs(10);
/// The database's answer to the readiness probe; shorter than the registry's own limit.
const PING: Duration = Duration::from_millis(1500);
const CLOSE_IDLE_CONNECTIONS: Duration = Duration::from_secs(5);
/// After a failure.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);
/// Jobs that are being done when the server ends.
const JOBS: Duration = Duration::from_secs(5);
/// What others have yet to be told of caches when the server ends.
const CACHES: Duration = Duration::from_secs(2);
const SWEEP_KEY_VALUE: Duration = Duration::from_secs(60);

/// Where the web UI is in the image of the server, if it has one.
pub const DEFAULT_FRONTEND_DIRECTORY: &str = "/usr/share/checkstack/frontend";
/// As long as nobody says otherwise (platform facts §1.8).
const DEFAULT_BASE_URL: &str = "http://localhost:3000";

/// What the platform has to be told.
#[derive(Debug, Clone)]
pub struct PlatformSettings {
    /// `<namespace>/<name>` of the instance.
    pub instance: String,
    /// The pod's name.
    pub pod: String,
    /// The server's release.
    pub server_version: String,
    /// `plugins.lock.json` and its signature; need not exist.
    pub plugin_set_directory: PathBuf,
    /// Secret configuration values; need not exist.
    pub plugin_config_directory: PathBuf,
    /// `jwks.json` and `sealing.key`.
    pub keys_directory: PathBuf,
    /// The keys that secrets in the database are encrypted with; need not exist: then none can be stored.
    pub encryption_directory: PathBuf,
    /// Where artifacts are unpacked and compiled; only this server writes to it.
    pub state_directory: PathBuf,
    /// PostgreSQL.
    pub database: DatabaseSettings,
    /// The web UI: a directory with `index.html`; need not exist.
    pub frontend_directory: PathBuf,
    /// The address that people use.
    pub base_url: String,
    /// Origins whose pages may call the instance, with what a browser knows of its user.
    pub allowed_origins: Vec<String>,
    /// Bounds of WebSockets.
    pub sockets: SocketSettings,
    /// Largest body of a request to a plugin.
    pub max_body_bytes: usize,
    /// Bodies of requests to plugins and of their answers, all together; more are refused. A body
    /// that does not fit into it never comes through.
    pub max_buffered_bytes: usize,
    /// Entries of the caches of all plugins in this pod, with what it costs to keep them.
    pub cache_bytes: usize,
    /// What has become of spans, where somebody sends them to a collector.
    pub span_counts: Option<Arc<SpanCounts>>,
}

impl PlatformSettings {
    /// Settings with the default limits.
    pub fn new(instance: impl Into<String>, pod: impl Into<String>, database: DatabaseSettings) -> Self {
        Self {
            instance: instance.into(),
            pod: pod.into(),
            server_version: env!("CARGO_PKG_VERSION").into(),
            plugin_set_directory: "/etc/checkstack/plugin-set".into(),
            plugin_config_directory: "/etc/checkstack/plugin-config".into(),
            keys_directory: "/etc/checkstack/keys".into(),
            encryption_directory: "/etc/checkstack/encryption".into(),
            state_directory: "/var/lib/checkstack".into(),
            database,
            frontend_directory: DEFAULT_FRONTEND_DIRECTORY.into(),
            base_url: DEFAULT_BASE_URL.into(),
            allowed_origins: Vec::new(),
            sockets: SocketSettings::default(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_buffered_bytes: DEFAULT_MAX_BUFFERED_BYTES,
            cache_bytes: DEFAULT_CACHE_BYTES,
            span_counts: None,
        }
    }
}

/// Why the core could not start. A plugin is never the reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// See there.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The sandbox for plugins cannot work here.
    #[error("plugins cannot be run on this machine: {0}")]
    Loader(String),
    /// There are no queues of jobs.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// A part of the server does not come up.
    #[error("the part '{part}' of the server does not come up: {problem}")]
    Native {
        /// Which one.
        part: String,
        /// Why.
        problem: String,
    },
}

impl StartError {
    /// For everybody who asks this pod: one of a few fixed texts. The whole error is for the log.
    fn summary(&self) -> &'static str {
        match self {
            Self::Database(error) => error.summary(),
            Self::Keys(_) => "the keys of the instance cannot be used",
            Self::Jobs(_) => "the queues of jobs cannot be used",
            Self::Loader(_) => "plugins cannot be run on this machine",
            Self::Native { .. } => "a part of the server does not come up",
        }
    }
}

/// Makes what loads plugins, once the instance's key is known and its database answers.
pub trait MakeLoader: FnOnce(&SealingKey, Arc<dyn CodeCache>) -> Result<Arc<dyn PluginLoader>, String> + Send {}

impl<Make: FnOnce(&SealingKey, Arc<dyn CodeCache>) -> Result<Arc<dyn PluginLoader>, String> + Send> MakeLoader for Make {}

/// A core server, without its sockets and its signals.
pub struct Platform {
    settings: PlatformSettings,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Platform {
    /// Answers at once, but has not started yet: see [`Self::start`].
    pub fn new(settings: PlatformSettings) -> Self {
        let table: Arc<DispatchTable> = Arc::default();
        let usage = {
            let table = table.clone();
            move || table.usage()
        };
        let sockets = ServerSockets::new(settings.sockets.clone(), &settings.allowed_origins);
        let shared = Shared {
            gate: Gate::new(),
            table,
            readiness: ReadinessRegistry::default(),
            once_ready: OnceReady::default(),
            metrics: Metrics::watching(&settings.server_version, usage, sockets.usage()),
            spans: settings.span_counts.clone(),
            ready_log: ReadyLog::default(),
            max_body_bytes: settings.max_body_bytes,
            bodies: BodyBudget::new(settings.max_buffered_bytes),
            requests: RequestLimit::new(MAX_REQUESTS),
            sockets,
            set_problem: OnceLock::new(),
            event_streams: EventStreams::new(MAX_EVENT_STREAMS),
            about: About { base_url: settings.base_url.clone(), version: settings.server_version.clone() },
            frontend: Frontend::new(settings.frontend_directory.clone()),
            core: OnceLock::new(),
        };
        Self { settings, shared: Arc::new(shared), stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// What answers requests.
    pub fn surface(&self) -> Surface {
        Surface::new(self.shared.clone(), &self.settings.allowed_origins)
    }

    /// Connects, migrates, and brings up the plugins of the mounted set. Returns when that set has
    /// been worked off, whatever became of its plugins. An error is final: the process should end.
    ///
    /// `loader` makes the sandbox; it gets the key and the cache of compiled code that all replicas share.
    /// `native` makes the plugins that are a part of the server.
    pub async fn start(&self, loader: impl MakeLoader, native: impl MakeNativeParts) -> Result<(), StartError> {
        let started = Box::pin(self.start_core(loader, native)).await;
        if let Err(error) = &started {
            self.shared.gate.enter(Phase::Failed(error.summary()));
        }
        started
    }

    async fn start_core(&self, loader: impl MakeLoader, native: impl MakeNativeParts) -> Result<(), StartError> {
        let settings = &self.settings;
        self.shared.frontend.open().await;
        let keys = Keys::read(&settings.keys_directory).await?;
        let database = Database::open(&settings.database, &settings.instance).await?;
        let loader = make(loader, &keys, &database)?;
        let mounted = mounted_set::read(&settings.plugin_set_directory, &settings.instance, &*keys.verifying().await).await;
        let schema_users = SchemaUsers::new(database.clone(), settings.pod.clone());
        schema_users.begin().await?;
        let queues = jobs::begin(&database).await?;
        let caches = caches::begin(database.clone(), settings.cache_bytes);
        let events = EventBus::new(queues.clone(), Limits::default());
        let sockets = &self.shared.sockets;
        let audience = Arc::new(AskIdentity(Arc::downgrade(&self.shared)));
        let encryption_keys = EncryptionKeys::new(settings.encryption_directory.clone());
        let services = NativeServices {
            configurations: Configurations::new(NativeDatabase::new(database.clone()), encryption_keys.clone()),
            encryption_keys,
            database: NativeDatabase::new(database.clone()),
            signals: SignalService::new(SignalBus::new(events.clone(), sockets.hub.clone(), audience)),
            socket_routes: sockets.routes.clone(),
            entities: entities::begin(&database, &events).await?,
            events,
            queues,
            caches,
            metrics: self.shared.metrics.native().clone(),
            sealing_key: keys.sealing.clone(),
        };
        let native = self.start_native(native, services.clone()).await?;
        let core = self.core(keys, database.clone(), schema_users.clone(), loader, native, services);
        let core = self.shared.core.get_or_init(|| core);
        self.register_probes(&database);
        self.spawn_housekeeping(&database, &core.sessions);
        self.spawn_refresh(schema_users);
        self.spawn_announcement_of_rules();
        self.spawn_work_of_plugins(core);
        let begun = self.take_over(core, mounted);
        // Not before it is known which plugins there are: else what waits is told that there are none.
        if !core.lifecycle.known(begun, ROUTES).await {
            warn!("the plugin set is still being taken over; going on without it");
        }
        self.shared.gate.enter(Phase::RoutesReady);
        if !core.lifecycle.settled(begun, FIRST_SET).await {
            warn!("some plugins are still busy; going on without them");
        }
        self.shared.gate.enter(Phase::Initialised);
        info!(instance = settings.instance, version = settings.server_version, "the server has started");
        Ok(())
    }

    async fn start_native(&self, make: impl MakeNativeParts, services: NativeServices) -> Result<NativeParts, StartError> {
        let entities = services.entities.clone();
        let parts = make(services).map_err(|problem| StartError::Native { part: "all".to_owned(), problem })?;
        let failed = |(id, failure): (PluginId, PluginFailure)| StartError::Native { part: id.to_string(), problem: failure.message };
        entities.end_declarations();
        native::bring_up(&parts.plugins).await.map_err(failed)?;
        self.shared.table.add_native(parts.plugins.iter().map(|part| {
            let metrics = self.shared.metrics.calls_of(&part.id);
            Endpoint::native(part.id.clone(), part.plugin.clone(), native::CALL, metrics)
        }));
        Ok(parts)
    }

    fn core(
        &self,
        keys: Keys,
        database: Database,
        schema_users: SchemaUsers,
        loader: Arc<dyn PluginLoader>,
        native: NativeParts,
        services: NativeServices,
    ) -> Core {
        let settings = &self.settings;
        let NativeServices { queues, events, entities, caches, signals, .. } = services;
        let sessions = PluginSessions::new(database.clone(), &settings.database.connections);
        let provisioner = Provisioner::new(database.clone(), sessions.clone(), keys.sealing.clone());
        let store = ArtifactStore::new(database.clone());
        let stages = Stages {
            materialiser: Materialiser::new(store.clone(), keys.sealing.unpacked_package_key(), loader.clone(), &settings.state_directory),
            loader,
            database: database.clone(),
            sessions: sessions.clone(),
            provisioner: provisioner.clone(),
            schema_users,
            table: self.shared.table.clone(),
            metrics: self.shared.metrics.clone(),
            events: events.clone(),
            entities: entities.clone(),
            signals: signals.bus().clone(),
            caches: caches.clone(),
            queues: queues.clone(),
            identity: native.identity.clone(),
            quarantines_changed: Arc::default(),
        };
        let lifecycle = LifecycleSettings {
            instance: settings.instance.clone(),
            pod: settings.pod.clone(),
            server_version: settings.server_version.clone(),
            plugin_config_directory: settings.plugin_config_directory.clone(),
            sealing_key: keys.sealing.clone(),
            secrets: native.secrets.clone(),
        };
        let lifecycle = Lifecycle::start(lifecycle, stages, self.shared.readiness.clone(), self.shared.once_ready.clone());
        Core {
            instance: settings.instance.clone(),
            keys,
            database,
            sessions,
            provisioner,
            store,
            lifecycle,
            native,
            queues,
            events,
            entities,
            caches,
            cache_bytes: settings.cache_bytes,
            waiting: WaitingJobs::default(),
        }
    }

    /// A mounted set that cannot be used keeps the pod from being ready, until the operator has
    /// delivered one: else a rollout would put pods into service that have no plugins. The revision of
    /// the set that the pod begins with.
    fn take_over(&self, core: &Core, mounted: Result<Option<PluginSet>, MountedSetError>) -> u64 {
        let problem = match mounted {
            Ok(None) => {
                debug!("no plugin set is mounted");
                return 0;
            }
            Ok(Some(set)) => match core.lifecycle.begin_with(set) {
                Ok(revision) => return revision,
                Err(rejected) => rejected.to_string(),
            },
            Err(error) => error.to_string(),
        };
        error!(problem, "the mounted plugin set is not used; waiting for the operator to deliver one");
        // Once, because a server starts once.
        let _ = self.shared.set_problem.set(problem);
        self.shared.readiness.register("core.plugin-set", Arc::new(HasPluginSet(Arc::downgrade(&self.shared))));
        0
    }

    fn register_probes(&self, database: &Database) {
        self.shared.readiness.register("core.init", Arc::new(Initialised(Arc::downgrade(&self.shared))));
        self.shared.readiness.register("database", Arc::new(DatabaseAnswers(database.clone())));
    }

    fn spawn_housekeeping(&self, database: &Database, sessions: &PluginSessions) {
        let (sessions, core) = (sessions.clone(), database.clone());
        self.repeat(CLOSE_IDLE_CONNECTIONS, move || {
            sessions.close_expired();
            let core = core.clone();
            async move { core.close_idle().await }
        });
        let database = database.clone();
        self.repeat(SWEEP_KEY_VALUE, move || {
            let database = database.clone();
            async move {
                match key_value::sweep(&database).await {
                    Ok(0) => {}
                    Ok(entries) => debug!(entries, "deleted expired entries of key-value stores"),
                    Err(error) => debug!(%error, "expired entries of key-value stores could not be deleted"),
                }
            }
        });
    }

    fn spawn_refresh(&self, users: SchemaUsers) {
        self.repeat(schema_users::REFRESH, move || {
            let users = users.clone();
            async move {
                if let Err(error) = users.refresh().await {
                    debug!(%error, "that this pod is there could not be noted");
                }
            }
        });
    }

    /// Who knows users is told which access rules there are.
    fn spawn_announcement_of_rules(&self) {
        let shared = self.shared.clone();
        let announce = async move {
            let mut changes = shared.table.changes();
            let mut announced = None;
            loop {
                let mut rules = shared.table.access_rules();
                rules.extend(openapi::access_rule());
                if announced.as_ref() != Some(&rules) {
                    match shared.identity().rules_defined(&rules).await {
                        Ok(()) => announced = Some(rules),
                        Err(problem) => {
                            warn!(%problem, "the access rules of plugins could not be announced; trying again");
                            tokio::time::sleep(ANNOUNCE_AGAIN.mul_f64(0.5 + rand::random::<f64>())).await;
                            continue;
                        }
                    }
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        self.spawn(announce);
    }

    /// Jobs and events, for whichever plugins serve, and signals for browsers.
    fn spawn_work_of_plugins(&self, core: &Core) {
        let (table, bus) = (self.shared.table.clone(), core.events.clone());
        self.spawn(attendance::attend(Workers { queues: core.queues.clone(), table: table.clone() }, table.clone()));
        self.spawn(attendance::attend(Listeners { bus: bus.clone(), table: table.clone() }, table.clone()));
        self.spawn(events::announce(bus.clone(), table));
        let entities = core.entities.clone();
        self.spawn(async move { entities.keep_swept().await });
        let hub = self.shared.sockets.hub.clone();
        self.spawn(async move {
            let _relay = Relay::begin(&bus, &hub).await;
            std::future::pending().await
        });
    }

    /// Until the server ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    fn repeat<Work>(&self, every: Duration, work: impl Fn() -> Work + Send + 'static)
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Replicas that started together do not do it together.
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every.mul_f64(0.5 + rand::random::<f64>() / 2.0), every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => work().await,
                }
            }
        });
    }

    /// Waits until plugins can no longer be managed, which is a fault of the server: it should end.
    /// For a server that has started.
    pub async fn broken(&self) {
        match self.shared.core.get() {
            Some(core) => core.lifecycle.ended().await,
            None => std::future::pending().await,
        }
    }

    /// From now on unready; everything is still served.
    pub fn begin_shutdown(&self) {
        self.shared.gate.enter(Phase::ShuttingDown);
    }

    /// Takes the plugins down and closes the database. To be called when no request is under way.
    pub async fn finish_shutdown(&self) {
        self.shared.sockets.end().await;
        self.stop.cancel();
        if let Some(core) = self.shared.core.get() {
            // Others get the jobs and events that are not done in time.
            core.events.stop(JOBS).await;
            core.queues.stop(JOBS).await;
            core.lifecycle.shut_down().await;
            native::shut_down(&core.native.plugins).await;
            core.sessions.shut_down(Duration::from_secs(2)).await;
            if tokio::time::timeout(CACHES, core.caches.stop()).await.is_err() {
                debug!("other pods were not told in time what caches have to forget");
            }
            if tokio::time::timeout(Duration::from_secs(2), core.database.close()).await.is_err() {
                debug!("the database's connections did not close in time");
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The work of the init container: everything of the mounted set, verified, unpacked, compiled.
/// Plugins that could not be materialised are returned; only the core's own trouble is an error.
pub async fn materialise(
    settings: &PlatformSettings,
    loader: impl MakeLoader,
) -> Result<Result<Vec<(PluginEntry, PluginFailure)>, MountedSetError>, StartError> {
    let keys = Keys::read(&settings.keys_directory).await?;
    let set = match mounted_set::read(&settings.plugin_set_directory, &settings.instance, &*keys.verifying().await).await {
        Ok(Some(set)) => set,
        Ok(None) => return Ok(Ok(Vec::new())),
        Err(error) => return Ok(Err(error)),
    };
    let database = Database::open(&settings.database, &settings.instance).await?;
    let loader = make(loader, &keys, &database)?;
    let store = ArtifactStore::new(database.clone());
    let materialiser = Materialiser::new(store, keys.sealing.unpacked_package_key(), loader, &settings.state_directory);
    let failed = materialiser.materialise_all(&set.plugins).await;
    database.close().await;
    Ok(Ok(failed))
}

fn make(loader: impl MakeLoader, keys: &Keys, database: &Database) -> Result<Arc<dyn PluginLoader>, StartError> {
    loader(&keys.sealing, Arc::new(DatabaseCodeCache::new(database.clone()))).map_err(StartError::Loader)
}

/// The registry of probes is a part of what it asks.
struct Initialised(Weak<Shared>);

#[async_trait]
impl Probe for Initialised {
    async fn check(&self) -> Result<Finding, Words> {
        let ok = self.0.upgrade().is_some_and(|shared| shared.gate.phase() == Phase::Initialised);
        Ok(Finding { ok, message: (!ok).then(|| Words::public("init not complete")) })
    }
}

struct DatabaseAnswers(Database);

#[async_trait]
impl Probe for DatabaseAnswers {
    async fn check(&self) -> Result<Finding, Words> {
        match self.0.ping(PING).await {
            Ok(()) => Ok(Finding { ok: true, message: None }),
            Err(error) => Err(Words::summed_up(error.summary(), error.to_string())),
        }
    }
}

struct HasPluginSet(Weak<Shared>);

#[async_trait]
impl Probe for HasPluginSet {
    async fn check(&self) -> Result<Finding, Words> {
        let shared = self.0.upgrade();
        let awaiting = shared.as_ref().filter(|shared| shared.awaits_a_set());
        let problem = awaiting.and_then(|shared| shared.set_problem.get());
        let message = problem.map(|problem| Words::summed_up("the mounted plugin set is not used", problem));
        Ok(Finding { ok: awaiting.is_none(), message })
    }
}
