//! The planner, by simulation: a clock that jumps, plugins that behave as told.

mod any_set;
mod scale;
mod secrets;
mod swaps;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use checkstack_control_api::report::{PluginReason, PluginReport, PluginState, PodReport};
use checkstack_plugin_package::{Digest, Grants, PluginEntry, PluginId, PluginSet};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::plan::{Action, PATIENCE, plan};
use super::report::report;
use super::slot::{Form, Stage};
use super::swap::Rejection;
use crate::plugin::PluginFailure;
use crate::secrets::SecretRevisions;

/// What a version of a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Good,
    FailsToLoad,
    /// Again and again, but it may pass.
    FailsToInit,
    /// Until its deadline.
    HangsInInit,
    FailsToAnnounce,
}

const STAGE_TIME: Duration = Duration::from_millis(10);
const INIT_DEADLINE: Duration = Duration::from_secs(20);

struct Simulation {
    fleet: Fleet,
    begin: Instant,
    now: Instant,
    /// `init a`, `active a`, `down a`, …
    log: Vec<String>,
    behaviours: BTreeMap<String, Behaviour>,
    pending: Vec<(Instant, PluginId, Done)>,
    revision: u64,
    /// What is kept; a plugin that is granted a name refers to it.
    secrets: SecretRevisions,
}

#[derive(Debug, Clone)]
enum Done {
    Prepared,
    Initialised,
    Announced,
    Failed(PluginFailure),
    Cancelled,
    Down,
}

