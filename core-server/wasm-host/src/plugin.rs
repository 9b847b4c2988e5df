//! A sandboxed plugin, as the platform sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::contract::Offer;
use checkstack_platform::plugin::{
    ACTIVATION_FACTOR, CallFailure, Description, JobOutcome, Plugin, PluginEvent, PluginFailure, PluginRequest, PluginResponse,
    ProbeOutcome, ProcedureCall, ProcedureFailure, QueuedJob, Usage,
};
use checkstack_plugin_package::PluginId;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::WasmHostSettings;
use crate::failure::{GuestFailure, Phase};
use crate::instance::{Deadline, Template};
use crate::lane::{self, Abandoned, Pace};
use crate::loader::Foundation;
use crate::pool::{self, Lease, Pool};
use crate::{description, messages, procedures};

/// What the server itself wants of a plugin is at the beginning of a chain of calls.
const OUTSIDE: u8 = 0;

/// See the module.
pub(crate) struct WasmPlugin {
    description: Description,
    offer: Option<Offer>,
    pool: Arc<Pool>,
    pace: Arc<Pace>,
    foundation: Arc<Foundation>,
    max_response_bytes: usize,
    activation_at_least: Duration,
    shutdown_timeout: Duration,
    _shrinking: AbortOnDropHandle<()>,
}

impl WasmPlugin {
    /// Makes the first instance and asks it for its description.
    pub(crate) async fn load(template: Template, foundation: Arc<Foundation>, settings: &WasmHostSettings) -> Result<Self, PluginFailure> {
        let pool = Pool::new(template, settings);
        let pace = Arc::new(Pace::new());
        let (description, offer) = {
            let deadline = Deadline::after(pool.template().context.deadline());
            let mut lease = pool.admit_step(Phase::Describe, deadline).await.map_err(GuestFailure::into_plugin_failure)?;
            let plugin = pool.template().context.plugin_id().clone();
            let describing = async move {
                let (description, contract) = lease.instance(deadline).await?.describe(deadline).await?;
                // The first to be initialised.
                lease.give_back();
                // Here, since the guest decides how much work it is.
                Ok((description, contract.map(|text| procedures::offer(&text, &plugin)).transpose()))
            };
            in_background(&foundation, &pace, Phase::Describe, describing).await.map_err(GuestFailure::into_plugin_failure)?
        };
        description::check(&description)?;
        let offer = offer.map_err(|problem| description::invalid(format!("gives a contract that {problem}")))?;
        let shrinking = tokio::spawn(pool::keep_small(Arc::downgrade(&pool), settings.idle_timeout));
        Ok(Self {
            description,
            offer,
            pool,
            pace,
            foundation,
            max_response_bytes: settings.max_response_bytes,
            activation_at_least: settings.activation_at_least,
            shutdown_timeout: settings.shutdown_timeout,
            _shrinking: AbortOnDropHandle::new(shrinking),
        })
    }

    fn id(&self) -> &PluginId {
        self.pool.template().context.plugin_id()
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.pool.template().context.deadline())
    }

    /// For the first instance, which nobody waits for but the plugin itself. Later ones are made within
    /// the deadline of the call that needs them.
    fn activation_deadline(&self) -> Deadline {
        let call = self.pool.template().context.deadline();
        Deadline::after(call.saturating_mul(ACTIVATION_FACTOR).max(self.activation_at_least))
    }

    /// Runs a call on an initialised instance, here or in the background.
    async fn call<T, F>(&self, phase: Phase, work: impl FnOnce(Lease, Deadline) -> F) -> Result<T, CallFailure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, GuestFailure>> + Send + 'static,
    {
        // From the caller's point of view waiting for an instance is part of the call.
        let deadline = self.deadline();
        let lease = self.pool.admit(deadline).await?;
        let stretch = Arc::clone(lease.stretch());
        let work = work(lease, deadline);
        let result = lane::run(Arc::clone(&self.foundation.background), Arc::clone(&self.pace), stretch, work).await;
        result.unwrap_or_else(|Abandoned| Err(GuestFailure::abandoned(phase))).map_err(|failure| failure.into_call_failure(self.id()))
    }
}

