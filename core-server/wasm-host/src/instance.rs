//! One running copy of a plugin: a store with its memory, and the functions it exports.
//!
//! Every call has a deadline, which is watched in two ways. While guest code computes, the engine's
//! clock interrupts it at each tick and the callback below looks at the time; that also lets other
//! work have the thread (see [`lane`](crate::lane)). While the guest waits for the host, a timer
//! runs. Both stop the same call at the same moment, and an instance that was stopped is not used
//! again: nobody knows what state its memory is in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_platform::plugin::{
    Description, JobOutcome, PluginEvent, PluginFailure, PluginRequest, ProbeOutcome, ProcedureCall, QueuedJob,
};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::checkstack::plugin::types::Response;
use crate::bindings::exports::checkstack::plugin::lifecycle::Error as LifecycleError;
use crate::bindings::exports::checkstack::plugin::listener::{Actor as GuestActor, Error as ListenError, Event as GuestEvent};
use crate::bindings::exports::checkstack::plugin::procedures::CallError as GuestCallError;
use crate::bindings::exports::checkstack::plugin::worker::{Error as WorkError, Job as GuestJob};
use crate::bindings::{Plugin, PluginIndices};
use crate::failure::{Cause, DeadlineExceeded, GuestFailure, Phase, cause_of, one_line};
use crate::host::{CurrentCall, HostState, PluginContext};
use crate::lane::{OnTick, Stretch};
use crate::limits::{Exceeded, InstanceLimits, PluginMemory, Reservation};
use crate::{description, messages, procedures};

/// Bytes that the host copies out of a guest in one call of a function. Without a limit a guest could
/// name the same megabyte a thousand times.
const MAX_LIFTED_BYTES: usize = 32 * 1024 * 1024;

/// The part of the memory granted beyond what an instance needs from the start after which it is
/// replaced: three quarters.
const WORN_MEMORY: (u64, u64) = (3, 4);

/// A moment, and the duration it came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }
}

/// What instances of a plugin are made from.
pub(crate) struct Template {
    component: InstancePre<HostState>,
    exports: PluginIndices,
    pub(crate) context: Arc<PluginContext>,
    memory: Arc<PluginMemory>,
}

impl Template {
    /// Links a component to the host.
    pub(crate) fn new(
        linker: &Linker<HostState>,
        component: &Component,
        context: Arc<PluginContext>,
        memory_factor: u32,
    ) -> Result<Self, PluginFailure> {
        let unfit = |error: wasmtime::Error| GuestFailure { phase: Phase::Instantiate, cause: misfit(&error) }.into_plugin_failure();
        let component = linker.instantiate_pre(component).map_err(unfit)?;
        let exports = PluginIndices::new(&component).map_err(unfit)?;
        let memory = PluginMemory::new(context.services.grants.memory_bytes.saturating_mul(memory_factor.max(1).into()));
        Ok(Self { component, exports, context, memory })
    }

    /// The memory of its instances.
    pub(crate) fn memory(&self) -> &Arc<PluginMemory> {
        &self.memory
    }

    /// A new instance, of which nothing has run but what its language needs to start.
    pub(crate) async fn instantiate(
        &self,
        stretch: Arc<Stretch>,
        memory: Reservation,
        deadline: Deadline,
    ) -> Result<Box<Instance>, GuestFailure> {
        let state = HostState {
            plugin: Arc::clone(&self.context),
            limits: InstanceLimits::new(self.context.services.grants.memory_bytes, memory),
            stretch,
            call: CurrentCall::new("instantiation".into(), deadline.at, false),
        };
        let mut store = Store::new(self.component.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(MAX_LIFTED_BYTES);
        store.epoch_deadline_callback(on_tick);
        store.set_epoch_deadline(1);
        let instantiation = tokio::time::timeout_at(deadline.at.into(), self.component.instantiate_async(&mut store)).await;
        let instance = concluded(&mut store, Phase::Instantiate, deadline, instantiation)?;
        // Compares the types of all functions with those of the world.
        let unfit = |error: wasmtime::Error| GuestFailure { phase: Phase::Instantiate, cause: misfit(&error) };
        let exports = self.exports.load(&mut store, &instance).map_err(unfit)?;
        Ok(Box::new(Instance { store, exports, calls: 0, is_initialised: false, initial_memory: 0 }))
    }
}

/// Called by the engine when a tick finds guest code computing.
fn on_tick(store: StoreContextMut<'_, HostState>) -> wasmtime::Result<UpdateDeadline> {
    let state = store.data();
    if Instant::now() >= state.call.deadline {
        return Err(DeadlineExceeded.into());
    }
    Ok(match state.stretch.on_tick() {
        OnTick::Continue => UpdateDeadline::Continue(1),
        OnTick::Yield => UpdateDeadline::Yield(1),
    })
}

/// One instance.
pub(crate) struct Instance {
    store: Store<HostState>,
    exports: Plugin,
    calls: u64,
    is_initialised: bool,
    /// Bytes of memory after `init`.
    initial_memory: u64,
}

impl Instance {
    pub(crate) fn stretch(&self) -> &Arc<Stretch> {
        &self.store.data().stretch
    }

