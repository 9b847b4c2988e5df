//! Changes of a plugin's entities: its statements, and what the platform notes of them, in one transaction with the plugin's own role.

use std::time::Duration;

use checkstack_entities::{EntityError, InStateSince, PluginEntities};
use checkstack_events::Actor;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::sessions::{Lease, PluginLogin, PluginSessions};
use super::sql::{self, Failure};
use crate::plugin::{EntityFailure, EntityMutation, SqlError, SqlStatement};

/// The database's answer to what runs into its own limits.
const GRACE: Duration = Duration::from_millis(500);

/// Undone by the database when nothing is heard of it for a few seconds: should this process be stopped in the middle, others go on without it.
/// Times that become a part of a state are written alike on all replicas.
const BEGIN: &str = "
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL timezone = 'UTC'";
/// A question of several statements that sees one moment.
const BEGIN_LOOKING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'";
/// What the plugin's tables do at the end of a transaction they do before the state is read.
const SETTLE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// Changes of one plugin.
pub(crate) struct PluginChanges {
    sessions: PluginSessions,
    login: PluginLogin,
    deadline: Duration,
}

/// A kind of entities, and the statement that reads one.
pub(crate) struct ReadableKind {
    /// `<plugin>.<name>`
    pub(crate) name: String,
    statement: String,
}

/// What is to be done with an entity.
pub(crate) struct Work<'w> {
    pub(crate) kind: &'w ReadableKind,
    pub(crate) id: &'w str,
    pub(crate) statements: Vec<SqlStatement>,
    /// Whether it has to be gone afterwards.
    pub(crate) removes: bool,
    pub(crate) actor: &'w Actor,
}

/// Where a failure leaves the connection.
enum Interrupted {
    /// At rest.
    AtRest(EntityFailure),
    /// Something may still be running.
    InTheMiddle(EntityFailure),
}

impl From<sqlx::Error> for Interrupted {
    fn from(error: sqlx::Error) -> Self {
        sql::failure(error).into()
    }
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AtRest(error) => Self::AtRest(error.into()),
            Failure::InTheMiddle(error) => Self::InTheMiddle(error.into()),
        }
    }
}

impl From<EntityError> for Interrupted {
    fn from(error: EntityError) -> Self {
        match error {
            // It may be the connection that is broken.
            error @ EntityError::Unavailable(_) => Self::InTheMiddle(error.into()),
            error => Self::AtRest(error.into()),
        }
    }
}

impl From<EntityFailure> for Interrupted {
    fn from(failure: EntityFailure) -> Self {
        Self::AtRest(failure)
    }
}

impl ReadableKind {
    /// The text is the plugin's own, for its own role: what it could break out of is what it could do anyway. Its fields are made JSON by the
    /// database, which knows their types.
    pub(crate) fn new(name: String, query: &str) -> Self {
        let query = query.trim_end().trim_end_matches(';');
        let statement = format!(
            "SELECT checkstack_read.id, checkstack_read.state FROM ( \
               SELECT checkstack_entity.id::pg_catalog.text AS id, \
                 (pg_catalog.to_jsonb(checkstack_entity) OPERATOR(pg_catalog.-) 'id'::pg_catalog.text)::pg_catalog.text AS state \
               FROM (\n{query}\n) AS checkstack_entity) AS checkstack_read LIMIT 2"
        );
        Self { name, statement }
    }

    /// The state of an entity. None: there is none.
    async fn read(&self, connection: &mut PgConnection, id: &str) -> Result<Option<Value>, Interrupted> {
        let invalid = |problem: String| EntityFailure::Invalid(format!("the query of the kind of entities '{}' {problem}", self.name));
        let read = sqlx::query_as(AssertSqlSafe(self.statement.clone())).bind(vec![id.to_owned()]);
        let mut rows: Vec<(Option<String>, Option<String>)> = read.fetch_all(connection).await?;
        let Some((found, state)) = rows.pop() else { return Ok(None) };
        if !rows.is_empty() {
            return Err(invalid(format!("has several rows for '{id}'; it has to select by \"= ANY($1)\", and one row for each id")).into());
        }
        if found.as_deref() != Some(id) {
            return Err(invalid(format!("has a row for another id than '{id}'; it has to select by \"= ANY($1)\"")).into());
        }
        let state = serde_json::from_str(&state.unwrap_or_default());
        let state = state.map_err(|problem| invalid(format!("has a state that is no JSON: {problem}")))?;
        Ok(Some(PluginEntities::state(&self.name, id, &state)?))
    }
}

impl PluginChanges {
    /// `deadline` is that of one statement, and of a whole change as long as the platform's own is not shorter.
    pub(crate) fn new(sessions: PluginSessions, login: PluginLogin, deadline: Duration) -> Self {
        Self { sessions, login, deadline }
    }

