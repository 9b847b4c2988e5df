//! An instance whose database a previous release has written, as a dump of it lies in `upgrade/`.
//!
//! The dump was made by [`write_a_dump`], run where that release was built, in the way that `docs/database.md` describes. It stays as it is; the next
//! release adds one of its own.

use std::process::{Command, Output};

use reqwest::{Client, Method, header};
use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod, sign_in};
use crate::packages::{Package, package_of};
use crate::postgres::execute;
use crate::process::Pod;
use crate::{guest, set};

const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/upgrade/0.1.0.sql");
const DUMPED: &str = include_str!("upgrade/0.1.0.sql");
/// What the dumped instance had in its Secrets.
const SEALING_KEY: [u8; 32] = *b"sealing key of the dumped tests.";
const ENCRYPTION_KEY: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const ADA: (&str, &str) = ("ada@example.com", "Passw0rd-of-Ada");
const SECRET: &str = "canary-of-the-dump";
const OBJECT: (&str, &str) = ("catalog.system", "shop");
/// Remembers in a comment of the dump what only those had who were given it.
const HANDED_OUT: &str = "-- handed out: ";

const NOTES: (&str, &str) = ("0001_notes", "CREATE TABLE notes (id integer PRIMARY KEY, note text NOT NULL)");
const TITLES: (&str, &str) =
    ("0002_titles", "-- checkstack: additive\nALTER TABLE notes ADD COLUMN title text NOT NULL DEFAULT 'untitled'");

/// A pod with the keys of the dumped instance.
async fn pod_with_its_keys() -> Pod {
    let pod = pod().await;
    pod.write("keys/sealing.key", &SEALING_KEY);
    pod.write("encryption/current", ENCRYPTION_KEY.as_bytes());
    pod
}

fn notes(version: &str, migrations: &[(&str, &str)], component: &[u8]) -> Package {
    let mut package = package_of(&format!("notes@{version}"), &[], migrations, component);
    package.entry.config.insert("password".into(), "${{ secrets.smtp }}".into());
    package.entry.grants.secrets = vec!["smtp".into()];
    package
}

/// What was handed out at that time is over by now.
const AS_IF_OF_TODAY: &str = "
    UPDATE plugin_auth.sessions SET created_at = now(), expires_at = now() + interval '1 hour', ends_at_latest = now() + interval '1 day';
    UPDATE plugin_auth.service_keys SET created_at = now();
";

