//! Opening connections, and judging those that have rested.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

/// A connection that has rested longer is asked whether it still lives before it is used.
pub(crate) const TRUSTED: Duration = Duration::from_secs(1);
/// One that is older is replaced: what the database and the driver keep for it only grows.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Between two attempts to connect to a server that is just starting; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection, and since when it is one and rests.
pub(crate) struct Pooled {
    pub(crate) connection: PgConnection,
    opened: Instant,
    pub(crate) given_back: Instant,
    /// Nobody knows in what state it is: it is never used again.
    pub(crate) is_broken: bool,
}

impl Pooled {
    fn new(connection: PgConnection) -> Self {
        Self { connection, opened: Instant::now(), given_back: Instant::now(), is_broken: false }
    }

    /// Whether to keep it, although nobody uses it.
    pub(crate) fn is_fresh(&self, rest: Duration) -> bool {
        !self.is_broken && self.given_back.elapsed() < rest && self.opened.elapsed() < LIFETIME
    }
}

/// Opens connections that are all alike.
pub(crate) struct Opener {
    pub(crate) options: PgConnectOptions,
    /// Statements for each new one.
    pub(crate) prepare: &'static str,
}

impl Opener {
    async fn open(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        if !self.prepare.is_empty() {
            sqlx::raw_sql(self.prepare).execute(&mut connection).await?;
        }
        Ok(connection)
    }
}

impl Manager for Opener {
    type Type = Pooled;
    type Error = sqlx::Error;

    /// Tries again while the server says that it will come: whoever waits says for how long.
    async fn create(&self) -> Result<Pooled, sqlx::Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.open().await {
                Ok(connection) => return Ok(Pooled::new(connection)),
                Err(error) if may_pass(&error) => {
                    tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> RecycleResult<sqlx::Error> {
        if pooled.is_broken || pooled.opened.elapsed() >= LIFETIME {
            return Err(RecycleError::message("it is broken, or old"));
        }
        if pooled.given_back.elapsed() >= TRUSTED {
            pooled.connection.ping().await.map_err(RecycleError::Backend)?;
        }
        Ok(())
    }
}

/// Whether the same may succeed in a moment: nobody listens there yet, the server is starting, or it has no connection to spare.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
        }
        sqlx::Error::Database(error) => error.code().is_some_and(|code| matches!(code.as_ref(), "53300" | "57P03")),
        _ => false,
    }
}
