//! Statements, parameters and rows.

use std::sync::Arc;

use checkstack_platform::plugin::{SqlDatabase, SqlError, SqlStatement, SqlValue};

use crate::instance::Instance;
use crate::packages::package_with;

async fn database(instance: &Instance) -> Arc<dyn SqlDatabase> {
    let tables = "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN small AS int CHECK (VALUE < 10);
        CREATE TABLE things (id int PRIMARY KEY, name text CONSTRAINT has_name CHECK (name <> ''))";
    instance.pod("pod").await.run(1, &[&package_with("uptime", &[], &[("0001_things", tables)])]).await;
    instance.scripts.services("uptime").sql.unwrap()
}

fn with(text: &str, parameters: Vec<SqlValue>) -> SqlStatement {
    SqlStatement { text: text.into(), parameters }
}

fn statement(text: &str) -> SqlStatement {
    with(text, vec![])
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.into())
}

#[tokio::test]
async fn values_of_every_type_survive_the_way_there_and_back() {
    let instance = Instance::new().await;
    let sql = database(&instance).await;
    let values = vec![
        SqlValue::Boolean(true),
        SqlValue::Integer(i64::MIN),
        SqlValue::Float(-0.1),
        text("é\u{1F600}'"),
        SqlValue::Bytes(vec![0, 255]),
        SqlValue::Timestamp(-1),
        SqlValue::Json(r#"{"a": [1, null]}"#.into()),
        SqlValue::Uuid("8c2ff5e0-1111-4222-8333-000000000001".into()),
        SqlValue::Numeric("-12345678901234567890.000100".into()),
    ];
    let query = "SELECT $1 AS a, $2, $3, $4, $5, $6, $7, $8, $9";
    let rows = sql.query(with(query, values.clone())).await.unwrap();
    assert_eq!(rows.columns.len(), 9);
    assert_eq!(rows.columns[0], "a");
    assert_eq!(rows.rows, [values]);
    // The database's own rendering of what arrived.
    let shown = sql
        .query(with(
            "SELECT ($1::timestamptz AT TIME ZONE 'UTC')::text, $2::numeric::text",
            vec![SqlValue::Timestamp(1_763_683_200_000_001), SqlValue::Numeric("0.10".into())],
        ))
        .await
        .unwrap();
    assert_eq!(shown.rows, [[text("2025-11-21 00:00:00.000001"), text("0.10")]]);
}

#[tokio::test]
async fn columns_of_the_common_types_are_read() {
    let instance = Instance::new().await;
    let sql = database(&instance).await;
    let query = "SELECT 1::int2, 2::int4, 3::int8, 1.5::float4, 'v'::varchar(3), 'c'::char(2), 'n'::name, '{\"a\":1}'::json,
        '2024-02-29'::date, '0001-01-01'::date, '2025-11-21 00:00:00'::timestamp, 'bad'::mood, 7::small, NULL::text, 1000000::numeric, 4294967295::oid";
    let expected = [
        SqlValue::Integer(1),
        SqlValue::Integer(2),
        SqlValue::Integer(3),
        SqlValue::Float(1.5),
        text("v"),
        text("c "),
        text("n"),
        SqlValue::Json(r#"{"a":1}"#.into()),
        text("2024-02-29"),
        text("0001-01-01"),
        SqlValue::Timestamp(1_763_683_200_000_000),
        text("bad"),
        SqlValue::Integer(7),
        SqlValue::Null,
        SqlValue::Numeric("1000000".into()),
        SqlValue::Integer(4_294_967_295),
    ];
    assert_eq!(sql.query(statement(query)).await.unwrap().rows, [expected]);
    for (query, says) in
        [("SELECT ARRAY[1]", "cast it"), ("SELECT 'infinity'::timestamptz", "infinite"), ("SELECT interval '1 day' AS gap", "'gap'")]
    {
        match sql.query(statement(query)).await {
            Err(SqlError::UnsupportedType(message)) => assert!(message.contains(says), "{message}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn numbers_are_the_databases_own() {
    let instance = Instance::new().await;
    let sql = database(&instance).await;
    for number in [
        "0",
        "0.0",
        "1",
        "-1",
        "9999",
        "10000",
        "10000.0001",
        "0.00001",
        "123456789.987654321",
        "1e0",
        "NaN",
        "-0.5",
        "99999999999999999999999999",
    ] {
        let expected: String = instance.database.value(&format!("SELECT '{number}'::numeric::text")).await;
        let read = sql.query(statement(&format!("SELECT '{number}'::numeric"))).await.unwrap();
        assert_eq!(read.rows, [[SqlValue::Numeric(expected.clone())]]);
        let sent = sql.query(with("SELECT $1::text", vec![SqlValue::Numeric(expected.clone())])).await.unwrap();
        assert_eq!(sent.rows, [[text(&expected)]]);
    }
}

#[tokio::test]
async fn statements_touch_rows_alone_or_together() {
    let instance = Instance::new().await;
    let sql = database(&instance).await;
    let insert = |id: i64, name: SqlValue| with("INSERT INTO things VALUES ($1, $2)", vec![SqlValue::Integer(id), name]);
    assert_eq!(sql.execute(insert(1, text("one"))).await, Ok(1));
    assert_eq!(sql.execute(insert(2, SqlValue::Null)).await, Ok(1));
    assert_eq!(sql.transact(vec![insert(3, text("three")), statement("UPDATE things SET name = 'x'")]).await, Ok(vec![1, 3]));
    let conflict = sql.transact(vec![insert(4, text("four")), insert(1, text("again"))]).await.unwrap_err();
    assert!(
        matches!(&conflict, SqlError::Database { code, constraint, .. } if code == "23505" && constraint.as_deref() == Some("things_pkey")),
        "{conflict:?}"
    );
    assert_eq!(sql.query(statement("SELECT count(*) FROM things")).await.unwrap().rows, [[SqlValue::Integer(3)]], "none of the two");
    let check = sql.execute(insert(5, text(""))).await.unwrap_err();
    assert!(
        matches!(&check, SqlError::Database { code, constraint, .. } if code == "23514" && constraint.as_deref() == Some("has_name")),
        "{check:?}"
    );
    let returned = sql.query(with("DELETE FROM things WHERE id = $1 RETURNING name", vec![SqlValue::Integer(3)])).await.unwrap();
    assert_eq!(returned.rows, [[text("x")]]);
}

#[tokio::test]
async fn what_is_not_one_statement_or_too_much_is_refused() {
    let instance = Instance::new().await;
    let sql = database(&instance).await;
    for several in ["SELECT 1; SELECT 2", "INSERT INTO things VALUES (1); DROP TABLE things"] {
        assert!(matches!(sql.execute(statement(several)).await, Err(SqlError::Database { code, .. }) if code == "42601"), "{several}");
    }
    assert!(matches!(sql.query(statement("SELECT nothing")).await, Err(SqlError::Database { code, .. }) if code == "42703"));
    for much in ["SELECT generate_series(1, 10001)", "SELECT repeat('x', 1000) FROM generate_series(1, 9000)"] {
        assert!(matches!(sql.query(statement(much)).await, Err(SqlError::TooLarge(_))), "{much}");
    }
    assert_eq!(sql.query(statement("SELECT generate_series(1, 10000)")).await.unwrap().rows.len(), 10_000);
    assert!(
        matches!(sql.query(with("SELECT $1", vec![SqlValue::Uuid("x".into())])).await, Err(SqlError::Database { code, .. }) if code == "22P02")
    );
    assert!(matches!(sql.query(with("SELECT $1", vec![text("a\0b")])).await, Err(SqlError::Database { code, .. }) if code == "22021"));
    assert!(sql.execute(statement("COPY things FROM STDIN")).await.is_err());
    assert_eq!(sql.query(statement("")).await.unwrap().rows.len(), 0);
    assert_eq!(sql.query(statement("SELECT 1")).await.unwrap().rows, [[SqlValue::Integer(1)]], "all is well afterwards");
}
