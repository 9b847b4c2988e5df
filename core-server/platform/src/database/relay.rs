//! Connections through which a plugin cannot fill the pod's memory.
//!
//! The driver collects what the database sends until a message is complete, and one row is one
//! message, however large: `SELECT repeat('x', 1000000000)` brings a gigabyte before anybody can
//! object. The driver takes no stream of ours, but it takes the path of a socket. So a connection
//! with a plugin's role leads to a relay in this process, which passes everything on unread and
//! counts it. When the answer to one request is larger than any that is allowed, the relay cuts the
//! connection.
//!
//! Because it only counts, it does so for encrypted connections as well: TLS is between the driver
//! and the database, as it is without a relay.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::DatabaseError;
use super::sql::MAX_RESULT_BYTES;

/// Most bytes of one answer: those of the largest result, and what the protocol adds to it (names
/// and types of columns, lengths, the records of TLS).
pub(crate) const MAX_ANSWER_BYTES: usize = MAX_RESULT_BYTES + 1024 * 1024;
/// What is carried at once.
const REQUEST_BUFFER: usize = 8 * 1024;
const ANSWER_BUFFER: usize = 64 * 1024;
/// For the driver to come to the socket that was opened for it.
const ARRIVAL: Duration = Duration::from_secs(5);
/// For the database to take a piece of a request.
const ACCEPTANCE: Duration = Duration::from_secs(30);

/// Whether a connection was cut because an answer was too large.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(crate) fn was_made(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn make(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Connects through a relay, which runs among `tasks` until either side ends the connection.
pub(crate) async fn connect(options: &PgConnectOptions, tasks: &TaskTracker) -> Result<(PgConnection, Cut), DatabaseError> {
    let server = Server::connect(options).await.map_err(sqlx::Error::from)?;
    let door = Door::open(options.get_port())
        .map_err(|error| DatabaseError::Unavailable(format!("no socket could be made in {}: {error}", std::env::temp_dir().display())))?;
    let options = options.clone().socket(door.directory.path());
    let cut = Cut::default();
    tasks.spawn(relay(door, server, cut.clone()));
    Ok((PgConnection::connect_with(&options).await?, cut))
}

/// A socket for one connection, in a directory that is this user's alone.
struct Door {
    listener: UnixListener,
    directory: TempDir,
}

impl Door {
    /// The driver makes the socket's name of the directory and the port.
    fn open(port: u16) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("checkstack-relay-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        Ok(Self { listener: UnixListener::bind(directory.path().join(socket_name(port)))?, directory })
    }

    /// Lets the driver in and is gone.
    async fn enter(self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// Where the driver would connect to without a relay.
enum Server {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    async fn connect(options: &PgConnectOptions) -> io::Result<Self> {
        let directory = options.get_socket().cloned().or_else(|| options.get_host().starts_with('/').then(|| options.get_host().into()));
        match directory.map(|directory: PathBuf| directory.join(socket_name(options.get_port()))) {
            Some(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
            None => {
                let stream = TcpStream::connect((options.get_host(), options.get_port())).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }
}

fn socket_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

async fn relay(door: Door, server: Server, cut: Cut) {
    let Ok(Ok(mut driver)) = tokio::time::timeout(ARRIVAL, door.enter()).await else { return };
    let ended = match server {
        Server::Tcp(mut stream) => carry(&mut driver, stream.split(), &cut).await,
        Server::Unix(mut stream) => carry(&mut driver, stream.split(), &cut).await,
    };
    if let Err(error) = ended {
        debug!(%error, "a plugin's connection to the database ended early");
    }
}

/// Carries requests and answers until either side is at its end, or an answer is too large.
async fn carry(
    driver: &mut UnixStream,
    (from_database, to_database): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    cut: &Cut,
) -> io::Result<()> {
    let (from_driver, to_driver) = driver.split();
    let answered = AtomicUsize::new(0);
    tokio::select! {
        ended = carry_requests(from_driver, to_database, &answered) => ended,
        ended = carry_answers(from_database, to_driver, &answered, cut) => ended,
    }
}

async fn carry_requests(
    mut from_driver: impl AsyncRead + Unpin,
    mut to_database: impl AsyncWrite + Unpin,
    answered: &AtomicUsize,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(REQUEST_BUFFER);
    while from_driver.read_buf(&mut buffer).await? > 0 {
        // The driver asks when it has the whole answer to what it asked before.
        answered.store(0, Ordering::Relaxed);
        tokio::time::timeout(ACCEPTANCE, to_database.write_all(&buffer)).await??;
        buffer.clear();
    }
    Ok(())
}

async fn carry_answers(
    mut from_database: impl AsyncRead + Unpin,
    mut to_driver: impl AsyncWrite + Unpin,
    answered: &AtomicUsize,
    cut: &Cut,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ANSWER_BUFFER);
    while from_database.read_buf(&mut buffer).await? > 0 {
        if answered.fetch_add(buffer.len(), Ordering::Relaxed).saturating_add(buffer.len()) > MAX_ANSWER_BYTES {
            cut.make();
            return Ok(());
        }
        to_driver.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
