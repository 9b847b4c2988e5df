//! The plugin contract: what the platform asks of a plugin, whatever it is made of.
//!
//! [`Plugin`] is implemented by the sandbox (`checkstack-wasm-host`) and by native plugins;
//! [`PluginLoader`] makes one from a materialised artifact. What a plugin may ask of the platform
//! is [`PluginServices`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_calls::access::Principal;
use checkstack_calls::contract::Offer;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, Grants, PluginEntry, PluginId};
use checkstack_settings::mask::Masker;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

pub use crate::jobs::PluginJobs;

/// A plugin that has been loaded, and not more: nothing of it has run but `describe`.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// What it contributes. Has no side effects.
    fn description(&self) -> &Description;

    /// Makes it able to work. Called once per activation, after the plugins it depends on. May take
    /// [`ACTIVATION_FACTOR`] times the deadline of a call. A plugin of several instances initialises one
    /// of them here, and each further one when it is made, within the deadline of the call that needs it.
    async fn init(&self) -> Result<(), PluginFailure>;

    /// Called once per activation, when all plugins of the set have been initialised. Has as much time as
    /// [`Self::init`].
    async fn after_plugins_ready(&self) -> Result<(), PluginFailure>;

    /// Answers a request to `/api/<id>/…`.
    async fn handle(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure>;

    /// What it offers to callers: procedures that the platform routes, guards and checks. Requests that lead to one of them
    /// do not come to [`Self::handle`].
    fn offer(&self) -> Option<&Offer> {
        None
    }

    /// Runs a procedure of its offer, for a caller who may make the call, with an input that is what the contract says.
    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        let _ = call;
        Err(CallError::new(ErrorCode::NotImplemented).into())
    }

    /// Does a job of a queue of its description.
    async fn work(&self, job: QueuedJob) -> Result<JobOutcome, CallFailure> {
        Ok(JobOutcome::Permanent(format!("the plugin has no worker for the queue '{}'", job.queue)))
    }

    /// Runs a probe of its description.
    async fn check(&self, probe: &str) -> Result<ProbeOutcome, CallFailure>;

    /// Called once, when no request is running any more. Has a deadline of its own.
    async fn shutdown(&self);

    /// What it takes, for the metrics. Asked often, and never waits.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What a plugin takes now, and has taken since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instances that there are, those at rest included.
    pub instances: u64,
    /// Bytes of memory of all instances.
    pub memory_bytes: u64,
    /// Calls that wait for an instance.
    pub waiting: u64,
    /// How long calls have waited for an instance, all together.
    pub queued: Duration,
    /// How long threads have worked for it, all together.
    pub busy: Duration,
}

/// `init` and `after_plugins_ready` may take this many times the deadline of an ordinary call,
pub const ACTIVATION_FACTOR: u32 = 10;
/// but what is less than this may be too little for them.
pub const ACTIVATION_AT_LEAST: Duration = Duration::from_secs(10);

/// Makes plugins from materialised artifacts.
#[async_trait]
pub trait PluginLoader: Send + Sync {
    /// Prepares the artifact in `artifact` so that loading it is quick: compiles it. Does nothing
    /// when that has been done, and joins when it is being done: who calls this may go and come back.
    async fn precompile(&self, artifact: &MaterialisedArtifact) -> Result<(), PluginFailure>;

    /// Loads a plugin and asks it for its description. Compiles first if need be.
    async fn load(
        &self,
        entry: &PluginEntry,
        artifact: &MaterialisedArtifact,
        services: PluginServices,
    ) -> Result<Arc<dyn Plugin>, PluginFailure>;
}

/// Compiled code that all pods of an instance share. It may lose what it was given, and what it gives is not to be
/// trusted without proof.
#[async_trait]
pub trait CodeCache: Send + Sync {
    /// What was put for an artifact and a target: whatever decides, besides the artifact, what the code must be.
    async fn get(&self, artifact: &Digest, target: &str) -> Option<Bytes>;

    /// Keeps code in the place of what was there.
    async fn put(&self, artifact: &Digest, target: &str, code: Bytes);
}

/// An artifact whose bytes were verified and laid out in the pod's state directory.
#[derive(Debug, Clone)]
pub struct MaterialisedArtifact {
    /// Of the `.tgz` it came from.
    pub digest: Digest,
    /// The directory that belongs to this artifact alone; only this server writes to it.
    pub directory: PathBuf,
    /// The component, below `directory`.
    pub component: PathBuf,
}

/// What a plugin contributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Readiness checks.
    pub probes: Vec<ProbeDescription>,
    /// Queues whose jobs it does.
    pub queues: Vec<QueueDescription>,
}

