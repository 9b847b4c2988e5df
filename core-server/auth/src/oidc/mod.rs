//! Signing in at an OpenID provider: authorization code flow with PKCE (OpenID Connect Core 3.1, RFC 7636, RFC 9207).
//!
//! `/api/auth/sign-in/oauth2` sends the browser to the provider, with a [`pending`] cookie. `/api/auth/oauth2/callback/oidc` is
//! where it comes back with a code, for which the [`provider`] gives an [`id_token`]; its [`claims`] say who the user is, and what
//! the groups they are in permit.

mod calls;
mod claims;
mod endpoints;
mod error;
mod id_token;
mod pending;
mod provider;
mod return_to;
mod settings;

pub(crate) use claims::ExternalUser;
pub(crate) use endpoints::{Instance, Oidc};
pub use settings::{InvalidOidcSettings, parse_oidc_settings};
