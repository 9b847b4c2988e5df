//! The task that owns the fleet: takes sets and commands, does what the plan says, and tells the
//! rest of the server what has become of it. It never waits for a plugin; each stage is a task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, info, warn};

use super::InForce;
use super::contributed_probe::contributed_probes;
use super::endings::Ending;
use super::fleet::Fleet;
use super::plan::{Action, plan};
use super::publisher::Publisher;
use super::secrets::SecretConfig;
use super::slot::{Form, Side, Stage};
use super::stages::{Loaded, Stages};
use super::tasks::{sleep_until, stage, with_all_others};
use crate::dispatch::{Endpoint, Route};
use crate::plugin::{MaterialisedArtifact, PluginFailure};
use crate::readiness::Probe;
use crate::secrets::SecretRevisions;
use crate::trace::{self, Attempt};

/// For old versions that are still being drained when everything else is down.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// How long a newer set waits for the one that the pod began with.
const BEGINNING: Duration = Duration::from_secs(10);

/// What others ask of the lifecycle, beside new sets.
#[derive(Debug)]
pub(super) enum Command {
    RetryAll,
    SecretsArrived,
    ArtifactStored(Digest),
    ShutDown,
}

/// From where it hears what is wanted.
pub(super) struct Inbox {
    pub(super) sets: watch::Receiver<InForce>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// None: there are no secrets to refer to.
    pub(super) secrets: Option<watch::Receiver<Option<Arc<SecretRevisions>>>>,
}

pub(super) struct Reconciler {
    pub(super) fleet: Fleet,
    pub(super) stages: Stages,
    secrets: Arc<SecretConfig>,
    publisher: Publisher,
    pub(super) attempts: BTreeMap<PluginId, InProgress>,
    pub(super) serving: BTreeMap<PluginId, Serving>,
    pub(super) running_stages: JoinSet<(PluginId, Event)>,
    /// Old versions that are being drained beside the new ones.
    pub(super) draining: TaskTracker,
    /// Until when the pod is busy with what it began with: a newer set, which may fail, waits for that.
    beginning: Option<Instant>,
    /// Everything is being taken down.
    pub(super) is_ending: bool,
    swept: Option<Digest>,
    /// The table does not show yet what has changed.
    routes_changed: bool,
    /// To be taken down as soon as the table no longer leads there.
    pub(super) farewells: Vec<Farewell>,
}

/// An attempt, as far as it is not in the fleet's state.
pub(super) struct InProgress {
    pub(super) entry: Arc<PluginEntry>,
    begun: Instant,
    pub(super) cancel: CancellationToken,
    pub(super) loaded: Option<Loaded>,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// Ends with it.
    pub(super) traced: Span,
}

pub(super) struct Serving {
    pub(super) entry: Arc<PluginEntry>,
    pub(super) artifact: MaterialisedArtifact,
    pub(super) endpoint: Arc<Endpoint>,
    probes: Vec<(String, Arc<dyn Probe>)>,
}

/// What has served, or could be called at least.
pub(super) enum Farewell {
    /// There is, or was before, another version of the plugin.
    Version(PluginId, Arc<Endpoint>),
    /// It is the plugin as such.
    Plugin(PluginId, Arc<Endpoint>),
}

