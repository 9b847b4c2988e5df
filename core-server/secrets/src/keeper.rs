//! Keeps the secrets of the instance, wherever they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use checkstack_platform::encryption::EncryptionKeys;
use checkstack_platform::native::{AuditLog, Caller, Configurations, Reencrypted};
use checkstack_platform::secrets::{Secret, SecretError, SecretRevision, SecretRevisions, Secrets};
use checkstack_settings::keyring::Keyring;
use checkstack_settings::reference::SecretName;
use checkstack_settings::secret::SecretString;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::{Mutex, watch};

use crate::error::KeeperError;
use crate::mounted::Mounted;
use crate::seal::{OpenError, open, seal};
use crate::store::{self, MAX_SECRETS, NewSecret, Store, StoredValue};

/// Of a value, in UTF-8.
pub(crate) const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Of a description.
const MAX_DESCRIPTION_BYTES: usize = 1_024;

/// See the module.
pub(crate) struct Keeper {
    store: Store,
    keys: EncryptionKeys,
    /// Their secrets are encrypted with the same keys.
    configurations: Configurations,
    /// Also whoever says which revisions there are: an older answer never comes after a newer one.
    mounted: Mutex<Mounted>,
    revisions: watch::Sender<Option<Arc<SecretRevisions>>>,
    audit: Option<Arc<dyn AuditLog>>,
}

/// A secret, as admins see it: without its value.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) description: String,
    /// None: it comes from Kubernetes.
    pub(crate) updated: Option<(String, String)>,
    /// One of the same name in the database, which does not count.
    pub(crate) hides_stored: bool,
}

impl Keeper {
    pub(crate) fn new(
        store: Store,
        keys: EncryptionKeys,
        configurations: Configurations,
        mounted: PathBuf,
        audit: Option<Arc<dyn AuditLog>>,
    ) -> Self {
        Self { store, keys, configurations, mounted: Mutex::new(Mounted::new(mounted)), revisions: watch::Sender::new(None), audit }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Finds out which secrets there are, and tells it if they are others than before.
    pub(crate) async fn refresh(&self) -> Result<(), KeeperError> {
        let mut mounted = self.mounted.lock().await;
        mounted.look().await.map_err(KeeperError::Mounted)?;
        let stored = self.store.revisions().await?;
        let stored = stored.into_iter().filter_map(|(name, revision)| Some((name.parse().ok()?, SecretRevision(revision.unsigned_abs()))));
        let mut all: SecretRevisions = stored.collect();
        all.extend(mounted.known().iter().map(|(name, secret)| (name.clone(), secret.revision)));
        self.revisions.send_if_modified(|known| {
            let is_news = known.as_deref() != Some(&all);
            *known = Some(Arc::new(all));
            is_news
        });
        Ok(())
    }

    /// All of them.
    pub(crate) async fn list(&self) -> Result<Vec<Shown>, KeeperError> {
        let stored = self.store.list().await?;
        let mounted = self.mounted.lock().await;
        let mut all: BTreeMap<String, Shown> = BTreeMap::new();
        for secret in stored {
            let updated = Some((secret.updated_at, secret.updated_by));
            let shown = Shown { name: secret.name.clone(), description: secret.description, updated, hides_stored: false };
            all.insert(secret.name, shown);
        }
        for name in mounted.known().keys().map(ToString::to_string) {
            let hides_stored = all.contains_key(&name);
            let description = "from a Secret of Kubernetes".to_owned();
            all.insert(name.clone(), Shown { name, description, updated: None, hides_stored });
        }
        Ok(all.into_values().collect())
    }

    /// Makes a secret, or gives it another value.
    pub(crate) async fn set(
        &self,
        caller: &Caller,
        name: &SecretName,
        value: &SecretString,
        description: Option<String>,
    ) -> Result<(), KeeperError> {
        check(value, description.as_deref())?;
        if self.mounted.lock().await.known().contains_key(name) {
            return Err(KeeperError::Conflict(format!("`{name}` comes from a Secret of Kubernetes: change it there")));
        }
        let ciphertext = seal(&self.keys.keyring().await?, name, value)?;
        let secret = NewSecret { name: name.to_string(), ciphertext, description, by: caller.shown() };
        let (audit, caller) = (self.audit.clone(), caller.clone());
        let work = self.store.change(move |connection| {
            Box::pin(async move {
                let name = secret.name.clone();
                if !store::put(connection, secret).await? {
                    return Err(KeeperError::Conflict(format!("there are {MAX_SECRETS} secrets already: delete some first")));
                }
                record(audit.as_deref(), connection, &caller, "secrets.set", &name, json!({})).await
            })
        });
        work.await
    }

    /// False when there is none in the database.
    pub(crate) async fn delete(&self, caller: &Caller, name: &SecretName) -> Result<bool, KeeperError> {
        let (audit, caller, name) = (self.audit.clone(), caller.clone(), name.to_string());
        let work = self.store.change(move |connection| {
            Box::pin(async move {
                let deleted = store::delete(connection, &name).await?;
                if deleted {
                    record(audit.as_deref(), connection, &caller, "secrets.delete", &name, json!({})).await?;
                }
                Ok(deleted)
            })
        });
        work.await
    }

    /// Encrypts with the current key what is readable with another one only, in configurations too. What cannot be read stays as it is, and is
    /// named.
    pub(crate) async fn reencrypt(&self, caller: &Caller) -> Result<Reencrypted, KeeperError> {
        let keyring = self.keys.keyring().await?;
        let mut outcome = self.configurations.reencrypt().await?;
        let mut after = String::new();
        loop {
            let page = self.store.page(after).await?;
            let Some(last) = page.last() else { break };
            after = last.name.clone();
            for before in page {
                match renewed(&keyring, &before) {
                    Ok(None) => outcome.unchanged += 1,
                    Ok(Some((name, value))) => {
                        self.exchange(before, seal(&keyring, &name, &value)?).await?;
                        outcome.reencrypted += 1;
                    }
                    Err(problem) => outcome.failures.push((before.name, problem.to_string())),
                }
            }
        }
        let details = json!({ "reencrypted": outcome.reencrypted, "failures": outcome.failures.len() });
        let (audit, caller) = (self.audit.clone(), caller.clone());
        let work = self.store.change(move |connection| {
            Box::pin(async move { record(audit.as_deref(), connection, &caller, "secrets.reencrypt", "", details).await })
        });
        work.await?;
        Ok(outcome)
    }

    /// One that has been set meanwhile has been encrypted with the current key.
    async fn exchange(&self, before: StoredValue, ciphertext: String) -> Result<(), KeeperError> {
        let work = self
            .store
            .change(move |connection| Box::pin(async move { Ok(store::exchange(connection, &before, &ciphertext).await.map(drop)?) }));
        work.await
    }

    async fn find(&self, names: &BTreeSet<SecretName>) -> Result<BTreeMap<SecretName, Secret>, KeeperError> {
        let mut mounted = self.mounted.lock().await;
        mounted.look().await.map_err(KeeperError::Mounted)?;
        let of_mounted = |name: &SecretName| Some((name.clone(), mounted.known().get(name)?.clone()));
        let mut found: BTreeMap<SecretName, Secret> = names.iter().filter_map(of_mounted).collect();
        let rest: Vec<String> = names.iter().filter(|name| !found.contains_key(name)).map(ToString::to_string).collect();
        if !rest.is_empty() {
            found.extend(self.stored(rest).await?);
        }
        self.revisions.send_if_modified(|known| {
            let Some(known) = known else { return false };
            let revisions: SecretRevisions = found.iter().map(|(name, secret)| (name.clone(), secret.revision)).collect();
            let is_news = revisions.iter().any(|(name, revision)| known.get(name) != Some(revision));
            if is_news {
                Arc::make_mut(known).extend(revisions);
            }
            is_news
        });
        Ok(found)
    }

    async fn stored(&self, names: Vec<String>) -> Result<Vec<(SecretName, Secret)>, KeeperError> {
        let values = self.store.values(names).await?;
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let keyring = self.keys.keyring().await?;
        let opened = values.into_iter().filter_map(|StoredValue { name, ciphertext, revision }| {
            let name: SecretName = name.parse().ok()?;
            let opened = open(&keyring, &name, &ciphertext);
            Some(match opened {
                Ok(value) => Ok((name, Secret { value, revision: SecretRevision(revision.unsigned_abs()) })),
                Err(problem) => Err(KeeperError::Unreadable { name, problem }),
            })
        });
        opened.collect()
    }
}

#[async_trait]
impl Secrets for Keeper {
    async fn read(&self, names: &BTreeSet<SecretName>) -> Result<BTreeMap<SecretName, Secret>, SecretError> {
        self.find(names).await.map_err(|problem| problem.for_reader(names.first()))
    }

