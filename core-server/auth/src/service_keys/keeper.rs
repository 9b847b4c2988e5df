//! Makes a key when there is none, and another one every hour, and deletes those whose time is over.

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::issuer::{NoToken, ServiceKeys};

/// Until told to stop. All replicas do it; one of them makes the key.
pub(crate) async fn keep(keys: &ServiceKeys, stop: &CancellationToken) {
    loop {
        match stop.run_until_cancelled(Box::pin(look(keys))).await {
            Some(Ok(())) => {}
            Some(Err(NoToken::Store(problem))) => debug!(%problem, "the keys for tokens of services could not be looked at"),
            Some(Err(problem)) => warn!(%problem, "the keys for tokens of services could not be kept"),
            None => return,
        }
        if stop.run_until_cancelled(tokio::time::sleep(keys.pause())).await.is_none() {
            return;
        }
    }
}

async fn look(keys: &ServiceKeys) -> Result<(), NoToken> {
    let is_young = |age| age < keys.settings.rotate_after;
    if !keys.reader.keys().await?.signing.is_some_and(|(_, age)| is_young(age)) {
        keys.mint().await?;
    }
    let swept = keys.store.sweep_service_keys().await?;
    if swept > 0 {
        debug!(keys = swept, "forgot keys for tokens of services whose time was over");
    }
    Ok(())
}
