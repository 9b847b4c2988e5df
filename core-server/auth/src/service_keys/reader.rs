//! The keys of the database, as they were a second ago at most: what is revoked counts that much longer on every replica, without
//! a message between them that could be lost.
//!
//! One question at a time, whatever is asked for. A token with an unknown key waits for a question that begins after the token has
//! come, since another replica may have made the key just now; there are five questions a second at most, however many such tokens come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_control_api::AtRestKey;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::key::NewKey;
use crate::store::{Store, StoreError, StoredServiceKey};

/// How long an answer is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(1);
/// Between the beginnings of two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// All keys that count.
#[derive(Default)]
pub(super) struct Keys {
    usable: BTreeMap<Uuid, Arc<UsableKey>>,
    /// Stored by somebody else than a pod of this instance.
    pub(super) unusable: BTreeSet<Uuid>,
    /// The one that signs, and how old it was.
    pub(super) signing: Option<(Uuid, Duration)>,
}

/// One that counts.
pub(super) struct UsableKey {
    pub(super) stored: NewKey,
    pub(super) decoding: DecodingKey,
}

impl Keys {
    pub(super) fn get(&self, id: Uuid) -> Option<&Arc<UsableKey>> {
        self.usable.get(&id)
    }

    /// The public parts of all, as a JSON Web Key Set.
    pub(super) fn key_set(&self) -> Value {
        let keys: Vec<Value> = self.usable.values().map(|key| key.stored.public.jwk()).collect();
        json!({ "keys": keys })
    }

    /// What the rows say; `self` is what they said before, whose keys need not be read and checked again.
    fn next(&self, rows: Vec<StoredServiceKey>, at_rest: &AtRestKey) -> Self {
        let mut next = Self::default();
        for row in rows {
            let (id, signs, age) = (row.id, row.signs, row.age());
            match self.usable.get(&id).cloned().or_else(|| usable(row, at_rest).map(Arc::new)) {
                Some(key) => {
                    next.usable.insert(id, key);
                    // Newest first.
                    next.signing = next.signing.or_else(|| signs.then_some((id, age)));
                }
                None => {
                    if !self.unusable.contains(&id) {
                        warn!(key = %id, "a key for tokens of services was not stored by this instance: it does not count");
                    }
                    next.unusable.insert(id);
                }
            }
        }
        next
    }
}

fn usable(row: StoredServiceKey, at_rest: &AtRestKey) -> Option<UsableKey> {
    let stored = row.into_key()?;
    stored.open(at_rest).ok()?;
    Some(UsableKey { decoding: stored.public.decoding_key(), stored })
}

/// See the module.
pub(super) struct Reader {
    store: Store,
    at_rest: AtRestKey,
    /// Whose it is asks.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Answer>>,
}

#[derive(Clone)]
struct Answer {
    /// When the question began.
    asked: Instant,
    keys: Result<Arc<Keys>, StoreError>,
}

impl Reader {
    pub(super) fn new(store: Store, at_rest: AtRestKey) -> Self {
        Self { store, at_rest, turn: tokio::sync::Mutex::default(), last: Mutex::default() }
    }

    /// As they were a moment ago.
    pub(super) async fn keys(&self) -> Result<Arc<Keys>, StoreError> {
        let now = Instant::now();
        self.asked_since(now.checked_sub(BELIEVED).unwrap_or(now), now).await
    }

    /// As they are now, or later.
    pub(super) async fn fresh_keys(&self) -> Result<Arc<Keys>, StoreError> {
        let now = Instant::now();
        self.asked_since(now, now).await
    }

    /// The answer to a question that began at `oldest` or later. A failure counts for those who waited for it, and nobody else.
    async fn asked_since(&self, oldest: Instant, now: Instant) -> Result<Arc<Keys>, StoreError> {
        let suits = |answer: &Answer| answer.asked >= now || (answer.asked >= oldest && answer.keys.is_ok());
        if let Some(answer) = self.last().filter(suits) {
            return answer.keys;
        }
        let _turn = self.turn.lock().await;
        let last = self.last();
        if let Some(answer) = last.clone().filter(suits) {
            return answer.keys;
        }
        if let Some(answer) = &last {
            tokio::time::sleep(PAUSE.saturating_sub(answer.asked.elapsed())).await;
        }
        let answer = Answer { asked: Instant::now(), keys: self.ask(last).await };
        self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(answer.clone());
        answer.keys
    }

    async fn ask(&self, last: Option<Answer>) -> Result<Arc<Keys>, StoreError> {
        let before = last.and_then(|answer| answer.keys.ok()).unwrap_or_default();
        let known = before.usable.keys().chain(&before.unusable).copied().collect();
        let rows = self.store.service_keys(known).await?;
        Ok(Arc::new(before.next(rows, &self.at_rest)))
    }

    fn last(&self) -> Option<Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
