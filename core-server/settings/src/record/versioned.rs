//! The format of one kind of settings: its schema, its version, and the way there from older ones.

use std::fmt;
use std::marker::PhantomData;

use checkstack_calls::schema::{InvalidSchema, Issue, Schema};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Record;
use super::defaults::apply_defaults;
use super::migration::{ChainError, Migration, MigrationChain, MigrationError, read};
use super::unknown::{unknown_fields, without_unknown_fields};
use crate::path::ValuePath;
use crate::secret::{SerializeError, to_plain_value};

/// How many things that are wrong an error tells.
const TOLD: usize = 5;

/// A format whose newest version `T` reads and writes.
///
/// ```
/// use checkstack_settings::record::{Record, Versioned};
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct First {
///     seconds: u64,
/// }
///
/// #[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
/// struct Limits {
///     milliseconds: u64,
/// }
///
/// let format = Versioned::starting_with::<First>()
///     .then("seconds became milliseconds", |old| Ok(Limits { milliseconds: old.seconds * 1_000 }))
///     .build()?;
/// assert_eq!(format.version(), 2);
/// assert_eq!(format.parse(Record::new(1, json!({ "seconds": 3 })))?.milliseconds, 3_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Versioned<T> {
    chain: MigrationChain,
    schema: Schema,
    read_as: PhantomData<fn() -> T>,
}

/// The types of a format so far. There is no way to leave a version out.
#[derive(Debug)]
pub struct Steps<T> {
    version: u32,
    migrations: Vec<Migration>,
    newest: PhantomData<fn() -> T>,
}

/// Why a format cannot be used: a fault of the code that defines it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Its steps are no chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Its schema is none.
    #[error("the schema cannot be used: {0}")]
    Schema(#[from] InvalidSchema),
}

/// What is wrong with data. Names fields and rules, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidData {
    /// Each thing and its place, the first 50.
    pub issues: Vec<Issue>,
}

/// Why a record was not read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It was not brought to the newest version.
    #[error("the record cannot be used: {0}")]
    Migration(#[from] MigrationError),
    /// It does not fit the schema.
    #[error("the data does not fit its schema: {0}")]
    Invalid(InvalidData),
    /// It has fields that the schema does not know.
    #[error("the data has unknown fields: {}; take them away or correct their names", listed(.0))]
    UnknownFields(Vec<ValuePath>),
    /// It fits the schema, and the Rust type does not read it: type and schema differ.
    #[error("the data fits its schema but not its type, at `{path}`: the schema must be made from the type")]
    Unreadable {
        /// Where it does not fit.
        path: String,
    },
    /// The type was not made into JSON.
    #[error(transparent)]
    Serialize(#[from] SerializeError),
}

impl<T> Versioned<T> {
    /// From its parts: for formats whose schema or steps are not written as Rust types.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn new(chain: MigrationChain, schema: Value) -> Result<Self, DefinitionError> {
        Ok(Self { chain, schema: Schema::compile(schema)?, read_as: PhantomData })
    }

    /// The newest version: what is written.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.chain.version()
    }

    /// Of the newest version.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether a record is not of the newest version.
    #[must_use]
    pub fn needs_migration<D>(&self, record: &Record<D>) -> bool {
        record.version != self.version()
    }

    /// Brings a record to the newest version, and notes in it that this was done, and when. The data is not looked at
    /// further: its secrets may still be encrypted.
    ///
    /// # Errors
    /// When its version is not known, or a step fails.
    pub fn migrate(&self, record: Record, now: Timestamp) -> Result<Record, MigrationError> {
        if !self.needs_migration(&record) {
            return Ok(record);
        }
        Ok(Record {
            data: self.chain.migrate(record.version, record.data)?,
            version: self.version(),
            migrated_at: Some(now),
            original_version: record.original_version.or(Some(record.version)),
            plugin_id: record.plugin_id,
        })
    }

    fn valid(&self, data: Value) -> Result<Value, RecordError> {
        let data = apply_defaults(self.schema.json(), data);
        let issues = self.schema.issues(&data);
        if issues.is_empty() { Ok(data) } else { Err(RecordError::Invalid(InvalidData { issues })) }
    }
}

impl Versioned<()> {
    /// The type of version 1. It is enough that it can be read, unless it is also the newest.
    #[must_use]
    pub fn starting_with<T>() -> Steps<T> {
        Steps { version: 1, migrations: Vec::new(), newest: PhantomData }
    }
}

