//! Signed calls, and sets and their revisions.

use std::time::{Duration, SystemTime};

use checkstack_control_api::report::{PluginSetDelivery, PluginState, PodReport};
use checkstack_control_api::sealed::secret_config_hash;
use checkstack_control_api::{SealingKey, SecretValues, SigningKey, VerifyingKeys, paths, sealed, token};
use checkstack_plugin_package::Digest;
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};

use crate::instance::{Instance, NAME, Pod, Reported as _, refusal, set, set_of};
use crate::packages::package;
use crate::scripted::{Script, Step};

/// Everything about a call that can be wrong.
struct Call<'a> {
    key: &'a SigningKey,
    audience: &'a str,
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
    at: SystemTime,
}

impl Call<'_> {
    async fn send(&self, pod: &Pod, method: Method, path: &str, body: &[u8]) -> (u16, String) {
        let digest = (!self.body.is_empty()).then(|| Digest::of(self.body));
        let token = token::sign(self.key, self.audience, self.method, self.path, digest.as_ref(), self.at).unwrap();
        refusal(pod.client.request(method, format!("{}{path}", pod.address)).bearer_auth(token).body(body.to_vec()).send().await.unwrap())
            .await
    }
}

#[tokio::test]
async fn every_call_that_is_not_exactly_the_signed_one_is_refused_with_its_own_reason() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let path = paths::PLUGIN_SET;
    let body = serde_json::to_vec(&PluginSetDelivery { set: set(1, &[]), sealed_secrets: None }).unwrap();
    let right = || Call { key: &instance.signing, audience: NAME, method: "PUT", path, body: &body, at: SystemTime::now() };
    let stranger = SigningKey::generate().unwrap();

    let unsigned = pod.client.put(format!("{}{path}", pod.address)).body(body.clone()).send().await.unwrap();
    assert_eq!(unsigned.headers()["www-authenticate"], "Bearer");
    assert_eq!(refusal(unsigned).await, (401, "unauthenticated".into()));
    let mut cases = vec![
        (Call { key: &stranger, ..right() }, body.clone(), (401, "unknown_key")),
        (Call { at: SystemTime::now() - Duration::from_secs(120), ..right() }, body.clone(), (401, "expired_token")),
        (Call { at: SystemTime::now() + Duration::from_secs(120), ..right() }, body.clone(), (401, "token_not_yet_valid")),
        (Call { audience: "monitoring/other", ..right() }, body.clone(), (403, "wrong_audience")),
        (Call { method: "POST", ..right() }, body.clone(), (403, "wrong_request")),
        (Call { path: paths::RECONCILE, ..right() }, body.clone(), (403, "wrong_request")),
        (right(), b"{}".to_vec(), (403, "digest_mismatch")),
    ];
    for (call, sent, (status, word)) in cases.drain(..) {
        assert_eq!(call.send(&pod, Method::PUT, path, &sent).await, (status, word.to_owned()));
    }
    let malformed = pod.client.put(format!("{}{path}", pod.address)).bearer_auth("x.y.z").send().await.unwrap();
    assert_eq!(refusal(malformed).await, (401, "malformed_token".into()));
    assert_eq!(pod.report().await.revision, 0, "nothing was taken over");

    for (method, path) in [
        (Method::POST, paths::RECONCILE.to_owned()),
        (Method::PUT, format!("{}/{}", paths::ARTIFACTS, Digest::of(b""))),
        (Method::DELETE, format!("{}/uptime", paths::PLUGIN_DATA)),
    ] {
        let unsigned = pod.client.request(method, format!("{}{path}", pod.address)).send().await.unwrap();
        assert_eq!(unsigned.status(), 401, "{path}");
    }
    assert_eq!(pod.client.head(format!("{}{}/{}", pod.address, paths::ARTIFACTS, Digest::of(b""))).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn keys_are_exchanged_without_a_restart_and_the_report_says_when() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (old, new) = (&instance.signing, SigningKey::generate().unwrap());
    let call = async |key: &SigningKey| {
        let token = token::sign(key, NAME, "POST", paths::RECONCILE, None, SystemTime::now()).unwrap();
        let call = pod.client.post(format!("{}{}", pod.address, paths::RECONCILE)).bearer_auth(token);
        call.send().await.unwrap().status().as_u16()
    };
    let exchange = async |keys: VerifyingKeys| {
        instance.write("keys/jwks.json", keys.to_json().unwrap().as_bytes());
        pod.wait_for(|report| report.accepted_keys.iter().map(String::as_str).eq(keys.key_ids())).await;
    };
    assert_eq!(pod.report().await.accepted_keys, [old.key_id()]);
    assert_eq!((call(old).await, call(&new).await), (202, 401));
    exchange(old.verifying_keys().with(new.verifying_keys())).await;
    assert_eq!((call(old).await, call(&new).await), (202, 202));
    exchange(new.verifying_keys()).await;
    assert_eq!((call(old).await, call(&new).await), (401, 202));
}

