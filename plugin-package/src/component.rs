//! What a WebAssembly component asks for and offers, judged against the plugin world.
//!
//! Only the outermost imports and exports are read. Whether the code inside is valid is found out
//! by the engine that compiles it, and for an author by [`validate`].

use semver::Version;
use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload, Validator};

/// The version of the package `checkstack:plugin` that this release provides.
pub const WORLD_VERSION: Version = Version::new(0, 2, 0);

/// The package of the plugin world.
pub const WORLD_PACKAGE: &str = "checkstack:plugin";

/// The interfaces that the world `plugin` imports: what a plugin may use.
pub const IMPORTS: &[&str] = &[
    "cache",
    "clock",
    "config",
    "entities",
    "events",
    "http-client",
    "jobs",
    "key-value",
    "log",
    "plugins",
    "settings",
    "signals",
    "sql",
    "types",
];

/// The interfaces that the world `plugin` exports: what a plugin must have.
pub const EXPORTS: &[&str] = &["handler", "lifecycle", "listener", "procedures", "readiness", "worker"];

/// The outside of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentInterface {
    /// Names of its imports, in its order: `checkstack:plugin/log@0.2.0`.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
}

/// Why a component cannot be a plugin here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// A core module.
    #[error("it is a core WebAssembly module, not a component; `checkstack plugin pack` makes a component of it")]
    CoreModule,
    /// Not WebAssembly, or damaged.
    #[error("it is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// Built for another world.
    #[error("it is built for {WORLD_PACKAGE} {found}; this server provides {provided}: use a build of the plugin for {provided}")]
    IncompatibleWorld {
        /// The version it names; `without version` when it names none.
        found: String,
        /// [`WORLD_VERSION`].
        provided: Version,
    },
    /// An import from elsewhere, for example WASI.
    #[error("it imports '{import}', but a plugin may import only interfaces of {WORLD_PACKAGE}")]
    ForeignImport {
        /// Its name.
        import: String,
    },
    /// An interface that this version of the world does not have.
    #[error("it imports '{import}', which {WORLD_PACKAGE} {provided} does not have: it may need a newer server")]
    UnknownImport {
        /// Its name.
        import: String,
        /// [`WORLD_VERSION`].
        provided: Version,
    },
    /// Something of the world is not there.
    #[error("it does not export {}, which every plugin of {WORLD_PACKAGE} {provided} must", list(.missing))]
    MissingExport {
        /// Names of interfaces, all that are missing.
        missing: Vec<String>,
        /// [`WORLD_VERSION`].
        provided: Version,
    },
}

impl ComponentError {
    /// True when a build for this server's world would be fine, false when the bytes are no plugin
    /// of any world.
    pub fn is_world_mismatch(&self) -> bool {
        matches!(self, Self::IncompatibleWorld { .. } | Self::UnknownImport { .. })
    }
}

impl ComponentInterface {
    /// Reads the outside of `component`.
    pub fn of(component: &[u8]) -> Result<Self, ComponentError> {
        let damaged = |error: wasmparser::BinaryReaderError| ComponentError::NotAComponent(error.message().to_owned());
        if !component.starts_with(b"\0asm") {
            return Err(ComponentError::NotAComponent("it does not begin as WebAssembly does".into()));
        }
        let mut interface = Self { imports: Vec::new(), exports: Vec::new() };
        // Modules and components inside have imports and exports of their own, which are not ours.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(damaged)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(ComponentError::CoreModule),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        interface.imports.push(import.map_err(damaged)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        interface.exports.push(export.map_err(damaged)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(interface)
    }

    /// The version of the world that it was built for: of its imports and exports the highest.
    pub fn world_version(&self) -> Option<Version> {
        self.imports.iter().chain(&self.exports).filter_map(|name| parse(name)?.version?.parse().ok()).max()
    }

