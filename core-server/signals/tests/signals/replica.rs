//! A replica with its hub, and somebody who knows users.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use checkstack_calls::access::RuleId;
use checkstack_events::{EventBus, Limits};
use checkstack_jobs::memory::MemoryProvider;
use checkstack_jobs::{ActiveBackend, Patience, QueueManager, Timings};
use checkstack_signals::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::browser::Browser;

const TIMINGS: StandingTimings = StandingTimings {
    ask_every: Duration::from_millis(200),
    answer_within: Duration::from_millis(100),
    unknown_for: Duration::from_millis(500),
};

/// The queues of all replicas of a test.
pub(crate) async fn queues() -> QueueManager {
    let queues = QueueManager::new(Timings::default(), Patience::default());
    queues.register(Arc::new(MemoryProvider::default()));
    queues.follow(ActiveBackend::default()).await.unwrap();
    queues
}

pub(crate) async fn change_provider(queues: &QueueManager) {
    let current = ActiveBackend::default();
    queues.follow(ActiveBackend { configuration: json!({}), version: current.version + 1, ..current }).await.unwrap();
}

/// Those of a user.
#[derive(Default)]
pub(crate) struct Standings(Mutex<BTreeMap<String, Standing>>);

impl Standings {
    pub(crate) fn set(&self, user: &str, standing: Standing) {
        self.0.lock().unwrap().insert(user.to_owned(), standing);
    }
}

struct Signed {
    user: String,
    standings: Arc<Standings>,
}

#[async_trait]
impl Holder for Signed {
    async fn standing(&self) -> Standing {
        self.standings.0.lock().unwrap().get(&self.user).copied().unwrap_or(Standing::Same)
    }
}

pub(crate) struct KnownUsers {
    granted: Mutex<Result<BTreeSet<String>, String>>,
    asked: Mutex<Vec<String>>,
}

impl KnownUsers {
    pub(crate) fn grants(&self, users: Result<&[&str], &str>) {
        let users = users.map(|users| users.iter().map(|user| (*user).to_owned()).collect());
        *self.granted.lock().unwrap() = users.map_err(str::to_owned);
    }

    /// Since it was asked for last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Audience for KnownUsers {
    async fn granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, String> {
        self.asked.lock().unwrap().push(format!("{} {rule}", users.join(",")));
        self.granted.lock().unwrap().clone()
    }
}

pub(crate) struct Replica {
    pub(crate) events: EventBus,
    pub(crate) hub: Arc<Hub>,
    pub(crate) service: SignalService,
    pub(crate) audience: Arc<KnownUsers>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) ending: CancellationToken,
    _relay: Relay,
}

impl Replica {
    pub(crate) async fn on(queues: &QueueManager) -> Self {
        let (events, hub) = (EventBus::new(queues.clone(), Limits::default()), Arc::<Hub>::default());
        let audience = Arc::new(KnownUsers { granted: Mutex::new(Err("not said".into())), asked: Mutex::default() });
        let service = SignalService::new(SignalBus::new(events.clone(), hub.clone(), audience.clone()));
        let relay = Relay::begin(&events, &hub).await;
        Self { events, hub, service, audience, standings: Arc::default(), ending: CancellationToken::new(), _relay: relay }
    }

    /// A browser that has just connected.
    pub(crate) async fn browser(&self, user: Option<&str>) -> Browser {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let (hub, ending) = (self.hub.clone(), self.ending.clone());
        let holder = user.map(|user| Signed { user: user.to_owned(), standings: self.standings.clone() });
        tokio::spawn(async move {
            let user = holder.as_ref().map(|holder| (holder.user.as_str(), holder as &dyn Holder));
            attend(near, &hub, user, &rules(), &TIMINGS, &ending).await
        });
        Browser::on(far).await
    }

    /// One that has been told who it is taken for.
    pub(crate) async fn connected(&self, user: Option<&str>) -> Browser {
        let mut browser = self.browser(user).await;
        assert_eq!(browser.json().await["type"], "connected");
        browser
    }

    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(Instant::now() < deadline, "it does not come to that: {:?}", self.hub.statistics());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
