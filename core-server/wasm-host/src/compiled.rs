//! From a component to native code, once per artifact.
//!
//! The code is kept beside the component, and where other pods find it, with a tag that proves its origin
//! (see [`authentication`](crate::authentication)). Code that is missing, damaged, foreign or of
//! another release is made again, never trusted.
//!
//! A compilation cannot be stopped. One that nobody waits for any more goes on in its slot, and the
//! next who wants the same code waits for that one (see [`single_flight`](crate::single_flight)).

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{CodeCache, MaterialisedArtifact, PluginFailure};
use checkstack_plugin_package::{ComponentError, ComponentInterface, Digest};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::authentication::{CodeAuthenticator, CodeMac};
use crate::failure::one_line;
use crate::mapped::{self, UnusableCode};
use crate::single_flight::{Lost, SingleFlight};
use crate::{WasmHostError, WasmHostSettings, lane};

/// For the cache, which may not answer: compiling is always possible.
const CACHE: Duration = Duration::from_secs(20);
/// Of some megabytes each.
const MAX_RECEIVED: usize = 4;

/// Added to the niceness of compiling threads: serving goes first, but somebody waits for the plugin.
const COMPILER_NICENESS: i32 = 5;

/// Why there is no code for an artifact.
#[derive(Debug, thiserror::Error)]
enum CompileError {
    #[error("the component cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("the component has {0} bytes; at most {1} are compiled")]
    TooLarge(u64, u64),
    #[error(transparent)]
    Interface(#[from] ComponentError),
    #[error("the component does not compile: {0}")]
    Invalid(String),
    #[error("the compilation was given up: the compiler failed, or the server is going away; the log says more")]
    Abandoned,
}

impl From<CompileError> for PluginFailure {
    fn from(error: CompileError) -> Self {
        let message = error.to_string();
        match error {
            CompileError::Unreadable(_) | CompileError::Abandoned => Self::transient(PluginReason::Internal, message),
            CompileError::Interface(error) if error.is_world_mismatch() => Self::terminal(PluginReason::IncompatibleWorld, message),
            CompileError::TooLarge(..) | CompileError::Interface(_) | CompileError::Invalid(_) => {
                Self::terminal(PluginReason::InvalidComponent, message)
            }
        }
    }
}

/// Compiles components and keeps the code.
pub(crate) struct Compiler {
    shared: Arc<Shared>,
    /// Bounds the memory that compilations take.
    compilations: SingleFlight<Place, Result<Component, PluginFailure>>,
    /// Verifying and mapping code uses a whole CPU.
    readers: Semaphore,
    /// Code of other pods that is being received, or waits in memory to be verified.
    received: Semaphore,
}

/// Of a component: its artifact, and where it lies.
type Place = (Digest, PathBuf);

struct Shared {
    engine: Engine,
    authenticator: CodeAuthenticator,
    threads: rayon::ThreadPool,
    max_component_bytes: u64,
    cache: Option<Arc<dyn CodeCache>>,
}

impl Compiler {
    pub(crate) fn new(engine: &Engine, settings: &WasmHostSettings, cache: Option<Arc<dyn CodeCache>>) -> Result<Self, WasmHostError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(settings.background_threads.max(1))
            .thread_name(|_| "plugin-compiler".into())
            .start_handler(|_| lane::lower_thread_priority(COMPILER_NICENESS))
            .build()
            .map_err(|error| WasmHostError::Thread(io::Error::other(error)))?;
        let shared = Shared {
            engine: engine.clone(),
            authenticator: CodeAuthenticator::new(&settings.mac_key, engine),
            threads,
            max_component_bytes: settings.max_component_bytes,
            cache,
        };
        Ok(Self {
            shared: Arc::new(shared),
            compilations: SingleFlight::new(settings.max_concurrent_compilations),
            readers: Semaphore::new(settings.background_threads.max(1)),
            received: Semaphore::new(MAX_RECEIVED),
        })
    }

    /// The artifact's component, from disk or from other pods when its code is there, compiled otherwise.
    pub(crate) async fn component(&self, artifact: &MaterialisedArtifact) -> Result<Component, PluginFailure> {
        let place = (artifact.digest, artifact.component.clone());
        let kept = async {
            let (shared, kept) = (Arc::clone(&self.shared), artifact.clone());
            match self.reading(move || shared.kept(&kept)).await {
                Some(component) => Some(Ok(component)),
                None => self.received(artifact).await.map(Ok),
            }
        };
        let made = {
            let (shared, artifact, runtime) = (Arc::clone(&self.shared), artifact.clone(), Handle::current());
            move || shared.made(&artifact, &runtime).map_err(PluginFailure::from)
        };
        let result = self.compilations.run(place, kept, made).await;
        result.unwrap_or_else(|Lost| Err(CompileError::Abandoned.into()))
    }

    /// Code that another pod has compiled, for a component that need not be here. False if there is none that can be used.
    pub(crate) async fn receive(&self, artifact: &MaterialisedArtifact) -> bool {
        let (shared, place) = (Arc::clone(&self.shared), artifact.clone());
        self.shared_code(artifact, move |file| shared.receive(&place, file)).await.is_some()
    }

    /// Whether there is code beside the place of the component, of whatever use.
    pub(crate) async fn has_code(&self, artifact: &MaterialisedArtifact) -> bool {
        tokio::fs::try_exists(code_path(artifact)).await.unwrap_or(false)
    }

    async fn received(&self, artifact: &MaterialisedArtifact) -> Option<Component> {
        let (shared, place) = (Arc::clone(&self.shared), artifact.clone());
        self.shared_code(artifact, move |file| shared.received(&place, file)).await
    }

