//! Which artifacts may still be wanted.

use std::collections::BTreeSet;

use checkstack_crds::CheckstackPlugin;
use checkstack_plugin_package::{Digest, PluginSet};

/// Those of sets that exist, and those that the plugins' statuses name: what they were resolved to, on its way into a set
/// perhaps, and what can be gone back to.
pub(super) fn in_use<'a>(sets: impl Iterator<Item = &'a PluginSet>, plugins: &[&CheckstackPlugin]) -> BTreeSet<Digest> {
    let in_sets = sets.flat_map(|set| set.plugins.iter().map(|entry| entry.digest));
    let statuses = plugins.iter().filter_map(|plugin| plugin.status.as_ref());
    let named = statuses.flat_map(|status| status.digest.iter().chain(status.history.iter().map(|entry| &entry.digest)));
    in_sets.chain(named.filter_map(|digest| digest.parse().ok())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use checkstack_crds::CheckstackPluginStatus;
    use checkstack_crds::plugin::PluginHistoryEntry;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{entry, plugin};

    #[test]
    fn what_any_set_or_status_names_may_be_wanted() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let set = |names: &[&str]| PluginSet {
            plugins: names
                .iter()
                .map(|name| checkstack_plugin_package::PluginEntry { digest: digest(name), ..entry(name, name) })
                .collect(),
            ..PluginSet::empty("monitoring/main")
        };
        let mut uptime = plugin("uptime", json!({}));
        let past = PluginHistoryEntry { digest: digest("past").to_string(), ..PluginHistoryEntry::default() };
        let status = CheckstackPluginStatus { digest: Some(digest("on its way").to_string()), history: vec![past], ..Default::default() };
        uptime.status = Some(status);
        let fresh = plugin("fresh", json!({}));
        let found = in_use([set(&["old", "both"]), set(&["both", "new"])].iter(), &[&uptime, &fresh]);
        assert_eq!(found, ["old", "both", "new", "past", "on its way"].into_iter().map(digest).collect());
    }
}
