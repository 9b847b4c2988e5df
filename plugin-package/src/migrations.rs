//! SQL migrations of a plugin: `<NNNN>_<name>.up.sql`, and beside it `.down.sql`, which undoes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::Digest;

/// Largest migration file.
pub const MAX_MIGRATION_BYTES: u64 = 1024 * 1024;

/// The first line of a migration that only adds.
pub const ADDITIVE: &str = "-- checkstack: additive";

/// One step of a plugin's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `NNNN`. Migrations run in its order. There may be gaps.
    pub version: u32,
    /// What follows the version in the file's name.
    pub name: String,
    /// SQL that makes the step.
    pub up: String,
    /// SQL that undoes it.
    pub down: Option<String>,
    /// Its first line is [`ADDITIVE`]: the version of the plugin before can work with what it leaves.
    pub additive: bool,
    /// Of `up`. A migration that was applied must never change.
    pub hash: Digest,
}

/// Migrations that break rules: all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMigrations {
    /// At least one.
    pub problems: Vec<MigrationProblem>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum MigrationProblem {
    /// Not of the form.
    #[error("'{0}' is not named like 0001_create_tables.up.sql or 0001_create_tables.down.sql")]
    BadName(String),
    /// Two migrations claim one version.
    #[error("version {version:04} is claimed by '{first}' and '{second}'")]
    DuplicateVersion {
        /// The version.
        version: u32,
        /// Name of one.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// There is a way back and no way forth.
    #[error("'{0}.down.sql' has no '{0}.up.sql' beside it")]
    MissingUp(String),
    /// Nothing in it.
    #[error("'{0}' is empty")]
    Empty(String),
    /// Not a text that PostgreSQL accepts.
    #[error("'{0}' is not UTF-8 text without zero bytes")]
    NotText(String),
    /// Over [`MAX_MIGRATION_BYTES`].
    #[error("'{0}' has {1} bytes; {MAX_MIGRATION_BYTES} are allowed")]
    TooLarge(String, u64),
}

impl fmt::Display for InvalidMigrations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        write!(formatter, "the migrations are invalid: ")?;
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl std::error::Error for InvalidMigrations {}

/// Reads the files of a migrations directory, given by their names within it. Files that do not
/// end in `.sql` are none of ours.
pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<Migration>, InvalidMigrations> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<(u32, String), (Option<String>, Option<String>)> = BTreeMap::new();
    for (file, content) in files.into_iter().filter(|(file, _)| file.ends_with(".sql")) {
        let Some((version, name, direction)) = parse_name(file) else {
            problems.push(MigrationProblem::BadName(shown(file)));
            continue;
        };
        let text = check_text(file, content).unwrap_or_else(|problem| {
            problems.push(problem);
            String::new()
        });
        let migration = found.entry((version, name.to_owned())).or_default();
        match direction {
            Direction::Up => migration.0 = Some(text),
            Direction::Down => migration.1 = Some(text),
        }
    }
    let mut migrations: Vec<Migration> = Vec::with_capacity(found.len());
    for ((version, name), (up, down)) in found {
        let Some(up) = up else {
            problems.push(MigrationProblem::MissingUp(format!("{version:04}_{name}")));
            continue;
        };
        if let Some(previous) = migrations.last().filter(|previous| previous.version == version) {
            problems.push(MigrationProblem::DuplicateVersion { version, first: previous.name.clone(), second: name });
            continue;
        }
        let additive = up.lines().next().is_some_and(|line| line.trim_end() == ADDITIVE);
        migrations.push(Migration { version, name, hash: Digest::of(up.as_bytes()), additive, up, down });
    }
    match problems.is_empty() {
        true => Ok(migrations),
        false => Err(InvalidMigrations { problems }),
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

fn parse_name(file: &str) -> Option<(u32, &str, Direction)> {
    let (stem, direction) = match file.strip_suffix(".up.sql") {
        Some(stem) => (stem, Direction::Up),
        None => (file.strip_suffix(".down.sql")?, Direction::Down),
    };
    let (version, name) = stem.split_once('_')?;
    let is_version = version.len() == 4 && version.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
    (is_version && is_name).then_some((version.parse().ok()?, name, direction))
}

fn check_text(file: &str, content: &[u8]) -> Result<String, MigrationProblem> {
    if content.len() as u64 > MAX_MIGRATION_BYTES {
        return Err(MigrationProblem::TooLarge(shown(file), content.len() as u64));
    }
    match std::str::from_utf8(content) {
        Ok(text) if text.contains('\0') => Err(MigrationProblem::NotText(shown(file))),
        Ok(text) if text.trim().is_empty() => Err(MigrationProblem::Empty(shown(file))),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(MigrationProblem::NotText(shown(file))),
    }
}

/// A foreign name in a message: short, on one line.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn read_files(files: &[(&str, &str)]) -> Result<Vec<Migration>, InvalidMigrations> {
        read(files.iter().map(|(name, content)| (*name, content.as_bytes())))
    }

    #[test]
    fn migrations_are_read_in_order_with_gaps() {
        let migrations = read_files(&[
            ("0010_index.up.sql", "CREATE INDEX i ON t (a)"),
            ("0002_tables.down.sql", "DROP TABLE t"),
            ("0002_tables.up.sql", "CREATE TABLE t (a int)"),
            ("README.md", "about"),
        ])
        .unwrap();
        assert_eq!(migrations.iter().map(|one| (one.version, one.name.as_str())).collect::<Vec<_>>(), [(2, "tables"), (10, "index")]);
        assert_eq!(migrations[0].down.as_deref(), Some("DROP TABLE t"));
        assert_eq!(migrations[0].hash, Digest::of(b"CREATE TABLE t (a int)"));
        assert_eq!(migrations[1].down, None);
        assert!(migrations.iter().all(|migration| !migration.additive));
        assert_eq!(read_files(&[]).unwrap(), []);
    }

    #[test]
    fn a_migration_says_in_its_first_line_that_it_only_adds() {
        let adds = |up: &str| read_files(&[("0001_a.up.sql", up)]).unwrap()[0].additive;
        assert!(adds("-- checkstack: additive\nCREATE TABLE t ()") && adds("-- checkstack: additive\r\nCREATE TABLE t ()"));
        assert!(!adds("CREATE TABLE t ();\n-- checkstack: additive") && !adds("-- checkstack: additives\nCREATE TABLE t ()"));
    }

    #[test]
    fn every_problem_is_listed() {
        let error = read_files(&[
            ("0001_a.up.sql", " \n"),
            ("0002_a.up.sql", "x"),
            ("0002_b.up.sql", "x"),
            ("0003_a.down.sql", "x"),
            ("0004_a.up.sql", "a\0b"),
            ("5_a.up.sql", "x"),
        ])
        .unwrap_err();
        use MigrationProblem::*;
        assert_eq!(
            error.problems,
            [
                Empty("0001_a.up.sql".into()),
                NotText("0004_a.up.sql".into()),
                BadName("5_a.up.sql".into()),
                DuplicateVersion { version: 2, first: "a".into(), second: "b".into() },
                MissingUp("0003_a".into()),
            ]
        );
        assert!(
            error.to_string().contains("version 0002 is claimed by 'a' and 'b'; '0003_a.down.sql' has no '0003_a.up.sql' beside it"),
            "{error}"
        );
    }

    #[test]
    fn names_of_another_form_are_refused() {
        for name in [
            "a.up.sql",
            "0001.up.sql",
            "0001_.up.sql",
            "0001_a.sql",
            "00001_a.up.sql",
            "0001_A.up.sql",
            "0001_a.UP.sql",
            "sub/0001_a.up.sql",
            "+001_a.up.sql",
            ".up.sql",
            ".sql",
        ] {
            let error = read_files(&[(name, "x")]).unwrap_err();
            assert_eq!(error.problems, [MigrationProblem::BadName(name.into())]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_and_files_that_are_too_large_are_refused() {
        let large = vec![b' '; 1024 * 1024 + 1];
        let error = read([("0001_a.up.sql", b"\xff".as_slice()), ("0002_a.up.sql", large.as_slice())]).unwrap_err();
        assert!(matches!(&error.problems[..], [MigrationProblem::NotText(_), MigrationProblem::TooLarge(_, 1_048_577)]), "{error}");
    }
}
