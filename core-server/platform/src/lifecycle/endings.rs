//! How attempts end that do not come to serve: what has begun of them is told, and what they did to the plugin's schema is
//! undone, before the next attempt may begin.

use std::sync::Arc;

use checkstack_plugin_package::{PluginEntry, PluginId};
use tokio::time::Instant;
use tracing::warn;

use super::reconciler::{Event, Farewell, Reconciler};
use super::slot::{Form, Stage};
use super::swap::Rejection;
use crate::plugin::{MaterialisedArtifact, PluginFailure};
use crate::trace::{self, Attempt};

/// Why an attempt ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// It cannot be brought up.
    Failed(PluginFailure),
    /// It is not wanted any more.
    Abandoned,
}

impl Ending {
    const fn as_attempt(&self) -> Attempt {
        match self {
            Self::Failed(_) => Attempt::Failed,
            Self::Abandoned => Attempt::Abandoned,
        }
    }
}

impl Reconciler {
    /// Ends an attempt that is well, but that another plugin cannot work with.
    pub(super) fn reject(&mut self, Rejection { plugin, dependent }: &Rejection) {
        let failure = self.fleet.rejection(dependent);
        self.end(plugin, Ending::Failed(failure), true);
    }

    /// Ends an attempt: at once where nothing of it runs, else as soon as its stage has noticed.
    pub(super) fn cancel(&mut self, plugin_id: &PluginId) {
        match self.fleet.stage(plugin_id) {
            Some(Stage::Preparing | Stage::Initialising | Stage::Announcing) => {
                self.fleet.cancel(plugin_id);
                if let Some(in_progress) = self.attempts.get(plugin_id) {
                    in_progress.cancel.cancel();
                }
            }
            stage => self.end(plugin_id, Ending::Abandoned, stage >= Some(Stage::Initialised)),
        }
    }

    /// Nothing of an attempt runs any more.
    pub(super) fn end(&mut self, plugin_id: &PluginId, ending: Ending, was_initialised: bool) {
        if let Some(in_progress) = self.attempts.get(plugin_id) {
            trace::concluded(&in_progress.traced, ending.as_attempt());
        }
        let schema = self.schema_to_go_back_to(plugin_id);
        let version = self.discard(plugin_id, was_initialised);
        match schema {
            None => self.conclude(plugin_id, ending, &version),
            Some((entry, artifact)) => {
                self.fleet.cancel(plugin_id);
                let (stages, plugin_id) = (self.stages.clone(), plugin_id.clone());
                self.running_stages.spawn(async move {
                    stages.take_schema_back(&entry, &artifact).await;
                    (plugin_id, Event::Ended(ending, version))
                });
            }
        }
    }

    /// Nothing is left of an attempt.
    pub(super) fn conclude(&mut self, plugin_id: &PluginId, ending: Ending, version: &str) {
        let Ending::Failed(failure) = ending else { return self.fleet.abandon(plugin_id) };
        self.stages.metrics.activation(plugin_id, false);
        let (reason, transient, message) = (failure.reason, failure.transient, failure.message.clone());
        if self.fleet.fail(plugin_id, failure, Instant::now(), rand::random()) {
            warn!(plugin = %plugin_id, version, ?reason, transient, message, "plugin did not come up");
        }
    }

    /// The form that serves on, if the attempt may have changed the plugin's schema. When everything is taken down, the next
    /// to start finds what it needs by itself.
    fn schema_to_go_back_to(&self, plugin_id: &PluginId) -> Option<(Arc<PluginEntry>, MaterialisedArtifact)> {
        let has_migrated =
            self.fleet.stage(plugin_id) >= Some(Stage::Initialising) && self.fleet.attempted(plugin_id) == Some(Form::Wanted);
        let serving = self.serving.get(plugin_id).filter(|serving| has_migrated && serving.entry.grants.database)?;
        (!self.is_ending).then(|| (serving.entry.clone(), serving.artifact.clone()))
    }

    /// Forgets an attempt; of which version it was. What has been initialised is told.
    fn discard(&mut self, plugin_id: &PluginId, was_initialised: bool) -> String {
        let Some(in_progress) = self.attempts.remove(plugin_id) else { return String::new() };
        match (in_progress.endpoint, in_progress.loaded) {
            // Others may have called it already.
            (Some(endpoint), _) => self.farewells.push(Farewell::Version(plugin_id.clone(), endpoint)),
            (None, Some(loaded)) if was_initialised => {
                let (stages, plugin_id) = (self.stages.clone(), plugin_id.clone());
                self.draining.spawn(async move { stages.shut_down(&plugin_id, loaded.plugin.as_ref()).await });
            }
            _ => {}
        }
        in_progress.entry.version.clone()
    }
}
