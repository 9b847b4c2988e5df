//! Tokens by which a service shows which plugin it is (platform facts §6.2), and the keys that they are signed with.
//!
//! - [`token`] is what a token looks like and whether it counts; [`key`] an RSA key and how it is stored: pure.
//! - [`reader`] knows the keys of the database, as they were a second ago at most.
//! - [`ServiceKeys`] signs and verifies; [`keeper`] makes a new key every hour.

mod issuer;
mod keeper;
mod key;
mod reader;
mod settings;
mod token;

pub(crate) use issuer::ServiceKeys;
pub(crate) use keeper::keep;
pub(crate) use key::{NewKey, PublicParts};
pub use settings::ServiceKeySettings;
pub(crate) use token::ServiceToken;
