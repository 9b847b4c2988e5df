//! Short statements of one plugin in tables of the core, when it is their turn.

use std::sync::Arc;
use std::time::Duration;

use checkstack_plugin_package::PluginId;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::Database;

/// Waiting for a turn among the calls of the same plugin, and then for a connection among those of
/// all plugins.
const TURN: Duration = Duration::from_secs(2);
pub(super) const CONNECTION: Duration = Duration::from_secs(2);
/// One call; PostgreSQL ends it before.
pub(super) const STATEMENT: Duration = Duration::from_millis(3500);

/// The database could not do it now: one sentence.
#[derive(Debug)]
pub(super) struct Unavailable(pub(super) String);

/// A plugin has fewer turns at a time than there are connections: what it waits for is not what others
/// wait for.
pub(super) struct Turns {
    database: Database,
    plugin_id: PluginId,
    turns: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new(database: Database, plugin_id: PluginId) -> Self {
        Self { turns: database.key_value_shares().of(&plugin_id), database, plugin_id }
    }

    /// Does what one call needs, for the plugin whose id it is given.
    pub(super) async fn take<T: Send, Work>(&self, work: Work) -> Result<T, Unavailable>
    where
        Work: for<'c> FnOnce(String, &'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let _turn = tokio::time::timeout(TURN, self.turns.acquire())
            .await
            .map_err(|_| {
                let turns = self.database.key_value_shares().size();
                Unavailable(format!(
                    "all {turns} calls of the key-value store and of settings that the plugin may make at a time in this pod are under way"
                ))
            })?
            .map_err(|_| Unavailable("the store is closed".into()))?;
        let plugin_id = self.plugin_id.to_string();
        let run = self.database.run_key_value(CONNECTION, STATEMENT, |connection| work(plugin_id, connection));
        run.await.map_err(|error| match error.code() {
            Some("55P03") => Unavailable("other calls are changing the entry, and it did not become free in time".into()),
            _ => Unavailable(error.to_string()),
        })
    }
}