/// What the guest does is named by a letter.
async fn ask(pod: &Pod, letter: &str, body: &str) -> (u16, String) {
    let request = Client::new().request(Method::POST, pod.url(&format!("/api/notes/{letter}"))).body(body.to_owned());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn until_active(pod: &Pod, version: &str) {
    let mut report = Value::Null;
    for _ in 0..600 {
        report = serde_json::from_str(&pod.get("/.checkstack/plugins").await.1).unwrap();
        let is_it = |plugin: &Value| plugin["reason"] == "Active" && plugin["active"]["version"] == version;
        if report["plugins"].as_array().unwrap().iter().any(is_it) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("notes {version} is never active: {report:#}");
}

async fn key_ids(pod: &Pod) -> Vec<Value> {
    let keys: Value = serde_json::from_str(&pod.get("/.well-known/jwks.json").await.1).unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
}

fn postgres(program: &str, url: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).arg(format!("--dbname={url}")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All tables, types and functions, without those of plugins.
fn schema(pod: &Pod) -> String {
    let dump = postgres(
        "pg_dump",
        &pod.database.url,
        &["--schema-only", "--no-owner", "--no-acl", "--exclude-schema=plugin_notes", "--exclude-schema=public"],
    );
    let text = String::from_utf8(dump.stdout).unwrap().replace(&pod.database.owner, "owner");
    // There is a word of its own in each dump.
    text.lines().filter(|line| !line.starts_with("\\") && !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_a_previous_release_has_written_is_opened_and_nothing_of_it_is_lost() {
    let handed_out: Value = serde_json::from_str(DUMPED.lines().find_map(|line| line.strip_prefix(HANDED_OUT)).unwrap()).unwrap();
    let pod = pod_with_its_keys().await;
    postgres("psql", &pod.database.url, &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file", DUMP]);
    execute(&mut pod.database.admin().await, AS_IF_OF_TODAY).await;
    // The package is the one that lies in the dump, built for the world of its day, which is not this one.
    let digest = handed_out["digest"].as_str().unwrap();
    let mut old = notes("1.0.0", &[NOTES], &guest::plain());
    old.entry.digest = digest.parse().unwrap();
    pod.mount(&set(1, &[&old]));
    assert!(pod.materialise().status.success());
    let mut server = pod.serve();
    pod.until_ready().await;

    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let ada = Caller::with_cookie(&pod, handed_out["cookie"].as_str().unwrap());
    let me = ada.done("whoAmI", Value::Null).await;
    assert_eq!(
        (&me["id"], &me["accessRules"], &me["teamIds"]),
        (&handed_out["ada"], &json!(["auth.user.read"]), &json!([handed_out["team"]]))
    );
    assert_eq!(sign_in(&pod, ADA.0, ADA.1).await.status(), 200);
    let robot = Client::new().get(pod.url("/rest/auth/whoAmI")).bearer_auth(handed_out["key"].as_str().unwrap());
    let robot: Value = robot.send().await.unwrap().json().await.unwrap();
    assert_eq!((&robot["type"], &robot["name"]), (&json!("application"), &json!("robot")), "{robot}");
    let object = json!({ "resourceType": OBJECT.0, "resourceId": OBJECT.1 });
    assert_eq!(admin.done("getObjectGrants", object).await["grants"][0]["teamId"], handed_out["team"]);
    let records = admin.done("getAuditRecords", json!({ "limit": 100 })).await;
    for action in ["role.create", "user.create", "team.create", "application.create", "secrets.set"] {
        assert!(records["records"].as_array().unwrap().iter().any(|record| record["action"] == action), "{action}: {records}");
    }
    assert_eq!(json!(key_ids(&pod).await), handed_out["keyIds"], "who has a service token still has one");
    assert_eq!(admin.call_of("cache", "getConfiguration", Value::Null).await.1["config"], json!({ "maxEntries": 500 }));
    assert_eq!(admin.call_of("queue", "getConfiguration", Value::Null).await.1["config"], json!({ "concurrency": 7 }));
    let reencrypted = admin.call_of("secrets", "reencryptSecrets", Value::Null).await.1;
    assert_eq!(reencrypted, json!({ "reencrypted": 0, "unchanged": 1, "failures": [] }));

    // With its secret, and with its tables, which belong to a role that there was not.
    let new = notes("1.1.0", &[NOTES, TITLES], &guest::plain());
    pod.upload(&new).await;
    pod.deliver(&set(2, &[&new])).await;
    until_active(&pod, "1.1.0").await;
    assert_eq!(ask(&pod, "k", "key").await, (200, "kept".into()));
    assert_eq!(ask(&pod, "v", "key").await, (201, r#""set""#.into()), "a setting, of version 1");
    assert_eq!(ask(&pod, "q", "INSERT INTO notes VALUES (2, 'new')").await.0, 204);
    let titled = "SELECT string_agg(id || note || title, ',' ORDER BY id) FROM plugin_notes.notes";
    assert_eq!(pod.database.value::<String>(titled).await, "1olduntitled,2newuntitled");
    assert!(server.terminate().success());
    assert!(!server.log().contains(SECRET), "{}", server.log());

    let empty = pod_with_its_keys().await;
    let mut server = empty.serve();
    empty.until_ready().await;
    Caller::signed_in(&empty, ADMIN, PASSWORD).await;
    assert!(server.terminate().success());
    assert_eq!(schema(&pod), schema(&empty), "what was brought up to date is what is made anew");
}

/// Not a test: writes what the one above reads, of the release that it is a part of.
#[tokio::test]
#[ignore = "writes the dump of a release, once"]
async fn write_a_dump() {
    let pod = pod_with_its_keys().await;
    let plugin = notes("1.0.0", &[NOTES], &guest::Guest::default().with_queue().component());
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let secret = json!({ "name": "smtp", "value": SECRET });
    assert_eq!(admin.call_of("secrets", "setSecret", secret).await.0, 200);
    for (of, config) in [("cache", json!({ "maxEntries": 500 })), ("queue", json!({ "concurrency": 7 }))] {
        let provider = if of == "cache" { "memory" } else { "postgres" };
        let (status, told) = admin.call_of(of, "updateConfiguration", json!({ "pluginId": provider, "config": config })).await;
        assert_eq!(status, 200, "{told}");
    }
    pod.upload(&plugin).await;
    pod.deliver(&set(1, &[&plugin])).await;
    until_active(&pod, "1.0.0").await;
    for (letter, body) in [("K", "kept"), ("V", r#""set""#), ("q", "INSERT INTO notes VALUES (1, 'old')")] {
        assert_eq!(ask(&pod, letter, body).await.0, 204, "{letter}");
    }
    admin.done("createRole", json!({ "id": "helpdesk", "name": "Help desk", "accessRules": ["auth.user.read"] })).await;
    let ada = json!({ "email": ADA.0, "name": "Ada", "password": ADA.1, "roles": ["helpdesk"] });
    let ada = admin.done("createUser", ada).await["id"].clone();
    let team = admin.done("createTeam", json!({ "name": "Payments" })).await["id"].clone();
    admin.done("setTeamMembers", json!({ "id": team, "users": [ada] })).await;
    let grants = json!([{ "teamId": team, "canRead": true, "canManage": false }]);
    let object = json!({ "resourceType": OBJECT.0, "resourceId": OBJECT.1, "grants": grants, "teamOnly": true });
    admin.done("setObjectGrants", object).await;
    let key = admin.done("createApplication", json!({ "name": "robot", "roles": ["admin"] })).await["key"].clone();
    let cookie = Caller::signed_in(&pod, ADA.0, ADA.1).await.headers()[header::COOKIE].to_str().unwrap().to_owned();
    let handed_out = json!({
        "ada": ada, "team": team, "key": key, "cookie": cookie, "keyIds": key_ids(&pod).await, "digest": plugin.entry.digest.to_string(),
    });
    assert!(server.terminate().success());
    // Code is for the processor that it was compiled on. Only a superuser reads what plugins have kept from the server.
    let without = ["--no-owner", "--no-acl", "--exclude-table-data=checkstack.compiled_code"];
    let dump = String::from_utf8(postgres("pg_dump", &pod.database.server.admin_url(&pod.database.name), &without).stdout).unwrap();
    let lines = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    let text = [format!("{HANDED_OUT}{handed_out}")].into_iter().chain(lines.map(str::to_owned)).collect::<Vec<_>>().join("\n");
    std::fs::write(DUMP, text + "\n").unwrap();
}
