//! Which plugins an instance must run: the plugin set, computed from the CheckstackPlugins.
//!
//! A plugin whose new form cannot be built yet (its source does not answer, a Secret is missing)
//! keeps the place and the form that it had: a mistake in YAML must not stop what serves. One whose
//! new form was put back has its last good form.

mod fallback;
mod proven;

use std::collections::{BTreeMap, BTreeSet};

use checkstack_control_api::entry_hash;
use checkstack_crds::CheckstackPlugin;
use checkstack_crds::checkstack::RolloutStrategy;
use checkstack_crds::conditions::{ConditionStatus, PluginConditionType, find_condition};
use checkstack_crds::plugin::PluginHistoryEntry;
use checkstack_plugin_package::{Digest, Grants, HttpGrant, PluginEntry, PluginId, PluginSet, order};
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value};

use self::fallback::{Fallback, fallback};
use self::proven::{is_on_trial, proven};
use super::attempts::{Tried, identify};
use crate::names;
use crate::plugin::{Facts, rollout};

/// The values that a plugin's `configFrom` leads to, or what is wrong with it.
pub(crate) type SecretConfig = Result<Map<String, Value>, SecretProblem>;

/// Why `configFrom` leads to no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretProblem {
    #[error("Secret '{secret}' does not exist: create it, or correct spec.configFrom")]
    SecretNotFound { secret: String },
    #[error("Secret '{secret}' has no key '{key}': add it, or correct spec.configFrom")]
    KeyNotFound { secret: String, key: String },
    #[error("key '{key}' of Secret '{secret}' is not UTF-8 text")]
    NotText { secret: String, key: String },
    #[error("the config field '{field}' comes from two places: remove it from spec.config or from spec.configFrom")]
    FieldTwice { field: String },
}

/// What the set is computed from.
pub(crate) struct SetInputs<'a> {
    /// `<namespace>/<name>` of the instance.
    pub(crate) instance: String,
    /// `spec.plugins.selector`.
    pub(crate) selector: &'a Selector,
    /// `spec.rollout.strategy`.
    pub(crate) strategy: RolloutStrategy,
    /// All plugins that name the instance.
    pub(crate) plugins: &'a [&'a CheckstackPlugin],
    /// Names of plugins in the namespace that cannot be read, so that nobody knows whose they are.
    pub(crate) unreadable: &'a BTreeSet<String>,
    /// By `metadata.name`, for those that have `configFrom`.
    pub(crate) secrets: &'a BTreeMap<String, SecretConfig>,
    /// The set of the latest revision, with the secret values of its plugins.
    pub(crate) previous: &'a PreviousSet,
    /// All sets that are kept, the newest first, with their revisions.
    pub(crate) past: &'a [(u64, &'a PluginSet)],
    /// Makes the hash of secret values that the set holds in their place.
    pub(crate) keyed_hash: &'a KeyedHash<'a>,
}

/// Hashes the secret values of a plugin with a key that only operator and pods have.
pub(crate) type KeyedHash<'a> = dyn Fn(&PluginId, &Map<String, Value>) -> Result<String, serde_json::Error> + Sync + 'a;

/// A set that was delivered before.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PreviousSet {
    pub(crate) entries: Vec<PluginEntry>,
    pub(crate) secrets: BTreeMap<PluginId, Map<String, Value>>,
    /// Other values that a plugin may have to go back to.
    pub(crate) last_good_secrets: BTreeMap<PluginId, Map<String, Value>>,
}

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BuiltSet {
    /// Its revision is 0: the caller knows the history.
    pub(crate) set: PluginSet,
    /// What pods that start are given instead, as long as a form is on trial.
    pub(crate) proven: Option<PluginSet>,
    /// Secret values, of the plugins that have any.
    pub(crate) secrets: BTreeMap<PluginId, Map<String, Value>>,
    /// Other values that a plugin may have to go back to.
    pub(crate) last_good_secrets: BTreeMap<PluginId, Map<String, Value>>,
    /// Revisions with a form that a plugin may have to go back to.
    pub(crate) needed_revisions: BTreeSet<u64>,
    /// By `metadata.name`: hash of the plugin's entry.
    pub(crate) entries: BTreeMap<String, Digest>,
    /// By `metadata.name`: what became of each plugin.
    pub(crate) members: BTreeMap<String, Member>,
}