impl Simulation {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            fleet: Fleet::new("ns/main"),
            begin: now,
            now,
            log: vec![],
            behaviours: BTreeMap::new(),
            pending: vec![],
            revision: 0,
            secrets: SecretRevisions::new(),
        }
    }

    fn behave(&mut self, plugin: &str, behaviour: Behaviour) {
        self.behaviours.insert(plugin.into(), behaviour);
    }

    fn adopt(&mut self, plugins: &[PluginEntry]) {
        self.revision += 1;
        let set = PluginSet { revision: self.revision, plugins: plugins.to_vec(), ..PluginSet::empty("ns/main") };
        self.fleet.adopt(&set, set.hash().unwrap(), self.now);
        self.act();
    }

    /// Lets time pass until nothing is under way, `limit` at the most.
    fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            self.act();
            let next = self.pending.iter().map(|(at, _, _)| *at).chain(plan(&self.fleet, self.now).look_again).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => return,
            }
            let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _, _)| *at <= self.now);
            self.pending = later;
            for (_, id, done) in due {
                self.take(&id, done);
            }
        }
    }

    fn run_until_quiet(&mut self) {
        self.run(Duration::from_secs(60));
    }

    fn act(&mut self) {
        for _ in 0..1000 {
            let actions = plan(&self.fleet, self.now).actions;
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.perform(action);
            }
        }
        panic!("the planner never comes to rest: {:?}", plan(&self.fleet, self.now));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Prepare(id, form) => {
                self.fleet.begin(&id, form, self.now).unwrap();
                let done = match self.behaviour(&id) {
                    Behaviour::FailsToLoad => Done::Failed(PluginFailure::terminal(PluginReason::InvalidComponent, "is no component")),
                    _ => Done::Prepared,
                };
                self.later(STAGE_TIME, id, done);
            }
            Action::Initialise(id) => {
                self.log.push(format!("init {id}"));
                self.fleet.reach(&id, Stage::Initialising, self.now);
                match self.behaviour(&id) {
                    Behaviour::FailsToInit => {
                        let failure = PluginFailure::transient(PluginReason::InitFailed, "says no");
                        self.later(STAGE_TIME, id, Done::Failed(failure));
                    }
                    Behaviour::HangsInInit => {
                        let failure = PluginFailure::transient(PluginReason::DeadlineExceeded, "hangs");
                        self.later(INIT_DEADLINE, id, Done::Failed(failure));
                    }
                    _ => self.later(STAGE_TIME, id, Done::Initialised),
                }
            }
            Action::Announce(id) => {
                self.log.push(format!("ready {id}"));
                self.fleet.reach(&id, Stage::Announcing, self.now);
                let done = match self.behaviour(&id) {
                    Behaviour::FailsToAnnounce => Done::Failed(PluginFailure::terminal(PluginReason::InitFailed, "not after all")),
                    _ => Done::Announced,
                };
                self.later(STAGE_TIME, id, done);
            }
            Action::Activate(ids) => {
                let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
                self.log.push(format!("active {}", names.join(" ")));
                ids.iter().for_each(|id| self.fleet.activate(id));
                self.assert_bound_to_what_runs();
            }
            Action::Reject(Rejection { plugin, dependent }) => {
                self.log.push(format!("reject {plugin}"));
                let failure = self.fleet.rejection(&dependent);
                self.fleet.fail(&plugin, failure, self.now, 1.0);
            }
            Action::Cancel(id) => match self.fleet.stage(&id) {
                Some(Stage::Preparing | Stage::Initialising | Stage::Announcing) => {
                    self.fleet.cancel(&id);
                    self.pending.retain(|(_, pending, _)| *pending != id);
                    self.later(Duration::from_millis(1), id, Done::Cancelled);
                }
                _ => self.fleet.abandon(&id),
            },
            Action::TakeDown(id) => {
                self.log.push(format!("down {id}"));
                self.fleet.leave(&id, self.now);
                self.later(STAGE_TIME, id, Done::Down);
            }
        }
    }

    fn take(&mut self, id: &PluginId, done: Done) {
        match done {
            Done::Prepared => {
                let attempt = self.fleet.slot(id).and_then(|slot| slot.attempt.as_ref()).unwrap();
                let names = attempt.version.entry.grants.secrets.iter().map(|name| name.parse().unwrap());
                let read = names.filter_map(|name| self.secrets.get_key_value(&name).map(|(name, now)| (name.clone(), *now))).collect();
                self.fleet.configured(id, read);
                self.fleet.reach(id, Stage::Prepared, self.now);
            }
            Done::Initialised => self.fleet.reach(id, Stage::Initialised, self.now),
            Done::Announced => self.fleet.reach(id, Stage::Announced, self.now),
            Done::Failed(failure) => {
                self.fleet.fail(id, failure, self.now, 1.0);
            }
            Done::Cancelled => self.fleet.abandon(id),
            Done::Down => self.fleet.left(id),
        }
    }

    fn later(&mut self, after: Duration, id: PluginId, done: Done) {
        self.pending.push((self.now + after, id, done));
    }

    /// Of the version that is being brought up.
    fn behaviour(&self, id: &PluginId) -> Behaviour {
        let attempt = self.fleet.slot(id).and_then(|slot| slot.attempt.as_ref());
        let version = attempt.map(|attempt| attempt.version.entry.version.clone()).unwrap_or_default();
        let of_version = self.behaviours.get(&format!("{id}@{version}"));
        of_version.or_else(|| self.behaviours.get(id.as_str())).copied().unwrap_or(Behaviour::Good)
    }

    fn report(&self) -> PodReport {
        report(&self.fleet, "pod", "1.2.3")
    }

    fn plugin(&self, id: &str) -> PluginReport {
        self.report().plugins.into_iter().find(|plugin| plugin.plugin_id.as_str() == id).unwrap()
    }

    fn state(&self, id: &str) -> (PluginState, PluginReason) {
        let plugin = self.plugin(id);
        (plugin.state, plugin.reason)
    }

    fn active_version(&self, id: &str) -> Option<String> {
        self.plugin(id).active.map(|active| active.version)
    }

    /// At no moment does what serves call anything but what serves.
    fn assert_bound_to_what_runs(&self) {
        for (id, slot) in self.fleet.all() {
            for (dependency, incarnation) in slot.running.iter().flat_map(|running| &running.bound) {
                let running = self.fleet.slot(dependency).and_then(|slot| slot.running.as_ref());
                assert!(
                    running.is_none_or(|running| running.incarnation == *incarnation),
                    "{id} is bound to a replaced {dependency}: {:?}",
                    self.log
                );
            }
        }
    }

    /// What was logged since the last call.
    fn taken_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn elapsed(&self) -> Duration {
        self.now - self.begin
    }
}

