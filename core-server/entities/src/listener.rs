//! What hears changes.

use async_trait::async_trait;
use checkstack_events::{Event, Listener, ListenerError};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::change::EntityChanged;

/// Hears the changes of one subscription. In a work queue it may hear a change again, after a crash or a failure, and those of one entity out of
/// their order: see [`EntityChanged::position`].
#[async_trait]
pub trait ChangeListener<State = Value>: Send + Sync + 'static {
    /// Hears one change.
    ///
    /// # Errors
    /// Whether it is worth another attempt. Broadcasts are not tried again.
    async fn hear(&self, change: EntityChanged<State>) -> Result<(), ListenerError>;

    /// Broadcasts may have been missed: who keeps a copy of something reads it anew. Must return soon.
    fn missed(&self) {}
}

#[async_trait]
impl<State, Function, Running> ChangeListener<State> for Function
where
    State: Send + 'static,
    Function: Fn(EntityChanged<State>) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<(), ListenerError>> + Send,
{
    async fn hear(&self, change: EntityChanged<State>) -> Result<(), ListenerError> {
        self(change).await
    }
}

/// Hears events, and tells those that are changes of one kind, or of any.
pub(crate) struct ChangesOf<State, Told> {
    kind: Option<String>,
    told: Told,
    state: std::marker::PhantomData<fn(State)>,
}

impl<State, Told> ChangesOf<State, Told> {
    pub(crate) fn new(kind: Option<&str>, told: Told) -> Self {
        Self { kind: kind.map(str::to_owned), told, state: std::marker::PhantomData }
    }
}

#[async_trait]
impl<State: DeserializeOwned + Send + 'static, Told: ChangeListener<State>> Listener for ChangesOf<State, Told> {
    async fn hear(&self, event: Event) -> Result<(), ListenerError> {
        let kind = event.payload.get("kind").and_then(Value::as_str);
        if self.kind.is_some() && self.kind.as_deref() != kind {
            return Ok(());
        }
        let unreadable = |problem| ListenerError::Permanent(format!("a change of an entity is not what this listener expects: {problem}"));
        let change = EntityChanged::deserialize(&event.payload).map_err(unreadable)?;
        self.told.hear(change).await
    }

    fn missed(&self) {
        self.told.missed();
    }
}