/// What became of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) uid: String,
    /// Of the plugin's spec that was looked at.
    pub(crate) generation: i64,
    /// `status.digest` that was looked at.
    pub(crate) digest: Option<String>,
    pub(crate) standing: Standing,
    /// See [`attempts`](super::attempts). Empty for a plugin that is not in the set.
    pub(crate) attempt: String,
}

/// Whether a plugin is in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As its spec and its verified artifact say.
    Current,
    /// As it was before, because the new form cannot be built, or was put back.
    Held(Obstacle),
    /// Not in the set.
    Out(Obstacle),
}

/// Why a plugin is not in the set as its spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// `enabled: false`.
    Disabled,
    /// Its object is being deleted.
    Deleting,
    /// The instance's selector does not take it.
    NotSelected,
    /// No artifact of it is in the store yet.
    NotMaterialised,
    /// Its secret settings cannot be put together.
    Secret(SecretProblem),
    /// The pods could not bring it up, and it was put back.
    RolledBack,
    /// An older CheckstackPlugin has the same plugin id.
    Duplicate { plugin_id: PluginId, winner: String },
    /// The object cannot be read.
    Unreadable,
    /// A grant cannot be read, which the schema should have refused.
    InvalidGrant(String),
}

/// Computes the set.
pub(crate) fn build(inputs: &SetInputs<'_>) -> Result<BuiltSet, serde_json::Error> {
    let mut members = BTreeMap::new();
    let mut candidates: Vec<Candidate<'_>> = unreadable(inputs)?;
    for plugin in by_age(inputs) {
        let verdict = candidate(inputs, plugin)?;
        let standing = match &verdict {
            Ok(found) => found.held.clone().map_or(Standing::Current, Standing::Held),
            Err(obstacle) => Standing::Out(obstacle.clone()),
        };
        members.insert(plugin.name_any(), member(plugin, standing));
        candidates.extend(verdict);
    }
    for (place, attempt) in identify(&candidates.iter().map(Candidate::tried).collect::<Vec<_>>()).into_iter().enumerate() {
        let Some(candidate) = candidates.get_mut(place) else { continue };
        let refused = candidate.held.is_none() && rollout::refused(candidate.history(), &attempt).is_some();
        let before = if refused { fallback(inputs, candidate)? } else { None };
        let Some(member) = members.get_mut(&candidate.entry.resource) else { continue };
        member.attempt = attempt;
        if let Some(before) = before {
            member.standing = Standing::Held(Obstacle::RolledBack);
            candidate.go_back_to(before);
        }
    }
    let chosen = without_duplicates(candidates, &mut members);
    let mut built = BuiltSet {
        set: PluginSet::empty(inputs.instance.clone()),
        proven: None,
        secrets: BTreeMap::new(),
        last_good_secrets: BTreeMap::new(),
        needed_revisions: BTreeSet::new(),
        entries: BTreeMap::new(),
        members,
    };
    let mut on_trial = BTreeSet::new();
    for (id, candidate) in in_order(chosen) {
        if let Some(Fallback { revision, secrets, .. }) = fallback(inputs, &candidate)? {
            built.needed_revisions.insert(revision);
            on_trial.extend(is_on_trial(&candidate).then_some(candidate.hash));
            if !secrets.is_empty() {
                built.last_good_secrets.insert(id.clone(), secrets);
            }
        }
        if !candidate.secrets.is_empty() {
            built.secrets.insert(id, candidate.secrets);
        }
        built.entries.insert(candidate.entry.resource.clone(), candidate.hash);
        built.set.plugins.push(candidate.entry);
    }
    if inputs.strategy == RolloutStrategy::HotSwap {
        let wanted = built.set.plugins.iter().map(|entry| &entry.plugin_id).collect();
        built.proven = proven(inputs.past, &wanted, &on_trial)?;
        built.needed_revisions.extend(built.proven.as_ref().map(|set| set.revision));
    }
    Ok(built)
}

/// A plugin that shall be in the set, and how.
struct Candidate<'a> {
    /// None for one that cannot be read.
    plugin: Option<&'a CheckstackPlugin>,
    entry: PluginEntry,
    /// Of the entry.
    hash: Digest,
    secrets: Map<String, Value>,
    held: Option<Obstacle>,
}

