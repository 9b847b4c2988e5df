//! Entities of plugins in the sandbox: changed with their own roles, told to others, and nobody else's to change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_events::Actor;
use checkstack_platform::plugin::{
    Delivery, EntityFailure, EntityKindDescription, EntityMutation, EntityStore, SqlDatabase, SqlError, SqlStatement, SqlValue,
    SubscriptionDescription,
};
use http::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::instance::{Instance, Pod, Reported as _};
use crate::packages::{Package, package, package_with};
use crate::postgres::execute;
use crate::scripted::Script;

const TABLE: &str = "CREATE TABLE targets (name text PRIMARY KEY, up boolean, since timestamptz, note text)";
const SET: &str = "INSERT INTO targets (name, up) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET up = excluded.up";

pub(crate) fn kind(name: &str, query: &str) -> EntityKindDescription {
    let schema = json!({"type": "object", "properties": {"up": {"type": "boolean"}}, "required": ["up"]});
    EntityKindDescription { name: name.into(), schema: schema.to_string(), query: query.into() }
}

fn target() -> EntityKindDescription {
    kind("target", "SELECT name AS id, up, since FROM targets WHERE name = ANY($1)")
}

fn hears(event: &str, delivery: Delivery) -> SubscriptionDescription {
    SubscriptionDescription { event: event.into(), delivery }
}

pub(crate) fn text(value: &str) -> SqlValue {
    SqlValue::Text(value.into())
}

pub(crate) fn statement(text: &str) -> SqlStatement {
    SqlStatement { text: text.into(), parameters: vec![] }
}

pub(crate) fn set(name: &str, up: bool) -> SqlStatement {
    SqlStatement { text: SET.into(), parameters: vec![text(name), SqlValue::Boolean(up)] }
}

fn remove(name: &str) -> SqlStatement {
    SqlStatement { text: "DELETE FROM targets WHERE name = $1".into(), parameters: vec![text(name)] }
}

pub(crate) async fn mutate(
    entities: &Arc<dyn EntityStore>,
    id: &str,
    statements: Vec<SqlStatement>,
) -> Result<EntityMutation, EntityFailure> {
    entities.mutate("target", id, statements, false, None).await
}

/// `uptime` owns targets; `page` depends on it and hears of them; `evil` owns a kind of the same name.
pub(crate) struct Plugins {
    uptime: Package,
    page: Package,
    evil: Package,
}

impl Plugins {
    pub(crate) fn of(instance: &Instance) -> Self {
        let table = [("0001_targets", TABLE)];
        instance.scripts.set("uptime", Script { entities: vec![target(), kind("other", &target().query)], ..Script::default() });
        instance.scripts.set("evil", Script { entities: vec![target()], ..Script::default() });
        let event = "automation.entity.changed/uptime.target";
        let group = Delivery::WorkQueue { group: "g".into(), max_retries: 0 };
        let subscriptions = vec![hears(event, Delivery::Broadcast), hears(event, group)];
        instance.scripts.set("page", Script { subscriptions, ..Script::default() });
        let (uptime, page) = (package_with("uptime", &[], &table), package("page", &["uptime"]));
        Self { uptime, page, evil: package_with("evil", &[], &table) }
    }

    pub(crate) async fn run(&self, pod: &Pod) {
        let report = pod.run(1, &[&self.uptime, &self.page, &self.evil]).await;
        for plugin in ["uptime", "page", "evil"] {
            assert!(report.is_active(plugin), "{report:#?}");
        }
        // Until the subscriptions are there.
        tokio::time::sleep(Duration::from_millis(500)).await;
        pod.ready().await;
    }
}

pub(crate) fn entities(instance: &Instance, plugin: &str) -> Arc<dyn EntityStore> {
    instance.scripts.services(plugin).entities.unwrap()
}

pub(crate) fn sql(instance: &Instance, plugin: &str) -> Arc<dyn SqlDatabase> {
    instance.scripts.services(plugin).sql.unwrap()
}

pub(crate) async fn one_pod() -> (Instance, Pod) {
    let instance = Instance::new().await;
    let plugins = Plugins::of(&instance);
    let pod = instance.pod("pod").await;
    plugins.run(&pod).await;
    instance.scripts.taken_events();
    (instance, pod)
}

