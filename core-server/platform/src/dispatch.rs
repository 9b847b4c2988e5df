//! Who answers a call to a plugin: one table, replaced as a whole when something changes, so that
//! a call neither waits for a lock nor ever sees half a change.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, RuleId};
use checkstack_calls::route::{self, Mount};
use checkstack_plugin_package::PluginId;
use futures::FutureExt as _;
use http::Method;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument as _, warn};

use crate::artifacts::ArtifactAssets;
use crate::identity::{Identity, Nobody};
use crate::metrics::{CallMetrics, CallOutcome};
use crate::plugin::{
    CallFailure, Description, JobOutcome, MAX_CALL_DEPTH, PeerPlugins, Plugin, PluginEvent, PluginRequest, PluginResponse, QueuedJob, Usage,
};
use crate::procedures::{self, Answer};
use crate::quarantine::{Admission, Ended, Quarantine, Refused};
use crate::trace::{self, Work};
use crate::turns::Turns;

/// A plugin watches its deadline itself and knows better what it was doing; this much later it is
/// given up from outside.
const GRACE: Duration = Duration::from_millis(250);

/// For versions that call this one and are being taken down as well, each within its own deadline.
const USERS: Duration = Duration::from_secs(20);

/// One version of a plugin that can be called.
pub(crate) struct Endpoint {
    plugin_id: PluginId,
    plugin: Arc<dyn Plugin>,
    deadline: Duration,
    calls: TaskTracker,
    /// Versions of other plugins that were bound to this one.
    users: TaskTracker,
    metrics: CallMetrics,
    quarantine: Quarantine,
    turns: Turns,
    /// None: a part of the server.
    package: Option<ServedPackage>,
    /// A part of the server.
    is_native: bool,
}

/// The package that a plugin comes from.
#[derive(Debug, Clone)]
pub(crate) struct ServedPackage {
    /// As npm calls it.
    pub(crate) name: String,
    pub(crate) version: String,
    /// Files for browsers, if it has any and may have them served.
    pub(crate) assets: Option<ArtifactAssets>,
}

/// Where calls to a plugin go.
#[derive(Clone)]
pub(crate) enum Route {
    /// It serves everybody.
    Serving(Arc<Endpoint>),
    /// It is known, but does not serve.
    NotServing,
}

/// All routes of this pod.
#[derive(Default)]
pub(crate) struct DispatchTable {
    routes: ArcSwap<BTreeMap<PluginId, Route>>,
    /// Parts of the server, which no set lists.
    native: OnceLock<BTreeMap<PluginId, Route>>,
    changed: watch::Sender<()>,
}

/// Why there is nobody to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No plugin has this id.
    Unknown,
    /// The plugin does not serve at the moment.
    NotServing,
}

/// A call that is about to be made. While it exists, the plugin is not shut down.
pub(crate) struct Call {
    endpoint: Arc<Endpoint>,
    _token: TaskTrackerToken,
}

impl DispatchTable {
    pub(crate) fn replace(&self, routes: BTreeMap<PluginId, Route>) {
        self.routes.store(Arc::new(routes));
        self.changed.send_replace(());
    }

    /// Tells when the routes are replaced, from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The plugins that serve, those of the server first.
    pub(crate) fn serving(&self) -> Vec<Arc<Endpoint>> {
        let routes = self.routes.load();
        let all = self.native.get().into_iter().flat_map(BTreeMap::values).chain(routes.values());
        let endpoint = |route: &Route| match route {
            Route::Serving(endpoint) => Some(endpoint.clone()),
            Route::NotServing => None,
        };
        all.filter_map(endpoint).collect()
    }

    /// The access rules that they define.
    pub(crate) fn access_rules(&self) -> BTreeMap<RuleId, AccessRule> {
        let serving = self.serving();
        serving.iter().filter_map(|endpoint| endpoint.plugin.offer()).flat_map(|offer| offer.access_rules.clone()).collect()
    }

