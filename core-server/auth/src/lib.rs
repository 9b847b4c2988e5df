//! Who may do what: the native plugin `auth` of the core server.
//!
//! - [`Auth`] is the plugin: its procedures manage users, applications, roles, teams and grants; below `/api/auth/` one
//!   signs in and out.
//! - [`Principals`] tells the platform who makes a request (platform facts §6.1).
//! - Parts of the server get tokens by which others know them ([`service_keys`]).
//! - Users of an OpenID provider may sign in as well ([`oidc`]); the groups they are in may give them roles.
//! - The first admin comes from a Secret ([`admin_secret`]).
//!
//! Passwords are argon2id; tokens and keys are random and stored as digests. Every change is recorded with who made it, in the
//! same transaction.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod admin_secret;
mod attempts;
mod base_url;
mod cookies;
mod credential;
mod dev_identity;
mod json_answer;
mod oidc;
mod password;
mod plugin;
mod principals;
mod procedures;
mod service_keys;
mod session_lifetime;
mod sign_in;
mod sign_in_attempts;
mod store;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use oidc::{InvalidOidcSettings, parse_oidc_settings};
pub use plugin::{Auth, AuthSettings};
pub use principals::Principals;
pub use service_keys::ServiceKeySettings;
