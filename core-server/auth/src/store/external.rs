//! Users that sign in at a provider: who of the users here they are, and what their groups permit.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::sessions::{self, SessionEnd};
use super::{Actor, SignedIn, Store, StoreError, audit};
use crate::credential::SessionToken;
use crate::oidc::ExternalUser;

/// What becomes of somebody whom the instance does not know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmissionPolicy {
    /// A new user.
    pub(crate) create_users: bool,
    /// The user with the same address, when it is verified.
    pub(crate) link_verified_email: bool,
}

/// Somebody who has signed in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Id.
    pub(crate) user: Uuid,
    /// Roles that their groups give, and that there are not.
    pub(crate) unknown_roles: Vec<String>,
}

/// Why somebody whom the provider knows is nobody here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// Nobody here is this user.
    Unknown,
    /// Somebody else here has the address.
    AddressTaken,
    /// They cannot become a user without one.
    NoAddress,
}

impl Store {
    /// Begins a session of the user who is `external`. Issuer and subject say who that is, and nothing else; roles that groups
    /// give are those of now, and so it is not prolonged: they are asked for again when it has ended.
    pub(crate) async fn admit(
        &self,
        external: ExternalUser,
        policy: AdmissionPolicy,
        token: &SessionToken,
        lifetime: Duration,
    ) -> Result<Result<Admitted, NotAdmitted>, StoreError> {
        let digest = token.digest();
        self.change(move |connection| {
            Box::pin(async move {
                let actor = Actor::system("oidc");
                // Somebody who comes for the first time may come twice at once.
                let identity = format!("{}\n{}", external.issuer, external.subject);
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(identity).execute(&mut *connection).await?;
                let id = match known(connection, &external).await? {
                    Some(id) => id,
                    None => match introduce(connection, &actor, &external, policy).await? {
                        Ok(id) => id,
                        Err(not) => return Ok(Err(not)),
                    },
                };
                let found = sqlx::query_as("SELECT id, email, name FROM plugin_auth.users WHERE id = $1 FOR UPDATE").bind(id);
                let user: Option<SignedIn> = found.fetch_optional(&mut *connection).await?;
                // Deleted at this moment.
                let Some(user) = user else { return Ok(Err(NotAdmitted::Unknown)) };
                let unknown_roles = set_group_roles(connection, &actor, id, &external.roles).await?;
                let ends = SessionEnd { unused: lifetime, latest: lifetime };
                sessions::insert(connection, &user, digest, ends, json!({ "issuer": external.issuer })).await?;
                Ok(Ok(Admitted { user: id, unknown_roles }))
            })
        })
        .await
    }
}

async fn known(connection: &mut PgConnection, external: &ExternalUser) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar("SELECT user_id FROM plugin_auth.external_identities WHERE issuer = $1 AND subject = $2")
        .bind(&external.issuer)
        .bind(&external.subject)
        .fetch_optional(connection)
        .await
}

/// Makes somebody whom nobody knows a user, or one of the users.
async fn introduce(
    connection: &mut PgConnection,
    actor: &Actor,
    external: &ExternalUser,
    policy: AdmissionPolicy,
) -> Result<Result<Uuid, NotAdmitted>, sqlx::Error> {
    let linked = match &external.email {
        Some(email) if policy.link_verified_email && external.email_verified => link(connection, external, email).await?,
        _ => None,
    };
    let (id, action) = match linked {
        Some(id) => (id, "user.link"),
        None if !policy.create_users => return Ok(Err(NotAdmitted::Unknown)),
        None => {
            let Some(email) = &external.email else { return Ok(Err(NotAdmitted::NoAddress)) };
            let name = external.name.as_ref().unwrap_or(email);
            let made = sqlx::query_scalar(
                "INSERT INTO plugin_auth.users (email, name) VALUES ($1, $2) ON CONFLICT (lower(email)) DO NOTHING RETURNING id",
            );
            match made.bind(email).bind(name).fetch_optional(&mut *connection).await? {
                Some(id) => (id, "user.create"),
                None => return Ok(Err(NotAdmitted::AddressTaken)),
            }
        }
    };
    sqlx::query("INSERT INTO plugin_auth.external_identities (issuer, subject, user_id) VALUES ($1, $2, $3)")
        .bind(&external.issuer)
        .bind(&external.subject)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let details = json!({ "issuer": external.issuer, "subject": external.subject, "email": external.email });
    audit::record(connection, actor, action, &format!("user:{id}"), details).await?;
    Ok(Ok(id))
}

/// The user with the address, unless that is somebody else at the same provider.
async fn link(connection: &mut PgConnection, external: &ExternalUser, email: &str) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM plugin_auth.users u WHERE lower(email) = lower($1)
             AND NOT EXISTS (SELECT FROM plugin_auth.external_identities WHERE user_id = u.id AND issuer = $2)
         FOR UPDATE",
    )
    .bind(email)
    .bind(&external.issuer)
    .fetch_optional(connection)
    .await
}

/// Gives and takes away roles; those that an admin has given stay. Those that there are not, are returned.
async fn set_group_roles(
    connection: &mut PgConnection,
    actor: &Actor,
    id: Uuid,
    wanted: &BTreeSet<String>,
) -> Result<Vec<String>, sqlx::Error> {
    let asked: Vec<String> = wanted.iter().cloned().collect();
    let there: Vec<String> = sqlx::query_scalar("SELECT id FROM plugin_auth.roles WHERE id = ANY($1) ORDER BY id FOR SHARE")
        .bind(asked)
        .fetch_all(&mut *connection)
        .await?;
    let held: Vec<String> =
        sqlx::query_scalar("SELECT role_id FROM plugin_auth.user_roles WHERE user_id = $1 AND source = 'group' ORDER BY role_id")
            .bind(id)
            .fetch_all(&mut *connection)
            .await?;
    if held != there {
        sqlx::query("DELETE FROM plugin_auth.user_roles WHERE user_id = $1 AND source = 'group' AND role_id <> ALL($2)")
            .bind(id)
            .bind(&there)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "INSERT INTO plugin_auth.user_roles (user_id, role_id, source) SELECT $1, unnest($2::text[]), 'group' ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(&there)
        .execute(&mut *connection)
        .await?;
        audit::record(connection, actor, "user.set-group-roles", &format!("user:{id}"), json!({ "roles": there })).await?;
    }
    Ok(wanted.iter().filter(|role| !there.contains(role)).cloned().collect())
}
