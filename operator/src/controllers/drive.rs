//! Runs a controller, and decides what becomes of a reconciliation that failed.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Resource;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Error as ControllerError};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::telemetry::{ControllerName, ErrorClass};

/// After another writer was quicker: until the watch has brought what it wrote.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// Runs a controller to its end.
pub(super) async fn drive<K, Reconcile, Reconciling, ReconcileError>(
    controller: Controller<K>,
    name: ControllerName,
    reconcile: Reconcile,
    class: fn(&ReconcileError) -> ErrorClass,
    context: Arc<Context>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    Reconcile: Fn(Arc<K>, Arc<Context>) -> Reconciling + Clone + Send + Sync + 'static,
    Reconciling: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
    ReconcileError: std::error::Error + Send + 'static,
{
    let reconcile = move |object: Arc<K>, context: Arc<Context>| {
        let reconcile = reconcile.clone();
        async move {
            // What is not there may only not have been seen yet.
            context.seen.wait().await;
            let _running = context.metrics.reconcile_started(name);
            let began = Instant::now();
            let result = reconcile(object.clone(), context.clone()).await;
            context.metrics.reconcile_ended(name, result.as_ref().err().map(class), began.elapsed());
            if result.is_ok() {
                context.failures.succeeded(&failure_key(name, &*object));
            }
            result
        }
    };
    let error_policy = move |object: Arc<K>, error: &ReconcileError, context: Arc<Context>| match class(error) {
        ErrorClass::Conflict => Action::requeue(CONFLICT_PAUSE),
        ErrorClass::Transient => Action::requeue(context.failures.failed(failure_key(name, &*object), context.hash(&error.to_string()))),
        ErrorClass::Terminal => Action::await_change(),
    };
    controller
        .run(reconcile, error_policy, context)
        .for_each(|result| {
            match result {
                Ok(_) | Err(ControllerError::ObjectNotFound(_)) => {}
                Err(ControllerError::ReconcilerFailed(error, object)) if class(&error) == ErrorClass::Conflict => {
                    tracing::debug!(%object, %error, "another writer was quicker; trying again");
                }
                Err(error) => tracing::warn!(controller = name.as_str(), %error, "reconciliation failed"),
            }
            futures::future::ready(())
        })
        .await;
}

/// What failures of an object are counted under.
pub(super) fn failure_key<K: Resource>(name: ControllerName, object: &K) -> String {
    format!("{}/{}", name.as_str(), object.meta().uid.as_deref().unwrap_or_default())
}
