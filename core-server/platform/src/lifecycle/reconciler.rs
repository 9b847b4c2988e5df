//! The task that owns the fleet: takes sets and commands, does what the plan says, and tells the
//! rest of the server what has become of it. It never waits for a plugin; each stage is a task.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId};
use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::InForce;
use super::contributed_probe::contributed_probes;
use super::fleet::{Fleet, Stage};
use super::plan::{Action, plan};
use super::publisher::Publisher;
use super::secrets::SecretConfig;
use super::stages::{Loaded, Stages};
use crate::dispatch::{Endpoint, Route};
use crate::plugin::PluginFailure;
use crate::readiness::Probe;

/// For old versions that are still being drained when everything else is down.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// What others ask of the lifecycle, beside new sets.
#[derive(Debug)]
pub(super) enum Command {
    RetryAll,
    SecretsArrived,
    ArtifactStored(Digest),
    ShutDown,
}

pub(super) struct Reconciler {
    fleet: Fleet,
    stages: Stages,
    secrets: Arc<SecretConfig>,
    publisher: Publisher,
    attempts: BTreeMap<PluginId, InProgress>,
    serving: BTreeMap<PluginId, Serving>,
    running_stages: JoinSet<(PluginId, Event)>,
    /// Old versions that are being drained beside the new ones.
    draining: TaskTracker,
    swept: Option<Digest>,
}

/// An attempt, as far as it is not in the fleet's state.
struct InProgress {
    entry: Arc<PluginEntry>,
    begun: Instant,
    cancel: CancellationToken,
    loaded: Option<Loaded>,
    endpoint: Option<Arc<Endpoint>>,
}

struct Serving {
    endpoint: Arc<Endpoint>,
    probes: Vec<(String, Arc<dyn Probe>)>,
}

/// How a stage ended.
enum Event {
    Prepared(Result<Loaded, PluginFailure>),
    Initialised(Result<(), PluginFailure>),
    Announced(Result<(), PluginFailure>),
    Cancelled,
    TakenDown,
}

impl Reconciler {
    pub(super) fn new(fleet: Fleet, stages: Stages, secrets: Arc<SecretConfig>, publisher: Publisher) -> Self {
        Self {
            fleet,
            stages,
            secrets,
            publisher,
            attempts: BTreeMap::new(),
            serving: BTreeMap::new(),
            running_stages: JoinSet::new(),
            draining: TaskTracker::new(),
            swept: None,
        }
    }

    pub(super) async fn run(mut self, mut sets: watch::Receiver<InForce>, mut commands: mpsc::Receiver<Command>) {
        let mut shutting_down = false;
        while !(shutting_down && self.fleet.is_empty()) {
            let look_again = self.act();
            self.publish();
            self.sweep().await;
            tokio::select! {
                Ok(()) = sets.changed(), if !shutting_down => {
                    let InForce { set, hash } = sets.borrow_and_update().clone();
                    info!(revision = set.revision, plugins = set.plugins.len(), "working towards a new plugin set");
                    self.fleet.adopt(&set, hash, Instant::now());
                }
                command = commands.recv(), if !shutting_down => match command {
                    Some(Command::ShutDown) | None => {
                        shutting_down = true;
                        self.fleet.dissolve();
                    }
                    Some(command) => self.obey(&command),
                },
                Some(ended) = self.running_stages.join_next(), if !self.running_stages.is_empty() => match ended {
                    Ok((plugin_id, event)) => self.take(&plugin_id, event),
                    Err(error) => warn!(%error, "a stage of a plugin's life was lost"),
                },
                () = sleep_until(look_again) => {}
            }
        }
        self.draining.close();
        if tokio::time::timeout(STRAGGLERS, self.draining.wait()).await.is_err() {
            warn!("some replaced plugins were still busy when the server ended");
        }
        self.publish();
    }

