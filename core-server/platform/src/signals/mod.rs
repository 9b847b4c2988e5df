//! Signals (platform facts §8) for plugins, and who may see them.
//!
//! The crate `checkstack-signals` brings them from replica to replica; their sockets are in `http/sockets`.

mod audience;
mod plugin_signals;

pub(crate) use self::audience::AskIdentity;
pub use self::plugin_signals::PluginSignals;
