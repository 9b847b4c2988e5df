//! The connections of a pod are few and divided: who uses all of its own takes none from others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_platform::ConnectionDivision;
use checkstack_platform::plugin::{SqlError, SqlStatement};
use checkstack_plugin_package::Digest;
use reqwest::Method;

use crate::instance::{Instance, Pod, no_native_parts};
use crate::packages::package;
use crate::postgres::{Postgres, execute};

fn statement(text: &str) -> SqlStatement {
    SqlStatement { text: text.into(), parameters: vec![] }
}

/// A transaction that the database does not end by itself.
fn endless() -> Vec<SqlStatement> {
    vec![statement("SET LOCAL statement_timeout = 0"), statement("SELECT pg_sleep(63)")]
}

async fn pod_with(instance: &Instance, connections: ConnectionDivision) -> Pod {
    let mut settings = instance.settings("pod");
    settings.database.connections = connections;
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod
}

/// Open plugin connections, as the pod counts them.
async fn counted(pod: &Pod) -> usize {
    let metrics = pod.get(paths::METRICS).await.text().await.unwrap();
    let open = metrics.lines().filter_map(|line| line.strip_prefix(r#"checkstack_database_connections{pool="plugins",state=""#));
    open.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn a_busy_core_is_ready_and_a_core_without_a_database_is_not() {
    let server = Arc::new(Postgres::start());
    let instance = Instance::with(&server).await;
    let pod = instance.pod("pod").await;
    let mut admin = instance.database.admin().await;
    execute(&mut admin, "BEGIN; LOCK TABLE checkstack.plugin_artifacts").await;
    let path = paths::artifact(&Digest::of(b"whatever"));
    let head = || tokio::spawn(pod.signed(Method::HEAD, &path, vec![]).send());
    let waiting: Vec<_> = (0..12).map(|_| head()).collect();
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'checkstack' AND wait_event_type = 'Lock'";
    let core = i64::from(ConnectionDivision::default().core);
    let deadline = Instant::now() + Duration::from_secs(5);
    while instance.database.value::<i64>(blocked).await < core {
        assert!(Instant::now() < deadline, "the core's connections are not all in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..5 {
        let asked = Instant::now();
        let (status, ready) = pod.ready().await;
        assert_eq!(status, 200, "{ready}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    assert_eq!(instance.database.value::<i64>(blocked).await, core, "they were in use all the time");
    execute(&mut admin, "COMMIT").await;
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap().status(), 404, "nothing was wrong but the time that it took");
    }

    server.stop();
    let begin = Instant::now();
    while pod.ready().await.0 != 503 {
        assert!(begin.elapsed() < Duration::from_secs(3), "ready without a database");
    }
}

#[tokio::test]
async fn a_pod_never_has_more_connections_than_it_was_given() {
    let instance = Instance::new().await;
    let division = ConnectionDivision::of(12);
    let pod = pod_with(&instance, division).await;
    let plugins = ["one", "two", "three"];
    let packages = plugins.map(|plugin| package(plugin, &[]));
    pod.run(1, &packages.each_ref()).await;
    let end = Instant::now() + Duration::from_secs(4);
    let work = (0..30).map(|index| {
        let services = instance.scripts.services(plugins[index % 3]);
        let (sql, key_value) = (services.sql.unwrap(), services.key_value.unwrap());
        let (pod, package) = (&pod, &packages[index % 3]);
        async move {
            while Instant::now() < end {
                // Whether it succeeds does not matter here.
                match index % 6 {
                    0 => drop(sql.transact(endless()).await),
                    1 | 2 => drop(sql.query(statement("SELECT pg_sleep(0.01)::text")).await),
                    3 => drop(key_value.set("key", "value".into(), None).await),
                    4 => drop(pod.upload(package).await),
                    _ => drop(pod.ready().await),
                }
            }
        }
    });
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'checkstack%' AND datname = current_database()";
    let (_, most) = tokio::join!(futures::future::join_all(work), async {
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(instance.database.value::<i64>(open).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        most
    });
    // Where one is closed and another one opened, the server may count both for a moment.
    let total = i64::from(division.total());
    assert!((total / 2..=total + 2).contains(&most), "{most} of {total}");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_for_what() {
    let instance = Instance::new().await;
    let pod = pod_with(&instance, ConnectionDivision { plugins: 3, per_plugin: 2, ..ConnectionDivision::default() }).await;
    pod.run(1, &[&package("one", &[]), &package("two", &[])]).await;
    let sql = |plugin| instance.scripts.services(plugin).sql.unwrap();
    let (one, two) = (sql("one"), sql("two"));
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::join!(one.query(statement("SELECT 1")), two.query(statement("SELECT 1")))
    };
    let (_, _, _, (of_one, of_two)) = tokio::join!(one.transact(endless()), one.transact(endless()), two.transact(endless()), late);
    let unavailable = |result| match result {
        Err(SqlError::Unavailable(message)) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        unavailable(of_one),
        "plugin 'one' has waited 2000 ms for a connection: all 2 that it may have at a time in this pod are in use"
    );
    assert_eq!(
        unavailable(of_two),
        "plugin 'two' has waited 2000 ms for a connection: all 3 that this pod has for plugins are in use; \
         CHECKSTACK_DATABASE_CONNECTIONS allows a pod more"
    );
}

#[tokio::test]
async fn what_still_runs_in_the_database_keeps_its_place() {
    let server = Arc::new(Postgres::start());
    let instance = Instance::with(&server).await;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("one", &[])]).await;
    let one = instance.scripts.services("one").sql.unwrap();
    let before = counted(&pod).await;
    assert!(before <= 1, "{before}");
    let (result, ()) = tokio::join!(one.transact(endless()), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.freeze();
    });
    assert!(matches!(result, Err(SqlError::Unavailable(_))), "{result:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let meanwhile = counted(&pod).await;
    server.thaw();
    assert_eq!(meanwhile, 1, "nobody had ended it yet");
    let deadline = Instant::now() + Duration::from_secs(8);
    while counted(&pod).await > 0 {
        assert!(Instant::now() < deadline, "its place is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
