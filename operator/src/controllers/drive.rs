//! Runs a controller, and decides what becomes of a reconciliation that failed.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Resource;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Error as ControllerError};
use rand::RngExt;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::telemetry::{ControllerName, ErrorClass};

/// After another writer was quicker: until the watch has brought what it wrote.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);
/// After a failure that only a change helps against: the change may be one that nobody tells of, as
/// of a policy that made the API server refuse something.
const TERMINAL_PAUSE: Duration = Duration::from_secs(600);

/// What is particular to a kind of object.
pub(super) struct Kind<K, Reconcile, ReconcileError> {
    pub(super) name: ControllerName,
    pub(super) reconcile: Reconcile,
    pub(super) class: fn(&ReconcileError) -> ErrorClass,
    /// Whether something may be remembered of the object.
    pub(super) exists: fn(&Context, &K) -> bool,
}

/// Runs a controller to its end.
pub(super) async fn drive<K, Reconcile, Reconciling, ReconcileError>(
    controller: Controller<K>,
    kind: Kind<K, Reconcile, ReconcileError>,
    context: Arc<Context>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    Reconcile: Fn(Arc<K>, Arc<Context>) -> Reconciling + Clone + Send + Sync + 'static,
    Reconciling: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
    ReconcileError: std::error::Error + Send + 'static,
{
    let Kind { name, reconcile, class, exists } = kind;
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
            if !exists(&context, &object) {
                context.forget_gone();
            }
            result
        }
    };
    let error_policy = move |object: Arc<K>, error: &ReconcileError, context: Arc<Context>| {
        let backoff = || context.failures.failed(failure_key(name, &*object), context.hash(&error.to_string()));
        Action::requeue(pause(class(error), backoff))
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

/// The time to the next try.
fn pause(class: ErrorClass, backoff: impl FnOnce() -> Duration) -> Duration {
    match class {
        ErrorClass::Conflict => CONFLICT_PAUSE,
        ErrorClass::Transient => backoff(),
        ErrorClass::Terminal => TERMINAL_PAUSE.mul_f64(rand::rng().random_range(0.9..=1.1)),
    }
}

/// What failures of an object are counted under.
fn failure_key<K: Resource>(name: ControllerName, object: &K) -> (ControllerName, String) {
    (name, object.meta().uid.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_tried_again_in_its_own_time() {
        let seconds = |class| pause(class, || Duration::from_secs(7)).as_secs_f64();
        assert_eq!(seconds(ErrorClass::Transient), 7.0);
        assert!(seconds(ErrorClass::Conflict) < 1.0);
        // Nothing tells of a policy that was relaxed.
        assert!((540.0..=660.0).contains(&seconds(ErrorClass::Terminal)));
    }
}
