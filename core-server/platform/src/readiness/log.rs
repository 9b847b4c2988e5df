//! What the log says about readiness.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tracing::{info, warn};

use super::{Readiness, lock};

/// Logs when the pod becomes ready and when it becomes unready, which probes begin to fail and which
/// are well again; nothing in between.
#[derive(Default)]
pub(crate) struct ReadyLog(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    ready: Option<bool>,
    failing: BTreeSet<Arc<str>>,
}

impl ReadyLog {
    pub(crate) fn note(&self, readiness: &Readiness) {
        let mut noted = lock(&self.0);
        for check in &readiness.checks {
            let has_changed = match check.ok {
                true => noted.failing.remove(&check.name),
                false => noted.failing.insert(check.name.clone()),
            };
            match (has_changed, check.ok) {
                (false, _) => {}
                (true, true) => info!(probe = %check.name, "the readiness probe is well again"),
                (true, false) => warn!(probe = %check.name, critical = check.critical, says = check.says(), "a readiness probe fails"),
            }
        }
        noted.failing.retain(|failing| readiness.checks.iter().any(|check| check.name == *failing));
        if noted.ready.replace(readiness.ready) == Some(readiness.ready) {
            return;
        }
        match readiness.ready {
            true => info!("the pod is ready"),
            false => {
                let failing = readiness.checks.iter().filter(|check| check.critical && !check.ok);
                warn!(failing = failing.map(|check| &*check.name).collect::<Vec<_>>().join(", "), "the pod is not ready");
            }
        }
    }
}
