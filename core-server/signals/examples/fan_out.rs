//! How long it takes until the last of many browsers has a signal, and what each costs in memory.
//!
//! ```text
//! cargo run --release -p checkstack-signals --example fan_out -- [sockets] [pipes|loopback] [bytes of the payload] [signals]
//! ```
//!
//! Both ends are in this process: loopback takes two files for each socket (`ulimit -n`). What the far ends cost is measured before the near
//! ends are there, and not counted. Signals take the way over the event bus, with queues in memory.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use checkstack_events::{EventBus, Limits};
use checkstack_jobs::memory::MemoryProvider;
use checkstack_jobs::{ActiveBackend, Patience, QueueManager, Timings};
use checkstack_signals::{Hub, NobodyKnows, Relay, SignalBus, StandingTimings, attend, rules};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let sockets: usize = arguments.next().unwrap_or_else(|| "10000".into()).parse()?;
    let loopback = arguments.next().is_some_and(|way| way == "loopback");
    let bytes: usize = arguments.next().unwrap_or_else(|| "200".into()).parse()?;
    let signals: usize = arguments.next().unwrap_or_else(|| "20".into()).parse()?;

    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(MemoryProvider::default()));
    queues.follow(ActiveBackend::default()).await?;
    let (events, hub) = (EventBus::new(queues, Limits::default()), Arc::<Hub>::default());
    let bus = SignalBus::new(events.clone(), hub.clone(), Arc::new(NobodyKnows));
    let _relay = Relay::begin(&events, &hub).await;

    let received = Arc::new(AtomicUsize::new(0));
    let before_far = resident()?;
    if loopback {
        open_loopback(sockets, &hub, &received, before_far).await?;
    } else {
        let pipes: Vec<_> = (0..sockets).map(|_| tokio::io::duplex(16 * 1024)).collect();
        let near: Vec<_> = pipes
            .into_iter()
            .map(|(near, far)| {
                tokio::spawn(count(far, received.clone()));
                near
            })
            .collect();
        settle().await;
        serve_all(near, &hub, before_far).await?;
    }

    let greetings = received.swap(0, Ordering::SeqCst);
    println!("{sockets} sockets, greeted with {greetings} bytes altogether");
    let id = "measured.changed".parse()?;
    let payload = json!("x".repeat(bytes));
    bus.broadcast(&id, payload.clone()).await?;
    let all = all_of_one(&received).await;
    let mut took = Vec::new();
    for _ in 0..signals {
        let begin = Instant::now();
        bus.broadcast(&id, payload.clone()).await?;
        while received.load(Ordering::SeqCst) < all {
            if begin.elapsed() > Duration::from_secs(60) {
                return Err("not everybody has it".into());
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        received.store(0, Ordering::SeqCst);
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).or(took.last()).copied().unwrap_or_default();
    println!("{} bytes each; until the last has it: p50 {:?}, p90 {:?}, slowest {:?}", all / sockets, at(50), at(90), at(100));
    println!("{:?}; memory now {} MiB", hub.statistics(), resident()? / 1024 / 1024);
    Ok(())
}

async fn open_loopback(sockets: usize, hub: &Arc<Hub>, received: &Arc<AtomicUsize>, before_far: usize) -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut near = Vec::new();
    for _ in 0..sockets {
        let (far, accepted) = tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
        accepted.0.set_nodelay(true)?;
        tokio::spawn(count(far, received.clone()));
        near.push(accepted.0);
    }
    settle().await;
    serve_all(near, hub, before_far).await
}

async fn serve_all<Stream>(near: Vec<Stream>, hub: &Arc<Hub>, before_far: usize) -> Result<(), AnyError>
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sockets = near.len();
    let before_near = resident()?;
    for stream in near {
        let hub = hub.clone();
        tokio::spawn(async move {
            attend(stream, &hub, None, &rules(), &StandingTimings::default(), &CancellationToken::new()).await;
        });
    }
    settle().await;
    let far = before_near.saturating_sub(before_far) / sockets;
    println!("memory of each socket: {} bytes (and {far} for its far end)", resident()?.saturating_sub(before_near) / sockets);
    Ok(())
}

/// The far end: reads, and counts the bytes.
async fn count(mut stream: impl AsyncRead + Unpin, received: Arc<AtomicUsize>) {
    let mut buffer = [0; 512];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        received.fetch_add(bytes, Ordering::SeqCst);
    }
}

/// The bytes of one signal to all: what has come when nothing more comes.
async fn all_of_one(received: &AtomicUsize) -> usize {
    let mut before = 0;
    loop {
        settle().await;
        match received.load(Ordering::SeqCst) {
            now if now == before && now > 0 => return received.swap(0, Ordering::SeqCst),
            now => before = now,
        }
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Bytes of memory of this process.
fn resident() -> Result<usize, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: usize = line.split_whitespace().next().ok_or("no number")?.parse()?;
    Ok(kibibytes * 1024)
}
