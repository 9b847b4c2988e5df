//! Whatever comes, whatever fails: promises that always hold.

use proptest::prelude::*;

use super::*;

fn behaviours() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        6 => Just(Behaviour::Good),
        1 => Just(Behaviour::FailsToLoad),
        1 => Just(Behaviour::FailsToInit),
        1 => Just(Behaviour::HangsInInit),
        1 => Just(Behaviour::FailsToAnnounce),
    ]
}

/// Some of six plugins, each in one of three versions, with any dependencies: cycles, too.
fn sets() -> impl Strategy<Value = Vec<PluginEntry>> {
    let range = prop_oneof![4 => Just("*"), 1 => Just("^1"), 1 => Just("^2")];
    let dependencies = prop::collection::btree_map(0..6_usize, range, 0..3);
    let plugin = prop::option::weighted(0.8, (1..=3_u8, dependencies));
    prop::collection::vec(plugin, 6).prop_map(|plugins| {
        let names = ["a", "b", "c", "d", "e", "f"];
        let present = plugins.into_iter().enumerate().filter_map(|(index, plugin)| Some((index, plugin?)));
        present
            .map(|(index, (version, dependencies))| {
                let dependencies: Vec<String> = dependencies
                    .into_iter()
                    .filter(|(dependency, _)| *dependency != index)
                    .map(|(dependency, range)| format!("{} {range}", names[dependency]))
                    .collect();
                let dependencies: Vec<&str> = dependencies.iter().map(String::as_str).collect();
                entry(&format!("{}@{version}.0.0", names[index]), &dependencies)
            })
            .collect()
    })
}

/// Plugins that nothing of the new set gives a reason to touch.
fn untouchable(simulation: &Simulation, set: &[PluginEntry]) -> BTreeSet<PluginId> {
    let unchanged = |plugin: &PluginReport| {
        let hash = |entry: &PluginEntry| checkstack_control_api::entry_hash(entry).unwrap();
        let active = plugin.active.as_ref()?;
        set.iter().find(|entry| entry.plugin_id == plugin.plugin_id && hash(entry) == active.entry_hash)
    };
    let report = simulation.report();
    let mut candidates: BTreeMap<PluginId, &PluginEntry> =
        report.plugins.iter().filter_map(|plugin| Some((plugin.plugin_id.clone(), unchanged(plugin)?))).collect();
    loop {
        let before = candidates.len();
        let names: BTreeSet<PluginId> = candidates.keys().cloned().collect();
        // Strict: all dependencies unchanged as well.
        candidates.retain(|_, entry| entry.dependencies.keys().all(|dependency| names.contains(dependency)));
        if candidates.len() == before {
            return candidates.into_keys().collect();
        }
    }
}

/// Plugins that must be active in the end: good ones on good ones, without obstacles.
fn must_be_active(simulation: &Simulation, set: &[PluginEntry]) -> BTreeSet<PluginId> {
    let is_good = |entry: &&PluginEntry| {
        let behaviour = simulation.behaviours.get(&format!("{}@{}", entry.plugin_id, entry.version));
        behaviour.copied().unwrap_or(Behaviour::Good) == Behaviour::Good
    };
    let mut active: BTreeSet<PluginId> = BTreeSet::new();
    loop {
        let before = active.len();
        for entry in set.iter().filter(is_good) {
            let fits = |(dependency, range): (&PluginId, &String)| {
                let version = set.iter().find(|entry| entry.plugin_id == *dependency).map(|entry| entry.version.as_str());
                active.contains(dependency) && version.is_some_and(|version| crate::lifecycle::obstacles::satisfies(version, range))
            };
            if entry.dependencies.iter().all(fits) {
                active.insert(entry.plugin_id.clone());
            }
        }
        if active.len() == before {
            return active;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_sets_and_the_plugins_do(
        steps in prop::collection::vec((sets(), 0..30_000_u64), 1..5),
        behaviours in prop::collection::vec(behaviours(), 18),
    ) {
        let mut simulation = Simulation::new();
        for (index, behaviour) in behaviours.into_iter().enumerate() {
            let plugin = ["a", "b", "c", "d", "e", "f"][index / 3];
            simulation.behave(&format!("{plugin}@{}.0.0", index % 3 + 1), behaviour);
        }
        for (set, milliseconds) in &steps {
            let untouchable = untouchable(&simulation, set);
            simulation.taken_log();
            simulation.adopt(set);
            simulation.run(Duration::from_millis(*milliseconds));
            for plugin in &untouchable {
                prop_assert_eq!(simulation.state(plugin.as_str()), ACTIVE);
                let touched = simulation.log.iter().any(|line| line.ends_with(&format!(" {plugin}")));
                prop_assert!(!touched, "{} was touched: {:?}", plugin, simulation.log);
            }
        }
        simulation.run(Duration::from_secs(300));
        let (last, _) = steps.last().unwrap();
        let report = simulation.report();
        let listed: Vec<&str> = last.iter().map(|entry| entry.plugin_id.as_str()).collect();
        prop_assert_eq!(report.plugins.iter().map(|plugin| plugin.plugin_id.as_str()).collect::<Vec<_>>(), listed);
        prop_assert!(report.settled);
        for plugin in must_be_active(&simulation, last) {
            prop_assert_eq!(simulation.state(plugin.as_str()), ACTIVE, "{}", plugin);
        }
        for plugin in &report.plugins {
            prop_assert_eq!(plugin.state == PluginState::Active, plugin.active == plugin.desired);
            prop_assert_eq!(plugin.message.is_empty(), plugin.state == PluginState::Active);
        }
        simulation.fleet.dissolve();
        simulation.run(Duration::from_secs(60));
        prop_assert!(simulation.fleet.is_empty());
    }
}