/// A queue of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDescription {
    /// Unique within the plugin.
    pub name: String,
    /// Jobs that this replica does at once.
    pub concurrency: u32,
    /// Attempts after the first.
    pub max_retries: u32,
}

/// A job of a plugin's queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedJob {
    /// As the plugin calls it.
    pub queue: String,
    /// The same for each attempt.
    pub id: String,
    /// What was enqueued.
    pub data: Value,
    /// Attempts that have failed before this one.
    pub attempts: u32,
    /// Microseconds since 1970.
    pub enqueued_at: u64,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It is done.
    Done,
    /// Another attempt may work.
    Retry(String),
    /// No attempt will work.
    Permanent(String),
}

/// A readiness check that a plugin contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeDescription {
    /// Unique within the plugin.
    pub name: String,
    /// Whether the pod is unready while it fails. Counts only for a plugin that an admin has marked as
    /// critical: no other plugin decides over the pod.
    pub critical: bool,
}

/// The answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// Whether all is well.
    pub ok: bool,
    /// What the probe has to say.
    pub message: Option<String>,
}

/// Who makes a request. Never taken from a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// Another plugin of this instance.
    Plugin(PluginId),
}

/// How many plugins may be in one chain of calls, each calling the next.
pub const MAX_CALL_DEPTH: u8 = 8;

/// A request to a plugin.
#[derive(Debug, Clone)]
pub struct PluginRequest {
    /// HTTP method.
    pub method: Method,
    /// Below `/api/<id>`, beginning with `/`, not decoded.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// Without hop-by-hop fields.
    pub headers: HeaderMap,
    /// Whole: the platform limits its size before.
    pub body: Bytes,
    /// Who asks.
    pub caller: Caller,
    /// Ties log lines together.
    pub correlation_id: String,
    /// How many plugins are in the chain of calls that led here: 0 for a request from outside. A
    /// plugin that asks another while it answers gives it one more than it was given itself, so that
    /// a circle ends at [`MAX_CALL_DEPTH`] wherever its calls are run.
    pub depth: u8,
}

/// A call of a procedure that a plugin offers.
#[derive(Debug, Clone)]
pub struct ProcedureCall {
    /// Its path in the contract.
    pub procedure: String,
    /// None: it takes nothing.
    pub input: Option<Value>,
    /// Who calls. None: somebody who has not shown who they are.
    pub principal: Option<Principal>,
    /// Ties log lines together.
    pub correlation_id: String,
    /// As in [`PluginRequest::depth`].
    pub depth: u8,
}

/// A plugin's answer.
#[derive(Debug, Clone)]
pub struct PluginResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// As the plugin gave them; the platform removes hop-by-hop fields.
    pub headers: HeaderMap,
    /// Whole.
    pub body: Bytes,
}

/// Why a plugin could not be brought up. One of these never affects another plugin, but those
/// that depend on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginFailure {
    /// For status.
    pub reason: PluginReason,
    /// One sentence: what is wrong and what to do.
    pub message: String,
    /// Whether trying again without any change may help.
    pub transient: bool,
}

impl PluginFailure {
    /// A failure that lasts until something is changed.
    pub fn terminal(reason: PluginReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: false }
    }

    /// A failure that may pass.
    pub fn transient(reason: PluginReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: true }
    }
}

/// Why a running plugin did not answer a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// All instances are busy and the queue is full.
    #[error("plugin '{0}' is at its concurrency limit")]
    Overloaded(PluginId),
    /// It did not answer within its deadline.
    #[error("plugin '{0}' did not answer within its deadline of {1} ms")]
    DeadlineExceeded(PluginId, u64),
    /// It trapped. The text is for the log, not for the caller.
    #[error("plugin '{0}' trapped: {1}")]
    Trapped(PluginId, String),
    /// What it answered is no HTTP response.
    #[error("plugin '{0}' gave an invalid answer: {1}")]
    InvalidAnswer(PluginId, String),
    /// It is not running.
    #[error("plugin '{0}' is not running")]
    NotRunning(PluginId),
    /// It was at fault again and again, and is left alone for so many seconds.
    #[error("plugin '{0}' is not called because it failed again and again; it is tried again in {1} s")]
    Quarantined(PluginId, u64),
    /// Plugins call each other in a chain that is too long, in a circle most likely.
    #[error("plugin '{0}' was not called: there are {MAX_CALL_DEPTH} plugins in the chain of calls already, which is the limit")]
    TooDeep(PluginId),
}

/// Why a procedure gave no output.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProcedureFailure {
    /// So its caller is told.
    #[error(transparent)]
    Refused(#[from] CallError),
    /// It did not come to an end.
    #[error(transparent)]
    Failed(#[from] CallFailure),
}

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
