//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::LogFormat;
use crate::{CollectionPace, FleetPace, KeyRotation};

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

    /// After how many days the key that the operator signs its calls to pods with is exchanged. 0: only
    /// when the annotation checkstack.io/rotate-signing-key of a Checkstack asks for it.
    #[arg(long, env = "CHECKSTACK_SIGNING_KEY_ROTATION_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub signing_key_rotation_days: u16,

    /// For how many seconds pods go on accepting a key that does not sign any more: a plugin set that was signed with it may
    /// still be on its way to a pod that starts.
    #[arg(long, env = "CHECKSTACK_SIGNING_KEY_GRACE_SECONDS", default_value_t = 600, value_name = "SECONDS")]
    pub signing_key_grace_seconds: u16,

    /// How often plugin artifacts that nothing needs any more are looked for in an instance's database, in seconds.
    #[arg(long, env = "CHECKSTACK_ARTIFACT_COLLECTION_SECONDS", default_value_t = 600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub artifact_collection_seconds: u32,

    /// For how many seconds such an artifact stays, counted from when it was last needed.
    #[arg(long, env = "CHECKSTACK_ARTIFACT_GRACE_SECONDS", default_value_t = 3600, value_name = "SECONDS")]
    pub artifact_grace_seconds: u32,

    /// Work only while holding a Lease, so that several operators can run of which one is active.
    #[arg(long, env = "CHECKSTACK_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Name of the Lease. Operators that look after different namespaces from one namespace need different ones.
    #[arg(long, env = "CHECKSTACK_LEASE_NAME", default_value = "checkstack-operator")]
    pub lease_name: String,

    /// User and group that the pods of the instances run as. Without it the cluster assigns them, as OpenShift does.
    #[arg(long, env = "CHECKSTACK_RUN_AS_USER", value_name = "ID")]
    pub run_as_user: Option<i64>,

    /// Where /healthz, /readyz and /metrics are served: the first of these addresses that the machine has. `[::]` serves
    /// IPv4 as well.
    #[arg(long, env = "CHECKSTACK_LISTEN", value_delimiter = ',', default_value = "[::]:8080,0.0.0.0:8080")]
    pub listen: Vec<SocketAddr>,

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

impl RunArgs {
    /// When signing keys are exchanged.
    pub fn key_rotation(&self) -> KeyRotation {
        let days = u64::from(self.signing_key_rotation_days);
        KeyRotation {
            period: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
            grace: Duration::from_secs(self.signing_key_grace_seconds.into()),
            ..KeyRotation::default()
        }
    }

    /// How often pods are asked and told.
    pub fn pace(&self) -> FleetPace {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let collection = CollectionPace { period: seconds(self.artifact_collection_seconds), grace: seconds(self.artifact_grace_seconds) };
        FleetPace { collection, ..FleetPace::default() }
    }
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

    #[test]
    fn signing_keys_are_exchanged_every_month_unless_told_otherwise() {
        let days = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["checkstack-operator"], arguments].concat()).unwrap();
            cli.run.key_rotation().period.map(|period| period.as_secs() / (24 * 3600))
        };
        assert_eq!(days(&[]), Some(30));
        assert_eq!(days(&["--signing-key-rotation-days", "7"]), Some(7));
        assert_eq!(days(&["--signing-key-rotation-days", "0"]), None);
    }

    #[test]
    fn an_old_signing_key_counts_for_as_long_as_the_default_says_unless_told_otherwise() {
        let grace = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["checkstack-operator"], arguments].concat()).unwrap();
            cli.run.key_rotation().grace
        };
        assert_eq!(grace(&[]), KeyRotation::default().grace);
        assert_eq!(grace(&["--signing-key-grace-seconds", "20"]), Duration::from_secs(20));
    }

    #[test]
    fn artifacts_are_collected_as_the_default_says_unless_told_otherwise() {
        let collection = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["checkstack-operator"], arguments].concat())?;
            let CollectionPace { period, grace } = cli.run.pace().collection;
            Ok::<_, clap::Error>((period.as_secs(), grace.as_secs()))
        };
        let CollectionPace { period, grace } = CollectionPace::default();
        assert_eq!(collection(&[]).unwrap(), (period.as_secs(), grace.as_secs()));
        assert_eq!(collection(&["--artifact-collection-seconds", "5", "--artifact-grace-seconds", "0"]).unwrap(), (5, 0));
        assert!(collection(&["--artifact-collection-seconds", "0"]).is_err(), "all the time");
    }
}
