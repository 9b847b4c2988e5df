//! What a plugin can reach in the database with its own login: its own schema and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_platform::ConnectionDivision;
use checkstack_platform::plugin::{SqlDatabase, SqlError, SqlStatement, SqlValue};
use reqwest::Method;

use crate::instance::{Instance, Pod, no_native_parts, refusal};
use crate::packages::{package, package_with};

fn statement(text: &str) -> SqlStatement {
    SqlStatement { text: text.into(), parameters: vec![] }
}

async fn code(sql: &Arc<dyn SqlDatabase>, text: &str) -> String {
    match sql.execute(statement(text)).await {
        Err(SqlError::Database { code, .. }) => code,
        other => panic!("{text}: {other:?}"),
    }
}

async fn two_plugins(instance: &Instance) -> (Pod, Arc<dyn SqlDatabase>, Arc<dyn SqlDatabase>) {
    let pod = instance.pod("pod").await;
    let table = [("0001_secrets", "CREATE TABLE secrets (value text); INSERT INTO secrets VALUES ('mine')")];
    pod.run(1, &[&package_with("one", &[], &table), &package_with("other-one", &[], &table)]).await;
    let sql = |plugin| instance.scripts.services(plugin).sql.unwrap();
    (pod, sql("one"), sql("other-one"))
}

#[tokio::test]
async fn a_plugin_sees_its_own_schema_and_nothing_else() {
    let instance = Instance::new().await;
    let (_pod, one, other) = two_plugins(&instance).await;
    let name = |text: &str| SqlValue::Text(text.into());
    let who = one.query(statement("SELECT current_user::text, session_user::text, current_schema()::text")).await.unwrap();
    let role: String = instance.database.value("SELECT role_name FROM checkstack.plugin_databases WHERE plugin_id = 'one'").await;
    assert_eq!(who.rows, [[name(&role), name(&role), name("plugin_one")]]);
    assert_eq!(one.query(statement("SELECT value FROM secrets")).await.unwrap().rows, [[name("mine")]]);
    other.execute(statement("CREATE TABLE further (id int)")).await.unwrap();

    const DENIED: &str = "42501";
    for text in [
        "SELECT * FROM checkstack.plugin_kv",
        "SELECT * FROM checkstack.plugin_settings",
        "SELECT * FROM checkstack.plugin_artifacts",
        "SELECT * FROM checkstack.plugin_databases",
        "INSERT INTO checkstack.plugin_kv VALUES ('other-one', 'key', '')",
        "CREATE TABLE checkstack.mine (id int)",
        r#"SELECT * FROM "plugin_other-one".secrets"#,
        r#"CREATE TABLE "plugin_other-one".mine (id int)"#,
        r#"DROP SCHEMA "plugin_other-one" CASCADE"#,
        "CREATE SCHEMA another",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "CREATE EXTENSION pg_stat_statements",
        "COPY secrets TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "ALTER SYSTEM SET work_mem = '1GB'",
    ] {
        assert_eq!(code(&one, text).await, DENIED, "{text}");
    }
    // On PostgreSQL 14 this is for the database's administrator to forbid; the server warns there.
    if instance.database.value::<i32>("SELECT current_setting('server_version_num')::int").await >= 150_000 {
        assert_eq!(code(&one, "CREATE TABLE public.mine (id int)").await, DENIED);
    }
    let core = &instance.database.owner;
    let other_role: String =
        instance.database.value("SELECT role_name FROM checkstack.plugin_databases WHERE plugin_id = 'other-one'").await;
    for text in [
        format!("SET ROLE {core}"),
        format!("SET SESSION AUTHORIZATION {core}"),
        "SET ROLE postgres".to_owned(),
        format!("SET ROLE \"{other_role}\""),
        format!("SELECT set_config('role', '{core}', false)"),
        format!("GRANT {core} TO \"{role}\""),
        format!("GRANT \"{other_role}\" TO \"{role}\""),
        format!("ALTER ROLE \"{role}\" SUPERUSER"),
        format!("ALTER ROLE \"{other_role}\" PASSWORD 'x'"),
    ] {
        assert_eq!(code(&one, &text).await, DENIED, "{text}");
    }
}

