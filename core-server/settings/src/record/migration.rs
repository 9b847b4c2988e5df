//! From each version of a format to the next.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::path::ValuePath;
use crate::secret::to_plain_value;

type Migrate = dyn Fn(Value) -> Result<Value, String> + Send + Sync;

/// One step: from a version to the next.
pub struct Migration {
    from: u32,
    to: u32,
    description: &'static str,
    migrate: Box<Migrate>,
}

/// Steps without a gap, from version 1 to the newest.
#[derive(Debug)]
pub struct MigrationChain {
    version: u32,
    migrations: Vec<Migration>,
}

/// Why steps are no chain: a fault of the code that defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Versions count from 1.
    #[error("version 0 does not exist: versions count from 1")]
    VersionZero,
    /// A step is missing, or there twice.
    #[error("the migrations are not a chain: one from version {expected} comes next, and the next found is from version {found}")]
    Broken {
        /// Where a step should begin.
        expected: u32,
        /// Where the next begins.
        found: u32,
    },
    /// A step that skips versions or goes back.
    #[error("the migration from version {from} leads to version {to}: each must raise the version by 1")]
    Step {
        /// Where it begins.
        from: u32,
        /// Where it ends.
        to: u32,
    },
    /// Steps are missing at the end.
    #[error("the migrations end at version {reached}, and the newest version is {target}: add the missing ones")]
    Incomplete {
        /// Where they end.
        reached: u32,
        /// Where they should.
        target: u32,
    },
    /// There are more steps than versions.
    #[error("there is a migration from version {from}, and the newest version is {target}: raise it, or take the migration away")]
    Beyond {
        /// Where it begins.
        from: u32,
        /// The newest version.
        target: u32,
    },
}

/// Why data was not brought to the newest version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// It was written by a later release.
    #[error("it is of version {found}, and this release knows versions up to {newest}: install a later release, or enter it again")]
    Newer {
        /// Its version.
        found: u32,
        /// The newest that is known.
        newest: u32,
    },
    /// No release writes it.
    #[error("it is of version 0, which does not exist")]
    VersionZero,
    /// A step does not take it.
    #[error("the migration from version {from} to version {to} ({description}) failed: {cause}")]
    Failed {
        /// The version that it has got to.
        from: u32,
        /// The next.
        to: u32,
        /// Of the step.
        description: &'static str,
        /// What the step says.
        cause: String,
    },
}

impl Migration {
    /// A step on JSON. `migrate` has no side effects; its error says in one sentence why it cannot, without values: they
    /// may be secret. Secrets in the data are encrypted, and are moved around as they are.
    pub fn new(
        from: u32,
        to: u32,
        description: &'static str,
        migrate: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self { from, to, description, migrate: Box::new(migrate) }
    }

    /// A step between types. What `Old` does not know is lost.
    pub fn between<Old: DeserializeOwned, New: Serialize>(
        from: u32,
        to: u32,
        description: &'static str,
        migrate: impl Fn(Old) -> Result<New, String> + Send + Sync + 'static,
    ) -> Self {
        let of_values = move |data| {
            let old = read(data).map_err(|path| format!("`{path}` is not as it was in version {from}"))?;
            to_plain_value(&migrate(old)?).map_err(|problem| problem.to_string())
        };
        Self::new(from, to, description, of_values)
    }
}

impl MigrationChain {
    /// To `version`, the newest, with these steps in any order.
    ///
    /// # Errors
    /// When they do not lead from version 1 to `version` by one each, or any is left over.
    pub fn new(version: u32, mut migrations: Vec<Migration>) -> Result<Self, ChainError> {
        if version == 0 {
            return Err(ChainError::VersionZero);
        }
        migrations.sort_by_key(|migration| migration.from);
        let mut reached = 1;
        for &Migration { from, to, .. } in &migrations {
            if from != reached {
                return Err(ChainError::Broken { expected: reached, found: from });
            }
            if from.checked_add(1) != Some(to) {
                return Err(ChainError::Step { from, to });
            }
            if from >= version {
                return Err(ChainError::Beyond { from, target: version });
            }
            reached = to;
        }
        match reached == version {
            true => Ok(Self { version, migrations }),
            false => Err(ChainError::Incomplete { reached, target: version }),
        }
    }

    /// The newest version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Brings data of some version to the newest.
    ///
    /// # Errors
    /// When the version is not known, or a step fails.
    pub fn migrate(&self, version: u32, data: Value) -> Result<Value, MigrationError> {
        if version > self.version {
            return Err(MigrationError::Newer { found: version, newest: self.version });
        }
        if version == 0 {
            return Err(MigrationError::VersionZero);
        }
        let mut steps = self.migrations.iter().filter(|migration| migration.from >= version);
        steps.try_fold(data, |data, &Migration { from, to, description, ref migrate }| {
            migrate(data).map_err(|cause| MigrationError::Failed { from, to, description, cause })
        })
    }
}

/// Reads a value. The error is where it does not fit; why would repeat a part of it.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string() {
        path if path == "." => ValuePath::root().to_string(),
        path => path,
    })
}

