//! Settings: command line and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use checkstack_auth::{AuthSettings, BaseUrl, ServiceKeySettings, parse_oidc_settings};
use checkstack_control_api::OidcSettings;
use checkstack_platform::{
    ConnectionDivision, DEFAULT_CACHE_BYTES, DEFAULT_CONNECTIONS, DEFAULT_FRONTEND_DIRECTORY, DEFAULT_MAX_BODY_BYTES, DatabaseSettings,
    FEWEST_CACHE_BYTES, FEWEST_CONNECTIONS, PlatformSettings,
};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The core server of a Checkstack instance.
#[derive(Debug, Parser)]
#[command(name = "checkstack-server", version, about)]
pub(crate) struct Settings {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) instance: Instance,
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) sign_in: SignIn,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// What to do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Serve the instance until told to end.
    Serve,
    /// Bring the plugins of the mounted set into the state directory, and end.
    Materialise,
}

/// Which instance this is, and where its things are.
#[derive(Debug, Args)]
pub(crate) struct Instance {
    /// PostgreSQL: `postgres://user:password@host:5432/database`.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, default_value = "")]
    database_url: String,
    /// Seconds of trying to reach the database at start.
    #[arg(long, global = true, env = "CHECKSTACK_DATABASE_CONNECT_SECONDS", default_value_t = 60)]
    database_connect_seconds: u64,
    /// Connections of this pod to the database at most, all together. Every replica has as many.
    #[arg(
        long,
        global = true,
        env = "CHECKSTACK_DATABASE_CONNECTIONS",
        default_value_t = DEFAULT_CONNECTIONS,
        value_parser = clap::value_parser!(u32).range(i64::from(FEWEST_CONNECTIONS)..=1000)
    )]
    database_connections: u32,
    /// `<namespace>/<name>` of the Checkstack resource.
    #[arg(long, global = true, env = "CHECKSTACK_INSTANCE", default_value = "default/checkstack")]
    instance: String,
    /// Name of this pod.
    #[arg(long, global = true, env = "CHECKSTACK_POD_NAME", default_value = "checkstack-server")]
    pod_name: String,
    /// Directory with the plugin set and its signature. Need not exist.
    #[arg(long, global = true, env = "CHECKSTACK_PLUGIN_SET_DIR", default_value = "/etc/checkstack/plugin-set")]
    plugin_set_dir: PathBuf,
    /// Directory with secret configuration values. Need not exist.
    #[arg(long, global = true, env = "CHECKSTACK_PLUGIN_CONFIG_DIR", default_value = "/etc/checkstack/plugin-config")]
    plugin_config_dir: PathBuf,
    /// Directory with the keys of the instance.
    #[arg(long, global = true, env = "CHECKSTACK_KEYS_DIR", default_value = "/etc/checkstack/keys")]
    keys_dir: PathBuf,
    /// Directory with `username` and `password` of the first admin. Need not exist.
    #[arg(long, global = true, env = "CHECKSTACK_ADMIN_DIR", default_value = "/etc/checkstack/admin")]
    admin_dir: PathBuf,
    /// Directory with the keys that secrets are encrypted with: `current`, perhaps `next` and `previous`. Need not exist.
    #[arg(long, global = true, env = "CHECKSTACK_ENCRYPTION_DIR", default_value = "/etc/checkstack/encryption")]
    encryption_dir: PathBuf,
    /// Directory with a directory for each Secret of Kubernetes whose keys are secrets of the instance. Need not exist.
    #[arg(long, global = true, env = "CHECKSTACK_SECRETS_DIR", default_value = "/etc/checkstack/secrets")]
    secrets_dir: PathBuf,
    /// Directory with the web UI, `index.html` and what it loads. Need not exist. It is read when the server starts.
    #[arg(long, global = true, env = "CHECKSTACK_FRONTEND_DIR", default_value = DEFAULT_FRONTEND_DIRECTORY)]
    frontend_dir: PathBuf,
    /// Directory for unpacked and compiled plugins, which nobody else writes to.
    #[arg(long, global = true, env = "CHECKSTACK_STATE_DIR", default_value = "/var/lib/checkstack")]
    state_dir: PathBuf,
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Addresses and ports, of which the first that the machine has is listened on. `[::]` serves IPv4 as well.
    #[arg(long, global = true, env = "CHECKSTACK_LISTEN", value_delimiter = ',', default_value = "[::]:3000,0.0.0.0:3000")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Largest body of a request to a plugin, in bytes.
    #[arg(long, global = true, env = "CHECKSTACK_MAX_BODY_BYTES", default_value_t = DEFAULT_MAX_BODY_BYTES)]
    max_body_bytes: usize,
    /// Bytes that the caches of all plugins may take in this pod, with what it costs to keep entries.
    #[arg(
        long,
        global = true,
        env = "CHECKSTACK_CACHE_BYTES",
        default_value_t = DEFAULT_CACHE_BYTES as u64,
        value_parser = clap::value_parser!(u64).range(FEWEST_CACHE_BYTES as u64..=64 * 1024 * 1024 * 1024)
    )]
    cache_bytes: u64,
    /// Seconds of serving on after SIGTERM, unready, until nobody sends requests here any more.
    #[arg(long, global = true, env = "CHECKSTACK_SHUTDOWN_GRACE_SECONDS", default_value_t = 2)]
    shutdown_grace_seconds: u64,
    /// Seconds after SIGTERM after which the process ends, whatever is still under way; at least half a second.
    #[arg(long, global = true, env = "CHECKSTACK_SHUTDOWN_DEADLINE_SECONDS", default_value_t = 20)]
    shutdown_deadline_seconds: u64,
}

