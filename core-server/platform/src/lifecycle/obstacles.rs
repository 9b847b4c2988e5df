//! What in a set itself keeps a plugin from ever coming up.

use std::collections::BTreeMap;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Ordering, PluginEntry, PluginId};

/// Why a set, as it is, has no place for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) reason: PluginReason,
    pub(super) message: String,
}

/// What stands against a plugin of a set, which is ordered by `ordering`.
pub(super) fn obstacle(
    entry: &PluginEntry,
    entries: &BTreeMap<&PluginId, &PluginEntry>,
    ordering: &Ordering<PluginId>,
) -> Option<Obstacle> {
    let found = |reason, message| Some(Obstacle { reason, message });
    let missing: Vec<String> =
        entry.dependencies.iter().filter(|(id, _)| !entries.contains_key(id)).map(|(id, range)| format!("'{id}' ({range})")).collect();
    if !missing.is_empty() {
        let message =
            format!("needs plugin {}, which this instance does not have: add a CheckstackPlugin for it", missing.join(" and plugin "));
        return found(PluginReason::DependencyMissing, message);
    }
    for (id, range) in &entry.dependencies {
        if let Some(dependency) = entries.get(id)
            && !satisfies(&dependency.version, range)
        {
            let message = format!(
                "needs plugin '{id}' in version {range}, but this instance has {}: change the version of one of the two",
                dependency.version
            );
            return found(PluginReason::DependencyVersion, message);
        }
    }
    let cycle = ordering.cycle_of(&entry.plugin_id)?;
    found(
        PluginReason::DependencyCycle,
        format!("is part of a dependency cycle: {cycle}; one of these plugins must give up its dependency"),
    )
}

/// Whether a version is inside a range, both in npm's syntax.
pub(super) fn satisfies(version: &str, range: &str) -> bool {
    match (node_semver::Version::parse(version), node_semver::Range::parse(range)) {
        (Ok(version), Ok(range)) => range.satisfies(&version),
        _ => false,
    }
}
