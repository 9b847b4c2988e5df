//! Who makes a request from outside, and what they may do: answered by the plugin that knows users and applications.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

/// It is not said now. The same question may be answered later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotIdentified {
    /// What knows it does not answer.
    #[error("who makes the request cannot be found out: {0}")]
    Unavailable(String),
    /// Too many have tried with keys that do not count.
    #[error("too many requests with keys that do not count")]
    TooManyAttempts,
}

/// What the platform asks before it lets a call through.
#[async_trait]
pub trait Identity: Send + Sync {
    /// Who a request shows to be its sender. None when it shows nothing, or something that does not count.
    ///
    /// # Errors
    /// When what it shows cannot be checked now.
    async fn principal(&self, headers: &HeaderMap) -> Result<Option<Principal>, NotIdentified>;

    /// What somebody may do who has not shown who they are.
    ///
    /// # Errors
    /// When it is not known now.
    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified>;

    /// What teams have been granted of these objects, as it concerns `principal` and what `rule` lets one do. Objects that
    /// no team has anything to do with may be missing.
    ///
    /// # Errors
    /// When it is not known now.
    async fn team_grants(
        &self,
        principal: Option<&Principal>,
        rule: &RuleId,
        objects: &[String],
    ) -> Result<BTreeMap<String, TeamGrants>, NotIdentified>;

    /// Those of these users who have been granted a rule, by whatever role. Ids of which there is no user are left out. One question, however
    /// many they are.
    ///
    /// # Errors
    /// When it is not known now.
    async fn users_granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, NotIdentified>;

    /// Takes out of the headers of a request, or of an answer, what shows to others who somebody is: plugins from outside
    /// neither see it nor set it.
    fn withhold(&self, headers: &mut HeaderMap);

    /// Told which access rules plugins define: by one that is about to serve, and by all that serve, whenever that changes. They
    /// count from then on.
    ///
    /// # Errors
    /// When it could not be taken note of: it is told again.
    async fn rules_defined(&self, rules: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified>;

    /// The public keys by which tokens of services are known (platform facts §6.2), a JSON Web Key Set. None: there are no such
    /// tokens here.
    ///
    /// # Errors
    /// When it is not known now.
    async fn key_set(&self) -> Result<Option<Value>, NotIdentified> {
        Ok(None)
    }

    /// The value of `Authorization` by which every replica takes a request for one of the plugin `service`, for some minutes. For
    /// parts of the server alone: whoever has it is trusted as that plugin is.
    ///
    /// # Errors
    /// When there is none now.
    async fn credentials(&self, service: &PluginId) -> Result<HeaderValue, NotIdentified> {
        Err(NotIdentified::Unavailable(format!("this server gives the service '{service}' no token")))
    }

    /// Told that a plugin is gone for good, with its data: nobody needs to know its access rules any more.
    ///
    /// # Errors
    /// When it could not be taken note of: it is told again.
    async fn forget_plugin(&self, plugin: &PluginId) -> Result<(), NotIdentified> {
        let _ = plugin;
        Ok(())
    }
}

/// For a server that knows neither users nor applications.
pub(crate) struct Nobody;

#[async_trait]
impl Identity for Nobody {
    async fn principal(&self, _: &HeaderMap) -> Result<Option<Principal>, NotIdentified> {
        Ok(None)
    }

    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified> {
        Ok(Arc::new(Permissions::None))
    }

    async fn team_grants(&self, _: Option<&Principal>, _: &RuleId, _: &[String]) -> Result<BTreeMap<String, TeamGrants>, NotIdentified> {
        Ok(BTreeMap::new())
    }

    async fn users_granted(&self, _: &[String], _: &RuleId) -> Result<BTreeSet<String>, NotIdentified> {
        Err(NotIdentified::Unavailable("nobody here knows users".to_owned()))
    }

    fn withhold(&self, _: &mut HeaderMap) {}

    async fn rules_defined(&self, _: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified> {
        Ok(())
    }
}
