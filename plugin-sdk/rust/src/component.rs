//! The way from the component's exports to a [`Plugin`]. For [`export!`](crate::export) only.

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::checkstack::plugin::{config, types};
use crate::bindings::exports::checkstack::plugin::{handler, lifecycle, listener, procedures, readiness, worker};
use crate::clock::Timestamp;
use crate::entities::Kind;
use crate::events::{Actor, Delivery, Event, Subscription};
use crate::jobs::{Job, JobError, Queue};
use crate::plugin::read_config;
use crate::request::Params;
use crate::{Account, Call, Caller, Error, InitError, IntoResponse, Plugin, Probe, Procedures, Request, Response, Router, http, logging};

/// Makes a component of a type that implements [`Plugin`]. Once in a crate of type `cdylib`.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            ::std::thread_local! {
                static RUNNING: ::std::cell::OnceCell<$crate::component::Running<$plugin>> =
                    const { ::std::cell::OnceCell::new() };
            }

            struct Exported;

            impl $crate::component::Exported for Exported {
                type Plugin = $plugin;

                fn running() -> &'static ::std::thread::LocalKey<::std::cell::OnceCell<$crate::component::Running<$plugin>>> {
                    &RUNNING
                }
            }

            #[allow(dead_code)]
            type Component = $crate::component::Component<Exported>;

            #[cfg(target_family = "wasm")]
    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Where the one plugin of a component lives.
pub trait Exported: 'static {
    /// Its type.
    type Plugin: Plugin;

    /// Its place: empty until `init` succeeds.
    fn running() -> &'static LocalKey<OnceCell<Running<Self::Plugin>>>;
}

/// An initialised plugin with what is computed once.
#[derive(Debug)]
pub struct Running<P> {
    plugin: P,
    router: Router<P>,
    procedures: Procedures<P>,
    queues: Vec<Queue<P>>,
    subscriptions: Vec<Subscription<P>>,
    probes: Vec<Probe<P>>,
}

/// What `wit-bindgen` exports.
#[derive(Debug)]
pub struct Component<E>(PhantomData<E>);

impl<E: Exported> Component<E> {
    /// Calls `use_it` with the plugin, once it is initialised.
    fn with<R>(use_it: impl FnOnce(&Running<E::Plugin>) -> R) -> Option<R> {
        E::running().with(|running| running.get().map(use_it))
    }
}

impl<E: Exported> lifecycle::Guest for Component<E> {
    fn describe() -> lifecycle::Description {
        logging::set_up();
        let probe = |probe: Probe<E::Plugin>| lifecycle::Probe { name: probe.name.to_owned(), critical: probe.critical };
        let queue = |queue: Queue<E::Plugin>| lifecycle::Queue {
            name: queue.name.to_owned(),
            concurrency: queue.concurrency,
            max_retries: queue.max_retries,
        };
        let subscription = |subscription: Subscription<E::Plugin>| lifecycle::Subscription {
            event: subscription.event.to_owned(),
            delivery: match subscription.delivery {
                Delivery::Broadcast => lifecycle::Delivery::Broadcast,
                Delivery::WorkQueue { group, max_retries } => {
                    lifecycle::Delivery::WorkQueue(lifecycle::WorkerGroup { name: group.to_owned(), max_retries })
                }
                Delivery::InstanceLocal => lifecycle::Delivery::InstanceLocal,
            },
        };
        let kind = |kind: Kind| lifecycle::EntityKind { name: kind.name.to_owned(), schema: kind.schema, query: kind.query.to_owned() };
        lifecycle::Description {
            probes: E::Plugin::probes().into_iter().map(probe).collect(),
            contract: E::Plugin::procedures().contract().map(|contract| contract.to_string()),
            queues: E::Plugin::queues().into_iter().map(queue).collect(),
            subscriptions: E::Plugin::subscriptions().into_iter().map(subscription).collect(),
            entities: E::Plugin::entities().into_iter().map(kind).collect(),
        }
    }

    fn init() -> Result<(), lifecycle::Error> {
        logging::set_up();
        let router = E::Plugin::routes();
        if let Some(mistake) = router.mistake() {
            return Err(lifecycle::Error::Failed(format!("a route of the plugin is wrong: {mistake}")));
        }
        let procedures = E::Plugin::procedures();
        if let Some(mistake) = procedures.mistake() {
            return Err(lifecycle::Error::Failed(mistake.to_owned()));
        }
        let config = read_config(&E::Plugin::config_format(), config::version(), &config::get())?;
        let plugin = E::Plugin::init(config)?;
        let running = Running {
            plugin,
            router,
            procedures,
            queues: E::Plugin::queues(),
            subscriptions: E::Plugin::subscriptions(),
            probes: E::Plugin::probes(),
        };
        E::running().with(|place| place.set(running)).map_err(|_| lifecycle::Error::Failed("init was called twice".to_owned()))
    }

    fn after_plugins_ready() -> Result<(), lifecycle::Error> {
        let not_initialised = || Err(InitError::failed("the plugin is not initialised"));
        Ok(Self::with(|running| running.plugin.after_plugins_ready()).unwrap_or_else(not_initialised)?)
    }