#[tokio::test]
async fn what_plugins_say_about_their_failures_is_for_the_operator() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", Script { init: Step::fails("cannot reach 10.1.2.3 as admin"), ..Script::default() });
    let pod = instance.pod("pod").await;
    let whole = pod.run(1, &[&package("uptime", &[])]).await;
    assert_eq!(whole.plugin("uptime").message, "cannot reach 10.1.2.3 as admin");
    let url = format!("{}{}", pod.address, paths::PLUGINS);
    let stranger = token::sign(&SigningKey::generate().unwrap(), NAME, "GET", paths::PLUGINS, None, SystemTime::now()).unwrap();
    let elsewhere = token::sign(&instance.signing, NAME, "GET", paths::METRICS, None, SystemTime::now()).unwrap();
    for request in [pod.client.get(&url), pod.client.get(&url).bearer_auth(stranger), pod.client.get(&url).bearer_auth(elsewhere)] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let report: PodReport = response.json().await.unwrap();
        assert_eq!(report, whole.clone().without_messages());
        assert_eq!((report.plugin("uptime").state, report.plugin("uptime").message.as_str()), (PluginState::Failed, ""));
    }
}

#[tokio::test]
async fn a_set_of_a_newer_operator_is_run_as_far_as_it_is_understood() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (mut plain, mut careful) = (package("plain", &[]), package("careful", &[]));
    for package in [&mut plain, &mut careful] {
        package.entry.grants.http.allow = vec!["https://acme.io".into()];
        package.entry.unknown.insert("replicas".into(), json!(2));
        package.entry.grants.unknown.insert("streams".into(), json!(["acme.io:22"]));
    }
    careful.entry.grants.http.unknown.insert("methods".into(), json!(["GET"]));
    let set = set(1, &[&plain, &careful]);
    pod.upload(&plain).await;
    pod.upload(&careful).await;
    let secrets = Some(instance.seal(&set, &SecretValues::default()));
    assert_eq!(pod.deliver_with(&set, secrets).await.status(), 202);
    let report = pod.settled(1).await;
    assert!(report.is_active("plain") && report.is_active("careful"), "{report:#?}");
    assert_eq!(report.set_hash, set.hash().unwrap(), "what the operator waits for");
    assert_eq!(instance.scripts.services("plain").grants.http.allow, ["https://acme.io"]);
    assert!(instance.scripts.services("careful").grants.http.allow.is_empty(), "what is understood in part is not given");
    instance.mount(&set);
    assert_eq!(instance.pod("later").await.report().await.set_hash, report.set_hash, "its signature is good");
}

#[tokio::test]
async fn a_set_is_taken_over_once_and_never_an_older_one() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let (one, two) = (package("one", &[]), package("two", &[]));
    pod.run(5, &[&one]).await;
    assert_eq!(pod.deliver(&set(5, &[&one])).await.status(), 202, "the same again");
    assert_eq!(refusal(pod.deliver(&set(4, &[&one])).await).await, (409, "stale_revision".into()));
    assert_eq!(refusal(pod.deliver(&set(5, &[&two])).await).await, (409, "revision_conflict".into()));
    let mut foreign = set(6, &[&one]);
    foreign.instance = "monitoring/other".into();
    assert_eq!(refusal(pod.deliver(&foreign).await).await, (422, "wrong_instance".into()));
    assert_eq!(pod.report().await.revision, 5);
    pod.run(6, &[&one, &two]).await;
}