impl<'a> Candidate<'a> {
    fn tried(&self) -> Tried<'_> {
        let generation = self.plugin.and_then(|plugin| plugin.meta().generation).unwrap_or_default();
        Tried {
            plugin_id: &self.entry.plugin_id,
            hash: self.hash,
            object: (self.plugin.and_then(|plugin| plugin.uid()).unwrap_or_default(), generation),
            retry: self.plugin.and_then(|plugin| plugin.annotations().get(names::RETRY)).map(String::as_str),
            dependencies: self.entry.dependencies.keys().collect(),
        }
    }

    fn history(&self) -> &'a [PluginHistoryEntry] {
        self.plugin.and_then(|plugin| plugin.status.as_ref()).map(|status| status.history.as_slice()).unwrap_or_default()
    }

    fn go_back_to(&mut self, form: Fallback) {
        let Fallback { entry, hash, secrets, .. } = form;
        (self.entry, self.hash, self.secrets) = (entry, hash, secrets);
        self.held = Some(Obstacle::RolledBack);
    }
}

/// One for each plugin id: the first.
fn without_duplicates<'a>(candidates: Vec<Candidate<'a>>, members: &mut BTreeMap<String, Member>) -> BTreeMap<PluginId, Candidate<'a>> {
    let mut chosen: BTreeMap<PluginId, Candidate<'a>> = BTreeMap::new();
    for candidate in candidates {
        let plugin_id = candidate.entry.plugin_id.clone();
        match chosen.get(&plugin_id) {
            None => {
                chosen.insert(plugin_id, candidate);
            }
            Some(winner) => {
                let obstacle = Obstacle::Duplicate { plugin_id, winner: winner.entry.resource.clone() };
                if let Some(member) = members.get_mut(&candidate.entry.resource) {
                    member.standing = Standing::Out(obstacle);
                }
            }
        }
    }
    chosen
}

/// In the order of the set: dependencies first.
fn in_order(mut chosen: BTreeMap<PluginId, Candidate<'_>>) -> Vec<(PluginId, Candidate<'_>)> {
    let nodes = chosen.iter().map(|(id, candidate)| (id.clone(), candidate.entry.dependencies.keys().cloned().collect::<Vec<_>>()));
    let places = order(nodes).into_all();
    places.into_iter().filter_map(|id| chosen.remove(&id).map(|candidate| (id, candidate))).collect()
}

/// Plugins that this release cannot read stay in the set as they are.
fn unreadable<'a>(inputs: &SetInputs<'a>) -> Result<Vec<Candidate<'a>>, serde_json::Error> {
    let entries = inputs.previous.entries.iter().filter(|entry| inputs.unreadable.contains(&entry.resource));
    entries.map(|entry| before(inputs, None, entry, Obstacle::Unreadable)).collect()
}

/// The oldest first: of two with one plugin id it wins. Of two that were made within the same
/// second, the one that already runs.
fn by_age<'a>(inputs: &SetInputs<'a>) -> Vec<&'a CheckstackPlugin> {
    let runs = |name: &str| inputs.previous.entries.iter().any(|entry| entry.resource == name);
    let mut sorted = inputs.plugins.to_vec();
    sorted.sort_by_key(|plugin| {
        let name = plugin.name_any();
        (plugin.creation_timestamp().map(|time| time.0), !runs(&name), name)
    });
    sorted
}

fn member(plugin: &CheckstackPlugin, standing: Standing) -> Member {
    Member {
        uid: plugin.uid().unwrap_or_default(),
        generation: plugin.meta().generation.unwrap_or_default(),
        digest: plugin.status.as_ref().and_then(|status| status.digest.clone()),
        standing,
        attempt: String::new(),
    }
}

