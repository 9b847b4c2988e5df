//! The stages of bringing one plugin up and taking it down: what is actually done.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use checkstack_cache::{CacheError, CacheManager};
use checkstack_control_api::report::PluginReason;
use checkstack_entities::Entities;
use checkstack_events::{EventBus, EventError};
use checkstack_jobs::QueueManager;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId};
use checkstack_signals::SignalBus;
use futures::FutureExt as _;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::secrets::Configuration;
use crate::artifacts::{ArtifactAssets, Materialiser};
use crate::database::changes::PluginChanges;
use crate::database::key_value::PluginKeyValue;
use crate::database::provision::{self, Provisioner};
use crate::database::schema_users::{SchemaUsers, newest};
use crate::database::sessions::PluginSessions;
use crate::database::settings::PluginSettings;
use crate::database::sql::PluginSql;
use crate::database::{Database, migrations};
use crate::dispatch::{DispatchTable, Endpoint, Peers, ServedPackage};
use crate::entities::ReactiveEntities;
use crate::events;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::plugin::{
    ACTIVATION_AT_LEAST, ACTIVATION_FACTOR, MaterialisedArtifact, Plugin, PluginEvents, PluginFailure, PluginJobs, PluginLoader,
    PluginServices, PluginSignals, ProbeDescription, ProbeOutcome,
};
use crate::quarantine::Quarantine;
use crate::secrets::SecretRevisions;

/// Loading, compilation included where it was not done before.
const LOAD: Duration = Duration::from_secs(120);
/// A plugin watches its own deadlines; this much later it is given up from outside.
const GRACE: Duration = Duration::from_millis(500);
/// Calls under way when a plugin is taken down.
const DRAIN: Duration = Duration::from_secs(10);
/// To tell who grants access which rules there are.
const DEFINE_RULES: Duration = Duration::from_secs(3);
const SHUTDOWN: Duration = Duration::from_secs(5);
/// What helps against a deadline.
const MORE_TIME: &str = "raise spec.grants.deadline if it needs longer";

/// What the stages work with.
#[derive(Clone)]
pub(crate) struct Stages {
    pub(crate) materialiser: Materialiser,
    pub(crate) loader: Arc<dyn PluginLoader>,
    pub(crate) database: Database,
    pub(crate) sessions: PluginSessions,
    pub(crate) provisioner: Provisioner,
    pub(crate) schema_users: SchemaUsers,
    pub(crate) table: Arc<DispatchTable>,
    pub(crate) metrics: Metrics,
    /// For the events of plugins.
    pub(crate) events: EventBus,
    /// For the entities of plugins.
    pub(crate) entities: Entities,
    /// For what plugins tell browsers.
    pub(crate) signals: SignalBus,
    /// For what plugins may forget.
    pub(crate) caches: CacheManager,
    /// For the jobs of plugins.
    pub(crate) queues: QueueManager,
    /// Who grants access. None in a server that knows nobody.
    pub(crate) identity: Option<Arc<dyn Identity>>,
    /// Told when calls to a plugin begin, or cease, to be refused because it traps.
    pub(crate) quarantines_changed: Arc<Notify>,
}

/// A plugin of which nothing has run but its description.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) plugin: Arc<dyn Plugin>,
    /// To be bound before it is initialised.
    pub(crate) peers: Arc<Peers>,
    pub(crate) artifact: MaterialisedArtifact,
    /// Which values of secrets its configuration has.
    pub(crate) secrets: SecretRevisions,
    /// Files for browsers that are in it.
    pub(crate) assets: Option<ArtifactAssets>,
}

