//! Jobs in PostgreSQL, in the schema [`MIGRATIONS`] names. They outlive every process, and all replicas share them.
//!
//! - A job is one row for each group. Workers claim rows with `FOR UPDATE SKIP LOCKED`, for a time, and renew the claim while they
//!   run the job ([`claims`]). Only the database's clock counts, and [`clock`] notices when it is set.
//! - Who adds jobs tells everybody with `NOTIFY` in the same transaction ([`enqueue`]); one connection of each process listens
//!   ([`listener`]).
//! - At most two connections are used besides it ([`connections`]).

mod claims;
mod clock;
mod connections;
mod enqueue;
mod ephemeral;
mod groups;
mod listener;
mod listing;
mod publish;
mod schedules;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_connections::ConnectionPool;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use connections::Connections;
use enqueue::Depths;

use crate::engine::Wakes;
use crate::handler::GroupLifetime;
use crate::job::{CheckedJob, QueueName};
use crate::listing::{JobPage, JobQuery, QueueStats, Scope, Waiting};
use crate::provider::{OpenStore, Provider, ProviderDescription, check_range, invalid};
use crate::recurring::{RecurringJob, Schedule};
use crate::store::{Claim, ClaimRequest, Claimed, JobStore, Membership, Outcome, Published};
use crate::{QueueError, Timings};

/// Id of the provider.
pub const ID: &str = "postgres";
/// The schema that has the jobs.
pub const SCHEMA: &str = "checkstack_jobs";
/// Steps that make the schema and bring it up to date: number, name, text. Whoever runs them makes the schema before, and sees to it
/// that one replica does so at a time.
pub const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "jobs", include_str!("../../migrations/0001_jobs.sql")),
    (2, "ephemeral_groups", include_str!("../../migrations/0002_ephemeral_groups.sql")),
    (3, "publish", include_str!("../../migrations/0003_publish.sql")),
    (4, "clock", include_str!("../../migrations/0004_clock.sql")),
];

/// On which processes tell each other: `q` and the name of a queue, or `s` for schedules.
const CHANNEL: &str = "checkstack_jobs";

/// What an admin can choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PostgresConfiguration {
    /// Jobs of one queue that one replica runs at once.
    #[schemars(range(min = 1, max = 100))]
    pub concurrency: usize,
    /// Jobs of one queue that may wait for one group.
    #[schemars(range(min = 1))]
    pub max_queue_size: usize,
}

impl Default for PostgresConfiguration {
    fn default() -> Self {
        Self { concurrency: 10, max_queue_size: 10_000 }
    }
}

/// Opens stores in one database.
pub struct PostgresProvider {
    pool: ConnectionPool,
    timings: Timings,
}

impl PostgresProvider {
    /// Two connections of the pool are used at once. Another one, which is none of the pool, listens for as long as the provider is
    /// active.
    pub fn new(pool: ConnectionPool, timings: Timings) -> Self {
        Self { pool, timings }
    }
}

impl Provider for PostgresProvider {
    fn description(&self) -> ProviderDescription {
        ProviderDescription {
            id: ID.to_owned(),
            display_name: "PostgreSQL".to_owned(),
            description: "Jobs are kept in the server's database: they survive restarts, and all replicas share them.".to_owned(),
            config_version: 1,
            config_schema: schemars::schema_for!(PostgresConfiguration).to_value(),
        }
    }

    fn open(&self, configuration: &Value) -> Result<OpenStore, QueueError> {
        let configuration: PostgresConfiguration = serde_json::from_value(configuration.clone()).map_err(|problem| invalid(ID, problem))?;
        check_range(ID, "concurrency", configuration.concurrency, 1..=100)?;
        check_range(ID, "maxQueueSize", configuration.max_queue_size, 1..=10_000_000)?;
        let store = PostgresStore::new(self.pool.clone(), configuration.max_queue_size, self.timings);
        Ok(OpenStore { store: Arc::new(store), concurrency: configuration.concurrency })
    }
}

/// See the module.
pub struct PostgresStore {
    connections: Connections,
    max_queue_size: usize,
    timings: Timings,
    /// This store among those of other processes
    owner: Uuid,
    depths: Depths,
}

