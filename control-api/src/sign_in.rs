//! How people sign in to an instance: what the operator takes from `spec.signIn.oidc` and tells the pods, as JSON in the
//! environment. The client's secret and the certificates to trust are files beside it, so that they can change while a pod runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The environment variable with [`OidcSettings`] as JSON.
pub const OIDC_VARIABLE: &str = "CHECKSTACK_OIDC";
/// The environment variable with the directory of the two files.
pub const OIDC_DIRECTORY_VARIABLE: &str = "CHECKSTACK_OIDC_DIR";
/// The secret that the provider knows the instance by.
pub const CLIENT_SECRET_FILE: &str = "client-secret";
/// Certificates of authorities that the provider's certificate may come from, in PEM. Need not exist.
pub const CA_BUNDLE_FILE: &str = "ca.crt";

/// An OpenID provider whose users may sign in.
///
/// What a server does not know of it keeps the server from starting: a restriction that is not understood must not be
/// overlooked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcSettings {
    /// Its URL: `/.well-known/openid-configuration` is below it, and `iss` of its tokens is the same.
    pub issuer: String,
    /// What the provider calls the instance.
    pub client_id: String,
    /// What people call the provider.
    #[serde(default = "OidcSettings::default_name")]
    pub name: String,
    /// What the provider is asked to tell; with `openid`.
    #[serde(default = "OidcSettings::default_scopes")]
    pub scopes: Vec<String>,
    /// The claim with the groups of a user: the name of a claim, or a path of names with dots between them.
    #[serde(default = "OidcSettings::default_groups_claim")]
    pub groups_claim: String,
    /// The roles that those have who are in a group. Names of groups are compared as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub group_roles: BTreeMap<String, BTreeSet<String>>,
    /// Whether somebody whom the instance does not know becomes a user.
    #[serde(default = "OidcSettings::default_create_users")]
    pub create_users: bool,
    /// Whether somebody whom the instance does not know is the user with the same address, when the provider has verified it.
    #[serde(default)]
    pub link_verified_email: bool,
}

impl OidcSettings {
    /// What the button says when nobody says something else.
    pub fn default_name() -> String {
        "Single sign-on".to_owned()
    }

    /// What providers give names and addresses for.
    pub fn default_scopes() -> Vec<String> {
        ["openid", "profile", "email"].map(str::to_owned).into()
    }

    /// What most providers call it.
    pub fn default_groups_claim() -> String {
        "groups".to_owned()
    }

    const fn default_create_users() -> bool {
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_client_are_enough_and_what_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<OidcSettings>(text).map_err(|error| error.to_string());
        let least = read(r#"{"issuer": "https://id.example.com", "clientId": "checkstack"}"#).unwrap();
        assert_eq!((least.scopes.join(" ").as_str(), least.groups_claim.as_str()), ("openid profile email", "groups"));
        assert!(least.create_users && !least.link_verified_email && least.group_roles.is_empty());
        assert_eq!(read(&serde_json::to_string(&least).unwrap()), Ok(least));
        let unknown = read(r#"{"issuer": "https://id.example.com", "clientId": "checkstack", "requiredGroups": ["a"]}"#);
        assert!(unknown.unwrap_err().contains("unknown field `requiredGroups`"));
    }
}
