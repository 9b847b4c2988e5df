//! Plugins that try to change entities of others, or too much of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_platform::plugin::{EntityFailure, SqlDatabase, SqlError, SqlStatement};
use serde_json::json;

use crate::instance::Instance;
use crate::plugin_entities::{Plugins, entities, heard, kind, mutate, one_pod, set, sql, statement, text, traces};
use crate::scripted::Script;

const DENIED: &str = "42501";

async fn code(sql: &Arc<dyn SqlDatabase>, statement: SqlStatement) -> String {
    let text = statement.text.clone();
    match sql.execute(statement).await {
        Err(SqlError::Database { code, .. }) => code,
        other => panic!("{text}: {other:?}"),
    }
}

/// What a plugin could try with its own SQL. `key` is what it does not have.
async fn forgeries(instance: &Instance, key: &str) -> Vec<(SqlStatement, &'static str)> {
    let functions = instance
        .database
        .value::<Vec<String>>(
            "SELECT array_agg(proname || '(' || pg_get_function_identity_arguments(oid) || ')' ORDER BY 1) FROM pg_proc
             WHERE pronamespace = 'checkstack_entities'::regnamespace",
        )
        .await;
    assert_eq!(functions.len(), 10, "{functions:?}");
    let call = |text: &str| statement(&text.replace("<key>", key));
    vec![
        (call("SELECT checkstack_entities.plugin_lock(<key>, 'uptime.target', 'shop', 10)"), DENIED),
        (call("SELECT checkstack_entities.plugin_unmake(<key>, 'uptime.target', 'shop', pg_current_xact_id()::text)"), DENIED),
        (
            call(
                "SELECT checkstack_entities.plugin_record(<key>, 'uptime.target', 'shop', pg_current_xact_id()::text, 2, 0, true, '{up}', '{true}',
                 '{false}', 10, 'job', '{\"payload\": {\"kind\": \"uptime.target\", \"id\": \"shop\", \"sequence\": 2}}', '{}')",
            ),
            DENIED,
        ),
        (call("SELECT checkstack_entities.plugin_newest('uptime.target', 'shop', 'up')"), DENIED),
        (call("SELECT checkstack_entities.plugin_count('uptime.target', 'shop', 'up', 60)"), DENIED),
        (call("SELECT checkstack_entities.plugin_newest('health', 'shop', 'up')"), DENIED),
        (call("SELECT checkstack_entities.plugin_lock(<key>, 'health', 'shop', 10)"), DENIED),
        (call("SELECT checkstack_entities.plugin_lock(<key>, 'evil', 'shop', 10)"), DENIED),
        // What only the server has rights on
        (call("SELECT checkstack_entities.admit_plugin('uptime', session_user::text, <key>)"), DENIED),
        (call("SELECT checkstack_entities.check_server('evil.target', <key>)"), DENIED),
        (call("SELECT checkstack_entities.check_owner('evil.target')"), DENIED),
        (call("SELECT checkstack_entities.check_locked('1')"), DENIED),
        (call("SELECT checkstack_jobs.publish('hook:automation.entity.changed', 'job', '{}', '{}')"), DENIED),
        (call("SELECT * FROM checkstack_entities.plugins"), DENIED),
        (call("UPDATE checkstack_entities.plugins SET plugin_id = 'uptime'"), DENIED),
        (call("INSERT INTO checkstack_entities.entities VALUES ('uptime.target', 'shop', 'uptime')"), DENIED),
        (call("DELETE FROM checkstack_entities.transitions"), DENIED),
        (call("UPDATE checkstack_entities.entities SET sequence = 9"), DENIED),
        (call("SELECT checkstack_entities.dismiss_plugin('uptime')"), DENIED),
        (call("SELECT FROM checkstack_entities.sweeps FOR UPDATE"), DENIED),
        (call("INSERT INTO checkstack_jobs.deliveries (queue) VALUES ('hook:automation.entity.changed')"), DENIED),
        (call("CREATE FUNCTION checkstack_entities.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"), DENIED),
        (call("ALTER FUNCTION checkstack_entities.plugin_lock(bytea, text, text, bigint) OWNER TO CURRENT_USER"), DENIED),
    ]
}

