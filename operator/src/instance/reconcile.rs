//! One reconciliation of a Checkstack.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::report::PluginSetDelivery;
use checkstack_control_api::sealed::{seal, secret_config_hash};
use checkstack_control_api::{SecretValues, set_signature};
use checkstack_crds::checkstack::RolloutStrategy;
use checkstack_crds::conditions::{InstanceConditionReason as Reason, InstanceConditionType as Type, NewCondition, equal_ignoring_times};
use checkstack_crds::{Checkstack, CheckstackPlugin, CheckstackStatus};
use checkstack_plugin_package::{Digest, PluginId, PluginSet};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::Selector;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use rand::RngExt;
use serde_json::{Map, Value};

use super::keys::{InstanceKeys, InvalidKeys};
use super::objects::{self, PodInputs};
use super::set::{BuiltSet, PreviousSet, SetInputs, build};
use super::status::{StatusInputs, compute, transitions};
use super::{admin_secret, artifacts, encryption, history, secrets};
use crate::apply::{ApplyError, INSTANCE_STATUS_MANAGER, StatusPatch, Unreadable, patch_status, report_unreadable};
use crate::context::{Context, Guarded};
use crate::error::KubernetesError;
use crate::fleet::{Offer, Target};
use crate::names;
use crate::object_key::ObjectKey;
use crate::references::Dependent;
use crate::telemetry::ErrorClass;

/// Everything is looked at again after this time, though nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(600);
/// What fits into a ConfigMap or Secret, with room for metadata.
const MAX_DOCUMENT: usize = 1_000_000;

/// Why an instance could not be brought into its desired form.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error("{}", .0.message())]
    Apply(#[from] ApplyError),
    #[error("Secret '{name}' cannot be used: {problem}: delete it, and the operator makes new keys and restarts the pods")]
    KeysInvalid { name: String, problem: InvalidKeys },
    #[error("Secret '{name}' exists and does not belong to this Checkstack: rename or delete it, or rename the Checkstack")]
    KeysNotOurs { name: String },
    #[error("{what} has {size} bytes; {MAX_DOCUMENT} fit into an object of Kubernetes: make spec.config of the plugins smaller")]
    TooLarge { what: &'static str, size: usize },
    #[error("spec.plugins.selector: {0}")]
    InvalidSelector(String),
    #[error("{0}")]
    Internal(String),
}

impl InstanceError {
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Kubernetes(error) => error.class(),
            Self::Apply(error) => error.class(),
            // Nothing tells when a Secret is deleted: look again.
            Self::KeysInvalid { .. } | Self::KeysNotOurs { .. } => ErrorClass::Transient,
            Self::TooLarge { .. } | Self::InvalidSelector(_) | Self::Internal(_) => ErrorClass::Terminal,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Apply(ApplyError::NotOurs { .. } | ApplyError::Leftover { .. }) | Self::KeysNotOurs { .. } => Reason::ResourceConflict,
            Self::Apply(ApplyError::Kubernetes(_)) | Self::Kubernetes(_) => Reason::ResourceRejected,
            Self::KeysInvalid { .. } => Reason::KeysInvalid,
            Self::TooLarge { .. } => Reason::PluginSetTooLarge,
            Self::InvalidSelector(_) => Reason::InvalidSpec,
            Self::Internal(_) | Self::Apply(ApplyError::Serialize { .. }) => Reason::Internal,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Kubernetes(error) => error.message(),
            other => other.to_string(),
        }
    }

    /// Everything but the plugin set can be as it should.
    fn is_about_plugins(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::InvalidSelector(_))
    }

    /// Something that is over by itself in a moment is not worth a condition.
    fn is_fleeting(&self) -> bool {
        match self {
            Self::Kubernetes(error) | Self::Apply(ApplyError::Kubernetes(error)) => error.is_fleeting(),
            _ => false,
        }
    }
}

/// What a reconciliation came to know, as far as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Why there is no database URL.
    pub(crate) database_problem: Option<String>,
    /// Why nobody can sign in at the provider, as far as Secrets are concerned.
    pub(crate) oidc_problem: Option<String>,
    /// Revision and hash of the set that the pods shall run.
    pub(crate) set: Option<(u64, Digest)>,
    /// How much time is left until the signing key is exchanged, or the next step of that is due.
    pub(crate) rotation_in: Option<Duration>,
}

