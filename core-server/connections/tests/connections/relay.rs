//! A way to PostgreSQL on which questions are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Messages of the client after which it waits for the server: Sync and simple queries.
#[derive(Clone, Default)]
pub(crate) struct Questions(Arc<AtomicUsize>);

impl Questions {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The URL of the same database, over a relay.
pub(crate) async fn counted(url: &str) -> (String, Questions) {
    let (before, rest) = url.split_once("127.0.0.1:").unwrap();
    let (port, database) = rest.split_once('/').unwrap();
    let server = format!("127.0.0.1:{port}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let questions = Questions::default();
    let counted = questions.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(forward(from_client, to_server, counted.clone()));
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        }
    });
    (format!("{before}{address}/{database}?sslmode=disable"), questions)
}

/// Until either end is gone.
async fn forward(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, questions: Questions) -> Option<()> {
    // The first message has no type.
    let length = client.read_u32().await.ok()?;
    let mut body = vec![0; length as usize - 4];
    client.read_exact(&mut body).await.ok()?;
    server.write_u32(length).await.ok()?;
    server.write_all(&body).await.ok()?;
    loop {
        let kind = client.read_u8().await.ok()?;
        let length = client.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await.ok()?;
        if matches!(kind, b'S' | b'Q') {
            questions.0.fetch_add(1, Ordering::SeqCst);
        }
        server.write_u8(kind).await.ok()?;
        server.write_u32(length).await.ok()?;
        server.write_all(&body).await.ok()?;
    }
}
