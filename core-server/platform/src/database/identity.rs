//! Which instance a database belongs to. Two instances on one database would take each other's
//! schemas and roles, so the first one that starts says who it is, and others do not start.

use sqlx::PgConnection;

use super::DatabaseError;

/// Before anything is changed: a database of another instance is left as it is.
pub(super) async fn check(connection: &mut PgConnection, instance: &str) -> Result<(), DatabaseError> {
    let is_recorded: bool = sqlx::query_scalar("SELECT to_regclass('checkstack.instance') IS NOT NULL").fetch_one(&mut *connection).await?;
    match is_recorded {
        true => compare(owner(connection).await?, instance),
        false => Ok(()),
    }
}

/// When the table is there: says whose database this is, if nobody has.
pub(super) async fn claim(connection: &mut PgConnection, instance: &str) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO checkstack.instance (name) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(instance)
        .execute(&mut *connection)
        .await?;
    compare(owner(connection).await?, instance)
}

async fn owner(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM checkstack.instance").fetch_optional(connection).await
}

fn compare(owner: Option<String>, instance: &str) -> Result<(), DatabaseError> {
    match owner {
        Some(owner) if owner != instance => Err(DatabaseError::OtherInstance { owner, this: instance.into() }),
        _ => Ok(()),
    }
}
