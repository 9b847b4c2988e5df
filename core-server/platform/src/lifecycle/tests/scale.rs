//! What planning costs with many plugins: counted, not timed.

use std::sync::atomic::Ordering;

use super::*;

const PLUGINS: usize = 1000;
/// Looks at a plugin, for each plugin and each dependency: a few rounds, whatever the shape.
const MOST_LOOKS: usize = 20;

/// `dependencies` of each, by number; listed in the order that is worst.
fn entries(dependencies: impl Fn(usize) -> Vec<usize>) -> Vec<PluginEntry> {
    let name = |index: usize| format!("p{index:04}");
    let entry = |index| {
        let names: Vec<String> = dependencies(index).into_iter().map(name).collect();
        entry(&name(index), &names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    (0..PLUGINS).rev().map(entry).collect()
}

/// How often plugins are looked at.
fn looks<T>(fleet: &Fleet, work: impl FnOnce() -> T) -> (T, usize) {
    let before = fleet.looks.load(Ordering::Relaxed);
    let result = work();
    (result, fleet.looks.load(Ordering::Relaxed) - before)
}

/// Plans and reports, and sees that it does not cost too much; the number of actions.
fn planned(fleet: &Fleet, now: Instant, dependencies: usize, when: &str) -> usize {
    let most = MOST_LOOKS * (PLUGINS + dependencies);
    let (plan, planning) = looks(fleet, || plan(fleet, now));
    assert!(planning <= most, "{when}: {planning} looks for a plan, at most {most}");
    let (_, reporting) = looks(fleet, || report(fleet, "pod", "1.2.3"));
    assert!(reporting <= most, "{when}: {reporting} looks for a report, at most {most}");
    plan.actions.len()
}

fn costs_little(shape: &str, plugins: &[PluginEntry]) {
    let dependencies = plugins.iter().map(|entry| entry.dependencies.len()).sum();
    let now = Instant::now();
    let mut fleet = Fleet::new("ns/main");
    let set = |revision, plugins: &[PluginEntry]| PluginSet { revision, plugins: plugins.to_vec(), ..PluginSet::empty("ns/main") };
    let adopt = |fleet: &mut Fleet, set: &PluginSet| fleet.adopt(set, set.hash().unwrap(), now);
    adopt(&mut fleet, &set(1, plugins));
    let ids: Vec<PluginId> = fleet.order.clone();
    assert_eq!(planned(&fleet, now, dependencies, &format!("{shape}, new")), PLUGINS);
    for id in &ids {
        fleet.begin(id, Form::Wanted, now);
    }
    for stage in [Stage::Preparing, Stage::Prepared, Stage::Initialised, Stage::Announcing, Stage::Announced] {
        for id in &ids {
            if stage == Stage::Initialised {
                fleet.reach(id, Stage::Initialising, now);
            }
            fleet.reach(id, stage, now);
        }
        planned(&fleet, now, dependencies, &format!("{shape}, {stage:?}"));
    }
    ids.iter().for_each(|id| fleet.activate(id));
    assert_eq!(planned(&fleet, now, dependencies, &format!("{shape}, active")), 0);
    // The first of them goes, and with it what needs it.
    adopt(&mut fleet, &set(2, &plugins[..PLUGINS - 1]));
    assert!(planned(&fleet, now, dependencies, &format!("{shape}, without the first")) > 0);
    adopt(&mut fleet, &set(3, &[]));
    assert_eq!(planned(&fleet, now, dependencies, &format!("{shape}, empty")), 1);
}

#[test]
fn a_plan_for_a_thousand_plugins_costs_a_few_looks_at_each() {
    costs_little("apart", &entries(|_| vec![]));
    costs_little("a chain", &entries(|index| index.checked_sub(1).into_iter().collect()));
    costs_little("a star", &entries(|index| if index == 0 { vec![] } else { vec![0] }));
    costs_little("a net", &entries(|index| (index.saturating_sub(5)..index).collect()));
}
