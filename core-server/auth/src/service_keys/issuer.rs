//! Signs tokens and verifies them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use checkstack_control_api::AtRestKey;
use checkstack_plugin_package::PluginId;
use moka::future::Cache;
use serde_json::Value;
use tracing::info;
use uuid::Uuid;

use super::key::{KeyFault, NewKey, SigningKey};
use super::reader::{Keys, Reader};
use super::settings::ServiceKeySettings;
use super::token::{self, ServiceToken};
use crate::store::{Store, StoreError};

/// A token is given out again for this part of its lifetime, so that whoever gets it has time to use it.
const GIVEN_OUT: u32 = 5;

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoToken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a key for tokens of services cannot be used: {0}")]
    Key(#[from] KeyFault),
    #[error("a key for tokens of services was not made: {0}")]
    Interrupted(String),
    #[error("there is no key to sign tokens of services with")]
    NoKey,
}

/// See the [module above](super).
pub(crate) struct ServiceKeys {
    pub(super) settings: ServiceKeySettings,
    pub(super) store: Store,
    pub(super) reader: Reader,
    at_rest: AtRestKey,
    /// Whose it is makes a key.
    minting: tokio::sync::Mutex<()>,
    signing: Cache<Uuid, Arc<SigningKey>>,
    tokens: Cache<(Uuid, PluginId), Arc<str>>,
}

impl ServiceKeys {
    pub(crate) fn new(store: Store, at_rest: AtRestKey, settings: ServiceKeySettings) -> Self {
        let given_out = settings.token_lifetime / GIVEN_OUT;
        Self {
            reader: Reader::new(store.clone(), at_rest.clone()),
            store,
            at_rest,
            settings,
            minting: tokio::sync::Mutex::default(),
            signing: Cache::builder().max_capacity(4).build(),
            tokens: Cache::builder().max_capacity(1000).time_to_live(given_out).build(),
        }
    }

    /// Which plugin a token shows; none when it does not count.
    pub(crate) async fn service_of(&self, token: &ServiceToken) -> Result<Option<PluginId>, StoreError> {
        let Some(id) = token.key_id() else { return Ok(None) };
        let mut keys = self.reader.keys().await?;
        if keys.get(id).is_none() {
            // Another replica may have made it just now.
            keys = self.reader.fresh_keys().await?;
        }
        Ok(keys.get(id).and_then(|key| token.verify(&key.decoding)))
    }

    /// Shows for some minutes that a request is one of `service`.
    pub(crate) async fn token(&self, service: &PluginId) -> Result<Arc<str>, NoToken> {
        let mut keys = self.reader.keys().await?;
        if keys.signing.is_none() {
            keys = self.mint().await?;
        }
        let key = keys.signing.and_then(|(id, _)| keys.get(id)).ok_or(NoToken::NoKey)?;
        let signing = async {
            let id = key.stored.public.id;
            let opened = Box::pin(self.signing.try_get_with(id, self.opened(key.stored.clone())));
            let signing = opened.await.map_err(|problem| (*problem).clone())?;
            Ok::<_, NoToken>(token::sign(&signing, service, self.settings.token_lifetime, SystemTime::now())?.into())
        };
        let name = (key.stored.public.id, service.clone());
        Box::pin(self.tokens.try_get_with(name, signing)).await.map_err(|problem| (*problem).clone())
    }

    /// For everybody.
    pub(crate) async fn key_set(&self) -> Result<Value, StoreError> {
        Ok(self.reader.keys().await?.key_set())
    }

    /// Makes the key that signs from now on, unless somebody else has. What is known afterwards.
    pub(super) async fn mint(&self) -> Result<Arc<Keys>, NoToken> {
        let _turn = self.minting.lock().await;
        let keys = self.reader.fresh_keys().await?;
        if keys.signing.is_some_and(|(_, age)| age < self.settings.rotate_after) {
            return Ok(keys);
        }
        // Before the database is asked, so that nobody waits there while this computes.
        let at_rest = self.at_rest.clone();
        let key = computed(move || NewKey::generate(&at_rest)).await?;
        let id = key.public.id;
        let unusable = keys.unusable.iter().copied().collect();
        if self.store.add_service_key(key, unusable, self.settings.rotate_after, self.settings.grace).await? {
            info!(key = %id, "another key signs tokens of services");
        }
        Ok(self.reader.fresh_keys().await?)
    }

    async fn opened(&self, key: NewKey) -> Result<Arc<SigningKey>, NoToken> {
        let at_rest = self.at_rest.clone();
        Ok(Arc::new(computed(move || key.signing_key(&at_rest)).await?))
    }

    pub(super) fn pause(&self) -> Duration {
        // Replicas that started together do not look together.
        self.settings.look_every.mul_f64(0.5 + rand::random::<f64>())
    }
}

async fn computed<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyFault> + Send + 'static) -> Result<T, NoToken> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|problem| NoToken::Interrupted(problem.to_string()))??)
}