pub(crate) async fn reconcile(guard: Arc<Guarded<Checkstack>>, context: Arc<Context>) -> Result<Action, InstanceError> {
    match &guard.0 {
        Ok(instance) if instance.meta().deletion_timestamp.is_some() => Ok(Action::await_change()),
        Ok(instance) => {
            let began = Instant::now();
            if let Some(pause) = context.instance_memory.pause(&uid(instance), began) {
                return Ok(Action::requeue(pause));
            }
            let result = reconcile_instance(instance, &context).await;
            context.instance_memory.reconciled(&uid(instance), began, Instant::now());
            result
        }
        Err(invalid) => report_invalid(invalid, &context).await,
    }
}

async fn reconcile_instance(instance: &Checkstack, context: &Context) -> Result<Action, InstanceError> {
    let mut progress = Progress::default();
    let result = converge(instance, context, &mut progress).await;
    if result.as_ref().is_err_and(InstanceError::is_fleeting) {
        return result.map(|()| Action::await_change());
    }
    let overdue_in = write_status(instance, context, &progress, result.as_ref().err()).await?;
    result?;
    if progress.database_problem.is_some() {
        // A Secret that is missing often comes a moment after the rest of the YAML.
        return Ok(Action::requeue(
            context.instance_backoff.failed(uid(instance), context.hash(&progress.database_problem)).min(crate::references::REREAD),
        ));
    }
    context.instance_backoff.succeeded(&uid(instance));
    let resync = RESYNC.mul_f64(rand::rng().random_range(0.9..=1.1));
    Ok(Action::requeue([overdue_in, progress.rotation_in].into_iter().flatten().fold(resync, Duration::min)))
}

/// Makes everything as it should be, in an order that is right at every point: what pods need
/// exists before the pods.
async fn converge(instance: &Checkstack, context: &Context, progress: &mut Progress) -> Result<(), InstanceError> {
    let key = ObjectKey::of(instance);
    let (guards, unreadable) = context.plugins_and_unreadable(&key);
    let plugins: Vec<&CheckstackPlugin> = guards.iter().filter_map(|guard| guard.0.as_ref().ok()).collect();
    context.references.depends_on(Dependent::Instance(key.clone()), secrets::references(instance, &plugins));

    let found = secrets::keys(context, instance).await?;
    admin_secret::ensure(context, instance).await?;
    let encryption_key_in = encryption::ensure(context, instance).await?;
    let keys = &found.ring.keys;
    let database = secrets::database_url(context, instance).await?;
    progress.database_problem = database.as_ref().err().cloned();
    progress.oidc_problem = secrets::oidc_problem(context, instance).await?;
    let database_checksum = database.ok().map(|url| keys.sealing.checksum("database-url", &url));

    let mut needed_revisions = BTreeSet::new();
    let published = match plugin_set(instance, context, Plugins { readable: &plugins, unreadable: &unreadable }, keys).await {
        Ok(revised) => {
            progress.set = Some((revised.built.set.revision, revised.hash));
            needed_revisions.clone_from(&revised.built.needed_revisions);
            publish_set(instance, context, keys, revised).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = published {
        // A fault of the plugins must not keep the rest from being looked after.
        if error.is_about_plugins() {
            apply_objects(instance, context, keys, database_checksum, progress.set).await?;
        }
        return Err(error);
    }
    let published_since = context.instance_memory.published(&uid(instance), keys.signing.key_id());
    apply_objects(instance, context, keys, database_checksum, progress.set).await?;
    history::prune(context, instance, &needed_revisions).await?;
    let signing_key_in = secrets::rotate(context, instance, &found, published_since.elapsed()).await?;
    progress.rotation_in = signing_key_in.into_iter().chain(encryption_key_in).min();
    Ok(())
}

/// A set that has its revision.
struct RevisedSet {
    built: BuiltSet,
    hash: Digest,
    artifacts_in_use: Option<BTreeSet<Digest>>,
}

/// The plugins of an instance as of one moment.
struct Plugins<'a> {
    readable: &'a [&'a CheckstackPlugin],
    unreadable: &'a BTreeSet<String>,
}