    /// What becomes of the code that another pod has compiled. While it comes, other code is verified.
    async fn shared_code<T: Send + 'static>(
        &self,
        artifact: &MaterialisedArtifact,
        take: impl FnOnce(&[u8]) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let _place = self.received.acquire().await.ok()?;
        let target = self.shared.authenticator.target();
        let get = self.shared.cache.as_ref()?.get(&artifact.digest, &target);
        let file = tokio::time::timeout(CACHE, get).await.ok()??;
        self.reading(move || take(&file)).await
    }

    async fn reading<T: Send + 'static>(&self, read: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
        let _turn = self.readers.acquire().await.ok()?;
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

impl Shared {
    /// Code from an earlier compilation.
    fn kept(&self, artifact: &MaterialisedArtifact) -> Option<Component> {
        let path = code_path(artifact);
        match mapped::load(&self.engine, &path, self.mac(artifact)) {
            Ok(component) => Some(component),
            Err(UnusableCode::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(problem) => {
                tracing::warn!(path = %path.display(), %problem, "compiled code of a plugin is not used; compiling it again");
                // Where the component is not, nothing should seem to be there.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Code that was sent here, kept until it is asked for.
    fn receive(&self, artifact: &MaterialisedArtifact, file: &[u8]) -> Option<()> {
        if !self.mac(artifact).authenticates(file) {
            tracing::warn!(digest = %artifact.digest, "compiled code of a plugin in the database is not used: it was not made by this instance for this artifact, engine and processor, or it is damaged");
            return None;
        }
        let kept = write_whole(&code_path(artifact), &[file]);
        kept.inspect_err(|error| tracing::warn!(digest = %artifact.digest, %error, "compiled code cannot be kept")).ok()
    }

    /// Code that was sent here, kept for the next time.
    fn received(&self, artifact: &MaterialisedArtifact, file: &[u8]) -> Option<Component> {
        let path = code_path(artifact);
        let written = write_whole(&path, &[file]).map_err(UnusableCode::from);
        match written.and_then(|()| mapped::load(&self.engine, &path, self.mac(artifact))) {
            Ok(component) => Some(component),
            Err(problem) => {
                tracing::warn!(digest = %artifact.digest, %problem, "compiled code of a plugin in the database is not used; compiling it again");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Code from a compilation now, kept for the next time and for other pods.
    fn made(&self, artifact: &MaterialisedArtifact, runtime: &Handle) -> Result<Component, CompileError> {
        let path = code_path(artifact);
        let component = self.compile(&artifact.component)?;
        let kept = self.keep(&component, &path, self.mac(artifact)).map_err(UnusableCode::from);
        match kept.and_then(|()| mapped::load(&self.engine, &path, self.mac(artifact))) {
            // Mapped pages can be given back to the system; those of the compilation cannot.
            Ok(mapped) => {
                self.share(artifact, &path, runtime);
                Ok(mapped)
            }
            Err(problem) => {
                tracing::warn!(path = %path.display(), %problem, "compiled code of a plugin could not be kept; it will be compiled again at the next start");
                Ok(component)
            }
        }
    }

    /// Whether it arrives does not matter to this pod.
    fn share(&self, artifact: &MaterialisedArtifact, path: &Path, runtime: &Handle) {
        let Some(cache) = &self.cache else { return };
        match fs::read(path) {
            Ok(file) => {
                let target = self.authenticator.target();
                let put = async { tokio::time::timeout(CACHE, cache.put(&artifact.digest, &target, Bytes::from(file))).await };
                if runtime.block_on(put).is_err() {
                    tracing::debug!(digest = %artifact.digest, "compiled code could not be shared in time");
                }
            }
            Err(error) => tracing::debug!(path = %path.display(), %error, "compiled code cannot be read"),
        }
    }

    fn mac(&self, artifact: &MaterialisedArtifact) -> CodeMac {
        let inside = artifact.component.strip_prefix(&artifact.directory).unwrap_or(&artifact.component);
        self.authenticator.begin(&artifact.digest, inside)
    }

    fn compile(&self, path: &Path) -> Result<Component, CompileError> {
        let bytes = self.read(path)?;
        ComponentInterface::of(&bytes)?.check()?;
        let started = std::time::Instant::now();
        let component = self
            .threads
            .install(|| Component::new(&self.engine, &bytes))
            .map_err(|error| CompileError::Invalid(one_line(&format!("{error:#}"), 300)))?;
        tracing::info!(path = %path.display(), milliseconds = started.elapsed().as_millis(), "compiled a plugin");
        Ok(component)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, CompileError> {
        let file = fs::File::open(path).map_err(CompileError::Unreadable)?;
        let length = file.metadata().map_err(CompileError::Unreadable)?.len();
        if length > self.max_component_bytes {
            return Err(CompileError::TooLarge(length, self.max_component_bytes));
        }
        let mut bytes = Vec::new();
        file.take(self.max_component_bytes).read_to_end(&mut bytes).map_err(CompileError::Unreadable)?;
        Ok(bytes)
    }

    fn keep(&self, component: &Component, path: &Path, mut mac: CodeMac) -> io::Result<()> {
        let code = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        mac.update(&code);
        write_whole(path, &[&code, &mac.tag()])
    }
}

/// Writes under another name first, so that `path` is never half a file.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let written = write_read_only(&temporary, parts).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Whatever is left of it would only take space.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Beside the component, as `plugin.cwasm` beside `plugin.wasm`.
fn code_path(artifact: &MaterialisedArtifact) -> PathBuf {
    artifact.component.with_extension("cwasm")
}

/// A name that no other writer uses, in this process or another.
fn temporary_beside(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    path.with_extension(format!("cwasm.{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
}

fn write_read_only(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
    let mut file = options.open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}
