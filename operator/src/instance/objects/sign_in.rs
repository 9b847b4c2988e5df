//! How people sign in, as the pods are told.

use checkstack_control_api::OidcSettings;
use checkstack_control_api::sign_in::{OIDC_DIRECTORY_VARIABLE, OIDC_VARIABLE};
use checkstack_crds::checkstack::{CheckstackSpec, OidcSpec};

/// Variables and their values. What the spec does not say is left to the server.
pub(super) fn environment(spec: &CheckstackSpec, oidc_directory: &str) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    variables.extend(spec.base_url.clone().map(|url| ("CHECKSTACK_BASE_URL", url)));
    if !spec.allowed_origins.is_empty() {
        variables.push(("CHECKSTACK_ALLOWED_ORIGINS", spec.allowed_origins.join(",")));
    }
    variables.extend(spec.sign_in.session_lifetime_seconds.map(|seconds| ("CHECKSTACK_SESSION_SECONDS", seconds.to_string())));
    // Texts, lists and maps of texts: they can always be written as JSON.
    if let Some(oidc) = spec.sign_in.oidc.as_ref().and_then(|oidc| serde_json::to_string(&settings(oidc)).ok()) {
        variables.extend([(OIDC_VARIABLE, unexpanded(&oidc)), (OIDC_DIRECTORY_VARIABLE, oidc_directory.to_owned())]);
    }
    variables
}

/// The same JSON, in which the kubelet finds no `$(DATABASE_URL)` to put another variable's value for: whoever may write the spec
/// need not be one who may read Secrets.
fn unexpanded(json: &str) -> String {
    json.replace('$', r"\u0024")
}

fn settings(oidc: &OidcSpec) -> OidcSettings {
    OidcSettings {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        name: oidc.name.clone(),
        scopes: oidc.scopes.clone(),
        groups_claim: oidc.groups_claim.clone(),
        group_roles: oidc.group_roles.iter().map(|group| (group.group.clone(), group.roles.iter().cloned().collect())).collect(),
        create_users: oidc.create_users,
        link_verified_email: oidc.link_verified_email,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::instance;

    #[test]
    fn pods_are_told_what_the_spec_says_and_nothing_more() {
        assert_eq!(environment(&instance(json!({})).spec, "/oidc"), []);
        let spec = instance(json!({
            "baseUrl": "https://checkstack.example.com",
            "allowedOrigins": ["https://a.example", "https://b.example"],
            "signIn": { "sessionLifetimeSeconds": 3600, "oidc": {
                "issuer": "https://id.example.com",
                "name": "$(DATABASE_URL)",
                "clientId": "checkstack",
                "clientSecretRef": { "name": "sso" },
                "groupRoles": [{ "group": "ops", "roles": ["admin", "helpdesk"] }],
                "createUsers": false,
            } },
        }))
        .spec;
        let told = environment(&spec, "/oidc");
        let value = |name: &str| told.iter().find(|variable| variable.0 == name).unwrap().1.clone();
        assert_eq!(value("CHECKSTACK_BASE_URL"), "https://checkstack.example.com");
        assert_eq!(value("CHECKSTACK_ALLOWED_ORIGINS"), "https://a.example,https://b.example");
        assert_eq!((value("CHECKSTACK_SESSION_SECONDS").as_str(), value("CHECKSTACK_OIDC_DIR").as_str()), ("3600", "/oidc"));
        assert!(!value("CHECKSTACK_OIDC").contains('$'), "the kubelet would look for variables");
        let oidc: OidcSettings = serde_json::from_str(&value("CHECKSTACK_OIDC")).unwrap();
        let roles: Vec<_> = oidc.group_roles.get("ops").unwrap().iter().map(String::as_str).collect();
        assert_eq!((oidc.client_id.as_str(), oidc.scopes.len(), oidc.create_users), ("checkstack", 3, false));
        assert_eq!((roles.join(" ").as_str(), oidc.name.as_str()), ("admin helpdesk", "$(DATABASE_URL)"));
    }
}