async fn plugin_set(
    instance: &Checkstack,
    context: &Context,
    plugins: Plugins<'_>,
    keys: &InstanceKeys,
) -> Result<RevisedSet, InstanceError> {
    let key = ObjectKey::of(instance);
    let history = history::load(context, instance).await?;
    let selector =
        Selector::try_from(instance.spec.plugins.selector.clone()).map_err(|error| InstanceError::InvalidSelector(error.to_string()))?;
    let secrets = secrets::plugin_secrets(context, plugins.readable).await?;
    let (current, last_good) = secrets::previous_settings(context, &key).await?;
    let previous = PreviousSet {
        entries: history.own.last().and_then(|latest| latest.set.clone()).map(|set| set.plugins).unwrap_or_default(),
        secrets: current,
        last_good_secrets: last_good,
    };
    let past: Vec<(u64, &PluginSet)> = history.own.iter().rev().filter_map(|known| Some((known.revision, known.set.as_ref()?))).collect();
    let keyed_hash = |id: &PluginId, values: &Map<String, Value>| secret_config_hash(id, values, &keys.sealing);
    let inputs = SetInputs {
        instance: key.to_string(),
        selector: &selector,
        strategy: instance.spec.rollout.strategy,
        plugins: plugins.readable,
        unreadable: plugins.unreadable,
        secrets: &secrets,
        previous: &previous,
        past: &past,
        keyed_hash: &keyed_hash,
    };
    let internal = |error: serde_json::Error| InstanceError::Internal(error.to_string());
    let mut built = build(&inputs).map_err(internal)?;
    let hash = built.set.hash().map_err(internal)?;
    check_size("the plugin set", built.set.to_json().map_err(internal)?.len())?;
    let sets = past.iter().map(|(_, set)| *set).chain([&built.set]);
    // A plugin that cannot be read may go back to anything.
    let artifacts_in_use = plugins.unreadable.is_empty().then(|| artifacts::in_use(sets, plugins.readable));
    let reported = context.fleets.view(&key).map(|view| view.reported_sets()).unwrap_or_default();
    history::assign(context, instance, history, &mut built.set, hash, &reported).await?;
    Ok(RevisedSet { built, hash, artifacts_in_use })
}

/// Puts the set where pods that start find it, and hands it to those that run.
async fn publish_set(instance: &Checkstack, context: &Context, keys: &InstanceKeys, revised: RevisedSet) -> Result<(), InstanceError> {
    let RevisedSet { built: BuiltSet { set, proven, secrets, last_good_secrets, members, entries, .. }, hash, artifacts_in_use } = revised;
    let internal = |error: String| InstanceError::Internal(error);
    let mounted = proven.as_ref().unwrap_or(&set);
    let signature = set_signature::sign(mounted, &keys.signing).map_err(|error| internal(error.to_string()))?;
    let config = objects::plugin_config(instance, &secrets, &last_good_secrets).map_err(|error| internal(error.to_string()))?;
    check_size("secret settings", config.data.iter().flatten().map(|(_, file)| file.0.len()).sum())?;
    // The values before the set that names them.
    context.applier.apply(&config).await?;
    context.applier.apply(&objects::config_map(instance, mounted, &signature).map_err(|error| internal(error.to_string()))?).await?;

    let sealed_secrets = match secrets.is_empty() {
        true => None,
        false => Some(seal(&SecretValues(secrets), &hash, &keys.sealing).map_err(|error| internal(error.to_string()))?),
    };
    let target = Target { set: set.clone(), hash, members, entries, strategy: instance.spec.rollout.strategy };
    let delivery = PluginSetDelivery { set, sealed_secrets };
    context.fleets.offer(&ObjectKey::of(instance), Offer { keys: keys.clone(), target: Arc::new(target), delivery, artifacts_in_use });
    Ok(())
}

async fn apply_objects(
    instance: &Checkstack,
    context: &Context,
    keys: &InstanceKeys,
    database_checksum: Option<String>,
    set: Option<(u64, Digest)>,
) -> Result<(), InstanceError> {
    let applier = &context.applier;
    applier.apply(&objects::service_account(instance)).await?;
    applier.apply(&objects::service(instance)).await?;
    // Without its Secret a pod cannot start; pods that run must not be restarted for it.
    let checksum = database_checksum.or_else(|| running_annotation(instance, context, names::DATABASE_CHECKSUM));
    let made_for = match instance.spec.rollout.strategy {
        RolloutStrategy::Restart => set.map(|(_, hash)| hash.to_string()),
        RolloutStrategy::HotSwap => None,
    };
    // That pods need not be replaced any more is no reason to replace them.
    let set_hash = made_for.or_else(|| running_annotation(instance, context, names::SET_HASH));
    if let Some(database_checksum) = checksum {
        let inputs = PodInputs {
            default_image: &context.settings.core_image,
            run_as_user: context.settings.run_as_user,
            database_checksum: &database_checksum,
            keys_checksum: &keys.checksum,
            set_hash: set_hash.as_deref(),
        };
        applier.apply(&objects::deployment(instance, &inputs)).await?;
    }
    let unwanted = objects::owned_metadata(instance, instance.name_any());
    match objects::disruption_budget(instance) {
        Some(budget) => applier.apply(&budget).await?,
        None => applier.remove::<PodDisruptionBudget>(&unwanted).await?,
    }
    match objects::network_policy(instance, &context.settings.operator_namespace) {
        Some(policy) => applier.apply(&policy).await?,
        None => applier.remove::<NetworkPolicy>(&unwanted).await?,
    }
    Ok(())
}

