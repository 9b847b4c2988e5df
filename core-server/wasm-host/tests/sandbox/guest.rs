//! Plugins for the tests: real components of the world, written as WebAssembly text.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

const WORLD: &str = include_str!("../../../../plugin-sdk/wit/plugin.wit");
const PLUGIN: &str = include_str!("guest.wat");
const ENTITIES: &str = include_str!("guest_entities.wat");

/// What a guest does other than to succeed.
pub(crate) struct Guest {
    pages: u32,
    text: String,
    contract: Option<String>,
    queues: u32,
    subscriptions: u32,
    entities: u32,
    describe: String,
    init: String,
    after_plugins_ready: String,
    shutdown: String,
    check: String,
    version: &'static str,
    imports: String,
    foreign_world: &'static str,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            pages: 2,
            text: String::new(),
            contract: None,
            queues: 0,
            subscriptions: 0,
            entities: 0,
            describe: String::new(),
            init: "(call $done)".into(),
            after_plugins_ready: "(call $done)".into(),
            shutdown: String::new(),
            check: String::new(),
            version: "0.2.0",
            imports: String::new(),
            foreign_world: "",
        }
    }
}

/// A plugin that does nothing but to answer.
pub(crate) fn plain() -> Vec<u8> {
    Guest::default().component()
}

impl Guest {
    /// Instructions of `init`, which must leave a `result` behind: `(call $done)`.
    pub(crate) fn init(mut self, instructions: &str) -> Self {
        self.init = instructions.into();
        self
    }

    /// `init` that returns an error: 0 is `invalid-config`, 1 is `failed`.
    pub(crate) fn init_fails(mut self, tag: u32, message: &str) -> Self {
        self.text = message.into();
        self.init(&format!("(call $failed (i32.const {tag}))"))
    }

    pub(crate) fn after_plugins_ready(mut self, instructions: &str) -> Self {
        self.after_plugins_ready = instructions.into();
        self
    }

    pub(crate) fn shutdown(mut self, instructions: &str) -> Self {
        self.shutdown = instructions.into();
        self
    }

    /// Instructions of `describe` before it answers.
    pub(crate) fn describe(mut self, instructions: &str) -> Self {
        self.describe = instructions.into();
        self
    }

    /// Has a queue, which is called `key`.
    pub(crate) fn with_queue(mut self) -> Self {
        self.queues = 1;
        self
    }

    /// Has subscribed to `subject.key`: as a broadcast, and with the worker group `key`.
    pub(crate) fn with_subscriptions(mut self) -> Self {
        self.subscriptions = 2;
        self
    }

    /// Has a kind of entities, which is called `key`.
    pub(crate) fn with_entities(mut self) -> Self {
        self.entities = 1;
        self
    }

    /// What `describe` gives as its contract.
    pub(crate) fn contract(mut self, contract: &str) -> Self {
        self.contract = Some(contract.into());
        self
    }

    /// Instructions of `check` before it answers.
    pub(crate) fn check(mut self, instructions: &str) -> Self {
        self.check = instructions.into();
        self
    }

    /// Pages of 64 KiB that the guest has from the start.
    pub(crate) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// Built for another version of the world.
    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// Imports something that the world does not have.
    pub(crate) fn foreign_import(mut self) -> Self {
        self.imports = r#"(import "other:thing/door@1.0.0" "open" (func))"#.into();
        self.foreign_world = "package other:thing@1.0.0; interface door { open: func(); } world greedy { include checkstack:plugin/plugin@0.2.0; import door; }";
        self
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let text = PLUGIN
            .replace("<entities-part>", ENTITIES)
            .replace("<pages>", &self.pages.to_string())
            .replace("<text-length>", &self.text.len().to_string())
            .replace("<text>", &self.text)
            .replace("<has-contract>", if self.contract.is_some() { "1" } else { "0" })
            .replace("<contract-length>", &self.contract.as_ref().map_or(0, String::len).to_string())
            .replace("<contract>", &self.contract.clone().unwrap_or_default().replace('"', "\\22"))
            .replace("<queues>", &self.queues.to_string())
            .replace("<subscriptions>", &self.subscriptions.to_string())
            .replace("<entities>", &self.entities.to_string())
            .replace("<describe>", &self.describe)
            .replace("<init>", &self.init)
            .replace("<after-plugins-ready>", &self.after_plugins_ready)
            .replace("<shutdown>", &self.shutdown)
            .replace("<check>", &self.check)
            .replace("<imports>", &self.imports)
            .replace("@0.2.0", &format!("@{}", self.version));
        let mut resolve = Resolve::default();
        let mut package = resolve.push_str("plugin.wit", &WORLD.replace("@0.2.0", &format!("@{}", self.version))).unwrap();
        if !self.foreign_world.is_empty() {
            package = resolve.push_str("foreign.wit", self.foreign_world).unwrap();
        }
        let world = resolve.select_world(&[package], None).unwrap();
        componentise(&text, &resolve, world)
    }
}

/// A component that exports nothing of the world.
pub(crate) fn without_exports() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("empty.wit", "package a:b; world empty {}").unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    componentise("(module)", &resolve, world)
}

/// A core module, as a compiler leaves it before it is made a component.
pub(crate) fn core_module() -> Vec<u8> {
    wat::parse_str("(module)").unwrap()
}

/// A component of a world that differs from ours in a type only.
pub(crate) fn with_another_type() -> Vec<u8> {
    let world = WORLD.replace("check: func(probe: string) -> outcome;", "check: func(probe: u32, other: u32) -> outcome;");
    assert_ne!(world, WORLD);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", &world).unwrap();
    let text = ["imports", "text", "contract", "describe", "shutdown", "check"]
        .iter()
        .fold(PLUGIN.to_owned(), |text, mark| text.replace(&format!("<{mark}>"), ""));
    let text = text
        .replace("<entities-part>", ENTITIES)
        .replace("<pages>", "2")
        .replace("<text-length>", "0")
        .replace("<has-contract>", "0")
        .replace("<queues>", "0")
        .replace("<subscriptions>", "0")
        .replace("<entities>", "0")
        .replace("<contract-length>", "0")
        .replace("<init>", "(call $done)")
        .replace("<after-plugins-ready>", "(call $done)");
    let world = resolve.select_world(&[package], None).unwrap();
    componentise(&text, &resolve, world)
}

fn componentise(text: &str, resolve: &Resolve, world: wit_parser::WorldId) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    wit_component::embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
