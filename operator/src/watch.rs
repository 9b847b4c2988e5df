//! Watches of the API server.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::Resource;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::names;
use crate::telemetry::Metrics;

/// Objects of one page of a list: a large cluster must not make the operator large.
const PAGE: u32 = 100;

/// What to watch of a kind.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Only what the operator made.
pub(crate) fn owned() -> watcher::Config {
    everything().labels(&names::owned_selector())
}

/// Watches a kind for ever. A watch that breaks is told of, and taken up again with growing pauses;
/// it disturbs no other.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
    metrics: Metrics,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch(api, config)
        .default_backoff()
        .inspect_err(move |error| {
            metrics.watch_failed(kind);
            tracing::warn!(kind, %error, "the watch broke; taking it up again");
        })
        .filter(|event| futures::future::ready(event.is_ok()))
}

/// Removes what is not used, before a Deployment is kept in memory.
pub(crate) fn trim_deployment(deployment: &mut Deployment) {
    deployment.metadata.managed_fields = None;
    deployment.metadata.annotations = None;
    if let Some(spec) = &mut deployment.spec {
        spec.template.spec = None;
    }
}

/// Removes what no controller looks at.
pub(crate) fn trim_managed_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Whether every object has been seen once: nothing may be concluded from an object's absence
/// before. (`Store::wait_until_ready` is no help: of several tasks that wait, it wakes one.)
#[derive(Debug)]
pub(crate) struct FirstSync {
    missing: Mutex<BTreeSet<&'static str>>,
    done: CancellationToken,
}

impl FirstSync {
    /// Waits for these kinds.
    pub(crate) fn of(kinds: &[&'static str]) -> Self {
        Self { missing: Mutex::new(kinds.iter().copied().collect()), done: CancellationToken::new() }
    }

    /// Tells of an event of a kind, after its store has taken it.
    pub(crate) fn note<K>(&self, kind: &'static str, event: &Event<K>) {
        if matches!(event, Event::InitDone) {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.remove(kind);
            if missing.is_empty() {
                self.done.cancel();
            }
        }
    }

    /// Ends when all of them have been seen.
    pub(crate) async fn wait(&self) {
        self.done.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_woken_when_all_kinds_were_seen() {
        let sync = Arc::new(FirstSync::of(&["pods", "deployments"]));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let sync = sync.clone();
                tokio::spawn(async move { sync.wait().await })
            })
            .collect();
        sync.note::<Deployment>("deployments", &Event::InitDone);
        sync.note::<Deployment>("pods", &Event::Init);
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        sync.note::<Deployment>("pods", &Event::InitDone);
        for task in waiting {
            assert!(matches!(tokio::time::timeout(Duration::from_secs(5), task).await, Ok(Ok(()))));
        }
    }
}
