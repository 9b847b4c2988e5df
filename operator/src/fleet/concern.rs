//! Whom it concerns when something changes in an instance.
//!
//! With many plugins, most of them just run. To look at each of them whenever one of them changes would take time that
//! grows with the square of their number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checkstack_control_api::report::{PluginReport, PluginState};
use checkstack_plugin_package::Digest;

use super::{FleetView, Observation, PodView};
use crate::instance::set::{Member, Standing};

/// Names of the plugins for which the two views differ. A plugin that does not run as it should is always among them: much
/// may matter to it.
pub(super) fn concerned(before: &FleetView, after: &FleetView) -> BTreeSet<String> {
    let same_pods = before.pods.iter().map(identity).eq(after.pods.iter().map(identity));
    let (was, is) = (at_rest(before), at_rest(after));
    let undisturbed = |name: &str| same_pods && is.get(name).is_some_and(|is| was.get(name) == Some(is));
    let all = before.target.members.keys().chain(after.target.members.keys());
    all.filter(|name| !undisturbed(name)).cloned().collect()
}

fn identity(pod: &PodView) -> (&str, &str, bool) {
    (&pod.name, &pod.uid, pod.ready)
}

/// A plugin that runs in all pods as it should.
#[derive(PartialEq)]
struct AtRest<'a> {
    member: &'a Member,
    entry: &'a Digest,
    rows: Vec<&'a PluginReport>,
}

/// By `metadata.name`.
fn at_rest(view: &FleetView) -> BTreeMap<&str, AtRest<'_>> {
    let Some(pods) = view.pods.iter().map(rows).collect::<Option<Vec<_>>>().filter(|_| view.complete) else { return BTreeMap::new() };
    view.target.entries.iter().filter_map(|(name, entry)| Some((name.as_str(), AtRest::of(name, entry, view, &pods)?))).collect()
}

impl<'a> AtRest<'a> {
    fn of(name: &str, entry: &'a Digest, view: &'a FleetView, pods: &[HashMap<&str, &'a PluginReport>]) -> Option<Self> {
        let member = view.target.members.get(name).filter(|member| member.standing == Standing::Current)?;
        let runs =
            |row: &&PluginReport| row.state == PluginState::Active && row.active.as_ref().is_some_and(|active| active.entry_hash == *entry);
        let rows = pods.iter().map(|rows| rows.get(name).copied().filter(runs)).collect::<Option<Vec<_>>>()?;
        Some(Self { member, entry, rows })
    }
}

/// What a pod that answers says of its plugins.
fn rows(pod: &PodView) -> Option<HashMap<&str, &PluginReport>> {
    match &pod.observation {
        Observation::Reported(report) => Some(report.plugins.iter().map(|plugin| (plugin.resource.as_str(), plugin)).collect()),
        Observation::Starting { .. } | Observation::Unreachable { .. } | Observation::Refused { .. } => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use checkstack_control_api::report::PluginReason;

    use super::*;
    use crate::fixtures::{active, entry, failed, fleet, pod, silent_pod, target};
    use crate::fleet::Target;

    /// Two pods that run two plugins.
    fn calm() -> FleetView {
        let target = both();
        let rows: Vec<PluginReport> = target.set.plugins.iter().map(active).collect();
        let pods = vec![pod("main-1", &target, rows.clone()), pod("main-2", &target, rows)];
        fleet(target, pods)
    }

    fn both() -> Target {
        target(vec![entry("uptime", "uptime"), entry("catalog", "catalog")])
    }

    fn names(before: &FleetView, after: &FleetView) -> Vec<String> {
        concerned(before, after).into_iter().collect()
    }

    #[test]
    fn a_plugin_that_just_runs_is_not_concerned() {
        assert!(names(&calm(), &calm()).is_empty());
        // Not even when the set changes around it.
        let mut more = calm();
        let mut next = target(vec![entry("uptime", "uptime"), entry("catalog", "catalog"), entry("new", "new")]);
        next.set.revision += 1;
        more.target = next.into();
        assert_eq!(names(&calm(), &more), ["new"]);
        assert_eq!(names(&more, &more), ["new"], "it is on its way");
        assert_eq!(names(&more, &calm()), ["new"], "it is gone");
    }

    #[test]
    fn what_a_pod_says_of_a_plugin_concerns_that_plugin() {
        let mut after = calm();
        let target = both();
        let broken = failed(&entry("uptime", "uptime"), PluginState::Failed, PluginReason::Trapped, "it trapped");
        after.pods[1] = pod("main-2", &target, vec![broken, active(&entry("catalog", "catalog"))]);
        assert_eq!(names(&calm(), &after), ["uptime"]);
        assert_eq!(names(&after, &after), ["uptime"]);
        assert_eq!(names(&after, &calm()), ["uptime"]);
        after.pods[1] = pod("main-2", &target, vec![active(&entry("catalog", "catalog"))]);
        assert_eq!(names(&calm(), &after), ["uptime"], "the pod says nothing of it");
    }

    #[test]
    fn what_happens_to_a_pod_concerns_all() {
        let changed = |change: &dyn Fn(&mut FleetView)| {
            let mut after = calm();
            change(&mut after);
            names(&calm(), &after)
        };
        assert_eq!(changed(&|view| view.pods.truncate(1)), ["catalog", "uptime"]);
        assert_eq!(changed(&|view| view.pods[0].ready = false), ["catalog", "uptime"]);
        assert_eq!(changed(&|view| view.pods[0].uid = "another".into()), ["catalog", "uptime"]);
        assert_eq!(changed(&|view| view.complete = false), ["catalog", "uptime"]);
        let unreachable = Observation::Unreachable { message: "refused".into() };
        assert_eq!(changed(&|view| view.pods[0] = silent_pod("main-1", true, unreachable.clone())), ["catalog", "uptime"]);
    }

    #[test]
    fn what_is_wanted_of_a_plugin_concerns_it() {
        let mut after = calm();
        let mut next = both();
        next.members.get_mut("uptime").unwrap().generation += 1;
        next.entries.insert("catalog".into(), Digest::of(b"another form"));
        after.target = next.into();
        assert_eq!(names(&calm(), &after), ["catalog", "uptime"]);
    }
}
