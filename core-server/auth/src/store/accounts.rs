//! What is known about whoever makes a request: everything that one question to the database can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use checkstack_calls::access::{Account, Level, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Store, StoreError, sessions};
use crate::credential::{ApplicationKey, SecretDigest, SessionToken};
use crate::session_lifetime::SessionLifetime;

/// The role that may do everything.
pub(crate) const ADMIN: &str = "admin";
/// That of everybody who signs in.
pub(crate) const USERS: &str = "users";
/// That of whoever does not.
pub(crate) const ANONYMOUS: &str = "anonymous";
/// That of every application.
pub(crate) const APPLICATIONS: &str = "applications";

/// Somebody whose session may be worth prolonging.
#[derive(FromRow)]
struct InSession {
    #[sqlx(flatten)]
    account: AccountRow,
    is_due: bool,
}

#[derive(FromRow)]
struct AccountRow {
    id: Uuid,
    name: String,
    is_admin: bool,
    rules: Vec<String>,
    teams: Vec<Uuid>,
}

impl AccountRow {
    fn into_account(self) -> Arc<Account> {
        let permissions = if self.is_admin { Permissions::All } else { Permissions::These(rule_ids(&self.rules)) };
        let teams = self.teams.iter().map(Uuid::to_string).collect();
        Arc::new(Account { id: self.id.to_string(), name: self.name, permissions, teams })
    }
}

/// What is no rule any more is none.
fn rule_ids(texts: &[String]) -> BTreeSet<RuleId> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl Store {
    /// The user of a session that has not ended. Using it prolongs it, now and then.
    pub(crate) async fn user_of_session(&self, token: &SessionToken, lifetime: SessionLifetime) -> Result<Option<Principal>, StoreError> {
        let digest = token.digest();
        let row: Option<InSession> = self
            .read(move |connection| {
                Box::pin(async move {
                    let row: Option<InSession> = sqlx::query_as(
                        "WITH member AS (
                             SELECT u.id, u.name,
                                 coalesce(s.expires_at < s.ends_at_latest AND s.expires_at < now() + make_interval(secs => $4), false)
                                     AS is_due
                             FROM plugin_auth.sessions s JOIN plugin_auth.users u ON u.id = s.user_id
                             WHERE s.token_digest = $1 AND s.expires_at > now()
                         ), held AS (
                             SELECT role_id FROM plugin_auth.user_roles WHERE user_id = (SELECT id FROM member) UNION SELECT $2
                         )
                         SELECT id, name, is_due,
                             EXISTS (SELECT FROM held WHERE role_id = $3) AS is_admin,
                             ARRAY(SELECT DISTINCT rule_id FROM plugin_auth.role_access_rules JOIN held USING (role_id)) AS rules,
                             ARRAY(SELECT team_id FROM plugin_auth.team_users WHERE user_id = member.id) AS teams
                         FROM member",
                    )
                    .bind(digest.to_vec())
                    .bind(USERS)
                    .bind(ADMIN)
                    .bind(lifetime.prolonged_below().as_secs_f64())
                    .fetch_optional(&mut *connection)
                    .await?;
                    if row.as_ref().is_some_and(|row| row.is_due) {
                        sessions::prolong(connection, digest, lifetime).await?;
                    }
                    Ok(row)
                })
            })
            .await?;
        Ok(row.map(|row| Principal::User(row.account.into_account())))
    }

    /// The application with this key. That it was used is noted, once a minute.
    pub(crate) async fn application_with(&self, key: &ApplicationKey) -> Result<Option<Principal>, StoreError> {
        let (id, digest): (Uuid, SecretDigest) = (key.id, key.secret_digest());
        let row: Option<AccountRow> = self
            .read(move |connection| {
                Box::pin(async move {
                    let row = sqlx::query_as(
                        "WITH member AS (
                             SELECT id, name FROM plugin_auth.applications WHERE id = $1 AND secret_digest = $2
                         ), held AS (
                             SELECT role_id FROM plugin_auth.application_roles WHERE application_id = (SELECT id FROM member) UNION SELECT $3
                         )
                         SELECT id, name,
                             EXISTS (SELECT FROM held WHERE role_id = $4) AS is_admin,
                             ARRAY(SELECT DISTINCT rule_id FROM plugin_auth.role_access_rules JOIN held USING (role_id)) AS rules,
                             ARRAY(SELECT team_id FROM plugin_auth.team_applications WHERE application_id = member.id) AS teams
                         FROM member",
                    )
                    .bind(id)
                    .bind(digest.to_vec())
                    .bind(APPLICATIONS)
                    .bind(ADMIN)
                    .fetch_optional(&mut *connection)
                    .await?;
                    if row.is_some() {
                        sqlx::query(
                            "UPDATE plugin_auth.applications SET last_used_at = now()
                             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
                        )
                        .bind(id)
                        .execute(connection)
                        .await?;
                    }
                    Ok(row)
                })
            })
            .await?;
        Ok(row.map(|row| Principal::Application(row.into_account())))
    }

    /// What the role `anonymous` may do.
    pub(crate) async fn anonymous_permissions(&self) -> Result<Permissions, StoreError> {
        let rules: Vec<String> = self
            .read(|connection| {
                Box::pin(
                    sqlx::query_scalar("SELECT rule_id FROM plugin_auth.role_access_rules WHERE role_id = $1")
                        .bind(ANONYMOUS)
                        .fetch_all(connection),
                )
            })
            .await?;
        Ok(Permissions::These(rule_ids(&rules)))
    }

    /// What teams were granted of objects of one type, as it concerns these teams.
    pub(crate) async fn grants_of(
        &self,
        teams: &BTreeSet<String>,
        resource_type: String,
        level: Level,
        objects: Vec<String>,
    ) -> Result<BTreeMap<String, TeamGrants>, StoreError> {
        let teams: Vec<Uuid> = teams.iter().filter_map(|team| team.parse().ok()).collect();
        let rows: Vec<(String, bool, bool, bool)> = self
            .read(move |connection| {
                Box::pin(
                    sqlx::query_as(
                        "SELECT resource_id, bool_or(team_only), bool_or(granted), bool_or(matching) FROM (
                             SELECT resource_id, false AS team_only, true AS granted,
                                    team_id = ANY($3) AND CASE WHEN $4 THEN can_manage ELSE can_read END AS matching
                             FROM plugin_auth.team_grants WHERE resource_type = $1 AND resource_id = ANY($2)
                             UNION ALL
                             SELECT resource_id, true, false, false
                             FROM plugin_auth.team_only_objects WHERE resource_type = $1 AND resource_id = ANY($2)
                         ) AS found GROUP BY resource_id",
                    )
                    .bind(resource_type)
                    .bind(objects)
                    .bind(teams)
                    .bind(level == Level::Manage)
                    .fetch_all(connection),
                )
            })
            .await?;
        let grants = |(id, team_only, any, matching)| (id, TeamGrants { team_only, any, matching });
        Ok(rows.into_iter().map(grants).collect())
    }
}
