//! For developers who run the server on their own machine (platform facts §6.6): everybody is an admin. The program refuses it where it
//! would be production.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Account, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use checkstack_platform::identity::{Identity, NotIdentified};
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::credential::Credential;
use crate::principals::Principals;

const ID: &str = "dev-user";
const NAME: &str = "Dev User";
const EMAIL: &str = "dev@checkstack.local";

/// See the module.
pub(crate) struct DevIdentity {
    principals: Principals,
    user: Principal,
}

impl DevIdentity {
    pub(crate) fn new(principals: Principals) -> Self {
        let account = Account { id: ID.to_owned(), name: NAME.to_owned(), permissions: Permissions::All, teams: BTreeSet::new() };
        Self { principals, user: Principal::User(Arc::new(account)) }
    }
}

/// What `/api/auth/get-session` says of a session that does not end.
pub(crate) fn session() -> Value {
    json!({ "session": { "userId": ID, "expiresAt": null }, "user": { "id": ID, "email": EMAIL, "name": NAME } })
}

#[async_trait]
impl Identity for DevIdentity {
    /// Services are who they show to be.
    async fn principal(&self, headers: &HeaderMap) -> Result<Option<Principal>, NotIdentified> {
        match Credential::of(headers) {
            Some(Credential::Service(_)) => self.principals.principal(headers).await,
            _ => Ok(Some(self.user.clone())),
        }
    }

    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified> {
        Ok(Arc::new(Permissions::None))
    }

    async fn team_grants(
        &self,
        _: Option<&Principal>,
        _: &RuleId,
        objects: &[String],
    ) -> Result<BTreeMap<String, TeamGrants>, NotIdentified> {
        let granted = TeamGrants { team_only: false, any: true, matching: true };
        Ok(objects.iter().map(|object| (object.clone(), granted.clone())).collect())
    }

    async fn users_granted(&self, users: &[String], _: &RuleId) -> Result<BTreeSet<String>, NotIdentified> {
        Ok(users.iter().cloned().collect())
    }

    fn withhold(&self, headers: &mut HeaderMap) {
        self.principals.withhold(headers);
    }

    async fn rules_defined(&self, rules: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified> {
        self.principals.rules_defined(rules).await
    }

    async fn key_set(&self) -> Result<Option<Value>, NotIdentified> {
        self.principals.key_set().await
    }

    async fn credentials(&self, service: &PluginId) -> Result<HeaderValue, NotIdentified> {
        self.principals.credentials(service).await
    }

    async fn forget_plugin(&self, plugin: &PluginId) -> Result<(), NotIdentified> {
        self.principals.forget_plugin(plugin).await
    }
}
