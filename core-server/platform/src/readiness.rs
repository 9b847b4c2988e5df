//! The readiness registry (platform facts §1.5): what has to be well for this pod to serve.
//!
//! Probes run all at once, each within its own time; one that errs, panics or takes too long is
//! not ok. However many ask at the same moment, the probes run once. What they say goes to the
//! operator and to the log; everybody else is told [what they may be told](Words::everybody).

mod log;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use serde::{Serialize, Serializer};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

pub(crate) use log::ReadyLog;

/// What a probe gets if it does not say otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that has to be well.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Looks. An error is as bad as a finding that is not ok.
    async fn check(&self) -> Result<Finding, Words>;

    /// Whether the pod is unready while it is not well. Asked each time.
    fn is_critical(&self) -> bool {
        true
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether all is well.
    pub ok: bool,
    /// What there is to say.
    pub message: Option<Words>,
}

/// What a probe says. Serialised as what the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One of a few fixed texts, without anything that a plugin or the database has said.
    everybody: Option<Cow<'static, str>>,
    operator: Cow<'static, str>,
}

impl Words {
    /// The same for everybody: one of a few fixed texts.
    pub fn public(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { everybody: Some(text.clone()), operator: text }
    }

    /// For the operator and the log alone.
    pub fn private(text: impl Into<String>) -> Self {
        Self { everybody: None, operator: Cow::Owned(text.into()) }
    }

    /// `summary`, a fixed text, is what everybody else is told.
    pub fn summed_up(summary: &'static str, text: impl Into<String>) -> Self {
        Self { everybody: Some(Cow::Borrowed(summary)), operator: Cow::Owned(text.into()) }
    }

    /// What everybody may be told.
    fn everybody(&self) -> Option<Self> {
        self.everybody.clone().map(Self::public)
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.operator)
    }
}

/// All probes of this pod.
#[derive(Clone)]
pub struct ReadinessRegistry {
    probes: Arc<Mutex<Vec<Registered>>>,
    running: Arc<Mutex<Option<WeakShared<Run>>>>,
    timeout: Duration,
}

/// One evaluation of all probes.
type Run = BoxFuture<'static, Arc<Readiness>>;

#[derive(Clone)]
struct Registered {
    name: Arc<str>,
    probe: Arc<dyn Probe>,
}

/// What the probes said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// All critical ones are ok.
    pub ready: bool,
    /// In the order of registration.
    pub checks: Vec<Check>,
}

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Unique in the pod.
    pub name: Arc<str>,
    /// Whether it decides.
    pub critical: bool,
    /// Whether all is well.
    pub ok: bool,
    /// What the probe had to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Words>,
    /// Why it could not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Words>,
    /// How long it took.
    pub duration_ms: u64,
}

impl Default for ReadinessRegistry {
    fn default() -> Self {
        Self::new(DEFAULT_TIMEOUT)
    }
}

impl ReadinessRegistry {
    /// No probes yet; each may take `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { probes: Arc::default(), running: Arc::default(), timeout }
    }

    /// Adds a probe. One of the same name is replaced, with a warning.
    pub fn register(&self, name: &str, probe: Arc<dyn Probe>) {
        let mut probes = lock(&self.probes);
        let before = probes.len();
        probes.retain(|registered| *registered.name != *name);
        if probes.len() < before {
            warn!(probe = name, "readiness probe '{name}' is already registered and is being overwritten");
        }
        probes.push(Registered { name: name.into(), probe });
    }

    /// Takes a probe away, if it is still this one.
    pub fn remove(&self, name: &str, probe: &Arc<dyn Probe>) {
        lock(&self.probes).retain(|registered| *registered.name != *name || !Arc::ptr_eq(&registered.probe, probe));
    }

    /// Whether there is no probe.
    pub fn is_empty(&self) -> bool {
        lock(&self.probes).is_empty()
    }

    /// Runs all probes, or joins the run that is under way.
    pub async fn evaluate(&self) -> Arc<Readiness> {
        self.current_run().await
    }

    fn current_run(&self) -> Shared<Run> {
        let mut running = lock(&self.running);
        if let Some(run) = running.as_ref().and_then(WeakShared::upgrade)
            && run.peek().is_none()
        {
            return run;
        }
        let run = run(lock(&self.probes).clone(), self.timeout).boxed().shared();
        // Weak: a run that nobody waits for any more ends.
        *running = run.downgrade();
        run
    }
}

