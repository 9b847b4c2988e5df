//! Secrets by name, to which the configurations of plugins refer: answered by the plugin that keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use checkstack_settings::reference::SecretName;
use checkstack_settings::secret::SecretString;
use tokio::sync::watch;

/// Another one after each change of a secret's value; it says nothing about the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRevision(pub u64);

/// Which secrets there are.
pub type SecretRevisions = BTreeMap<SecretName, SecretRevision>;

/// A secret, as it is now.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its value.
    pub value: SecretString,
    /// Of this value.
    pub revision: SecretRevision,
}

/// Why a secret was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// What keeps it does not answer. The same question may be answered later.
    #[error("secrets cannot be read now: {0}")]
    Unavailable(String),
    /// It is there and cannot be decrypted.
    #[error("the secret `{name}` cannot be read: {problem}")]
    Unreadable {
        /// Which.
        name: SecretName,
        /// Why, and what to do. Nothing of the secret.
        problem: String,
    },
}

/// What the platform asks before it initialises a plugin.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Those of the names that there are.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn read(&self, names: &BTreeSet<SecretName>) -> Result<BTreeMap<SecretName, Secret>, SecretError>;

    /// Which there are, and which there will be. None: not known yet.
    fn revisions(&self) -> watch::Receiver<Option<Arc<SecretRevisions>>>;
}
