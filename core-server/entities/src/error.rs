//! What can go wrong with an entity.

use std::time::Duration;

use checkstack_events::EventError;

/// Why an entity was not read or changed, or a kind not defined. Where a change fails, nothing of it is left once its transaction is undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntityError {
    /// What was given cannot be used: what and why.
    #[error("{0}")]
    Invalid(String),
    /// Nobody has defined this kind.
    #[error("there is no kind of entities '{kind}'; there are: {}", listed(.known))]
    UnknownKind {
        /// What was asked for
        kind: String,
        /// What there is
        known: Vec<String>,
    },
    /// A kind is defined once, by one plugin.
    #[error("plugin '{plugin}' cannot define the kind of entities '{kind}': plugin '{owner}' has defined it; take another name")]
    DuplicateKind {
        /// The kind
        kind: String,
        /// Who has it
        owner: String,
        /// Who wanted it
        plugin: String,
    },
    /// All kinds are known before anybody listens to one.
    #[error(
        "plugin '{plugin}' cannot define the kind of entities '{kind}' any more: kinds are defined while plugins are made, before any is initialised"
    )]
    DeclaredTooLate {
        /// The kind
        kind: String,
        /// Who wanted it
        plugin: String,
    },
    /// The changes of a kind are derived by one plugin.
    #[error("plugin '{plugin}' cannot derive events from changes of '{kind}': plugin '{owner}' does so already")]
    DuplicateDeriver {
        /// The kind
        kind: String,
        /// Who derives them
        owner: String,
        /// Who wanted to
        plugin: String,
    },
    /// The state of an entity is larger than an event takes.
    #[error("the state of entity '{id}' of kind '{kind}' has {bytes} bytes, and at most {most} are taken: keep what is large beside it")]
    StateTooLarge {
        /// Of what kind
        kind: String,
        /// Which
        id: String,
        /// As JSON
        bytes: usize,
        /// [`crate::MAX_STATE_BYTES`]
        most: usize,
    },
    /// It was to be removed, and its owner still reads a state of it.
    #[error("entity '{id}' of kind '{kind}' was not removed: it can still be read after the removal")]
    NotRemoved {
        /// Of what kind
        kind: String,
        /// Which
        id: String,
    },
    /// A plugin in the sandbox has as many entities of a kind as it may.
    #[error("there are {most} entities of kind '{kind}' already, those included that were removed in the last 30 days")]
    TooMany {
        /// Of what kind
        kind: String,
        /// As many are allowed.
        most: u32,
    },
    /// What the owner wrote has ended the transaction of the change: it may be committed, and was not told.
    #[error("entity '{id}' of kind '{kind}' was changed, and that was not told: the statements of a change cannot end its transaction")]
    TransactionEnded {
        /// Of what kind
        kind: String,
        /// Which
        id: String,
    },
    /// The database does not answer, or others change the entity for too long. The same may work later; a change may have been made all the
    /// same if the answer to its commit is what is missing.
    #[error("the database of the entities does not answer: {0}")]
    Unavailable(String),
    /// The database refused: a fault of this release, or of the rights that it was given.
    #[error("the database of the entities refused: {0}")]
    Refused(String),
    /// The change could not be told, and so was not made; or a subscription was not.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl EntityError {
    /// True when the same may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Event(problem) => problem.is_transient(),
            _ => false,
        }
    }

    pub(crate) fn no_answer(deadline: Duration) -> Self {
        Self::Unavailable(format!("no answer within {} ms", deadline.as_millis()))
    }
}

impl From<sqlx::Error> for EntityError {
    fn from(error: sqlx::Error) -> Self {
        let problem = match error.as_database_error() {
            Some(refusal) => format!("{} (SQLSTATE {})", refusal.message(), refusal.code().unwrap_or_default()),
            None => error.to_string(),
        };
        match checkstack_connections::is_transient(&error) {
            true => Self::Unavailable(problem),
            false => Self::Refused(problem),
        }
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
