//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Make and check Checkstack plugins, and clients of what they offer.
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
    /// Make a typed client of procedures
    ///
    /// One file, for another plugin or for a program outside. The source is the package of a plugin, or the description that a running
    /// instance gives of all that it offers:
    /// `curl -H "Authorization: Bearer ck_…" https://…/api/openapi.json | checkstack client - --language rust`
    Client(ClientArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// The package of a plugin (.tgz), or an OpenAPI document of an instance; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) source: PathBuf,
    /// What the client is written in
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) language: Language,
    /// Who calls
    #[arg(long = "for", value_enum, value_name = "CALLER", default_value_t = Caller::Http)]
    pub(crate) caller: Caller,
    /// Only the procedures of this plugin; may be given several times
    #[arg(long = "plugin", value_name = "ID")]
    pub(crate) plugins: Vec<String>,
    /// Where to put it [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write nothing, and fail unless the file is there as it would be written
    #[arg(long, requires = "out")]
    pub(crate) check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A module; it needs serde, serde_json, and over HTTP reqwest and thiserror; jiff where there are points in time
    Rust,
    /// A module that needs nothing
    #[value(name = "typescript")]
    TypeScript,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Caller {
    /// Another plugin, through its SDK
    Plugin,
    /// A program outside, over HTTP
    Http,
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