    /// Whether this server can run it.
    pub fn check(&self) -> Result<(), ComponentError> {
        let provided = WORLD_VERSION;
        for import in &self.imports {
            let Some(Name { interface, version }) = parse(import) else {
                return Err(ComponentError::ForeignImport { import: shown(import) });
            };
            check_version(version, &provided)?;
            if !IMPORTS.contains(&interface) {
                return Err(ComponentError::UnknownImport { import: shown(import), provided });
            }
        }
        let mut missing: Vec<String> = EXPORTS.iter().map(|interface| format!("{WORLD_PACKAGE}/{interface}")).collect();
        for export in &self.exports {
            // A plugin may export more than the world asks for.
            let Some(Name { interface, version }) = parse(export) else { continue };
            check_version(version, &provided)?;
            missing.retain(|name| name.strip_prefix(WORLD_PACKAGE).and_then(|name| name.strip_prefix('/')) != Some(interface));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(ComponentError::MissingExport { missing, provided }),
        }
    }
}

/// Checks every type and every instruction of `component`. Takes time in proportion to its size.
pub fn validate(component: &[u8]) -> Result<(), ComponentError> {
    match Validator::new().validate_all(component) {
        Ok(_) => Ok(()),
        Err(error) => Err(ComponentError::NotAComponent(format!("at byte {}: {}", error.offset(), error.message()))),
    }
}

/// The rule of the WIT package: as Cargo's caret, 0.1 and 0.2 differ, 1.0 and 1.1 do not.
pub fn is_compatible(found: &Version, provided: &Version) -> bool {
    let compatible_part = |version: &Version| match (version.major, version.minor) {
        (0, 0) => (0, 0, version.patch),
        (0, minor) => (0, minor, 0),
        (major, _) => (major, 0, 0),
    };
    compatible_part(found) == compatible_part(provided) && found.pre == provided.pre
}

/// A name of our package, taken apart.
struct Name<'a> {
    interface: &'a str,
    version: Option<&'a str>,
}

/// `None` for a name of any other package.
fn parse(name: &str) -> Option<Name<'_>> {
    let name = name.strip_prefix(WORLD_PACKAGE)?.strip_prefix('/')?;
    Some(match name.split_once('@') {
        Some((interface, version)) => Name { interface, version: Some(version) },
        None => Name { interface: name, version: None },
    })
}

