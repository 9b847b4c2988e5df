//! Keeps something running in this pod for each plugin that serves here: consumers of its jobs, subscriptions to events. They belong to
//! the plugin and not to one version of it: they go on while it is exchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use checkstack_jobs::HandlerError;
use checkstack_plugin_package::PluginId;
use futures::future::join_all;
use tokio::time::Instant;

use crate::dispatch::{Call, DispatchTable, Endpoint};

/// After something could not be begun.
const AGAIN: Duration = Duration::from_secs(5);
/// How long work waits for its plugin to serve here, before others get it.
const ABSENCE: Duration = Duration::from_secs(5);

/// What is kept running.
pub(crate) trait Attendance {
    /// One thing to be kept running. Two that differ in any way are two things.
    type Duty: Ord + Clone;
    /// The same, while it runs.
    type Running;

    /// What a plugin needs.
    fn duties(&self, endpoint: &Endpoint) -> Vec<Self::Duty>;

    /// Begins. None: it could not, and has said so.
    fn begin(&self, duty: &Self::Duty) -> impl Future<Output = Option<Self::Running>> + Send;

    /// Ends, within a bounded time.
    fn end(&self, running: Self::Running) -> impl Future<Output = ()> + Send;
}

/// Until it is dropped, what the plugins need that serve is running, and nothing else.
pub(crate) async fn attend<A: Attendance>(attendance: A, table: Arc<DispatchTable>) {
    let mut changes = table.changes();
    let mut running: BTreeMap<A::Duty, A::Running> = BTreeMap::new();
    loop {
        let wanted: BTreeSet<A::Duty> = table.serving().iter().flat_map(|endpoint| attendance.duties(endpoint)).collect();
        let gone = running.extract_if(.., |duty, _| !wanted.contains(duty));
        join_all(gone.map(|(_, running)| attendance.end(running)).collect::<Vec<_>>()).await;
        let mut all_run = true;
        for duty in wanted {
            if running.contains_key(&duty) {
                continue;
            }
            match attendance.begin(&duty).await {
                Some(begun) => drop(running.insert(duty, begun)),
                None => all_run = false,
            }
        }
        let pause = AGAIN.mul_f64(0.5 + rand::random::<f64>());
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause), if !all_run => {}
        }
    }
}

/// For work that has come to this pod because the plugin served here: it may be being exchanged at the moment. What waits for work must
/// not keep the table alive, since the plugins in it keep what brings the work.
pub(crate) async fn enter(table: &Weak<DispatchTable>, plugin_id: &PluginId) -> Result<Call, HandlerError> {
    let Some(table) = table.upgrade() else { return Err(HandlerError::Retry("the server is ending".to_owned())) };
    let mut changes = table.changes();
    let end = Instant::now() + ABSENCE;
    loop {
        if let Ok(call) = table.enter(plugin_id.as_str()) {
            return Ok(call);
        }
        match tokio::time::timeout_at(end, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(HandlerError::Retry(format!("plugin '{plugin_id}' does not serve here"))),
        }
    }
}