    pub(crate) fn is_initialised(&self) -> bool {
        self.is_initialised
    }

    /// True when it has worked or grown so much that a fresh one is better.
    pub(crate) fn is_worn(&self, max_calls: u64) -> bool {
        let state = self.store.data();
        let room = state.plugin.services.grants.memory_bytes.saturating_sub(self.initial_memory);
        let grown = state.limits.memory_used().saturating_sub(self.initial_memory);
        self.calls >= max_calls || grown > room / WORN_MEMORY.1 * WORN_MEMORY.0
    }

    pub(crate) async fn describe(&mut self, deadline: Deadline) -> Result<(Description, Option<String>), GuestFailure> {
        self.begin(CurrentCall::new("describe".into(), deadline.at, false));
        let call = self.exports.checkstack_plugin_lifecycle().call_describe(&mut self.store);
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        Ok(description::described(concluded(&mut self.store, Phase::Describe, deadline, result)?))
    }

    /// `depth` is that of the call for which the instance is made: what `init` asks of other plugins
    /// is a part of the same chain.
    pub(crate) async fn init(&mut self, deadline: Deadline, depth: u8) -> Result<(), GuestFailure> {
        self.begin(CurrentCall::new("init".into(), deadline.at, true).at_depth(depth));
        let call = self.exports.checkstack_plugin_lifecycle().call_init(&mut self.store);
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        let answer = concluded(&mut self.store, Phase::Init, deadline, result)?;
        answered(&self.store.data().plugin, Phase::Init, answer)?;
        self.is_initialised = true;
        let limits = &mut self.store.data_mut().limits;
        limits.is_ready();
        self.initial_memory = limits.memory_used();
        Ok(())
    }

    pub(crate) async fn after_plugins_ready(&mut self, deadline: Deadline) -> Result<(), GuestFailure> {
        self.begin(CurrentCall::new("after-plugins-ready".into(), deadline.at, true));
        let call = self.exports.checkstack_plugin_lifecycle().call_after_plugins_ready(&mut self.store);
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        let answer = concluded(&mut self.store, Phase::AfterPluginsReady, deadline, result)?;
        answered(&self.store.data().plugin, Phase::AfterPluginsReady, answer)
    }

    pub(crate) async fn handle(&mut self, request: &PluginRequest, deadline: Deadline) -> Result<Response, GuestFailure> {
        self.begin(CurrentCall::new(request.correlation_id.clone(), deadline.at, true).at_depth(request.depth));
        let texts = messages::header_texts(&request.headers);
        let headers = messages::guest_headers(&texts);
        let call = self.exports.checkstack_plugin_handler().call_handle(&mut self.store, messages::guest_request(request, &headers));
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        concluded(&mut self.store, Phase::Handle, deadline, result)
    }

    pub(crate) async fn procedure(
        &mut self,
        call: &ProcedureCall,
        input: Option<&str>,
        deadline: Deadline,
    ) -> Result<Result<Option<String>, GuestCallError>, GuestFailure> {
        let current = CurrentCall::new(call.correlation_id.clone(), deadline.at, true).at_depth(call.depth);
        self.begin(current.caused_by(procedures::actor(call.principal.as_ref())));
        let running = self.exports.checkstack_plugin_procedures().call_run(&mut self.store, procedures::guest_call(call, input));
        let result = tokio::time::timeout_at(deadline.at.into(), running).await;
        concluded(&mut self.store, Phase::Procedure, deadline, result)
    }

    pub(crate) async fn work(&mut self, job: &QueuedJob, deadline: Deadline) -> Result<JobOutcome, GuestFailure> {
        self.begin(CurrentCall::new(format!("job {}", job.id), deadline.at, true));
        let data = job.data.to_string();
        let QueuedJob { queue, id, attempts, enqueued_at, .. } = job;
        let job = GuestJob { queue, id, data: &data, attempts: *attempts, enqueued_at: *enqueued_at };
        let working = self.exports.checkstack_plugin_worker().call_work(&mut self.store, job);
        let result = tokio::time::timeout_at(deadline.at.into(), working).await;
        let done = concluded(&mut self.store, Phase::Work, deadline, result)?;
        let plugin = &self.store.data().plugin;
        Ok(match done {
            Ok(()) => JobOutcome::Done,
            Err(WorkError::Retry(problem)) => JobOutcome::Retry(plugin.message(&problem)),
            Err(WorkError::Permanent(problem)) => JobOutcome::Permanent(plugin.message(&problem)),
        })
    }

