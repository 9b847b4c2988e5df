//! From a core module to a component.
//!
//! Compilers make core modules. The guest's bindings leave in them, as a custom section, the world
//! that they were made for; with it a module can be wrapped as a component.

use checkstack_plugin_package::component::{self, ComponentError, ComponentInterface};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// Name of the custom section, or how it begins.
const WORLD_SECTION: &str = "component-type";

/// What was asked for and what came of it.
pub(crate) struct Component {
    pub(crate) bytes: Vec<u8>,
    /// False when it was a component from the start.
    pub(crate) was_core_module: bool,
}

/// A component this release can run, from a component or a core module. The error says why not.
pub(crate) fn componentise(wasm: Vec<u8>) -> Result<Component, String> {
    let (component, interface) = match ComponentInterface::of(&wasm) {
        Ok(interface) => (Component { bytes: wasm, was_core_module: false }, interface),
        Err(ComponentError::CoreModule) => {
            let component = Component { bytes: encode(&wasm)?, was_core_module: true };
            let interface = ComponentInterface::of(&component.bytes).map_err(|error| error.to_string())?;
            (component, interface)
        }
        Err(error) => return Err(error.to_string()),
    };
    interface.check().and_then(|()| component::validate(&component.bytes)).map_err(|error| error.to_string())?;
    Ok(component)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    if !names_its_world(module) {
        return Err("it is a core WebAssembly module that does not name its world: build it with the plugin SDK".into());
    }
    let encoded = ComponentEncoder::default().module(module).and_then(|encoder| encoder.validate(true).encode());
    encoded.map_err(|error| {
        let problem = format!("{error:#}");
        match problem.contains("wasi_snapshot_preview1") {
            true => format!("it needs WASI, which plugins do not have: build it for the target wasm32-unknown-unknown ({problem})"),
            false => format!("no component can be made of it: {problem}"),
        }
    })
}

fn names_its_world(module: &[u8]) -> bool {
    Parser::new(0)
        .parse_all(module)
        .map_while(Result::ok)
        .any(|payload| matches!(payload, Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION)))
}
