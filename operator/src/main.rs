//! The program `checkstack-operator`.

use std::io::Write;
use std::process::ExitCode;

use checkstack_operator::cli::{Cli, Command, RunArgs};
use checkstack_operator::{rbac, run, telemetry};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Rbac { .. }) => print_rbac(),
        Some(Command::Run(arguments)) => run_operator(arguments),
        None => run_operator(cli.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have been started.
            let _ = writeln!(std::io::stderr(), "checkstack-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_rbac() -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(rbac::to_yaml()?.as_bytes())?)
}

fn run_operator(arguments: RunArgs) -> anyhow::Result<()> {
    telemetry::init_logging(arguments.log_format, &arguments.log)?;
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| anyhow::anyhow!("TLS cannot be set up"))?;
    // The operator waits for others nearly all of the time.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(4).enable_all().build()?;
    runtime.block_on(run::run(arguments))
}
