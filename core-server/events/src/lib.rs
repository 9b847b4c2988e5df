//! Hooks (platform facts §2.8): a part of the server or a plugin emits an event, and those that have subscribed to the hook hear it.
//!
//! | mode | who hears it | how often | tried again |
//! |---|---|---|---|
//! | [`Mode::Broadcast`] | each subscription, on every replica that is there | once | no |
//! | [`Mode::WorkQueue`] | one replica for each group, and later if none is there | at least once | 3 times, or as asked for |
//! | [`Mode::InstanceLocal`] | subscriptions of the process that emits with [`EventBus::emit_local`] | once | no |
//!
//! An event can be a part of the transaction that makes the change which it tells of: [`EventBus::emit_in`].
//!
//! The crate `checkstack-jobs` carries events between replicas: a hook is a queue, a subscription is a consumer group of it. Why it is so
//! is in `docs/decisions/0015-events.md`.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use checkstack_jobs::{ActiveBackend, Patience, QueueManager, Timings, memory::MemoryProvider};
//! # use checkstack_events::*;
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let queues = QueueManager::new(Timings::default(), Patience::default());
//! # queues.register(Arc::new(MemoryProvider::default()));
//! # queues.follow(ActiveBackend::default()).await?;
//! let bus = EventBus::new(queues, Limits::default());
//! let (heard, mut hears) = tokio::sync::mpsc::channel(1);
//! let listener = typed(move |payload: core_hooks::PluginInitialized, _: Event| {
//!     let heard = heard.clone();
//!     async move { heard.send(payload.plugin_id).await.map_err(|_| ListenerError::Permanent("nobody waits".into())) }
//! });
//! let subscriber = "uptime".parse()?;
//! let subscription = bus.subscribe(&subscriber, &core_hooks::PLUGIN_INITIALIZED.id()?, Mode::Broadcast, listener).await?;
//!
//! let payload = core_hooks::PluginInitialized { plugin_id: "mail".into() };
//! core_hooks::PLUGIN_INITIALIZED.emit(&bus, &payload, &Actor::system()).await?;
//! assert_eq!(hears.recv().await.as_deref(), Some("mail"));
//! subscription.end(Duration::from_secs(5)).await;
//! # Ok::<_, EventError>(())
//! # }).unwrap();
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod bus;
pub mod core_hooks;
mod counts;
mod delivery;
mod emission;
mod envelope;
mod error;
mod hook;
mod limits;
mod listener;
mod local;
mod mode;
mod registry;
mod subscription;

pub use bus::{Emitted, EventBus, plugin_of_group};
pub use checkstack_jobs::HandlerError as ListenerError;
pub use counts::EventCounts;
pub use emission::{Emission, EmissionDraft, queue_of};
pub use envelope::{Actor, MAX_PAYLOAD_BYTES};
pub use error::EventError;
pub use hook::{Hook, HookId, MAX_HOOK_BYTES, MAX_SUBSCRIBER_BYTES, Subscriber};
pub use limits::Limits;
pub use listener::{Event, Listener, typed};
pub use local::EmittedLocally;
pub use mode::{MAX_WORKER_GROUP_BYTES, Mode, ModeName, SubscribeOptions, WorkQueue};
pub use subscription::Subscription;
