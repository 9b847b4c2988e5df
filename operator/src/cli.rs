//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::LogFormat;

/// The operator of Checkstack for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "checkstack-operator", version, about)]
pub struct Cli {
    /// What to do; without one, run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the controllers (the default).
    Run(RunArgs),
    /// Prints the rights that the operator needs in the API server.
    Rbac {
        /// The form of the document.
        #[arg(long, value_enum, default_value = "yaml")]
        output: OutputFormat,
    },
}

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// YAML.
    Yaml,
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Namespaces to look after, separated by commas. Without any, the whole cluster.
    #[arg(long = "namespace", env = "CHECKSTACK_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…")]
    pub namespaces: Vec<String>,

    /// Image of the core server for instances that name none.
    #[arg(
        long,
        env = "CHECKSTACK_CORE_IMAGE",
        default_value = concat!("checkstack/core-server:", env!("CARGO_PKG_VERSION"))
    )]
    pub core_image: String,

    /// Work only while holding a Lease, so that several operators can run of which one is active.
    #[arg(long, env = "CHECKSTACK_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "CHECKSTACK_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How log lines look.
    #[arg(long, env = "CHECKSTACK_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// Which log lines are written: a filter of tracing, like info,checkstack_operator=debug.
    #[arg(long, env = "CHECKSTACK_LOG", default_value = "info,kube_runtime=warn,kube_client=warn")]
    pub log: String,

    /// Namespace of the operator itself, where its Lease is. Without it, the one of its ServiceAccount.
    #[arg(long, env = "CHECKSTACK_POD_NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// Name of the operator's pod. Without it, the host's name.
    #[arg(long, env = "CHECKSTACK_POD_NAME")]
    pub pod_name: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_takes_a_list_of_namespaces() {
        let cli = Cli::try_parse_from(["checkstack-operator", "--namespace", "a,b", "--leader-elect", "false"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.namespaces, ["a", "b"]);
        assert!(!cli.run.leader_elect);
    }
}