fn id(id: &str) -> PluginId {
    id.parse().unwrap()
}

/// `entry("b@2.0.0", &["a ^1"])`
fn entry(plugin: &str, dependencies: &[&str]) -> PluginEntry {
    let (plugin, version) = plugin.split_once('@').unwrap_or((plugin, "1.0.0"));
    let dependency = |text: &&str| {
        let (plugin, range) = text.split_once(' ').unwrap_or((text, "^1"));
        (id(plugin), range.to_owned())
    };
    PluginEntry {
        resource: plugin.into(),
        plugin_id: id(plugin),
        package: format!("@acme/{plugin}"),
        version: version.into(),
        digest: Digest::of(format!("{plugin}@{version}").as_bytes()),
        dependencies: dependencies.iter().map(dependency).collect(),
        critical: false,
        config: serde_json::Map::new(),
        config_version: 1,
        secret_config_hash: None,
        grants: Grants::default(),
        unknown: serde_json::Map::new(),
    }
}

const ACTIVE: (PluginState, PluginReason) = (PluginState::Active, PluginReason::Active);

#[test]
fn plugins_come_up_in_dependency_order_all_initialised_before_the_first_is_told() {
    let mut simulation = Simulation::new();
    simulation.adopt(&[entry("c", &["b"]), entry("d", &[]), entry("b", &["a"]), entry("a", &[])]);
    assert!(!simulation.report().settled);
    simulation.run_until_quiet();
    let expected = "init d, init a, init b, init c, ready d, ready a, active d, active a, ready b, active b, ready c, active c";
    assert_eq!(simulation.taken_log().join(", "), expected);
    assert!(simulation.report().settled);
}

#[test]
fn only_a_few_come_up_at_a_time() {
    let mut simulation = Simulation::new();
    let plugins: Vec<PluginEntry> = (0..100).map(|number| entry(&format!("p{number}"), &[])).collect();
    simulation.adopt(&plugins);
    simulation.run(STAGE_TIME);
    assert_eq!(simulation.taken_log().len(), 16);
    simulation.run_until_quiet();
    let rounds = 100_u32.div_ceil(16);
    assert_eq!(simulation.elapsed(), STAGE_TIME * (1 + 2 * rounds), "loading at once, then rounds of sixteen");
    assert!(plugins.iter().all(|plugin| simulation.state(plugin.plugin_id.as_str()) == ACTIVE));
}

#[test]
fn what_cannot_come_up_blocks_only_itself_and_its_dependents() {
    let mut simulation = Simulation::new();
    simulation.behave("bad", Behaviour::FailsToLoad);
    simulation.adopt(&[
        entry("good", &[]),
        entry("bad", &[]),
        entry("on-bad", &["bad"]),
        entry("on-on-bad", &["on-bad"]),
        entry("lonely", &["nobody ^2"]),
        entry("old-taste", &["good ^3"]),
        entry("x", &["y"]),
        entry("y", &["x"]),
        entry("on-cycle", &["x"]),
    ]);
    simulation.run_until_quiet();
    assert_eq!(simulation.state("good"), ACTIVE);
    assert_eq!(simulation.state("bad"), (PluginState::Failed, PluginReason::InvalidComponent));
    assert_eq!(simulation.state("on-bad"), (PluginState::Blocked, PluginReason::DependencyNotActive));
    assert_eq!(simulation.state("on-on-bad"), (PluginState::Blocked, PluginReason::DependencyNotActive));
    assert_eq!(simulation.state("lonely"), (PluginState::Blocked, PluginReason::DependencyMissing));
    assert_eq!(simulation.state("old-taste"), (PluginState::Blocked, PluginReason::DependencyVersion));
    assert_eq!(simulation.state("on-cycle"), (PluginState::Blocked, PluginReason::DependencyNotActive));
    assert_eq!(simulation.state("x"), (PluginState::Blocked, PluginReason::DependencyCycle));
    assert!(simulation.plugin("x").message.contains("x → y → x"), "{}", simulation.plugin("x").message);
    assert!(simulation.plugin("lonely").message.contains("'nobody' (^2)"), "{}", simulation.plugin("lonely").message);
    assert!(simulation.report().settled);
}

