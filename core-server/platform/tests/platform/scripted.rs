//! Plugins that do as a test tells them, and a record of what they were asked to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_calls::access::Principal;
use checkstack_calls::contract::{Contract, Offer};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{
    CallFailure, Caller, Description, EntityKindDescription, JobOutcome, MaterialisedArtifact, Plugin, PluginEvent, PluginFailure,
    PluginLoader, PluginRequest, PluginResponse, PluginServices, ProbeDescription, ProbeOutcome, ProcedureCall, ProcedureFailure,
    QueueDescription, QueuedJob, SubscriptionDescription, Usage,
};
use checkstack_plugin_package::{PluginEntry, PluginId};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// What a plugin does. The default works.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) load: Step,
    pub(crate) init: Step,
    pub(crate) ready: Step,
    pub(crate) call: Answer,
    pub(crate) probes: Vec<ProbeDescription>,
    pub(crate) queues: Vec<QueueDescription>,
    pub(crate) subscriptions: Vec<SubscriptionDescription>,
    pub(crate) entities: Vec<EntityKindDescription>,
    /// What comes of a job or an event, by its data; others are done.
    pub(crate) jobs: Vec<(Value, JobResult)>,
    pub(crate) shutdown_hangs: bool,
    /// A contract, as JSON. What its procedures give is a `result` in their input, else who called them with what.
    pub(crate) contract: Option<Value>,
}

/// What comes of a job.
pub(crate) type JobResult = Result<JobOutcome, fn(PluginId) -> CallFailure>;

/// What a step of its life does.
#[derive(Clone, Default)]
pub(crate) enum Step {
    #[default]
    Works,
    Fails(PluginFailure),
    Hangs,
    Panics,
    Takes(Duration),
    /// A request to this plugin, which must be answered.
    Calls(&'static str),
}

/// What it answers.
#[derive(Clone, Default)]
pub(crate) enum Answer {
    /// What it was asked.
    #[default]
    Echo,
    Fails(fn(PluginId) -> CallFailure),
    /// As long as this probe is not ok.
    TrapsUnless(&'static str),
    Hangs,
    Panics,
    Takes(Duration),
    /// What this plugin answers, which may ask another.
    Asks(&'static str),
    /// The same, but the call is made in a task of its own.
    AsksElsewhere(&'static str),
    /// With these fields.
    Headers(Vec<(&'static str, &'static str)>),
}

/// A request of a plugin to another.
pub(crate) fn request(of: &str) -> PluginRequest {
    PluginRequest {
        method: http::Method::GET,
        path: "/".into(),
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        caller: Caller::Plugin(of.parse().unwrap()),
        correlation_id: "init".into(),
        depth: 1,
    }
}

/// Loads scripted plugins.
#[derive(Clone, Default)]
pub(crate) struct Scripts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// By `id@version`, or `id`.
    scripts: Mutex<BTreeMap<String, Script>>,
    events: Mutex<Vec<String>>,
    services: Mutex<BTreeMap<String, PluginServices>>,
    probes: Mutex<BTreeMap<String, bool>>,
}

impl Scripts {
    pub(crate) fn set(&self, plugin: &str, script: Script) {
        self.0.scripts.lock().unwrap().insert(plugin.into(), script);
    }

    /// The result of a plugin's probe from now on.
    pub(crate) fn set_probe(&self, name: &str, ok: bool) {
        self.0.probes.lock().unwrap().insert(name.into(), ok);
    }

    fn is_ok(&self, probe: &str) -> bool {
        self.0.probes.lock().unwrap().get(probe).copied().unwrap_or(true)
    }

    /// What the plugin that was loaded last was given.
    pub(crate) fn services(&self, plugin: &str) -> PluginServices {
        self.0.services.lock().unwrap()[plugin].clone()
    }

    /// What happened since the last call, without loading, whose order is free.
    pub(crate) fn taken_events(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.events.lock().unwrap())
    }

    fn note(&self, event: String) {
        self.0.events.lock().unwrap().push(event);
    }
}

#[async_trait]
impl PluginLoader for Scripts {
    async fn precompile(&self, artifact: &MaterialisedArtifact) -> Result<(), PluginFailure> {
        assert!(std::fs::metadata(&artifact.component).unwrap().is_file());
        std::fs::write(artifact.directory.join("compiled"), b"").unwrap();
        Ok(())
    }

    async fn load(
        &self,
        entry: &PluginEntry,
        artifact: &MaterialisedArtifact,
        services: PluginServices,
    ) -> Result<Arc<dyn Plugin>, PluginFailure> {
        assert!(artifact.component.exists());
        let name = format!("{}@{}", entry.plugin_id, entry.version);
        let script = {
            let scripts = self.0.scripts.lock().unwrap();
            scripts.get(&name).or_else(|| scripts.get(entry.plugin_id.as_str())).cloned().unwrap_or_default()
        };
        script.load.run(&services).await?;
        self.0.services.lock().unwrap().insert(entry.plugin_id.to_string(), services.clone());
        let Script { probes, queues, subscriptions, entities, .. } = script.clone();
        let description = Description { probes, queues, subscriptions, entities };
        let contract = script.contract.clone().map(|contract| serde_json::from_value::<Contract>(contract).unwrap());
        let offer = contract.map(|contract| contract.offer(entry.plugin_id.clone()).unwrap());
        Ok(Arc::new(Scripted { name, script, services, description, offer, scripts: self.clone() }))
    }
}

struct Scripted {
    name: String,
    script: Script,
    services: PluginServices,
    description: Description,
    offer: Option<Offer>,
    scripts: Scripts,
}

impl Scripted {
    fn outcome(&self, data: &Value) -> Result<JobOutcome, CallFailure> {
        match self.script.jobs.iter().find(|(known, _)| known == data) {
            Some((_, Ok(outcome))) => Ok(outcome.clone()),
            Some((_, Err(failure))) => Err(failure(self.services.plugin_id.clone())),
            None => Ok(JobOutcome::Done),
        }
    }