impl fmt::Debug for Migration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Migration({} to {}: {})", self.from, self.to, self.description)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::secret::SecretString;

    /// Adds the step to a list.
    fn step(from: u32, to: u32) -> Migration {
        Migration::new(from, to, "adds itself", move |mut data| {
            data.as_array_mut().ok_or("it is no list")?.push(json!([from, to]));
            Ok(data)
        })
    }

    fn chain(version: u32, steps: &[(u32, u32)]) -> Result<MigrationChain, ChainError> {
        MigrationChain::new(version, steps.iter().map(|(from, to)| step(*from, *to)).collect())
    }

    #[test]
    fn steps_that_are_no_chain_are_refused() {
        type Case = (u32, &'static [(u32, u32)], ChainError);
        let cases: [Case; 12] = [
            (0, &[], ChainError::VersionZero),
            (2, &[], ChainError::Incomplete { reached: 1, target: 2 }),
            (4, &[(1, 2), (2, 3)], ChainError::Incomplete { reached: 3, target: 4 }),
            (3, &[(2, 3)], ChainError::Broken { expected: 1, found: 2 }),
            (4, &[(1, 2), (3, 4)], ChainError::Broken { expected: 2, found: 3 }),
            (3, &[(1, 2), (1, 2), (2, 3)], ChainError::Broken { expected: 2, found: 1 }),
            (1, &[(0, 1)], ChainError::Broken { expected: 1, found: 0 }),
            (3, &[(1, 3)], ChainError::Step { from: 1, to: 3 }),
            (2, &[(1, 1)], ChainError::Step { from: 1, to: 1 }),
            (2, &[(1, 0)], ChainError::Step { from: 1, to: 0 }),
            (1, &[(1, 2)], ChainError::Beyond { from: 1, target: 1 }),
            (2, &[(1, 2), (2, 3)], ChainError::Beyond { from: 2, target: 2 }),
        ];
        for (version, steps, error) in cases {
            assert_eq!(chain(version, steps).unwrap_err(), error, "{version} {steps:?}");
        }
    }

    #[test]
    fn what_is_newer_than_the_code_is_an_error_that_says_so() {
        let error = chain(2, &[(1, 2)]).unwrap().migrate(3, json!([])).unwrap_err();
        assert_eq!(error, MigrationError::Newer { found: 3, newest: 2 });
        assert!(error.to_string().contains("version 3") && error.to_string().contains("up to 2"), "{error}");
        assert_eq!(chain(1, &[]).unwrap().migrate(0, json!([])), Err(MigrationError::VersionZero));
    }

    #[test]
    fn a_step_that_fails_says_which_and_why() {
        let error = chain(3, &[(2, 3), (1, 2)]).unwrap().migrate(2, json!({})).unwrap_err();
        assert_eq!(error.to_string(), "the migration from version 2 to version 3 (adds itself) failed: it is no list");
    }

    #[derive(Deserialize)]
    struct Old {
        seconds: u64,
        password: SecretString,
    }

    #[derive(Serialize)]
    struct New {
        milliseconds: u64,
        password: SecretString,
    }

    fn between() -> MigrationChain {
        let migrate = |old: Old| Ok(New { milliseconds: old.seconds * 1000, password: old.password });
        MigrationChain::new(2, vec![Migration::between(1, 2, "seconds became milliseconds", migrate)]).unwrap()
    }

    #[test]
    fn a_step_between_types_keeps_secrets_and_loses_what_is_unknown() {
        let old = json!({ "seconds": 3, "password": "hunter2", "unknown": 1 });
        assert_eq!(between().migrate(1, old), Ok(json!({ "milliseconds": 3000, "password": "hunter2" })));
    }

    #[test]
    fn a_step_between_types_says_where_data_does_not_fit_and_not_what_it_is() {
        let error = between().migrate(1, json!({ "seconds": "hunter2", "password": "hunter2" })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the migration from version 1 to version 2 (seconds became milliseconds) failed: `seconds` is not as it was in version 1"
        );
        assert!(between().migrate(1, json!("hunter2")).unwrap_err().to_string().contains("(the whole value)"));
    }

    proptest! {
        #[test]
        fn data_takes_exactly_the_steps_from_its_version_on(version in 1_u32..12, from in 1_u32..12, shuffle in any::<u64>()) {
            let mut steps: Vec<(u32, u32)> = (1..version).map(|from| (from, from + 1)).collect();
            steps.sort_by_key(|(from, _)| u64::from(*from).wrapping_mul(shuffle | 1) % 13);
            let result = chain(version, &steps).unwrap().migrate(from, json!([]));
            let expected: Vec<Value> = (from..version).map(|from| json!([from, from + 1])).collect();
            match from <= version {
                true => prop_assert_eq!(result, Ok(Value::Array(expected))),
                false => prop_assert_eq!(result, Err(MigrationError::Newer { found: from, newest: version })),
            }
        }

        #[test]
        fn without_any_one_step_it_is_no_chain(version in 2_u32..12, missing in any::<prop::sample::Index>()) {
            let mut steps: Vec<(u32, u32)> = (1..version).map(|from| (from, from + 1)).collect();
            steps.remove(missing.index(steps.len()));
            prop_assert!(chain(version, &steps).is_err());
        }
    }
}
