//! A private PostgreSQL server: started when the first test needs it, gone after the last.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

const SUPERUSER_PASSWORD: &str = "superuser-of-the-tests";

/// A running server.
pub(crate) struct Postgres {
    directory: TempDir,
    port: u16,
    process: Mutex<Option<Process>>,
    environment: Vec<(&'static str, PathBuf)>,
}

/// A database of its own, with an owner that may create roles and is no superuser.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) server: Arc<Postgres>,
}

struct Process {
    id: u32,
    /// Dropping it ends the thread that started the server and waits for it.
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Postgres {
    /// The server that tests share which do not disturb it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A new server.
    pub(crate) fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// A new server with these variables in its environment.
    pub(crate) fn start_with(environment: Vec<(&'static str, PathBuf)>) -> Self {
        let directory = tempfile::Builder::new().prefix("checkstack-postgres-").tempdir().unwrap();
        if is_root() {
            // PostgreSQL does not run as root.
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let password = directory.path().join("password");
        std::fs::write(&password, SUPERUSER_PASSWORD).unwrap();
        run(Command::new("chmod").arg("644").arg(&password));
        let data = directory.path().join("data");
        run(as_postgres(&bin().join("initdb"))
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", data.display())));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { directory, port, process: Mutex::new(None), environment };
        server.run();
        server
    }

    /// Starts it, at the beginning or after [`Self::stop`].
    pub(crate) fn run(&self) {
        // For PostgreSQL itself, and not for what makes its user of the one who starts it.
        let mut command = as_postgres(Path::new("env"));
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={}", value.display()))).arg(bin().join("postgres"));
        command.arg("-D").arg(self.directory.path().join("data"));
        command.arg("-k").arg(self.directory.path()).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200", "log_min_messages=warning", "shared_buffers=16MB"]
        {
            command.args(["-c", setting]);
        }
        *self.process.lock().unwrap() = Some(Process::keep(command));
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on it speaks TLS to who wants it, with a certificate that nobody has signed.
    pub(crate) async fn offer_tls(&self) {
        let data = self.directory.path().join("data");
        run(as_postgres(Path::new("openssl"))
            .args(["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .arg("-keyout")
            .arg(data.join("server.key"))
            .arg("-out")
            .arg(data.join("server.crt")));
        execute(&mut self.admin("postgres").await, "ALTER SYSTEM SET ssl = on").await;
        execute(&mut self.admin("postgres").await, "SELECT pg_reload_conf()").await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        while !sqlx::query_scalar::<_, bool>(ssl).fetch_one(&mut self.admin("postgres").await).await.unwrap() {
            assert!(Instant::now() < deadline, "PostgreSQL does not offer TLS");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where its Unix socket is.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it, connections included.
    pub(crate) fn stop(&self) {
        drop(self.process.lock().unwrap().take());
    }

    /// It no longer answers, but its connections stay.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.lock().unwrap().as_ref().unwrap().id.to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        run(Command::new("kill").arg(signal).arg(&id).args(children.split_whitespace()));
    }

    /// A new database.
    pub(crate) async fn database(self: &Arc<Self>) -> TestDatabase {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (name, owner) = (format!("checkstack_{count}"), format!("core_{count}"));
        let mut admin = self.admin("postgres").await;
        execute(&mut admin, &format!("CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'secret'")).await;
        execute(&mut admin, &format!("CREATE DATABASE {name} OWNER {owner}")).await;
        TestDatabase { url: format!("postgres://{owner}:secret@127.0.0.1:{}/{name}", self.port), name, owner, server: self.clone() }
    }

    /// A superuser's, for programs.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        format!("postgres://postgres:{SUPERUSER_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// A superuser's connection.
    pub(crate) async fn admin(&self, database: &str) -> PgConnection {
        let url = self.admin_url(database);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match PgConnection::connect(&url).await {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        if is_root() {
            run(Command::new("chown").args(["-R", "root"]).arg(self.directory.path()));
        }
    }
}

impl TestDatabase {
    /// A superuser's connection to this database.
    pub(crate) async fn admin(&self) -> PgConnection {
        self.server.admin(&self.name).await
    }

    /// One value, as a superuser sees it.
    pub(crate) async fn value<T>(&self, query: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.admin().await).await.unwrap()
    }
}

impl Process {
    /// The server is to end with the tests however they end. That is watched for the thread that
    /// started it, so that thread stays.
    fn keep(mut command: Command) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, starting) = mpsc::channel();
        let keeper = std::thread::spawn(move || {
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            started.send(child.id()).unwrap();
            let _ = stopped.recv();
            // Fast shutdown; it works for a server that was frozen, too.
            let id = child.id().to_string();
            run(Command::new("kill").args(["-INT", &id]));
            run(Command::new("kill").args(["-CONT", &id]));
            child.wait().unwrap();
        });
        Self { id: starting.recv().unwrap(), stop: Some(stop), keeper: Some(keeper) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

pub(crate) async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

/// The programs of the newest PostgreSQL that is installed, or of the one that is asked for.
fn bin() -> PathBuf {
    if let Some(directory) = std::env::var_os("CHECKSTACK_TEST_POSTGRES_BIN") {
        return directory.into();
    }
    let mut installed: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|found| found.path().join("bin")).collect();
    installed.retain(|bin| bin.join("initdb").exists());
    installed.sort();
    installed.pop().expect("no PostgreSQL in /usr/lib/postgresql: install it or set CHECKSTACK_TEST_POSTGRES_BIN")
}

fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program).env_remove("LC_ALL").current_dir("/");
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