#[tokio::test]
async fn nobody_can_be_let_into_a_schema_by_its_plugin() {
    let instance = Instance::new().await;
    let (_pod, one, other) = two_plugins(&instance).await;
    let other_role: String =
        instance.database.value("SELECT role_name FROM checkstack.plugin_databases WHERE plugin_id = 'other-one'").await;
    // Its table it may share, but the way to it leads through a schema that is not its own.
    one.execute(statement(&format!("GRANT SELECT ON secrets TO \"{other_role}\""))).await.unwrap();
    let _ = one.execute(statement(&format!("GRANT USAGE ON SCHEMA plugin_one TO \"{other_role}\""))).await;
    assert_eq!(code(&other, "SELECT * FROM plugin_one.secrets").await, "42501");
    assert_eq!(code(&one, "DROP SCHEMA plugin_one").await, "42501");
}

#[tokio::test]
async fn nothing_that_a_plugin_does_to_a_session_outlives_the_call() {
    let instance = Instance::new().await;
    let (_pod, one, _) = two_plugins(&instance).await;
    for text in ["BEGIN", "INSERT INTO secrets VALUES ('uncommitted')"] {
        one.execute(statement(text)).await.unwrap();
    }
    for text in ["SET search_path = pg_catalog", "SET statement_timeout = 0", "CREATE TEMP TABLE leftover (id int)", "LISTEN everything"] {
        one.execute(statement(text)).await.unwrap();
    }
    one.query(statement("SELECT pg_advisory_lock(1), set_config('statement_timeout', '0', false)")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..8 {
        let state = one
            .query(statement(
                "SELECT current_schema()::text, current_setting('statement_timeout'), to_regclass('pg_temp.leftover') IS NULL",
            ))
            .await
            .unwrap();
        assert_eq!(state.rows, [[SqlValue::Text("plugin_one".into()), SqlValue::Text("2s".into()), SqlValue::Boolean(true)]]);
    }
    let values = one.query(statement("SELECT count(*) FROM secrets WHERE value = 'uncommitted'")).await.unwrap();
    // BEGIN was undone with its call; the INSERT after it was a transaction of its own.
    assert_eq!(values.rows, [[SqlValue::Integer(1)]]);
    // This lock in this database: the view has the locks of all, and others migrate while this runs.
    let held = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                WHERE locktype = 'advisory' AND datname = current_database() AND (classid, objid) = (0, 1)";
    assert_eq!(instance.database.value::<i64>(held).await, 0);
}

#[tokio::test]
async fn a_statement_that_never_ends_is_ended_even_if_it_switches_its_limit_off() {
    let instance = Instance::new().await;
    let (_pod, one, _) = two_plugins(&instance).await;
    let begin = Instant::now();
    let slow = one.query(statement("SELECT pg_sleep(60)")).await.unwrap_err();
    assert!(matches!(slow, SqlError::Timeout(_)), "{slow:?}");
    let endless = vec![statement("SET LOCAL statement_timeout = 0"), statement("SELECT pg_sleep(60)")];
    assert!(one.transact(endless).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + Duration::from_secs(5);
    while instance.database.value::<i64>(running).await > 0 {
        assert!(Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(one.query(statement("SELECT 1")).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_plugin_cannot_change_what_its_sessions_begin_with() {
    let instance = Instance::new().await;
    let (_pod, one, _) = two_plugins(&instance).await;
    for text in [
        "CREATE FUNCTION plugin_one.pg_terminate_backend(int) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION plugin_one.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER ROLE CURRENT_USER SET search_path = plugin_one, pg_catalog",
        "ALTER ROLE CURRENT_USER SET statement_timeout = 0",
        "ALTER ROLE CURRENT_USER SET lock_timeout = 0",
    ] {
        one.execute(statement(text)).await.unwrap();
    }
    let role: String = instance.database.value("SELECT role_name FROM checkstack.plugin_databases WHERE plugin_id = 'one'").await;
    // Sessions that know the new defaults: those that begin now.
    instance
        .database
        .value::<i64>(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'"))
        .await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let settings = "SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('lock_timeout')";
    let expected = [[r#""plugin_one""#, "2s", "2s"].map(|text| SqlValue::Text(text.into())).to_vec()];
    for _ in 0..2 {
        assert_eq!(one.query(statement(settings)).await.unwrap().rows, expected);
    }
    let endless = vec![statement("SET LOCAL statement_timeout = 0"), statement("SELECT pg_sleep(61)")];
    assert!(one.transact(endless).await.is_err());
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(61)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + Duration::from_secs(5);
    while instance.database.value::<i64>(running).await > 0 {
        assert!(Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn connections_are_bounded_shared_and_given_back() {
    let instance = Instance::new().await;
    let mut settings = instance.settings("pod");
    settings.database.connections = ConnectionDivision { plugins: 2, ..ConnectionDivision::default() };
    let pod = instance.new_pod_with(settings).await;
    pod.platform.start(instance.loader(), no_native_parts).await.unwrap();
    pod.run(1, &[&package("one", &[]), &package("two", &[]), &package("three", &[])]).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'checkstack plugin %' AND datname = current_database()";
    let queries = (0..30).map(|index| {
        let sql = instance.scripts.services(["one", "two", "three"][index % 3]).sql.unwrap();
        async move { sql.query(statement("SELECT pg_sleep(0.02)")).await }
    });
    let (results, most) = tokio::join!(futures::future::join_all(queries), async {
        let mut most = 0;
        for _ in 0..10 {
            most = most.max(instance.database.value::<i64>(open).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // One more may be closing while its place is taken already.
    assert!((1..=3).contains(&most), "{most}");
}

#[tokio::test]
async fn purging_removes_schema_role_and_entries_and_only_when_the_plugin_is_gone() {
    let instance = Instance::new().await;
    let (pod, one, _) = two_plugins(&instance).await;
    let key_value = instance.scripts.services("one").key_value.unwrap();
    key_value.set("key", "value".into(), None).await.unwrap();
    instance.scripts.services("one").settings.unwrap().set("id", 1, "{}".into()).await.unwrap();
    // Not in the schema, but the role's: it would keep the role from being dropped.
    one.query(statement("SELECT lo_create(0)::bigint")).await.unwrap();
    let path = format!("{}/one", paths::PLUGIN_DATA);
    let purge = || pod.signed(Method::DELETE, &path, vec![]).send();
    assert_eq!(refusal(purge().await.unwrap()).await, (409, "plugin_in_use".into()));

    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'plugin_one'";
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'plugin\\_one\\_%'";
    pod.run(2, &[&package("other-one", &[])]).await;
    assert_eq!(
        (instance.database.value::<i64>(schemas).await, instance.database.value::<i64>(roles).await >= 1),
        (1, true),
        "kept until then"
    );
    let role: String = instance.database.value("SELECT role_name FROM checkstack.plugin_databases WHERE plugin_id = 'one'").await;
    assert_eq!(purge().await.unwrap().status(), 204);
    assert_eq!(instance.database.value::<i64>(schemas).await, 0);
    assert_eq!(instance.database.value::<i64>(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'")).await, 0);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_kv WHERE plugin_id = 'one'").await, 0);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_settings WHERE plugin_id = 'one'").await, 0);
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM checkstack.plugin_databases").await, 1, "the other's is left");
    assert_eq!(purge().await.unwrap().status(), 204, "again");
    let invalid = pod.signed(Method::DELETE, &format!("{}/core", paths::PLUGIN_DATA), vec![]).send().await.unwrap();
    assert_eq!(refusal(invalid).await, (400, "invalid_plugin_id".into()));

    // It can come back, empty.
    let table = [("0001_secrets", "CREATE TABLE secrets (value text)")];
    pod.run(3, &[&package_with("one", &[], &table)]).await;
    let one = instance.scripts.services("one").sql.unwrap();
    assert_eq!(one.query(statement("SELECT count(*) FROM secrets")).await.unwrap().rows, [[SqlValue::Integer(0)]]);
}

#[tokio::test]
async fn without_the_grant_there_is_no_database() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (mut plain, mut migrating) = (package("plain", &[]), package_with("migrating", &[], &[("0001_t", "CREATE TABLE t (id int)")]));
    plain.entry.grants.database = false;
    migrating.entry.grants.database = false;
    let report = pod.run(1, &[&plain, &migrating]).await;
    use crate::instance::Reported as _;
    assert!(report.is_active("plain"));
    assert!(report.plugin("migrating").message.contains("spec.grants.database"), "{:?}", report.plugin("migrating"));
    let services = instance.scripts.services("plain");
    assert!(services.sql.is_none() && services.key_value.is_none() && services.settings.is_none());
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'plugin\\_%'").await, 0);
}
