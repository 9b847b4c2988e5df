#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use checkstack_control_api::entry_hash;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{active, at, entry, failed, fleet, pod, target};

const POLICY: RolloutPolicy = RolloutPolicy { deadline: Duration::from_secs(120), rolls_back: true };

fn version(version: &str) -> PluginEntry {
    PluginEntry { version: version.into(), ..entry("uptime", "uptime") }
}

/// What the pods say about a form of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Active,
    Loading,
    Failed { reason: PluginReason, terminal: bool },
    Blocked(PluginReason),
}

const TRAPPED: Says = Says::Failed { reason: PluginReason::Trapped, terminal: true };
const NOT_YET: Says = Says::Failed { reason: PluginReason::InitFailed, terminal: false };

/// A plugin and its history.
struct Story {
    history: Vec<PluginHistoryEntry>,
    policy: RolloutPolicy,
}

impl Story {
    fn new() -> Self {
        Self { history: Vec::new(), policy: POLICY }
    }

    /// At `second`, `wanted` is in the set and the pods say this.
    fn look(&mut self, second: i64, wanted: &PluginEntry, attempt: &str, pods: &[Says]) -> &mut Self {
        let target = target(vec![wanted.clone()]);
        let says = |says: &Says| match *says {
            Says::Active => active(wanted),
            Says::Loading => failed(wanted, PluginState::Loading, PluginReason::Starting, "is being brought up"),
            Says::Failed { reason, terminal } => {
                PluginReport { terminal, ..failed(wanted, PluginState::Failed, reason, "what the plugin said") }
            }
            Says::Blocked(reason) => failed(wanted, PluginState::Blocked, reason, "what is missing"),
        };
        let views = pods.iter().zip(["a", "b", "c"]).map(|(pod_says, name)| pod(name, &target, vec![says(pod_says)])).collect();
        let current = Current { revision: target.set.revision, entry: wanted, hash: entry_hash(wanted).unwrap(), attempt };
        let history = std::mem::take(&mut self.history);
        self.history = advance(history, &current, Some(&fleet(target, views)), self.policy, &at(second));
        self
    }

    /// Version 1 runs everywhere.
    fn settled() -> Self {
        let mut story = Self::new();
        story.look(0, &version("1.0.0"), "first", &[Says::Active, Says::Active]);
        story
    }

    fn told(&self) -> Vec<String> {
        self.history.iter().map(|entry| format!("{} {:?} {}", entry.version, entry.state, entry.reason).trim_end().to_owned()).collect()
    }
}

