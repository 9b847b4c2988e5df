//! `jobs`: work for later.

use std::sync::Arc;
use std::time::Duration;

use checkstack_jobs::{EnqueueOptions, MAX_DATA_BYTES, QueueError, Recurrence as Recurring};
use checkstack_platform::plugin::PluginJobs;
use serde_json::Value;

use super::HostState;
use crate::bindings::checkstack::plugin::jobs::{Error, Host, Options, Recurrence};
use crate::json::json;

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::Invalid(_) | QueueError::TooLarge { .. } => Self::Invalid(error.to_string()),
            QueueError::Full { .. } => Self::Full(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl HostState {
    fn jobs(&self) -> Result<Arc<PluginJobs>, Error> {
        self.database(self.plugin.services.jobs.as_ref()).map_err(Error::Denied)
    }
}

impl Host for HostState {
    async fn enqueue(&mut self, queue: String, text: String, options: Options) -> Result<String, Error> {
        let Options { priority, delay, id } = options;
        let options = EnqueueOptions { priority, start_delay: Duration::from_millis(delay), job_id: id };
        Ok(self.jobs()?.enqueue(&queue, data(&text)?, options).await?)
    }

    async fn schedule(&mut self, queue: String, id: String, text: String, recurrence: Recurrence) -> Result<(), Error> {
        let recurrence = match recurrence {
            Recurrence::Interval(milliseconds) => Recurring::every(Duration::from_millis(milliseconds)),
            Recurrence::Cron(cron) => Recurring::cron_in(cron.pattern, cron.time_zone),
        };
        Ok(self.jobs()?.schedule(&queue, &id, data(&text)?, recurrence).await?)
    }

    async fn cancel(&mut self, queue: String, id: String) -> Result<bool, Error> {
        Ok(self.jobs()?.cancel(&queue, &id).await?)
    }

    async fn scheduled(&mut self, queue: String) -> Result<Vec<String>, Error> {
        Ok(self.jobs()?.scheduled(&queue).await?)
    }
}

fn data(text: &str) -> Result<Value, Error> {
    json("data", text, MAX_DATA_BYTES).map_err(Error::Invalid)
}
