//! A plugin's role may change its own password, and the core still gets in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_platform::plugin::{SqlDatabase, SqlError, SqlStatement};
use reqwest::Method;

use crate::instance::{Instance, Pod};
use crate::packages::package;

fn statement(text: &str) -> SqlStatement {
    SqlStatement { text: text.into(), parameters: vec![] }
}

async fn plugin(instance: &Instance) -> (Pod, Arc<dyn SqlDatabase>, String) {
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("one", &[])]).await;
    let role = instance.database.value("SELECT role_name FROM checkstack.plugin_databases").await;
    (pod, instance.scripts.services("one").sql.unwrap(), role)
}

/// The next statement needs a login.
async fn end_sessions(instance: &Instance, role: &str) {
    let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
    instance.database.value::<i64>(&end).await;
    // What has been idle for so long is tried before it is used.
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

#[tokio::test]
async fn a_password_that_the_plugin_changes_is_changed_back() {
    let instance = Instance::new().await;
    let (_pod, one, role) = plugin(&instance).await;
    one.execute(statement("CREATE TABLE kept (id int)")).await.unwrap();
    for round in 0..2 {
        one.execute(statement("ALTER ROLE CURRENT_USER PASSWORD 'mine'")).await.unwrap();
        end_sessions(&instance, &role).await;
        let queries = (0..8).map(|_| one.query(statement("SELECT count(*), pg_sleep(0.05)::text FROM kept")));
        let results = futures::future::join_all(queries).await;
        assert!(results.iter().all(Result::is_ok), "round {round}: {results:?}");
    }
}

#[tokio::test]
async fn a_role_that_an_admin_has_dropped_is_made_again_and_a_purged_one_is_not() {
    let instance = Instance::new().await;
    let (pod, one, role) = plugin(&instance).await;
    one.query(statement("SELECT 1")).await.unwrap();
    let mut admin = instance.database.admin().await;
    end_sessions(&instance, &role).await;
    crate::postgres::execute(&mut admin, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).await;
    one.query(statement("SELECT 1")).await.unwrap();

    pod.run(2, &[]).await;
    assert_eq!(pod.signed(Method::DELETE, &format!("{}/one", paths::PLUGIN_DATA), vec![]).send().await.unwrap().status(), 204);
    // As on another pod, which still runs the plugin.
    let refused = one.query(statement("SELECT 1")).await.unwrap_err();
    assert!(matches!(&refused, SqlError::Unavailable(message) if message.contains("28P01")), "{refused:?}");
    assert_eq!(instance.database.value::<i64>(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'")).await, 0);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'plugin_one'").await, 0);
}

#[tokio::test]
async fn what_runs_on_is_ended_whatever_the_password() {
    let instance = Instance::new().await;
    let (_pod, one, _) = plugin(&instance).await;
    one.execute(statement("ALTER ROLE CURRENT_USER PASSWORD 'mine'")).await.unwrap();
    // So that the same connection is used again.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let endless = vec![statement("SET LOCAL statement_timeout = 0"), statement("SELECT pg_sleep(62)")];
    let ended = one.transact(endless).await;
    assert!(matches!(&ended, Err(SqlError::Unavailable(message)) if message.contains("did not answer")), "{ended:?}");
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(62)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + Duration::from_secs(5);
    while instance.database.value::<i64>(running).await > 0 {
        assert!(Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