    /// Adds the plugins that are a part of the server, once.
    pub(crate) fn add_native(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        let route = |endpoint: Endpoint| (endpoint.plugin_id.clone(), Route::Serving(Arc::new(endpoint)));
        // A server starts once.
        let _ = self.native.set(endpoints.into_iter().map(route).collect());
    }

    /// Whether it is a part of the server.
    pub(crate) fn is_native(&self, plugin_id: &PluginId) -> bool {
        self.native.get().is_some_and(|native| native.contains_key(plugin_id))
    }

    fn find(&self, plugin_id: &str) -> Option<Route> {
        let native = self.native.get().and_then(|native| native.get(plugin_id));
        native.cloned().or_else(|| self.routes.load().get(plugin_id).cloned())
    }

    /// Whether a call from outside has somewhere to go: cheap, and asked before anything is read.
    pub(crate) fn check(&self, plugin_id: &str) -> Result<(), NoRoute> {
        match self.find(plugin_id) {
            Some(Route::Serving(_)) => Ok(()),
            Some(Route::NotServing) => Err(NoRoute::NotServing),
            None => Err(NoRoute::Unknown),
        }
    }

    /// All that are known, those of the server included.
    pub(crate) fn plugin_ids(&self) -> BTreeSet<PluginId> {
        let routes = self.routes.load();
        self.native.get().into_iter().flat_map(BTreeMap::keys).chain(routes.keys()).cloned().collect()
    }

    /// What each plugin takes that serves.
    pub(crate) fn usage(&self) -> Vec<(PluginId, Usage)> {
        let routes = self.routes.load();
        let serving = routes.iter().filter_map(|(plugin_id, route)| match route {
            Route::Serving(endpoint) => Some((plugin_id.clone(), endpoint.plugin.usage())),
            Route::NotServing => None,
        });
        serving.collect()
    }

    /// For a call from outside.
    pub(crate) fn enter(&self, plugin_id: &str) -> Result<Call, NoRoute> {
        let find = || match self.find(plugin_id) {
            Some(Route::Serving(endpoint)) => Ok(endpoint),
            Some(Route::NotServing) => Err(NoRoute::NotServing),
            None => Err(NoRoute::Unknown),
        };
        Self::enter_found(find)
    }

    /// For something that lies in the package of this name.
    pub(crate) fn enter_package(&self, name: &str) -> Option<Call> {
        let is_named = |endpoint: &Arc<Endpoint>| endpoint.package().is_some_and(|package| package.name == name);
        Self::enter_found(|| self.serving().into_iter().find(is_named).ok_or(NoRoute::Unknown)).ok()
    }