/// Where people reach the instance, and how they sign in.
#[derive(Debug, Args)]
pub(crate) struct SignIn {
    /// The address that people use, like `https://checkstack.example.com`.
    #[arg(long, global = true, env = "CHECKSTACK_BASE_URL")]
    base_url: Option<BaseUrl>,
    /// Other origins whose pages may call the instance.
    #[arg(long, global = true, env = "CHECKSTACK_ALLOWED_ORIGINS", value_delimiter = ',')]
    allowed_origins: Vec<BaseUrl>,
    /// Takes everybody for an admin. For developers on their own machine: refused in a cluster, and on addresses that others may reach.
    #[arg(long, global = true, env = "CHECKSTACK_DEV_AUTH")]
    dev_auth: bool,
    /// Seconds for which one stays signed in without doing anything.
    #[arg(
        long,
        global = true,
        env = "CHECKSTACK_SESSION_SECONDS",
        default_value_t = 7 * 24 * 60 * 60,
        value_parser = clap::value_parser!(u64).range(60..=366 * 24 * 60 * 60)
    )]
    session_seconds: u64,
    /// The OpenID provider at which people may sign in, as JSON: `issuer`, `clientId` and more. Needs the base URL.
    #[arg(long, global = true, env = "CHECKSTACK_OIDC", requires = "base_url", value_parser = parse_oidc_settings)]
    oidc: Option<OidcSettings>,
    /// Directory with the `client-secret` for the provider, and perhaps `ca.crt` to trust it by.
    #[arg(long, global = true, env = "CHECKSTACK_OIDC_DIR", default_value = "/etc/checkstack/oidc")]
    oidc_dir: PathBuf,
}

/// What to log.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// A filter: `info`, or `warn,checkstack_platform=debug`.
    #[arg(long = "log", global = true, env = "CHECKSTACK_LOG", default_value = "info")]
    pub(crate) filter: String,
    /// Form of the lines.
    #[arg(long = "log-format", global = true, env = "CHECKSTACK_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub(crate) format: LogFormat,
}

/// Forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object each.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// What concerns the platform.
    pub(crate) fn platform(&self) -> PlatformSettings {
        let Instance { database_url, database_connect_seconds, database_connections, instance, pod_name, .. } = &self.instance;
        let mut database = DatabaseSettings::new(database_url);
        database.connect_within = Duration::from_secs(*database_connect_seconds);
        database.connections = ConnectionDivision::of(*database_connections);
        let mut platform = PlatformSettings::new(instance, pod_name, database);
        platform.server_version = env!("CARGO_PKG_VERSION").to_owned();
        platform.plugin_set_directory.clone_from(&self.instance.plugin_set_dir);
        platform.plugin_config_directory.clone_from(&self.instance.plugin_config_dir);
        platform.keys_directory.clone_from(&self.instance.keys_dir);
        platform.encryption_directory.clone_from(&self.instance.encryption_dir);
        platform.state_directory.clone_from(&self.instance.state_dir);
        platform.frontend_directory.clone_from(&self.instance.frontend_dir);
        platform.max_body_bytes = self.server.max_body_bytes;
        platform.cache_bytes = usize::try_from(self.server.cache_bytes).unwrap_or(usize::MAX);
        let SignIn { base_url, allowed_origins, .. } = &self.sign_in;
        if let Some(base_url) = base_url {
            platform.base_url = base_url.to_string();
        }
        platform.allowed_origins = base_url.iter().chain(allowed_origins).map(ToString::to_string).collect();
        platform
    }
}

