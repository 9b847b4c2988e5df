//! `LISTEN` and `NOTIFY` of PostgreSQL as the way between replicas. One connection of a process does both.

use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::replicas::{Backplane, Link, LinkLost};

/// On which replicas of one database tell each other what to forget.
const CHANNEL: &str = "checkstack_cache";

/// Nothing is stored: the commit need not wait for a disk.
const PUBLISH: &str = "
    WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
    SELECT pg_notify($1, messages.text) FROM quick CROSS JOIN unnest($2::text[]) AS messages (text)";

/// See the module.
pub struct PostgresBackplane {
    open: Box<dyn Fn() -> PgPool + Send + Sync>,
}

impl PostgresBackplane {
    /// `open` makes a pool of one connection, anew for each link: the driver says goodbye on a connection that was given up, and where nobody
    /// answers any more it does so for a long time.
    pub fn new(open: impl Fn() -> PgPool + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open) }
    }
}

#[async_trait]
impl Backplane for PostgresBackplane {
    async fn connect(&self) -> Result<Box<dyn Link>, LinkLost> {
        let mut listener = PgListener::connect_with(&(self.open)()).await.map_err(lost)?;
        // What was said meanwhile would be missed.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(lost)?;
        Ok(Box::new(PostgresLink { listener }))
    }
}

struct PostgresLink {
    listener: PgListener,
}

#[async_trait]
impl Link for PostgresLink {
    async fn exchange(&mut self, messages: &[String]) -> Result<(), LinkLost> {
        // Before its answer the server sends what was committed before it began.
        let asked = match messages.is_empty() {
            true => sqlx::query("SELECT 1").execute(&mut self.listener).await,
            false => sqlx::query(PUBLISH).bind(CHANNEL).bind(messages).execute(&mut self.listener).await,
        };
        asked.map(drop).map_err(lost)
    }

    fn received(&mut self) -> Option<String> {
        self.listener.next_buffered().map(|message| message.payload().to_owned())
    }

    async fn next(&mut self) -> Result<String, LinkLost> {
        match self.listener.try_recv().await {
            Ok(Some(message)) => Ok(message.payload().to_owned()),
            Ok(None) => Err(LinkLost("the connection has ended".to_owned())),
            Err(problem) => Err(lost(problem)),
        }
    }
}

fn lost(problem: sqlx::Error) -> LinkLost {
    LinkLost(problem.to_string())
}
