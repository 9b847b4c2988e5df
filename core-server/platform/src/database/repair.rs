//! Logins that stop working: a role may change its own password, and nothing in PostgreSQL keeps it
//! from it. The core gives it the right one again when it is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_plugin_package::PluginId;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::DatabaseError;

/// A login that is refused again so soon is not repaired again: whoever keeps breaking it, or a
/// proxy that knows another password, would keep the core busy.
const PAUSE: Duration = Duration::from_secs(1);

/// Repairs, one at a time for each plugin.
pub(super) struct Repairs {
    plugins: Mutex<BTreeMap<PluginId, Last>>,
    pause: Duration,
}

/// The last one that ended.
type Last = Arc<tokio::sync::Mutex<Option<Repair>>>;

#[derive(Clone, Copy)]
struct Repair {
    ended: Instant,
    worked: bool,
}

impl Repairs {
    pub(super) fn new() -> Self {
        Self { plugins: Mutex::default(), pause: PAUSE }
    }

    /// Repairs the login of a plugin that was refused in an attempt that began at `attempt`, unless
    /// somebody else has done so meanwhile. True if the attempt is worth repeating. A repair that has
    /// begun goes on, among `tasks`, when nobody waits for it any more.
    pub(super) async fn repair<Work>(
        &self,
        plugin_id: &PluginId,
        attempt: Instant,
        tasks: &TaskTracker,
        work: Work,
    ) -> Result<bool, DatabaseError>
    where
        Work: Future<Output = Result<bool, DatabaseError>> + Send + 'static,
    {
        let mut last = self.last(plugin_id).lock_owned().await;
        match *last {
            Some(repair) if repair.worked && repair.ended >= attempt => return Ok(true),
            Some(repair) if repair.ended.elapsed() < self.pause => return Ok(false),
            _ => {}
        }
        let repair = tasks.spawn(async move {
            let result = work.await;
            *last = Some(Repair { ended: Instant::now(), worked: matches!(result, Ok(true)) });
            result
        });
        repair.await.unwrap_or_else(|error| Err(DatabaseError::Unexpected(error.to_string())))
    }

    fn last(&self, plugin_id: &PluginId) -> Last {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.entry(plugin_id.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Fixture {
        repairs: Repairs,
        tasks: TaskTracker,
        count: Arc<AtomicUsize>,
    }

    impl Fixture {
        fn new() -> Self {
            let repairs = Repairs { pause: Duration::from_millis(200), ..Repairs::new() };
            Self { repairs, tasks: TaskTracker::new(), count: Arc::default() }
        }

        async fn repair(&self, plugin: &str, attempt: Instant, works: Result<bool, DatabaseError>) -> Result<bool, DatabaseError> {
            let count = self.count.clone();
            let work = async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                count.fetch_add(1, Ordering::Relaxed);
                works
            };
            self.repairs.repair(&plugin.parse().unwrap(), attempt, &self.tasks, work).await
        }

        fn count(&self) -> usize {
            self.count.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn those_who_are_refused_together_share_a_repair() {
        let fixture = Fixture::new();
        let attempt = Instant::now();
        let results = futures::future::join_all((0..10).map(|_| fixture.repair("one", attempt, Ok(true)))).await;
        assert!(results.iter().all(|result| *result == Ok(true)), "{results:?}");
        assert_eq!(fixture.count(), 1);
        fixture.repair("other", attempt, Ok(true)).await.unwrap();
        assert_eq!(fixture.count(), 2, "each plugin has its own");
    }

    #[tokio::test]
    async fn a_login_that_stays_broken_is_repaired_again_only_after_a_while() {
        let fixture = Fixture::new();
        for worked in [Ok(true), Ok(false), Err(DatabaseError::Unavailable("gone".into()))] {
            let before = fixture.count();
            assert_eq!(fixture.repair("one", Instant::now(), worked.clone()).await, worked);
            assert_eq!(fixture.repair("one", Instant::now(), worked).await, Ok(false));
            assert_eq!(fixture.count(), before + 1);
            tokio::time::sleep(fixture.repairs.pause).await;
        }
    }

    #[tokio::test]
    async fn a_repair_ends_even_if_nobody_waits_for_it() {
        let fixture = Fixture::new();
        let impatient = fixture.repair("one", Instant::now(), Ok(true));
        assert!(tokio::time::timeout(Duration::from_millis(10), impatient).await.is_err());
        fixture.tasks.close();
        fixture.tasks.wait().await;
        assert_eq!(fixture.count(), 1);
    }
}
