//! Queues of jobs (platform facts §7) for the plugins: what each may put into its own, and who does it.
//!
//! Jobs are kept in the instance's database, so that they outlive every pod. The crate `checkstack-jobs` does the work.

mod plugin_jobs;
mod turn;
mod workers;

use std::sync::Arc;

use checkstack_jobs::memory::MemoryProvider;
use checkstack_jobs::postgres::{self, PostgresProvider};
use checkstack_jobs::{ActiveBackend, Patience, QueueError, QueueManager, Timings};
use checkstack_plugin_package::PluginId;
use serde_json::json;

pub use self::plugin_jobs::PluginJobs;
pub(crate) use self::turn::Turn;
pub(crate) use self::workers::Workers;
use crate::database::{Database, DatabaseError};
use crate::native::{Migrations, NativeDatabase};

/// Makes the schema of the jobs, and begins to keep jobs there.
pub(crate) async fn begin(database: &Database) -> Result<QueueManager, JobsError> {
    let migrations = Migrations { schema: postgres::SCHEMA, steps: postgres::MIGRATIONS };
    NativeDatabase::new(database.clone()).migrate(migrations).await?;
    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(MemoryProvider::default()));
    queues.register(Arc::new(PostgresProvider::new(database.for_jobs(), Timings::default())));
    queues.follow(ActiveBackend { provider: postgres::ID.to_owned(), configuration: json!({}), version: 0 }).await?;
    Ok(queues)
}

/// Forgets what a plugin has left in its queues.
pub(crate) async fn forget(queues: &QueueManager, plugin: &PluginId) -> Result<(), QueueError> {
    queues.forget_queues(&queue_name(plugin, "")).await.map(drop)
}

/// Why there are no queues.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// Their schema could not be brought up to date.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// See there.
    #[error("the queues of jobs cannot be used: {0}")]
    Queues(#[from] QueueError),
}

/// The name of a plugin's queue among those of all plugins. An id has no dot in it.
fn queue_name(plugin: &PluginId, queue: &str) -> String {
    format!("{plugin}.{queue}")
}
