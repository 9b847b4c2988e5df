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

/// A job that a function of the database publishes with the rights of the server, on a connection whose role has none: the function is given
/// [`Self::row`], calls `checkstack_jobs.publish` within its transaction, and [`Self::published`] is told what that returned.
#[must_use = "nothing is published by a draft"]
pub struct Draft {
    shared: Arc<Shared>,
    queue: QueueName,
    job: CheckedJob,
    within: Option<(Weak<Engine>, Vec<String>)>,
}

/// What `checkstack_jobs.publish` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftRow<'d> {
    /// The id of the job
    pub id: &'d str,
    /// JSON
    pub data: &'d str,
    /// Groups that do not get it
    pub left_out: &'d [String],
}

impl QueueManager {
    /// A job to be published by a function of the database: see [`Draft`].
    ///
    /// # Errors
    /// As [`Self::publish_in`].
    pub async fn draft(&self, queue: &QueueName, data: Value) -> Result<Draft, QueueError> {
        let job = CheckedJob::new(queue, &NewJob::new(data))?;
        let engine = self.shared.engine().await?;
        let within = match engine.store().full_groups(queue).await {
            Ok(full) => Some((Arc::downgrade(&engine.0), full)),
            Err(QueueError::NotTransactional) => None,
            Err(problem) => return Err(problem),
        };
        Ok(Draft { shared: self.shared.clone(), queue: queue.clone(), job, within })
    }
}

impl Draft {
    /// None: the provider keeps its jobs elsewhere, and nothing is to be published within the transaction.
    pub fn row(&self) -> Option<DraftRow<'_>> {
        let (_, left_out) = self.within.as_ref()?;
        Some(DraftRow { id: &self.job.id, data: &self.job.data, left_out })
    }

    /// The function was called, for so many groups, or there was no row.
    pub fn published(self, groups: u64) -> Publication {
        let Self { shared, queue, job, within } = self;
        let within = within.map(|(engine, full)| Within { engine, published: Published { groups, full } });
        Publication { shared, queue, job, within }
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
