//! What the server decides about all sandboxed plugins alike. What an admin decides about one of
//! them is in its grants.

use std::num::NonZeroUsize;
use std::time::Duration;

use checkstack_platform::plugin::ACTIVATION_AT_LEAST;

/// Settings of the sandbox. [`WasmHostSettings::new`] has the values that fit most servers.
#[derive(Clone)]
#[non_exhaustive]
pub struct WasmHostSettings {
    /// Authenticates compiled code in the state directory. The init container that compiles and the
    /// server that loads must have the same key; a server with another key compiles again.
    pub mac_key: [u8; 32],
    /// Instances of one plugin, and so the calls that it can work on at once.
    pub max_instances_per_plugin: usize,
    /// Calls of one plugin that may wait for an instance. One more is refused at once.
    pub max_waiting_calls_per_plugin: usize,
    /// How long a call may wait for an instance.
    pub queue_timeout: Duration,
    /// All instances of one plugin together may have this many times the memory granted to one. So
    /// there are fewer than [`Self::max_instances_per_plugin`] if each needs much of its grant; a call
    /// for which there is no room waits for another to end, as it does at that limit.
    pub plugin_memory_factor: u32,
    /// An instance is replaced after this many calls.
    pub max_calls_per_instance: u64,
    /// An instance that has not worked for this long is dropped; one is always kept.
    pub idle_timeout: Duration,
    /// `init` and `after-plugins-ready` have at least this time when a plugin is activated. No more than
    /// [`ACTIVATION_AT_LEAST`] is of use: the platform gives up then.
    pub activation_at_least: Duration,
    /// Time for `shutdown`, whatever the plugin's own deadline.
    pub shutdown_timeout: Duration,
    /// Threads that run what takes long: calls that compute for more than a moment, `init` and its
    /// like. They have a lower priority than those that serve requests.
    pub background_threads: usize,
    /// Components that are compiled at once; each may use all [`Self::background_threads`].
    pub max_concurrent_compilations: usize,
    /// The largest component that is compiled.
    pub max_component_bytes: u64,
    /// The largest response body of a plugin.
    pub max_response_bytes: usize,
}

impl WasmHostSettings {
    /// Defaults for this machine.
    pub fn new(mac_key: [u8; 32]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            mac_key,
            // More than cores: an instance that waits for the database or a peer computes nothing.
            max_instances_per_plugin: (4 * cores).clamp(8, 64),
            max_waiting_calls_per_plugin: 256,
            queue_timeout: Duration::from_secs(1),
            plugin_memory_factor: 4,
            max_calls_per_instance: 100_000,
            idle_timeout: Duration::from_secs(60),
            activation_at_least: ACTIVATION_AT_LEAST,
            shutdown_timeout: Duration::from_secs(5),
            background_threads: cores,
            max_concurrent_compilations: 2,
            max_component_bytes: 64 * 1024 * 1024,
            max_response_bytes: 16 * 1024 * 1024,
        }
    }
}

impl std::fmt::Debug for WasmHostSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        formatter
            .debug_struct("WasmHostSettings")
            .field("max_instances_per_plugin", &self.max_instances_per_plugin)
            .field("max_waiting_calls_per_plugin", &self.max_waiting_calls_per_plugin)
            .field("background_threads", &self.background_threads)
            .finish_non_exhaustive()
    }
}