    fn shutdown() {
        Self::with(|running| running.plugin.shutdown());
    }
}

impl<E: Exported> handler::Guest for Component<E> {
    fn handle(request: types::Request) -> types::Response {
        let not_initialised = || Error::unavailable("the plugin is not initialised").into_response();
        Self::with(|running| running.router.answer(&running.plugin, request.into())).unwrap_or_else(not_initialised).into()
    }
}

impl<E: Exported> procedures::Guest for Component<E> {
    fn run(call: procedures::Call) -> Result<Option<String>, procedures::CallError> {
        let procedures::Call { procedure, input, caller, correlation_id } = call;
        let call = Call { caller: caller.into(), correlation_id };
        let run = |running: &Running<E::Plugin>| running.procedures.run(&running.plugin, &procedure, input.as_deref(), &call);
        let not_initialised = || Err(Error::unavailable("the plugin is not initialised"));
        Self::with(run).unwrap_or_else(not_initialised).map_err(|error| {
            error.log();
            procedures::CallError { code: error.code().to_owned(), message: Some(error.message().to_owned()), data: None }
        })
    }
}

impl<E: Exported> worker::Guest for Component<E> {
    fn work(job: worker::Job) -> Result<(), worker::Error> {
        let worker::Job { queue, id, data, attempts, enqueued_at } = job;
        let enqueued_at = Timestamp::from_unix_microseconds(i64::try_from(enqueued_at).unwrap_or(i64::MAX));
        let job = Job { id, attempts, enqueued_at };
        let done = Self::with(|running| match running.queues.iter().find(|known| known.name == queue) {
            Some(known) => (known.work)(&running.plugin, &data, &job),
            None => Err(JobError::permanent(format!("the plugin has no queue '{queue}'"))),
        });
        Ok(done.unwrap_or_else(|| Err(JobError::retry("the plugin is not initialised")))?)
    }
}

impl<E: Exported> listener::Guest for Component<E> {
    fn handle(event: listener::Event) -> Result<(), listener::Error> {
        let listener::Event { name, worker_group, payload, actor, attempts } = event;
        let listener::Actor { kind, id, name: actor_name } = actor;
        let event = Event { name, actor: Actor { kind, id, name: actor_name }, attempts };
        let is_it = |known: &&Subscription<E::Plugin>| known.is_for(&event.name, worker_group.as_deref());
        let done = Self::with(|running| match running.subscriptions.iter().find(is_it) {
            Some(known) => (known.handle)(&running.plugin, &payload, &event),
            None => Err(JobError::permanent(format!("the plugin has not subscribed to '{}'", event.name))),
        });
        Ok(done.unwrap_or_else(|| Err(JobError::retry("the plugin is not initialised")))?)
    }
}

impl<E: Exported> readiness::Guest for Component<E> {
    fn check(name: String) -> readiness::Outcome {
        let outcome = Self::with(|running| match running.probes.iter().find(|probe| probe.name == name) {
            Some(probe) => (probe.check)(&running.plugin),
            None => Err(format!("the plugin has no probe '{name}'")),
        });
        match outcome.unwrap_or_else(|| Err("the plugin is not initialised".to_owned())) {
            Ok(()) => readiness::Outcome { ok: true, message: None },
            Err(message) => readiness::Outcome { ok: false, message: Some(message) },
        }
    }
}

impl From<procedures::Caller> for Caller {
    fn from(caller: procedures::Caller) -> Self {
        let account = |procedures::Account { id, name }| Account { id, name };
        match caller {
            procedures::Caller::Anonymous => Self::Anonymous,
            procedures::Caller::User(user) => Self::User(account(user)),
            procedures::Caller::Application(application) => Self::Application(account(application)),
            procedures::Caller::Plugin(id) => Self::Plugin(id),
        }
    }
}

impl From<JobError> for worker::Error {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Retry(message) => Self::Retry(message),
            JobError::Permanent(message) => Self::Permanent(message),
        }
    }
}

impl From<JobError> for listener::Error {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Retry(message) => Self::Retry(message),
            JobError::Permanent(message) => Self::Permanent(message),
        }
    }
}

impl From<InitError> for lifecycle::Error {
    fn from(error: InitError) -> Self {
        match error {
            InitError::InvalidConfig(message) => Self::InvalidConfig(message),
            InitError::Failed(message) => Self::Failed(message),
        }
    }
}

impl From<types::Request> for Request {
    fn from(request: types::Request) -> Self {
        Self {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: http::from_host(request.headers),
            body: request.body,
            caller: match request.caller {
                types::Caller::Anonymous => Caller::Anonymous,
                types::Caller::Plugin(id) => Caller::Plugin(id),
            },
            correlation_id: request.correlation_id,
            params: Params::default(),
        }
    }
}

impl From<Response> for types::Response {
    fn from(response: Response) -> Self {
        Self { status: response.status, headers: http::to_host(response.headers), body: response.body }
    }
}
