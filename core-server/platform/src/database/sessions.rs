//! Connections with the login roles of plugins: opened on demand, kept for a moment, closed when
//! idle, and never more than the replica's budget, however many plugins there are.
//!
//! A connection goes back through `DISCARD ALL`, so nothing that a plugin does to a session (its
//! settings, temporary tables, locks, an open transaction) outlives one call. A connection that is
//! dropped in the middle of a statement is closed and its backend terminated, by the role itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_control_api::DatabasePassword;
use checkstack_plugin_package::PluginId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::relay::{self, Cut};
use super::{DatabaseError, names};

/// How long an idle connection is kept.
const KEPT_IDLE: Duration = Duration::from_secs(20);
/// An idle connection older than this is tried before it is used.
const TRUSTED: Duration = Duration::from_secs(1);
/// Opening, resetting and closing one connection.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The connections of all plugins of this replica.
#[derive(Clone)]
pub(crate) struct PluginSessions(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    per_plugin: usize,
    limit: usize,
    budget: Arc<Semaphore>,
    waiting_for_budget: AtomicUsize,
    /// At most one connection beyond the budget, for terminating what a plugin left running.
    terminator: Semaphore,
    shares: Mutex<BTreeMap<PluginId, Arc<Semaphore>>>,
    idle: Mutex<Vec<Idle>>,
    tasks: TaskTracker,
}

/// How a plugin logs in.
#[derive(Clone)]
pub(crate) struct PluginLogin {
    pub(crate) plugin_id: PluginId,
    options: PgConnectOptions,
}

struct Session {
    connection: PgConnection,
    cut: Cut,
    backend: i32,
    _budget: OwnedSemaphorePermit,
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
    _share: OwnedSemaphorePermit,
}

impl PluginSessions {
    /// `options` are the core's; each plugin's name and password are put in their place.
    pub(crate) fn new(options: &PgConnectOptions, budget: usize, per_plugin: usize) -> Self {
        Self(Arc::new(Inner {
            options: options.clone(),
            per_plugin: per_plugin.max(1),
            limit: budget.max(1),
            budget: Arc::new(Semaphore::new(budget.max(1))),
            waiting_for_budget: AtomicUsize::new(0),
            terminator: Semaphore::new(1),
            shares: Mutex::default(),
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// How the plugin's role logs in, and what its sessions begin with and are reset to. That is said
    /// here and not in the role's own settings, because those a role may change.
    pub(crate) fn login(
        &self,
        plugin_id: &PluginId,
        role: &str,
        schema: &str,
        password: &DatabasePassword,
        statement_deadline: Duration,
    ) -> PluginLogin {
        // Zero would mean without end.
        let deadline = format!("{}ms", statement_deadline.as_millis().max(1));
        let options = self
            .0
            .options
            .clone()
            .username(role)
            .password(password.expose())
            .application_name(&format!("checkstack plugin {plugin_id}"))
            .options([
                ("search_path", names::quoted(schema).as_str()),
                ("statement_timeout", deadline.as_str()),
                ("lock_timeout", deadline.as_str()),
                ("idle_in_transaction_session_timeout", "60s"),
            ])
            // Statements go with the session's state when it is reset.
            .statement_cache_capacity(0);
        PluginLogin { plugin_id: plugin_id.clone(), options }
    }

    /// A connection of the plugin, within `deadline`.
    pub(crate) async fn acquire(&self, login: &PluginLogin, deadline: Duration) -> Result<Lease, DatabaseError> {
        let acquire = async {
            let share = self.share(&login.plugin_id).acquire_owned().await.map_err(|_| closed())?;
            let session = match self.idle_session(&login.plugin_id).await {
                Some(session) => session,
                None => self.open(login).await?,
            };
            Ok(Lease { session: Some(session), login: login.clone(), sessions: self.clone(), _share: share })
        };
        tokio::time::timeout(deadline, acquire).await.map_err(|_| {
            DatabaseError::Unavailable(format!("no connection for plugin '{}' within {} ms", login.plugin_id, deadline.as_millis()))
        })?
    }

    /// Connections that are open now, in use or idle.
    pub(crate) fn open_connections(&self) -> usize {
        self.0.limit.saturating_sub(self.0.budget.available_permits())
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

    /// What one plugin may have in use at once.
    fn share(&self, plugin_id: &PluginId) -> Arc<Semaphore> {
        let mut shares = self.0.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.entry(plugin_id.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.0.per_plugin))).clone()
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

    async fn open(&self, login: &PluginLogin) -> Result<Session, DatabaseError> {
        let budget = self.budget().await?;
        let (mut connection, cut) = relay::connect(&login.options, &self.0.tasks).await?;
        let backend = sqlx::query_scalar("SELECT pg_catalog.pg_backend_pid()").persistent(false).fetch_one(&mut connection).await?;
        Ok(Session { connection, cut, backend, _budget: budget })
    }

    /// The right to open one more connection. Where the budget is used up, the connection that has
    /// been idle longest makes room, whosever it is.
    async fn budget(&self) -> Result<OwnedSemaphorePermit, DatabaseError> {
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
            let Session { connection, _budget, .. } = session;
            // However this ends, the connection and its place in the budget are gone.
            let _ = tokio::time::timeout(HOUSEKEEPING, connection.close()).await;
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
                // In a transaction that the plugin left open, or broken: the database undoes it.
                _ => sessions.close(session),
            }
        });
    }

    /// Ends a backend that still works on something that nobody waits for.
    fn terminate(&self, login: PluginLogin, backend: i32) {
        let sessions = self.clone();
        self.0.tasks.spawn(async move {
            let terminate = async {
                let _one_at_a_time = sessions.0.terminator.acquire().await.map_err(|_| closed())?;
                let (mut connection, _) = relay::connect(&login.options, &sessions.0.tasks).await?;
                sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)").bind(backend).persistent(false).execute(&mut connection).await?;
                connection.close().await?;
                Ok::<_, DatabaseError>(())
            };
            match tokio::time::timeout(HOUSEKEEPING, terminate).await {
                Ok(Ok(())) => debug!(plugin = %login.plugin_id, backend, "terminated a statement that nobody waits for"),
                Ok(Err(error)) => {
                    warn!(plugin = %login.plugin_id, backend, %error, "a statement that nobody waits for could not be terminated")
                }
                Err(_) => warn!(plugin = %login.plugin_id, backend, "a statement that nobody waits for could not be terminated in time"),
            }
        });
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
            self.sessions.recycle(self.login.plugin_id.clone(), session);
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
            let backend = session.backend;
            drop(session);
            self.sessions.terminate(self.login.clone(), backend);
        }
    }
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