impl Readiness {
    /// Without what only the operator is told.
    pub(crate) fn for_everybody(&self) -> Self {
        let public = |words: &Option<Words>| words.as_ref().and_then(Words::everybody);
        let check = |check: &Check| Check { message: public(&check.message), error: public(&check.error), ..check.clone() };
        Self { ready: self.ready, checks: self.checks.iter().map(check).collect() }
    }
}

impl Check {
    fn says(&self) -> &str {
        self.error.as_ref().or(self.message.as_ref()).map_or("nothing", |words| &words.operator)
    }
}

async fn run(probes: Vec<Registered>, timeout: Duration) -> Arc<Readiness> {
    let checks = futures::future::join_all(probes.iter().map(|registered| check(registered, timeout))).await;
    Arc::new(Readiness { ready: checks.iter().all(|check| check.ok || !check.critical), checks })
}

async fn check(registered: &Registered, timeout: Duration) -> Check {
    let begin = Instant::now();
    let critical = registered.probe.is_critical();
    // A task of its own: a probe that keeps its thread busy does not hold up the others.
    let probe = registered.probe.clone();
    let task = AbortOnDropHandle::new(tokio::spawn(async move { probe.check().await }));
    let outcome = tokio::time::timeout(timeout, task).await;
    let (ok, message, error) = match outcome {
        Ok(Ok(Ok(Finding { ok, message }))) => (ok, message, None),
        Ok(Ok(Err(error))) => (false, None, Some(error)),
        Ok(Err(_)) => (false, None, Some(Words::public("the probe panicked"))),
        Err(_) => (false, None, Some(Words::public(format!("no answer within {} ms", timeout.as_millis())))),
    };
    let duration_ms = begin.elapsed().as_secs_f64() * 1000.0;
    Check { name: registered.name.clone(), critical, ok, message, error, duration_ms: duration_ms.round() as u64 }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Fake {
        fails: Option<&'static str>,
        throws: Option<&'static str>,
        panics: bool,
        not_critical: bool,
        takes: Duration,
        runs: AtomicUsize,
    }

    #[async_trait]
    impl Probe for Fake {
        async fn check(&self) -> Result<Finding, Words> {
            self.runs.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            assert!(!self.panics);
            match (self.throws, self.fails) {
                (Some(error), _) => Err(Words::summed_up("failed", error)),
                (None, Some(message)) => Ok(Finding { ok: false, message: Some(Words::private(message)) }),
                (None, None) => Ok(Finding { ok: true, message: None }),
            }
        }

        fn is_critical(&self) -> bool {
            !self.not_critical
        }
    }

    fn registry(probes: impl IntoIterator<Item = (&'static str, Fake)>) -> ReadinessRegistry {
        let registry = ReadinessRegistry::default();
        for (name, probe) in probes {
            registry.register(name, Arc::new(probe));
        }
        registry
    }

    #[tokio::test]
    async fn without_probes_it_is_ready() {
        let registry = registry([]);
        assert!(registry.is_empty());
        assert_eq!(*registry.evaluate().await, Readiness { ready: true, checks: vec![] });
    }

    #[tokio::test]
    async fn passing_probes_are_listed_in_order_of_registration() {
        let readiness = registry([("b", Fake::default()), ("a", Fake::default())]).evaluate().await;
        assert!(readiness.ready);
        assert_eq!(readiness.checks.iter().map(|check| &*check.name).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[tokio::test]
    async fn a_critical_probe_that_fails_decides_and_others_do_not() {
        let down = || Fake { fails: Some("down"), ..Fake::default() };
        let readiness = registry([("queue", down())]).evaluate().await;
        assert!(!readiness.ready);
        assert_eq!(readiness.checks[0].message, Some(Words::private("down")));
        let readiness = registry([("queue", Fake { not_critical: true, ..down() })]).evaluate().await;
        assert!(readiness.ready && !readiness.checks[0].ok);
    }

    #[tokio::test]
    async fn errors_panics_and_silence_are_failures() {
        let registry = ReadinessRegistry::new(Duration::from_millis(50));
        registry.register("throws", Arc::new(Fake { throws: Some("kaboom"), ..Fake::default() }));
        registry.register("panics", Arc::new(Fake { panics: true, ..Fake::default() }));
        registry.register("silent", Arc::new(Fake { takes: Duration::from_secs(3600), ..Fake::default() }));
        let readiness = registry.evaluate().await;
        let errors: Vec<_> = readiness.checks.iter().map(|check| (check.ok, check.message.clone(), Some(check.says()))).collect();
        assert!(readiness.checks.iter().all(|check| check.error.is_some()));
        assert_eq!(
            errors,
            [(false, None, Some("kaboom")), (false, None, Some("the probe panicked")), (false, None, Some("no answer within 50 ms"))]
        );
    }

    #[tokio::test]
    async fn the_last_registration_of_a_name_counts_and_goes_to_the_end() {
        let registry = registry([("a", Fake { fails: Some("old"), ..Fake::default() }), ("b", Fake::default()), ("a", Fake::default())]);
        let readiness = registry.evaluate().await;
        assert!(readiness.ready);
        assert_eq!(readiness.checks.iter().map(|check| &*check.name).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[tokio::test]
    async fn a_probe_is_removed_only_by_who_registered_it() {
        let registry = ReadinessRegistry::default();
        let (old, new): (Arc<dyn Probe>, Arc<dyn Probe>) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
        registry.register("a", old.clone());
        registry.register("a", new.clone());
        registry.remove("a", &old);
        assert!(!registry.is_empty());
        registry.remove("a", &new);
        assert!(registry.is_empty());
    }

    #[tokio::test]
    async fn probes_run_at_once_and_scrapes_share_a_run() {
        let takes = Duration::from_millis(200);
        let (one, two) = (Arc::new(Fake { takes, ..Fake::default() }), Arc::new(Fake { takes, ..Fake::default() }));
        let registry = ReadinessRegistry::default();
        registry.register("one", one.clone());
        registry.register("two", two.clone());
        let begin = Instant::now();
        futures::future::join_all((0..10).map(|_| registry.evaluate())).await;
        assert!(begin.elapsed() < takes * 2);
        assert_eq!((one.runs.load(Ordering::SeqCst), two.runs.load(Ordering::SeqCst)), (1, 1));
        registry.evaluate().await;
        assert_eq!(one.runs.load(Ordering::SeqCst), 2, "a later scrape runs them again");
    }

    #[tokio::test]
    async fn everybody_is_told_which_probe_fails_and_only_the_operator_what_it_says() {
        let readiness = registry([
            ("throws", Fake { throws: Some("password of bob"), ..Fake::default() }),
            ("fails", Fake { fails: Some("no route to shop.internal"), ..Fake::default() }),
        ]);
        let mut readiness = Readiness::clone(&*readiness.evaluate().await);
        readiness.checks.iter_mut().for_each(|check| check.duration_ms = 0);
        let json = |readiness: &Readiness| serde_json::to_string(readiness).unwrap();
        assert_eq!(
            json(&readiness),
            r#"{"ready":false,"checks":[{"name":"throws","critical":true,"ok":false,"error":"password of bob","durationMs":0},{"name":"fails","critical":true,"ok":false,"message":"no route to shop.internal","durationMs":0}]}"#
        );
        assert_eq!(
            json(&readiness.for_everybody()),
            r#"{"ready":false,"checks":[{"name":"throws","critical":true,"ok":false,"error":"failed","durationMs":0},{"name":"fails","critical":true,"ok":false,"durationMs":0}]}"#
        );
    }

    #[test]
    fn the_json_has_the_documented_form() {
        let check =
            Check { name: "a".into(), critical: true, ok: false, message: None, error: Some(Words::private("kaboom")), duration_ms: 1 };
        let readiness = Readiness { ready: false, checks: vec![check] };
        assert_eq!(
            serde_json::to_string(&readiness).unwrap(),
            r#"{"ready":false,"checks":[{"name":"a","critical":true,"ok":false,"error":"kaboom","durationMs":1}]}"#
        );
    }
}
