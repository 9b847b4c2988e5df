//! Replicas on a backplane that fails when it is told to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkstack_cache::{Backplane, CacheError, CacheManager, Link, LinkLost, MAX_MESSAGE_BYTES};
use tokio::sync::broadcast;

use crate::setup::{get, replica_on, scope, set, timings, until, until_linked};

/// What is said on it, all replicas hear.
#[derive(Clone)]
struct Hub {
    said: broadcast::Sender<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn new() -> Self {
        Self { said: broadcast::Sender::new(10_000), log: Arc::default() }
    }

    fn say(&self, message: &str) {
        assert!(message.len() <= MAX_MESSAGE_BYTES);
        self.log.lock().unwrap().push(message.to_owned());
        let _ = self.said.send(message.to_owned());
    }

    fn taken_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

/// One replica's way to the hub.
struct Cable {
    hub: Hub,
    is_cut: Arc<AtomicBool>,
}

struct Plugged {
    hub: Hub,
    is_cut: Arc<AtomicBool>,
    hears: broadcast::Receiver<String>,
}

fn check(is_cut: &AtomicBool) -> Result<(), LinkLost> {
    match is_cut.load(Ordering::SeqCst) {
        true => Err(LinkLost("the cable is cut".to_owned())),
        false => Ok(()),
    }
}

#[async_trait]
impl Backplane for Cable {
    async fn connect(&self) -> Result<Box<dyn Link>, LinkLost> {
        check(&self.is_cut)?;
        Ok(Box::new(Plugged { hub: self.hub.clone(), is_cut: self.is_cut.clone(), hears: self.hub.said.subscribe() }))
    }
}

#[async_trait]
impl Link for Plugged {
    async fn exchange(&mut self, messages: &[String]) -> Result<(), LinkLost> {
        check(&self.is_cut)?;
        messages.iter().for_each(|message| self.hub.say(message));
        Ok(())
    }

    fn received(&mut self) -> Option<String> {
        self.hears.try_recv().ok()
    }

    async fn next(&mut self) -> Result<String, LinkLost> {
        self.hears.recv().await.map_err(|problem| LinkLost(problem.to_string()))
    }
}

async fn replica(hub: &Hub) -> (CacheManager, Arc<AtomicBool>) {
    let is_cut = Arc::new(AtomicBool::new(false));
    let caches = replica_on(Arc::new(Cable { hub: hub.clone(), is_cut: is_cut.clone() }), timings()).await;
    until_linked(&caches).await;
    (caches, is_cut)
}

#[tokio::test]
async fn what_cannot_be_told_is_told_later_and_too_much_of_it_as_everything_of_its_owner() {
    let hub = Hub::new();
    let ((here, is_cut), (there, _)) = (replica(&hub).await, replica(&hub).await);
    let many = scope(&there, "many");
    for (cache, key) in [(&many, "unrelated"), (&scope(&there, "few"), "changed"), (&scope(&there, "few"), "unrelated")] {
        set(cache, key, "old").await;
    }
    is_cut.store(true, Ordering::SeqCst);
    let few = scope(&here, "few");
    until(async || matches!(few.set("changed", b"new", None).await, Err(CacheError::Untold(reason)) if reason.contains("cut"))).await;
    for number in 0..3_000 {
        let untold = scope(&here, "many").set(&format!("key-{number}"), b"new", None).await;
        assert!(matches!(untold, Err(CacheError::Untold(_))), "{untold:?}");
    }
    // The other replica hears, and nothing was said.
    assert_eq!(get(&many, "unrelated").await.as_deref(), Some("old"));
    hub.taken_log();
    is_cut.store(false, Ordering::SeqCst);
    until(async || get(&many, "unrelated").await.is_none()).await;
    until(async || get(&scope(&there, "few"), "changed").await.is_none()).await;
    assert_eq!(get(&scope(&there, "few"), "unrelated").await.as_deref(), Some("old"));
    let said = hub.taken_log();
    assert_eq!(said.len(), 2, "{said:?}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_makes_everything_forgotten() {
    let hub = Hub::new();
    let (caches, _) = replica(&hub).await;
    let cache = scope(&caches, "uptime");
    let nobody = "00000000-0000-0000-0000-000000000000";
    for message in [
        "what a later release may say".to_owned(),
        format!(r#"{{"from":"{nobody}","forget":"all"}}"#),
        format!(r#"{{"from":"{nobody}","forget":{{"some":{{"scope":"NO PLUGIN"}}}}}}"#),
    ] {
        set(&cache, "k", "v").await;
        assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
        hub.say(&message);
        until(async || get(&cache, "k").await.is_none()).await;
    }
    caches.stop().await;
}

#[tokio::test]
async fn changes_that_come_together_are_told_together() {
    let hub = Hub::new();
    let (caches, _) = replica(&hub).await;
    let cache = scope(&caches, "uptime");
    hub.taken_log();
    let setting: Vec<_> = (0..100)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set(&format!("key-{}", number % 20), b"v", None).await })
        })
        .collect();
    for set in setting {
        set.await.unwrap().unwrap();
    }
    let said = hub.taken_log();
    assert!(said.len() <= 4, "{} messages", said.len());
    caches.stop().await;
}

#[tokio::test]
async fn what_was_not_told_yet_is_told_when_the_cache_is_stopped() {
    let hub = Hub::new();
    let ((here, _), (there, _)) = (replica(&hub).await, replica(&hub).await);
    let (a, b) = (scope(&here, "uptime"), scope(&there, "uptime"));
    set(&b, "k", "old").await;
    let (deleted, ()) = tokio::join!(a.delete("k"), here.stop());
    assert_eq!(deleted, Ok(false));
    until(async || get(&b, "k").await.is_none()).await;
    there.stop().await;
}