/// What was heard, sorted, when there is so much and for 300 ms no more.
pub(crate) async fn heard(instance: &Instance, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut events = Vec::new();
    let mut quiet = Instant::now();
    while events.len() < count || quiet.elapsed() < Duration::from_millis(300) {
        assert!(Instant::now() < deadline, "{events:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let new: Vec<_> = instance.scripts.taken_events().into_iter().filter(|event| event.contains(" hears ")).collect();
        if !new.is_empty() {
            quiet = Instant::now();
        }
        events.extend(new);
    }
    events.sort();
    events
}

/// What was told, of one who has heard it.
fn payload(heard: &str) -> Value {
    let (_, rest) = heard.split_once(" hears automation.entity.changed/uptime.target ").unwrap();
    serde_json::from_str(rest.split_once(" for ").unwrap().0).unwrap()
}

/// Rows of all tables that a change touches, and events that wait.
pub(crate) async fn traces(instance: &Instance) -> [i64; 4] {
    let mut counts = [0; 4];
    let tables = ["plugin_uptime.targets", "checkstack_entities.entities", "checkstack_entities.transitions", "checkstack_jobs.deliveries"];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = instance.database.value(&format!("SELECT count(*) FROM {table}")).await;
    }
    counts
}

#[tokio::test]
async fn a_change_is_told_with_its_transaction_and_heard_by_another_plugin_on_every_replica() {
    let instance = Instance::new().await;
    let plugins = Plugins::of(&instance);
    let one = instance.pod("one").await;
    plugins.run(&one).await;
    let targets = entities(&instance, "uptime");
    let other = instance.pod("other").await;
    plugins.run(&other).await;
    instance.scripts.taken_events();

    let ada = Actor::user("7", "Ada");
    let statements = vec![set("shop", false), statement("UPDATE targets SET since = 'epoch' WHERE name = 'shop'")];
    let made = targets.mutate("target", "shop", statements, false, Some(ada)).await.unwrap();
    assert_eq!(made.touched, [1, 1]);
    let change = made.change.unwrap();
    assert_eq!((&change.kind[..], &change.id[..], change.sequence, &change.prev), ("uptime.target", "shop", 1, &None));
    assert_eq!(change.next, Some(json!({"up": false, "since": "1970-01-01T00:00:00+00:00"})));
    let told = heard(&instance, 3).await;
    assert_eq!(told.iter().filter(|event| event.contains(" for nobody from 7 ")).count(), 2, "each replica: {told:?}");
    assert_eq!(told.iter().filter(|event| event.contains(" for g from 7 ")).count(), 1, "one of them: {told:?}");
    for event in &told {
        assert_eq!(payload(event), serde_json::to_value(&change).unwrap());
    }

    // The other replica goes on counting; what is no part of the state is no change, and of another kind nobody hears.
    let there = entities(&instance, "uptime");
    let again = mutate(&there, "shop", vec![set("shop", false), statement("UPDATE targets SET note = 'x'")]).await.unwrap();
    assert_eq!((again.touched, again.change), (vec![1, 1], None));
    let note: String = instance.database.value("SELECT note FROM plugin_uptime.targets").await;
    assert_eq!(note, "x", "it was committed");
    there.mutate("other", "mail", vec![set("mail", true)], false, None).await.unwrap();
    let gone = there.mutate("target", "shop", vec![remove("shop")], true, None).await.unwrap().change.unwrap();
    assert!(gone.is_tombstone() && gone.sequence == 2 && gone.prev == change.next, "{gone:?}");
    let told = heard(&instance, 3).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|event| event.contains(" from uptime ") && payload(event)["next"] == Value::Null), "{told:?}");
    // Nothing there before or afterwards leaves nothing.
    let [targets_left, entities_left, ..] = traces(&instance).await;
    assert_eq!(mutate(&there, "nothing", vec![]).await.unwrap().change, None);
    assert_eq!(traces(&instance).await[..2], [targets_left, entities_left]);
}

