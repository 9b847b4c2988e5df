//! Waiting for something to become true, with a deadline and the last reason it was not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `attempt` every 100 ms until it gives a value, at most `within`. The last error it gave is
/// part of the failure, so that a test that times out says what it saw.
pub async fn eventually<T, F, Fut>(what: &str, within: Duration, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let begin = Instant::now();
    loop {
        let last = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if begin.elapsed() > within {
            bail!("{what}: not within {} s; last seen: {last:#}", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks `hold` every 100 ms for the whole of `during`; fails at the first error.
pub async fn always<F, Fut>(what: &str, during: Duration, mut hold: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let begin = Instant::now();
    while begin.elapsed() < during {
        if let Err(error) = hold().await {
            bail!("{what}: no longer true after {} ms: {error:#}", begin.elapsed().as_millis());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