    pub(crate) async fn listen(&mut self, event: &PluginEvent, deadline: Deadline) -> Result<JobOutcome, GuestFailure> {
        self.begin(CurrentCall::new(format!("event {}", event.event), deadline.at, true).caused_by(Some(event.actor.clone())));
        let payload = event.payload.to_string();
        let PluginEvent { event: name, worker_group, actor, attempts, .. } = event;
        let actor = GuestActor { kind: &actor.kind, id: &actor.id, name: &actor.name };
        let event = GuestEvent { name, worker_group: worker_group.as_deref(), payload: &payload, actor, attempts: *attempts };
        let listening = self.exports.checkstack_plugin_listener().call_handle(&mut self.store, event);
        let result = tokio::time::timeout_at(deadline.at.into(), listening).await;
        let heard = concluded(&mut self.store, Phase::Listen, deadline, result)?;
        let plugin = &self.store.data().plugin;
        Ok(match heard {
            Ok(()) => JobOutcome::Done,
            Err(ListenError::Retry(problem)) => JobOutcome::Retry(plugin.message(&problem)),
            Err(ListenError::Permanent(problem)) => JobOutcome::Permanent(plugin.message(&problem)),
        })
    }

    pub(crate) async fn check(&mut self, probe: &str, deadline: Deadline) -> Result<ProbeOutcome, GuestFailure> {
        self.begin(CurrentCall::new(format!("check {probe}"), deadline.at, true));
        let call = self.exports.checkstack_plugin_readiness().call_check(&mut self.store, probe);
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        let outcome = concluded(&mut self.store, Phase::Check, deadline, result)?;
        let plugin = &self.store.data().plugin;
        Ok(ProbeOutcome { ok: outcome.ok, message: outcome.message.map(|message| plugin.message(&message)) })
    }

    pub(crate) async fn shutdown(&mut self, deadline: Deadline) -> Result<(), GuestFailure> {
        self.begin(CurrentCall::new("shutdown".into(), deadline.at, true));
        let call = self.exports.checkstack_plugin_lifecycle().call_shutdown(&mut self.store);
        let result = tokio::time::timeout_at(deadline.at.into(), call).await;
        concluded(&mut self.store, Phase::Shutdown, deadline, result)
    }

    fn begin(&mut self, call: CurrentCall) {
        self.calls += 1;
        let state = self.store.data_mut();
        state.call = call;
        // A growth that was refused in an earlier call has nothing to do with this one.
        let _ = state.limits.take_exceeded();
        self.store.set_epoch_deadline(1);
    }
}

fn misfit(error: &wasmtime::Error) -> Cause {
    Cause::Misfit(one_line(&format!("{error:#}"), 300))
}

/// What the guest returned, or why it did not.
fn concluded<T>(
    store: &mut Store<HostState>,
    phase: Phase,
    deadline: Deadline,
    result: Result<wasmtime::Result<T>, tokio::time::error::Elapsed>,
) -> Result<T, GuestFailure> {
    let cause = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => {
            let state = store.data_mut();
            let granted = state.plugin.services.grants.memory_bytes;
            let exceeded = state.limits.take_exceeded().map(|exceeded| (exceeded, granted));
            if matches!(exceeded, Some((Exceeded::Plugin, _))) {
                state.limits.plugin().tell_once(state.plugin.plugin_id());
            }
            tracing::debug!(plugin = %state.plugin.plugin_id(), %phase, error = ?error, "guest code was stopped");
            cause_of(&error, deadline.limit, exceeded)
        }
        Err(_) => Cause::Deadline(deadline.limit),
    };
    Err(GuestFailure { phase, cause })
}

/// An error that the plugin itself reports.
fn answered(plugin: &PluginContext, phase: Phase, result: Result<(), LifecycleError>) -> Result<(), GuestFailure> {
    result.map_err(|error| GuestFailure {
        phase,
        cause: match error {
            LifecycleError::InvalidConfig(message) => Cause::InvalidConfig(plugin.message(&message)),
            LifecycleError::Failed(message) => Cause::Failed(plugin.message(&message)),
        },
    })
}