#[async_trait]
impl Plugin for WasmPlugin {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        let deadline = self.activation_deadline();
        let pool = Arc::clone(&self.pool);
        let initialising = async move {
            let mut lease = pool.admit_step(Phase::Init, deadline).await?;
            lease.initialised(deadline, OUTSIDE).await?;
            lease.give_back();
            Ok(())
        };
        in_background(&self.foundation, &self.pace, Phase::Init, initialising).await.map_err(GuestFailure::into_plugin_failure)?;
        match self.pool.run() {
            true => Ok(()),
            false => Err(GuestFailure::abandoned(Phase::Init).into_plugin_failure()),
        }
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        let deadline = self.activation_deadline();
        let pool = Arc::clone(&self.pool);
        let finishing = async move {
            let mut lease = pool.admit_step(Phase::AfterPluginsReady, deadline).await?;
            lease.initialised(deadline, OUTSIDE).await?.after_plugins_ready(deadline).await?;
            lease.give_back();
            Ok(())
        };
        in_background(&self.foundation, &self.pace, Phase::AfterPluginsReady, finishing).await.map_err(GuestFailure::into_plugin_failure)
    }

    async fn handle(&self, request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        let max_body_bytes = self.max_response_bytes;
        let handling = |mut lease: Lease, deadline| async move {
            let response = lease.initialised(deadline, request.depth).await?.handle(&request, deadline).await?;
            lease.give_back();
            // Where the guest has run: to give back the memory of a large answer that is refused takes its time as well.
            Ok(messages::response_from_guest(response, max_body_bytes))
        };
        let response = self.call(Phase::Handle, handling).await?;
        response.map_err(|problem| CallFailure::InvalidAnswer(self.id().clone(), problem))
    }

    fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        let max_bytes = self.max_response_bytes;
        let running = |mut lease: Lease, deadline| async move {
            let input = call.input.as_ref().map(Value::to_string);
            let result = lease.initialised(deadline, call.depth).await?.procedure(&call, input.as_deref(), deadline).await?;
            lease.give_back();
            // Where the guest has run: it decides how much there is to read.
            Ok(procedures::answer(result, max_bytes))
        };
        let answer = self.call(Phase::Procedure, running).await?;
        let invalid = |problem| CallFailure::InvalidAnswer(self.id().clone(), problem);
        Ok(answer.map_err(invalid)??)
    }

    async fn work(&self, job: QueuedJob) -> Result<JobOutcome, CallFailure> {
        let working = |mut lease: Lease, deadline| async move {
            let outcome = lease.initialised(deadline, OUTSIDE).await?.work(&job, deadline).await?;
            lease.give_back();
            Ok(outcome)
        };
        self.call(Phase::Work, working).await
    }

    async fn listen(&self, event: PluginEvent) -> Result<JobOutcome, CallFailure> {
        let listening = |mut lease: Lease, deadline| async move {
            let outcome = lease.initialised(deadline, OUTSIDE).await?.listen(&event, deadline).await?;
            lease.give_back();
            Ok(outcome)
        };
        self.call(Phase::Listen, listening).await
    }

    async fn check(&self, probe: &str) -> Result<ProbeOutcome, CallFailure> {
        let probe = probe.to_owned();
        let checking = |mut lease: Lease, deadline| async move {
            let outcome = lease.initialised(deadline, OUTSIDE).await?.check(&probe, deadline).await?;
            lease.give_back();
            Ok(outcome)
        };
        self.call(Phase::Check, checking).await
    }

    fn usage(&self) -> Usage {
        Usage { busy: self.pace.worked(), ..self.pool.usage() }
    }

    async fn shutdown(&self) {
        let deadline = Deadline::after(self.shutdown_timeout);
        let Some(mut lease) = self.pool.close(deadline).await else { return };
        let closing = async move { lease.initialised(deadline, OUTSIDE).await?.shutdown(deadline).await };
        if let Err(failure) = in_background(&self.foundation, &self.pace, Phase::Shutdown, closing).await {
            tracing::warn!(plugin = %self.id(), %failure, "a plugin did not shut down well; it is dropped");
        }
    }
}

/// Steps in the life of a plugin are not in a hurry; requests are.
async fn in_background<T: Send + 'static>(
    foundation: &Foundation,
    pace: &Arc<Pace>,
    phase: Phase,
    step: impl Future<Output = Result<T, GuestFailure>> + Send + 'static,
) -> Result<T, GuestFailure> {
    lane::run_in_background(&foundation.background, Arc::clone(pace), step)
        .await
        .unwrap_or_else(|Abandoned| Err(GuestFailure::abandoned(phase)))
}
