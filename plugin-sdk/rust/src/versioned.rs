//! Formats that change: how data of an older version is brought up to date.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The format of a configuration or a setting, with a way from each older version to the one that `T` reads.
///
/// ```
/// use checkstack_plugin::Versioned;
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Limits {
///     milliseconds: u64,
/// }
///
/// let format = Versioned::<Limits>::new().migration("seconds became milliseconds", |mut old| {
///     let seconds = old["seconds"].take().as_u64().ok_or("`seconds` is no number")?;
///     Ok(json!({ "milliseconds": seconds * 1_000 }))
/// });
/// assert_eq!(format.version(), 2);
/// assert_eq!(format.parse(1, json!({ "seconds": 3 })).unwrap().milliseconds, 3_000);
/// ```
#[derive(Debug)]
pub struct Versioned<T> {
    first: u32,
    migrations: Vec<Migration>,
    read_as: PhantomData<fn() -> T>,
}

#[derive(Debug)]
struct Migration {
    description: &'static str,
    migrate: fn(Value) -> Result<Value, String>,
}

/// Why data of some version cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// It was written by a later release of the plugin.
    #[error("it is of version {0}, and this release of the plugin understands versions up to {1}")]
    Newer(u32, u32),
    /// The way from there is no longer part of the plugin.
    #[error("it is of version {0}, and this release of the plugin understands versions from {1} on")]
    TooOld(u32, u32),
    /// A migration does not take it.
    #[error("the migration from version {from} to {} ({description}) failed: {cause}", from + 1)]
    Migration {
        /// The version that it has got to.
        from: u32,
        /// Of the migration.
        description: &'static str,
        /// What the migration says.
        cause: String,
    },
    /// It is not of the form that it should have; where, and why.
    #[error("{0}")]
    Unexpected(String),
}

impl<T: DeserializeOwned> Versioned<T> {
    /// Version 1, which all data without a version is taken for.
    pub fn new() -> Self {
        Self::since(1)
    }

    /// For a plugin that has forgotten the versions before `first`.
    pub fn since(first: u32) -> Self {
        Self { first: first.max(1), migrations: Vec::new(), read_as: PhantomData }
    }

    /// Raises the version by one. `migrate` makes data of the version so far into that of the next; it has no
    /// side effects, and an error says in one sentence why it cannot.
    #[must_use]
    pub fn migration(mut self, description: &'static str, migrate: fn(Value) -> Result<Value, String>) -> Self {
        self.migrations.push(Migration { description, migrate });
        self
    }

    /// The newest version: what `T` reads, and what is written.
    pub fn version(&self) -> u32 {
        let raised = u32::try_from(self.migrations.len()).unwrap_or(u32::MAX);
        self.first.saturating_add(raised)
    }

    /// Brings data of any version up to date and reads it.
    pub fn parse(&self, version: u32, data: Value) -> Result<T, VersionError> {
        read(self.migrate(version, data)?)
    }

    /// Brings data of any version up to date.
    pub(crate) fn migrate(&self, version: u32, data: Value) -> Result<Value, VersionError> {
        if version > self.version() {
            return Err(VersionError::Newer(version, self.version()));
        }
        let done = version.checked_sub(self.first).ok_or(VersionError::TooOld(version, self.first))?;
        let mut steps = (version..).zip(self.migrations.iter().skip(done as usize));
        steps.try_fold(data, |data, (from, Migration { description, migrate })| {
            migrate(data).map_err(|cause| VersionError::Migration { from, description, cause })
        })
    }
}

impl<T: DeserializeOwned> Default for Versioned<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads a value; the error says where it does not fit.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, VersionError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = error.path().to_string();
        let cause = error.into_inner().to_string();
        VersionError::Unexpected(if place == "." { cause } else { format!("`{place}`: {cause}") })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format() -> Versioned<Vec<u32>> {
        Versioned::since(3)
            .migration("one became many", |old| Ok(json!([old])))
            .migration("nothing is not allowed", |old| if old == json!([0]) { Err("nothing".into()) } else { Ok(old) })
    }

    #[test]
    fn data_takes_the_way_from_its_version_on() {
        assert_eq!(format().version(), 5);
        assert_eq!(format().parse(3, json!(7)), Ok(vec![7]));
        assert_eq!(format().parse(4, json!([7, 8])), Ok(vec![7, 8]));
        assert_eq!(format().parse(5, json!([0])), Ok(vec![0]), "the migration is not for these");
    }

    #[test]
    fn what_cannot_be_brought_up_to_date_says_why() {
        let message = |version, data| format().parse(version, data).unwrap_err().to_string();
        assert_eq!(message(6, json!([])), "it is of version 6, and this release of the plugin understands versions up to 5");
        assert_eq!(message(2, json!([])), "it is of version 2, and this release of the plugin understands versions from 3 on");
        assert_eq!(message(3, json!(0)), "the migration from version 4 to 5 (nothing is not allowed) failed: nothing");
        assert_eq!(message(5, json!([1, "x"])), "`[1]`: invalid type: string \"x\", expected u32");
    }

    #[test]
    fn data_without_migrations_is_of_version_one() {
        assert_eq!(Versioned::<u8>::default().parse(1, json!(7)), Ok(7));
    }
}
