//! Plugins that are a part of the server. They implement [`Plugin`] like all others and are called in the same way, but no
//! set lists them: they are there before the first plugin of a set, and until after the last.

mod audit;
pub mod backends;
mod configurations;
mod database;
mod files;
mod procedures;
mod settings;
mod sockets;
mod tasks;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use checkstack_cache::CacheManager;
use checkstack_control_api::SealingKey;
use checkstack_entities::Entities;
use checkstack_events::EventBus;
use checkstack_jobs::QueueManager;
use checkstack_plugin_package::PluginId;
use checkstack_signals::SignalService;
use futures::FutureExt as _;

pub use self::audit::AuditLog;
pub use self::configurations::{Configuration, ConfigurationError, Configurations, Reencrypted};
pub use self::database::{Migrations, NativeDatabase};
pub use self::files::SentFile;
pub use self::procedures::{Caller, InvalidProcedures, ProcedureDefinition, Procedures};
pub use self::settings::{NativeSettings, SettingsError};
pub use self::sockets::{SocketHandler, SocketRefusal, SocketRequest, SocketRouteError, SocketRoutes};
pub use self::tasks::PluginTasks;
use crate::encryption::EncryptionKeys;
use crate::identity::Identity;
pub use crate::metrics::{CredentialKind, NativeMetrics, RefusalReason, SignInMethod, SignInOutcome};
use crate::plugin::{Plugin, PluginFailure};
use crate::secrets::Secrets;

/// For one step in the life of a native plugin.
const STEP: Duration = Duration::from_secs(120);
/// For one call of it.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// One plugin of the server.
#[derive(Clone)]
pub struct NativePlugin {
    /// Reserved: no package may have it.
    pub id: PluginId,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
}

/// What the server is made of besides the platform.
#[derive(Default)]
pub struct NativeParts {
    /// In the order in which they are initialised.
    pub plugins: Vec<NativePlugin>,
    /// Who knows users and applications. None: all requests from outside are nobody's.
    pub identity: Option<Arc<dyn Identity>>,
    /// Who keeps secrets. None: no configuration can refer to one.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Where changes are recorded that admins make. None: nowhere.
    pub audit: Option<Arc<dyn AuditLog>>,
}

/// What native plugins are made with.
#[derive(Clone)]
pub struct NativeServices {
    /// Each has a schema of its own.
    pub database: NativeDatabase,
    /// What admins have set, each plugin its own.
    pub configurations: Configurations,
    /// For secrets in the database.
    pub encryption_keys: EncryptionKeys,
    /// The queues of all plugins.
    pub queues: QueueManager,
    /// What happens, for all replicas.
    pub events: EventBus,
    /// Things whose changes others hear: kinds are declared while the plugin is made, and can be listened to from when it is initialised.
    pub entities: Entities,
    /// The caches of all plugins.
    pub caches: CacheManager,
    /// What browsers are told.
    pub signals: SignalService,
    /// Sockets of plugins: to be registered before the first request, while the plugin is made or initialised.
    pub socket_routes: SocketRoutes,
    /// What the plugins count.
    pub metrics: NativeMetrics,
    /// What all replicas have in common and nobody else: keys are derived from it.
    pub sealing_key: SealingKey,
}

/// Makes the native plugins, once the database answers.
pub trait MakeNativeParts: FnOnce(NativeServices) -> Result<NativeParts, String> + Send {}

impl<Make: FnOnce(NativeServices) -> Result<NativeParts, String> + Send> MakeNativeParts for Make {}

/// Initialises all, and tells each that all are. The one that failed is named.
pub(crate) async fn bring_up(plugins: &[NativePlugin]) -> Result<(), (PluginId, PluginFailure)> {
    for native in plugins {
        step(native.plugin.init()).await.map_err(|failure| (native.id.clone(), failure))?;
    }
    for native in plugins {
        step(native.plugin.after_plugins_ready()).await.map_err(|failure| (native.id.clone(), failure))?;
    }
    Ok(())
}

/// In the reverse order.
pub(crate) async fn shut_down(plugins: &[NativePlugin]) {
    for native in plugins.iter().rev() {
        if tokio::time::timeout(Duration::from_secs(5), native.plugin.shutdown()).await.is_err() {
            tracing::warn!(plugin = %native.id, "a part of the server did not shut down in time");
        }
    }
}

async fn step(work: impl Future<Output = Result<(), PluginFailure>>) -> Result<(), PluginFailure> {
    use checkstack_control_api::report::PluginReason::InitFailed;
    match tokio::time::timeout(STEP, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PluginFailure::terminal(InitFailed, "it panicked")),
        Err(_) => Err(PluginFailure::transient(InitFailed, format!("it was not done within {} s", STEP.as_secs()))),
    }
}
