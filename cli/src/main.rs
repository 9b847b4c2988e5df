//! `checkstack`: the command line tool of plugin authors and admins.
//!
//! Installed as `kubectl-checkstack` it is `kubectl checkstack`.

mod arguments;
mod client;
mod componentise;
mod describe;
mod inspect;
mod output;
mod pack;
mod source;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use arguments::{Arguments, Command, PluginCommand};

fn main() -> ExitCode {
    let command = Arguments::command().bin_name(called_as());
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let result = match arguments.command {
        Command::Client(arguments) => client::run(&arguments),
        Command::Plugin { command: PluginCommand::Pack(arguments) } => pack::run(&arguments),
        Command::Plugin { command: PluginCommand::Inspect(arguments) } => inspect::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// How the user typed it, so that usage lines can be typed again.
fn called_as() -> &'static str {
    let program = std::env::args_os().next().unwrap_or_default();
    match std::path::Path::new(&program).file_stem().is_some_and(|name| name == "kubectl-checkstack") {
        true => "kubectl checkstack",
        false => "checkstack",
    }
}