#[tokio::test]
async fn what_is_no_set_is_refused() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let one = package("one", &[]);
    let mut newer = serde_json::to_value(PluginSetDelivery { set: set(1, &[]), sealed_secrets: None }).unwrap();
    newer["set"]["schemaVersion"] = json!(2);
    let twice = PluginSetDelivery { set: set(1, &[&one, &one]), sealed_secrets: None };
    let sealed_elsewhere = sealed::seal(&SecretValues::default(), &Digest::of(b""), &SealingKey::generate().unwrap()).unwrap();
    let foreign_secrets = PluginSetDelivery { set: set(1, &[&one]), sealed_secrets: Some(sealed_elsewhere) };
    let send = async |body: Vec<u8>| -> Response { pod.signed(Method::PUT, paths::PLUGIN_SET, body).send().await.unwrap() };
    for (body, word) in [
        (b"not JSON".to_vec(), "invalid_set"),
        (b"{}".to_vec(), "invalid_set"),
        (serde_json::to_vec(&newer).unwrap(), "invalid_set"),
        (serde_json::to_vec(&twice).unwrap(), "invalid_set"),
        (serde_json::to_vec(&foreign_secrets).unwrap(), "invalid_secrets"),
    ] {
        assert_eq!(refusal(send(body).await).await, (422, word.to_owned()));
    }
    let too_large = send(vec![b' '; 9 * 1024 * 1024]).await;
    assert_eq!(refusal(too_large).await, (413, "too_large".into()));
    assert_eq!(pod.report().await.revision, 0);
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not_say_so() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    assert_eq!(refusal(pod.get("/.checkstack/nothing").await).await, (404, "not_found".into()));
    let wrong = pod.client.post(format!("{}{}", pod.address, paths::HEALTH)).send().await.unwrap();
    assert_eq!(refusal(wrong).await, (405, "method_not_allowed".into()));
    assert_eq!(pod.json("/").await, (404, json!({ "error": "Not Found" })));
    assert_eq!(pod.json("/api").await, (404, json!({ "error": "Not Found" })));
}

#[tokio::test]
async fn secret_values_arrive_with_the_set_or_as_files_and_are_nowhere_else() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    let values = |password: &str| -> Map<String, Value> { json!({ "password": password }).as_object().unwrap().clone() };
    let mut uptime = package("uptime", &[]);
    uptime.entry.config = json!({ "url": "https://acme.io" }).as_object().unwrap().clone();
    uptime.entry.secret_config_hash = Some(secret_config_hash(&uptime.entry.plugin_id, &values("geheim"), &instance.sealing).unwrap());
    pod.upload(&uptime).await;
    let set = set_of(1, vec![uptime.entry.clone()]);

    pod.deliver(&set).await;
    let report = pod.wait_for(|report| report.plugin("uptime").state == PluginState::Failed).await;
    assert_eq!(format!("{:?}", report.plugin("uptime").reason), "SecretConfigMissing");

    let secrets = SecretValues([(uptime.entry.plugin_id.clone(), values("geheim"))].into());
    let delivered = pod.deliver_with(&set, Some(instance.seal(&set, &secrets))).await;
    assert_eq!(delivered.status(), 202);
    pod.wait_for(|report| report.is_active("uptime")).await;
    let config = pod.json("/api/uptime/").await.1["config"].clone();
    assert_eq!(config, json!({ "url": "https://acme.io", "password": "geheim" }));

    instance.mount(&set);
    instance.write("config/uptime.json", &serde_json::to_vec(&values("geheim")).unwrap());
    let later = instance.pod("later").await;
    assert_eq!(later.json("/api/uptime/").await.1["config"], config);
    for path in [paths::PLUGINS, paths::METRICS, paths::READY] {
        assert!(!later.get(path).await.text().await.unwrap().contains("geheim"));
    }
}

#[tokio::test]
async fn metrics_show_what_plugins_do() {
    let instance = Instance::new().await;
    let pod = instance.pod("pod").await;
    pod.run(3, &[&package("uptime", &[])]).await;
    pod.get("/api/uptime/").await;
    let text = pod.get(paths::METRICS).await.text().await.unwrap();
    for line in [
        r#"checkstack_plugin_calls_total{plugin="uptime",outcome="answered"} 1"#,
        r#"checkstack_plugin_state{plugin="uptime",state="Active"} 1"#,
        r#"checkstack_plugin_activations_total{plugin="uptime",outcome="activated"} 1"#,
        r#"checkstack_artifact_uploads_total{outcome="created"} 1"#,
        r#"checkstack_plugin_instances{plugin="uptime"} 2"#,
        r#"checkstack_plugin_memory_bytes{plugin="uptime"} 4096"#,
        r#"checkstack_plugin_calls_waiting{plugin="uptime"} 1"#,
        r#"checkstack_plugin_queue_seconds_total{plugin="uptime"} 1.5"#,
        r#"checkstack_plugin_busy_seconds_total{plugin="uptime"} 2.0"#,
        "checkstack_plugin_set_revision 3",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    pod.run(4, &[]).await;
    let text = pod.get(paths::METRICS).await.text().await.unwrap();
    assert!(!text.contains("uptime"), "{text}");
}