/// An annotation that the running pods were made with.
fn running_annotation(instance: &Checkstack, context: &Context, name: &str) -> Option<String> {
    let deployment = context.deployments.get(&ObjectKey::of(instance).to_ref())?;
    let annotations = objects::annotations_of(&deployment.spec.as_ref()?.template);
    annotations.get(name).cloned()
}

/// Says how the instance is. Gives the time until a rollout is overdue.
async fn write_status(
    instance: &Checkstack,
    context: &Context,
    progress: &Progress,
    problem: Option<&InstanceError>,
) -> Result<Option<Duration>, InstanceError> {
    let key = ObjectKey::of(instance);
    let view = context.fleets.view(&key);
    let deployment = context.deployments.get(&key.to_ref());
    let overdue_in = overdue_in(instance, context, view.as_deref());
    let inputs = StatusInputs {
        instance,
        problem: problem.map(|problem| (problem.reason(), problem.message())),
        database_problem: progress.database_problem.as_deref(),
        oidc_problem: progress.oidc_problem.as_deref(),
        set: progress.set,
        deployment: deployment.as_deref(),
        fleet: view.as_deref(),
        overdue: overdue_in.is_some_and(|left| left.is_zero()),
        now: Time(Timestamp::now()),
    };
    let status = compute(&inputs);
    let again = overdue_in.filter(|left| !left.is_zero());
    if instance.status.as_ref().is_some_and(|before| is_same(before, &status)) {
        return Ok(again);
    }
    patch_status(&context.client, StatusPatch { object: instance, status: &status, manager: INSTANCE_STATUS_MANAGER }).await?;
    context.events.publish(instance, transitions(instance.status.as_ref(), &status)).await;
    Ok(again)
}

/// How much time the pods have left to take the set over; none when they have.
fn overdue_in(instance: &Checkstack, context: &Context, view: Option<&crate::fleet::FleetView>) -> Option<Duration> {
    let uid = uid(instance);
    let view = view.filter(|view| view.complete)?;
    if view.is_settled() || view.pods.is_empty() {
        context.instance_memory.rolled_out(&uid);
        return None;
    }
    let deadline = instance.spec.rollout.progress_deadline();
    let since = context.instance_memory.rolling_since(&uid, view.target.hash);
    Some(deadline.saturating_sub(since.elapsed()))
}

fn is_same(one: &CheckstackStatus, other: &CheckstackStatus) -> bool {
    let rest = |status: &CheckstackStatus| CheckstackStatus { conditions: Vec::new(), ..status.clone() };
    equal_ignoring_times(&one.conditions, &other.conditions) && rest(one) == rest(other)
}

fn check_size(what: &'static str, size: usize) -> Result<(), InstanceError> {
    if size > MAX_DOCUMENT { Err(InstanceError::TooLarge { what, size }) } else { Ok(()) }
}

fn uid(instance: &Checkstack) -> String {
    instance.uid().unwrap_or_default()
}

/// An object that this release cannot read harms nobody but itself: its pods run on.
async fn report_invalid(invalid: &InvalidObject, context: &Context) -> Result<Action, InstanceError> {
    let message = format!("the object cannot be read: {}; correct it, or use an operator that knows this form", invalid.error);
    let condition = |type_: Type| NewCondition::instance(type_, type_ == Type::Stalled, Reason::InvalidSpec, &message);
    let unreadable = Unreadable {
        metadata: &invalid.metadata,
        conditions: [condition(Type::Ready), condition(Type::Stalled)],
        not: Type::Reconciling.as_str(),
        manager: INSTANCE_STATUS_MANAGER,
    };
    report_unreadable::<Checkstack>(&context.client, unreadable).await?;
    Ok(Action::await_change())
}
