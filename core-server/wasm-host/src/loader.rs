//! From a materialised artifact to a plugin.

use std::sync::Arc;

use async_trait::async_trait;
use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{CodeCache, MaterialisedArtifact, Plugin, PluginFailure, PluginLoader, PluginServices};
use checkstack_plugin_package::PluginEntry;
use wasmtime::component::Linker;

use crate::compiled::Compiler;
use crate::engine::TickingEngine;
use crate::host::{self, HostState, PluginContext};
use crate::instance::Template;
use crate::lane::BackgroundLane;
use crate::plugin::WasmPlugin;
use crate::{WasmHostError, WasmHostSettings};

/// What all plugins stand on. It lives as long as any of them.
pub(crate) struct Foundation {
    pub(crate) background: Arc<BackgroundLane>,
    /// Advances the clock that interrupts guest code.
    _engine: TickingEngine,
}

/// Loads sandboxed plugins. One for each server.
pub struct WasmPluginLoader {
    settings: WasmHostSettings,
    foundation: Arc<Foundation>,
    linker: Linker<HostState>,
    compiler: Compiler,
}

impl WasmPluginLoader {
    /// Starts the engine, its clock and the background threads. Without a cache each pod compiles for itself.
    pub fn new(settings: WasmHostSettings, cache: Option<Arc<dyn CodeCache>>) -> Result<Self, WasmHostError> {
        let engine = TickingEngine::new()?;
        let linker = host::linker(engine.engine())?;
        let compiler = Compiler::new(engine.engine(), &settings, cache)?;
        let background = Arc::new(BackgroundLane::new(settings.background_threads)?);
        Ok(Self { settings, foundation: Arc::new(Foundation { background, _engine: engine }), linker, compiler })
    }
}

#[async_trait]
impl PluginLoader for WasmPluginLoader {
    async fn precompile(&self, artifact: &MaterialisedArtifact) -> Result<(), PluginFailure> {
        self.compiler.component(artifact).await.map(drop)
    }

    async fn receive(&self, artifact: &MaterialisedArtifact) -> bool {
        self.compiler.receive(artifact).await
    }

    async fn has_code(&self, artifact: &MaterialisedArtifact) -> bool {
        self.compiler.has_code(artifact).await
    }

    async fn load(
        &self,
        entry: &PluginEntry,
        artifact: &MaterialisedArtifact,
        services: PluginServices,
    ) -> Result<Arc<dyn Plugin>, PluginFailure> {
        // What can be judged without the component first.
        let context =
            PluginContext::new(services).map_err(|error| PluginFailure::terminal(PluginReason::InvalidConfig, error.to_string()))?;
        let component = self.compiler.component(artifact).await?;
        let template = Template::new(&self.linker, &component, Arc::new(context), self.settings.plugin_memory_factor)?;
        let plugin = WasmPlugin::load(template, Arc::clone(&self.foundation), &self.settings).await?;
        tracing::debug!(plugin = %entry.plugin_id, version = %entry.version, digest = %artifact.digest, "loaded a plugin");
        Ok(Arc::new(plugin))
    }
}
