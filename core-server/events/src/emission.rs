//! Emitting with a transaction of the caller.

use checkstack_jobs::{Draft, DraftRow, Publication};
use serde_json::Value;
use sqlx::PgConnection;

use crate::bus::{Emitted, EventBus, queue_name};
use crate::envelope::{self, Actor};
use crate::error::EventError;
use crate::hook::HookId;

/// An event that is emitted with a transaction of its caller, who says with [`Self::committed`] that it was committed, and drops this
/// otherwise.
///
/// While the queue provider `postgres` is active, the event is a part of the transaction: it is emitted if and when that is committed. Any other
/// provider emits it in [`Self::committed`]: what was changed and the event are then not one thing, and a process that ends in between has
/// lost the event, as it loses all that wait in its memory.
#[must_use = "with some providers nothing is emitted before `committed` is called"]
pub struct Emission {
    bus: EventBus,
    hook: HookId,
    publication: Publication,
}

impl EventBus {
    /// As [`EventBus::emit`], if and when a transaction of the caller is committed: see [`Emission`]. Events of transactions that wait for each
    /// other, because they change the same row, are heard by a broadcast in the order in which they were committed.
    ///
    /// # Errors
    /// As there. The transaction cannot be committed after [`checkstack_jobs::QueueError::Unavailable`] and
    /// [`checkstack_jobs::QueueError::Refused`].
    pub async fn emit_in(
        &self,
        transaction: &mut PgConnection,
        hook: &HookId,
        payload: Value,
        actor: &Actor,
    ) -> Result<Emission, EventError> {
        let queues = self.queues()?;
        let data = envelope::seal(hook, payload, actor)?;
        let publication = queues.publish_in(transaction, &queue_name(hook)?, data).await?;
        Ok(Emission { bus: self.clone(), hook: hook.clone(), publication })
    }
}

/// An event that a function of the database emits with the rights of the server, on a connection whose role has none: see
/// [`checkstack_jobs::Draft`].
#[must_use = "nothing is emitted by a draft"]
pub struct EmissionDraft {
    bus: EventBus,
    hook: HookId,
    draft: Draft,
}

impl EventBus {
    /// As [`EventBus::emit_in`], by a function of the database, which has the name of the queue of [`queue_of`] itself.
    ///
    /// # Errors
    /// As there.
    pub async fn draft(&self, hook: &HookId, payload: Value, actor: &Actor) -> Result<EmissionDraft, EventError> {
        let queues = self.queues()?;
        let data = envelope::seal(hook, payload, actor)?;
        let draft = queues.draft(&queue_name(hook)?, data).await?;
        Ok(EmissionDraft { bus: self.clone(), hook: hook.clone(), draft })
    }
}

impl EmissionDraft {
    /// What the function is given. None: the provider is not in the database, and the event is emitted by [`Emission::committed`].
    pub fn row(&self) -> Option<DraftRow<'_>> {
        self.draft.row()
    }

    /// The function was called, and so many groups get the event; or there was no row.
    pub fn published(self, groups: u64) -> Emission {
        let Self { bus, hook, draft } = self;
        Emission { bus, hook, publication: draft.published(groups) }
    }
}

/// The queue that has the events of a hook, for functions of the database that publish some.
///
/// # Errors
/// [`EventError::Queue`]: a fault of who defines the hook.
pub fn queue_of(hook: &HookId) -> Result<String, EventError> {
    Ok(queue_name(hook)?.to_string())
}

impl Emission {
    /// Whether the event is emitted at the moment in which the transaction is committed, and not only by [`Self::committed`].
    pub fn is_transactional(&self) -> bool {
        self.publication.is_transactional()
    }

    /// The transaction was committed.
    ///
    /// # Errors
    /// When the event is emitted only now, and was not. What the transaction has changed stays.
    pub async fn committed(self) -> Result<Emitted, EventError> {
        Ok(self.bus.emitted(&self.hook, self.publication.committed().await?))
    }
}
