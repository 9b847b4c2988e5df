//! What can go wrong with a cache.

/// Why a cache did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// What was given cannot be used: what and why.
    #[error("{0}")]
    Invalid(String),
    /// The entry is larger than the cache takes.
    #[error("the entry of '{scope}' would take {bytes} bytes of the cache, and at most {most} are taken: store it elsewhere")]
    TooLarge {
        /// Whose it is
        scope: String,
        /// The value, or the whole entry where its owner's share is less
        bytes: usize,
        /// What is taken
        most: usize,
    },
    /// It is done here, but the other replicas could not be told in time. They will be, as soon as they can; until then they may go on with
    /// what they have. The same may work later.
    #[error("other replicas have not been told yet, and may go on with an older value: {0}")]
    Untold(String),
    /// The provider does not answer. The same may work later.
    #[error("the cache does not answer: {0}")]
    Unavailable(String),
    /// The provider refused: a fault of this release, or of the rights that it was given.
    #[error("the cache refused: {0}")]
    Refused(String),
    /// The caches have been stopped.
    #[error("caches have been stopped")]
    Stopped,
    /// No provider has this id.
    #[error("there is no cache provider '{0}'")]
    UnknownProvider(String),
    /// The configuration of a provider cannot be used.
    #[error("the configuration of cache provider '{provider}' is not valid: {problem}")]
    InvalidConfiguration {
        /// Its id
        provider: String,
        /// What is wrong
        problem: String,
    },
}

impl CacheError {
    /// True when the same may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Untold(_) | Self::Unavailable(_))
    }
}
