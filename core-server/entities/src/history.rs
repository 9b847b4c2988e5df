//! Since when an entity is what it is.

use std::time::Duration;

use jiff::Timestamp;

use crate::error::EntityError;
use crate::handle::EntityHandle;
use crate::kind::EntityKind;
use crate::name::check_id;
use crate::store::{self, Newest};

impl<Kind: EntityKind> EntityHandle<Kind> {
    /// Since when a field of the entity has the value that it has. None: there is no such entity, or nothing is known of the field, for
    /// example because its value was never changed by a mutation.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn in_state_since(&self, id: &str, field: &str) -> Result<Option<Timestamp>, EntityError> {
        Ok(self.newest_into_current(id, field).await?.map(|newest| newest.at))
    }

    /// For how long a field of the entity has had the value that it has, by the clock of the database. Zero where [`Self::in_state_since`]
    /// is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn in_state_for(&self, id: &str, field: &str) -> Result<Duration, EntityError> {
        Ok(self.newest_into_current(id, field).await?.map(|newest| newest.ago).unwrap_or_default())
    }

    /// How often a field of the entity has changed, not long ago. That the entity comes or goes does not count; of what has changed more often
    /// than [`crate::EntitySettings::changes`] the newest count.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn transition_count(&self, id: &str, field: &str, within: Duration) -> Result<u64, EntityError> {
        check_id(Kind::KIND, id)?;
        let count = async {
            let mut connection = self.store().take().await?;
            let count = store::count(&mut connection, Kind::KIND, id, field, within).await?;
            connection.rest();
            Ok(count)
        };
        self.store().within(count).await
    }

    /// The newest transition of a field, if it led to the value that the field has.
    async fn newest_into_current(&self, id: &str, field: &str) -> Result<Option<Newest>, EntityError> {
        check_id(Kind::KIND, id)?;
        let look = async {
            let mut connection = self.store().take().await?;
            let mut transaction = store::begin_looking(&mut connection).await?;
            let state = self.read_one(&mut transaction, id).await?;
            let newest = store::newest(&mut transaction, Kind::KIND, id, field).await?;
            transaction.commit().await?;
            connection.rest();
            let Some((_, state)) = state else { return Ok(None) };
            let current = state.get(field).cloned().unwrap_or_default();
            Ok(newest.filter(|newest| newest.value.as_ref() == Some(&current)))
        };
        self.store().within(look).await
    }
}