impl Stages {
    /// Materialises, loads, describes.
    pub(crate) async fn prepare(&self, entry: &PluginEntry, config: Configuration) -> Result<Loaded, PluginFailure> {
        let artifact = self.materialiser.materialise(entry).await?;
        let peers = Arc::new(Peers::default());
        let secrets = config.secrets.clone();
        let services = self.services(entry, config, peers.clone())?;
        let (jobs, entities) = (services.jobs.clone(), services.entities.clone());
        let load = self.loader.load(entry, &artifact, services);
        let plugin = guarded("loading", LOAD, "what is being compiled goes on, and is waited for again", load).await?;
        let queues = &plugin.description().queues;
        match jobs {
            Some(jobs) => jobs.describe(queues),
            None if queues.is_empty() => {}
            None => {
                return Err(PluginFailure::terminal(
                    PluginReason::InvalidConfig,
                    "the plugin has queues of jobs, but it is not granted a database: set spec.grants.database to true",
                ));
            }
        }
        events::check(entry, &plugin.description().subscriptions)?;
        let kinds = &plugin.description().entities;
        match entities {
            Some(entities) => {
                let invalid = |problem| PluginFailure::terminal(PluginReason::InvalidPackage, problem);
                entities.describe(kinds).map_err(invalid)?;
            }
            None if kinds.is_empty() => {}
            None => {
                return Err(PluginFailure::terminal(
                    PluginReason::InvalidConfig,
                    "the plugin has entities, but it is not granted a database: set spec.grants.database to true",
                ));
            }
        }
        let assets = ArtifactAssets::of(&artifact).await;
        Ok(Loaded { plugin, peers, artifact, secrets, assets })
    }

    /// Migrates the schema, then initialises.
    pub(crate) async fn initialise(&self, entry: &PluginEntry, loaded: &Loaded) -> Result<(), PluginFailure> {
        let migrations = self.materialiser.migrations(&loaded.artifact).await?;
        if entry.grants.database {
            let provisioned = self.provisioner.provision(&entry.plugin_id, call_deadline(entry)).await.map_err(provision::failure)?;
            if !migrations.is_empty() {
                self.schema_users.need(&entry.plugin_id, newest(&migrations)).await.map_err(provision::failure)?;
            }
            migrations::migrate(&self.sessions, &provisioned, &entry.plugin_id, &migrations).await?;
            self.admit_entities(entry, loaded).await?;
        } else if !migrations.is_empty() {
            return Err(PluginFailure::terminal(
                PluginReason::InvalidPackage,
                "the package has migrations, but the plugin is not granted a database: set spec.grants.database to true",
            ));
        }
        guarded("init", init_deadline(entry), MORE_TIME, loaded.plugin.init()).await?;
        self.define_rules(entry, loaded).await;
        Ok(())
    }

    /// Lets the plugin's role change entities, if it has kinds of them.
    async fn admit_entities(&self, entry: &PluginEntry, loaded: &Loaded) -> Result<(), PluginFailure> {
        if loaded.plugin.description().entities.is_empty() {
            return Ok(());
        }
        let (role, key) = self.provisioner.entity_owner(&entry.plugin_id);
        let admitted = match entry.plugin_id.as_str().parse() {
            Ok(plugin) => self.entities.admit_plugin(&plugin, &role, &key).await,
            Err(problem) => Err(problem.into()),
        };
        admitted.map_err(|problem| match problem.is_transient() {
            true => PluginFailure::transient(PluginReason::DatabaseUnavailable, problem.to_string()),
            false => {
                PluginFailure::transient(PluginReason::Internal, format!("the entities of the plugin could not be prepared: {problem}"))
            }
        })
    }

    /// Before the first call can come: else it would be refused for want of a rule that is granted to everybody. Never fails: rules
    /// are announced again once the plugin serves.
    async fn define_rules(&self, entry: &PluginEntry, loaded: &Loaded) {
        let (Some(identity), Some(offer)) = (&self.identity, loaded.plugin.offer()) else { return };
        if offer.access_rules.is_empty() {
            return;
        }
        match tokio::time::timeout(DEFINE_RULES, identity.rules_defined(&offer.access_rules)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => debug!(plugin = %entry.plugin_id, %problem, "the plugin's access rules could not be announced yet"),
            Err(_) => debug!(plugin = %entry.plugin_id, "the plugin's access rules could not be announced in time"),
        }
    }

    /// Tells it that all plugins are ready. What is to take the place of another version has to show that it can.
    pub(crate) async fn announce(&self, entry: &PluginEntry, loaded: &Loaded, replaces: bool) -> Result<(), PluginFailure> {
        guarded("after-plugins-ready", init_deadline(entry), MORE_TIME, loaded.plugin.after_plugins_ready()).await?;
        if replaces {
            probe(entry, loaded.plugin.as_ref()).await?;
            self.settle_schema(entry, &loaded.artifact).await;
        }
        Ok(())
    }

