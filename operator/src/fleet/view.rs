//! What the operator knows about the pods of an instance: what they shall run, and what each of
//! them says.

use std::collections::BTreeMap;
use std::sync::Arc;

use checkstack_control_api::report::{PluginReport, PodReport};
use checkstack_crds::checkstack::RolloutStrategy;
use checkstack_plugin_package::{Digest, PluginEntry, PluginSet};

use crate::instance::set::Member;
use crate::pods::{DatabaseCheck, LivePod};

/// What all pods of an instance shall run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// The set, with its revision.
    pub(crate) set: PluginSet,
    /// [`PluginSet::hash`] of it.
    pub(crate) hash: Digest,
    /// By `metadata.name` of the plugin: what became of it when the set was built.
    pub(crate) members: BTreeMap<String, Member>,
    /// By `metadata.name` of the plugin: hash of its entry.
    pub(crate) entries: BTreeMap<String, Digest>,
    /// How it reaches the pods.
    pub(crate) strategy: RolloutStrategy,
}

impl Target {
    /// Whether a pod shall take it over. One that is to be replaced stays as it is.
    pub(crate) fn is_for(&self, pod: &LivePod) -> bool {
        match self.strategy {
            RolloutStrategy::HotSwap => true,
            RolloutStrategy::Restart => pod.made_for_set.as_ref() == Some(&self.hash.to_string()),
        }
    }

    /// The entry of a plugin.
    pub(crate) fn entry(&self, resource: &str) -> Option<&PluginEntry> {
        self.set.plugins.iter().find(|entry| entry.resource == resource)
    }
}

/// The pods of an instance, as they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FleetView {
    /// What they shall run.
    pub(crate) target: Arc<Target>,
    /// Whether every pod was asked since this operator works. Until then nothing is concluded from
    /// pods that are not in `pods` or have said nothing.
    pub(crate) complete: bool,
    /// Sorted by name.
    pub(crate) pods: Vec<PodView>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Whether Kubernetes sends it requests.
    pub(crate) ready: bool,
    pub(crate) observation: Observation,
    /// What it last said about its database.
    pub(crate) database: Option<DatabaseCheck>,
}

/// What a pod says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Observation {
    /// It has not answered yet, and need not have: it is starting.
    Starting {
        /// Why Kubernetes cannot start it, if it says so.
        waiting: Option<String>,
    },
    /// It answered.
    Reported(Arc<PodReport>),
    /// It should answer, and does not.
    Unreachable {
        /// Why, in words that are the same each time.
        message: String,
    },
    /// It answers, but does not take the set over.
    Refused {
        /// Why.
        message: String,
        /// What it said about itself.
        report: Arc<PodReport>,
    },
}

impl PodView {
    /// The pod's report, if it gave one.
    pub(crate) fn report(&self) -> Option<&Arc<PodReport>> {
        match &self.observation {
            Observation::Reported(report) | Observation::Refused { report, .. } => Some(report),
            Observation::Starting { .. } | Observation::Unreachable { .. } => None,
        }
    }

    /// What the pod says about one plugin.
    pub(crate) fn plugin(&self, resource: &str) -> Option<&PluginReport> {
        self.report()?.plugins.iter().find(|plugin| plugin.resource == resource)
    }

    /// Whether the pod has done all it can for the target.
    pub(crate) fn is_settled(&self, target: &Target) -> bool {
        match &self.observation {
            Observation::Reported(report) => report.settled && report.set_hash == target.hash && report.revision == target.set.revision,
            Observation::Starting { .. } | Observation::Unreachable { .. } | Observation::Refused { .. } => false,
        }
    }
}

impl FleetView {
    /// Whether all pods have done all they can for the target.
    pub(crate) fn is_settled(&self) -> bool {
        self.complete && self.pods.iter().all(|pod| pod.is_settled(&self.target))
    }

    /// Revisions and hashes that pods work towards.
    pub(crate) fn reported_sets(&self) -> Vec<(u64, Digest)> {
        self.pods.iter().filter_map(|pod| pod.report()).map(|report| (report.revision, report.set_hash)).collect()
    }
}
