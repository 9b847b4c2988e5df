//! What a read and a write of the memory provider take, beside `moka` and a plain map behind a lock; and what entries cost, as counted and as the
//! system has it.
//!
//! ```text
//! cargo run --release -p checkstack-cache --example speed
//! ```

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_cache::memory::MemoryProvider;
use checkstack_cache::{ActiveBackend, CacheManager, CacheScope};

const KEYS: usize = 10_000;
const ROUNDS: usize = 50;
const VALUE: &[u8] = &[7; 200];
const TTL: Option<Duration> = Some(Duration::from_secs(600));

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let keys: Arc<[String]> = (0..KEYS).map(|number| format!("status:{number}")).collect();
    runtime.block_on(async {
        let (caches, resident) = (start().await?, resident_bytes());
        let cache = caches.scope("uptime".parse()?);
        report("checkstack, set", measure(&keys, async |key| cache.set(key, VALUE, TTL).await.is_ok()).await);
        let (counted, grown) = (caches.stats().await?.map_or(0, |stats| stats.size_bytes), resident_bytes().saturating_sub(resident));
        report("checkstack, get", measure(&keys, async |key| matches!(cache.get(key).await, Ok(Some(_)))).await);
        report("checkstack, get, two plugins at once", at_once(&keys, cache.clone(), caches.scope("status-page".parse()?)).await?);
        report("checkstack, get, one plugin twice at once", at_once(&keys, cache.clone(), cache.clone()).await?);
        println!("{KEYS} entries of 200 bytes: {counted} bytes as counted, {grown} as the system has it");
        caches.stop().await;

        let moka = moka::future::Cache::builder()
            .weigher(|key: &String, value: &Arc<[u8]>| u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX))
            .max_capacity(64 * 1024 * 1024)
            .time_to_live(Duration::from_secs(600))
            .build();
        report(
            "moka, set",
            measure(&keys, async |key| {
                moka.insert(key.to_owned(), VALUE.into()).await;
                true
            })
            .await,
        );
        report("moka, get", measure(&keys, async |key| moka.get(key).await.is_some()).await);

        let map: Mutex<HashMap<String, Arc<[u8]>>> = Mutex::default();
        let locked = || map.lock().unwrap_or_else(PoisonError::into_inner);
        report(
            "a map behind a lock, set",
            measure(&keys, async |key| {
                locked().insert(key.to_owned(), VALUE.into());
                true
            })
            .await,
        );
        report("a map behind a lock, get", measure(&keys, async |key| locked().get(key).cloned().is_some()).await);
        Ok(())
    })
}

async fn start() -> Result<CacheManager, Box<dyn Error>> {
    let caches = CacheManager::new();
    caches.register(Arc::new(MemoryProvider::alone(64 * 1024 * 1024)));
    caches.follow(ActiveBackend::default()).await?;
    Ok(caches)
}

/// Nanoseconds of one.
async fn measure(keys: &[String], mut work: impl AsyncFnMut(&str) -> bool) -> f64 {
    let begin = Instant::now();
    let mut done = 0;
    for _ in 0..ROUNDS {
        for key in keys {
            done += usize::from(black_box(work(key).await));
        }
    }
    assert_eq!(done, KEYS * ROUNDS, "all have to be there");
    begin.elapsed().as_nanos() as f64 / done as f64
}

/// On two threads; nanoseconds of one read.
async fn at_once(keys: &Arc<[String]>, one: CacheScope, other: CacheScope) -> Result<f64, Box<dyn Error>> {
    let mut tasks = Vec::new();
    for cache in [one, other] {
        for key in keys.iter() {
            cache.set(key, VALUE, TTL).await?;
        }
        let keys = keys.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            let get = async |key: &str| matches!(cache.get(key).await, Ok(Some(_)));
            tokio::runtime::Handle::current().block_on(measure(&keys, get))
        }));
    }
    let mut slowest: f64 = 0.0;
    for task in tasks {
        slowest = slowest.max(task.await?);
    }
    Ok(slowest)
}

fn report(what: &str, nanoseconds: f64) {
    println!("{what:45} {nanoseconds:7.0} ns");
}

/// What the process has in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()));
    pages.unwrap_or(0) * 4096
}
