//! Roles, and the access rules that they contain.

use std::collections::{BTreeMap, BTreeSet};

use checkstack_calls::access::{AccessRule, Permissions, RuleId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection};

use super::accounts::{ADMIN, ANONYMOUS, USERS};
use super::{Actor, Store, StoreError, audit, conflict};

/// A set of permissions with a name.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Cannot be deleted.
    pub(crate) is_system: bool,
    /// Ids of access rules. The role `admin` needs none.
    pub(crate) access_rules: Vec<String>,
}

/// A permission that a plugin defines.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleInfo {
    pub(crate) id: String,
    pub(crate) description: String,
    /// Granted to the role `users` when it was first defined.
    pub(crate) is_default: bool,
    /// Granted to the role `anonymous` when it was first defined.
    pub(crate) is_public: bool,
}

impl Store {
    pub(crate) async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as(
                    "SELECT id, name, description, is_system,
                            ARRAY(SELECT rule_id FROM plugin_auth.role_access_rules WHERE role_id = r.id ORDER BY 1) AS access_rules
                     FROM plugin_auth.roles r ORDER BY is_system DESC, id LIMIT 1000",
                )
                .fetch_all(connection),
            )
        })
        .await
    }

    pub(crate) async fn access_rules(&self) -> Result<Vec<RuleInfo>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as("SELECT id, description, is_default, is_public FROM plugin_auth.access_rules ORDER BY id")
                    .fetch_all(connection),
            )
        })
        .await
    }

    pub(crate) async fn create_role(
        &self,
        actor: Actor,
        id: String,
        name: String,
        description: String,
        rules: BTreeSet<String>,
    ) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                ensure_held(&actor, &rules)?;
                sqlx::query("INSERT INTO plugin_auth.roles (id, name, description) VALUES ($1, $2, $3)")
                    .bind(&id)
                    .bind(&name)
                    .bind(description)
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| conflict(error, "roles_pkey", || format!("there is a role '{id}' already")))?;
                set_rules(connection, &id, &rules).await?;
                audit::record(connection, &actor, "role.create", &format!("role:{id}"), json!({ "name": name, "accessRules": rules }))
                    .await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn set_role_rules(&self, actor: Actor, id: String, rules: BTreeSet<String>) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let found = sqlx::query("SELECT FROM plugin_auth.roles WHERE id = $1 FOR UPDATE")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?;
                found.ok_or_else(|| no_role(&id))?;
                ensure_within(connection, &actor, std::slice::from_ref(&id)).await?;
                ensure_held(&actor, &rules)?;
                set_rules(connection, &id, &rules).await?;
                audit::record(connection, &actor, "role.set-access-rules", &format!("role:{id}"), json!({ "accessRules": rules })).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn delete_role(&self, actor: Actor, id: String) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let is_system: Option<bool> = sqlx::query_scalar("SELECT is_system FROM plugin_auth.roles WHERE id = $1 FOR UPDATE")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?;
                if is_system.ok_or_else(|| no_role(&id))? {
                    return Err(StoreError::Conflict(format!("the role '{id}' belongs to the system and cannot be deleted")));
                }
                ensure_within(connection, &actor, std::slice::from_ref(&id)).await?;
                sqlx::query("DELETE FROM plugin_auth.roles WHERE id = $1").bind(&id).execute(&mut *connection).await?;
                audit::record(connection, &actor, "role.delete", &format!("role:{id}"), json!({})).await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes note of rules that plugins define. What is new, or has newly become a default, is granted to the roles that it is for;
    /// what an admin has taken from a role is not given back.
    pub(crate) async fn define_rules(&self, rules: &BTreeMap<RuleId, AccessRule>) -> Result<bool, StoreError> {
        let ids: Vec<String> = rules.keys().map(ToString::to_string).collect();
        let descriptions: Vec<String> = rules.values().map(|rule| rule.description.clone()).collect();
        let defaults: Vec<bool> = rules.values().map(|rule| rule.is_default).collect();
        let publics: Vec<bool> = rules.values().map(|rule| rule.is_public).collect();
        let known = "SELECT count(*) = cardinality($1::text[])
                     FROM unnest($1, $2::text[], $3::boolean[], $4::boolean[]) AS defined (id, description, is_default, is_public)
                     JOIN plugin_auth.access_rules USING (id, description, is_default, is_public)";
        self.change(move |connection| {
            Box::pin(async move {
                let known = sqlx::query_scalar(known).bind(&ids).bind(&descriptions).bind(&defaults).bind(&publics);
                if known.fetch_one(&mut *connection).await? {
                    return Ok(false);
                }
                // Replicas do it one after the other.
                sqlx::query("LOCK TABLE plugin_auth.access_rules IN SHARE ROW EXCLUSIVE MODE").execute(&mut *connection).await?;
                let before: Vec<(String, bool, bool)> =
                    sqlx::query_as("SELECT id, is_default, is_public FROM plugin_auth.access_rules WHERE id = ANY($1)")
                        .bind(&ids)
                        .fetch_all(&mut *connection)
                        .await?;
                sqlx::query(
                    "INSERT INTO plugin_auth.access_rules (id, description, is_default, is_public)
                     SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[], $4::boolean[])
                     ON CONFLICT (id) DO UPDATE
                     SET description = excluded.description, is_default = excluded.is_default, is_public = excluded.is_public",
                )
                .bind(&ids)
                .bind(&descriptions)
                .bind(&defaults)
                .bind(&publics)
                .execute(&mut *connection)
                .await?;
                let was = |id: &str, flag: fn(&(String, bool, bool)) -> bool| before.iter().any(|row| row.0 == id && flag(row));
                let newly = |flags: &[bool], flag: fn(&(String, bool, bool)) -> bool| -> Vec<String> {
                    ids.iter().zip(flags).filter(|(id, is)| **is && !was(id, flag)).map(|(id, _)| id.clone()).collect()
                };
                for (role, granted) in [(USERS, newly(&defaults, |row| row.1)), (ANONYMOUS, newly(&publics, |row| row.2))] {
                    sqlx::query(
                        "INSERT INTO plugin_auth.role_access_rules (role_id, rule_id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
                    )
                    .bind(role)
                    .bind(granted)
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(true)
            })
        })
        .await
    }
}