fn check_version(version: Option<&str>, provided: &Version) -> Result<(), ComponentError> {
    let found = version.and_then(|version| version.parse::<Version>().ok());
    match found.is_some_and(|found| is_compatible(&found, provided)) {
        true => Ok(()),
        false => Err(ComponentError::IncompatibleWorld {
            found: version.map_or_else(|| "without version".to_owned(), shown),
            provided: provided.clone(),
        }),
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// A foreign name in a message: short, on one line.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::{WORLD, component, component_of, module_of};

    fn check(wit: &str) -> Result<(), ComponentError> {
        ComponentInterface::of(&component_of(wit)).unwrap().check()
    }

    /// The interfaces are listed here so that nothing has to parse WIT at run time.
    #[test]
    fn the_lists_are_those_of_the_world() {
        let interface = ComponentInterface::of(&component()).unwrap();
        let names = |names: &[String]| {
            let mut names: Vec<String> =
                names.iter().map(|name| name.strip_prefix("checkstack:plugin/").unwrap().replace("@0.2.0", "")).collect();
            names.sort();
            names
        };
        assert_eq!(names(&interface.imports), IMPORTS);
        assert_eq!(names(&interface.exports), EXPORTS);
        assert_eq!(interface.world_version(), Some(WORLD_VERSION));
        assert_eq!(interface.check(), Ok(()));
    }

    #[test]
    fn a_component_may_import_less_and_export_more() {
        let world = WORLD.split_once("world plugin {").unwrap().0;
        let less = format!(
            "{world} interface extra {{ init: func(); }} world plugin {{ export lifecycle; export handler; export procedures; export readiness; export worker; export listener; export extra; export init: func(); }}"
        );
        assert_eq!(check(&less), Ok(()));
    }

    #[test]
    fn another_version_of_the_world_is_refused_with_both_versions() {
        for found in ["0.1.0", "1.0.0", "0.0.2", "0.2.0-rc.1"] {
            let error = check(&WORLD.replace("plugin@0.2.0", &format!("plugin@{found}"))).unwrap_err();
            assert_eq!(error, ComponentError::IncompatibleWorld { found: found.into(), provided: WORLD_VERSION });
            assert!(error.is_world_mismatch());
        }
        let error = check(&WORLD.replace("plugin@0.2.0", "plugin")).unwrap_err();
        assert_eq!(error, ComponentError::IncompatibleWorld { found: "without version".into(), provided: WORLD_VERSION });
        assert_eq!(check(&WORLD.replace("plugin@0.2.0", "plugin@0.2.7")), Ok(()));
    }

    #[test]
    fn compatibility_is_that_of_semantic_versioning() {
        let compatible = |found: &str, provided: &str| is_compatible(&found.parse().unwrap(), &provided.parse().unwrap());
        for (found, provided) in [("0.1.0", "0.1.5"), ("0.1.5", "0.1.0"), ("1.0.0", "1.1.0"), ("1.4.2", "1.1.0"), ("0.0.3", "0.0.3")] {
            assert!(compatible(found, provided), "{found} {provided}");
        }
        for (found, provided) in [("0.1.0", "0.2.0"), ("0.1.0", "1.0.0"), ("1.0.0", "2.0.0"), ("0.0.2", "0.0.3"), ("1.0.0-rc.1", "1.0.0")] {
            assert!(!compatible(found, provided), "{found} {provided}");
        }
    }

    #[test]
    fn imports_from_elsewhere_are_named() {
        let wasi = WORLD.replace("import clock;", "import clock; import environment: interface { get: func() -> string; }");
        assert_eq!(check(&wasi), Err(ComponentError::ForeignImport { import: "environment".into() }));
        let function = WORLD.replace("import clock;", "import clock; import exit: func();");
        assert_eq!(check(&function), Err(ComponentError::ForeignImport { import: "exit".into() }));
        // A package whose name only begins as ours does.
        let other = "package checkstack:plugins@0.2.0; interface log { write: func(); } world plugin { import log; }";
        assert_eq!(check(other), Err(ComponentError::ForeignImport { import: "checkstack:plugins/log@0.2.0".into() }));
    }

    #[test]
    fn an_interface_of_a_newer_server_is_named() {
        let newer =
            format!("{} interface queue {{ take: func() -> string; }}", WORLD.replace("import clock;", "import clock; import queue;"));
        let error = check(&newer).unwrap_err();
        assert_eq!(error, ComponentError::UnknownImport { import: "checkstack:plugin/queue@0.2.0".into(), provided: WORLD_VERSION });
        assert!(error.is_world_mismatch());
    }

    #[test]
    fn missing_exports_are_all_named() {
        let error = check(&WORLD.replace("export handler;", "").replace("export readiness;", "")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it does not export 'checkstack:plugin/handler', 'checkstack:plugin/readiness', which every plugin of checkstack:plugin 0.2.0 must"
        );
        assert!(!error.is_world_mismatch());
    }

    #[test]
    fn code_that_is_not_valid_is_found_by_validation_only() {
        let mut bytes = component();
        assert_eq!(validate(&bytes), Ok(()));
        // The body of a function of the dummy: no locals, `unreachable`, `end`.
        let body = bytes.windows(4).rposition(|bytes| bytes == [3, 0, 0, 0x0b]).unwrap();
        bytes.get_mut(body + 2).into_iter().for_each(|instruction| *instruction = 0x1a);
        assert_eq!(ComponentInterface::of(&bytes), ComponentInterface::of(&component()));
        assert!(matches!(validate(&bytes), Err(ComponentError::NotAComponent(problem)) if problem.starts_with("at byte ")));
    }

    #[test]
    fn what_is_no_component_is_said_to_be_none() {
        assert_eq!(ComponentInterface::of(&module_of(WORLD)), Err(ComponentError::CoreModule));
        let component = component();
        for bytes in
            [b"".as_slice(), b"\0as", b"#!/bin/sh", b"\0asm", b"\0asm\xff\xff\xff\xff", component.get(..component.len() / 2).unwrap()]
        {
            assert!(matches!(ComponentInterface::of(bytes), Err(ComponentError::NotAComponent(_))), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_components_never_panic(changes in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..20)) {
            let mut bytes = component();
            for (position, byte) in changes {
                let position = position % bytes.len();
                bytes.get_mut(position).into_iter().for_each(|target| *target = byte);
            }
            let _ = ComponentInterface::of(&bytes).map(|interface| interface.check());
        }
    }
}
