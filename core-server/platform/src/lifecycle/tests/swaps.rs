//! What changes together.

use super::*;

#[test]
fn what_depends_on_a_replaced_plugin_is_replaced_with_it_in_order_and_at_one_moment() {
    let mut simulation = Simulation::new();
    let rest = [entry("b", &["a *"]), entry("c", &["b"]), entry("d", &["a *", "c"]), entry("other", &[])];
    let with = |a: &str| [&[entry(a, &[])], &rest[..]].concat();
    simulation.adopt(&with("a"));
    simulation.run_until_quiet();
    simulation.taken_log();
    simulation.adopt(&with("a@2.0.0"));
    simulation.run_until_quiet();
    let expected = "init a, init b, init c, init d, ready a, ready b, ready c, ready d, active a b c d";
    assert_eq!(simulation.taken_log().join(", "), expected);
    assert!(simulation.report().settled);
}

#[test]
fn a_new_version_that_a_dependent_cannot_work_with_does_not_come_to_serve() {
    let mut simulation = Simulation::new();
    let set = |a: &str| [entry(a, &[]), entry("b", &["a *"]), entry("c", &[])];
    simulation.adopt(&set("a"));
    simulation.run_until_quiet();
    simulation.taken_log();
    // Of the dependent nothing has changed, but now it says no.
    simulation.behave("b", Behaviour::FailsToInit);
    simulation.adopt(&set("a@2.0.0"));
    simulation.run(STAGE_TIME * 10);
    assert_eq!(simulation.taken_log().join(", "), "init a, init b, reject a");
    let a = simulation.plugin("a");
    assert_eq!((a.state, a.reason, a.active.unwrap().version.as_str()), (PluginState::Failed, PluginReason::DependentFailed, "1.0.0"));
    assert_eq!(a.message, "plugin 'b', which depends on it, does not come up with this version: says no; the old one goes on");
    assert_eq!((simulation.state("b"), simulation.state("c")), (ACTIVE, ACTIVE));
    assert!(simulation.report().settled);
    // It is tried again, and follows by itself.
    simulation.behave("b", Behaviour::Good);
    simulation.run_until_quiet();
    assert_eq!(simulation.active_version("a").as_deref(), Some("2.0.0"));
    assert_eq!(simulation.taken_log().join(", "), "init a, ready a, init b, ready b, active a b");
}

#[test]
fn a_dependent_whose_own_new_version_fails_follows_in_its_old_one() {
    let mut simulation = Simulation::new();
    simulation.adopt(&[entry("a", &[]), entry("b", &["a *"])]);
    simulation.run_until_quiet();
    simulation.behave("b@2.0.0", Behaviour::FailsToInit);
    simulation.adopt(&[entry("a@2.0.0", &[]), entry("b@2.0.0", &["a *"])]);
    simulation.run_until_quiet();
    assert_eq!((simulation.active_version("a").as_deref(), simulation.active_version("b").as_deref()), (Some("2.0.0"), Some("1.0.0")));
    assert_eq!(simulation.state("b"), (PluginState::Failed, PluginReason::InitFailed));
}

#[test]
fn two_plugins_that_need_each_others_new_version_change_at_one_moment() {
    let mut simulation = Simulation::new();
    simulation.adopt(&[entry("a", &[]), entry("b", &["a ^1"])]);
    simulation.run_until_quiet();
    simulation.taken_log();
    simulation.adopt(&[entry("a@2.0.0", &[]), entry("b@2.0.0", &["a ^2"])]);
    simulation.run_until_quiet();
    assert_eq!(simulation.taken_log().last().map(String::as_str), Some("active a b"));
}

#[test]
fn a_new_dependent_comes_up_with_the_old_version_if_that_is_in_its_range() {
    let mut simulation = Simulation::new();
    simulation.adopt(&[entry("a", &[])]);
    simulation.run_until_quiet();
    simulation.behave("a@1.1.0", Behaviour::FailsToLoad);
    simulation.adopt(&[entry("a@1.1.0", &[]), entry("any", &["a ^1"]), entry("newer", &["a ^1.1"])]);
    simulation.run_until_quiet();
    assert_eq!(simulation.state("any"), ACTIVE);
    assert_eq!(simulation.state("newer"), (PluginState::Blocked, PluginReason::DependencyNotActive));
}
