//! Who may call a procedure. One function for all plugins, native and sandboxed.

use checkstack_plugin_package::PluginId;
use serde::{Deserialize, Serialize};

use crate::access::{Account, Permissions, Principal, RuleId};
use crate::error::{CallError, ErrorCode};

/// For whom a procedure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserType {
    /// Everybody, without any check.
    Anonymous,
    /// Everybody whose role has the rules; one who has not shown who they are has the role `anonymous`.
    Public,
    /// Whoever has shown who they are.
    #[default]
    Authenticated,
    /// People only.
    User,
    /// Plugins only.
    Service,
}

/// Where in a call the object is named that a team may have been granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InstanceAccess {
    /// A path of fields, joined by dots, to its id in the input.
    IdParam(String),
    /// The field of the output that lists objects, each with an `id`: others are left out.
    ListKey(String),
    /// The field of the output that has objects by id: others are left out.
    RecordKey(String),
}

/// What a procedure asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirement {
    /// For whom it is.
    pub user_type: UserType,
    /// All of which the caller needs.
    pub rules: Vec<RuleId>,
    /// Where the object is named that the rules are about. None: the rules are about the instance as a whole.
    pub instance_access: Option<InstanceAccess>,
    /// Which plugins may call it: ids, or what an id begins with and `*`. Empty: all.
    pub service_scope: Vec<String>,
}

/// The call may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission<'a> {
    /// And nothing more has to be looked at.
    Granted,
    /// For objects that a team of the caller has been granted, and for all others where `global` is true and no team has
    /// them for itself.
    Instance {
        /// Where they are named.
        access: &'a InstanceAccess,
        /// Rules, each with whether the caller has it for the instance as a whole.
        rules: Vec<(&'a RuleId, bool)>,
    },
}

/// Decides. `anonymous` is what the role `anonymous` may do.
///
/// # Errors
/// 401 or 403, with what is missing.
pub fn admit<'a>(requirement: &'a Requirement, principal: Option<&Principal>, anonymous: &Permissions) -> Result<Admission<'a>, CallError> {
    match (requirement.user_type, principal) {
        (UserType::Anonymous, _) => Ok(Admission::Granted),
        (UserType::Public, None) => {
            let refused = |_: &RuleId| forbidden("Anonymous access not permitted for this resource");
            with_rules(requirement, anonymous, refused)
        }
        (_, None) => Err(CallError::with_message(ErrorCode::Unauthorized, "Authentication required")),
        (UserType::User, Some(Principal::Application(_) | Principal::Service(_))) => Err(forbidden("This endpoint is for users only")),
        (UserType::Service, Some(Principal::User(_) | Principal::Application(_))) => Err(forbidden("This endpoint is for services only")),
        // Plugins are trusted with what they are let near to.
        (_, Some(Principal::Service(plugin))) if is_in_scope(&requirement.service_scope, plugin) => Ok(Admission::Granted),
        (_, Some(Principal::Service(plugin))) => Err(forbidden(format!("Service '{plugin}' is not allowed to call this endpoint"))),
        (_, Some(Principal::User(account) | Principal::Application(account))) => for_account(requirement, account),
    }
}

fn for_account<'a>(requirement: &'a Requirement, account: &Account) -> Result<Admission<'a>, CallError> {
    with_rules(requirement, &account.permissions, |rule| forbidden(format!("Missing access: {rule}")))
}

fn with_rules<'a>(
    requirement: &'a Requirement,
    permissions: &Permissions,
    refused: impl Fn(&RuleId) -> CallError,
) -> Result<Admission<'a>, CallError> {
    if let Some(access) = &requirement.instance_access {
        let rules = requirement.rules.iter().map(|rule| (rule, permissions.contain(rule))).collect();
        return Ok(Admission::Instance { access, rules });
    }
    match requirement.rules.iter().find(|rule| !permissions.contain(rule)) {
        Some(missing) => Err(refused(missing)),
        None => Ok(Admission::Granted),
    }
}