    fn enter_found(find: impl Fn() -> Result<Arc<Endpoint>, NoRoute>) -> Result<Call, NoRoute> {
        loop {
            let endpoint = find()?;
            let token = endpoint.calls.token();
            // Closed between the look and the token: the table has changed since.
            if endpoint.calls.is_closed() {
                continue;
            }
            return Ok(Call { endpoint, _token: token });
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        plugin_id: PluginId,
        plugin: Arc<dyn Plugin>,
        deadline: Duration,
        metrics: CallMetrics,
        quarantine: Quarantine,
    ) -> Self {
        Self {
            plugin_id,
            plugin,
            deadline,
            calls: TaskTracker::new(),
            users: TaskTracker::new(),
            metrics,
            quarantine,
            turns: Turns::default(),
            package: None,
            is_native: false,
        }
    }

    /// The same, from this package.
    pub(crate) fn with_package(self, package: ServedPackage) -> Self {
        Self { package: Some(package), ..self }
    }

    /// For a part of the server. It has no quarantine: others would not be better off without it.
    pub(crate) fn native(plugin_id: PluginId, plugin: Arc<dyn Plugin>, deadline: Duration, metrics: CallMetrics) -> Self {
        Self { is_native: true, ..Self::new(plugin_id, plugin, deadline, metrics, Quarantine::new(Arc::default())) }
    }

    /// The same, with other turns.
    #[cfg(test)]
    pub(crate) fn with_turns(self, turns: Turns) -> Self {
        Self { turns, ..self }
    }

    /// Why it is not called at the moment.
    pub(crate) fn quarantined(&self) -> Option<String> {
        self.quarantine.why()
    }

    /// Whether it is a part of the server.
    pub(crate) fn is_native(&self) -> bool {
        self.is_native
    }

    /// The package that it comes from; a part of the server comes from none.
    pub(crate) fn package(&self) -> Option<&ServedPackage> {
        self.package.as_ref()
    }

    pub(crate) fn plugin_id(&self) -> &PluginId {
        &self.plugin_id
    }

    /// What the plugin contributes.
    pub(crate) fn description(&self) -> &Description {
        self.plugin.description()
    }

    pub(crate) fn plugin(&self) -> &Arc<dyn Plugin> {
        &self.plugin
    }

    /// Takes no more calls from outside, and waits for those under way and for the versions that were bound to this
    /// one, which may still need it to finish theirs. To be called when the table no longer leads here. False when some
    /// did not end in time.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        self.calls.close();
        self.users.close();
        let unused = tokio::time::timeout(USERS, self.users.wait()).await.is_ok();
        tokio::time::timeout(deadline, self.calls.wait()).await.is_ok() && unused
    }

    async fn call(&self, identity: &dyn Identity, mount: Mount, request: PluginRequest) -> Result<Answer, CallFailure> {
        if request.depth >= MAX_CALL_DEPTH {
            return self.refuse(CallFailure::TooDeep(self.plugin_id.clone()), Instant::now());
        }
        let begin = Instant::now();
        let Some(_turn) = self.turns.take().await else {
            return self.refuse(CallFailure::Overloaded(self.plugin_id.clone()), begin);
        };
        self.watched(Work::Request, procedures::answer(self, identity, mount, request), |answer| match answer {
            Answer::Whole(response) if response.status.is_server_error() => CallOutcome::ServerError,
            Answer::Whole(_) | Answer::Events(_) => CallOutcome::Answered,
        })
        .await
    }

    /// Something that nobody waits for.
    async fn work(&self, kind: Work, work: impl Future<Output = Result<JobOutcome, CallFailure>>) -> Result<JobOutcome, CallFailure> {
        self.watched(kind, work, |outcome| match outcome {
            JobOutcome::Done => CallOutcome::Answered,
            JobOutcome::Retry(_) | JobOutcome::Permanent(_) => CallOutcome::ServerError,
        })
        .await
    }

    /// Counts, times and bounds what the plugin does, unless it is in quarantine.
    async fn watched<T>(
        &self,
        kind: Work,
        work: impl Future<Output = Result<T, CallFailure>>,
        outcome: impl Fn(&T) -> CallOutcome,
    ) -> Result<T, CallFailure> {
        let begin = Instant::now();
        let admission = match self.admit(begin) {
            Ok(admission) => admission,
            Err(Refused { retry_after }) => {
                let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
                return self.refuse(CallFailure::Quarantined(self.plugin_id.clone(), seconds), begin);
            }
        };
        let _in_flight = self.metrics.begin();
        let span = trace::plugin(&self.plugin_id, kind);
        let work = AssertUnwindSafe(work).catch_unwind().instrument(span.clone());
        let result = match tokio::time::timeout(self.deadline + GRACE, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallFailure::Trapped(self.plugin_id.clone(), "its host panicked".into())),
            Err(_) => {
                Err(CallFailure::DeadlineExceeded(self.plugin_id.clone(), u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)))
            }
        };
        let end = Instant::now();
        if let Some(admission) = admission {
            admission.end(ended(&result), end, rand::random);
        }
        let outcome = result.as_ref().map_or_else(CallOutcome::from, outcome);
        trace::ended(&span, outcome);
        self.metrics.end(outcome, end - begin);
        result
    }

    /// None: it has no quarantine.
    fn admit(&self, now: Instant) -> Result<Option<Admission<'_>>, Refused> {
        if self.is_native { Ok(None) } else { self.quarantine.admit(now).map(Some) }
    }

    fn refuse<T>(&self, failure: CallFailure, begin: Instant) -> Result<T, CallFailure> {
        self.metrics.end(CallOutcome::from(&failure), begin.elapsed());
        Err(failure)
    }
}

