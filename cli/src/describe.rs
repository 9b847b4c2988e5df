//! What a plugin says of itself, asked without a server.
//!
//! `describe` has no side effects, and needs nothing but the component (`plugin-sdk/wit`): it runs here in a sandbox that has a clock and
//! swallows what is logged. Functions are called by name and with values, so that another world's plugin can be asked, too.

use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{Config, Engine, OptLevel, Store, StoreLimits, StoreLimitsBuilder};

const LIFECYCLE: &str = "checkstack:plugin/lifecycle";
/// Instructions, roughly: a few seconds.
const FUEL: u64 = 2_000_000_000;
const MAX_MEMORY_BYTES: usize = 256 * 1024 * 1024;

/// The contract of a plugin, if it offers procedures.
pub(crate) fn contract(component: &[u8]) -> anyhow::Result<Option<String>> {
    let mut config = Config::new();
    // It runs once: what is compiled quickly is done sooner.
    config.wasm_component_model(true).consume_fuel(true).cranelift_opt_level(OptLevel::None);
    let engine = checked(Engine::new(&config)).context("the sandbox cannot be made")?;
    let component = checked(Component::new(&engine, component)).context("the plugin cannot be compiled")?;
    let mut store = Store::new(&engine, StoreLimitsBuilder::new().memory_size(MAX_MEMORY_BYTES).build());
    store.limiter(|limits| limits);
    checked(store.set_fuel(FUEL))?;
    let description = checked(describe(&engine, &component, &mut store)).context("the plugin cannot be asked what it offers")?;
    let Val::Record(fields) = description else { anyhow::bail!("the plugin's description is no record") };
    let contract = fields.into_iter().find(|(name, _)| name == "contract").map(|(_, value)| value);
    match contract {
        Some(Val::Option(Some(text))) => match *text {
            Val::String(text) => Ok(Some(text)),
            _ => anyhow::bail!("the plugin's contract is no text"),
        },
        _ => Ok(None),
    }
}

/// Its errors become ours with all that they say.
fn checked<T>(result: wasmtime::Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:#}"))
}

fn describe(engine: &Engine, component: &Component, store: &mut Store<StoreLimits>) -> wasmtime::Result<Val> {
    let linker = linker(engine, component)?;
    let instance = linker.instantiate(&mut *store, component)?;
    let describe = function(engine, component, store, &instance)?;
    let mut results = [Val::Bool(false)];
    describe.call(&mut *store, &[], &mut results)?;
    let [description] = results;
    Ok(description)
}

/// `describe`, of whichever version of the world.
fn function(
    engine: &Engine,
    component: &Component,
    store: &mut Store<StoreLimits>,
    instance: &Instance,
) -> wasmtime::Result<wasmtime::component::Func> {
    let missing = || wasmtime::Error::msg("it has no lifecycle.describe");
    let kind = component.component_type();
    let exports = kind.exports(engine);
    let name = exports.map(|(name, _)| name).find(|name| is_interface(name, LIFECYCLE)).ok_or_else(missing)?.to_owned();
    let lifecycle = instance.get_export_index(&mut *store, None, &name).ok_or_else(missing)?;
    let index = instance.get_export_index(&mut *store, Some(&lifecycle), "describe").ok_or_else(missing)?;
    instance.get_func(&mut *store, index).ok_or_else(missing)
}

fn is_interface(name: &str, wanted: &str) -> bool {
    name.split('@').next() == Some(wanted)
}

/// With what does no harm; anything else that is called ends the plugin.
fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<StoreLimits>> {
    let mut linker = Linker::new(engine);
    let started = Instant::now();
    let kind = component.component_type();
    for (name, _) in kind.imports(engine) {
        if is_interface(name, "checkstack:plugin/log") {
            linker.instance(name)?.func_new("write", |_, _, _, _| Ok(()))?;
        }
        if is_interface(name, "checkstack:plugin/clock") {
            let mut clock = linker.instance(name)?;
            clock.func_new("now", |_, _, _, results| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                answered(results, u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
                Ok(())
            })?;
            clock.func_new("monotonic", move |_, _, _, results| {
                answered(results, u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
                Ok(())
            })?;
        }
    }
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

fn answered(results: &mut [Val], number: u64) {
    if let Some(result) = results.first_mut() {
        *result = Val::U64(number);
    }
}