impl<T: DeserializeOwned + 'static> Steps<T> {
    /// The type of the next version, and how it is made. `migrate` has no side effects; its error says in one sentence
    /// why it cannot, without values.
    #[must_use]
    pub fn then<New: Serialize>(
        mut self,
        description: &'static str,
        migrate: impl Fn(T) -> Result<New, String> + Send + Sync + 'static,
    ) -> Steps<New> {
        let next = self.version.saturating_add(1);
        self.migrations.push(Migration::between(self.version, next, description, migrate));
        Steps { version: next, migrations: self.migrations, newest: PhantomData }
    }
}

impl<T: JsonSchema> Steps<T> {
    /// The format, with the schema of its newest type.
    ///
    /// # Errors
    /// When the type's schema cannot be used.
    pub fn build(self) -> Result<Versioned<T>, DefinitionError> {
        let schema = schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
        Versioned::new(MigrationChain::new(self.version, self.migrations)?, schema.to_value())
    }
}

impl<T: DeserializeOwned> Versioned<T> {
    /// Reads data of the newest version: fields that are missing get their defaults, then all must fit the schema.
    ///
    /// # Errors
    /// When it does not.
    pub fn validate(&self, data: Value) -> Result<T, RecordError> {
        read(self.valid(data)?).map_err(|path| RecordError::Unreadable { path })
    }

    /// Reads a record of any version.
    ///
    /// # Errors
    /// When it cannot be migrated, or does not fit.
    pub fn parse(&self, record: Record) -> Result<T, RecordError> {
        self.validate(self.chain.migrate(record.version, record.data)?)
    }

    /// As [`parse`](Self::parse), and keeps the wrapper, in which a migration is noted.
    ///
    /// # Errors
    /// When it cannot be migrated, or does not fit.
    pub fn parse_record(&self, record: Record, now: Timestamp) -> Result<Record<T>, RecordError> {
        let mut record = self.migrate(record, now)?;
        let data = self.validate(record.data.take())?;
        Ok(record.with(data))
    }

    /// Reads data without a version, as if it were of version 1. Fields that are unknown in the end are ignored.
    ///
    /// # Errors
    /// When it cannot be migrated, or does not fit.
    pub fn parse_assuming_version_1(&self, data: Value) -> Result<T, RecordError> {
        self.validate(without_unknown_fields(self.schema.json(), self.chain.migrate(1, data)?))
    }

    /// As [`parse_assuming_version_1`](Self::parse_assuming_version_1), but a field that is unknown in the end is an
    /// error: for what people write by hand.
    ///
    /// # Errors
    /// When it cannot be migrated, does not fit, or has unknown fields.
    pub fn parse_strict_assuming_version_1(&self, data: Value) -> Result<T, RecordError> {
        let data = self.chain.migrate(1, data)?;
        let unknown = unknown_fields(self.schema.json(), &data);
        if unknown.is_empty() { self.validate(data) } else { Err(RecordError::UnknownFields(unknown)) }
    }
}

impl<T: Serialize> Versioned<T> {
    /// A record of the newest version. Its secrets are in it as they are: they must be encrypted before it is stored.
    ///
    /// # Errors
    /// When the data does not fit the schema.
    pub fn create(&self, data: &T) -> Result<Record, RecordError> {
        Ok(Record::new(self.version(), self.valid(to_plain_value(data)?)?))
    }

    /// The same, of a plugin.
    ///
    /// # Errors
    /// When the data does not fit the schema.
    pub fn create_for_plugin(&self, data: &T, plugin_id: &str) -> Result<Record, RecordError> {
        Ok(self.create(data)?.of_plugin(plugin_id))
    }
}

impl fmt::Display for InvalidData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, issue) in self.issues.iter().take(TOLD).enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(formatter, "{separator}`{}`: {}", ValuePath::from(issue.path.clone()), issue.message)?;
        }
        match self.issues.len().checked_sub(TOLD) {
            None | Some(0) => Ok(()),
            Some(more) => write!(formatter, "; and {more} more"),
        }
    }
}

fn listed(paths: &[ValuePath]) -> String {
    let mut listed: Vec<String> = paths.iter().take(TOLD).map(|path| format!("`{path}`")).collect();
    if let Some(more) = paths.len().checked_sub(TOLD).filter(|more| *more > 0) {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests;
