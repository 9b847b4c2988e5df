//! Who answers a call to a plugin: one table, replaced as a whole when something changes, so that
//! a call neither waits for a lock nor ever sees half a change.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use checkstack_plugin_package::PluginId;
use futures::FutureExt as _;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::warn;

use crate::metrics::{CallMetrics, CallOutcome};
use crate::plugin::{CallFailure, MAX_CALL_DEPTH, PeerPlugins, Plugin, PluginRequest, PluginResponse};

/// A plugin watches its deadline itself and knows better what it was doing; this much later it is
/// given up from outside.
const GRACE: Duration = Duration::from_millis(250);

/// One version of a plugin that can be called.
pub(crate) struct Endpoint {
    plugin_id: PluginId,
    plugin: Arc<dyn Plugin>,
    deadline: Duration,
    calls: TaskTracker,
    metrics: CallMetrics,
}

/// Where calls to a plugin go.
#[derive(Clone)]
pub(crate) enum Route {
    /// It serves everybody.
    Serving(Arc<Endpoint>),
    /// It is known, but does not serve. Once initialised it can be called by other plugins, which
    /// are on their way too and may depend on it.
    NotServing(Option<Arc<Endpoint>>),
}

/// All routes of this pod.
#[derive(Default)]
pub(crate) struct DispatchTable {
    routes: ArcSwap<BTreeMap<PluginId, Route>>,
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
    }

    /// Whether a call from outside has somewhere to go: cheap, and asked before anything is read.
    pub(crate) fn check(&self, plugin_id: &str) -> Result<(), NoRoute> {
        match self.routes.load().get(plugin_id) {
            Some(Route::Serving(_)) => Ok(()),
            Some(Route::NotServing(_)) => Err(NoRoute::NotServing),
            None => Err(NoRoute::Unknown),
        }
    }

    /// For a call from outside.
    pub(crate) fn enter(&self, plugin_id: &str) -> Result<Call, NoRoute> {
        self.enter_with(plugin_id, |route| match route {
            Route::Serving(endpoint) => Some(endpoint.clone()),
            Route::NotServing(_) => None,
        })
    }

    /// For a call from another plugin.
    fn enter_as_peer(&self, plugin_id: &PluginId) -> Result<Call, NoRoute> {
        self.enter_with(plugin_id.as_str(), |route| match route {
            Route::Serving(endpoint) => Some(endpoint.clone()),
            Route::NotServing(endpoint) => endpoint.clone(),
        })
    }

    fn enter_with(&self, plugin_id: &str, choose: impl Fn(&Route) -> Option<Arc<Endpoint>>) -> Result<Call, NoRoute> {
        loop {
            let endpoint = choose(self.routes.load().get(plugin_id).ok_or(NoRoute::Unknown)?).ok_or(NoRoute::NotServing)?;
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
    pub(crate) fn new(plugin_id: PluginId, plugin: Arc<dyn Plugin>, deadline: Duration, metrics: CallMetrics) -> Self {
        Self { plugin_id, plugin, deadline, calls: TaskTracker::new(), metrics }
    }

    pub(crate) fn plugin(&self) -> &Arc<dyn Plugin> {
        &self.plugin
    }

    /// Takes no more calls and waits for those under way. To be called when the table no longer
    /// leads here. False when some did not end in time.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        self.calls.close();
        tokio::time::timeout(deadline, self.calls.wait()).await.is_ok()
    }

    async fn call(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        if request.depth >= MAX_CALL_DEPTH {
            return Err(CallFailure::TooDeep(self.plugin_id.clone()));
        }
        let begin = Instant::now();
        let _in_flight = self.metrics.begin();
        let handle = AssertUnwindSafe(self.plugin.handle(request)).catch_unwind();
        let result = match tokio::time::timeout(self.deadline + GRACE, handle).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallFailure::Trapped(self.plugin_id.clone(), "its host panicked".into())),
            Err(_) => {
                Err(CallFailure::DeadlineExceeded(self.plugin_id.clone(), u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)))
            }
        };
        let outcome = match &result {
            Ok(response) if response.status.is_server_error() => CallOutcome::ServerError,
            Ok(_) => CallOutcome::Answered,
            Err(_) => CallOutcome::Failed,
        };
        self.metrics.end(outcome, begin.elapsed());
        result
    }
}

impl Call {
    pub(crate) async fn make(self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        self.endpoint.call(request).await
    }
}

/// The same table, as plugins see it.
pub(crate) struct Peers(pub(crate) Arc<DispatchTable>);

#[async_trait]
impl PeerPlugins for Peers {
    async fn call(&self, target: &PluginId, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let Ok(call) = self.0.enter_as_peer(target) else { return Err(CallFailure::NotRunning(target.clone())) };
        let correlation_id = request.correlation_id.clone();
        let result = call.make(request).await;
        if let Err(failure) = &result {
            warn!(plugin = %target, correlation_id, %failure, "a call from another plugin failed");
        }
        result
    }
}