    /// Makes a change. `check` is given the state afterwards, `admit` the bytes of what would be told.
    pub(crate) async fn make(
        &self,
        entities: &PluginEntities,
        work: Work<'_>,
        check: impl FnOnce(Option<&Value>) -> Result<(), EntityFailure>,
        admit: impl FnOnce(usize) -> Result<(), EntityFailure>,
    ) -> Result<EntityMutation, EntityFailure> {
        let deadline = self.deadline.min(entities.deadline());
        let end = tokio::time::Instant::now() + deadline;
        let late = |_| too_slow(deadline);
        let turn = tokio::time::timeout_at(end, entities.turn(&work.kind.name, work.id)).await.map_err(late)?;
        let mut lease = self.lease(deadline).await?;
        let connection = lease.connection().map_err(SqlError::from)?;
        let made = tokio::time::timeout_at(end + GRACE, change(connection, entities, work, check, admit)).await;
        let (touched, pending) = finish(lease, made.unwrap_or_else(|_| Err(Interrupted::InTheMiddle(too_slow(deadline)))))?;
        let change = pending.committed().await.change;
        drop(turn);
        Ok(EntityMutation { touched, change })
    }

    /// Since when a field has the value that it has.
    pub(crate) async fn in_state_since(
        &self,
        entities: &PluginEntities,
        kind: &ReadableKind,
        id: &str,
        field: &str,
    ) -> Result<Option<InStateSince>, EntityFailure> {
        self.look(entities, async |connection| {
            let mut transaction = connection.begin_with(BEGIN_LOOKING).await?;
            let Some(state) = kind.read(&mut transaction, id).await? else { return Ok(None) };
            let since = entities.in_state_since(&mut transaction, &kind.name, id, field, &state).await?;
            transaction.commit().await?;
            Ok(since)
        })
        .await
    }

    /// How often a field has changed.
    pub(crate) async fn transition_count(
        &self,
        entities: &PluginEntities,
        kind: &ReadableKind,
        id: &str,
        field: &str,
        within: Duration,
    ) -> Result<u64, EntityFailure> {
        self.look(entities, async |connection| Ok(entities.transition_count(connection, &kind.name, id, field, within).await?)).await
    }

    async fn look<T>(
        &self,
        entities: &PluginEntities,
        question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Interrupted>,
    ) -> Result<T, EntityFailure> {
        let deadline = self.deadline.min(entities.deadline());
        let mut lease = self.lease(deadline).await?;
        let connection = lease.connection().map_err(SqlError::from)?;
        let answer = tokio::time::timeout(deadline + GRACE, question(connection)).await;
        finish(lease, answer.unwrap_or_else(|_| Err(Interrupted::InTheMiddle(too_slow(deadline)))))
    }

    async fn lease(&self, deadline: Duration) -> Result<Lease, EntityFailure> {
        self.sessions.acquire(&self.login, deadline).await.map_err(|error| EntityFailure::Unavailable(error.to_string()))
    }
}

fn too_slow(deadline: Duration) -> EntityFailure {
    SqlError::Timeout(format!("the change was not made within {} ms", deadline.as_millis())).into()
}

fn finish<T>(lease: Lease, result: Result<T, Interrupted>) -> Result<T, EntityFailure> {
    match result {
        Ok(value) => {
            lease.give_back();
            Ok(value)
        }
        Err(Interrupted::AtRest(failure)) => {
            lease.give_back();
            Err(failure)
        }
        Err(Interrupted::InTheMiddle(failure)) => {
            let failure = if lease.was_cut() { sql::too_large().into() } else { failure };
            drop(lease);
            Err(failure)
        }
    }
}

async fn change(
    connection: &mut PgConnection,
    entities: &PluginEntities,
    work: Work<'_>,
    check: impl FnOnce(Option<&Value>) -> Result<(), EntityFailure>,
    admit: impl FnOnce(usize) -> Result<(), EntityFailure>,
) -> Result<(Vec<u64>, checkstack_entities::PendingMutation<(), Value>), Interrupted> {
    let Work { kind, id, statements, removes, actor } = work;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let locked = entities.lock(&mut transaction, &kind.name, id).await?;
    let before = kind.read(&mut transaction, id).await?;
    let mut touched = Vec::with_capacity(statements.len());
    for statement in statements {
        touched.push(sql::execute(&mut transaction, statement).await?);
    }
    sqlx::raw_sql(SETTLE).execute(&mut *transaction).await?;
    let after = kind.read(&mut transaction, id).await?;
    if removes && after.is_some() {
        return Err(EntityError::NotRemoved { kind: kind.name.clone(), id: id.to_owned() }.into());
    }
    check(after.as_ref())?;
    let admit = |bytes| admit(bytes).map_err(Interrupted::from);
    let pending = entities.record(&mut transaction, locked, [before, after], actor, admit).await?;
    transaction.commit().await?;
    Ok((touched, pending))
}
