//! Which plugins an instance must run: the plugin set, computed from the CheckstackPlugins.
//!
//! A plugin whose new form cannot be built yet (its source does not answer, a Secret is missing)
//! keeps the place and the form that it had: a mistake in YAML must not stop what serves.

use std::collections::{BTreeMap, BTreeSet};

use checkstack_crds::CheckstackPlugin;
use checkstack_crds::conditions::{PluginConditionType, is_true};
use checkstack_plugin_package::{Digest, Grants, HttpGrant, PluginEntry, PluginId, PluginSet, order};
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value};

use crate::plugin::Facts;

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
    /// All plugins that name the instance.
    pub(crate) plugins: &'a [&'a CheckstackPlugin],
    /// Names of plugins in the namespace that cannot be read, so that nobody knows whose they are.
    pub(crate) unreadable: &'a BTreeSet<String>,
    /// By `metadata.name`, for those that have `configFrom`.
    pub(crate) secrets: &'a BTreeMap<String, SecretConfig>,
    /// The set of the latest revision, with the secret values of its plugins.
    pub(crate) previous: &'a PreviousSet,
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
}

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BuiltSet {
    /// Its revision is 0: the caller knows the history.
    pub(crate) set: PluginSet,
    /// Secret values, of the plugins that have any.
    pub(crate) secrets: BTreeMap<PluginId, Map<String, Value>>,
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
}

/// Whether a plugin is in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As its spec and its verified artifact say.
    Current,
    /// As it was before, because the new form cannot be built.
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
    let mut candidates: Vec<Candidate> = unreadable(inputs).collect();
    for plugin in by_age(inputs) {
        let verdict = candidate(inputs, plugin)?;
        let standing = match &verdict {
            Ok(found) => found.held.clone().map_or(Standing::Current, Standing::Held),
            Err(obstacle) => Standing::Out(obstacle.clone()),
        };
        members.insert(plugin.name_any(), member(plugin, standing));
        candidates.extend(verdict);
    }
    let mut chosen: BTreeMap<PluginId, Candidate> = BTreeMap::new();
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
    let nodes = chosen.iter().map(|(id, candidate)| (id.clone(), candidate.entry.dependencies.keys().cloned().collect::<Vec<_>>()));
    let places = order(nodes).into_all();
    let mut secrets = BTreeMap::new();
    let mut plugins = Vec::with_capacity(places.len());
    for id in places {
        if let Some(candidate) = chosen.remove(&id) {
            if !candidate.secrets.is_empty() {
                secrets.insert(id, candidate.secrets);
            }
            plugins.push(candidate.entry);
        }
    }
    Ok(BuiltSet { set: PluginSet { plugins, ..PluginSet::empty(inputs.instance.clone()) }, secrets, members })
}

struct Candidate {
    entry: PluginEntry,
    secrets: Map<String, Value>,
    held: Option<Obstacle>,
}

/// Plugins that this release cannot read stay in the set as they are.
fn unreadable<'a>(inputs: &'a SetInputs<'_>) -> impl Iterator<Item = Candidate> + use<'a> {
    let entries = inputs.previous.entries.iter().filter(|entry| inputs.unreadable.contains(&entry.resource));
    entries.map(|entry| before(inputs, entry, Obstacle::Unreadable))
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
    }
}

/// The plugin's entry, unless something stands against it. An error is a bug of ours.
fn candidate(inputs: &SetInputs<'_>, plugin: &CheckstackPlugin) -> Result<Result<Candidate, Obstacle>, serde_json::Error> {
    if let Some(obstacle) = unwanted(inputs, plugin) {
        return Ok(Err(obstacle));
    }
    let name = plugin.name_any();
    let previous = inputs.previous.entries.iter().find(|entry| entry.resource == name);
    let (artifact, held) = match (Artifact::materialised(plugin), previous) {
        (Some(artifact), _) => (artifact, None),
        (None, Some(entry)) => (Artifact::of(entry), Some(Obstacle::NotMaterialised)),
        (None, None) => return Ok(Err(Obstacle::NotMaterialised)),
    };
    let Settings { secrets, grants } = match settings(inputs, plugin) {
        Ok(settings) => settings,
        Err(obstacle) => return Ok(previous.map(|entry| before(inputs, entry, obstacle.clone())).ok_or(obstacle)),
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
        secret_config_hash: hash,
        grants,
        unknown: Map::new(),
    };
    Ok(Ok(Candidate { entry, secrets, held }))
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
fn before(inputs: &SetInputs<'_>, entry: &PluginEntry, obstacle: Obstacle) -> Candidate {
    let secrets = inputs.previous.secrets.get(&entry.plugin_id).cloned().unwrap_or_default();
    Candidate { entry: entry.clone(), secrets, held: Some(obstacle) }
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
    /// The one of the plugin's status, if it is in the store.
    fn materialised(plugin: &CheckstackPlugin) -> Option<Self> {
        let status = plugin.status.as_ref()?;
        if !is_true(&status.conditions, PluginConditionType::Materialized.as_str()) {
            return None;
        }
        let Facts { plugin_id, package, version, digest, dependencies, .. } = Facts::from_status(status)?;
        Some(Self { plugin_id, package, version, digest, dependencies })
    }

    fn of(entry: &PluginEntry) -> Self {
        Self {
            plugin_id: entry.plugin_id.clone(),
            package: entry.package.clone(),
            version: entry.version.clone(),
            digest: entry.digest,
            dependencies: entry.dependencies.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