impl PostgresStore {
    /// A store of which no other process has the name.
    pub fn new(pool: ConnectionPool, max_queue_size: usize, timings: Timings) -> Self {
        let connections = Connections::new(pool, timings.statement);
        Self { connections, max_queue_size, timings, owner: Uuid::new_v4(), depths: Depths::default() }
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.timings.lease)
    }

    async fn enqueue(&self, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        self.add(queue, jobs).await
    }

    async fn enqueue_in(&self, connection: &mut PgConnection, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        self.add_in(connection, queue, jobs).await
    }

    async fn publish(&self, queue: &QueueName, job: &CheckedJob) -> Result<Published, QueueError> {
        self.add_for_present(queue, job).await
    }

    async fn publish_in(&self, connection: &mut PgConnection, queue: &QueueName, job: &CheckedJob) -> Result<Published, QueueError> {
        self.add_for_present_in(connection, queue, job).await
    }

    async fn full_groups(&self, queue: &QueueName) -> Result<Vec<String>, QueueError> {
        self.groups_without_room(queue).await
    }

    async fn join(&self, queue: &QueueName, group: &str, lifetime: GroupLifetime) -> Result<(), QueueError> {
        match lifetime {
            GroupLifetime::Durable => self.join_group(queue, group).await,
            GroupLifetime::Ephemeral => self.join_ephemeral(queue, group).await,
        }
    }

    async fn renew_groups(&self, groups: &[Membership]) -> Result<HashSet<Membership>, QueueError> {
        self.renew_memberships(groups).await
    }

    async fn forget(&self, queue: &QueueName, group: &str) -> Result<bool, QueueError> {
        self.forget_group(queue, group).await
    }

    async fn forget_groups(&self, queue_prefix: &str, group_prefix: &str) -> Result<u64, QueueError> {
        self.drop_groups(queue_prefix, group_prefix).await
    }

    async fn forget_queues(&self, prefix: &str) -> Result<bool, QueueError> {
        self.drop_queues(prefix).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, QueueError> {
        self.take(request).await
    }

    async fn finish(&self, outcomes: &[Outcome]) -> Result<HashSet<Claim>, QueueError> {
        self.end(outcomes).await
    }

    async fn renew(&self, claims: &[Claim]) -> Result<HashSet<Claim>, QueueError> {
        self.renew_claims(claims).await
    }

    async fn recover(&self) -> Result<u64, QueueError> {
        if !self.clock_is_steady().await? {
            return Ok(0);
        }
        self.remove_groups_of_the_gone().await?;
        let adopted = self.adopt(None).await?;
        Ok(adopted.saturating_add(self.take_from_the_gone().await?))
    }

    async fn sweep(&self) -> Result<(), QueueError> {
        self.give_up_the_old().await
    }

    async fn set_schedule(&self, queue: &QueueName, schedule: &Schedule) -> Result<bool, QueueError> {
        self.put_schedule(queue, schedule).await
    }

    async fn cancel_schedule(&self, queue: &QueueName, job_id: &str) -> Result<bool, QueueError> {
        self.remove_schedule(queue, job_id).await
    }

    async fn schedules(&self, queue: Option<&QueueName>) -> Result<Vec<(QueueName, RecurringJob)>, QueueError> {
        self.list_schedules(queue).await
    }

    async fn run_schedules(&self) -> Result<(Vec<QueueName>, Option<Duration>), QueueError> {
        self.make_runs().await
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<QueueStats, QueueError> {
        self.count(queues).await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, QueueError> {
        self.count_waiting().await
    }

    async fn list_jobs(&self, queues: &[QueueName], query: &JobQuery) -> Result<JobPage, QueueError> {
        self.list(queues, query).await
    }

    async fn test_connection(&self) -> Result<(), QueueError> {
        let answer = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            sqlx::query("SELECT FROM checkstack_jobs.groups LIMIT 1").execute(&mut *connection).await?;
            connection.rest();
            Ok(())
        });
        answer.await
    }

    async fn watch(&self, wakes: &Wakes) {
        listener::listen(self.connections.pool(), self.timings.statement, wakes).await;
    }
}

/// Of microseconds since 1970; PostgreSQL's times all are within the calendar.
fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_applied_in_its_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.iter().map(|(version, name, up)| (format!("{version:04}_{name}.sql"), (*up).to_owned())).collect();
        assert_eq!(files, listed);
    }
}
