//! What pods that start are given while a plugin's new form has yet to show that it works.
//!
//! A pod that runs goes on with the form before until the new one is up. One that starts has nothing to go on with: given the
//! new form, and no luck with it, it would serve without the plugin until that is put back. So it starts with what is
//! known to work, and is handed the new form like the others. Not so a pod that is made for a set, to replace another.

use std::collections::BTreeSet;

use checkstack_control_api::entry_hash;
use checkstack_crds::plugin::RolloutState;
use checkstack_plugin_package::{Digest, PluginId, PluginSet};

use super::Candidate;

/// Whether the form of a plugin that has something to go back to is still to be judged.
pub(super) fn is_on_trial(candidate: &Candidate<'_>) -> bool {
    let newest = candidate.history().first();
    newest.is_none_or(|newest| newest.state != RolloutState::Failed || newest.hash != candidate.hash.to_string())
}

/// The newest of the sets before, `past`, without a form that is on trial. None when there is nothing on trial, or no
/// such set; and none with a plugin that is not wanted any more, which must not come back.
pub(super) fn proven(
    past: &[(u64, &PluginSet)],
    wanted: &BTreeSet<&PluginId>,
    on_trial: &BTreeSet<Digest>,
) -> Result<Option<PluginSet>, serde_json::Error> {
    if on_trial.is_empty() {
        return Ok(None);
    }
    for (_, set) in past {
        let hashes = set.plugins.iter().map(entry_hash).collect::<Result<Vec<_>, _>>()?;
        if hashes.iter().all(|hash| !on_trial.contains(hash)) {
            let is_wanted = set.plugins.iter().all(|entry| wanted.contains(&entry.plugin_id));
            return Ok(is_wanted.then(|| (*set).clone()));
        }
    }
    Ok(None)
}
