//! The life of plugins in this pod: from the set that an operator has sent to plugins that serve.
//!
//! ```text
//!  set ──► fleet (state) ──plan──► actions ──► stages (tasks) ──events──► fleet …
//!                 └────────────────────────► dispatch table, report, readiness
//! ```
//!
//! [`Lifecycle`] is the handle; one task owns everything behind it.

mod contributed_probe;
mod critical;
mod endings;
mod fleet;
mod obstacles;
mod plan;
mod publisher;
mod reconciler;
mod report;
mod secrets;
mod slot;
mod stages;
mod swap;
mod tasks;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_control_api::report::PodReport;
use checkstack_control_api::{SealingKey, SecretValues};
use checkstack_plugin_package::{Digest, PluginId, PluginSet};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use critical::OnceReady;
use fleet::Fleet;
use publisher::Publisher;
use reconciler::{Command, Inbox, Reconciler};
use secrets::SecretConfig;
pub(crate) use stages::Stages;

use crate::readiness::ReadinessRegistry;
use crate::secrets::Secrets;

/// Commands that wait to be taken; further ones are told that it is busy.
const COMMANDS: usize = 16;

/// What the lifecycle has to know about its surroundings.
pub(crate) struct LifecycleSettings {
    pub(crate) instance: String,
    pub(crate) pod: String,
    pub(crate) server_version: String,
    /// Files with secret configuration values.
    pub(crate) plugin_config_directory: PathBuf,
    pub(crate) sealing_key: SealingKey,
    /// To which configurations may refer.
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
}

/// The plugins of this pod.
pub(crate) struct Lifecycle {
    instance: String,
    accepted: Mutex<(u64, Digest)>,
    sets: watch::Sender<InForce>,
    commands: mpsc::Sender<Command>,
    reports: watch::Receiver<Arc<PodReport>>,
    secrets: Arc<SecretConfig>,
    task: Mutex<Option<JoinHandle<()>>>,
    ended: CancellationToken,
}

/// The newest set.
#[derive(Clone)]
struct InForce {
    set: Arc<PluginSet>,
    hash: Digest,
    /// What the pod starts with: it is known to work, and newer sets wait for it.
    is_first: bool,
}

/// What became of a set that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is what this pod works towards from now on.
    New,
    /// It was already.
    Already,
}

/// Why a set was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("the plugin set is for instance '{found}', this is '{expected}'")]
    WrongInstance { found: String, expected: String },
    #[error("the plugin set has revision {offered}, but this pod has revision {current} already")]
    Stale { offered: u64, current: u64 },
    #[error("the plugin set has revision {0}, under which this pod has a set with other content")]
    Conflict(u64),
    #[error("the plugin set cannot be hashed: {0}")]
    Unhashable(String),
}

