//! What others are told when a target goes down or comes back.

use std::collections::BTreeMap;

use checkstack_plugin::clock::Timestamp;
use serde::Serialize;

use crate::check::Outcome;
use crate::results::LastCheck;

/// The event `uptime.target-changed`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetChanged<'o> {
    pub(crate) target: &'o str,
    /// What it is now.
    pub(crate) up: bool,
    pub(crate) checked_at: Timestamp,
    /// Why it is not up.
    pub(crate) problem: Option<&'o str>,
}

impl TargetChanged<'_> {
    pub(crate) const EVENT: &'static str = "target-changed";
}

/// Targets that are not as they were. One that was never checked before has changed when it is down.
pub(crate) fn changes<'o>(before: &BTreeMap<String, LastCheck>, outcomes: &'o [Outcome]) -> Vec<TargetChanged<'o>> {
    let has_changed = |outcome: &&Outcome| before.get(&outcome.target).is_none_or(|last| last.up) != outcome.up;
    let changed = |outcome: &'o Outcome| TargetChanged {
        target: &outcome.target,
        up: outcome.up,
        checked_at: outcome.checked_at,
        problem: outcome.problem.as_deref(),
    };
    outcomes.iter().filter(has_changed).map(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_as_it_was_is_told() {
        let at = Timestamp::from_unix_microseconds(0);
        let outcome = |target: &str, up: bool| Outcome {
            target: target.into(),
            checked_at: at,
            up,
            status: Some(if up { 200 } else { 500 }),
            latency_ms: 1,
            problem: (!up).then(|| "answered 500".into()),
        };
        let before =
            BTreeMap::from([("was-up".to_owned(), LastCheck { at, up: true }), ("was-down".to_owned(), LastCheck { at, up: false })]);
        let told = |outcomes: &[Outcome]| {
            changes(&before, outcomes).iter().map(|change| (change.target.to_owned(), change.up)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[outcome("was-up", true), outcome("was-down", false), outcome("new", true)]), []);
        let now = [outcome("was-up", false), outcome("was-down", true), outcome("new", false)];
        assert_eq!(told(&now), [("was-up".into(), false), ("was-down".into(), true), ("new".into(), false)]);
        assert_eq!(changes(&before, &now)[0].problem, Some("answered 500"));
    }
}
