//! What the project promises, on a real cluster: see the modules' names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod bad_input;
mod bad_plugins;
mod canaries;
mod crashes;
mod critical_plugins;
mod database_outage;
mod deletion;
mod events;
mod installation;
mod jobs;
mod key_rotation;
mod procedures;
mod rollback;
mod sign_in;
mod soak;
mod steady_state;
mod strategy;
mod versioned;

use checkstack_e2e::namespace::Namespace;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static OPERATOR: RwLock<()> = RwLock::const_new(());

/// For tests that need an operator that works.
async fn shared_operator() -> RwLockReadGuard<'static, ()> {
    OPERATOR.read().await
}

/// For tests that disturb the operator, and for those that must see nothing else happen. They are in modules of this name,
/// so that tests/e2e/run can have them last: while one waits for the others to end, no other begins.
async fn operator_alone() -> RwLockWriteGuard<'static, ()> {
    let alone = OPERATOR.write().await;
    Namespace::await_removals().await.unwrap();
    alone
}