/// The plugin's entry, unless something stands against it. An error is a bug of ours.
fn candidate<'a>(inputs: &SetInputs<'a>, plugin: &'a CheckstackPlugin) -> Result<Result<Candidate<'a>, Obstacle>, serde_json::Error> {
    if let Some(obstacle) = unwanted(inputs, plugin) {
        return Ok(Err(obstacle));
    }
    let name = plugin.name_any();
    let previous = inputs.previous.entries.iter().find(|entry| entry.resource == name);
    // New settings are for the package that they came with: one does not go without the other.
    let form = Artifact::materialised(plugin).ok_or(Obstacle::NotMaterialised);
    let (artifact, Settings { secrets, grants }) = match form.and_then(|artifact| Ok((artifact, settings(inputs, plugin)?))) {
        Ok(form) => form,
        Err(obstacle) => {
            let Some(entry) = previous else { return Ok(Err(obstacle)) };
            return before(inputs, Some(plugin), entry, obstacle).map(Ok);
        }
    };
    let hash = if secrets.is_empty() { None } else { Some((inputs.keyed_hash)(&artifact.plugin_id, &secrets)?) };
    let entry = PluginEntry {
        resource: name,
        plugin_id: artifact.plugin_id,
        package: artifact.package,
        version: artifact.version,
        digest: artifact.digest,
        dependencies: artifact.dependencies,
        critical: plugin.spec.critical,
        config: plugin.spec.config.clone(),
        config_version: plugin.spec.config_version,
        secret_config_hash: hash,
        grants,
        unknown: Map::new(),
    };
    Ok(Ok(Candidate { plugin: Some(plugin), hash: entry_hash(&entry)?, entry, secrets, held: None }))
}

fn unwanted(inputs: &SetInputs<'_>, plugin: &CheckstackPlugin) -> Option<Obstacle> {
    if plugin.meta().deletion_timestamp.is_some() {
        return Some(Obstacle::Deleting);
    }
    if !plugin.spec.enabled {
        return Some(Obstacle::Disabled);
    }
    (!inputs.selector.matches(plugin.labels())).then_some(Obstacle::NotSelected)
}

/// The plugin as it was.
fn before<'a>(
    inputs: &SetInputs<'_>,
    plugin: Option<&'a CheckstackPlugin>,
    entry: &PluginEntry,
    obstacle: Obstacle,
) -> Result<Candidate<'a>, serde_json::Error> {
    let secrets = inputs.previous.secrets.get(&entry.plugin_id).cloned().unwrap_or_default();
    Ok(Candidate { plugin, entry: entry.clone(), hash: entry_hash(entry)?, secrets, held: Some(obstacle) })
}

/// What the spec says, in the form that pods take.
struct Settings {
    secrets: Map<String, Value>,
    grants: Grants,
}

fn settings(inputs: &SetInputs<'_>, plugin: &CheckstackPlugin) -> Result<Settings, Obstacle> {
    let secrets = match inputs.secrets.get(&plugin.name_any()) {
        None => Map::new(),
        Some(Ok(values)) => values.clone(),
        Some(Err(problem)) => return Err(Obstacle::Secret(problem.clone())),
    };
    if let Some(field) = secrets.keys().find(|field| plugin.spec.config.contains_key(*field)) {
        return Err(Obstacle::Secret(SecretProblem::FieldTwice { field: field.clone() }));
    }
    Ok(Settings { secrets, grants: grants(plugin)? })
}

fn grants(plugin: &CheckstackPlugin) -> Result<Grants, Obstacle> {
    let wanted = &plugin.spec.grants;
    let range = |text: &String| {
        text.parse().map_err(|_| Obstacle::InvalidGrant(format!("spec.grants.http.allowCidrs: '{text}' is no address range")))
    };
    Ok(Grants {
        http: HttpGrant {
            allow: wanted.http.allow.clone(),
            allow_cidrs: wanted.http.allow_cidrs.iter().map(range).collect::<Result<_, _>>()?,
            unknown: Map::new(),
        },
        database: wanted.database,
        secrets: wanted.secrets.clone(),
        frontend: wanted.frontend,
        memory_bytes: wanted.memory.bytes(),
        deadline_milliseconds: wanted.deadline.as_milliseconds(),
        unknown: Map::new(),
    })
}

/// An artifact that is in the store.
struct Artifact {
    plugin_id: PluginId,
    package: String,
    version: String,
    digest: Digest,
    dependencies: BTreeMap<PluginId, String>,
}

impl Artifact {
    /// The one of the plugin's status, if it is what the present spec leads to and in the store.
    fn materialised(plugin: &CheckstackPlugin) -> Option<Self> {
        let status = plugin.status.as_ref()?;
        let materialized = find_condition(&status.conditions, PluginConditionType::Materialized.as_str())?;
        if materialized.status != ConditionStatus::True.as_str() || materialized.observed_generation != plugin.meta().generation {
            return None;
        }
        let Facts { plugin_id, package, version, digest, dependencies, .. } = Facts::from_status(status)?;
        Some(Self { plugin_id, package, version, digest, dependencies })
    }
}

#[cfg(test)]
mod tests;