    /// This form is about to serve in the place of another: it needs of the schema what it needs, and no more. Before the next
    /// attempt can begin, which may need more.
    async fn settle_schema(&self, entry: &PluginEntry, artifact: &MaterialisedArtifact) {
        if !entry.grants.database {
            return;
        }
        let settle = async {
            let newest = newest(&self.materialiser.migrations(artifact).await?);
            self.schema_users.settle(&entry.plugin_id, newest).await.map_err(provision::failure)
        };
        if let Err(failure) = settle.await {
            debug!(plugin = %entry.plugin_id, %failure, "what the plugin needs of its schema could not be noted");
        }
    }

    /// A newer form has not come to serve, and this one goes on: what the newer one did to the schema is undone, unless
    /// another pod needs it. Never fails and always ends.
    pub(crate) async fn take_schema_back(&self, entry: &PluginEntry, artifact: &MaterialisedArtifact) {
        let plugin_id = &entry.plugin_id;
        let take_back = async {
            let migrations = self.materialiser.migrations(artifact).await?;
            self.schema_users.settle(plugin_id, newest(&migrations)).await.map_err(provision::failure)?;
            let provisioned = self.provisioner.provisioned(plugin_id, call_deadline(entry));
            migrations::take_back(&self.sessions, &provisioned, plugin_id, &migrations, &self.schema_users).await
        };
        if let Err(failure) = take_back.await {
            warn!(plugin = %plugin_id, %failure, "the schema stays as a version of the plugin left it that did not come up");
        }
    }

    /// The plugin is gone from this pod.
    pub(crate) async fn leave_schema(&self, plugin_id: &PluginId) {
        if let Err(error) = self.schema_users.leave(plugin_id).await {
            debug!(plugin = %plugin_id, %error, "that the plugin needs nothing of its schema any more could not be noted");
        }
    }

    /// What other plugins, and later everybody, can call.
    pub(crate) fn endpoint(&self, entry: &PluginEntry, loaded: &Loaded) -> Arc<Endpoint> {
        let metrics = self.metrics.calls_of(&entry.plugin_id);
        let quarantine = Quarantine::new(self.quarantines_changed.clone());
        let endpoint = Endpoint::new(entry.plugin_id.clone(), loaded.plugin.clone(), call_deadline(entry), metrics, quarantine);
        let assets = entry.grants.frontend.then(|| loaded.assets.clone()).flatten();
        Arc::new(endpoint.with_package(ServedPackage { name: entry.package.clone(), version: entry.version.clone(), assets }))
    }

    /// Waits for calls under way and shuts down. Never fails and always ends.
    pub(crate) async fn take_down(&self, plugin_id: &PluginId, endpoint: &Endpoint) {
        if !endpoint.drain(DRAIN).await {
            warn!(plugin = %plugin_id, "calls were still running {} s after the plugin had been taken out of service", DRAIN.as_secs());
        }
        self.shut_down(plugin_id, endpoint.plugin().as_ref()).await;
    }

    /// Tells a plugin that it is over.
    pub(crate) async fn shut_down(&self, plugin_id: &PluginId, plugin: &dyn Plugin) {
        match tokio::time::timeout(SHUTDOWN, AssertUnwindSafe(plugin.shutdown()).catch_unwind()).await {
            Ok(Ok(())) => debug!(plugin = %plugin_id, "shut down"),
            Ok(Err(_)) => warn!(plugin = %plugin_id, "the plugin's host panicked while it was shut down"),
            Err(_) => warn!(plugin = %plugin_id, "the plugin did not shut down within {} s", SHUTDOWN.as_secs()),
        }
    }

    /// Deletes unpacked artifacts that are no longer of use.
    pub(crate) async fn keep_only(&self, artifacts: Vec<Digest>) {
        let wanted: Vec<String> = artifacts.iter().map(Digest::hex).collect();
        self.materialiser.retain(move |name| wanted.iter().any(|wanted| wanted == name)).await;
    }