#[tokio::test]
async fn what_fails_in_the_middle_leaves_nothing() {
    let (instance, _pod) = one_pod().await;
    let targets = entities(&instance, "uptime");
    let before = traces(&instance).await;
    // A statement that the database refuses
    let refused = mutate(&targets, "shop", vec![set("shop", true), statement("SELECT nonsense")]).await.unwrap_err();
    assert!(matches!(&refused, EntityFailure::Sql(SqlError::Database { code, .. }) if code == "42703"), "{refused}");
    // A state that is not what the schema says
    let refused = mutate(&targets, "shop", vec![statement("INSERT INTO targets (name) VALUES ('shop')")]).await.unwrap_err();
    assert!(matches!(&refused, EntityFailure::Invalid(problem) if problem.contains("at '/up'")), "{refused}");
    // What is to be removed and is not
    let refused = targets.mutate("target", "shop", vec![set("shop", true)], true, None).await.unwrap_err();
    assert!(matches!(&refused, EntityFailure::Invalid(problem) if problem.contains("was not removed")), "{refused}");
    for (kind, id) in [("unknown", "shop"), ("target", ""), ("target", "a\nb"), ("uptime.target", "shop")] {
        let refused = targets.mutate(kind, id, vec![set("shop", true)], false, None).await.unwrap_err();
        assert!(matches!(refused, EntityFailure::Invalid(_)), "{refused}");
    }
    assert_eq!(traces(&instance).await, before);

    // Statements that end the transaction: what they commit is the plugin's, and nothing is noted or told of it.
    for statements in [
        vec![set("shop", true), statement("COMMIT")],
        vec![set("shop", false), statement("COMMIT"), statement("BEGIN")],
        vec![set("shop", true), statement("COMMIT AND CHAIN")],
        vec![statement("ROLLBACK"), set("shop", false)],
    ] {
        let refused = mutate(&targets, "shop", statements).await.unwrap_err();
        assert!(matches!(&refused, EntityFailure::Invalid(problem) if problem.contains("cannot end its transaction")), "{refused}");
    }
    let [_, _, transitions, events] = traces(&instance).await;
    assert_eq!([transitions, events], [0, 0]);
    assert_eq!(heard(&instance, 0).await, Vec::<String>::new());
    assert_eq!(mutate(&targets, "shop", vec![set("shop", true)]).await.unwrap().change.unwrap().sequence, 1, "it goes on");
}

#[tokio::test]
async fn what_the_tables_do_at_the_end_is_a_part_of_the_change() {
    let (instance, _pod) = one_pod().await;
    for text in [
        "CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE targets SET up = false WHERE name = new.name; RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON targets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION turn()",
    ] {
        sql(&instance, "uptime").execute(statement(text)).await.unwrap();
    }
    let change = mutate(&entities(&instance, "uptime"), "shop", vec![set("shop", true)]).await.unwrap().change.unwrap();
    assert_eq!(change.next.unwrap()["up"], json!(false));
}

#[tokio::test]
async fn a_plugin_knows_since_when_its_entities_are_what_they_are() {
    let (instance, _pod) = one_pod().await;
    let targets = entities(&instance, "uptime");
    let mut last = None;
    for up in [true, false, true] {
        last = mutate(&targets, "shop", vec![set("shop", up)]).await.unwrap().change;
    }
    let since = targets.in_state_since("target", "shop", "up").await.unwrap().unwrap();
    assert_eq!(since.at, last.unwrap().occurred_at);
    let hour = Duration::from_secs(3600);
    assert!(since.ago < hour);
    assert_eq!(targets.transition_count("target", "shop", "up", hour).await.unwrap(), 2, "that it came is none");
    assert_eq!(targets.transition_count("target", "shop", "up", Duration::ZERO).await.unwrap(), 0);
    // Behind the platform's back
    sql(&instance, "uptime").execute(statement("UPDATE targets SET up = false")).await.unwrap();
    assert_eq!(targets.in_state_since("target", "shop", "up").await.unwrap(), None);
    assert_eq!(targets.in_state_since("target", "other", "up").await.unwrap(), None);
}

