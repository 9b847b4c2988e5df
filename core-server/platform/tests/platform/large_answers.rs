//! A plugin decides what the database answers, but not how much of it the pod must hold.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{SqlDatabase, SqlError, SqlStatement, SqlValue};

use crate::instance::{Instance, Reported as _};
use crate::packages::{Package, package, package_with};
use crate::postgres::Postgres;

/// Each makes the database send some 100 MB.
const ENORMOUS: [&str; 5] = [
    "SELECT repeat('x', 100000000)",
    "SELECT array_agg(repeat('x', 1000000)) FROM generate_series(1, 100)",
    "SELECT repeat('a', 20000000), repeat('b', 20000000), repeat('c', 20000000), repeat('d', 20000000), repeat('e', 20000000)",
    "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 100000000); END $$",
    "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 100000000); END $$",
];
/// Far less than one of them, and more than three connections hold that are cut in time.
const ALLOWED_KILOBYTES: u64 = 64 * 1024;

fn statement(text: &str) -> SqlStatement {
    SqlStatement { text: text.into(), parameters: vec![] }
}

fn patient(plugin: &str) -> Package {
    let mut package = package(plugin, &[]);
    package.entry.grants.deadline_milliseconds = 20_000;
    package
}

fn assert_too_large<T: std::fmt::Debug>(text: &str, result: Result<T, SqlError>) {
    let Err(SqlError::TooLarge(message)) = &result else { panic!("{text}: {result:?}") };
    assert_eq!(message, "the result has more than 10000 rows or 8 MiB: add a LIMIT, or select less of large values");
}

/// Set in the process that is measured.
const MEASURED: &str = "CHECKSTACK_TEST_MEASURED";

/// Runs itself in a process of its own: its memory is measured, and other tests use some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enormous_answers_do_not_fill_the_memory() {
    if std::env::var_os(MEASURED).is_some() {
        return answer_enormously().await;
    }
    let test = ["--exact", "large_answers::enormous_answers_do_not_fill_the_memory", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(test).env(MEASURED, "1").output().unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn answer_enormously() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&patient("greedy"), &package("neighbour", &[])]).await;
    let sql = |plugin| instance.scripts.services(plugin).sql.unwrap();
    let (greedy, neighbour) = (sql("greedy"), sql("neighbour"));
    // What is allowed is not cut.
    let largest = "SELECT repeat('x', 8000000)";
    assert_eq!(greedy.query(statement(largest)).await.unwrap().rows, [[SqlValue::Text("x".repeat(8_000_000))]]);

    let before = peak_kilobytes();
    let attack = async {
        for text in ENORMOUS {
            let transaction = vec![statement("SELECT 1"), statement(text)];
            let (queried, executed, transacted) =
                tokio::join!(greedy.query(statement(text)), greedy.execute(statement(text)), greedy.transact(transaction));
            assert_too_large(text, queried);
            assert_too_large(text, executed);
            assert_too_large(text, transacted);
            // The plugin itself goes on, too.
            assert_eq!(greedy.query(statement("SELECT 1")).await.unwrap().rows, [[SqlValue::Integer(1)]]);
        }
    };
    let neighbours = async {
        loop {
            assert_eq!(neighbour.query(statement("SELECT 2")).await.unwrap().rows, [[SqlValue::Integer(2)]]);
            assert_eq!(pod.get("/api/neighbour/").await.status(), 200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = attack => {}
        () = neighbours => {}
    }
    let grown = peak_kilobytes().saturating_sub(before);
    assert!(grown < ALLOWED_KILOBYTES, "{grown} KiB for answers of which each has 100 MB");
}

/// The most that this process has ever had in memory.
fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn large_answers_are_cut_on_every_way_to_the_database() {
    let server = Arc::new(Postgres::start());
    server.offer_tls().await;
    let socket = server.directory().display().to_string().replace('/', "%2F");
    for (host, mode, encrypted) in [
        ("127.0.0.1", "require", true),
        ("127.0.0.1", "disable", false),
        ("127.0.0.1", "prefer", true),
        (socket.as_str(), "disable", false),
    ] {
        let mut instance = Instance::with(&server).await;
        instance.database.url = format!("{}?sslmode={mode}", instance.database.url.replace("127.0.0.1", host));
        let pod = instance.pod("pod").await;
        pod.run(1, &[&patient("greedy")]).await;
        let sql = instance.scripts.services("greedy").sql.unwrap();
        assert_eq!(sql.query(statement("SELECT 1")).await.unwrap().rows.len(), 1);
        assert_too_large(host, sql.query(statement("SELECT repeat('x', 20000000)")).await);
        let size = sql.query(statement("SELECT repeat('x', 8000000)")).await.unwrap().rows;
        assert_eq!(size, [[SqlValue::Text("x".repeat(8_000_000))]]);
        let seen: bool = instance
            .database
            .value(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE datname = current_database() AND usename LIKE 'plugin\\_greedy%'",
            )
            .await;
        assert_eq!(seen, encrypted, "{host} {mode}");
    }
}

#[tokio::test]
async fn many_answers_one_after_the_other_are_no_large_answer() {
    let instance = Instance::new().await;
    instance.pod("pod").await.run(1, &[&patient("busy")]).await;
    let sql = instance.scripts.services("busy").sql.unwrap();
    let texts: Vec<SqlStatement> = (0..20).map(|_| statement("SELECT repeat('x', 2000000)")).collect();
    assert_eq!(sql.transact(texts).await.unwrap(), [1; 20]);
}

#[tokio::test]
async fn what_is_too_large_is_not_done_in_a_transaction() {
    let instance = Instance::new().await;
    let table = [("0001_notes", "CREATE TABLE notes (text text)")];
    let mut package = package_with("writer", &[], &table);
    package.entry.grants.deadline_milliseconds = 20_000;
    instance.pod("pod").await.run(1, &[&package]).await;
    let sql: Arc<dyn SqlDatabase> = instance.scripts.services("writer").sql.unwrap();
    let texts = vec![statement("INSERT INTO notes VALUES ('written')"), statement("SELECT repeat('x', 20000000)")];
    assert_too_large("transact", sql.transact(texts).await);
    assert_eq!(sql.query(statement("SELECT count(*) FROM notes")).await.unwrap().rows, [[SqlValue::Integer(0)]]);
}

#[tokio::test]
async fn a_migration_with_an_enormous_output_is_refused_with_what_to_do() {
    let instance = Instance::new().await;
    let loud = package_with("loud", &[], &[("0001_loud", "CREATE TABLE t (id int); SELECT repeat('x', 20000000)")]);
    let report = instance.pod("pod").await.run(1, &[&loud]).await;
    let loud = report.plugin("loud");
    assert_eq!(loud.reason, PluginReason::MigrationFailed);
    assert!(loud.message.contains("the output of a migration has more than 9 MiB"), "{}", loud.message);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM pg_tables WHERE schemaname = 'plugin_loud'").await, 0);
}
