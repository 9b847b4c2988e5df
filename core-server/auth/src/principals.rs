//! Who makes a request. What the database has said is believed for a second, so that a client that calls again and again
//! costs one question a second, and a key that was revoked counts a second longer at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Level, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use checkstack_platform::identity::{Identity, NotIdentified};
use checkstack_platform::native::{CredentialKind, NativeMetrics, RefusalReason};
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, HeaderValue};
use moka::future::Cache;
use serde_json::Value;
use tracing::{error, info};

use crate::attempts::Attempts;
use crate::credential::{self, Credential, SecretDigest};
use crate::service_keys::ServiceKeys;
use crate::session_lifetime::SessionLifetime;
use crate::store::{Store, StoreError};

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(1);
const MAX_BELIEVED: u64 = 10_000;
/// For this long, who was known once may be asked about whatever others try.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Keys and tokens that do not count, of whatever sender, on one replica,
const MAX_UNKNOWN: u32 = 2000;
/// within this time.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub struct Principals {
    store: Store,
    service_keys: Arc<ServiceKeys>,
    session_lifetime: SessionLifetime,
    found: Cache<SecretDigest, Option<Principal>>,
    anonymous: Cache<(), Arc<Permissions>>,
    remembered: Cache<SecretDigest, ()>,
    unknown: Attempts<()>,
    metrics: NativeMetrics,
}

impl Principals {
    pub(crate) fn new(store: Store, service_keys: Arc<ServiceKeys>, session_lifetime: SessionLifetime, metrics: NativeMetrics) -> Self {
        Self {
            store,
            service_keys,
            session_lifetime,
            found: Cache::builder().max_capacity(MAX_BELIEVED).time_to_live(BELIEVED).build(),
            anonymous: Cache::builder().max_capacity(1).time_to_live(BELIEVED).build(),
            remembered: Cache::builder().max_capacity(MAX_BELIEVED).time_to_idle(REMEMBERED).build(),
            unknown: Attempts::new(MAX_UNKNOWN, UNKNOWN_WITHIN),
            metrics,
        }
    }

    /// As it was said a moment ago, or is said now.
    async fn look_up(&self, credential: Credential) -> Result<Option<Principal>, NotIdentified> {
        if let Credential::Service(token) = &credential {
            // Which keys there are is remembered; a token costs nothing but its verification.
            return Ok(self.service_keys.service_of(token).await.map_err(not_identified)?.map(Principal::Service));
        }
        let digest = credential.digest();
        if let Some(found) = self.found.get(&digest).await {
            return Ok(found);
        }
        // One question, however many calls wait for the answer.
        let found = Box::pin(self.found.try_get_with(digest, self.find(credential, digest))).await;
        found.map_err(|problem| problem.as_ref().clone())
    }

    async fn find(&self, credential: Credential, digest: SecretDigest) -> Result<Option<Principal>, NotIdentified> {
        if !self.unknown.may(&()) && !self.remembered.contains_key(&digest) {
            return Err(NotIdentified::TooManyAttempts);
        }
        let found = match &credential {
            Credential::Application(key) => self.store.application_with(key).await,
            Credential::Session(token) => self.store.user_of_session(token, self.session_lifetime).await,
            Credential::Service(_) | Credential::Malformed => Ok(None),
        };
        let found = found.map_err(not_identified)?;
        match found {
            Some(_) => self.remembered.insert(digest, ()).await,
            None => self.unknown.failed(()),
        }
        Ok(found)
    }
}

#[async_trait]
impl Identity for Principals {
    async fn principal(&self, headers: &HeaderMap) -> Result<Option<Principal>, NotIdentified> {
        let Some(credential) = Credential::of(headers) else { return Ok(None) };
        let kind = match &credential {
            Credential::Application(_) => CredentialKind::ApplicationKey,
            Credential::Session(_) => CredentialKind::Session,
            Credential::Service(_) => CredentialKind::ServiceToken,
            Credential::Malformed => CredentialKind::Malformed,
        };
        let found = self.look_up(credential).await;
        match &found {
            Ok(None) => self.metrics.credential_refused(kind, RefusalReason::Unknown),
            Err(NotIdentified::TooManyAttempts) => self.metrics.credential_refused(kind, RefusalReason::TooMany),
            Ok(Some(_)) | Err(NotIdentified::Unavailable(_)) => {}
        }
        found
    }

    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified> {
        let load = async { self.store.anonymous_permissions().await.map(Arc::new).map_err(not_identified) };
        if let Some(permissions) = self.anonymous.get(&()).await {
            return Ok(permissions);
        }
        Box::pin(self.anonymous.try_get_with((), load)).await.map_err(|problem| problem.as_ref().clone())
    }

    async fn team_grants(
        &self,
        principal: Option<&Principal>,
        rule: &RuleId,
        objects: &[String],
    ) -> Result<BTreeMap<String, TeamGrants>, NotIdentified> {
        if objects.is_empty() {
            return Ok(BTreeMap::new());
        }
        let none = BTreeSet::new();
        let teams = match principal {
            Some(Principal::User(account) | Principal::Application(account)) => &account.teams,
            Some(Principal::Service(_)) | None => &none,
        };
        let resource_type = format!("{}.{}", rule.plugin(), rule.resource());
        let level: Level = rule.level();
        self.store.grants_of(teams, resource_type, level, objects.to_vec()).await.map_err(not_identified)
    }

    async fn users_granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, NotIdentified> {
        self.store.users_granted(users, rule).await.map_err(not_identified)
    }

    fn withhold(&self, headers: &mut HeaderMap) {
        credential::withhold(headers);
    }

    async fn rules_defined(&self, rules: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified> {
        if self.store.define_rules(rules).await.map_err(not_identified)? {
            // What is believed of anybody may be less than they have been granted with the rules.
            self.anonymous.invalidate_all();
            self.found.invalidate_all();
        }
        Ok(())
    }

    async fn key_set(&self) -> Result<Option<Value>, NotIdentified> {
        self.service_keys.key_set().await.map(Some).map_err(not_identified)
    }

    async fn credentials(&self, service: &PluginId) -> Result<HeaderValue, NotIdentified> {
        let token = self.service_keys.token(service).await.map_err(|problem| {
            error!(%service, %problem, "a service gets no token");
            NotIdentified::Unavailable(problem.to_string())
        })?;
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|problem| NotIdentified::Unavailable(problem.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn forget_plugin(&self, plugin: &PluginId) -> Result<(), NotIdentified> {
        if self.store.forget_plugin(plugin).await.map_err(not_identified)? {
            info!(%plugin, "forgot the plugin's access rules and who had them");
        }
        Ok(())
    }
}

fn not_identified(problem: StoreError) -> NotIdentified {
    NotIdentified::Unavailable(problem.to_string())
}
