//! Settings of the provider, checked when the server starts: who made a mistake is told then, and not by the first to sign in.

use checkstack_control_api::OidcSettings;
use url::{Host, Url};

/// As the CRD has it.
const MAX_GROUPS: usize = 500;

/// Why settings of a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOidcSettings {
    /// Not of the form.
    #[error("it is no JSON of the settings of a provider: {0}")]
    Json(#[from] serde_json::Error),
    /// Tokens must not go over connections that others read.
    #[error("the issuer '{0}' has to be an https URL without user, query and fragment")]
    Issuer(String),
    /// The provider has to know for whom it is asked.
    #[error("clientId and name must not be empty")]
    Empty,
    /// It would be no OpenID Connect.
    #[error("scopes have to contain openid, and none is empty or has spaces")]
    Scopes,
    /// No role can have this id.
    #[error("the group '{group}' cannot give the role '{role}': ids of roles have letters, digits, '.', '_' and '-'")]
    Role {
        /// Of the mapping.
        group: String,
        /// As it was written.
        role: String,
    },
    /// More than can be meant.
    #[error("at most {MAX_GROUPS} groups can give roles")]
    TooManyGroups,
}

/// Reads settings from JSON.
///
/// # Errors
/// See [`InvalidOidcSettings`].
pub fn parse_oidc_settings(text: &str) -> Result<OidcSettings, InvalidOidcSettings> {
    let settings: OidcSettings = serde_json::from_str(text)?;
    let issuer = checked_url(&settings.issuer).filter(|url| url.query().is_none() && url.fragment().is_none());
    issuer.ok_or_else(|| InvalidOidcSettings::Issuer(settings.issuer.clone()))?;
    if settings.client_id.is_empty() || settings.name.is_empty() {
        return Err(InvalidOidcSettings::Empty);
    }
    let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    if !settings.scopes.iter().all(is_scope) || !settings.scopes.iter().any(|scope| scope == "openid") {
        return Err(InvalidOidcSettings::Scopes);
    }
    if settings.group_roles.len() > MAX_GROUPS {
        return Err(InvalidOidcSettings::TooManyGroups);
    }
    let is_role = |role: &str| !role.is_empty() && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    for (group, roles) in &settings.group_roles {
        if let Some(role) = roles.iter().find(|role| !is_role(role)) {
            return Err(InvalidOidcSettings::Role { group: group.clone(), role: role.clone() });
        }
    }
    Ok(settings)
}

/// An https URL without a user; or one of this machine, for those who develop.
pub(super) fn checked_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_this_machine = match url.host()? {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    };
    let is_protected = url.scheme() == "https" || (url.scheme() == "http" && is_this_machine);
    (is_protected && url.username().is_empty() && url.password().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(field: &str, value: Value) -> Result<OidcSettings, String> {
        let mut settings = json!({ "issuer": "https://id.example.com/realms/a", "clientId": "checkstack" });
        settings[field] = value;
        parse_oidc_settings(&settings.to_string()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for issuer in ["https://id.example.com", "https://id.example.com/", "http://127.0.0.1:4000", "http://localhost:4000"] {
            assert_eq!(with("issuer", json!(issuer)).unwrap().issuer, issuer);
        }
        for (field, value, told) in [
            ("issuer", json!("http://id.example.com"), "has to be an https URL"),
            ("issuer", json!("https://ada@id.example.com"), "has to be an https URL"),
            ("issuer", json!("https://id.example.com?a"), "has to be an https URL"),
            ("issuer", json!("id.example.com"), "has to be an https URL"),
            ("clientId", json!(""), "must not be empty"),
            ("name", json!(""), "must not be empty"),
            ("scopes", json!(["profile"]), "have to contain openid"),
            ("scopes", json!(["openid", "a b"]), "have to contain openid"),
            ("groupRoles", json!({ "ops": ["admin", "no role"] }), "the group 'ops' cannot give the role 'no role'"),
            ("groupRole", json!({}), "unknown field `groupRole`"),
        ] {
            let problem = with(field, value.clone()).unwrap_err();
            assert!(problem.contains(told), "{field} {value}: {problem}");
        }
        let many: Value = (0..501).map(|number| (number.to_string(), json!(["admin"]))).collect::<serde_json::Map<_, _>>().into();
        assert!(with("groupRoles", many).unwrap_err().contains("at most 500 groups"));
        assert!(parse_oidc_settings("").is_err());
    }
}
