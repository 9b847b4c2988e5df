//! What a plugin can be put back to.

use checkstack_control_api::entry_hash;
use checkstack_plugin_package::{Digest, PluginEntry};
use serde_json::{Map, Value};

use super::{Candidate, SetInputs};
use crate::plugin::rollout;

/// The last form of a plugin that every pod ran, if it is another one.
pub(super) struct Fallback {
    /// Of a set that has it.
    pub(super) revision: u64,
    pub(super) entry: PluginEntry,
    pub(super) hash: Digest,
    pub(super) secrets: Map<String, Value>,
}

pub(super) fn fallback(inputs: &SetInputs<'_>, candidate: &Candidate<'_>) -> Result<Option<Fallback>, serde_json::Error> {
    let good = rollout::last_good(candidate.history()).and_then(|good| good.hash.parse::<Digest>().ok());
    let Some(hash) = good.filter(|hash| *hash != candidate.hash) else { return Ok(None) };
    for (revision, set) in inputs.past {
        let Some(entry) = set.plugins.iter().find(|entry| entry.resource == candidate.entry.resource) else { continue };
        if entry_hash(entry)? == hash {
            let secrets = secrets_before(inputs, entry)?;
            return Ok(secrets.map(|secrets| Fallback { revision: *revision, entry: entry.clone(), hash, secrets }));
        }
    }
    Ok(None)
}

/// The secret values that an entry names, if they are still there.
fn secrets_before(inputs: &SetInputs<'_>, entry: &PluginEntry) -> Result<Option<Map<String, Value>>, serde_json::Error> {
    let Some(hash) = &entry.secret_config_hash else { return Ok(Some(Map::new())) };
    let id = &entry.plugin_id;
    for values in [inputs.previous.secrets.get(id), inputs.previous.last_good_secrets.get(id)].into_iter().flatten() {
        if (inputs.keyed_hash)(id, values)? == *hash {
            return Ok(Some(values.clone()));
        }
    }
    Ok(None)
}