impl Settings {
    /// What concerns users and applications.
    pub(crate) fn auth(&self) -> AuthSettings {
        AuthSettings {
            admin_directory: self.instance.admin_dir.clone(),
            session_lifetime: Duration::from_secs(self.sign_in.session_seconds),
            base_url: self.sign_in.base_url.clone(),
            oidc: self.sign_in.oidc.clone(),
            oidc_directory: self.sign_in.oidc_dir.clone(),
            service_keys: ServiceKeySettings::default(),
            dev_auth: self.sign_in.dev_auth,
        }
    }
}

impl Settings {
    /// Where Secrets of Kubernetes are mounted.
    pub(crate) fn secrets_directory(&self) -> PathBuf {
        self.instance.secrets_dir.clone()
    }
}

impl SignIn {
    /// Whether everybody is to be taken for an admin.
    pub(crate) fn wants_dev_auth(&self) -> bool {
        self.dev_auth
    }
}

impl Server {
    pub(crate) fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }

    pub(crate) fn shutdown_deadline(&self) -> Duration {
        Duration::from_secs(self.shutdown_deadline_seconds)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }

    #[test]
    fn options_are_taken_after_the_command() {
        let settings = Settings::try_parse_from(["checkstack-server", "serve", "--listen", "127.0.0.1:0", "--instance", "a/b"]);
        let settings = settings.map_err(|error| error.to_string());
        assert!(settings.is_ok_and(
            |settings| settings.platform().instance == "a/b" && settings.server.listen.iter().all(|address| address.port() == 0)
        ));
    }

    #[test]
    fn caches_have_the_bytes_that_were_asked_for() {
        let parsed = |asked: &[&str]| {
            let settings = Settings::try_parse_from(["checkstack-server", "serve"].iter().chain(asked));
            settings.map(|settings| settings.platform().cache_bytes).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(&[]), Ok(32 * 1024 * 1024));
        assert_eq!(parsed(&["--cache-bytes", "2000000"]), Ok(2_000_000));
        let too_few = parsed(&["--cache-bytes", "1000"]);
        assert!(too_few.is_err_and(|said| said.contains("--cache-bytes") && said.contains("1000 is not in 1048576..")));
    }

    #[test]
    fn connections_are_what_was_asked_for() {
        let parsed = |asked: &[&str]| {
            let settings = Settings::try_parse_from(["checkstack-server", "serve"].iter().chain(asked));
            settings.map(|settings| settings.platform().database.connections.total()).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(&[]), Ok(22));
        assert_eq!(parsed(&["--database-connections", "35"]), Ok(35));
        let too_few = parsed(&["--database-connections", "10"]);
        assert!(too_few.is_err_and(|said| said.contains("--database-connections") && said.contains("10 is not in 12..=1000")));
    }

    #[test]
    fn who_may_sign_in_is_told_in_one_piece_and_checked() {
        let parsed = |asked: &[&str]| {
            let settings = Settings::try_parse_from(["checkstack-server", "serve"].iter().chain(asked));
            settings.map(|settings| (settings.auth(), settings.platform())).map_err(|error| error.to_string())
        };
        let oidc = r#"{"issuer": "https://id.example.com", "clientId": "checkstack"}"#;
        let asked = ["--oidc", oidc, "--base-url", "https://a.example", "--allowed-origins", "https://b.example,http://localhost:5173"];
        let told = parsed(&[&asked[..], &["--session-seconds", "3600"]].concat()).map(|(auth, platform)| {
            let issuer = auth.oidc.map(|oidc| oidc.issuer);
            let base_url = auth.base_url.map(|url| url.to_string()).filter(|url| *url == platform.base_url);
            (issuer, base_url, auth.session_lifetime, platform.allowed_origins.join(" "))
        });
        let text = |text: &str| Some(text.to_owned());
        let origins = "https://a.example https://b.example http://localhost:5173".to_owned();
        assert_eq!(told, Ok((text("https://id.example.com"), text("https://a.example"), Duration::from_secs(3600), origins)));
        for (wrong, told) in [
            (&["--base-url", "https://a.example/path"][..], "is no origin"),
            (&["--allowed-origins", "*"], "is no origin"),
            (&["--oidc", "{}", "--base-url", "https://a.example"], "missing field `issuer`"),
            (&["--oidc", oidc], "--base-url"),
            (&["--session-seconds", "59"], "59 is not in 60..="),
        ] {
            let problem = parsed(wrong).err().unwrap_or_default();
            assert!(problem.contains(told), "{wrong:?}: {problem}");
        }
    }
}