#[tokio::test]
async fn a_plugin_cannot_forge_changes_by_sql() {
    let (instance, _pod) = one_pod().await;
    let (targets, evil) = (entities(&instance, "uptime"), sql(&instance, "evil"));
    mutate(&targets, "shop", vec![set("shop", true)]).await.unwrap();
    heard(&instance, 2).await;
    let before = traces(&instance).await;
    // What the functions call, found first by whoever looks at the search_path
    for text in [
        "CREATE FUNCTION plugin_evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
        "CREATE FUNCTION plugin_evil.starts_with(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION plugin_evil.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE OPERATOR plugin_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = plugin_evil.same)",
        "ALTER ROLE CURRENT_USER SET search_path = plugin_evil, pg_catalog",
    ] {
        evil.execute(statement(text)).await.unwrap();
    }
    let own = instance.sealing.entity_changes_key().tag(&[b"evil"]);
    let own = format!("'\\x{}'::bytea", own.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    // Without a key, with a wrong one, and even with its own, if it ever learnt it.
    for key in ["NULL", "''::bytea", own.as_str()] {
        for (forgery, expected) in forgeries(&instance, key).await {
            let text = forgery.text.clone();
            assert_eq!(code(&evil, forgery).await, expected, "{text}");
            let mut within = vec![statement("SET LOCAL search_path = plugin_evil, pg_catalog"), statement(&text)];
            assert!(evil.transact(within.clone()).await.is_err(), "{text}");
            within.remove(0);
            assert!(entities(&instance, "evil").mutate("target", "x", within, false, None).await.is_err(), "{text}");
        }
        // Of its own kind, too: only the server says what is different. Its own key is all that keeps it from that.
        if key != own {
            for own_kind in ["SELECT checkstack_entities.plugin_lock(<key>, 'evil.target', 'x', 10)"] {
                assert_eq!(code(&evil, statement(&own_kind.replace("<key>", key))).await, DENIED);
            }
        }
    }
    assert_eq!(traces(&instance).await, before);
    assert_eq!(heard(&instance, 0).await, Vec::<String>::new());
    // Nobody is the worse for it.
    assert_eq!(mutate(&targets, "shop", vec![set("shop", false)]).await.unwrap().change.unwrap().sequence, 2);
    let evil = entities(&instance, "evil");
    assert_eq!(mutate(&evil, "shop", vec![set("shop", false)]).await.unwrap().change.unwrap().kind, "evil.target");
}

#[tokio::test]
async fn with_its_key_the_functions_still_take_no_nonsense() {
    let (instance, _pod) = one_pod().await;
    let evil = sql(&instance, "evil");
    let own: String = instance.sealing.entity_changes_key().tag(&[b"evil"]).iter().map(|byte| format!("{byte:02x}")).collect();
    let lock = statement(&format!("SELECT checkstack_entities.plugin_lock('\\x{own}', 'evil.target', 'x', 10)"));
    let record = |number: u32, transaction: &str, event: &str| {
        statement(&format!(
            "SELECT checkstack_entities.plugin_record('\\x{own}', 'evil.target', 'x', {transaction}, {number}, 0, true, '{{up}}', '{{null}}', '{{true}}',
             10, 'job', '{event}', '{{}}')"
        ))
    };
    const CURRENT: &str = "pg_current_xact_id()::text";
    let event = json!({"payload": {"kind": "evil.target", "id": "x", "sequence": 1}}).to_string();
    let foreign = json!({"payload": {"kind": "uptime.target", "id": "x", "sequence": 1}}).to_string();
    let code = async |statements: Vec<SqlStatement>| match evil.transact(statements).await {
        Err(SqlError::Database { code, .. }) => code,
        other => format!("{other:?}"),
    };
    assert_eq!(code(vec![record(1, CURRENT, &event)]).await, "25000", "it is not there");
    assert_eq!(code(vec![lock.clone(), record(1, "'7'", &event)]).await, "25000", "another transaction's lock");
    assert_eq!(code(vec![lock.clone(), record(3, CURRENT, &event)]).await, "25000", "not the next number");
    assert_eq!(code(vec![lock.clone(), record(1, CURRENT, &foreign)]).await, "22023", "another's kind in the event");
    assert_eq!(code(vec![lock.clone(), record(1, CURRENT, "{}")]).await, "22023", "no event");
    assert!(code(vec![lock.clone(), record(1, CURRENT, &event)]).await.starts_with("Ok"), "the same, as it should be");
    let full = format!("SELECT checkstack_entities.plugin_lock('\\x{own}', 'evil.target', 'y', 1)");
    assert_eq!(code(vec![statement(&full)]).await, "54000", "as many as there may be");
}