/// Whether somebody may do all that these roles permit: who may not, neither gives them nor changes who has them. Else whoever
/// manages users could make themselves an admin.
pub(super) async fn ensure_within(connection: &mut PgConnection, actor: &Actor, roles: &[String]) -> Result<(), StoreError> {
    if actor.may == Permissions::All {
        return Ok(());
    }
    if roles.iter().any(|role| role == ADMIN) {
        return Err(StoreError::Forbidden("only an admin gives the role 'admin', and changes who has it".to_owned()));
    }
    let rules: Vec<String> = sqlx::query_scalar("SELECT DISTINCT rule_id FROM plugin_auth.role_access_rules WHERE role_id = ANY($1)")
        .bind(roles)
        .fetch_all(connection)
        .await?;
    ensure_held(actor, &rules)
}

fn ensure_held<'a>(actor: &Actor, rules: impl IntoIterator<Item = &'a String>) -> Result<(), StoreError> {
    // Every rule, those included that cannot be read.
    let lacks = |rule: &&String| actor.may != Permissions::All && !rule.parse().is_ok_and(|rule| actor.may.contain(&rule));
    match rules.into_iter().find(lacks) {
        Some(rule) => Err(StoreError::Forbidden(format!("'{rule}' is more than you may do yourself"))),
        None => Ok(()),
    }
}

/// So that a wrong id is told by its name.
pub(super) async fn ensure_known(connection: &mut PgConnection, roles: &[String]) -> Result<(), StoreError> {
    let unknown: Option<String> =
        sqlx::query_scalar("SELECT id FROM unnest($1::text[]) AS id WHERE id NOT IN (SELECT id FROM plugin_auth.roles) LIMIT 1")
            .bind(roles)
            .fetch_optional(connection)
            .await?;
    unknown.map_or(Ok(()), |id| Err(no_role(&id)))
}

async fn set_rules(connection: &mut PgConnection, role: &str, rules: &BTreeSet<String>) -> Result<(), StoreError> {
    let rules: Vec<String> = rules.iter().cloned().collect();
    let unknown: Option<String> =
        sqlx::query_scalar("SELECT id FROM unnest($1::text[]) AS id WHERE id NOT IN (SELECT id FROM plugin_auth.access_rules) LIMIT 1")
            .bind(&rules)
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(id) = unknown {
        return Err(StoreError::NotFound(format!("there is no access rule '{id}'")));
    }
    sqlx::query("DELETE FROM plugin_auth.role_access_rules WHERE role_id = $1").bind(role).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO plugin_auth.role_access_rules (role_id, rule_id) SELECT $1, unnest($2::text[])")
        .bind(role)
        .bind(rules)
        .execute(connection)
        .await?;
    Ok(())
}

fn no_role(id: &str) -> StoreError {
    StoreError::NotFound(format!("there is no role '{id}'"))
}
