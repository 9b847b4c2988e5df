//! Migrations of plugins' schemas.

use checkstack_control_api::report::{PluginReason, PluginState};

use crate::instance::{Instance, Reported as _, set};
use crate::packages::{Package, package, package_with};

const ONE: (&str, &str) = ("0001_one", "CREATE TABLE things (id int PRIMARY KEY)");
const TWO: (&str, &str) = ("0002_two", "-- checkstack: additive\nALTER TABLE things ADD name text; INSERT INTO things VALUES (1, 'x;y')");

/// A version, its migrations, and what is said about them.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

async fn tables(instance: &Instance) -> String {
    let query = "SELECT coalesce(string_agg(tablename || ':' || tableowner, ',' ORDER BY tablename), '') FROM pg_tables WHERE schemaname = 'plugin_uptime'";
    instance.database.value::<String>(query).await
}

async fn applied(instance: &Instance) -> String {
    let query = "SELECT string_agg(version || ' ' || name, ', ' ORDER BY version) FROM plugin_uptime.__checkstack_migrations";
    instance.database.value::<String>(query).await
}

#[tokio::test]
async fn migrations_run_once_in_order_as_the_plugins_own_role() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package_with("uptime@1.0.0", &[], &[ONE])]).await;
    let role: String = instance.database.value("SELECT role_name FROM checkstack.plugin_databases").await;
    assert_eq!(tables(&instance).await, format!("__checkstack_migrations:{role},things:{role}"));
    let newer = package_with("uptime@1.1.0", &[], &[ONE, TWO]);
    pod.run(2, &[&newer]).await;
    assert_eq!(applied(&instance).await, "1 one, 2 two");
    // Another replica finds it done.
    instance.mount(&set(2, &[&newer]));
    assert!(instance.pod("other").await.report().await.is_active("uptime"));
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM plugin_uptime.things").await, 1);
}

#[tokio::test]
async fn replicas_that_migrate_at_once_do_it_once() {
    let instance = Instance::new().await;
    let package = package_with("uptime", &[], &[ONE, TWO]);
    instance.pod("first").await.upload(&package).await;
    instance.mount(&set(1, &[&package]));
    let pods = futures::future::join_all(["a", "b", "c"].map(|name| instance.pod(name))).await;
    for pod in &pods {
        assert!(pod.report().await.is_active("uptime"));
    }
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM plugin_uptime.things").await, 1);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_schema_as_it_was_and_the_old_version_serving() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package_with("uptime@1.0.0", &[], &[ONE])]).await;
    let failing: [Case<'_>; 7] = [
        ("1.9.9", &[ONE, ("0002_drop", "DROP TABLE things")], "there is no way back from migration 0002_drop"),
        (
            "2.0.0",
            &[ONE, TWO, ("0003_three", "-- checkstack: additive\nALTER TABLE nothing ADD x int")],
            "migration 0003_three failed: relation \"nothing\" does not exist (SQLSTATE 42P01)",
        ),
        ("2.0.1", &[("0001_one", "CREATE TABLE things (id bigint)"), TWO], "migration 0001_one was changed after it had been applied"),
        ("2.0.2", &[TWO], "has migration 0001_one, which this version of the plugin does not know"),
        ("2.0.3", &[("0000_zero", "CREATE TABLE zero (id int)"), ONE], "migration 0000_zero is older than what has been applied already"),
        (
            "2.0.4",
            &[ONE, ("0002_commit", "-- checkstack: additive\nCREATE TABLE half (id int); COMMIT; CREATE TABLE other_half (id int)")],
            "ends the transaction that it runs in",
        ),
        ("2.0.5", &[ONE, ("0002_core", "-- checkstack: additive\nSELECT * FROM checkstack.plugin_kv")], "permission denied"),
    ];
    for (revision, (version, migrations, says)) in (2..).zip(failing) {
        let report = pod.run(revision, &[&package_with(&format!("uptime@{version}"), &[], migrations)]).await;
        let uptime = report.plugin("uptime");
        assert_eq!((uptime.state, uptime.reason), (PluginState::Failed, PluginReason::MigrationFailed), "{version}");
        assert!(uptime.message.contains(says), "{}", uptime.message);
        assert_eq!(uptime.active.as_ref().unwrap().version, "1.0.0");
        assert_eq!(pod.get("/api/uptime/").await.status(), 200);
        assert_eq!(applied(&instance).await, "1 one");
    }
    let without: Package = package("uptime@3.0.0", &[]);
    let report = pod.run(20, &[&without]).await;
    assert_eq!(report.plugin("uptime").reason, PluginReason::MigrationFailed, "the schema is newer than a version without migrations");
    let healed = pod.run(21, &[&package_with("uptime@3.0.1", &[], &[ONE, TWO])]).await;
    assert!(healed.is_active("uptime"));
}