    /// Does what the plan says until it says nothing more; when to look again.
    fn act(&mut self) -> Option<Instant> {
        loop {
            let plan = plan(&self.fleet, Instant::now());
            if plan.actions.is_empty() {
                return plan.look_again;
            }
            for action in plan.actions {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        let now = Instant::now();
        match action {
            Action::Prepare(id) => self.prepare(id, now),
            Action::Initialise(id) => {
                self.fleet.reach(&id, Stage::Initialising, now);
                self.spawn(id, |stages, entry, loaded| async move { Event::Initialised(stages.initialise(&entry, &loaded).await) });
            }
            Action::Announce(id) => {
                self.fleet.reach(&id, Stage::Announcing, now);
                self.spawn(id, |stages, entry, loaded| async move { Event::Announced(stages.announce(&entry, &loaded).await) });
            }
            Action::Activate(id) => self.activate(id),
            Action::Cancel(id) => self.cancel(id),
            Action::TakeDown(id) => self.take_down(id, now),
        }
    }

    fn obey(&mut self, command: &Command) {
        let now = Instant::now();
        match command {
            Command::RetryAll => self.fleet.retry(now, |_, _| true),
            Command::SecretsArrived => self.fleet.retry(now, |_, reason| reason == PluginReason::SecretConfigMissing),
            Command::ArtifactStored(digest) => {
                self.fleet.retry(now, |entry, reason| entry.digest == *digest && reason == PluginReason::ArtifactMissing);
            }
            Command::ShutDown => {}
        }
    }

    fn prepare(&mut self, plugin_id: PluginId, now: Instant) {
        let Some(entry) = self.fleet.begin(&plugin_id, now) else { return };
        let cancel = CancellationToken::new();
        let in_progress = InProgress { entry: entry.clone(), begun: now, cancel: cancel.clone(), loaded: None, endpoint: None };
        self.attempts.insert(plugin_id.clone(), in_progress);
        let (stages, secrets) = (self.stages.clone(), self.secrets.clone());
        let prepare = async move {
            let prepared = match secrets.merged(&entry).await {
                Ok(config) => stages.prepare(&entry, config).await,
                Err(failure) => Err(failure),
            };
            Event::Prepared(prepared)
        };
        self.running_stages.spawn(stage(plugin_id, cancel, Box::pin(prepare), Event::Prepared));
    }

    fn spawn<Work>(&mut self, plugin_id: PluginId, work: impl FnOnce(Stages, Arc<PluginEntry>, Loaded) -> Work)
    where
        Work: Future<Output = Event> + Send + 'static,
    {
        let Some((in_progress, loaded)) = self.attempts.get(&plugin_id).and_then(|attempt| Some((attempt, attempt.loaded.clone()?))) else {
            return self.fleet.abandon(&plugin_id);
        };
        let work = work(self.stages.clone(), in_progress.entry.clone(), loaded);
        let cancel = in_progress.cancel.clone();
        self.running_stages.spawn(stage(plugin_id, cancel, Box::pin(work), |failed| Event::Initialised(failed.map(|_| ()))));
    }

    fn activate(&mut self, plugin_id: PluginId) {
        let Some(InProgress { entry, begun, endpoint: Some(endpoint), .. }) = self.attempts.remove(&plugin_id) else {
            return self.fleet.abandon(&plugin_id);
        };
        self.fleet.activate(&plugin_id);
        let replaced = self.serving.remove(&plugin_id);
        if let Some(replaced) = &replaced {
            self.remove_probes(replaced);
        }
        let probes = contributed_probes(&entry, endpoint.plugin());
        for (name, probe) in &probes {
            self.publisher.readiness().register(name, probe.clone());
        }
        self.serving.insert(plugin_id.clone(), Serving { endpoint, probes });
        // The table first: the old version refuses calls as soon as it drains.
        self.publish_routes();
        self.stages.metrics.activation(&plugin_id, true);
        info!(plugin = %plugin_id, version = %entry.version, digest = %entry.digest, took_ms = begun.elapsed().as_millis(), "plugin is active");
        if let Some(replaced) = replaced {
            let stages = self.stages.clone();
            self.draining.spawn(async move { stages.take_down(&plugin_id, &replaced.endpoint).await });
        }
    }

    /// Ends an attempt: at once where nothing of it runs, else as soon as its stage has noticed.
    fn cancel(&mut self, plugin_id: PluginId) {
        match self.fleet.stage(&plugin_id) {
            Some(Stage::Preparing | Stage::Initialising | Stage::Announcing) => {
                self.fleet.cancel(&plugin_id);
                if let Some(in_progress) = self.attempts.get(&plugin_id) {
                    in_progress.cancel.cancel();
                }
            }
            stage => {
                self.discard(&plugin_id, stage >= Some(Stage::Initialised));
                self.fleet.abandon(&plugin_id);
            }
        }
    }

    fn take_down(&mut self, plugin_id: PluginId, now: Instant) {
        self.fleet.leave(&plugin_id, now);
        let Some(serving) = self.serving.remove(&plugin_id) else {
            self.fleet.left(&plugin_id);
            return;
        };
        self.remove_probes(&serving);
        self.publish_routes();
        info!(plugin = %plugin_id, "plugin is being taken down");
        let stages = self.stages.clone();
        self.running_stages.spawn(async move {
            stages.take_down(&plugin_id, &serving.endpoint).await;
            stages.sessions.close_idle_of(&plugin_id);
            (plugin_id, Event::TakenDown)
        });
    }

    /// Forgets an attempt. What has been initialised is told.
    fn discard(&mut self, plugin_id: &PluginId, was_initialised: bool) {
        let Some(in_progress) = self.attempts.remove(plugin_id) else { return };
        self.publish_routes();
        if let (true, Some(loaded)) = (was_initialised, in_progress.loaded) {
            let (stages, plugin_id) = (self.stages.clone(), plugin_id.clone());
            match in_progress.endpoint {
                // Others may have called it already.
                Some(endpoint) => self.draining.spawn(async move { stages.take_down(&plugin_id, &endpoint).await }),
                None => self.draining.spawn(async move { stages.shut_down(&plugin_id, loaded.plugin.as_ref()).await }),
            };
        }
    }

    fn take(&mut self, plugin_id: &PluginId, event: Event) {
        let now = Instant::now();
        if matches!(event, Event::TakenDown) {
            self.fleet.left(plugin_id);
            if self.fleet.is_free_of(plugin_id) {
                self.stages.metrics.forget(plugin_id);
            }
            return;
        }
        if self.fleet.is_cancelled(plugin_id) || matches!(event, Event::Cancelled) {
            self.discard(plugin_id, matches!(event, Event::Initialised(Ok(())) | Event::Announced(_)) || self.has_endpoint(plugin_id));
            self.fleet.abandon(plugin_id);
            return;
        }
        let Some(in_progress) = self.attempts.get_mut(plugin_id) else { return };
        match event {
            Event::Prepared(Ok(loaded)) => {
                in_progress.loaded = Some(loaded);
                self.fleet.reach(plugin_id, Stage::Prepared, now);
            }
            Event::Initialised(Ok(())) => {
                in_progress.endpoint = in_progress.loaded.as_ref().map(|loaded| self.stages.endpoint(&in_progress.entry, loaded));
                self.fleet.reach(plugin_id, Stage::Initialised, now);
                self.publish_routes();
            }
            Event::Announced(Ok(())) => self.fleet.reach(plugin_id, Stage::Announced, now),
            Event::Prepared(Err(failure)) | Event::Initialised(Err(failure)) | Event::Announced(Err(failure)) => {
                self.fail(plugin_id, failure, now);
            }
            Event::Cancelled | Event::TakenDown => {}
        }
    }

    fn fail(&mut self, plugin_id: &PluginId, failure: PluginFailure, now: Instant) {
        let was_initialised = self.has_endpoint(plugin_id);
        let version = self.attempts.get(plugin_id).map(|in_progress| in_progress.entry.version.clone()).unwrap_or_default();
        self.discard(plugin_id, was_initialised);
        self.stages.metrics.activation(plugin_id, false);
        let (reason, transient, message) = (failure.reason, failure.transient, failure.message.clone());
        if self.fleet.fail(plugin_id, failure, now, rand::random()) {
            warn!(plugin = %plugin_id, version, ?reason, transient, message, "plugin did not come up");
        }
    }

    fn has_endpoint(&self, plugin_id: &PluginId) -> bool {
        self.attempts.get(plugin_id).is_some_and(|in_progress| in_progress.endpoint.is_some())
    }

    fn remove_probes(&self, serving: &Serving) {
        for (name, probe) in &serving.probes {
            self.publisher.readiness().remove(name, probe);
        }
    }

    fn publish_routes(&self) {
        let starting = |id: &PluginId| self.attempts.get(id).and_then(|in_progress| in_progress.endpoint.clone());
        let wanted = self.fleet.wanted().map(|id| (id.clone(), Route::NotServing(starting(id))));
        let serving = self.serving.iter().map(|(id, serving)| (id.clone(), Route::Serving(serving.endpoint.clone())));
        self.stages.table.replace(wanted.chain(serving).collect());
    }

    fn publish(&mut self) {
        self.publish_routes();
        self.publisher.publish(&self.fleet, &self.stages.metrics);
    }

    /// Once for each set, deletes unpacked artifacts that nothing needs any more. Here and not in a
    /// task, so that no attempt begins meanwhile that wants one of them. Before the first set it is
    /// not known what the init container has unpacked for it.
    async fn sweep(&mut self) {
        let report = self.publisher.report();
        if report.settled && report.revision > 0 && self.swept != Some(report.set_hash) {
            self.swept = Some(report.set_hash);
            self.stages.keep_only(self.fleet.artifacts().collect()).await;
        }
    }
}

/// Runs a stage until it ends or is cancelled. A panic of the platform itself becomes a failure of
/// this plugin, so that the others go on.
async fn stage(
    plugin_id: PluginId,
    cancel: CancellationToken,
    work: impl Future<Output = Event>,
    failed: impl FnOnce(Result<Loaded, PluginFailure>) -> Event,
) -> (PluginId, Event) {
    let event = tokio::select! {
        biased;
        () = cancel.cancelled() => Event::Cancelled,
        event = AssertUnwindSafe(work).catch_unwind() => event.unwrap_or_else(|_| {
            failed(Err(PluginFailure::transient(PluginReason::Internal, "the server panicked while it brought the plugin up")))
        }),
    };
    (plugin_id, event)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
