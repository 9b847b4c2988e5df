//! Publishing with a transaction of the caller.

use std::sync::{Arc, Weak};

use serde_json::Value;
use sqlx::PgConnection;

use super::{QueueManager, Shared};
use crate::QueueError;
use crate::engine::Engine;
use crate::job::{CheckedJob, NewJob, QueueName};
use crate::store::Published;

/// A job that is published with a transaction of its caller, who says with [`Self::committed`] that it was committed, and drops this
/// otherwise.
///
/// | provider | before the commit | after it |
/// |---|---|---|
/// | keeps jobs in the database of the transaction | written, and seen by nobody | seen and told of by the database itself, whether [`Self::committed`] is called or not |
/// | any other | nothing | published by [`Self::committed`]: lost when the process ends in between, which is no more than such a provider loses anyway |
#[must_use = "with some providers nothing is published before `committed` is called"]
pub struct Publication {
    shared: Arc<Shared>,
    queue: QueueName,
    job: CheckedJob,
    within: Option<Within>,
}

/// What the transaction has.
struct Within {
    engine: Weak<Engine>,
    published: Published,
}

impl QueueManager {
    /// Publishes a job if and when a transaction of the caller is committed: see [`Publication`]. Waits for a provider to be active as
    /// everything does, and so for [`super::Patience::calls`] at most.
    ///
    /// # Errors
    /// As [`super::Queue::publish`]. The transaction cannot be committed after [`QueueError::Unavailable`] and [`QueueError::Refused`].
    pub async fn publish_in(&self, transaction: &mut PgConnection, queue: &QueueName, data: Value) -> Result<Publication, QueueError> {
        let job = CheckedJob::new(queue, &NewJob::new(data))?;
        let engine = self.shared.engine().await?;
        let within = match engine.store().publish_in(transaction, queue, &job).await {
            Ok(published) => Some(Within { engine: Arc::downgrade(&engine.0), published }),
            Err(QueueError::NotTransactional) => None,
            Err(problem) => return Err(problem),
        };
        Ok(Publication { shared: self.shared.clone(), queue: queue.clone(), job, within })
    }
}

impl Publication {
    /// Whether the job is there at the moment in which the transaction is committed, and not only after [`Self::committed`].
    pub fn is_transactional(&self) -> bool {
        self.within.is_some()
    }

    /// The transaction was committed.
    ///
    /// When the provider was changed in between, the groups that there were have lost the job or get it late: it is published to those of
    /// the new provider, too. A group may then get it twice, with the same id.
    ///
    /// # Errors
    /// When the job is published only now, and was not. What the transaction has changed stays.
    pub async fn committed(self) -> Result<Published, QueueError> {
        let Self { shared, queue, job, within } = self;
        let Some(Within { engine, published }) = within else {
            return shared.engine().await?.publish(&queue, &job).await;
        };
        match shared.engine_now().await {
            Ok(Some(current)) if !std::ptr::eq(Weak::as_ptr(&engine), Arc::as_ptr(&current.0)) => current.publish(&queue, &job).await,
            Ok(Some(current)) => {
                // Sooner than the database does.
                current.wake(&queue, &published);
                Ok(published)
            }
            // Nobody hears anything here any more; others do.
            Ok(None) | Err(_) => Ok(published),
        }
    }
}
