//! Configurations of the server's native plugins (platform facts §5.2): what admins set, in records with a version, whose secret
//! fields are encrypted.
//!
//! A plugin defines each kind once ([`Configurations::define`]) with the format of [`checkstack_settings::record`]. What is stored
//! is always migrated, decrypted and validated before a plugin gets it, and never leaves without its secrets being taken out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_plugin_package::PluginId;
use checkstack_settings::keyring::Keyring;
use checkstack_settings::record::{MigrationError, Record, RecordError, Versioned};
use checkstack_settings::secret::{SecretError, SecretFields, SecretSchemaError};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::database::NativeDatabase;
use crate::database::DatabaseError;
use crate::encryption::{EncryptionKeys, EncryptionKeysError};

/// Of one statement, or one transaction.
const DEADLINE: Duration = Duration::from_secs(5);

/// The configurations of all native plugins: the table `checkstack.plugin_configs`.
#[derive(Clone)]
pub struct Configurations {
    database: NativeDatabase,
    keys: EncryptionKeys,
    /// Which fields of each kind are secret, for whoever encrypts all of them anew.
    kinds: Arc<Mutex<BTreeMap<Name, SecretFields>>>,
}

/// Plugin and configuration.
type Name = (String, &'static str);

/// One kind of configuration of one plugin.
pub struct Configuration<T> {
    database: NativeDatabase,
    keys: EncryptionKeys,
    plugin_id: PluginId,
    id: &'static str,
    kind: Arc<Kind<T>>,
}

struct Kind<T> {
    format: Versioned<T>,
    secrets: SecretFields,
}

/// What became of encrypting all configurations with the current key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// So many had secrets that another key had encrypted.
    pub reencrypted: u32,
    /// So many had none, or none such.
    pub unchanged: u32,
    /// `<plugin>/<configuration>` and why; they are as they were.
    pub failures: Vec<(String, String)>,
}

/// Why a configuration was not read or stored. Has no part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It has secrets, and there is no key.
    #[error(transparent)]
    Keys(#[from] EncryptionKeysError),
    /// What is stored is none.
    #[error("the configuration '{id}' of '{plugin_id}' in checkstack.plugin_configs is no record: {problem}")]
    Unreadable {
        /// Whose
        plugin_id: PluginId,
        /// Which
        id: &'static str,
        /// Why
        problem: serde_json::Error,
    },
    /// What is stored is of a version that this release does not know, or cannot be brought to its own.
    #[error("the configuration '{id}' of '{plugin_id}' cannot be used: {problem}")]
    Migration {
        /// Whose
        plugin_id: PluginId,
        /// Which
        id: &'static str,
        /// Why
        problem: MigrationError,
    },
    /// It is not what the plugin's schema says.
    #[error("the configuration '{id}' of '{plugin_id}' is not valid: {problem}")]
    Invalid {
        /// Whose
        plugin_id: PluginId,
        /// Which
        id: &'static str,
        /// Why
        problem: RecordError,
    },
    /// See there.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Configurations {
    pub(crate) fn new(database: NativeDatabase, keys: EncryptionKeys) -> Self {
        Self { database, keys, kinds: Arc::default() }
    }

    /// A kind of configuration of a plugin, under an id that is its own.
    ///
    /// # Errors
    /// When secrets cannot be found by the format's schema: a fault of the server.
    pub fn define<T>(&self, plugin_id: &PluginId, id: &'static str, format: Versioned<T>) -> Result<Configuration<T>, SecretSchemaError> {
        let secrets = SecretFields::new(plugin_id.as_str(), format.schema())?;
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert((plugin_id.to_string(), id), secrets.clone());
        let kind = Arc::new(Kind { format, secrets });
        Ok(Configuration { database: self.database.clone(), keys: self.keys.clone(), plugin_id: plugin_id.clone(), id, kind })
    }

    /// The ids of the configurations that a plugin has.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ids(&self, plugin_id: &PluginId) -> Result<Vec<String>, DatabaseError> {
        let (ids, plugin_id) = ("SELECT config_id FROM checkstack.plugin_configs WHERE plugin_id = $1 ORDER BY 1", plugin_id.to_string());
        self.database.run(DEADLINE, |connection| Box::pin(sqlx::query_scalar(ids).bind(plugin_id).fetch_all(connection))).await
    }

    /// Encrypts all secrets in configurations with the current key. One that cannot be read is named, and keeps no other from it.
    ///
    /// # Errors
    /// When the database does not answer, or there is no key.
    pub async fn reencrypt(&self) -> Result<Reencrypted, ConfigurationError> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut outcome = Reencrypted::default();
        for ((plugin_id, id), secrets) in kinds {
            let keyring = self.keys.keyring().await?;
            let name = format!("{plugin_id}/{id}");
            let renewed =
                self.database.transact(DEADLINE, move |connection| Box::pin(reencrypt_one(connection, plugin_id, id, secrets, keyring)));
            match renewed.await? {
                Ok(true) => outcome.reencrypted += 1,
                Ok(false) => outcome.unchanged += 1,
                Err(NotReencrypted::Database(problem)) => return Err(DatabaseError::from(problem).into()),
                Err(problem) => outcome.failures.push((name, problem.to_string())),
            }
        }
        Ok(outcome)
    }
}

