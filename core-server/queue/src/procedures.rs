//! The procedures of `queue`.

use std::sync::Arc;

use checkstack_calls::access::{AccessRule, Level};
use checkstack_calls::contract::InvalidContract;
use checkstack_calls::error::CallError;
use checkstack_calls::gate::UserType;
use checkstack_jobs::{JobQuery, JobState, JobSummary, LagSeverity, LagThresholds, QueueManager, Scope, lag_severity};
use checkstack_platform::native::backends::{BackendChoice, BackendConfiguration, Backends as _, HasChoice, ProviderInfo};
use checkstack_platform::native::{Caller, ProcedureDefinition, Procedures};
use checkstack_plugin_package::PluginId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;

use crate::queues::Queues;

/// The setting.
const LAG_THRESHOLDS: &str = "lag-thresholds";

/// What the procedures work with.
pub(crate) struct State {
    choice: Arc<BackendChoice<Queues>>,
}

impl State {
    pub(crate) fn new(choice: BackendChoice<Queues>) -> Self {
        Self { choice: Arc::new(choice) }
    }

    fn queues(&self) -> &QueueManager {
        &self.choice.backends().0
    }
}

impl HasChoice for State {
    type Of = Queues;

    fn choice(&self) -> &Arc<BackendChoice<Queues>> {
        &self.choice
    }
}

type Result<T> = std::result::Result<T, CallError>;

/// All of them.
pub(crate) fn procedures(plugin: PluginId) -> std::result::Result<Procedures<State>, InvalidContract> {
    let read = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["queue.read"]);
    let manage = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["queue.manage"]);
    let definitions = vec![
        read(ProcedureDefinition::query("getPlugins", "Providers that can keep jobs", get_plugins)),
        read(ProcedureDefinition::query("getConfiguration", "Which provider keeps jobs, and how", get_configuration)),
        manage(ProcedureDefinition::mutation(
            "updateConfiguration",
            "Changes the provider, on all replicas; recurring jobs are carried over, jobs that wait stay where they are",
            update_configuration,
        )),
        read(ProcedureDefinition::query("getStats", "How many jobs there are", get_stats)),
        read(ProcedureDefinition::query("getLagStatus", "Whether jobs are done in time", get_lag_status)),
        manage(ProcedureDefinition::mutation("updateLagThresholds", "From how many waiting jobs on it is too late", update_lag_thresholds)),
        read(ProcedureDefinition::query("listJobs", "Jobs in a state, without their data", list_jobs)),
        read(ProcedureDefinition::query("listRecurringJobs", "Jobs that come again and again, without their data", list_recurring_jobs)),
    ];
    let rule = |level, description: &str| AccessRule {
        resource: "queue".to_owned(),
        level,
        description: description.to_owned(),
        is_default: false,
        is_public: false,
    };
    Procedures::new(
        plugin,
        vec![rule(Level::Read, "See jobs and how they are kept"), rule(Level::Manage, "Set how jobs are kept")],
        definitions,
    )
}

async fn get_plugins(state: Arc<State>, _: Caller, (): ()) -> Result<Vec<ProviderInfo>> {
    Ok(state.choice.providers())
}

async fn get_configuration(state: Arc<State>, _: Caller, (): ()) -> Result<BackendConfiguration> {
    state.choice.configuration().await
}

async fn update_configuration(state: Arc<State>, caller: Caller, asked: BackendConfiguration) -> Result<BackendConfiguration> {
    state.choice.clone().update(caller, asked).await
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stats {
    /// Waiting or delayed.
    pending: u64,
    /// Being done.
    processing: u64,
    completed: u64,
    /// Given up.
    failed: u64,
    consumer_groups: u64,
    /// Of this replica, or of all.
    scope: Scope,
}

async fn get_stats(state: Arc<State>, _: Caller, (): ()) -> Result<Stats> {
    let stats = state.queues().stats().await.map_err(Queues::refusal)?;
    Ok(Stats {
        pending: stats.pending,
        processing: stats.processing,
        completed: stats.completed,
        failed: stats.failed,
        consumer_groups: stats.consumer_groups,
        scope: stats.scope,
    })
}

#[derive(Serialize, JsonSchema)]
struct LagStatus {
    pending: u64,
    severity: LagSeverity,
    thresholds: LagThresholds,
}

async fn get_lag_status(state: Arc<State>, _: Caller, (): ()) -> Result<LagStatus> {
    let thresholds = lag_thresholds(&state).await?;
    let pending = state.queues().stats().await.map_err(Queues::refusal)?.pending;
    Ok(LagStatus { pending, severity: lag_severity(pending, thresholds), thresholds })
}

async fn lag_thresholds(state: &State) -> Result<LagThresholds> {
    Ok(state.choice.settings().read(LAG_THRESHOLDS).await?.unwrap_or_default())
}

async fn update_lag_thresholds(state: Arc<State>, caller: Caller, thresholds: LagThresholds) -> Result<LagThresholds> {
    state.choice.settings().write(LAG_THRESHOLDS, &thresholds).await?;
    info!(?thresholds, by = caller.shown(), "the thresholds of waiting jobs were changed");
    Ok(thresholds)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    state: JobState,
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    offset: u32,
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct JobInfo {
    id: String,
    queue: String,
    /// Whose it is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    state: JobState,
    /// RFC 3339, like the others.
    enqueued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// That have failed.
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<String>,
    recurring: bool,
}

impl From<JobSummary> for JobInfo {
    fn from(job: JobSummary) -> Self {
        Self {
            id: job.id,
            queue: job.queue,
            group: job.group,
            state: job.state,
            enqueued_at: job.enqueued_at.to_string(),
            started_at: job.started_at.map(|at| at.to_string()),
            finished_at: job.finished_at.map(|at| at.to_string()),
            attempts: job.attempts,
            failed_reason: job.failed_reason,
            next_run_at: job.next_run_at.map(|at| at.to_string()),
            recurring: job.recurring,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Jobs {
    items: Vec<JobInfo>,
    total: u64,
    has_more: bool,
}

async fn list_jobs(state: Arc<State>, _: Caller, listing: Listing) -> Result<Jobs> {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let query = JobQuery { state: listing.state, offset: size(listing.offset), limit: size(listing.limit) };
    let page = state.queues().list_jobs(query).await.map_err(Queues::refusal)?;
    Ok(Jobs { items: page.items.into_iter().map(JobInfo::from).collect(), total: page.total, has_more: page.has_more })
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RecurringInfo {
    queue: String,
    job_id: String,
    /// `{"interval": {"milliseconds"}}` or `{"cron": {"pattern", "timeZone"}}`.
    recurrence: Value,
    next_run_at: String,
}

async fn list_recurring_jobs(state: Arc<State>, _: Caller, (): ()) -> Result<Vec<RecurringInfo>> {
    let jobs = state.queues().recurring_jobs().await.map_err(Queues::refusal)?;
    let info = |(queue, job): (checkstack_jobs::QueueName, checkstack_jobs::RecurringJob)| {
        Ok(RecurringInfo {
            queue: queue.to_string(),
            job_id: job.schedule.job_id,
            recurrence: serde_json::to_value(job.schedule.recurrence).map_err(|_| CallError::internal())?,
            next_run_at: job.next_run_at.to_string(),
        })
    };
    jobs.into_iter().map(info).collect()
}