#[tokio::test]
async fn an_older_version_finds_a_schema_that_it_can_work_with() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let rename =
        [("0003_rename", "ALTER TABLE things RENAME id TO number"), ("0003_rename.down", "ALTER TABLE things RENAME number TO id")];
    let versions = [
        package_with("uptime@1.0.0", &[], &[ONE]),
        package_with("uptime@2.0.0", &[], &[ONE, TWO]),
        package_with("uptime@3.0.0", &[], &[ONE, TWO, rename[0], rename[1]]),
    ];
    let columns = async || {
        let query = "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns WHERE table_name = 'things'";
        instance.database.value::<String>(query).await
    };
    for (revision, (version, expected, steps)) in (1..).zip([
        (0, "id", "1 one"),
        (2, "name,number", "1 one, 2 two, 3 rename"),
        // What only adds stays, and nothing is lost.
        (0, "id,name", "1 one, 2 two"),
        (1, "id,name", "1 one, 2 two"),
        (2, "name,number", "1 one, 2 two, 3 rename"),
    ]) {
        let report = pod.run(revision, &[&versions[version]]).await;
        assert!(report.is_active("uptime"), "{}", report.plugin("uptime").message);
        assert_eq!((columns().await.as_str(), applied(&instance).await.as_str()), (expected, steps), "revision {revision}");
    }
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM plugin_uptime.things").await, 1);

    // A way back that does not work leaves everything as it is, and says so.
    let other = instance.pod("other").await;
    let broken = "UPDATE plugin_uptime.__checkstack_migrations SET down = 'ALTER TABLE nothing RENAME a TO b' WHERE version = 3";
    crate::postgres::execute(&mut instance.database.admin().await, broken).await;
    let report = other.run(9, &[&versions[0]]).await;
    let uptime = report.plugin("uptime");
    assert_eq!(uptime.reason, PluginReason::MigrationFailed);
    assert!(uptime.message.contains("migration 0003_rename.down.sql failed: relation \"nothing\" does not exist"), "{}", uptime.message);
    assert_eq!(applied(&instance).await, "1 one, 2 two, 3 rename");
}

#[tokio::test]
async fn records_of_a_release_that_knew_no_way_back_get_theirs_from_the_package() {
    let instance = Instance::new().await;
    let back = [("0002_drop", "CREATE TABLE more (id int)"), ("0002_drop.down", "DROP TABLE more")];
    let (old, new) = (package_with("uptime@1.0.0", &[], &[ONE]), package_with("uptime@2.0.0", &[], &[ONE, back[0], back[1]]));
    let pod = instance.pod("pod").await;
    pod.run(1, &[&new]).await;
    let earlier = "ALTER TABLE plugin_uptime.__checkstack_migrations DROP COLUMN additive, DROP COLUMN down";
    crate::postgres::execute(&mut instance.database.admin().await, earlier).await;
    // As after an upgrade of the server.
    instance.mount(&set(1, &[&new]));
    let upgraded = instance.pod("upgraded").await;
    assert!(upgraded.report().await.is_active("uptime"));
    assert!(upgraded.run(2, &[&old]).await.is_active("uptime"));
    assert_eq!(applied(&instance).await, "1 one");
}

#[tokio::test]
async fn a_restored_backup_is_taken_over_although_the_roles_are_gone() {
    let instance = Instance::new().await;
    let more = "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN small AS int; CREATE VIEW seen AS SELECT * FROM things;
        CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE counted (id serial PRIMARY KEY); CREATE SEQUENCE own;
        CREATE TYPE pair AS (one int, other int)";
    let package = package_with("uptime", &[], &[ONE, ("0002_more", more)]);
    instance.pod("before").await.run(1, &[&package]).await;
    // As pg_restore leaves it where it may create everything but does not know the role.
    let role: String = instance.database.value("SELECT role_name FROM checkstack.plugin_databases").await;
    let owner = &instance.database.owner;
    let mut admin = instance.database.admin().await;
    crate::postgres::execute(
        &mut admin,
        &format!("REASSIGN OWNED BY \"{role}\" TO {owner}; DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""),
    )
    .await;

    let after = instance.pod("after").await;
    let all = "DROP TYPE mood; DROP DOMAIN small; DROP VIEW seen; DROP FUNCTION one(); DROP TABLE counted; DROP SEQUENCE own;
        DROP TABLE things; DROP TYPE pair";
    let report = after
        .run(1, &[&package_with("uptime@1.0.1", &[], &[ONE, ("0002_more", more), ("0003_all", all), ("0003_all.down", "SELECT 1")])])
        .await;
    assert!(report.is_active("uptime"), "{}", report.plugin("uptime").message);
    assert_eq!(tables(&instance).await, format!("__checkstack_migrations:{role}"));
    let members = format!(
        "SELECT count(*) FROM pg_auth_members WHERE roleid = '\"{role}\"'::regrole AND member = '{owner}'::regrole AND NOT admin_option"
    );
    assert_eq!(instance.database.value::<i64>(&members).await, 0);
}