    fn services(&self, entry: &PluginEntry, config: Configuration, peers: Arc<Peers>) -> Result<PluginServices, PluginFailure> {
        let plugin_id = entry.plugin_id.clone();
        let has_database = entry.grants.database;
        let sql = has_database.then(|| {
            let login = self.provisioner.login(&plugin_id, call_deadline(entry));
            Arc::new(PluginSql::new(self.sessions.clone(), login, call_deadline(entry))) as _
        });
        let key_value = has_database.then(|| Arc::new(PluginKeyValue::new(self.database.clone(), plugin_id.clone())) as _);
        let settings = has_database.then(|| Arc::new(PluginSettings::new(self.database.clone(), plugin_id.clone())) as _);
        let jobs = has_database.then(|| Arc::new(PluginJobs::new(self.queues.clone(), plugin_id.clone())));
        let events = has_database.then(|| Arc::new(PluginEvents::new(self.events.clone(), plugin_id.clone())));
        let signals = Arc::new(PluginSignals::new(self.signals.clone(), plugin_id.clone()));
        let internal = |problem: EventError| PluginFailure::terminal(PluginReason::Internal, problem.to_string());
        let owner = plugin_id.as_str().parse().map_err(internal)?;
        let entities = has_database.then(|| {
            let login = self.provisioner.login(&plugin_id, call_deadline(entry));
            let changes = PluginChanges::new(self.sessions.clone(), login, call_deadline(entry));
            let (_, key) = self.provisioner.entity_owner(&plugin_id);
            Arc::new(ReactiveEntities::new(plugin_id.clone(), changes, self.entities.of_plugin(owner, key))) as _
        });
        let cache = plugin_id
            .as_str()
            .parse()
            .map_err(|problem: CacheError| PluginFailure::terminal(PluginReason::Internal, problem.to_string()))?;
        Ok(PluginServices {
            plugin_id,
            config: Arc::new(config.values),
            masker: config.masker,
            config_version: entry.config_version,
            grants: Arc::new(entry.grants.understood()),
            dependencies: Arc::new(BTreeMap::clone(&entry.dependencies)),
            key_value,
            settings,
            sql,
            jobs,
            events,
            entities,
            signals,
            cache: self.caches.scope(cache),
            peers,
        })
    }
}

/// Every critical probe has to be ok once.
async fn probe(entry: &PluginEntry, plugin: &dyn Plugin) -> Result<(), PluginFailure> {
    for ProbeDescription { name, .. } in plugin.description().probes.iter().filter(|probe| probe.critical) {
        let failed = |says: &str| {
            let message = format!("the critical probe '{name}' of the new version is not ok: {says}; the version before goes on");
            PluginFailure::transient(PluginReason::ProbeFailed, message)
        };
        let check = async { plugin.check(name).await.map_err(|failure| failed(&failure.to_string())) };
        let ProbeOutcome { ok, message } = guarded("a probe", call_deadline(entry) + GRACE, MORE_TIME, check).await?;
        if !ok {
            return Err(failed(message.as_deref().unwrap_or("it does not say why")));
        }
    }
    Ok(())
}

fn call_deadline(entry: &PluginEntry) -> Duration {
    Duration::from_millis(entry.grants.deadline_milliseconds)
}

fn init_deadline(entry: &PluginEntry) -> Duration {
    call_deadline(entry).saturating_mul(ACTIVATION_FACTOR).max(ACTIVATION_AT_LEAST) + GRACE
}

/// Runs something of a plugin's so that neither silence nor a panic gets any further.
async fn guarded<T>(
    what: &str,
    deadline: Duration,
    remedy: &str,
    call: impl Future<Output = Result<T, PluginFailure>>,
) -> Result<T, PluginFailure> {
    match tokio::time::timeout(deadline, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PluginFailure::transient(PluginReason::Internal, format!("the plugin's host panicked during {what}"))),
        Err(_) => Err(PluginFailure::transient(
            PluginReason::DeadlineExceeded,
            format!("{what} did not finish within {} ms: {remedy}", deadline.as_millis()),
        )),
    }
}
