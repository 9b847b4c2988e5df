//! Runs sandboxed plugins: WebAssembly components of the world in `plugin-sdk/wit`.
//!
//! [`WasmPluginLoader`] makes a [`Plugin`](checkstack_platform::plugin::Plugin) from a materialised
//! artifact. Read on in this order:
//!
//! - [`WasmPluginLoader`]: the way in.
//! - `compiled`, `single_flight`, `authentication`, `mapped`: native code, made once and kept where
//!   only this server can have put it.
//! - `plugin`, `pool`, `instance`: the instances of a plugin and the life of one.
//! - `lane`, `engine`: where guest code runs and how it is interrupted.
//! - `limits`, `failure`: what stops a guest and how that is told.
//! - `host`: what the server does for a plugin; `grants` and `addresses` say what it may.
//!
//! A plugin can compute, in bounded memory and for a bounded time, and call the imports of the world.
//! It has no files, no sockets, no environment and no other clock than the world's.

mod addresses;
mod authentication;
mod bindings;
mod compiled;
mod description;
mod engine;
mod failure;
mod grants;
mod host;
mod instance;
mod json;
mod lane;
mod limits;
mod loader;
mod mapped;
mod messages;
mod plugin;
mod pool;
mod procedures;
mod processor_budget;
mod settings;
mod single_flight;

pub use loader::WasmPluginLoader;
pub use settings::WasmHostSettings;

/// Why the sandbox cannot work on this machine.
#[derive(Debug, thiserror::Error)]
pub enum WasmHostError {
    /// The engine does not start.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("a thread of the plugin sandbox could not be started: {0}")]
    Thread(std::io::Error),
}
