//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Make and check Checkstack plugins.
#[derive(Debug, Parser)]
#[command(name = "checkstack", version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make and check plugin packages
    #[command(arg_required_else_help = true)]
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make the package (.tgz) of a plugin
    ///
    /// Checks package.json, the WebAssembly component and the migrations, says everything that is
    /// wrong with them, and packs them with README, LICENSE and the files for browsers. A core module, as cargo makes it
    /// for wasm32-unknown-unknown, becomes a component on the way. The same files always give the
    /// same package.
    Pack(PackArguments),
    /// Show what is in a package, and whether this release can run it
    Inspect(InspectArguments),
}

#[derive(Debug, Args)]
pub(crate) struct PackArguments {
    /// The plugin's directory, with package.json in it
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Where to put the package [default: dist in the plugin's directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
    /// The component or core module [default: the file that checkstack.wasm in package.json names]
    ///
    /// It is packed under the name in package.json all the same.
    #[arg(long, value_name = "FILE")]
    pub(crate) wasm: Option<PathBuf>,
    /// Only check; write nothing
    #[arg(long)]
    pub(crate) validate_only: bool,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The package
    #[arg(value_name = "FILE.tgz")]
    pub(crate) file: PathBuf,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}