    fn revisions(&self) -> watch::Receiver<Option<Arc<SecretRevisions>>> {
        self.revisions.subscribe()
    }
}

/// What has to be encrypted anew; none when it was encrypted with the current key.
fn renewed(keyring: &Keyring, stored: &StoredValue) -> Result<Option<(SecretName, SecretString)>, OpenError> {
    let name: SecretName = stored.name.parse().map_err(|_| OpenError::OfAnother)?;
    // One that opens with the current key may be that of another secret all the same.
    let value = open(keyring, &name, &stored.ciphertext)?;
    Ok(keyring.needs_reencryption(&stored.ciphertext)?.then_some((name, value)))
}

fn check(value: &SecretString, description: Option<&str>) -> Result<(), KeeperError> {
    let invalid = |problem: String| Err(KeeperError::Invalid(problem));
    match (value.reveal().len(), description.map_or(0, str::len)) {
        (0, _) => invalid("a secret without a value is none: delete it instead".to_owned()),
        (bytes, _) if bytes > MAX_VALUE_BYTES => invalid(format!("the value has {bytes} bytes; {MAX_VALUE_BYTES} are allowed")),
        (_, bytes) if bytes > MAX_DESCRIPTION_BYTES => {
            invalid(format!("the description has {bytes} bytes; {MAX_DESCRIPTION_BYTES} are allowed"))
        }
        _ if description.is_some_and(|text| text.contains('\0')) => invalid("the description has a zero character".to_owned()),
        _ => Ok(()),
    }
}

async fn record(
    audit: Option<&dyn AuditLog>,
    connection: &mut PgConnection,
    caller: &Caller,
    action: &'static str,
    object: &str,
    details: Value,
) -> Result<(), KeeperError> {
    match audit {
        Some(audit) => Ok(audit.record(connection, caller, action, object, details).await?),
        None => Ok(()),
    }
}
