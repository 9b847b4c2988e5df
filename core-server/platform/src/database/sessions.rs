//! Connections with the login roles of plugins: opened on demand, kept for a moment, closed when
//! idle, and never more than the replica's budget, however many plugins there are.
//!
//! A connection goes back through `DISCARD ALL`, so nothing that a plugin does to a session (its
//! settings, temporary tables, locks, an open transaction) outlives one call. A connection that is
//! dropped in the middle of a statement is closed and its backend terminated, by the role itself;
//! until then it keeps its place in the budget.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_connections::PoolUsage;
use checkstack_plugin_package::PluginId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::relay::{self, Cut};
use super::repair::Repairs;
use super::roles::PluginRole;
use super::shares::Shares;
use super::{ConnectionDivision, Database, DatabaseError, MORE_CONNECTIONS, names};

/// How long an idle connection is kept.
const KEPT_IDLE: Duration = Duration::from_secs(20);
/// An idle connection older than this is tried before it is used.
const TRUSTED: Duration = Duration::from_secs(1);
/// Opening, resetting and closing one connection.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// SQLSTATE
const WRONG_PASSWORD: &str = "28P01";

/// The connections of all plugins of this replica.
#[derive(Clone)]
pub(crate) struct PluginSessions(Arc<Inner>);

struct Inner {
    database: Database,
    /// The places of all.
    limit: u32,
    budget: Arc<Semaphore>,
    waiting_for_budget: AtomicUsize,
    waiting: AtomicUsize,
    timeouts: AtomicU64,
    /// At most one connection beyond the budget, for terminating what a plugin left running.
    terminator: Semaphore,
    shares: Shares,
    idle: Mutex<Vec<Idle>>,
    repairs: Repairs,
    tasks: TaskTracker,
}

/// How a plugin logs in.
#[derive(Clone)]
pub(crate) struct PluginLogin {
    role: PluginRole,
    options: PgConnectOptions,
}

struct Session {
    connection: PgConnection,
    cut: Cut,
    backend: i32,
    place: OwnedSemaphorePermit,
}

struct Idle {
    plugin_id: PluginId,
    session: Session,
    since: Instant,
}

/// A connection in use. Goes back by [`Lease::give_back`]; dropping it ends its backend.
pub(crate) struct Lease {
    session: Option<Session>,
    login: PluginLogin,
    sessions: PluginSessions,
    share: Option<OwnedSemaphorePermit>,
}

