//! What has to be done to a schema so that a form of a plugin can work with it: forwards, or back.
//!
//! A form that is older than the schema can work with it when all that is newer only adds. Else what is newer is undone,
//! by the text that came with it: the package of the older form does not have it.

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::Migration;

use crate::plugin::PluginFailure;

/// A migration that was applied before, as it was recorded then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) hash: String,
    pub(super) additive: bool,
    pub(super) down: Option<String>,
}

/// What to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Steps<'a> {
    /// Applied, and recorded with another way back than the package has now: the text of one may be added or mended later.
    pub(super) record: Vec<&'a Migration>,
    pub(super) undo: Vec<Undo<'a>>,
    pub(super) apply: Vec<&'a Migration>,
}

/// A step back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undo<'a> {
    pub(super) version: i32,
    /// For people.
    pub(super) name: String,
    pub(super) down: &'a str,
}

/// What to do, or why the schema and the package do not fit.
pub(super) fn steps<'a>(applied: &'a [Applied], migrations: &'a [Migration]) -> Result<Steps<'a>, PluginFailure> {
    let of = |migration: &Migration| i64::from(migration.version);
    let mut record = Vec::new();
    for migration in migrations {
        let Some(before) = applied.iter().find(|applied| i64::from(applied.version) == of(migration)) else { continue };
        if before.hash != migration.hash.to_string() {
            return Err(terminal(format!(
                "migration {} was changed after it had been applied: put its text back and make the change in a new migration",
                label(migration)
            )));
        }
        if (before.additive, &before.down) != (migration.additive, &migration.down) {
            record.push(migration);
        }
    }
    let newest_known = migrations.iter().map(of).max().unwrap_or(-1);
    let is_unknown = |applied: &&Applied| !migrations.iter().any(|migration| of(migration) == i64::from(applied.version));
    if let Some(hole) = applied.iter().filter(is_unknown).find(|applied| i64::from(applied.version) < newest_known) {
        return Err(unknown(hole, "use a version that does"));
    }
    let undo = undo(applied.iter().filter(is_unknown))?;
    let first_undone = undo.last().map_or(i32::MAX, |undo| undo.version);
    let stays = |applied: &&Applied| applied.version < first_undone;
    let newest = applied.iter().filter(stays).map(|applied| i64::from(applied.version)).max();
    let is_missing = |migration: &&Migration| !applied.iter().any(|applied| i64::from(applied.version) == of(migration));
    let apply: Vec<&Migration> = migrations.iter().filter(is_missing).collect();
    if let Some(late) = apply.iter().find(|migration| newest.is_some_and(|newest| of(migration) < newest)) {
        return Err(terminal(format!(
            "migration {} is older than what has been applied already (up to {:04}): give it a higher number",
            label(late),
            newest.unwrap_or_default()
        )));
    }
    match apply.iter().find(|migration| !applied.is_empty() && !migration.additive && migration.down.is_none()) {
        Some(one_way) => Err(terminal(format!(
            "there is no way back from migration {0}, and the plugin has data already: add {0}.down.sql, or, if the version before can \
             work with what it leaves, make '-- checkstack: additive' its first line",
            label(one_way)
        ))),
        None => Ok(Steps { record, undo, apply }),
    }
}

/// The newest first, down to the oldest that does more than add.
fn undo<'a>(newer: impl DoubleEndedIterator<Item = &'a Applied>) -> Result<Vec<Undo<'a>>, PluginFailure> {
    let mut newer: Vec<&Applied> = newer.collect();
    newer.sort_unstable_by_key(|applied| std::cmp::Reverse(applied.version));
    let oldest = newer.iter().rposition(|applied| !applied.additive);
    let back = newer.into_iter().take(oldest.map_or(0, |place| place + 1));
    let step = |applied: &'a Applied| match &applied.down {
        Some(down) => Ok(Undo { version: applied.version, name: format!("{}.down.sql", recorded(applied)), down }),
        None => Err(unknown(applied, "it came without a way back; use a version that knows it")),
    };
    back.map(step).collect()
}

fn unknown(applied: &Applied, remedy: &str) -> PluginFailure {
    terminal(format!(
        "the plugin's schema has migration {}, which this version of the plugin does not know: {remedy}, or purge the plugin's data",
        recorded(applied)
    ))
}

fn terminal(message: String) -> PluginFailure {
    PluginFailure::terminal(PluginReason::MigrationFailed, message)
}

/// How a migration is called in messages.
pub(super) fn label(migration: &Migration) -> String {
    format!("{:04}_{}", migration.version, migration.name)
}

