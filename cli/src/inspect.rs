//! `checkstack plugin inspect`.

use anyhow::Context as _;
use checkstack_plugin_package::component::{WORLD_PACKAGE, WORLD_VERSION};
use checkstack_plugin_package::{ComponentInterface, Digest, Integrity, Migration, PackageMetadata, PluginPackage};
use serde::Serialize;

use crate::arguments::{Format, InspectArguments};
use crate::output::{self, Table};
use crate::source;

/// What is in a package.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    metadata: PackageMetadata,
    digest: Digest,
    integrity: String,
    size: u64,
    world: World,
    #[serde(flatten)]
    interface: ComponentInterface,
    migrations: Vec<MigrationSummary>,
    /// Files for browsers.
    assets: Vec<String>,
}

/// The plugin world of a package, and that of this release.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct World {
    /// None when the component names no version.
    version: Option<String>,
    provided: String,
    compatible: bool,
    /// Why it is not compatible.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MigrationSummary {
    version: u32,
    name: String,
    hash: Digest,
    reversible: bool,
}

pub(crate) fn run(arguments: &InspectArguments) -> anyhow::Result<()> {
    let bytes = source::read_package(&arguments.file)?;
    let package = PluginPackage::open(&bytes).with_context(|| arguments.file.display().to_string())?;
    let inspection = Inspection::of(package, &bytes);
    match arguments.output {
        Format::Json => output::print_json(&inspection),
        Format::Text => output::print(&text(&inspection)),
    }
}

impl Inspection {
    fn of(package: PluginPackage, bytes: &[u8]) -> Self {
        let problem = package.interface.check().err().map(|error| error.to_string());
        Self {
            world: World {
                version: package.interface.world_version().map(|version| version.to_string()),
                provided: WORLD_VERSION.to_string(),
                compatible: problem.is_none(),
                problem,
            },
            metadata: package.metadata,
            digest: package.digest,
            integrity: Integrity::of(bytes).to_string(),
            size: package.size,
            interface: package.interface,
            migrations: package.migrations.iter().map(MigrationSummary::of).collect(),
            assets: package.assets.into_keys().collect(),
        }
    }
}

impl MigrationSummary {
    fn of(migration: &Migration) -> Self {
        Self { version: migration.version, name: migration.name.clone(), hash: migration.hash, reversible: migration.down.is_some() }
    }
}

fn text(inspection: &Inspection) -> String {
    let Inspection { metadata, world, interface, .. } = inspection;
    let mut table = Table::default();
    table.row("Package", format!("{} {}", metadata.name, metadata.version));
    table.rows("Plugin id", metadata.checkstack.plugin_id.iter().map(ToString::to_string));
    table.row("Type", metadata.checkstack.plugin_type);
    table.row("Description", &metadata.description);
    table.row("Author", &metadata.author.name);
    table.row("License", &metadata.license);
    table.rows("Homepage", metadata.homepage.iter().cloned());
    table.row("Size", format!("{} bytes", inspection.size));
    table.row("Digest", inspection.digest);
    table.row("Integrity", &inspection.integrity);
    table.row("World", format!("{WORLD_PACKAGE} {}", world.version.as_deref().unwrap_or("without version")));
    match &world.problem {
        None => table.row("Runs here", format!("yes, this release provides {}", world.provided)),
        Some(problem) => table.row("Runs here", format!("no: {problem}")),
    }
    table.rows("Imports", interface.imports.iter().cloned());
    table.rows("Exports", interface.exports.iter().cloned());
    table.rows("Dependencies", metadata.checkstack.dependencies.iter().map(|(id, range)| format!("{id} {range}")));
    table.rows(
        "Migrations",
        inspection.migrations.iter().map(|migration| {
            let note = if migration.reversible { "" } else { " (cannot be undone)" };
            format!("{:04}_{}{note}", migration.version, migration.name)
        }),
    );
    table.rows("For browsers", (!inspection.assets.is_empty()).then(|| format!("{} files", inspection.assets.len())));
    table.to_string()
}
