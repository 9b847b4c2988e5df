//! The plugin contract: what the platform asks of a plugin, whatever it is made of.
//!
//! [`Plugin`] is implemented by the sandbox (`checkstack-wasm-host`) and by native plugins;
//! [`PluginLoader`] makes one from a materialised artifact. What a plugin may ask of the platform
//! is [`PluginServices`].

mod description;
mod entities;
mod failure;
mod services;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_calls::access::Principal;
use checkstack_calls::contract::Offer;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::files::File;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId};
use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

pub use self::description::{
    Delivery, Description, EntityKindDescription, ProbeDescription, QueueDescription, SubscriptionDescription, Topic,
};
pub use self::entities::{EntityFailure, EntityMutation, EntityStore};
pub use self::failure::{CallFailure, PluginFailure, ProcedureFailure};
pub use self::services::{
    KeyValueError, KeyValueStore, MAX_MASKED_BYTES, PeerPlugins, PluginServices, Setting, SettingsError, SettingsStore, SqlDatabase,
    SqlError, SqlRows, SqlStatement, SqlValue,
};
pub use self::work::{JobOutcome, PluginEvent, QueuedJob};
pub use checkstack_entities::{EntityChanged, InStateSince};

pub use crate::events::PluginEvents;
pub use crate::jobs::PluginJobs;
pub use crate::signals::PluginSignals;

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

    /// Runs a procedure that answers with a stream of events. For plugins that are a part of the server; an event is an output, and
    /// the next one is asked for when the caller has taken those before. It is dropped when the caller goes.
    async fn stream(&self, call: ProcedureCall) -> Result<ProcedureEvents, ProcedureFailure> {
        let _ = call;
        Err(CallError::new(ErrorCode::NotImplemented).into())
    }

    /// Does a job of a queue of its description.
    async fn work(&self, job: QueuedJob) -> Result<JobOutcome, CallFailure> {
        Ok(JobOutcome::Permanent(format!("the plugin has no worker for the queue '{}'", job.queue)))
    }

    /// Is told of an event that it has subscribed to.
    async fn listen(&self, event: PluginEvent) -> Result<JobOutcome, CallFailure> {
        Ok(JobOutcome::Permanent(format!("the plugin does not listen to '{}'", event.event)))
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

    /// Brings what another pod has compiled of an artifact whose component is not here. True if it is here now, and was made by a
    /// server of this instance; then the artifact can be loaded without its component.
    async fn receive(&self, artifact: &MaterialisedArtifact) -> bool {
        let _ = artifact;
        false
    }

    /// Whether there is code beside the place of the component, which may turn out to be of no use.
    async fn has_code(&self, artifact: &MaterialisedArtifact) -> bool {
        let _ = artifact;
        false
    }

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
    /// Those that the input describes, by their numbers. Only for parts of the server.
    pub files: Vec<File>,
    /// Who calls. None: somebody who has not shown who they are.
    pub principal: Option<Principal>,
    /// Ties log lines together.
    pub correlation_id: String,
    /// As in [`PluginRequest::depth`].
    pub depth: u8,
}

/// What a procedure answers that has a stream of events: outputs, until it ends or fails.
pub type ProcedureEvents = BoxStream<'static, Result<Option<Value>, CallError>>;

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