fn ended<T>(result: &Result<T, CallFailure>) -> Ended<'_> {
    match result {
        Ok(_) => Ended::Answered,
        Err(CallFailure::Trapped(_, how) | CallFailure::InvalidAnswer(_, how)) => Ended::AtFault(how),
        Err(_) => Ended::Otherwise,
    }
}

impl Call {
    /// Whether the plugin offers a procedure there.
    pub(crate) fn leads_to_procedure(&self, mount: Mount, method: &Method, path: &str) -> bool {
        self.endpoint.plugin.offer().is_some_and(|offer| route::find(offer, mount, method, path).is_some())
    }

    /// The files for browsers of the version that is called.
    pub(crate) fn assets(&self) -> Option<&ArtifactAssets> {
        self.endpoint.package()?.assets.as_ref()
    }

    /// Whether the plugin is a part of the server.
    pub(crate) fn is_to_native(&self) -> bool {
        self.endpoint.is_native
    }

    /// `identity` says who sent it, where the request itself does not.
    pub(crate) async fn make(&self, identity: &dyn Identity, mount: Mount, request: PluginRequest) -> Result<Answer, CallFailure> {
        self.endpoint.call(identity, mount, request).await
    }

    /// Who is called.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Has a job done.
    pub(crate) async fn work(&self, job: QueuedJob) -> Result<JobOutcome, CallFailure> {
        self.endpoint.work(Work::Job, self.endpoint.plugin.work(job)).await
    }

    /// Tells it of an event.
    pub(crate) async fn listen(&self, event: PluginEvent) -> Result<JobOutcome, CallFailure> {
        self.endpoint.work(Work::Event, self.endpoint.plugin.listen(event)).await
    }
}

/// The dependencies of one version of a plugin: those versions that it was initialised with, for as long as it lives. So
/// a call of an old version never reaches a new one, and the other way round.
#[derive(Default)]
pub(crate) struct Peers {
    bound: OnceLock<BTreeMap<PluginId, BoundPeer>>,
}

struct BoundPeer {
    endpoint: Arc<Endpoint>,
    /// While it exists, the endpoint is not shut down.
    _token: TaskTrackerToken,
}

impl Peers {
    /// Names the versions, once, before anything is called.
    pub(crate) fn bind(&self, endpoints: impl IntoIterator<Item = (PluginId, Arc<Endpoint>)>) {
        let bound = endpoints.into_iter().map(|(plugin_id, endpoint)| {
            let token = endpoint.users.token();
            (plugin_id, BoundPeer { endpoint, _token: token })
        });
        // An attempt is initialised once.
        let _ = self.bound.set(bound.collect());
    }
}

#[async_trait]
impl PeerPlugins for Peers {
    async fn call(&self, target: &PluginId, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let Some(peer) = self.bound.get().and_then(|bound| bound.get(target)) else { return Err(CallFailure::NotRunning(target.clone())) };
        let correlation_id = request.correlation_id.clone();
        let call = Call { endpoint: peer.endpoint.clone(), _token: peer.endpoint.calls.token() };
        let result = match call.make(&Nobody, Mount::Rpc, request).await {
            Ok(Answer::Whole(response)) => Ok(response),
            Ok(Answer::Events(_)) => Err(CallFailure::InvalidAnswer(target.clone(), "a stream of events, which is not for plugins".into())),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result {
            warn!(plugin = %target, correlation_id, %failure, "a call from another plugin failed");
        }
        result
    }
}
