//! What a provider says of a user.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// As columns and headers have them.
const MAX_EMAIL_BYTES: usize = 320;
const MAX_NAME_CHARACTERS: usize = 200;

/// A user, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalUser {
    /// The provider.
    pub(crate) issuer: String,
    /// Who they are there, for ever.
    pub(crate) subject: String,
    /// None: it gives no usable one, or one that it knows not to be theirs.
    pub(crate) email: Option<String>,
    /// That the address is theirs. What is not said is not so.
    pub(crate) email_verified: bool,
    pub(crate) name: Option<String>,
    /// Ids of the roles that their groups give.
    pub(crate) roles: BTreeSet<String>,
}

impl ExternalUser {
    /// From claims, of which `sub` has been checked.
    pub(super) fn new(issuer: &str, claims: &Map<String, Value>, groups_claim: &str, mapping: &BTreeMap<String, BTreeSet<String>>) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let verified = match claims.get("email_verified") {
            Some(Value::Bool(is)) => Some(*is),
            // Some write it so.
            Some(Value::String(is)) => is.parse().ok(),
            _ => None,
        };
        let email = text("email").filter(|email| is_address(email) && verified != Some(false));
        let name = text("name").or_else(|| text("preferred_username")).or(email);
        let shortened = |name: &str| name.chars().filter(|character| !character.is_control()).take(MAX_NAME_CHARACTERS).collect();
        Self {
            issuer: issuer.to_owned(),
            subject: claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned(),
            email: email.map(str::to_owned),
            email_verified: verified == Some(true),
            name: name.map(shortened),
            roles: roles_of(&groups(claims, groups_claim), mapping),
        }
    }
}

/// The value of a claim: by its name, which may have dots and slashes in it, or by a path of names with dots between.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

/// The groups in a claim: a list of names, or one name.
fn groups<'a>(claims: &'a Map<String, Value>, name: &str) -> BTreeSet<&'a str> {
    match claim(claims, name) {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(group)) => BTreeSet::from([group.as_str()]),
        _ => BTreeSet::new(),
    }
}

fn roles_of(groups: &BTreeSet<&str>, mapping: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    groups.iter().filter_map(|group| mapping.get(*group)).flatten().cloned().collect()
}

fn is_address(text: &str) -> bool {
    let has_no_gaps = !text.chars().any(|character| character.is_whitespace() || character.is_control());
    has_no_gaps
        && text.len() <= MAX_EMAIL_BYTES
        && text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(claims: Value, groups_claim: &str) -> ExternalUser {
        let Value::Object(claims) = claims else { panic!() };
        let role = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mapping = BTreeMap::from([("ops".to_owned(), role(&["admin", "helpdesk"])), ("dev".to_owned(), role(&["helpdesk"]))]);
        ExternalUser::new("https://id.example.com", &claims, groups_claim, &mapping)
    }

    #[test]
    fn groups_give_roles() {
        let roles = |claims: Value, name: &str| user(claims, name).roles.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(roles(json!({ "groups": ["dev", "other"] }), "groups"), "helpdesk");
        assert_eq!(roles(json!({ "groups": ["dev", "ops"] }), "groups"), "admin helpdesk");
        assert_eq!(roles(json!({ "groups": "ops" }), "groups"), "admin helpdesk");
        assert_eq!(roles(json!({ "realm_access": { "roles": ["ops"] } }), "realm_access.roles"), "admin helpdesk");
        assert_eq!(roles(json!({ "https://a.example/groups": ["dev"] }), "https://a.example/groups"), "helpdesk");
        for nothing in
            [json!({}), json!({ "groups": [] }), json!({ "groups": ["OPS", 7, null, ["ops"]] }), json!({ "groups": { "ops": true } })]
        {
            assert_eq!(roles(nothing.clone(), "groups"), "", "{nothing}");
        }
    }

    #[test]
    fn an_address_that_is_not_theirs_is_none() {
        let address = |claims: Value| {
            let user = user(claims, "groups");
            (user.email, user.email_verified)
        };
        let ada = || Some("ada@example.com".to_owned());
        assert_eq!(address(json!({ "email": "ada@example.com", "email_verified": true })), (ada(), true));
        assert_eq!(address(json!({ "email": "ada@example.com", "email_verified": "true" })), (ada(), true));
        assert_eq!(address(json!({ "email": "ada@example.com" })), (ada(), false));
        assert_eq!(address(json!({ "email": "ada@example.com", "email_verified": 1 })), (ada(), false));
        assert_eq!(address(json!({ "email": "ada@example.com", "email_verified": false })), (None, false));
        for wrong in ["", "ada", "@example.com", "ada@", "a b@example.com", "ada@a@b", "a\u{0}@b", &format!("a@{}", "b".repeat(320))] {
            assert_eq!(address(json!({ "email": wrong })).0, None, "{wrong:?}");
        }
    }

    #[test]
    fn a_name_is_what_there_is() {
        let name = |claims: Value| user(claims, "groups").name;
        assert_eq!(name(json!({ "name": " Ada\u{0} Lovelace ", "email": "a@b" })).as_deref(), Some("Ada Lovelace"));
        assert_eq!(name(json!({ "name": "", "preferred_username": "ada" })).as_deref(), Some("ada"));
        assert_eq!(name(json!({ "email": "a@b" })).as_deref(), Some("a@b"));
        assert_eq!(name(json!({ "name": 7 })), None);
        assert_eq!(name(json!({ "name": "x".repeat(300) })).map(|name| name.len()), Some(200));
    }
}