#[tokio::test]
async fn a_query_reads_what_it_was_asked_for() {
    let instance = Instance::new().await;
    let broken = [
        ("all", "SELECT name AS id, up FROM targets", "has several rows"),
        ("foreign", "SELECT 'other' AS id, true AS up WHERE 'x' = ANY($1)", "has a row for another id"),
        ("nameless", "SELECT up FROM targets WHERE name = ANY($1)", "42703"),
        ("writing", "WITH gone AS (DELETE FROM targets RETURNING *) SELECT name AS id, up FROM gone WHERE name = ANY($1)", "0A000"),
        ("two", "SELECT 1; SELECT 2", "42601"),
        ("good", "SELECT name AS id, up FROM targets WHERE name = ANY($1) -- as it should be;", ""),
    ];
    let kinds = broken.iter().map(|(name, query, _)| kind(name, query)).collect();
    instance.scripts.set("uptime", Script { entities: kinds, ..Script::default() });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package_with("uptime", &[], &[("0001_targets", TABLE)])]).await;
    sql(&instance, "uptime").execute(statement("INSERT INTO targets (name, up) VALUES ('x', true), ('y', true)")).await.unwrap();
    let targets = entities(&instance, "uptime");
    for (kind, _, problem) in broken {
        let made = targets.mutate(kind, "x", vec![set("x", false)], false, None).await;
        match problem {
            "" => assert!(made.unwrap().change.unwrap().has_changed("up")),
            problem => assert!(made.as_ref().is_err_and(|refused| refused.to_string().contains(problem)), "{kind}: {made:?}"),
        }
    }
}

#[tokio::test]
async fn a_kind_has_a_schema_that_can_be_used_and_its_plugin_a_database() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let mut revision = 0;
    for (schema, problem) in [("no JSON", "is no JSON"), (r##"{"$ref": "https://example.org"}"##, "cannot be used")] {
        revision += 1;
        let kind = EntityKindDescription { schema: schema.into(), ..target() };
        instance.scripts.set("uptime", Script { entities: vec![kind], ..Script::default() });
        let report = pod.run(revision, &[&package(&format!("uptime@1.0.{revision}"), &[])]).await;
        assert!(report.plugin("uptime").message.contains(problem), "{report:#?}");
    }
    instance.scripts.set("uptime", Script { entities: vec![target()], ..Script::default() });
    let mut without = package("uptime@2.0.0", &[]);
    without.entry.grants.database = false;
    let report = pod.run(revision + 1, &[&without]).await;
    assert!(report.plugin("uptime").message.contains("spec.grants.database"), "{report:#?}");
}

#[tokio::test]
async fn entities_go_with_the_data_of_their_plugin() {
    let (instance, pod) = one_pod().await;
    for plugin in ["uptime", "evil"] {
        mutate(&entities(&instance, plugin), "shop", vec![set("shop", true)]).await.unwrap();
    }
    let role: String = instance.database.value("SELECT role_name FROM checkstack_entities.plugins WHERE plugin_id = 'uptime'").await;
    let plugins = Plugins::of(&instance);
    pod.run(2, &[&plugins.evil]).await;
    let purge = format!("{}/uptime", paths::PLUGIN_DATA);
    assert_eq!(pod.signed(Method::DELETE, &purge, vec![]).send().await.unwrap().status(), 204);
    for (left, table) in [("evil", "plugins"), ("evil", "entities")] {
        let found: String = instance.database.value(&format!("SELECT string_agg(plugin_id, ',') FROM checkstack_entities.{table}")).await;
        assert_eq!(found, left, "{table}");
    }
    assert_eq!(instance.database.value::<i64>(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'")).await, 0);
    // It can come back, and begins anew.
    pod.run(3, &[&plugins.uptime, &plugins.evil]).await;
    assert_eq!(mutate(&entities(&instance, "uptime"), "shop", vec![set("shop", true)]).await.unwrap().change.unwrap().sequence, 1);
}

#[tokio::test]
async fn rights_that_were_lost_come_back_with_the_next_activation() {
    let (instance, pod) = one_pod().await;
    let role: String = instance.database.value("SELECT role_name FROM checkstack_entities.plugins WHERE plugin_id = 'uptime'").await;
    let mut admin = instance.database.admin().await;
    execute(&mut admin, &format!("SET ROLE {}", instance.database.owner)).await;
    for revoked in [
        format!("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA checkstack_entities FROM \"{role}\""),
        format!("REVOKE ALL ON SCHEMA checkstack_entities FROM \"{role}\""),
    ] {
        sqlx::raw_sql(AssertSqlSafe(revoked)).execute(&mut admin).await.unwrap();
    }
    assert!(mutate(&entities(&instance, "uptime"), "shop", vec![set("shop", true)]).await.is_err());
    let newer = package_with("uptime@1.1.0", &[], &[("0001_targets", TABLE)]);
    pod.run(2, &[&newer]).await;
    assert!(mutate(&entities(&instance, "uptime"), "shop", vec![set("shop", true)]).await.is_ok());
}
