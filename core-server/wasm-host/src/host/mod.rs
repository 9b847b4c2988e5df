//! What the server does for a plugin: one module for each interface that the world imports.
//!
//! Everything here is reached by guest code, so everything is bounded, and what needs a grant says
//! which one.

mod cache;
mod clock;
mod config;
mod entities;
mod events;
mod http_client;
mod jobs;
mod key_value;
mod log;
mod plugins;
mod resolver;
mod settings;
mod signals;
mod sql;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_events::Actor;
use checkstack_platform::plugin::{MAX_MASKED_BYTES, PluginServices};
use checkstack_plugin_package::PluginId;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use self::http_client::HttpClient;
use self::log::LogBudget;
use crate::WasmHostError;
use crate::bindings::Plugin;
use crate::bindings::checkstack::plugin::types;
use crate::failure::one_line;
use crate::grants::{HttpPolicy, InvalidOrigin};
use crate::lane::Stretch;
use crate::limits::InstanceLimits;

/// Characters of an error message or of a probe's message.
const MAX_MESSAGE_CHARACTERS: usize = 1000;

/// What all instances of one plugin share.
pub(crate) struct PluginContext {
    pub(crate) services: PluginServices,
    /// `services.config` as the guest reads it.
    config: String,
    http: HttpClient,
    log_budget: LogBudget,
    /// The zero of the guest's monotonic clock.
    started: Instant,
}

impl PluginContext {
    pub(crate) fn new(services: PluginServices) -> Result<Self, InvalidOrigin> {
        let http = HttpClient::new(HttpPolicy::new(&services.grants.http)?, services.plugin_id.clone());
        // A map of JSON values always has a JSON text.
        let config = serde_json::to_string(&*services.config).unwrap_or_else(|_| "{}".into());
        Ok(Self { services, config, http, log_budget: LogBudget::new(), started: Instant::now() })
    }

    pub(crate) fn plugin_id(&self) -> &PluginId {
        &self.services.plugin_id
    }

    /// What the plugin writes for people, without its secrets.
    fn without_secrets<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.services.masker {
            Some(masker) => masker.text(text),
            None => Cow::Borrowed(text),
        }
    }

    /// A message of the plugin's for a status: short, on one line, without its secrets.
    pub(crate) fn message(&self, text: &str) -> String {
        // Some more than is shown, so that a secret that lies across the end is whole.
        let end = text.floor_char_boundary(MAX_MESSAGE_CHARACTERS * 4 + MAX_MASKED_BYTES);
        one_line(&self.without_secrets(text.get(..end).unwrap_or_default()), MAX_MESSAGE_CHARACTERS)
    }

    /// How long one call may take.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.services.grants.deadline_milliseconds)
    }
}

/// The call that an instance is working on.
pub(crate) struct CurrentCall {
    pub(crate) correlation_id: String,
    pub(crate) deadline: Instant,
    /// False in `describe`, which must leave no trace.
    pub(crate) may_act: bool,
    /// How many plugins are in the chain of calls before this one.
    depth: u8,
    /// Who has caused it. None: nobody but the plugin.
    actor: Option<Actor>,
    log_lines: u32,
}

impl CurrentCall {
    /// Something that the server itself wants of the plugin.
    pub(crate) fn new(correlation_id: String, deadline: Instant, may_act: bool) -> Self {
        Self { correlation_id, deadline, may_act, depth: 0, actor: None, log_lines: 0 }
    }

    /// The same, at a place in a chain of calls.
    pub(crate) fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }

    /// The same, on behalf of somebody.
    pub(crate) fn caused_by(self, actor: Option<Actor>) -> Self {
        Self { actor, ..self }
    }

    /// What is left of the deadline.
    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What belongs to one instance: the data of its store.
pub(crate) struct HostState {
    pub(crate) plugin: Arc<PluginContext>,
    pub(crate) limits: InstanceLimits,
    pub(crate) stretch: Arc<Stretch>,
    pub(crate) call: CurrentCall,
}

impl HostState {
    /// For imports that change or ask something outside the plugin.
    fn check_may_act(&self) -> Result<(), String> {
        match self.call.may_act {
            true => Ok(()),
            false => Err("describe may not use this; do it in init".into()),
        }
    }

    /// For imports of the database.
    fn database<'a, T: ?Sized>(&'a self, service: Option<&'a Arc<T>>) -> Result<Arc<T>, String> {
        self.check_may_act()?;
        service.cloned().ok_or_else(|| "the grant 'database' is missing: set spec.grants.database to true".into())
    }
}

/// It has types only.
impl types::Host for HostState {}

/// The world's imports, for all plugins alike.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<HostState>, WasmHostError> {
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)
        .map_err(|error| WasmHostError::Engine(format!("{error:#}")))?;
    Ok(linker)
}
