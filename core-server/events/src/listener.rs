//! What hears events.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ListenerError;
use crate::envelope::Actor;
use crate::hook::HookId;

/// An event, as listeners get it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// That was emitted
    pub hook: HookId,
    /// As it was given
    pub payload: Value,
    /// Who has caused it
    pub actor: Actor,
    /// The same for all listeners, and each time one gets it; none for events of this process alone.
    pub id: Option<String>,
    /// How often this listener, or another of its group, has failed with it before
    pub attempts: u32,
}

/// Hears the events of one subscription. In a work queue it may get an event again, after a crash or a failure.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Hears one event. The future is dropped when it takes longer than [`crate::Limits::listening`].
    ///
    /// # Errors
    /// Whether it is worth another attempt. Broadcasts are not tried again.
    async fn hear(&self, event: Event) -> Result<(), ListenerError>;

    /// Broadcasts may have been missed: this process was away from the database for too long, or the queue provider was changed. Who keeps
    /// a copy of something reads it anew. Must return soon.
    fn missed(&self) {}
}

#[async_trait]
impl<Function, Running> Listener for Function
where
    Function: Fn(Event) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<(), ListenerError>> + Send,
{
    async fn hear(&self, event: Event) -> Result<(), ListenerError> {
        self(event).await
    }
}

/// A listener that is given the payload as what it is. One of another form fails for good.
pub fn typed<Payload, Function, Running>(function: Function) -> impl Listener
where
    Payload: DeserializeOwned,
    Function: Fn(Payload, Event) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<(), ListenerError>> + Send,
{
    move |event: Event| {
        let payload = Payload::deserialize(&event.payload);
        let running = payload.map(|payload| function(payload, event));
        async move {
            match running {
                Ok(running) => running.await,
                Err(problem) => Err(ListenerError::Permanent(format!("the payload is not what this listener expects: {problem}"))),
            }
        }
    }
}

/// Has a listener hear an event, whatever it does.
pub(crate) async fn hear(listener: &dyn Listener, event: Event, within: Duration) -> Result<(), ListenerError> {
    let heard = AssertUnwindSafe(listener.hear(event)).catch_unwind();
    match tokio::time::timeout(within, heard).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ListenerError::Retry("the listener panicked".to_owned())),
        Err(_) => Err(ListenerError::Retry(format!("the listener was not done within {} ms", within.as_millis()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(payload: Value) -> Event {
        Event { hook: "test.hook".parse().unwrap(), payload, actor: Actor::system(), id: None, attempts: 0 }
    }

    #[tokio::test]
    async fn panics_and_endless_listeners_are_failures() {
        let within = Duration::from_millis(30);
        let panics = |event: Event| async move { if event.payload.is_null() { panic!("on purpose") } else { Ok(()) } };
        assert_eq!(hear(&panics, event(Value::Null), within).await, Err(ListenerError::Retry("the listener panicked".into())));
        let endless = |_: Event| std::future::pending();
        let late = ListenerError::Retry("the listener was not done within 30 ms".into());
        assert_eq!(hear(&endless, event(Value::Null), within).await, Err(late));
    }

    #[tokio::test]
    async fn a_payload_of_another_form_fails_for_good() {
        let listener =
            typed(|number: u32, _: Event| async move { if number == 7 { Ok(()) } else { Err(ListenerError::Retry("not 7".into())) } });
        assert_eq!(listener.hear(event(json!(7))).await, Ok(()));
        assert!(matches!(listener.hear(event(json!("seven"))).await, Err(ListenerError::Permanent(_))));
    }
}