#[derive(Debug, thiserror::Error)]
enum NotReencrypted {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("it is no record: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

async fn reencrypt_one(
    connection: &mut PgConnection,
    plugin_id: String,
    id: &'static str,
    secrets: SecretFields,
    keyring: Keyring,
) -> Result<bool, NotReencrypted> {
    let Some(stored) = lock(connection, &plugin_id, id).await? else {
        return Ok(false);
    };
    let record: Record = serde_json::from_value(stored)?;
    let Some(data) = secrets.reencrypt(record.data.clone(), &keyring)? else { return Ok(false) };
    store(connection, &plugin_id, id, &record.with(data)).await?;
    Ok(true)
}

impl<T: DeserializeOwned + Send + 'static> Configuration<T> {
    /// None: nobody has set it. What is of an older version is migrated, and stored if nobody has changed it meanwhile.
    ///
    /// # Errors
    /// When it cannot be read, migrated or decrypted, or is not valid.
    pub async fn read(&self) -> Result<Option<T>, ConfigurationError> {
        let Some((stored, record)) = self.stored().await? else { return Ok(None) };
        let data = match self.kind.secrets.paths(&record.data).is_empty() {
            true => record.data.clone(),
            false => self.kind.secrets.decrypt(record.data.clone(), &self.keys.keyring().await?)?,
        };
        let read = self.kind.format.validate(data).map_err(|problem| self.invalid(problem))?;
        if stored.get("version") != Some(&record.version.into()) {
            self.exchange(stored, record).await?;
        }
        Ok(Some(read))
    }

    /// What people may see of it: secrets are taken out.
    ///
    /// # Errors
    /// When it cannot be read or migrated.
    pub async fn redacted(&self) -> Result<Option<Value>, ConfigurationError> {
        Ok(self.stored().await?.map(|(_, record)| self.kind.secrets.redact(record.data)))
    }

    /// Stores what somebody has entered, in the newest version. Where a secret is blank or missing, the stored one stays. Returned is
    /// what plugins get from now on.
    ///
    /// # Errors
    /// When it is not valid, or its secrets cannot be encrypted; then what is stored stays.
    pub async fn write(&self, entered: Value) -> Result<T, ConfigurationError> {
        // Whether one is needed is known once it is known what is stored.
        let keyring = self.keys.keyring().await;
        let (kind, plugin_id, id) = (self.kind.clone(), self.plugin_id.clone(), self.id);
        let written =
            self.database.transact(DEADLINE, move |connection| Box::pin(write(connection, kind, plugin_id, id, entered, keyring)));
        written.await?
    }

    /// False: nobody had set it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete(&self) -> Result<bool, ConfigurationError> {
        let (plugin_id, id) = (self.plugin_id.to_string(), self.id);
        let delete = "DELETE FROM checkstack.plugin_configs WHERE plugin_id = $1 AND config_id = $2";
        let deleted =
            self.database.run(DEADLINE, |connection| Box::pin(sqlx::query(delete).bind(plugin_id).bind(id).execute(connection))).await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// As it is stored, and in the newest version.
    async fn stored(&self) -> Result<Option<(Value, Record)>, ConfigurationError> {
        let (plugin_id, id) = (self.plugin_id.to_string(), self.id);
        let read = "SELECT record FROM checkstack.plugin_configs WHERE plugin_id = $1 AND config_id = $2";
        let stored: Option<Json<Value>> = self
            .database
            .run(DEADLINE, |connection| Box::pin(sqlx::query_scalar(read).bind(plugin_id).bind(id).fetch_optional(connection)))
            .await?;
        let Some(Json(stored)) = stored else { return Ok(None) };
        let record = migrated(&self.kind, &self.plugin_id, self.id, stored.clone())?;
        Ok(Some((stored, record)))
    }

    async fn exchange(&self, before: Value, after: Record) -> Result<(), ConfigurationError> {
        let (plugin_id, id) = (self.plugin_id.to_string(), self.id);
        let exchange = "UPDATE checkstack.plugin_configs SET record = $4 WHERE plugin_id = $1 AND config_id = $2 AND record = $3";
        let exchanged = self.database.run(DEADLINE, |connection| {
            Box::pin(sqlx::query(exchange).bind(plugin_id).bind(id).bind(Json(before)).bind(Json(after)).execute(connection))
        });
        exchanged.await?;
        Ok(())
    }

    fn invalid(&self, problem: RecordError) -> ConfigurationError {
        ConfigurationError::Invalid { plugin_id: self.plugin_id.clone(), id: self.id, problem }
    }
}

async fn write<T: DeserializeOwned>(
    connection: &mut PgConnection,
    kind: Arc<Kind<T>>,
    plugin_id: PluginId,
    id: &'static str,
    entered: Value,
    keyring: Result<Keyring, EncryptionKeysError>,
) -> Result<T, ConfigurationError> {
    make_row(connection, plugin_id.as_str(), id).await.map_err(DatabaseError::from)?;
    let stored = lock(connection, plugin_id.as_str(), id).await.map_err(DatabaseError::from)?;
    let stored = match stored {
        Some(stored) => migrated(&kind, &plugin_id, id, stored)?.data,
        None => Value::Null,
    };
    let has_secrets = [&entered, &stored].into_iter().any(|value| !kind.secrets.paths(value).is_empty());
    let (sealed, opened) = match has_secrets {
        true => {
            let keyring = keyring?;
            let sealed = kind.secrets.update(entered, &stored, &keyring)?;
            (sealed.clone(), kind.secrets.decrypt(sealed, &keyring)?)
        }
        false => (entered.clone(), entered),
    };
    let invalid = |problem| ConfigurationError::Invalid { plugin_id: plugin_id.clone(), id, problem };
    let valid = kind.format.validate(opened).map_err(invalid)?;
    let record = Record::new(kind.format.version(), sealed).of_plugin(plugin_id.as_str());
    store(connection, plugin_id.as_str(), id, &record).await.map_err(DatabaseError::from)?;
    Ok(valid)
}

fn migrated<T>(kind: &Kind<T>, plugin_id: &PluginId, id: &'static str, stored: Value) -> Result<Record, ConfigurationError> {
    let unreadable = |problem| ConfigurationError::Unreadable { plugin_id: plugin_id.clone(), id, problem };
    let record = serde_json::from_value(stored).map_err(unreadable)?;
    let migration = |problem| ConfigurationError::Migration { plugin_id: plugin_id.clone(), id, problem };
    kind.format.migrate(record, Timestamp::now()).map_err(migration)
}

/// So that there is one to lock. It goes with the transaction if nothing is stored in it. (An advisory lock could be held by any plugin with
/// a database.)
async fn make_row(connection: &mut PgConnection, plugin_id: &str, id: &str) -> Result<(), sqlx::Error> {
    let make = "INSERT INTO checkstack.plugin_configs (plugin_id, config_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sqlx::query(make).bind(plugin_id).bind(id).execute(connection).await?;
    Ok(())
}

/// What is stored, and nobody else changes it before this transaction ends.
async fn lock(connection: &mut PgConnection, plugin_id: &str, id: &str) -> Result<Option<Value>, sqlx::Error> {
    let lock = "SELECT record FROM checkstack.plugin_configs WHERE plugin_id = $1 AND config_id = $2 FOR UPDATE";
    let stored: Option<Option<Json<Value>>> = sqlx::query_scalar(lock).bind(plugin_id).bind(id).fetch_optional(connection).await?;
    Ok(stored.flatten().map(|Json(stored)| stored))
}

async fn store(connection: &mut PgConnection, plugin_id: &str, id: &str, record: &Record) -> Result<(), sqlx::Error> {
    let store = "INSERT INTO checkstack.plugin_configs (plugin_id, config_id, record) VALUES ($1, $2, $3)
                 ON CONFLICT (plugin_id, config_id) DO UPDATE SET record = excluded.record, updated_at = now()";
    sqlx::query(store).bind(plugin_id).bind(id).bind(Json(record)).execute(connection).await?;
    Ok(())
}