#[test]
fn nobody_waits_long_for_a_plugin_that_hangs() {
    let mut simulation = Simulation::new();
    simulation.behave("a", Behaviour::HangsInInit);
    simulation.adopt(&[entry("a", &[]), entry("b", &[]), entry("on-a", &["a"])]);
    simulation.run(PATIENCE * 2 + STAGE_TIME * 5);
    assert_eq!(simulation.state("b"), ACTIVE);
    assert_eq!(simulation.state("a").0, PluginState::Loading);
    simulation.run(INIT_DEADLINE);
    assert_eq!(simulation.state("a"), (PluginState::Failed, PluginReason::DeadlineExceeded));
    assert_eq!(simulation.state("on-a"), (PluginState::Blocked, PluginReason::DependencyNotActive));
    // Its further attempts hold up nobody at all.
    simulation.run(Duration::from_secs(5));
    let before = simulation.elapsed();
    simulation.adopt(&[entry("a", &[]), entry("b", &[]), entry("on-a", &["a"]), entry("c", &[])]);
    simulation.run(STAGE_TIME * 5);
    assert_eq!(simulation.state("c"), ACTIVE);
    assert!(simulation.elapsed() - before < PATIENCE);
}

#[test]
fn a_failing_upgrade_leaves_the_old_version_serving_and_a_correction_heals_it() {
    let mut simulation = Simulation::new();
    simulation.adopt(&[entry("a", &[]), entry("on-a", &["a >=1"])]);
    simulation.run_until_quiet();
    simulation.taken_log();
    simulation.behave("a@2.0.0", Behaviour::FailsToAnnounce);
    simulation.adopt(&[entry("a@2.0.0", &[]), entry("on-a", &["a >=1"])]);
    simulation.run_until_quiet();
    let a = simulation.plugin("a");
    assert_eq!((a.state, a.reason), (PluginState::Failed, PluginReason::InitFailed));
    assert_eq!((a.active.unwrap().version, a.desired.unwrap().version), ("1.0.0".into(), "2.0.0".into()));
    assert_eq!(simulation.state("on-a"), ACTIVE);
    assert_eq!(simulation.taken_log().join(", "), "init a, init on-a, ready a");
    simulation.adopt(&[entry("a@2.0.1", &[]), entry("on-a", &["a >=1"])]);
    simulation.run_until_quiet();
    assert_eq!(simulation.active_version("a").as_deref(), Some("2.0.1"));
    assert_eq!(simulation.taken_log().join(", "), "init a, init on-a, ready a, ready on-a, active a on-a", "and its dependent with it");
}

#[test]
fn what_lost_a_dependency_is_taken_down_dependents_first_and_comes_back_with_it() {
    let mut simulation = Simulation::new();
    let all = [entry("a", &[]), entry("b", &["a"]), entry("c", &["b"]), entry("d", &[])];
    simulation.adopt(&all);
    simulation.run_until_quiet();
    simulation.taken_log();
    simulation.adopt(&all[1..]);
    assert_eq!(simulation.plugin("a").state, PluginState::Draining);
    simulation.run_until_quiet();
    assert_eq!(simulation.taken_log().join(", "), "down c, down b, down a");
    assert_eq!(simulation.state("b"), (PluginState::Blocked, PluginReason::DependencyMissing));
    assert_eq!(simulation.state("c"), (PluginState::Blocked, PluginReason::DependencyNotActive));
    assert_eq!(simulation.state("d"), ACTIVE);
    assert_eq!(simulation.report().plugins.len(), 3, "a is gone");
    simulation.adopt(&all);
    simulation.run_until_quiet();
    assert_eq!(simulation.taken_log().join(", "), "init a, init b, init c, ready a, active a, ready b, active b, ready c, active c");
}

