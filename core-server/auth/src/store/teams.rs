//! Teams, and what they were granted of single objects.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Actor, Store, StoreError, audit, conflict};

/// People and programs that are granted things together.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Ids.
    pub(crate) users: Vec<String>,
    /// Ids.
    pub(crate) applications: Vec<String>,
}

/// What one team was granted of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TeamGrant {
    pub(crate) team_id: String,
    pub(crate) can_read: bool,
    pub(crate) can_manage: bool,
}

impl Store {
    pub(crate) async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as(
                    "SELECT id::text, name, description,
                            ARRAY(SELECT user_id::text FROM plugin_auth.team_users WHERE team_id = t.id ORDER BY 1) AS users,
                            ARRAY(SELECT application_id::text FROM plugin_auth.team_applications WHERE team_id = t.id ORDER BY 1) AS applications
                     FROM plugin_auth.teams t ORDER BY name LIMIT 1000",
                )
                .fetch_all(connection),
            )
        })
        .await
    }

    pub(crate) async fn create_team(&self, actor: Actor, name: String, description: String) -> Result<String, StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let id: Uuid = sqlx::query_scalar("INSERT INTO plugin_auth.teams (name, description) VALUES ($1, $2) RETURNING id")
                    .bind(&name)
                    .bind(description)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| conflict(error, "teams_name_key", || format!("there is a team '{name}' already")))?;
                audit::record(connection, &actor, "team.create", &format!("team:{id}"), json!({ "name": name })).await?;
                Ok(id.to_string())
            })
        })
        .await
    }

    pub(crate) async fn delete_team(&self, actor: Actor, id: Uuid) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let name: Option<String> = sqlx::query_scalar("DELETE FROM plugin_auth.teams WHERE id = $1 RETURNING name")
                    .bind(id)
                    .fetch_optional(&mut *connection)
                    .await?;
                let name = name.ok_or_else(|| no_team(&id.to_string()))?;
                audit::record(connection, &actor, "team.delete", &format!("team:{id}"), json!({ "name": name })).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn set_team_members(
        &self,
        actor: Actor,
        id: Uuid,
        users: BTreeSet<Uuid>,
        applications: BTreeSet<Uuid>,
    ) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let found =
                    sqlx::query("SELECT FROM plugin_auth.teams WHERE id = $1 FOR UPDATE").bind(id).fetch_optional(&mut *connection).await?;
                found.ok_or_else(|| no_team(&id.to_string()))?;
                sqlx::query("DELETE FROM plugin_auth.team_users WHERE team_id = $1").bind(id).execute(&mut *connection).await?;
                sqlx::query("DELETE FROM plugin_auth.team_applications WHERE team_id = $1").bind(id).execute(&mut *connection).await?;
                sqlx::query("INSERT INTO plugin_auth.team_users (team_id, user_id) SELECT $1, unnest($2::uuid[])")
                    .bind(id)
                    .bind(users.iter().copied().collect::<Vec<_>>())
                    .execute(&mut *connection)
                    .await
                    .map_err(unknown_member("team_users_user_id_fkey", "user"))?;
                sqlx::query("INSERT INTO plugin_auth.team_applications (team_id, application_id) SELECT $1, unnest($2::uuid[])")
                    .bind(id)
                    .bind(applications.iter().copied().collect::<Vec<_>>())
                    .execute(&mut *connection)
                    .await
                    .map_err(unknown_member("team_applications_application_id_fkey", "application"))?;
                let details = json!({ "users": users, "applications": applications });
                audit::record(connection, &actor, "team.set-members", &format!("team:{id}"), details).await?;
                Ok(())
            })
        })
        .await
    }

    /// What teams were granted of one object, and whether they have it for themselves.
    pub(crate) async fn object_grants(&self, resource_type: String, resource_id: String) -> Result<(Vec<TeamGrant>, bool), StoreError> {
        self.read(|connection| {
            Box::pin(async move {
                let grants = sqlx::query_as(
                    "SELECT team_id::text, can_read, can_manage FROM plugin_auth.team_grants
                     WHERE resource_type = $1 AND resource_id = $2 ORDER BY 1",
                )
                .bind(&resource_type)
                .bind(&resource_id)
                .fetch_all(&mut *connection)
                .await?;
                let team_only = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT FROM plugin_auth.team_only_objects WHERE resource_type = $1 AND resource_id = $2)",
                )
                .bind(resource_type)
                .bind(resource_id)
                .fetch_one(connection)
                .await?;
                Ok((grants, team_only))
            })
        })
        .await
    }

    /// In the place of what was granted before.
    pub(crate) async fn set_object_grants(
        &self,
        actor: Actor,
        resource_type: String,
        resource_id: String,
        grants: Vec<TeamGrant>,
        team_only: bool,
    ) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                clear(connection, &resource_type, &resource_id).await?;
                let team = |grant: &TeamGrant| grant.team_id.parse::<Uuid>().map_err(|_| no_team(&grant.team_id));
                sqlx::query(
                    "INSERT INTO plugin_auth.team_grants (resource_type, resource_id, team_id, can_read, can_manage)
                     SELECT $1, $2, * FROM unnest($3::uuid[], $4::boolean[], $5::boolean[])",
                )
                .bind(&resource_type)
                .bind(&resource_id)
                .bind(grants.iter().map(team).collect::<Result<Vec<_>, _>>()?)
                .bind(grants.iter().map(|grant| grant.can_read).collect::<Vec<_>>())
                .bind(grants.iter().map(|grant| grant.can_manage).collect::<Vec<_>>())
                .execute(&mut *connection)
                .await
                .map_err(grant_refused)?;
                if team_only {
                    sqlx::query("INSERT INTO plugin_auth.team_only_objects (resource_type, resource_id) VALUES ($1, $2)")
                        .bind(&resource_type)
                        .bind(&resource_id)
                        .execute(&mut *connection)
                        .await?;
                }
                let details = json!({ "grants": grants, "teamOnly": team_only });
                audit::record(connection, &actor, "object.set-grants", &format!("{resource_type}:{resource_id}"), details).await?;
                Ok(())
            })
        })
        .await
    }
}

async fn clear(connection: &mut PgConnection, resource_type: &str, resource_id: &str) -> Result<(), sqlx::Error> {
    for table in [
        "DELETE FROM plugin_auth.team_grants WHERE resource_type = $1 AND resource_id = $2",
        "DELETE FROM plugin_auth.team_only_objects WHERE resource_type = $1 AND resource_id = $2",
    ] {
        sqlx::query(table).bind(resource_type).bind(resource_id).execute(&mut *connection).await?;
    }
    Ok(())
}

fn grant_refused(error: sqlx::Error) -> StoreError {
    match error.as_database_error().and_then(|error| error.constraint()) {
        Some("team_grants_pkey") => StoreError::Conflict("one team is there twice".to_owned()),
        _ => unknown_member("team_grants_team_id_fkey", "team")(error),
    }
}

fn unknown_member(constraint: &'static str, what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| conflict(error, constraint, || format!("one of them is no {what}"))
}

fn no_team(id: &str) -> StoreError {
    StoreError::NotFound(format!("there is no team '{id}'"))
}