/// How a stage ended.
pub(super) enum Event {
    Prepared(Result<Loaded, PluginFailure>),
    Initialised(Result<(), PluginFailure>),
    Announced(Result<(), PluginFailure>),
    Cancelled,
    TakenDown,
    /// What the attempt on this version did to the schema has been undone.
    Ended(Ending, String),
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
            beginning: None,
            is_ending: false,
            swept: None,
            routes_changed: false,
            farewells: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, inbox: Inbox) {
        let Inbox { mut sets, mut commands, mut secrets } = inbox;
        let mut shutting_down = false;
        while !(shutting_down && self.fleet.is_empty()) {
            let begun = Instant::now();
            let look_again = self.act();
            self.publish();
            let planning = begun.elapsed();
            self.sweep().await;
            self.look_at_beginning();
            let look_again = look_again.into_iter().chain(self.beginning).min();
            tokio::select! {
                Ok(()) = sets.changed(), if !shutting_down && self.beginning.is_none() => self.adopt(&sets.borrow_and_update().clone()),
                Some(revisions) = changed(&mut secrets), if !shutting_down => self.fleet.take_secrets(revisions, Instant::now()),
                command = commands.recv(), if !shutting_down => shutting_down = self.obey(command.as_ref()),
                Some(first) = self.running_stages.join_next() => {
                    for stage in with_all_others(first, &mut self.running_stages, planning).await {
                        match stage {
                            Ok((plugin_id, event)) => self.take(&plugin_id, event),
                            Err(error) => warn!(%error, "a stage of a plugin's life was lost"),
                        }
                    }
                }
                () = self.stages.quarantines_changed.notified() => self.look_at_quarantines(),
                () = sleep_until(look_again) => {}
            }
        }
        self.settle_routes();
        self.draining.close();
        if tokio::time::timeout(STRAGGLERS, self.draining.wait()).await.is_err() {
            warn!("some replaced plugins were still busy when the server ended");
        }
        self.publish();
    }

    /// Does what the plan says until it says nothing more; when to look again.
    fn act(&mut self) -> Option<Instant> {
        loop {
            for plugin_id in self.fleet.take_forgotten() {
                self.publisher.forget(&plugin_id, &self.stages.metrics);
            }
            // Before the next stages begin: what they do may be a call.
            self.settle_routes();
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
            Action::Prepare(id, form) => self.prepare(id, form, now),
            Action::Initialise(id) => {
                self.fleet.reach(&id, Stage::Initialising, now);
                self.bind(&id);
                self.spawn(id, "initialise", |stages, entry, loaded| async move {
                    Event::Initialised(stages.initialise(&entry, &loaded).await)
                });
            }
            Action::Announce(id) => {
                self.fleet.reach(&id, Stage::Announcing, now);
                let replaces = self.fleet.replaces(&id);
                self.spawn(id, "announce", move |stages, entry, loaded| async move {
                    Event::Announced(stages.announce(&entry, &loaded, replaces).await)
                });
            }
            Action::Activate(ids) => ids.into_iter().for_each(|id| self.activate(id)),
            Action::Cancel(id) => self.cancel(&id),
            Action::Reject(rejection) => self.reject(&rejection),
            Action::TakeDown(id) => self.take_down(id, now),
        }
    }

    fn look_at_beginning(&mut self) {
        let is_over = |until: &Instant| self.publisher.report().settled || *until <= Instant::now();
        self.beginning = self.beginning.filter(|until| !is_over(until));
    }

    fn adopt(&mut self, InForce { set, hash, is_first }: &InForce) {
        info!(revision = set.revision, plugins = set.plugins.len(), "working towards a new plugin set");
        for entry in &set.plugins {
            let unknown = entry.unknown_fields();
            if !unknown.is_empty() {
                let fields = unknown.join(", ");
                warn!(plugin = %entry.plugin_id, fields, "the plugin set is of a newer release; these fields have no effect in this one");
            }
        }
        let now = Instant::now();
        self.fleet.adopt(set, *hash, now);
        self.beginning = is_first.then(|| now + BEGINNING);
        self.routes_changed = true;
    }

    /// Whether this was the last command.
    fn obey(&mut self, command: Option<&Command>) -> bool {
        let now = Instant::now();
        match command {
            Some(Command::RetryAll) => self.fleet.retry(now, |_, _| true),
            Some(Command::SecretsArrived) => self.fleet.retry(now, |_, reason| reason == PluginReason::SecretConfigMissing),
            Some(Command::ArtifactStored(digest)) => {
                self.fleet.retry(now, |entry, reason| entry.digest == *digest && reason == PluginReason::ArtifactMissing);
            }
            Some(Command::ShutDown) | None => {
                self.is_ending = true;
                self.fleet.dissolve();
                self.routes_changed = true;
                return true;
            }
        }
        false
    }

    fn look_at_quarantines(&mut self) {
        for (plugin_id, serving) in &self.serving {
            let how = serving.endpoint.quarantined();
            let shown = how.clone();
            if !self.fleet.set_quarantined(plugin_id, how) {
                continue;
            }
            match shown {
                Some(how) => {
                    self.stages.metrics.quarantined(plugin_id);
                    warn!(plugin = %plugin_id, how, "calls to the plugin are refused for a while: they failed again and again");
                }
                None => info!(plugin = %plugin_id, "the plugin answers again"),
            }
        }
    }

    fn prepare(&mut self, plugin_id: PluginId, form: Form, now: Instant) {
        let Some(entry) = self.fleet.begin(&plugin_id, form, now) else { return };
        let cancel = CancellationToken::new();
        let traced = trace::activation(&plugin_id, &entry.version);
        let preparation = trace::stage(&traced, "prepare");
        let in_progress = InProgress { entry: entry.clone(), begun: now, cancel: cancel.clone(), loaded: None, endpoint: None, traced };
        self.attempts.insert(plugin_id.clone(), in_progress);
        let (stages, secrets) = (self.stages.clone(), self.secrets.clone());
        let prepare = async move {
            let prepared = match secrets.merged(&entry).await {
                Ok(config) => stages.prepare(&entry, config).await,
                Err(failure) => Err(failure),
            };
            Event::Prepared(prepared)
        };
        self.running_stages.spawn(stage(plugin_id, cancel, Box::pin(prepare.instrument(preparation)), Event::Prepared));
    }

    /// From now on it calls these incarnations of its dependencies and no others.
    fn bind(&self, plugin_id: &PluginId) {
        let Some(loaded) = self.attempts.get(plugin_id).and_then(|in_progress| in_progress.loaded.as_ref()) else { return };
        let endpoints = self.fleet.bindings(plugin_id).into_iter().filter_map(|(id, side)| {
            let endpoint = match side {
                Side::Attempt => self.attempts.get(&id)?.endpoint.clone()?,
                Side::Running => self.serving.get(&id)?.endpoint.clone(),
            };
            Some((id, endpoint))
        });
        loaded.peers.bind(endpoints);
    }

    fn spawn<Work>(&mut self, plugin_id: PluginId, name: &'static str, work: impl FnOnce(Stages, Arc<PluginEntry>, Loaded) -> Work)
    where
        Work: Future<Output = Event> + Send + 'static,
    {
        let Some((in_progress, loaded)) = self.attempts.get(&plugin_id).and_then(|attempt| Some((attempt, attempt.loaded.clone()?))) else {
            return self.fleet.abandon(&plugin_id);
        };
        let work = work(self.stages.clone(), in_progress.entry.clone(), loaded);
        let cancel = in_progress.cancel.clone();
        let work = work.instrument(trace::stage(&in_progress.traced, name));
        self.running_stages.spawn(stage(plugin_id, cancel, Box::pin(work), |failed| Event::Initialised(failed.map(|_| ()))));
    }

    fn activate(&mut self, plugin_id: PluginId) {
        let Some(InProgress { entry, begun, loaded: Some(loaded), endpoint: Some(endpoint), traced, .. }) =
            self.attempts.remove(&plugin_id)
        else {
            return self.fleet.abandon(&plugin_id);
        };
        self.fleet.activate(&plugin_id);
        let replaced = self.serving.remove(&plugin_id);
        trace::concluded(&traced, if replaced.is_some() { Attempt::Swapped } else { Attempt::Active });
        if let Some(replaced) = &replaced {
            self.remove_probes(replaced);
            self.stages.metrics.swapped(&plugin_id);
        }
        let probes = contributed_probes(&entry, endpoint.plugin());
        for (name, probe) in &probes {
            self.publisher.readiness().register(name, probe.clone());
        }
        self.serving.insert(plugin_id.clone(), Serving { entry: entry.clone(), artifact: loaded.artifact, endpoint, probes });
        self.routes_changed = true;
        self.stages.metrics.activation(&plugin_id, true);
        info!(plugin = %plugin_id, version = %entry.version, digest = %entry.digest, took_ms = begun.elapsed().as_millis(), "plugin is active");
        self.farewells.extend(replaced.map(|replaced| Farewell::Version(plugin_id, replaced.endpoint)));
    }

    fn take_down(&mut self, plugin_id: PluginId, now: Instant) {
        self.fleet.leave(&plugin_id, now);
        let Some(serving) = self.serving.remove(&plugin_id) else {
            self.fleet.left(&plugin_id);
            return;
        };
        self.remove_probes(&serving);
        self.routes_changed = true;
        info!(plugin = %plugin_id, "plugin is being taken down");
        self.farewells.push(Farewell::Plugin(plugin_id, serving.endpoint));
    }

    fn take(&mut self, plugin_id: &PluginId, event: Event) {
        let now = Instant::now();
        match event {
            Event::TakenDown => return self.fleet.left(plugin_id),
            Event::Ended(ending, version) => return self.conclude(plugin_id, ending, &version),
            _ => {}
        }
        if self.fleet.is_cancelled(plugin_id) || matches!(event, Event::Cancelled) {
            let was_initialised = matches!(event, Event::Initialised(Ok(())) | Event::Announced(_)) || self.has_endpoint(plugin_id);
            return self.end(plugin_id, Ending::Abandoned, was_initialised);
        }
        let Some(in_progress) = self.attempts.get_mut(plugin_id) else { return };
        match event {
            Event::Prepared(Ok(loaded)) => {
                let secrets = loaded.secrets.clone();
                in_progress.loaded = Some(loaded);
                self.fleet.configured(plugin_id, secrets);
                self.fleet.reach(plugin_id, Stage::Prepared, now);
            }
            Event::Initialised(Ok(())) => {
                in_progress.endpoint = in_progress.loaded.as_ref().map(|loaded| self.stages.endpoint(&in_progress.entry, loaded));
                self.fleet.reach(plugin_id, Stage::Initialised, now);
            }
            Event::Announced(Ok(())) => self.fleet.reach(plugin_id, Stage::Announced, now),
            Event::Prepared(Err(failure)) | Event::Initialised(Err(failure)) | Event::Announced(Err(failure)) => {
                let was_initialised = self.has_endpoint(plugin_id);
                self.end(plugin_id, Ending::Failed(failure), was_initialised);
            }
            Event::Cancelled | Event::TakenDown | Event::Ended(..) => {}
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

    /// Brings the table up to date, then takes down what it no longer leads to: it refuses calls as
    /// soon as it drains.
    fn settle_routes(&mut self) {
        if std::mem::take(&mut self.routes_changed) {
            let wanted = self.fleet.wanted().map(|id| (id.clone(), Route::NotServing));
            let serving = self.serving.iter().map(|(id, serving)| (id.clone(), Route::Serving(serving.endpoint.clone())));
            self.stages.table.replace(wanted.chain(serving).collect());
        }
        for farewell in std::mem::take(&mut self.farewells) {
            let stages = self.stages.clone();
            match farewell {
                Farewell::Version(plugin_id, endpoint) => {
                    self.draining.spawn(async move { stages.take_down(&plugin_id, &endpoint).await });
                }
                Farewell::Plugin(plugin_id, endpoint) => {
                    self.running_stages.spawn(async move {
                        stages.take_down(&plugin_id, &endpoint).await;
                        stages.leave_schema(&plugin_id).await;
                        stages.sessions.close_idle_of(&plugin_id);
                        (plugin_id, Event::TakenDown)
                    });
                }
            }
        }
    }

    fn publish(&mut self) {
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

/// The secrets, when they are others. Never, where there are none.
async fn changed(secrets: &mut Option<watch::Receiver<Option<Arc<SecretRevisions>>>>) -> Option<Arc<SecretRevisions>> {
    if let Some(receiver) = secrets
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    // Those who keep them have ended.
    *secrets = None;
    std::future::pending().await
}
