//! Keeps the link to the other replicas: says what was changed here, and does what is said by others.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::backplane::{Link, LinkLost};
use super::message::{Forget, KeyNews, Message, Packer, ValueNews, digest};
use super::pending::{Pending, Told};
use super::teller::Replicas;
use crate::entry::{ScopeName, Value};

/// After so many bytes of values whose digests were computed, others may compute.
const AT_A_TIME: usize = 64 * 1024;

/// What this replica has.
pub(crate) trait Entries: Send + Sync {
    /// The value of a key, and how long it lives on.
    fn current(&self, scope: &ScopeName, key: &str) -> Option<(Value, Option<Duration>)>;
    /// Another replica has set this very value: here it lives no longer than there.
    fn live_no_longer(&self, scope: &ScopeName, key: &str, value: &Value, ttl: Option<Duration>);
    fn forget(&self, scope: &ScopeName, key: &str);
    fn forget_prefix(&self, scope: &ScopeName, prefix: &str);
    fn forget_all(&self);
}

/// Until it is told to stop; what has been changed is told before.
pub(crate) async fn keep_linked(replicas: &Replicas, entries: &dyn Entries, stop: &CancellationToken) {
    let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(50)).with_max_delay(Duration::from_secs(5));
    let pauses = pauses.with_jitter().without_max_times();
    let (mut pause, mut failures) = (pauses.build(), 0);
    loop {
        let begun = Instant::now();
        let Err(LinkLost(problem)) = Box::pin(stay_linked(replicas, entries, stop)).await else { break };
        replicas.lose(problem.clone());
        if begun.elapsed() > replicas.timings.lease {
            (pause, failures) = (pauses.build(), 0);
        }
        failures += 1;
        match failures {
            1 => debug!(problem, "the link between the caches of replicas was lost"),
            failures => warn!(problem, failures, "the caches of replicas have no link: nothing is found in them"),
        }
        let pause = pause.next().unwrap_or(replicas.timings.check);
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            break;
        }
    }
    replicas.lose("the cache was stopped".to_owned());
}

/// Until it is told to stop, or the link is lost.
async fn stay_linked(replicas: &Replicas, entries: &dyn Entries, stop: &CancellationToken) -> Result<(), LinkLost> {
    let answer = replicas.timings.answer;
    let connecting = timeout(answer, replicas.backplane.connect());
    let mut link = match stop.run_until_cancelled(connecting).await {
        Some(connected) => connected.map_err(|_| no_answer(answer))??,
        None => return Ok(()),
    };
    // Nobody knows what was said before.
    entries.forget_all();
    let here = Here { replicas, entries };
    let mut seen = here.exchange(&mut *link).await?;
    loop {
        let check = seen + replicas.timings.check;
        tokio::select! {
            () = stop.cancelled() => break,
            message = link.next() => here.heed(&message?).await,
            () = replicas.wanted() => {}
            () = sleep_until(check) => {}
        }
        if replicas.has_untold() || Instant::now() >= check {
            seen = here.exchange(&mut *link).await?;
        }
    }
    match replicas.has_untold() {
        true => here.exchange(&mut *link).await.map(drop),
        false => Ok(()),
    }
}

fn no_answer(within: Duration) -> LinkLost {
    LinkLost(format!("no answer within {} ms", within.as_millis()))
}

struct Here<'a> {
    replicas: &'a Replicas,
    entries: &'a dyn Entries,
}

impl Here<'_> {
    /// Tells what there is to tell, and does what was said before this moment, which it returns.
    async fn exchange(&self, link: &mut dyn Link) -> Result<Instant, LinkLost> {
        let (taken, number) = self.replicas.take();
        let messages = self.pack(&taken).await;
        let seen = Instant::now();
        let answer = self.replicas.timings.answer;
        let exchanged = timeout(answer, link.exchange(&messages)).await.unwrap_or_else(|_| Err(no_answer(answer)));
        if let Err(lost) = exchanged {
            self.replicas.put_back(taken);
            return Err(lost);
        }
        while let Some(message) = link.received() {
            self.heed(&message).await;
        }
        self.replicas.exchanged(number, seen);
        Ok(seen)
    }

    /// What a key is now is looked up only here: however often it was changed, and without keeping values that wait to be told.
    async fn pack(&self, changes: &Pending) -> Vec<String> {
        let mut packer = Packer::new(self.replicas.id);
        match changes.told() {
            Told::Everything => packer.all(),
            Told::Changes(scopes) => {
                let mut hashed = 0;
                for (scope, changes) in scopes {
                    let mut news = Vec::with_capacity(changes.keys.len());
                    for key in &changes.keys {
                        let current = self.entries.current(scope, key);
                        hashed += current.as_ref().map_or(0, |(value, _)| value.len());
                        let now = current.map(|(value, ttl)| ValueNews { digest: digest(&value), ttl_ms: ttl.map(milliseconds) });
                        news.push(KeyNews { key: key.clone(), now });
                        if hashed > AT_A_TIME {
                            hashed = 0;
                            tokio::task::yield_now().await;
                        }
                    }
                    packer.add(scope.as_str(), changes.prefixes.iter().cloned().collect(), news);
                }
            }
        }
        packer.finish()
    }

    async fn heed(&self, text: &str) {
        let message = match Message::read(text) {
            Some(message) if message.from == self.replicas.id => return,
            Some(message) => message,
            None => {
                debug!("another replica says what this release does not understand: everything is forgotten");
                return self.entries.forget_all();
            }
        };
        let Forget::Some { scope, prefixes, keys } = message.forget else { return self.entries.forget_all() };
        let Ok(scope) = scope.parse::<ScopeName>() else { return self.entries.forget_all() };
        for prefix in &prefixes {
            self.entries.forget_prefix(&scope, prefix);
        }
        let mut hashed = 0;
        for news in &keys {
            hashed += self.heed_key(&scope, news);
            if hashed > AT_A_TIME {
                hashed = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// How many bytes were looked at.
    fn heed_key(&self, scope: &ScopeName, news: &KeyNews) -> usize {
        let Some((value, _)) = self.entries.current(scope, &news.key) else { return 0 };
        match &news.now {
            Some(now) if now.digest == digest(&value) => {
                self.entries.live_no_longer(scope, &news.key, &value, now.ttl_ms.map(Duration::from_millis));
            }
            Some(_) | None => self.entries.forget(scope, &news.key),
        }
        value.len()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
