//! The side that hears: from the event bus to the sockets of this replica.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use checkstack_events::core_hooks::{PLUGIN_DEREGISTERED, PLUGIN_INITIALIZED, PluginDeregistered, PluginInitialized};
use checkstack_events::{Event, EventBus, EventError, HookId, Listener, ListenerError, Mode, Subscription};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::bus::{BROADCAST, ForUsers, USERS};
use crate::core_signals::Told;
use crate::hub::Hub;
use crate::message;
use crate::signal::Signal;

/// As whom the hooks are subscribed to (platform facts §8).
const SUBSCRIBER: &str = "signal-backend";
/// After a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// Hears signals of all replicas for as long as it is kept.
#[must_use = "nothing is heard when this is dropped"]
pub struct Relay {
    _subscriptions: Vec<Subscription>,
}

impl Relay {
    /// Subscribes, and tries again until it works.
    pub async fn begin(events: &EventBus, hub: &Arc<Hub>) -> Self {
        loop {
            match Self::subscribe(events, hub).await {
                Ok(subscriptions) => return Self { _subscriptions: subscriptions },
                Err(problem) => {
                    warn!(%problem, "signals of other replicas are not heard; trying again");
                    tokio::time::sleep(AGAIN.mul_f64(0.5 + rand::random::<f64>())).await;
                }
            }
        }
    }

    async fn subscribe(events: &EventBus, hub: &Arc<Hub>) -> Result<Vec<Subscription>, EventError> {
        let told = Arc::new(Mutex::new(Told::default()));
        let hooks: [(HookId, What); 4] = [
            (BROADCAST.parse()?, What::Broadcast),
            (USERS.parse()?, What::ToUsers),
            (PLUGIN_INITIALIZED.id()?, What::PluginServes),
            (PLUGIN_DEREGISTERED.id()?, What::PluginIsGone),
        ];
        let subscriber = SUBSCRIBER.parse()?;
        let mut subscriptions = Vec::new();
        for (hook, what) in hooks {
            let listener = Hears { hub: hub.clone(), told: told.clone(), what };
            subscriptions.push(events.subscribe(&subscriber, &hook, Mode::Broadcast, listener).await?);
        }
        Ok(subscriptions)
    }
}

/// What an event of a hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Broadcast,
    ToUsers,
    PluginServes,
    PluginIsGone,
}

struct Hears {
    hub: Arc<Hub>,
    told: Arc<Mutex<Told>>,
    what: What,
}

#[async_trait]
impl Listener for Hears {
    async fn hear(&self, event: Event) -> Result<(), ListenerError> {
        match self.what {
            What::Broadcast => self.hub.deliver_to_all(&message::signal(&read::<Signal>(&event)?)),
            What::ToUsers => {
                let ForUsers { user_ids, message } = read(&event)?;
                self.hub.deliver_to_users(&user_ids, &message::signal(&message));
            }
            What::PluginServes => self.tell(&read::<PluginInitialized>(&event)?.plugin_id, true)?,
            What::PluginIsGone => self.tell(&read::<PluginDeregistered>(&event)?.plugin_id, false)?,
        }
        Ok(())
    }

    fn missed(&self) {
        debug!("signals may have been missed: browsers are to connect again");
        self.hub.missed();
    }
}

impl Hears {
    fn tell(&self, plugin_id: &str, serves: bool) -> Result<(), ListenerError> {
        let signal = self.told.lock().unwrap_or_else(PoisonError::into_inner).signal(plugin_id, serves);
        if let Some(signal) = signal.map_err(|problem| ListenerError::Permanent(problem.to_string()))? {
            self.hub.deliver_to_all(&message::signal(&signal));
        }
        Ok(())
    }
}

fn read<Payload: DeserializeOwned>(event: &Event) -> Result<Payload, ListenerError> {
    Payload::deserialize(&event.payload).map_err(|problem| ListenerError::Permanent(format!("this is no signal: {problem}")))
}