#[test]
fn a_newer_set_supersedes_what_is_being_done() {
    let mut simulation = Simulation::new();
    simulation.behave("a@1.0.0", Behaviour::HangsInInit);
    simulation.adopt(&[entry("a", &[]), entry("b", &[])]);
    simulation.run(Duration::from_secs(5));
    simulation.adopt(&[entry("a@1.0.1", &[]), entry("b", &[])]);
    simulation.run(STAGE_TIME * 10);
    assert_eq!(simulation.active_version("a").as_deref(), Some("1.0.1"));
    assert!(simulation.report().settled);
    simulation.adopt(&[]);
    simulation.run_until_quiet();
    assert!(simulation.fleet.is_empty());
}

#[test]
fn transient_failures_are_tried_again_with_growing_pauses_and_the_report_does_not_flap() {
    let mut simulation = Simulation::new();
    simulation.behave("a", Behaviour::FailsToInit);
    simulation.adopt(&[entry("a", &[]), entry("on-a", &["a"])]);
    simulation.run(STAGE_TIME * 3);
    let mut attempts = Vec::new();
    for _ in 0..200 {
        assert_eq!(simulation.state("a"), (PluginState::Failed, PluginReason::InitFailed));
        assert_eq!(simulation.state("on-a"), (PluginState::Blocked, PluginReason::DependencyNotActive));
        assert!(simulation.report().settled);
        if !simulation.taken_log().is_empty() {
            attempts.push(simulation.elapsed().as_secs());
        }
        let next = simulation.now + Duration::from_secs(1);
        simulation.run(Duration::from_secs(1));
        simulation.now = simulation.now.max(next);
    }
    assert_eq!(attempts, [0, 2, 4, 8, 16, 32, 64, 124, 184], "1, 2, 4, … up to 60 s after each other, seen once a second");
    simulation.behave("a", Behaviour::Good);
    simulation.fleet.retry(simulation.now, |_, _| true);
    simulation.run(STAGE_TIME * 10);
    assert_eq!((simulation.state("a"), simulation.state("on-a")), (ACTIVE, ACTIVE));
}

#[test]
fn terminal_failures_wait_for_a_set_or_a_command() {
    let mut simulation = Simulation::new();
    simulation.behave("a", Behaviour::FailsToLoad);
    simulation.adopt(&[entry("a", &[])]);
    simulation.run(Duration::from_secs(3600));
    assert!(simulation.elapsed() < Duration::from_secs(1), "nothing was left to do");
    simulation.behave("a", Behaviour::Good);
    simulation.adopt(&[entry("a", &[])]);
    simulation.run_until_quiet();
    assert_eq!(simulation.state("a"), ACTIVE);
}

#[test]
fn at_the_end_everything_goes_down_in_reverse_order() {
    let mut simulation = Simulation::new();
    simulation.behave("stuck", Behaviour::HangsInInit);
    simulation.adopt(&[entry("a", &[]), entry("b", &["a"]), entry("c", &[]), entry("d", &["c", "b"]), entry("stuck", &["a"])]);
    simulation.run(Duration::from_secs(5));
    simulation.taken_log();
    simulation.fleet.dissolve();
    simulation.run_until_quiet();
    assert_eq!(simulation.taken_log().join(", "), "down d, down b, down c, down a");
    assert!(simulation.fleet.is_empty());
}

// Random sets, one after the other, with random behaviour.
