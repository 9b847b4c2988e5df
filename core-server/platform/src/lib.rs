//! The platform of the core server: the plugin contract and lifecycle, the registries, database
//! scoping and the HTTP surface. It knows no WebAssembly and no Kubernetes.
//!
//! - [`plugin`] is the contract between platform and plugins.
//! - [`Platform`] is a running core server; [`Surface`] answers its requests, [`serve`] accepts them.
//! - [`materialise`] is what the init container does.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod artifacts;
mod attendance;
mod backoff;
mod caches;
mod database;
mod dispatch;
pub mod encryption;
mod entities;
mod events;
mod http;
pub mod identity;
mod jobs;
mod keys;
mod lifecycle;
mod metrics;
mod mounted_set;
pub mod native;
mod platform;
pub mod plugin;
mod procedures;
mod quarantine;
pub mod readiness;
pub mod secrets;
mod signals;
mod trace;
mod turns;

pub use self::caches::{DEFAULT_CACHE_BYTES, FEWEST_CACHE_BYTES};
pub use self::database::{ConnectionDivision, DEFAULT_CONNECTIONS, DatabaseError, DatabaseSettings, FEWEST_CONNECTIONS};
pub use self::http::listener::serve;
pub use self::http::sockets::SocketSettings;
pub use self::http::{DEFAULT_MAX_BODY_BYTES, Surface};
pub use self::jobs::JobsError;
pub use self::keys::KeysError;
pub use self::metrics::reference as metrics_reference;
pub use self::mounted_set::MountedSetError;
pub use self::platform::{DEFAULT_FRONTEND_DIRECTORY, MakeLoader, Platform, PlatformSettings, StartError, materialise};
pub use self::trace::{SpanCounts, TARGET as TRACE_TARGET};
