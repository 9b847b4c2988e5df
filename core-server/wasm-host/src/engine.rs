//! The engine that all plugins share, and the clock that interrupts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak};

use crate::WasmHostError;

/// How often running guest code is interrupted to see whether it should go on. One thread that
/// wakes 200 times a second costs nothing that can be measured.
const TICK: Duration = Duration::from_millis(5);

/// Stack of guest code. A deeper recursion is a trap, not a crash.
const GUEST_STACK_BYTES: usize = 512 * 1024;

/// Stack of a call: guest code, and on top of it what the host does for the guest.
const CALL_STACK_BYTES: usize = 2 * 1024 * 1024;

/// An engine whose epoch advances while this value lives.
pub(crate) struct TickingEngine {
    engine: Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl TickingEngine {
    pub(crate) fn new() -> Result<Self, WasmHostError> {
        let engine = Engine::new(&config()).map_err(|error| WasmHostError::Engine(format!("{error:#}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = std::thread::Builder::new()
            .name("plugin-clock".into())
            .spawn({
                let (engine, stop) = (engine.weak(), Arc::clone(&stop));
                move || tick(&engine, &stop)
            })
            .map_err(WasmHostError::Thread)?;
        Ok(Self { engine, stop, ticker: Some(ticker) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for TickingEngine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // The thread does nothing that could fail or last.
            let _ = ticker.join();
        }
    }
}

fn tick(engine: &EngineWeak, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}

/// Memory of instances is allocated on demand. A pooling allocator makes a small instance in half the
/// time (35 instead of 67 µs, one of QuickJS no faster), but instances are reused for very many calls,
/// which take the same time with both; and its slots are a limit that one plugin could use up for all
/// others.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES);
    config
}
