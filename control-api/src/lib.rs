//! The contract between the operator and the core server's pods.
//!
//! The operator calls each pod directly, over HTTP, on the paths of [`paths`]. What changes state
//! carries a [request token](token); what a pod reports is a [`report::PodReport`]. The set that is
//! mounted into pods has a [signature](set_signature). Values from Secrets travel [sealed]. Keys
//! come from the Secret `<instance>-keys` ([`keys`]); other secrets that a pod needs are
//! [derived](derived) from them, and those that it stores are [encrypted](at_rest). How people [sign in](sign_in) is told by
//! environment and mounted files.

pub mod at_rest;
pub mod derived;
pub mod encryption;
pub mod keys;
pub mod paths;
pub mod report;
pub mod sealed;
pub mod set_signature;
pub mod sign_in;
pub mod token;

pub use at_rest::{AtRestError, AtRestKey};
pub use derived::{DatabasePassword, MacKey, entry_hash};
pub use keys::{KeyError, SealingKey, SigningKey, VerifyingKeys};
pub use sealed::{SealError, SecretValues};
pub use set_signature::SetSignatureError;
pub use sign_in::OidcSettings;
pub use token::{ExpectedRequest, TokenError, VerifiedRequest};
