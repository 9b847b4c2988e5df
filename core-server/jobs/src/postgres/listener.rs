//! Hears what other processes have enqueued or scheduled, on one connection.

use std::time::Duration;

use checkstack_connections::ConnectionPool;
use sqlx::postgres::PgListener;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::CHANNEL;
use crate::engine::Wakes;
use crate::retry;

/// A connection that has been silent for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// For ever. While it cannot listen, consumers still look by themselves now and then.
pub(super) async fn listen(pool: &ConnectionPool, deadline: Duration, wakes: &Wakes) {
    let mut failures = 0;
    loop {
        let begun = tokio::time::Instant::now();
        let problem = match connect(pool, deadline).await {
            Ok(listener) => {
                // Nobody knows what was missed.
                wakes.wake_all();
                wakes.wake_keeper();
                hear(listener, deadline, wakes).await
            }
            Err(problem) => problem,
        };
        failures = match begun.elapsed() > SILENCE {
            true => 1,
            false => failures + 1,
        };
        match failures {
            1 => debug!(problem, "the connection that listens for jobs was lost"),
            failures => warn!(problem, failures, "cannot listen for jobs; looking for them now and then"),
        }
        tokio::time::sleep(retry::pause(failures, rand::random())).await;
    }
}

async fn connect(pool: &ConnectionPool, deadline: Duration) -> Result<PgListener, String> {
    let open = async {
        let mut listener = PgListener::connect_with(&pool.for_listening()).await?;
        // What was missed meanwhile is to be looked for.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    match timeout(deadline, open).await {
        Ok(opened) => opened.map_err(|problem| problem.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Until the connection is lost; returns why.
async fn hear(mut listener: PgListener, deadline: Duration, wakes: &Wakes) -> String {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(message))) => match message.payload().split_at_checked(1) {
                Some(("q", queue)) => wakes.wake(queue),
                _ => wakes.wake_scheduler(),
            },
            Ok(Ok(None)) => return "the connection has ended".to_owned(),
            Ok(Err(problem)) => return problem.to_string(),
            Err(_) => match timeout(deadline, sqlx::query("SELECT 1").execute(&mut listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(problem)) => return problem.to_string(),
                Err(_) => return "no answer in time".to_owned(),
            },
        }
    }
}