impl Lifecycle {
    /// Begins with no plugins.
    pub(crate) fn start(settings: LifecycleSettings, stages: Stages, readiness: ReadinessRegistry, once_ready: OnceReady) -> Self {
        let fleet = Fleet::new(&settings.instance);
        let empty = InForce { set: Arc::new(PluginSet::empty(&settings.instance)), hash: fleet.set_hash, is_first: false };
        let accepted = Mutex::new((0, empty.hash));
        let (sets, sets_receiver) = watch::channel(empty);
        let (commands, commands_receiver) = mpsc::channel(COMMANDS);
        let publisher = Publisher::new(settings.pod, settings.server_version, &fleet, readiness, once_ready);
        let reports = publisher.reports();
        let revisions = settings.secrets.as_ref().map(|secrets| {
            let mut revisions = secrets.revisions();
            revisions.mark_changed();
            revisions
        });
        let metrics = stages.metrics.clone();
        let secrets = SecretConfig::new(settings.plugin_config_directory, settings.sealing_key, settings.secrets, metrics);
        let secrets = Arc::new(secrets);
        let reconciler = Reconciler::new(fleet, stages, secrets.clone(), publisher);
        let ended = CancellationToken::new();
        let when_it_ends = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _when_it_ends = when_it_ends;
            reconciler.run(Inbox { sets: sets_receiver, commands: commands_receiver, secrets: revisions }).await;
        });
        Self { instance: settings.instance, accepted, sets, commands, reports, secrets, task: Mutex::new(Some(task)), ended }
    }

    /// Begins with a set that the pod found when it started. Its revision.
    pub(crate) fn begin_with(&self, set: PluginSet) -> Result<u64, Rejected> {
        let revision = set.revision;
        self.accept(set, SecretValues::default(), true).map(|_| revision)
    }

    /// Offers a set, with the secret values that belong to it. A newer one supersedes what is being
    /// done for an older one, but for the one that the pod began with.
    pub(crate) fn offer(&self, set: PluginSet, values: SecretValues) -> Result<Accepted, Rejected> {
        self.accept(set, values, false)
    }

    fn accept(&self, set: PluginSet, values: SecretValues, is_first: bool) -> Result<Accepted, Rejected> {
        if set.instance != self.instance {
            return Err(Rejected::WrongInstance { found: set.instance, expected: self.instance.clone() });
        }
        let hash = set.hash().map_err(|error| Rejected::Unhashable(error.to_string()))?;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let (revision, accepted_hash) = *accepted;
        match set.revision.cmp(&revision) {
            std::cmp::Ordering::Less => return Err(Rejected::Stale { offered: set.revision, current: revision }),
            std::cmp::Ordering::Equal if hash != accepted_hash => return Err(Rejected::Conflict(revision)),
            std::cmp::Ordering::Equal => {
                self.secrets.deliver(values);
                self.command(Command::SecretsArrived);
                return Ok(Accepted::Already);
            }
            std::cmp::Ordering::Greater => {}
        }
        *accepted = (set.revision, hash);
        self.secrets.deliver(values);
        self.sets.send_replace(InForce { set: Arc::new(set), hash, is_first });
        Ok(Accepted::New)
    }

    /// Tries everything that failed again at once.
    pub(crate) fn retry_now(&self) {
        self.command(Command::RetryAll);
    }

    /// An artifact has come into the store.
    pub(crate) fn artifact_stored(&self, digest: Digest) {
        self.command(Command::ArtifactStored(digest));
    }

    /// What the pod says about its plugins.
    pub(crate) fn report(&self) -> Arc<PodReport> {
        self.reports.borrow().clone()
    }

    /// Whether this pod runs the plugin, is to run it, or is still taking it down.
    pub(crate) fn has(&self, plugin_id: &PluginId) -> bool {
        let in_set = self.sets.borrow().set.plugin(plugin_id.as_str()).is_some();
        in_set || self.report().plugins.iter().any(|plugin| plugin.plugin_id == *plugin_id)
    }

    /// Waits until the rest of the server knows which plugins the set of a revision has, or a newer one.
    /// False if that takes longer.
    pub(crate) async fn known(&self, revision: u64, deadline: Duration) -> bool {
        self.reports_until(deadline, |report| report.revision >= revision).await
    }

    /// Waits until all that can be done for the set of a revision has been done, or a newer one has come. False
    /// if that takes longer.
    pub(crate) async fn settled(&self, revision: u64, deadline: Duration) -> bool {
        self.reports_until(deadline, |report| report.revision > revision || (report.revision == revision && report.settled)).await
    }

    async fn reports_until(&self, deadline: Duration, condition: impl Fn(&PodReport) -> bool) -> bool {
        let mut reports = self.reports.clone();
        let reached = reports.wait_for(|report| condition(report));
        matches!(tokio::time::timeout(deadline, reached).await, Ok(Ok(_)))
    }

    /// Waits until the task that owns the plugins is no more: after [`Self::shut_down`], or by a fault
    /// of its own.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes all plugins down, in reverse order. Calls must have ended before, or be drained here.
    pub(crate) async fn shut_down(&self) {
        self.command(Command::ShutDown);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            warn!(%error, "the plugins were not shut down in order");
        }
    }

    fn command(&self, command: Command) {
        // Full: it has enough to do, and retries by itself soon.
        if self.commands.try_send(command).is_err() {
            warn!("a command to the plugin lifecycle was dropped: too many at once");
        }
    }
}
