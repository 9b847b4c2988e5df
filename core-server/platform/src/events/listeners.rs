//! Tells the plugins that serve here of the events that they have subscribed to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use checkstack_events::{Event, EventBus, EventError, ListenerError, Mode, Subscription, WorkQueue};
use checkstack_plugin_package::PluginId;
use serde_json::Value;
use tracing::{debug, warn};

use crate::attendance::{self, Attendance};
use crate::dispatch::{DispatchTable, Endpoint};
use crate::plugin::{Delivery, JobOutcome, PluginEvent, SubscriptionDescription};

/// Events that are being told when a plugin ceases to serve.
const GRACE: Duration = Duration::from_secs(10);

/// Each subscription of each plugin that serves.
pub(crate) struct Listeners {
    pub(crate) bus: EventBus,
    pub(crate) table: Arc<DispatchTable>,
}

impl Attendance for Listeners {
    type Duty = (PluginId, SubscriptionDescription);
    type Running = Subscription;

    fn duties(&self, endpoint: &Endpoint) -> Vec<Self::Duty> {
        let subscriptions = &endpoint.description().subscriptions;
        subscriptions.iter().map(|subscription| (endpoint.plugin_id().clone(), subscription.clone())).collect()
    }

    async fn begin(&self, (plugin_id, subscription): &Self::Duty) -> Option<Subscription> {
        let begun = self.subscribe(plugin_id, subscription).await.inspect_err(|problem| {
            warn!(plugin = %plugin_id, event = subscription.event, %problem, "a plugin is not told of an event here; trying again");
        });
        begun.ok()
    }

    async fn end(&self, subscription: Subscription) {
        subscription.end(GRACE).await;
    }
}

impl Listeners {
    async fn subscribe(&self, plugin_id: &PluginId, subscription: &SubscriptionDescription) -> Result<Subscription, EventError> {
        let topic = subscription.topic()?;
        let mode = match &subscription.delivery {
            Delivery::Broadcast => Mode::Broadcast,
            Delivery::WorkQueue { group, max_retries } => {
                Mode::WorkQueue(WorkQueue { max_retries: *max_retries, ..WorkQueue::new(group.as_str()) })
            }
            Delivery::InstanceLocal => Mode::InstanceLocal,
        };
        let (table, told) = (Arc::downgrade(&self.table), Arc::new((plugin_id.clone(), subscription.clone())));
        let listener = move |event: Event| tell(Weak::clone(&table), told.clone(), event);
        self.bus.subscribe(&plugin_id.as_str().parse()?, &topic.hook, mode, listener).await
    }
}

async fn tell(table: Weak<DispatchTable>, told: Arc<(PluginId, SubscriptionDescription)>, event: Event) -> Result<(), ListenerError> {
    let (plugin_id, subscription) = &*told;
    // All kinds of entities share a hook.
    let kind = subscription.topic().ok().and_then(|topic| topic.kind.map(str::to_owned));
    if kind.is_some() && kind.as_deref() != event.payload.get("kind").and_then(Value::as_str) {
        return Ok(());
    }
    let call = attendance::enter(&table, plugin_id).await?;
    let Event { payload, actor, attempts, .. } = event;
    let (hook, worker_group) = (&subscription.event, subscription.delivery.worker_group().map(str::to_owned));
    let outcome = call.listen(PluginEvent { event: hook.clone(), worker_group, payload, actor, attempts }).await;
    match outcome {
        Ok(JobOutcome::Done) => Ok(()),
        Ok(JobOutcome::Retry(problem)) => {
            debug!(plugin = %plugin_id, event = %hook, attempts, problem, "an event was not handled");
            Err(ListenerError::Retry(problem))
        }
        Ok(JobOutcome::Permanent(problem)) => {
            warn!(plugin = %plugin_id, event = %hook, attempts, problem, "an event cannot be handled");
            Err(ListenerError::Permanent(problem))
        }
        Err(failure) => {
            warn!(plugin = %plugin_id, event = %hook, attempts, %failure, "an event was not handled");
            Err(ListenerError::Retry(failure.to_string()))
        }
    }
}
