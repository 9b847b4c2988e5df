//! What parts of the server count that the platform knows nothing of: who signs in, and with what.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::catalogue;

/// Counts for native plugins. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct NativeMetrics {
    sign_ins: Family<SignInLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
}

/// By which way somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// Address and password.
    Password,
    /// At an OpenID provider.
    Oidc,
}

/// How a sign-in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInOutcome {
    /// There is a session.
    Success,
    /// No user has this address and this password.
    WrongPassword,
    /// There have been too many attempts, or too many are under way.
    TooMany,
    /// The request is none of a sign-in.
    Invalid,
    /// No such sign-in was begun in the browser.
    NotBegun,
    /// The provider has refused.
    Refused,
    /// What the provider says of the user does not count.
    InvalidToken,
    /// Nobody here is the user, or may become one.
    NotAdmitted,
    /// The database or the provider does not answer.
    Unavailable,
    /// An admin has to do something.
    Misconfigured,
}

/// What a request shows that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// The key of an application.
    ApplicationKey,
    /// The cookie of a session.
    Session,
    /// A token of a service.
    ServiceToken,
    /// It looks like a key and is none.
    Malformed,
}

/// Why it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// It does not count, or not any more.
    Unknown,
    /// Too many did not count: it was not looked at.
    TooMany,
}

/// How the references to secrets of a configuration were looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretOutcome {
    Resolved,
    Missing,
    Unreadable,
    Unavailable,
    /// The reference itself is not allowed, or not one.
    Invalid,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignInLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    kind: &'static str,
    reason: &'static str,
}

impl NativeMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        catalogue::SIGN_INS.register(registry, self.sign_ins.clone());
        catalogue::CREDENTIALS_REFUSED.register(registry, self.refused.clone());
    }

    /// A sign-in has come to an end.
    pub fn signed_in(&self, method: SignInMethod, outcome: SignInOutcome) {
        let labels = SignInLabels { method: method.as_str(), outcome: outcome.as_str() };
        self.sign_ins.get_or_create_owned(&labels).inc();
    }

    /// What a request shows does not count.
    pub fn credential_refused(&self, kind: CredentialKind, reason: RefusalReason) {
        let labels = RefusedLabels { kind: kind.as_str(), reason: reason.as_str() };
        self.refused.get_or_create_owned(&labels).inc();
    }
}

impl SignInMethod {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
        }
    }
}

impl SignInOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::WrongPassword => "wrong_password",
            Self::TooMany => "too_many",
            Self::Invalid => "invalid",
            Self::NotBegun => "not_begun",
            Self::Refused => "refused",
            Self::InvalidToken => "invalid_token",
            Self::NotAdmitted => "not_admitted",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl CredentialKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ApplicationKey => "application_key",
            Self::Session => "session",
            Self::ServiceToken => "service_token",
            Self::Malformed => "malformed",
        }
    }
}

impl RefusalReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::TooMany => "too_many",
        }
    }
}

impl SecretOutcome {
    pub(crate) const ALL: [Self; 5] = [Self::Resolved, Self::Missing, Self::Unreadable, Self::Unavailable, Self::Invalid];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}
