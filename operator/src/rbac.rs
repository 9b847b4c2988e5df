//! What the operator may do in the API server: the one place where it is written down. The chart's
//! roles are compared with it, and the control-plane tests run with exactly these rights.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Rights in every namespace that the operator looks after.
pub fn rules() -> Vec<PolicyRule> {
    vec![
        rule("checkstack.io", &["checkstacks"], &["get", "list", "watch"]),
        // Patched for the finalizer.
        rule("checkstack.io", &["checkstackplugins"], &["get", "list", "watch", "patch"]),
        rule("checkstack.io", &["checkstacks/status", "checkstackplugins/status"], &["patch"]),
        rule("apps", &["deployments"], &["get", "list", "watch", "create", "patch"]),
        rule("apps", &["controllerrevisions"], &["list", "create", "delete"]),
        rule("", &["services", "serviceaccounts", "configmaps"], &["get", "list", "watch", "create", "patch"]),
        // By name only: with list or watch the operator would see every Secret.
        rule("", &["secrets"], &["get", "create", "patch"]),
        rule("", &["pods"], &["list", "watch"]),
        rule("policy", &["poddisruptionbudgets"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("networking.k8s.io", &["networkpolicies"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]
}

/// Rights in the operator's own namespace: leader election.
pub fn leader_election_rules() -> Vec<PolicyRule> {
    vec![rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])]
}

/// Both, as the document that the chart's roles are made from: `watched` for the namespaces that
/// the operator looks after, `own` for its own.
///
/// # Errors
/// The rules cannot be written as YAML.
pub fn to_yaml() -> Result<String, serde_yaml::Error> {
    #[derive(serde::Serialize)]
    struct Document {
        watched: Vec<PolicyRule>,
        own: Vec<PolicyRule>,
    }
    let document = serde_yaml::to_string(&Document { watched: rules(), own: leader_election_rules() })?;
    Ok(format!("# Written by `checkstack-operator rbac`.\n{document}"))
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    PolicyRule { api_groups: Some(owned(&[group])), resources: Some(owned(resources)), verbs: owned(verbs), ..PolicyRule::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_by_a_star() {
        for rule in rules().into_iter().chain(leader_election_rules()) {
            let all = [rule.api_groups.clone().unwrap(), rule.resources.clone().unwrap(), rule.verbs.clone()].concat();
            assert!(!all.iter().any(|word| word.contains('*')), "{rule:?}");
        }
    }

    #[test]
    fn secrets_can_be_neither_listed_nor_watched_nor_deleted() {
        let secrets: Vec<_> = rules().into_iter().filter(|rule| rule.resources.clone().unwrap().contains(&"secrets".to_owned())).collect();
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].verbs, ["get", "create", "patch"]);
    }
}
