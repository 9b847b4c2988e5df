//! After a backup has been restored on another PostgreSQL server, where the plugins' roles do not
//! exist, what is in their schemas belongs to who restored it: the core. It is given back.

use sqlx::{AssertSqlSafe, PgConnection};

use super::names;

/// Tables, views, sequences, types and routines of a schema that belong to the role that asks, as
/// `TABLE name`, `TYPE name`, … Sequences of columns, indexes and row types go with their tables; what
/// is rarer (operators, collations, text search) stays the core's, and the plugin may use it all the same.
const OWN_OBJECTS: &str = "
    SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                          ELSE 'TABLE' END || ' ' || c.oid::regclass::text
      FROM pg_class AS c
     WHERE c.relnamespace = $1::regnamespace AND c.relowner = current_user::regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       AND NOT (c.relkind = 'S' AND EXISTS
                (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT 'TYPE ' || t.oid::regtype::text
      FROM pg_type AS t
     WHERE t.typnamespace = $1::regnamespace AND t.typowner = current_user::regrole
       AND (t.typtype IN ('e', 'd', 'r') OR EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
    UNION ALL
    SELECT 'ROUTINE ' || p.oid::regprocedure::text
      FROM pg_proc AS p
     WHERE p.pronamespace = $1::regnamespace AND p.proowner = current_user::regrole";

/// Gives the plugin's role what is in its schema; how many objects.
pub(super) async fn give_back(transaction: &mut PgConnection, schema: &str, role: &str) -> Result<usize, sqlx::Error> {
    let objects: Vec<String> = sqlx::query_scalar(OWN_OBJECTS).bind(names::quoted(schema)).fetch_all(&mut *transaction).await?;
    if objects.is_empty() {
        return Ok(0);
    }
    let role = names::quoted(role);
    // Only a member of a role may give it something. For this transaction the core is one.
    run(transaction, format!("GRANT {role} TO CURRENT_USER")).await?;
    for object in &objects {
        // Quoted by the database itself.
        run(transaction, format!("ALTER {object} OWNER TO {role}")).await?;
    }
    run(transaction, format!("REVOKE {role} FROM CURRENT_USER")).await?;
    Ok(objects.len())
}

async fn run(transaction: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(transaction).await?;
    Ok(())
}
