//! What a plugin may ask of the platform.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_cache::CacheScope;
use checkstack_plugin_package::{Grants, PluginId};
use checkstack_settings::mask::Masker;
use serde_json::{Map, Value};

use super::{CallFailure, EntityStore, PluginEvents, PluginJobs, PluginRequest, PluginResponse, PluginSignals};

/// Longer secret values, such as bundles of certificates, are not looked for in what a plugin writes: to find them takes hundreds of
/// times their size.
pub const MAX_MASKED_BYTES: usize = 4 * 1024;

/// What the platform does for one plugin. Made anew for each activation.
#[derive(Clone)]
pub struct PluginServices {
    /// The plugin.
    pub plugin_id: PluginId,
    /// `spec.config` with the secret values merged in.
    pub config: Arc<Map<String, Value>>,
    /// Takes the secret ones of these values out of what the plugin writes for people. None: there are none.
    pub masker: Option<Arc<Masker>>,
    /// `spec.configVersion`: which version of the plugin's format that is.
    pub config_version: u32,
    /// What is permitted.
    pub grants: Arc<Grants>,
    /// Those it may call, with the range it asked for.
    pub dependencies: Arc<BTreeMap<PluginId, String>>,
    /// Small values by key. `None` without the grant `database`.
    pub key_value: Option<Arc<dyn KeyValueStore>>,
    /// What it has to remember of how to work. `None` without the grant `database`.
    pub settings: Option<Arc<dyn SettingsStore>>,
    /// The plugin's own schema. `None` without the grant `database`.
    pub sql: Option<Arc<dyn SqlDatabase>>,
    /// Its queues. `None` without the grant `database`.
    pub jobs: Option<Arc<PluginJobs>>,
    /// Events for others. `None` without the grant `database`.
    pub events: Option<Arc<PluginEvents>>,
    /// Things whose changes others hear. `None` without the grant `database`.
    pub entities: Option<Arc<dyn EntityStore>>,
    /// What it tells browsers.
    pub signals: Arc<PluginSignals>,
    /// Its entries in the cache.
    pub cache: CacheScope,
    /// Requests to other plugins.
    pub peers: Arc<dyn PeerPlugins>,
}

/// Requests from one plugin to another.
#[async_trait]
pub trait PeerPlugins: Send + Sync {
    /// Calls `target`, which the caller has checked to be a declared dependency. Refused when the
    /// chain of calls that [`PluginRequest::depth`] counts is too long.
    async fn call(&self, target: &PluginId, request: PluginRequest) -> Result<PluginResponse, CallFailure>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    /// Limits of key, value or page.
    #[error("{0}")]
    Invalid(String),
    /// The database does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The key-value store of one plugin.
#[async_trait]
pub trait KeyValueStore: Send + Sync {
    /// The value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError>;
    /// Sets `key`; with `ttl_seconds` the entry is gone after that time.
    async fn set(&self, key: &str, value: Bytes, ttl_seconds: Option<u32>) -> Result<(), KeyValueError>;
    /// True when there was such a key.
    async fn delete(&self, key: &str) -> Result<bool, KeyValueError>;
    /// Keys with `prefix` after `after`, in byte order.
    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, KeyValueError>;
}

/// A record of a setting (platform facts §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Of the format.
    pub version: u32,
    /// A JSON text.
    pub data: String,
    /// Changes whenever the record does.
    pub revision: u64,
    /// Of a migrated one: the version that it was first written in,
    pub original_version: Option<u32>,
    /// and when it was migrated, in microseconds since 1970.
    pub migrated_at: Option<u64>,
}

/// Why a setting was not read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Limits of id, version, data or page.
    #[error("{0}")]
    Invalid(String),
    /// Every record is of a newer version; the oldest of them.
    #[error("the setting is of version {0}, which is newer than the one asked for")]
    Newer(u32),
    /// The database does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The settings of one plugin. Each version of a setting has a record of its own.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// The newest record that is not newer than `version`.
    async fn get(&self, id: &str, version: u32) -> Result<Option<Setting>, SettingsError>;
    /// Writes the record of a version; those of newer ones go.
    async fn set(&self, id: &str, version: u32, data: String) -> Result<(), SettingsError>;
    /// Stores what `source` has been migrated to, unless there is another record to be migrated by now. What
    /// [`Self::get`] returns then.
    async fn migrate(&self, id: &str, source: Setting, version: u32, data: String) -> Result<Option<Setting>, SettingsError>;
    /// True when there was such a setting.
    async fn delete(&self, id: &str) -> Result<bool, SettingsError>;
    /// Ids after `after`, in byte order.
    async fn ids(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, SettingsError>;
}

/// A value of a statement's parameter or of a row's column.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// NULL of whatever type the statement wants.
    Null,
    /// `boolean`
    Boolean(bool),
    /// `bigint`, and the smaller ones in rows
    Integer(i64),
    /// `double precision`
    Float(f64),
    /// `text`
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `timestamptz`, microseconds since 1970
    Timestamp(i64),
    /// `jsonb`
    Json(String),
    /// `uuid`
    Uuid(String),
    /// `numeric`
    Numeric(String),
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlStatement {
    /// With `$1`, `$2`, …
    pub text: String,
    /// In order.
    pub parameters: Vec<SqlValue>,
}

/// Rows of a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SqlRows {
    /// Names, in order. Empty when there is no row.
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<SqlValue>>,
}

/// Why a statement did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The database refused it.
    #[error("{message} (SQLSTATE {code})")]
    Database {
        /// SQLSTATE
        code: String,
        /// As the database put it.
        message: String,
        /// The violated constraint.
        constraint: Option<String>,
    },
    /// A column of a type without counterpart.
    #[error("{0}")]
    UnsupportedType(String),
    /// Too many rows or bytes.
    #[error("{0}")]
    TooLarge(String),
    /// Ran into the deadline.
    #[error("{0}")]
    Timeout(String),
    /// The database does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The schema of one plugin, reached with the plugin's own login role.
#[async_trait]
pub trait SqlDatabase: Send + Sync {
    /// Rows of one statement.
    async fn query(&self, statement: SqlStatement) -> Result<SqlRows, SqlError>;
    /// Number of rows touched.
    async fn execute(&self, statement: SqlStatement) -> Result<u64, SqlError>;
    /// All in one transaction, or none.
    async fn transact(&self, statements: Vec<SqlStatement>) -> Result<Vec<u64>, SqlError>;
}
