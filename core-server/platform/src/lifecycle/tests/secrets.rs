//! Secrets are given other values while plugins run that refer to them.

use std::sync::Arc;

use super::*;
use crate::secrets::SecretRevision;

fn referring(plugin: &str, dependencies: &[&str], names: &[&str]) -> PluginEntry {
    let mut entry = entry(plugin, dependencies);
    entry.grants.secrets = names.iter().map(|name| (*name).to_owned()).collect();
    entry
}

impl Simulation {
    fn set_secret(&mut self, name: &str, revision: u64) {
        self.secrets.insert(name.parse().unwrap(), SecretRevision(revision));
        self.tell_secrets();
    }

    fn tell_secrets(&mut self) {
        self.fleet.take_secrets(Arc::new(self.secrets.clone()), self.now);
    }
}

#[test]
fn who_refers_to_a_changed_secret_is_initialised_beside_itself_with_those_that_depend_on_it() {
    let mut sim = Simulation::new();
    sim.set_secret("smtp", 1);
    sim.set_secret("other", 1);
    sim.adopt(&[referring("mail", &[], &["smtp"]), entry("alerts", &["mail"]), referring("uptime", &[], &["other"])]);
    sim.run_until_quiet();
    sim.taken_log();
    sim.tell_secrets();
    sim.run_until_quiet();
    assert_eq!(sim.taken_log(), [""; 0], "nothing has changed");

    sim.set_secret("smtp", 2);
    sim.run_until_quiet();
    let log = sim.taken_log();
    assert_eq!(log, ["init mail", "init alerts", "ready mail", "ready alerts", "active alerts mail"], "{log:?}");
    sim.tell_secrets();
    sim.run_until_quiet();
    assert_eq!(sim.taken_log(), [""; 0], "once is enough");

    sim.secrets.remove(&"smtp".parse().unwrap());
    sim.tell_secrets();
    sim.run_until_quiet();
    assert_eq!(sim.taken_log(), [""; 0], "what is deleted goes on being used");
}

#[test]
fn a_value_that_changes_while_it_is_being_taken_over_is_taken_over_as_well() {
    let mut sim = Simulation::new();
    sim.set_secret("smtp", 1);
    sim.adopt(&[referring("mail", &[], &["smtp"])]);
    sim.run_until_quiet();
    sim.taken_log();
    sim.set_secret("smtp", 2);
    sim.run(STAGE_TIME + STAGE_TIME / 2);
    assert_eq!(sim.fleet.stage(&id("mail")), Some(Stage::Initialising), "with the second value");
    sim.set_secret("smtp", 3);
    sim.run_until_quiet();
    let log = sim.taken_log();
    assert_eq!(log.iter().filter(|line| *line == "active mail").count(), 2, "{log:?}");
}

#[test]
fn who_cannot_work_with_a_new_value_goes_on_with_the_old_one_and_says_so() {
    let mut sim = Simulation::new();
    sim.set_secret("smtp", 1);
    sim.adopt(&[referring("mail", &[], &["smtp"])]);
    sim.run_until_quiet();
    sim.behave("mail", Behaviour::FailsToAnnounce);
    sim.set_secret("smtp", 2);
    sim.run_until_quiet();
    let report = sim.plugin("mail");
    assert_eq!((report.state, report.reason), (PluginState::Active, PluginReason::Active));
    assert!(report.message.contains("goes on with the values that its secrets had before: not after all"), "{}", report.message);
    sim.taken_log();
    sim.behave("mail", Behaviour::Good);
    sim.tell_secrets();
    sim.run_until_quiet();
    assert_eq!(sim.taken_log(), [""; 0], "the same value is not tried again");
    sim.set_secret("smtp", 3);
    sim.run_until_quiet();
    assert_eq!((sim.taken_log().last().map(String::as_str), sim.plugin("mail").message.as_str()), (Some("active mail"), ""));
}
