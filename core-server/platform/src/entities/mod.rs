//! Reactive entities (platform facts: domain §4.4, §6.2) for the parts of the server and for plugins. The crate `checkstack-entities` does
//! the work.

mod plugin_entities;

use checkstack_entities::{Entities, EntityError, EntitySettings, MIGRATIONS, SCHEMA};
use checkstack_events::EventBus;
use checkstack_plugin_package::PluginId;

pub(crate) use self::plugin_entities::ReactiveEntities;
use crate::database::{Database, DatabaseError};
use crate::native::{Migrations, NativeDatabase};

/// Makes the schema of the entities.
pub(crate) async fn begin(database: &Database, bus: &EventBus) -> Result<Entities, DatabaseError> {
    NativeDatabase::new(database.clone()).migrate(Migrations { schema: SCHEMA, steps: MIGRATIONS }).await?;
    Ok(Entities::new(database.for_entities(), bus.clone(), EntitySettings::default()))
}

/// Forgets what is known of a plugin's entities.
pub(crate) async fn forget(entities: &Entities, plugin_id: &PluginId) -> Result<(), EntityError> {
    entities.forget_plugin(&plugin_id.as_str().parse()?).await.map(drop)
}