    /// The same request, of this plugin's.
    fn on_behalf_of(&self, request: PluginRequest) -> PluginRequest {
        PluginRequest { caller: Caller::Plugin(self.services.plugin_id.clone()), depth: request.depth + 1, ..request }
    }
}

impl Step {
    async fn run(&self, services: &PluginServices) -> Result<(), PluginFailure> {
        match self {
            Self::Works => Ok(()),
            Self::Fails(failure) => Err(failure.clone()),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("as scripted"),
            Self::Takes(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Self::Calls(other) => {
                let answer = services.peers.call(&other.parse().unwrap(), request(services.plugin_id.as_str())).await;
                answer.map(|_| ()).map_err(|failure| PluginFailure::terminal(PluginReason::InitFailed, failure.to_string()))
            }
        }
    }

    pub(crate) fn fails(message: &str) -> Self {
        Self::Fails(PluginFailure::terminal(PluginReason::InitFailed, message))
    }
}

#[async_trait]
impl Plugin for Scripted {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        self.scripts.note(format!("init {}", self.name));
        self.script.init.run(&self.services).await
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        self.scripts.note(format!("ready {}", self.name));
        self.script.ready.run(&self.services).await
    }

    async fn handle(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let mut headers = HeaderMap::new();
        match &self.script.call {
            Answer::Echo => {}
            Answer::Fails(failure) => return Err(failure(self.services.plugin_id.clone())),
            Answer::TrapsUnless(probe) if !self.scripts.is_ok(probe) => {
                return Err(CallFailure::Trapped(self.services.plugin_id.clone(), "unreachable".into()));
            }
            Answer::TrapsUnless(_) => {}
            Answer::Hangs => std::future::pending().await,
            Answer::Panics => panic!("as scripted"),
            Answer::Takes(time) => tokio::time::sleep(*time).await,
            Answer::Asks(other) => {
                return self.services.peers.call(&other.parse().unwrap(), self.on_behalf_of(request)).await;
            }
            Answer::AsksElsewhere(other) => {
                let (peers, other, request) = (self.services.peers.clone(), other.parse().unwrap(), self.on_behalf_of(request));
                return tokio::spawn(async move { peers.call(&other, request).await }).await.unwrap();
            }
            Answer::Headers(fields) => {
                for (name, value) in fields {
                    headers.append(*name, HeaderValue::from_static(value));
                }
            }
        }
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let caller = match &request.caller {
            Caller::Anonymous => "anonymous".to_owned(),
            Caller::Plugin(id) => id.to_string(),
        };
        let names: Vec<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
        let body = json!({
            "plugin": self.name, "method": request.method.as_str(), "path": request.path, "query": request.query,
            "headers": names, "body": String::from_utf8_lossy(&request.body), "caller": caller,
            "correlationId": request.correlation_id, "config": &*self.services.config,
        });
        Ok(PluginResponse { status: StatusCode::OK, headers, body: Bytes::from(body.to_string()) })
    }

    fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    async fn work(&self, job: QueuedJob) -> Result<JobOutcome, CallFailure> {
        self.scripts.note(format!("{} does {} of {} after {} attempts", self.name, job.data, job.queue, job.attempts));
        self.outcome(&job.data)
    }

    async fn listen(&self, event: PluginEvent) -> Result<JobOutcome, CallFailure> {
        let PluginEvent { event, worker_group, payload, actor, attempts } = event;
        let group = worker_group.unwrap_or_else(|| "nobody".into());
        self.scripts.note(format!("{} hears {event} {payload} for {group} from {} after {attempts} attempts", self.name, actor.id));
        self.outcome(&payload)
    }

    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        let input = call.input.unwrap_or_default();
        if input["fails"] == true {
            return Err(CallError::with_message(ErrorCode::Conflict, "as scripted").into());
        }
        if input["traps"] == true {
            return Err(CallFailure::Trapped(self.services.plugin_id.clone(), "unreachable".into()).into());
        }
        let caller = match call.principal {
            Some(Principal::Service(plugin)) => plugin.to_string(),
            other => format!("{other:?}"),
        };
        let echo = || json!({ "procedure": call.procedure, "input": input, "caller": caller, "correlationId": call.correlation_id });
        Ok(Some(input.get("result").cloned().unwrap_or_else(echo)))
    }

    async fn check(&self, probe: &str) -> Result<ProbeOutcome, CallFailure> {
        let ok = self.scripts.is_ok(probe);
        Ok(ProbeOutcome { ok, message: (!ok).then(|| "scripted".to_owned()) })
    }

    fn usage(&self) -> Usage {
        Usage { instances: 2, memory_bytes: 4096, waiting: 1, queued: Duration::from_millis(1500), busy: Duration::from_secs(2) }
    }

    async fn shutdown(&self) {
        self.scripts.note(format!("shutdown {}", self.name));
        if self.script.shutdown_hangs {
            std::future::pending().await
        }
    }
}