impl PluginSessions {
    pub(crate) fn new(database: Database, division: &ConnectionDivision) -> Self {
        Self(Arc::new(Inner {
            database,
            limit: division.plugins,
            budget: Arc::new(Semaphore::new(division.plugins as usize)),
            waiting_for_budget: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            timeouts: AtomicU64::new(0),
            terminator: Semaphore::new(1),
            shares: Shares::new(division.per_plugin),
            idle: Mutex::default(),
            repairs: Repairs::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// How a plugin's role logs in, and what its sessions begin with and are reset to. That is said
    /// here and not in the role's own settings, because those a role may change.
    pub(super) fn login(&self, role: PluginRole, statement_deadline: Duration) -> PluginLogin {
        // Zero would mean without end.
        let deadline = format!("{}ms", statement_deadline.as_millis().max(1));
        let options = self
            .0
            .database
            .options()
            .clone()
            .username(&role.role)
            .password(role.password.expose())
            .application_name(&format!("checkstack plugin {}", role.plugin_id))
            .options([
                ("search_path", names::quoted(&role.schema).as_str()),
                ("statement_timeout", deadline.as_str()),
                ("lock_timeout", deadline.as_str()),
                ("idle_in_transaction_session_timeout", "60s"),
            ])
            // Statements go with the session's state when it is reset.
            .statement_cache_capacity(0);
        PluginLogin { role, options }
    }

    /// A connection of the plugin, within `deadline`.
    pub(crate) async fn acquire(&self, login: &PluginLogin, deadline: Duration) -> Result<Lease, DatabaseError> {
        let end = Instant::now() + deadline;
        let acquired = {
            let _waiting = Waiting::new(&self.0.waiting);
            self.acquire_by(login, end, deadline).await
        };
        if acquired.is_err() && Instant::now() >= end {
            self.0.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        acquired
    }

    async fn acquire_by(&self, login: &PluginLogin, end: Instant, deadline: Duration) -> Result<Lease, DatabaseError> {
        let plugin_id = login.plugin_id();
        let busy = |what: String| {
            DatabaseError::Busy(format!("plugin '{plugin_id}' has waited {} ms for a connection: {what}", deadline.as_millis()))
        };
        let share = tokio::time::timeout_at(end, self.0.shares.of(plugin_id).acquire_owned())
            .await
            .map_err(|_| busy(format!("all {} that it may have at a time in this pod are in use", self.0.shares.size())))?
            .map_err(|_| closed())?;
        let no_answer = |_| DatabaseError::no_answer(deadline);
        let idle = tokio::time::timeout_at(end, self.idle_session(plugin_id)).await.map_err(no_answer)?;
        let session = match idle {
            Some(session) => session,
            None => {
                let place = tokio::time::timeout_at(end, self.place())
                    .await
                    .map_err(|_| busy(format!("all {} that this pod has for plugins are in use; {MORE_CONNECTIONS}", self.0.limit)))??;
                tokio::time::timeout_at(end, self.open(login, place)).await.map_err(no_answer)??
            }
        };
        Ok(Lease { session: Some(session), login: login.clone(), sessions: self.clone(), share: Some(share) })
    }

    /// What there is at this moment. What is being opened, reset or closed is in use.
    pub(crate) fn usage(&self) -> PoolUsage {
        let idle = self.with_idle(|idle| idle.len());
        let open = (self.0.limit as usize).saturating_sub(self.0.budget.available_permits());
        PoolUsage {
            most: u64::from(self.0.limit),
            in_use: open.saturating_sub(idle) as u64,
            idle: idle as u64,
            waiting: self.0.waiting.load(Ordering::Relaxed) as u64,
            timeouts: self.0.timeouts.load(Ordering::Relaxed),
        }
    }

    /// Closes what a plugin has idle.
    pub(crate) fn close_idle_of(&self, plugin_id: &PluginId) {
        self.close_idle(|idle| idle.plugin_id == *plugin_id);
    }

    /// Closes connections that have been idle for long. To be called now and then.
    pub(crate) fn close_expired(&self) {
        self.close_idle(|idle| idle.since.elapsed() >= KEPT_IDLE);
    }

    /// Closes everything idle and waits for what is being closed.
    pub(crate) async fn shut_down(&self, deadline: Duration) {
        self.0.budget.close();
        self.close_idle(|_| true);
        self.0.tasks.close();
        if tokio::time::timeout(deadline, self.0.tasks.wait()).await.is_err() {
            debug!("some plugin connections did not close in time");
        }
    }

    fn with_idle<T>(&self, act: impl FnOnce(&mut Vec<Idle>) -> T) -> T {
        act(&mut self.0.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn idle_session(&self, plugin_id: &PluginId) -> Option<Session> {
        loop {
            let mut idle = self.with_idle(|idle| {
                let newest = idle.iter().rposition(|idle| idle.plugin_id == *plugin_id)?;
                Some(idle.remove(newest))
            })?;
            if idle.since.elapsed() < TRUSTED || idle.session.connection.ping().await.is_ok() {
                return Some(idle.session);
            }
        }
    }

    async fn open(&self, login: &PluginLogin, place: OwnedSemaphorePermit) -> Result<Session, DatabaseError> {
        let (mut connection, cut) = Box::pin(self.connect(login)).await?;
        let backend = sqlx::query_scalar("SELECT pg_catalog.pg_backend_pid()").persistent(false).fetch_one(&mut connection).await?;
        Ok(Session { connection, cut, backend, place })
    }

    /// Logs in. When the role has changed its own password, it is given back the one that it had.
    async fn connect(&self, login: &PluginLogin) -> Result<(PgConnection, Cut), DatabaseError> {
        let attempt = Instant::now();
        let refused = match relay::connect(&login.options, &self.0.tasks).await {
            Err(error) if error.code() == Some(WRONG_PASSWORD) => error,
            result => return result,
        };
        let (role, database) = (login.role.clone(), self.0.database.clone());
        let provision = Box::pin(async move { role.provision_again(&database).await });
        if !self.0.repairs.repair(login.plugin_id(), attempt, &self.0.tasks, provision).await? {
            return Err(refused);
        }
        warn!(plugin = %login.plugin_id(), "the plugin's database role had another password; it has been provisioned again");
        relay::connect(&login.options, &self.0.tasks).await
    }

    /// The right to open one more connection. Where the budget is used up, the connection that has
    /// been idle longest makes room, whosever it is.
    async fn place(&self) -> Result<OwnedSemaphorePermit, DatabaseError> {
        if let Ok(permit) = self.0.budget.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.0.waiting_for_budget);
        self.with_idle(|idle| (!idle.is_empty()).then(|| idle.remove(0))).into_iter().for_each(|idle| self.close(idle.session));
        self.0.budget.clone().acquire_owned().await.map_err(|_| closed())
    }

    fn close_idle(&self, which: impl Fn(&Idle) -> bool) {
        let closing: Vec<Idle> = self.with_idle(|idle| idle.extract_if(.., |idle| which(idle)).collect());
        closing.into_iter().for_each(|idle| self.close(idle.session));
    }

    fn close(&self, session: Session) {
        self.0.tasks.spawn(async move {
            let Session { connection, place, .. } = session;
            let _ = tokio::time::timeout(HOUSEKEEPING, connection.close()).await;
            // However that ended.
            drop(place);
        });
    }

    /// Makes a connection fit for another call and keeps it, unless somebody waits for its place.
    fn recycle(&self, plugin_id: PluginId, mut session: Session) {
        let sessions = self.clone();
        self.0.tasks.spawn(async move {
            let reset = sqlx::raw_sql("DISCARD ALL").execute(&mut session.connection);
            match tokio::time::timeout(HOUSEKEEPING, reset).await {
                Ok(Ok(_)) if sessions.0.waiting_for_budget.load(Ordering::Relaxed) == 0 && !sessions.0.budget.is_closed() => {
                    let idle = Idle { plugin_id, session, since: Instant::now() };
                    sessions.with_idle(|all| all.push(idle));
                }
                // Wanted elsewhere, or in a transaction that the plugin left open, or broken: the database
                // undoes what is not committed.
                _ => sessions.close(session),
            }
        });
    }

    /// Ends a backend that still works on something that nobody waits for. Until then, what it had
    /// is not given to others.
    fn terminate(&self, login: PluginLogin, backend: i32, held: Held) {
        let sessions = self.clone();
        self.0.tasks.spawn(async move {
            let terminate = async {
                let _one_at_a_time = sessions.0.terminator.acquire().await.map_err(|_| closed())?;
                let (mut connection, _) = Box::pin(sessions.connect(&login)).await?;
                sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)").bind(backend).persistent(false).execute(&mut connection).await?;
                connection.close().await?;
                Ok::<_, DatabaseError>(())
            };
            let plugin = login.plugin_id();
            match tokio::time::timeout(HOUSEKEEPING, terminate).await {
                Ok(Ok(())) => debug!(%plugin, backend, "terminated a statement that nobody waits for"),
                Ok(Err(error)) => warn!(%plugin, backend, %error, "a statement that nobody waits for could not be terminated"),
                Err(_) => warn!(%plugin, backend, "a statement that nobody waits for could not be terminated in time"),
            }
            drop(held);
        });
    }
}

impl PluginLogin {
    pub(crate) fn plugin_id(&self) -> &PluginId {
        &self.role.plugin_id
    }
}

impl Lease {
    /// The connection.
    pub(crate) fn connection(&mut self) -> Result<&mut PgConnection, DatabaseError> {
        self.session.as_mut().map(|session| &mut session.connection).ok_or_else(closed)
    }

    /// Whether the connection was cut because an answer was too large.
    pub(crate) fn was_cut(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.cut.was_made())
    }

    /// Gives the connection back. No statement may be running on it.
    pub(crate) fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.recycle(self.login.plugin_id().clone(), session);
        }
    }

    /// Closes the connection. No statement may be running on it.
    pub(crate) fn close(mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.close(session);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let Session { connection, backend, place, .. } = session;
            drop(connection);
            self.sessions.terminate(self.login.clone(), backend, Held { _place: place, _share: self.share.take() });
        }
    }
}

/// What a connection had, of the budget and of its plugin's share.
struct Held {
    _place: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn closed() -> DatabaseError {
    DatabaseError::Unavailable("the server is shutting down".into())
}