#[test]
fn a_form_that_every_pod_runs_is_good() {
    let mut story = Story::settled();
    assert_eq!(story.told(), ["1.0.0 Active"]);
    story.look(10, &version("2.0.0"), "second", &[Says::Active, Says::Loading]);
    assert_eq!(story.told(), ["2.0.0 RollingOut", "1.0.0 Active"]);
    story.look(11, &version("2.0.0"), "second", &[Says::Active, Says::Active]);
    assert_eq!(story.told(), ["2.0.0 Active", "1.0.0 Active"]);
    assert_eq!((story.history[0].revision, &story.history[0].started_at), (7, &Some(at(10))));
    // What breaks later is no rollout.
    story.look(999, &version("2.0.0"), "second", &[Says::Active, TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 Active", "1.0.0 Active"]);
}

#[test]
fn one_pod_that_cannot_and_will_not_try_again_is_enough_at_once() {
    let mut story = Story::settled();
    story.look(10, &version("2.0.0"), "second", &[Says::Active, TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 RolledBack Trapped", "1.0.0 Active"]);
    assert_eq!(story.history[0].message, "what the plugin said (pod b)");
    assert!(refused(&story.history, "second").is_some() && refused(&story.history, "third").is_none());
    assert_eq!(last_good(&story.history).unwrap().version, "1.0.0");
}

#[test]
fn one_that_tries_again_has_its_time() {
    let mut story = Story::settled();
    story.look(10, &version("2.0.0"), "second", &[Says::Active, NOT_YET]).look(129, &version("2.0.0"), "second", &[Says::Active, NOT_YET]);
    assert_eq!(story.told(), ["2.0.0 RollingOut", "1.0.0 Active"]);
    assert_eq!(time_left(&story.history, POLICY, &at(129)), Some(Duration::from_secs(1)));
    story.look(130, &version("2.0.0"), "second", &[Says::Active, NOT_YET]);
    assert_eq!(story.told(), ["2.0.0 RolledBack InitFailed", "1.0.0 Active"]);
    assert_eq!(time_left(&story.history, POLICY, &at(131)), None);
}

#[test]
fn circumstances_roll_nothing_back() {
    for says in [
        Says::Failed { reason: PluginReason::DatabaseUnavailable, terminal: false },
        Says::Failed { reason: PluginReason::ArtifactMissing, terminal: true },
        Says::Failed { reason: PluginReason::SecretConfigMissing, terminal: false },
        Says::Failed { reason: PluginReason::Internal, terminal: true },
        Says::Blocked(PluginReason::DependencyNotActive),
        Says::Loading,
    ] {
        let mut story = Story::settled();
        story.look(10, &version("2.0.0"), "second", &[says]).look(9999, &version("2.0.0"), "second", &[says]);
        assert_eq!(story.told(), ["2.0.0 RollingOut", "1.0.0 Active"], "{says:?}");
    }
}

#[test]
fn a_dependency_that_does_not_fit_is_waited_for_and_then_counts() {
    for reason in [PluginReason::DependencyMissing, PluginReason::DependencyVersion, PluginReason::DependencyCycle] {
        let mut story = Story::settled();
        story.look(10, &version("2.0.0"), "second", &[Says::Blocked(reason)]);
        assert_eq!(story.told()[0], "2.0.0 RollingOut");
        story.look(130, &version("2.0.0"), "second", &[Says::Blocked(reason)]);
        assert_eq!(story.history[0].state, RolloutState::RolledBack);
    }
}

#[test]
fn without_anything_to_go_back_to_it_has_failed_and_may_still_come() {
    let mut story = Story::new();
    story.look(0, &version("1.0.0"), "first", &[NOT_YET]).look(120, &version("1.0.0"), "first", &[NOT_YET]);
    assert_eq!(story.told(), ["1.0.0 Failed InitFailed"]);
    story.look(200, &version("1.0.0"), "first", &[Says::Active]);
    assert_eq!(story.told(), ["1.0.0 Active"]);
}

#[test]
fn manual_only_tells_and_automatic_makes_up_for_it() {
    let mut story = Story::settled();
    story.policy.rolls_back = false;
    story.look(10, &version("2.0.0"), "second", &[TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 Failed Trapped", "1.0.0 Active"]);
    story.policy.rolls_back = true;
    story.look(20, &version("2.0.0"), "second", &[TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 RolledBack Trapped", "1.0.0 Active"]);
}

#[test]
fn what_was_rolled_back_is_tried_again_when_asked_for() {
    let mut story = Story::settled();
    story.look(10, &version("2.0.0"), "second", &[TRAPPED]).look(20, &version("2.0.0"), "second", &[TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 RolledBack Trapped", "1.0.0 Active"]);
    story.look(30, &version("2.0.0"), "third", &[Says::Active]);
    assert_eq!(story.told(), ["2.0.0 Active", "2.0.0 RolledBack Trapped", "1.0.0 Active"]);
    // Back by hand is a change like any other.
    story.look(40, &version("1.0.0"), "fourth", &[Says::Active]);
    assert_eq!(story.told()[0], "1.0.0 Active");
    assert_eq!(story.history.len(), 4);
}

#[test]
fn another_attempt_at_what_runs_is_no_news() {
    let mut story = Story::settled();
    story.look(10, &version("1.0.0"), "only the object was touched", &[Says::Active, Says::Active]);
    assert_eq!(story.told(), ["1.0.0 Active"]);
}

#[test]
fn an_object_that_is_touched_on_the_way_is_refused_as_it_was_then() {
    let mut story = Story::settled();
    story.look(10, &version("2.0.0"), "second", &[Says::Loading]).look(11, &version("2.0.0"), "touched", &[TRAPPED]);
    assert_eq!(story.told(), ["2.0.0 RolledBack Trapped", "1.0.0 Active"]);
    assert!(refused(&story.history, "touched").is_some() && refused(&story.history, "second").is_none());
}

#[test]
fn what_is_no_longer_wanted_before_it_is_up_was_superseded() {
    let mut story = Story::settled();
    story.look(10, &version("2.0.0"), "second", &[Says::Loading]).look(11, &version("3.0.0"), "third", &[Says::Loading]);
    assert_eq!(story.told(), ["3.0.0 RollingOut", "2.0.0 Superseded", "1.0.0 Active"]);
    supersede(&mut story.history);
    assert_eq!(story.told()[0], "3.0.0 Superseded");
    // Wanted again, it has all its time again.
    story.look(9000, &version("3.0.0"), "third", &[NOT_YET]);
    assert_eq!(story.told()[0], "3.0.0 RollingOut");
}

#[test]
fn nothing_is_concluded_before_the_pods_were_asked() {
    let wanted = version("1.0.0");
    let current = Current { revision: 1, entry: &wanted, hash: entry_hash(&wanted).unwrap(), attempt: "first" };
    let history = advance(Vec::new(), &current, None, POLICY, &at(0));
    assert_eq!(history[0].state, RolloutState::RollingOut);
    assert_eq!(advance(history.clone(), &current, None, POLICY, &at(9999)), history);
}

#[test]
fn what_a_pod_says_about_another_form_does_not_count() {
    let mut story = Story::settled();
    let target = target(vec![version("2.0.0")]);
    let late = PluginReport { terminal: true, ..failed(&version("1.5.0"), PluginState::Failed, PluginReason::Trapped, "the one before") };
    let view = fleet(target.clone(), vec![pod("a", &target, vec![late])]);
    let wanted = version("2.0.0");
    let current = Current { revision: 7, entry: &wanted, hash: entry_hash(&wanted).unwrap(), attempt: "second" };
    story.history = advance(story.history, &current, Some(&view), POLICY, &at(9999));
    assert_eq!(story.told()[0], "2.0.0 RollingOut");
}

fn anything() -> impl Strategy<Value = Says> {
    prop_oneof![Just(Says::Active), Just(Says::Loading), Just(TRAPPED), Just(NOT_YET), Just(Says::Blocked(PluginReason::DependencyMissing))]
}

proptest! {
    /// Whatever happens: the history is bounded, never loses the last good form, has no two open ends, and looking again
    /// at the same thing at the same time changes nothing.
    #[test]
    fn a_history_keeps_its_promises(steps in proptest::collection::vec((0..4_u8, 0..3_u8, proptest::collection::vec(anything(), 1..4), 0..200_i64), 1..40)) {
        let mut story = Story::new();
        let (mut second, mut good) = (0, None);
        for (number, attempt, pods, pause) in steps {
            second += pause;
            let (wanted, attempt) = (version(&format!("{number}.0.0")), attempt.to_string());
            if refused(&story.history, &attempt).is_some_and(|refused| refused.version == wanted.version) {
                // The set has the form before.
                continue;
            }
            story.look(second, &wanted, &attempt, &pods);
            let after = story.history.clone();
            story.look(second, &wanted, &attempt, &pods);
            prop_assert_eq!(&story.history, &after);
            prop_assert!(story.history.len() <= MAX_HISTORY);
            prop_assert_eq!(&story.history[0].version, &wanted.version);
            if story.history[0].state == RolloutState::Active {
                good = Some(wanted.version.clone());
            }
            prop_assert_eq!(last_good(&story.history).map(|entry| entry.version.clone()), good.clone());
            prop_assert!(story.history[1..].iter().all(|entry| entry.state != RolloutState::RollingOut));
            prop_assert!(story.history[0].state != RolloutState::RolledBack || good.as_ref().is_some_and(|good| *good != wanted.version));
        }
    }
}
