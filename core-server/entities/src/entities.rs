//! The entities of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checkstack_connections::ConnectionPool;
use checkstack_events::{EventBus, Mode, Subscriber, Subscription};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::change::{ENTITY_CHANGED, EntityChanged};
use crate::deriver::{ChangeDeriver, TriggerEvent};
use crate::error::EntityError;
use crate::handle::EntityHandle;
use crate::kind::{AnyKind, EntityKind, KindDescription};
use crate::listener::{ChangeListener, ChangesOf};
use crate::name::check_id;
use crate::registry::Registry;
use crate::settings::EntitySettings;
use crate::store::Store;
use crate::turns::Turns;

/// See the crate. Cheap to clone.
#[derive(Clone)]
pub struct Entities {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) bus: EventBus,
    pub(crate) settings: EntitySettings,
    pub(crate) turns: Turns,
    registry: Mutex<Registry<Defined, Derive>>,
}

#[derive(Clone)]
struct Defined {
    kind: Arc<dyn AnyKind>,
    schema: Value,
}

/// Names within the plugin, and what all of them say.
type Derive = Arc<dyn Fn(&EntityChanged) -> Result<(Vec<&'static str>, Value), EntityError> + Send + Sync>;

impl Entities {
    /// In the database of the pool, whose schema [`crate::SCHEMA`] is up to date before the first entity is changed. Its role has to reach the
    /// tables of all owners, too.
    pub fn new(pool: ConnectionPool, bus: EventBus, settings: EntitySettings) -> Self {
        let store = Store::new(pool, settings.deadline);
        Self { shared: Arc::new(Shared { store, bus, settings, turns: Turns::default(), registry: Mutex::default() }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn settings(&self) -> &EntitySettings {
        &self.shared.settings
    }

    fn registry(&self) -> MutexGuard<'_, Registry<Defined, Derive>> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Defines a kind of entities, which is the plugin's from now on. All replicas do so, before they change or hear anything of it.
    ///
    /// # Errors
    /// [`EntityError::DuplicateKind`], [`EntityError::DeclaredTooLate`]; [`EntityError::Invalid`] for a name that is none.
    pub fn define<Kind: EntityKind>(&self, plugin: &Subscriber, kind: Kind) -> Result<EntityHandle<Kind>, EntityError> {
        let kind = Arc::new(kind);
        let settings = schemars::generate::SchemaSettings::draft2020_12();
        let schema = settings.into_generator().into_root_schema_for::<Kind::State>().to_value();
        self.registry().define(plugin, Kind::KIND, Defined { kind: kind.clone(), schema })?;
        Ok(EntityHandle::new(self.shared.clone(), kind, plugin.clone()))
    }

    /// From now on [`Self::define`] refuses: all plugins have been made.
    pub fn end_declarations(&self) {
        self.registry().end_declarations();
    }

    /// The kinds that were defined, by their names.
    pub fn kinds(&self) -> Vec<KindDescription> {
        let registry = self.registry();
        let describe = |(kind, entry): (&str, &crate::registry::Entry<Defined, Derive>)| KindDescription {
            kind: kind.to_owned(),
            owner: entry.owner.to_string(),
            schema: entry.kind.schema.clone(),
        };
        registry.all().map(describe).collect()
    }

    /// From now on changes of a kind are trigger events of the plugin.
    ///
    /// # Errors
    /// [`EntityError::UnknownKind`], [`EntityError::DuplicateDeriver`].
    pub fn derive_by<State: DeserializeOwned + 'static>(
        &self,
        plugin: &Subscriber,
        kind: &str,
        deriver: impl ChangeDeriver<State>,
    ) -> Result<(), EntityError> {
        let derive = move |change: &EntityChanged| {
            let change = change.typed::<State>()?;
            let events = deriver.derive(&change);
            let payload = if events.is_empty() { Value::Null } else { deriver.payload(&change) };
            Ok((events, payload))
        };
        self.registry().derive_by(plugin, kind, Arc::new(derive))
    }

    /// The trigger events that a change is. None where nobody derives any from its kind.
    ///
    /// # Errors
    /// [`EntityError::UnknownKind`]; [`EntityError::Invalid`] when a state is not what its deriver expects.
    pub fn derive(&self, change: &EntityChanged) -> Result<Vec<TriggerEvent>, EntityError> {
        let Some((plugin, derive)) = self.registry().get(&change.kind)?.deriver.clone() else { return Ok(Vec::new()) };
        let (events, payload) = derive(change)?;
        let event = |name| TriggerEvent { event: format!("{plugin}.{name}"), payload: payload.clone(), context_key: change.id.clone() };
        Ok(events.into_iter().map(event).collect())
    }

    /// Has the changes of one kind heard by a plugin: by each replica ([`Mode::Broadcast`]), in their order for each entity, or by one of them
    /// ([`Mode::WorkQueue`]), at least once.
    ///
    /// # Errors
    /// [`EntityError::UnknownKind`]; [`EntityError::Event`] when it cannot subscribe.
    pub async fn subscribe<State: DeserializeOwned + Send + 'static>(
        &self,
        plugin: &Subscriber,
        kind: &str,
        mode: Mode,
        listener: impl ChangeListener<State>,
    ) -> Result<Subscription, EntityError> {
        self.registry().get(kind)?;
        let listener = ChangesOf::<State, _>::new(Some(kind), listener);
        Ok(self.shared.bus.subscribe(plugin, &ENTITY_CHANGED.id()?, mode, listener).await?)
    }

    /// As [`Self::subscribe`], of all kinds.
    ///
    /// # Errors
    /// [`EntityError::Event`] when it cannot subscribe.
    pub async fn subscribe_to_all(
        &self,
        plugin: &Subscriber,
        mode: Mode,
        listener: impl ChangeListener,
    ) -> Result<Subscription, EntityError> {
        let listener = ChangesOf::<Value, _>::new(None, listener);
        Ok(self.shared.bus.subscribe(plugin, &ENTITY_CHANGED.id()?, mode, listener).await?)
    }

    /// The states of those of the entities of a kind that there are, for who is not its owner.
    ///
    /// # Errors
    /// [`EntityError::UnknownKind`]; when the database does not answer.
    pub async fn read(&self, kind: &str, ids: &[String]) -> Result<HashMap<String, Value>, EntityError> {
        let reader = self.registry().get(kind)?.kind.kind.clone();
        for id in ids {
            check_id(kind, id)?;
        }
        let read = async {
            let mut connection = self.store().take().await?;
            let states = reader.states(&mut connection, ids).await?;
            connection.rest();
            Ok::<_, EntityError>(states.into_iter().map(|(id, state)| (id, Value::Object(state))).collect())
        };
        self.store().within(read).await
    }

    /// Forgets all entities of a plugin with their transitions: it was uninstalled, and its data with them. Nobody is told. Returns how many
    /// there were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_plugin(&self, plugin: &Subscriber) -> Result<u64, EntityError> {
        self.store().forget(plugin).await
    }
}