#[tokio::test]
async fn a_change_that_takes_too_long_is_ended_and_holds_up_nobody_else() {
    let (instance, _pod) = one_pod().await;
    let (targets, evil) = (entities(&instance, "uptime"), entities(&instance, "evil"));
    let begin = Instant::now();
    let endless = vec![set("shop", true), statement("SET LOCAL statement_timeout = 0"), statement("SELECT pg_sleep(64)")];
    let (ended, waits, other) = tokio::join!(
        mutate(&evil, "shop", endless),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            mutate(&evil, "shop", vec![set("shop", false)]).await
        },
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let made = mutate(&targets, "shop", vec![set("shop", true)]).await;
            (made, begin.elapsed())
        }
    );
    assert!(matches!(ended, Err(EntityFailure::Sql(SqlError::Timeout(_)))), "{ended:?}");
    assert!(waits.is_err(), "{waits:?}");
    assert!(other.0.is_ok() && other.1 < Duration::from_secs(2), "{other:?}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(64)%' AND state = 'active' AND pid <> pg_backend_pid()";
    while instance.database.value::<i64>(running).await > 0 {
        assert!(begin.elapsed() < Duration::from_secs(40), "the statement still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(mutate(&evil, "shop", vec![set("shop", false)]).await.unwrap().change.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_plugin_that_changes_too_much_is_told_so_and_others_are_not() {
    let (instance, _pod) = one_pod().await;
    let (targets, evil) = (entities(&instance, "uptime"), entities(&instance, "evil"));
    let mut made = 0_u32;
    let limited = loop {
        match mutate(&evil, "shop", vec![]).await {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
        assert!(made < 2_000, "nothing bounds what a plugin changes");
    };
    assert!(matches!(limited, EntityFailure::Limited(_)) && made >= 100, "{limited} after {made}");
    mutate(&targets, "shop", vec![set("shop", true)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    mutate(&evil, "shop", vec![]).await.unwrap();
    // What is told has a bound of its own.
    let fat = |fill: &str| SqlStatement {
        text: "INSERT INTO targets (name, up, since, note) VALUES ('fat', true, NULL, $1) ON CONFLICT (name) DO UPDATE SET note = $1"
            .into(),
        parameters: vec![text(fill)],
    };
    let query = "SELECT name AS id, up, note FROM targets WHERE name = ANY($1)";
    instance.scripts.set("uptime", Script { entities: vec![kind("target", query)], ..Script::default() });
    let plugins = Plugins::of(&instance);
    instance.scripts.set("uptime", Script { entities: vec![kind("target", query)], ..Script::default() });
    let other = instance.pod("other").await;
    plugins.run(&other).await;
    let targets = entities(&instance, "uptime");
    let mut told = 0;
    let limited = loop {
        let fill = format!("{told:05}").repeat(3_000);
        match mutate(&targets, "fat", vec![fat(&fill)]).await {
            Ok(mutation) => told += u32::from(mutation.change.is_some()),
            Err(refused) => break refused,
        }
        assert!(told < 90, "nothing bounds what is told");
    };
    assert!(matches!(limited, EntityFailure::Limited(_)) && told >= 5, "{limited} after {told}");
    let last: String = instance.database.value("SELECT left(note, 5) FROM plugin_uptime.targets WHERE name = 'fat'").await;
    assert_eq!(last, format!("{:05}", told - 1), "what could not be told was not done");
}
