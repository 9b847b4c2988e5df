//! Secrets, as an admin sets them and a plugin gets them, on two replicas.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::identity::{ADMIN, Caller, PASSWORD, pod};
use crate::postgres::execute;
use crate::process::Pod;

const OLD_KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const CANARY: &str = "canary-of-a-secret-91c4";

async fn done(caller: &Caller<'_>, procedure: &str, input: Value) -> Value {
    let (status, output) = caller.call_of("secrets", procedure, input).await;
    assert_eq!(status, 200, "{procedure}: {output}");
    output
}

async fn refused(caller: &Caller<'_>, procedure: &str, input: Value) -> (u16, String) {
    let (status, error) = caller.call_of("secrets", procedure, input).await;
    (status, error["message"].as_str().unwrap_or_default().to_owned())
}

async fn replicas() -> (Pod, Pod) {
    let pod = pod().await;
    let other = pod.replica();
    (pod, other)
}

fn names(list: &Value) -> Vec<(&str, &str)> {
    list.as_array().unwrap().iter().map(|one| (one["name"].as_str().unwrap(), one["source"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn secrets_are_set_and_listed_on_every_replica_and_never_shown() {
    let (pod, other) = replicas().await;
    pod.write("encryption/current", OLD_KEY.as_bytes());
    std::fs::create_dir(pod.path("secrets/00")).unwrap();
    pod.write("secrets/00/from-yaml", b"value-of-kubernetes");
    let (mut server, _other) = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    let here = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let there = here.on(&other);
    assert_eq!(Caller::nobody(&pod).call_of("secrets", "listSecrets", Value::Null).await.0, 401);

    done(&here, "setSecret", json!({ "name": "smtp", "value": CANARY, "description": "Mail" })).await;
    done(&there, "setSecret", json!({ "name": "smtp", "value": format!("{CANARY}-2") })).await;
    let list = done(&there, "listSecrets", Value::Null).await;
    assert_eq!(names(&list), [("from-yaml", "kubernetes"), ("smtp", "database")]);
    assert_eq!((&list[1]["description"], list[1]["updatedBy"].is_string()), (&json!("Mail"), true));
    assert!(!list.to_string().contains("canary") && !list.to_string().contains("value-of"), "{list}");

    let of_yaml = refused(&here, "setSecret", json!({ "name": "from-yaml", "value": "x" })).await;
    assert_eq!(of_yaml, (409, "`from-yaml` comes from a Secret of Kubernetes: change it there".into()));
    assert_eq!(refused(&here, "setSecret", json!({ "name": "a b", "value": "x" })).await.0, 400);
    assert_eq!(refused(&here, "setSecret", json!({ "name": "a", "value": "" })).await.0, 400);
    let large = refused(&here, "setSecret", json!({ "name": "a", "value": "x".repeat(65_537) })).await;
    assert_eq!(large, (400, "the value has 65537 bytes; 65536 are allowed".into()));

    let stored: String = pod.database.value("SELECT string_agg(s::text, ' ') FROM plugin_secrets.secrets s").await;
    assert!(!stored.contains("canary"), "{stored}");
    assert_eq!(done(&here, "deleteSecret", json!({ "name": "smtp" })).await, json!({ "deleted": true }));
    assert_eq!(done(&here, "deleteSecret", json!({ "name": "smtp" })).await, json!({ "deleted": false }));
    let records = here.done("getAuditRecords", json!({})).await.to_string();
    assert!(records.contains("secrets.set") && records.contains("secrets.delete") && !records.contains("canary"), "{records}");
    assert!(server.terminate().success());
    assert!(!server.log().contains("canary"));
}

#[tokio::test]
async fn a_key_is_exchanged_and_everything_is_encrypted_with_the_new_one() {
    let (pod, _) = replicas().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let (status, problem) = refused(&admin, "setSecret", json!({ "name": "early", "value": CANARY })).await;
    assert!(status == 503 && problem.contains("the instance has no encryption key"), "{status} {problem}");

    pod.write("encryption/current", OLD_KEY.as_bytes());
    for name in ["one", "two"] {
        done(&admin, "setSecret", json!({ "name": name, "value": CANARY })).await;
    }
    pod.write("encryption/current", NEW_KEY.as_bytes());
    done(&admin, "setSecret", json!({ "name": "three", "value": CANARY })).await;
    let outcome = done(&admin, "reencryptSecrets", Value::Null).await;
    assert_eq!((&outcome["reencrypted"], &outcome["unchanged"], outcome["failures"].as_array().unwrap().len()), (&json!(0), &json!(1), 2));
    assert!(outcome["failures"][0]["problem"].as_str().unwrap().contains("restore the key"), "{outcome}");
    pod.write("encryption/previous", OLD_KEY.as_bytes());
    assert_eq!(done(&admin, "reencryptSecrets", Value::Null).await, json!({ "reencrypted": 2, "unchanged": 1, "failures": [] }));
    std::fs::remove_file(pod.path("encryption/previous")).unwrap();
    assert_eq!(done(&admin, "reencryptSecrets", Value::Null).await, json!({ "reencrypted": 0, "unchanged": 3, "failures": [] }));

    // Who can write to the database puts a value in the place of another.
    let moved = "UPDATE plugin_secrets.secrets SET ciphertext = (SELECT ciphertext FROM plugin_secrets.secrets WHERE name = 'two') WHERE name = 'one'";
    execute(&mut pod.database.admin().await, moved).await;
    let outcome = done(&admin, "reencryptSecrets", Value::Null).await;
    assert_eq!((&outcome["unchanged"], &outcome["failures"][0]["name"]), (&json!(2), &json!("one")));
    assert!(outcome["failures"][0]["problem"].as_str().unwrap().contains("the value of another secret"), "{outcome}");
}

#[tokio::test]
async fn a_sandboxed_plugin_on_another_replica_gets_a_changed_secret() {
    let (pod, other) = replicas().await;
    pod.write("encryption/current", OLD_KEY.as_bytes());
    let mut plugin = crate::plugin("mail", &crate::guest::plain());
    plugin.entry.config.insert("password".into(), "${{ secrets.smtp }}".into());
    plugin.entry.grants.secrets = vec!["smtp".into()];
    pod.mount(&crate::set(1, &[&plugin]));
    let (_server, mut second) = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    pod.upload(&plugin).await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let activations = async || {
        let metrics = other.get("/.checkstack/metrics").await.1;
        let line = metrics.lines().find(|line| line.starts_with("checkstack_plugin_swaps_total{") && line.contains("\"mail\""));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    let until = async |what: &str, condition: &dyn Fn(u16, u32) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition(other.get("/api/mail/").await.0, activations().await) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(other.get("/api/mail/").await.0, 503);
    done(&admin, "setSecret", json!({ "name": "smtp", "value": CANARY })).await;
    until("it serves", &|status, _| status == 204).await;
    assert_eq!(activations().await, 0);
    done(&admin, "setSecret", json!({ "name": "smtp", "value": format!("{CANARY}-2") })).await;
    until("it is initialised anew", &|status, swaps| status == 204 && swaps == 1).await;
    assert!(second.terminate().success());
    assert!(!second.log().contains("canary"));
}