fn is_in_scope(scope: &[String], plugin: &PluginId) -> bool {
    let covers = |entry: &String| match entry.strip_suffix('*') {
        Some(prefix) => plugin.as_str().starts_with(prefix),
        None => entry == plugin.as_str(),
    };
    scope.is_empty() || scope.iter().any(covers)
}

fn forbidden(message: impl Into<String>) -> CallError {
    CallError::with_message(ErrorCode::Forbidden, message)
}

/// What teams were granted of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamGrants {
    /// Whether teams have it for themselves.
    pub team_only: bool,
    /// Whether any team was granted anything.
    pub any: bool,
    /// Whether a team of the caller was granted what the rule lets one do.
    pub matching: bool,
}

/// Whether an object may be touched by somebody who has the rule for the instance as a whole, or not.
#[must_use]
pub fn admit_to_object(global: bool, grants: &TeamGrants) -> bool {
    match grants {
        TeamGrants { any: false, team_only: false, .. } => global,
        TeamGrants { team_only: true, matching, .. } => *matching,
        TeamGrants { matching, .. } => global || *matching,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> RuleId {
        text.parse().unwrap()
    }

    fn account(rules: &[&str]) -> Arc<Account> {
        let permissions = match rules {
            ["*"] => Permissions::All,
            rules => Permissions::These(rules.iter().map(|text| rule(text)).collect()),
        };
        Arc::new(Account { id: "1".into(), name: "Ada".into(), permissions, teams: [].into() })
    }

    fn requirement(user_type: UserType, rules: &[&str]) -> Requirement {
        Requirement { user_type, rules: rules.iter().map(|text| rule(text)).collect(), ..Requirement::default() }
    }

    fn refusal(requirement: &Requirement, principal: Option<&Principal>) -> Option<(u16, String)> {
        let anonymous = Permissions::These([rule("catalog.system.read")].into());
        let error = admit(requirement, principal, &anonymous).err()?;
        Some((error.code.status().as_u16(), error.message.unwrap()))
    }

    const USER_TYPES: [UserType; 5] = [UserType::Anonymous, UserType::Public, UserType::Authenticated, UserType::User, UserType::Service];

    #[test]
    fn the_table() {
        let (read, manage) = (["catalog.system.read"], ["catalog.system.manage"]);
        let (user, application) = (Principal::User(account(&read)), Principal::Application(account(&read)));
        let service = Principal::Service("reports".parse().unwrap());
        let missing = Some((403, "Missing access: catalog.system.manage".to_owned()));
        let said = |status: u16, text: &str| Some((status, text.to_owned()));
        let cases = [
            (UserType::Anonymous, None, None),
            (UserType::Public, None, said(403, "Anonymous access not permitted for this resource")),
            (UserType::Public, Some(&user), missing.clone()),
            (UserType::Public, Some(&application), missing.clone()),
            (UserType::Public, Some(&service), None),
            (UserType::Authenticated, None, said(401, "Authentication required")),
            (UserType::Authenticated, Some(&user), missing.clone()),
            (UserType::Authenticated, Some(&application), missing.clone()),
            (UserType::Authenticated, Some(&service), None),
            (UserType::User, None, said(401, "Authentication required")),
            (UserType::User, Some(&user), missing),
            (UserType::User, Some(&application), said(403, "This endpoint is for users only")),
            (UserType::User, Some(&service), said(403, "This endpoint is for users only")),
            (UserType::Service, None, said(401, "Authentication required")),
            (UserType::Service, Some(&user), said(403, "This endpoint is for services only")),
            (UserType::Service, Some(&application), said(403, "This endpoint is for services only")),
            (UserType::Service, Some(&service), None),
        ];
        for (user_type, principal, expected) in cases {
            assert_eq!(refusal(&requirement(user_type, &manage), principal), expected, "{user_type:?} {principal:?}");
        }
        for (user_type, principal) in [(UserType::Public, None), (UserType::Authenticated, Some(&user)), (UserType::User, Some(&user))] {
            assert_eq!(refusal(&requirement(user_type, &read), principal), None, "{user_type:?}");
        }
    }

    #[test]
    fn a_plugin_is_let_near_to_what_names_it() {
        let scoped = |scope: &[&str]| Requirement {
            service_scope: scope.iter().map(|entry| (*entry).to_owned()).collect(),
            ..requirement(UserType::Service, &["catalog.system.manage"])
        };
        let reports = Principal::Service("reports".parse().unwrap());
        for scope in [&[][..], &["reports"], &["other", "rep*"], &["*"]] {
            assert_eq!(refusal(&scoped(scope), Some(&reports)), None, "{scope:?}");
        }
        let refused = Some((403, "Service 'reports' is not allowed to call this endpoint".to_owned()));
        for scope in [&["report"][..], &["reports-2"], &["*reports"], &["x*"]] {
            assert_eq!(refusal(&scoped(scope), Some(&reports)), refused, "{scope:?}");
        }
    }

    #[test]
    fn what_is_about_one_object_is_decided_when_the_object_is_known() {
        let access = InstanceAccess::IdParam("systemId".into());
        let about = |user_type| Requirement {
            instance_access: Some(access.clone()),
            ..requirement(user_type, &["catalog.system.read", "catalog.system.manage"])
        };
        let (needed, ada) = (about(UserType::User), Principal::User(account(&["catalog.system.read"])));
        let admission = admit(&needed, Some(&ada), &Permissions::None).unwrap();
        let rules = vec![(&needed.rules[0], true), (&needed.rules[1], false)];
        assert_eq!(admission, Admission::Instance { access: &access, rules });
        // One who has not shown who they are is asked first, and in no team.
        assert_eq!(refusal(&needed, None), Some((401, "Authentication required".to_owned())));
        let open = about(UserType::Public);
        let admission = admit(&open, None, &Permissions::None).unwrap();
        assert_eq!(admission, Admission::Instance { access: &access, rules: vec![(&open.rules[0], false), (&open.rules[1], false)] });
    }

    #[test]
    fn teams_add_to_what_one_may_and_can_have_something_for_themselves() {
        let grants = |any, team_only, matching| TeamGrants { team_only, any, matching };
        assert!(admit_to_object(true, &grants(false, false, false)));
        assert!(!admit_to_object(false, &grants(false, false, false)));
        assert!(admit_to_object(true, &grants(true, false, false)));
        assert!(admit_to_object(false, &grants(true, false, true)));
        assert!(!admit_to_object(false, &grants(true, false, false)));
        assert!(!admit_to_object(true, &grants(true, true, false)));
        assert!(admit_to_object(false, &grants(true, true, true)));
        assert!(!admit_to_object(true, &grants(false, true, false)), "nobody has it yet");
    }

    proptest! {
        /// More permissions never close a door, and without any only doors open that ask for none.
        #[test]
        fn permissions_only_add(kind in 0_usize..5, needed in prop::collection::vec(0_usize..3, 0..3), held in prop::collection::btree_set(0_usize..3, 0..3), more in 0_usize..3) {
            const RULES: [&str; 3] = ["a.x.read", "a.x.manage", "b.y.read"];
            let needed: Vec<&str> = needed.into_iter().map(|index| RULES[index]).collect();
            let requirement = requirement(USER_TYPES[kind], &needed);
            let names = |held: &std::collections::BTreeSet<usize>| held.iter().map(|index| RULES[*index]).collect::<Vec<_>>();
            let mut larger = held.clone();
            larger.insert(more);
            let ada = |held: &std::collections::BTreeSet<usize>| Principal::User(account(&names(held)));
            let allowed = refusal(&requirement, Some(&ada(&held))).is_none();
            prop_assert!(!allowed || refusal(&requirement, Some(&ada(&larger))).is_none());
            let has_all = needed.iter().all(|rule| names(&held).contains(rule));
            let expected = match requirement.user_type {
                UserType::Anonymous => true,
                UserType::Service => false,
                UserType::Public | UserType::Authenticated | UserType::User => has_all,
            };
            prop_assert_eq!(allowed, expected);
        }
    }
}
