//! Why a sign-in at the provider does not come to its end.

use checkstack_platform::native::SignInOutcome;

use crate::store::{NotAdmitted, StoreError};

/// Who signs in is told the class of it and what to do; the rest is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum OidcError {
    /// It does not answer, or not so that it can be understood.
    #[error("the provider does not answer as it should: {0}")]
    Unavailable(String),
    /// An admin has to do something.
    #[error("the settings of the provider do not work: {0}")]
    Misconfigured(String),
    /// Too many sign in at the same time.
    #[error("too many sign-ins are under way")]
    Busy,
    /// No sign-in was begun in this browser, or too long ago, or another one since.
    #[error("no such sign-in was begun in this browser")]
    NotBegun,
    /// The provider did not sign the user in: the error as the standard names it.
    #[error("the provider has refused: {0}")]
    Refused(String),
    /// A code that does not count, or not any more.
    #[error("the provider does not take the code: {0}")]
    CodeRefused(String),
    /// What the provider says of the user does not hold.
    #[error("the ID token does not count: {0}")]
    Token(String),
    /// Nobody here is this user, and nobody may become one.
    #[error("nobody here is the user, and the settings do not let them become one")]
    UnknownUser,
    /// There is a user with the address of somebody who has not been here before.
    #[error("another user has the address")]
    AddressTaken,
    /// A user needs an address.
    #[error("the provider gives no address of the user, or one that it has not verified")]
    NoAddress,
    /// See there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OidcError {
    /// As it is counted.
    pub(super) fn outcome(&self) -> SignInOutcome {
        match self {
            Self::Unavailable(_) | Self::Store(_) => SignInOutcome::Unavailable,
            Self::Misconfigured(_) => SignInOutcome::Misconfigured,
            Self::Busy => SignInOutcome::TooMany,
            Self::NotBegun => SignInOutcome::NotBegun,
            Self::Refused(_) | Self::CodeRefused(_) => SignInOutcome::Refused,
            Self::Token(_) => SignInOutcome::InvalidToken,
            Self::UnknownUser | Self::AddressTaken | Self::NoAddress => SignInOutcome::NotAdmitted,
        }
    }
}

impl From<NotAdmitted> for OidcError {
    fn from(not: NotAdmitted) -> Self {
        match not {
            NotAdmitted::Unknown => Self::UnknownUser,
            NotAdmitted::AddressTaken => Self::AddressTaken,
            NotAdmitted::NoAddress => Self::NoAddress,
        }
    }
}
