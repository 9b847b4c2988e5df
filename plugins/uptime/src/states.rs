//! How targets are: entities of the kind `uptime.target`, whose changes others hear.

use std::collections::BTreeMap;

use checkstack_plugin::entities::{self, Change, Kind};
use checkstack_plugin::sql::{self, Row};
use checkstack_plugin::{Error, params};
use schemars::JsonSchema;
use serde::Serialize;

use crate::check::Outcome;
use crate::settings::Target;

const KIND: &str = "target";

/// What others know of a target.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TargetState {
    pub(crate) up: bool,
    /// Why it is not up.
    pub(crate) problem: Option<String>,
}

impl TargetState {
    fn of(outcome: &Outcome) -> Self {
        Self { up: outcome.up, problem: outcome.problem.clone() }
    }
}

pub(crate) fn kind() -> Kind {
    Kind::new::<TargetState>(KIND, "SELECT target AS id, up, problem FROM states WHERE target = ANY($1)")
}

/// Of all that were ever checked, and not removed since.
pub(crate) fn all() -> Result<BTreeMap<String, TargetState>, sql::Error> {
    let state = |row: &Row| Ok((row.get("target")?, TargetState { up: row.get("up")?, problem: row.get("problem")? }));
    sql::query("SELECT target, up, problem FROM states", params![])?.iter().map(state).collect()
}

/// Outcomes that are not what was known.
pub(crate) fn news<'o>(known: &BTreeMap<String, TargetState>, outcomes: &'o [Outcome]) -> Vec<&'o Outcome> {
    outcomes.iter().filter(|outcome| known.get(&outcome.target) != Some(&TargetState::of(outcome))).collect()
}

/// Whoever else has found out the same makes no difference: then nothing is told.
pub(crate) fn set(outcome: &Outcome) -> Result<(), entities::Error> {
    let TargetState { up, problem } = TargetState::of(outcome);
    let set = "INSERT INTO states (target, up, problem) VALUES ($1, $2, $3)
        ON CONFLICT (target) DO UPDATE SET up = excluded.up, problem = excluded.problem";
    Change::of(KIND, &outcome.target).execute(set, params![&outcome.target, up, problem]).commit().map(drop)
}

/// Removes those that are no targets any more.
pub(crate) fn keep_only(targets: &[Target]) -> Result<(), Error> {
    let gone = all()?.into_keys().filter(|name| targets.iter().all(|target| target.name != *name));
    for name in gone {
        let delete = Change::of(KIND, &name).execute("DELETE FROM states WHERE target = $1", params![&name]);
        delete.commit_removal()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use checkstack_plugin::clock::Timestamp;

    use super::*;

    #[test]
    fn only_what_is_not_as_it_was_is_set() {
        let outcome = |target: &str, problem: Option<&str>| Outcome {
            target: target.into(),
            checked_at: Timestamp::from_unix_microseconds(0),
            up: problem.is_none(),
            status: None,
            latency_ms: 1,
            problem: problem.map(str::to_owned),
        };
        let outcomes = [outcome("up", None), outcome("down", Some("answered 500")), outcome("new", None)];
        let mut known = BTreeMap::new();
        for old in [outcome("up", None), outcome("down", Some("answered 503")), outcome("other", None)] {
            known.insert(old.target.clone(), TargetState::of(&old));
        }
        let names: Vec<_> = news(&known, &outcomes).into_iter().map(|outcome| outcome.target.as_str()).collect();
        assert_eq!(names, ["down", "new"]);
    }
}
