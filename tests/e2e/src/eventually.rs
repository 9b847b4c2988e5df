//! Waiting for something to become true, with a deadline and the last reason it was not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

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

/// Does `work`, and meanwhile asks `hold` every 200 ms; fails at its first error, wherever `work` is then. Holding is
/// asked for once more when `work` is done, so it is asked for at least once.
pub async fn throughout<T, F, Fut>(what: &str, mut hold: F, work: impl Future<Output = Result<T>>) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let begin = Instant::now();
    let broken = |error: anyhow::Error| anyhow!("{what}: no longer true after {} ms: {error:#}", begin.elapsed().as_millis());
    let holding = async {
        loop {
            if let Err(error) = hold().await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let done = tokio::select! {
        done = work => done?,
        error = holding => return Err(broken(error)),
    };
    hold().await.map_err(broken)?;
    Ok(done)
}