fn recorded(applied: &Applied) -> String {
    format!("{:04}_{}", applied.version, applied.name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use checkstack_plugin_package::Digest;
    use proptest::prelude::*;

    use super::*;

    fn migration(version: u32, up: &str) -> Migration {
        Migration { version, name: format!("m{version}"), up: up.into(), down: None, additive: true, hash: Digest::of(up.as_bytes()) }
    }

    fn with_way_back(version: u32) -> Migration {
        Migration { down: Some(format!("undo {version}")), additive: false, ..migration(version, "x") }
    }

    fn one_way(version: u32) -> Migration {
        Migration { additive: false, ..migration(version, "x") }
    }

    fn apply(migration: &Migration) -> Applied {
        Applied {
            version: migration.version.try_into().unwrap(),
            name: migration.name.clone(),
            hash: migration.hash.to_string(),
            additive: migration.additive,
            down: migration.down.clone(),
        }
    }

    /// What is undone and what is applied.
    fn done(applied: &[Migration], migrations: &[Migration]) -> Result<(Vec<i32>, Vec<u32>), String> {
        let applied: Vec<Applied> = applied.iter().map(apply).collect();
        let numbers = |steps: Steps<'_>| {
            let undone = steps.undo.iter().map(|undo| undo.version).collect();
            (undone, steps.apply.iter().map(|migration| migration.version).collect())
        };
        steps(&applied, migrations).map(numbers).map_err(|failure| {
            assert_eq!((failure.reason, failure.transient), (PluginReason::MigrationFailed, false));
            failure.message
        })
    }

    #[test]
    fn what_is_not_applied_is_missing() {
        let all = [migration(1, "a"), migration(2, "b"), migration(5, "c")];
        assert_eq!(done(&[], &all), Ok((vec![], vec![1, 2, 5])));
        assert_eq!(done(&all[..1], &all), Ok((vec![], vec![2, 5])));
        assert_eq!(done(&all, &all), Ok((vec![], vec![])));
        assert_eq!(done(&[], &[one_way(1), one_way(2)]), Ok((vec![], vec![1, 2])), "there is nothing to go back to");
    }

    #[test]
    fn a_schema_that_does_not_fit_is_refused_with_what_to_do() {
        let says = |applied: &[Migration], migrations: &[Migration], words: &str| {
            let message = done(applied, migrations).unwrap_err();
            assert!(message.contains(words), "{message}");
        };
        says(&[migration(1, "a")], &[migration(1, "A")], "0001_m1 was changed after it had been applied: put its text back");
        says(&[migration(1, "a"), migration(2, "b")], &[migration(1, "a"), migration(3, "c")], "has migration 0002_m2, which this version");
        says(
            &[migration(3, "c")],
            &[migration(2, "b"), migration(3, "c")],
            "0002_m2 is older than what has been applied already (up to 0003)",
        );
        says(
            &[migration(1, "a")],
            &[migration(1, "a"), one_way(2)],
            "no way back from migration 0002_m2, and the plugin has data already: add",
        );
        says(
            &[with_way_back(1), one_way(2)],
            &[with_way_back(1)],
            "0002_m2, which this version of the plugin does not know: it came without",
        );
        says(&[one_way(1)], &[], "came without a way back");
    }

    #[test]
    fn an_older_form_goes_back_as_far_as_it_must() {
        let (one, two, three, four) = (with_way_back(1), migration(2, "adds"), with_way_back(3), migration(4, "adds"));
        let all = || vec![one.clone(), two.clone(), three.clone(), four.clone()];
        // What only adds stays, unless it is on the way to what does not.
        assert_eq!(done(&[one.clone(), two.clone()], std::slice::from_ref(&one)), Ok((vec![], vec![])));
        assert!(done(&all(), std::slice::from_ref(&one)).unwrap_err().contains("0004_m4"), "4 builds on 3, and has no way back");
        let four = Migration { down: Some("undo 4".into()), ..four.clone() };
        let all = vec![one.clone(), two.clone(), three.clone(), four];
        assert_eq!(done(&all, std::slice::from_ref(&one)), Ok((vec![4, 3], vec![])));
        assert!(done(&all, &[]).unwrap_err().contains("0002_m2"));
        assert_eq!(done(&all, &[one, two, three]), Ok((vec![], vec![])));
    }

    #[test]
    fn a_way_back_that_comes_later_is_recorded() {
        let recorded = [apply(&one_way(1)), apply(&with_way_back(2))];
        let package = [with_way_back(1), with_way_back(2)];
        let Steps { record, undo, apply } = steps(&recorded, &package).unwrap();
        assert_eq!((record, undo.len(), apply.len()), (vec![&package[0]], 0, 0));
    }

    #[test]
    fn what_was_applied_can_be_undone_but_not_exchanged() {
        let old = [with_way_back(1), with_way_back(2)];
        assert_eq!(done(&old, &[with_way_back(1)]), Ok((vec![2], vec![])));
        let other = Migration { name: "other".into(), up: "y".into(), hash: Digest::of(b"y"), ..with_way_back(2) };
        assert!(done(&old, &[with_way_back(1), other]).unwrap_err().contains("was changed"));
    }

    fn any_migration(version: u32) -> impl Strategy<Value = Migration> {
        prop_oneof![Just(migration(version, "adds")), Just(with_way_back(version)), Just(one_way(version))]
    }

    proptest! {
        /// From any form to any other one of the same line: what is left is what the form knows and, beyond it, what only adds.
        #[test]
        fn every_way_ends_where_the_form_can_work(
            line in (1..6_u32).prop_flat_map(|last| (1..=last).map(any_migration).collect::<Vec<_>>()),
            from in 0..6_usize,
            to in 0..6_usize,
        ) {
            let (from, to) = (&line[..from.min(line.len())], &line[..to.min(line.len())]);
            let Ok((undone, applied)) = done(from, to) else {
                // Only what has no way back can be in the way.
                prop_assert!(line.iter().any(|migration| migration.down.is_none()));
                return Ok(());
            };
            prop_assert!(undone.windows(2).all(|pair| pair[0] > pair[1]), "the newest first");
            let mut schema: Vec<&Migration> =
                from.iter().filter(|migration| !undone.contains(&i32::try_from(migration.version).unwrap())).collect();
            schema.extend(to.iter().filter(|migration| applied.contains(&migration.version)));
            prop_assert_eq!(&schema.iter().take(to.len()).map(|migration| migration.version).collect::<Vec<_>>(),
                &to.iter().map(|migration| migration.version).collect::<Vec<_>>());
            prop_assert!(schema.iter().skip(to.len()).all(|migration| migration.additive));
        }
    }
}
