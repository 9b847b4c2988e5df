//! Procedures of plugins in the sandbox, in Rust and in TypeScript, for callers of every kind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use reqwest::Client;
use serde_json::{Value, json};

use crate::shared_operator;

/// What was changed counts within this time on every replica.
const COUNTS: Duration = Duration::from_secs(5);

async fn rest(ns: &Namespace, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
    let answer = ns.request(method, INSTANCE, path, body).await?;
    Ok((answer.status, answer.json()?))
}

/// The cookie of the first admin.
async fn sign_in(ns: &Namespace, client: &Client, address: &str) -> Result<String> {
    let secret = ns.get("secret/main-admin").await?;
    let entry = |name: &str| -> Result<String> {
        let encoded = secret["data"][name].as_str().context("no such entry")?;
        let secret: k8s_openapi::ByteString = serde_json::from_value(encoded.into())?;
        Ok(String::from_utf8(secret.0)?)
    };
    let body = json!({ "email": entry("username")?, "password": entry("password")? });
    let answer = client.post(format!("{address}/api/auth/sign-in/email")).json(&body).send().await?;
    let cookie = answer.headers().get("set-cookie").context(answer.status())?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn plugins_offer_procedures_that_the_server_guards_checks_and_describes() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("procedures").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    ns.install_plugin("hello-ts", &package("hello-ts")?, json!({})).await?;
    ns.await_plugin_ready("hello-ts").await?;

    // For everybody, from the first call on, whichever pod it meets.
    for _ in 0..10 {
        let (status, targets) = rest(&ns, "GET", "/rest/uptime/targets", "").await?;
        ensure!(status == 200 && targets["targets"][0]["name"] == "self", "{status} {targets}");
    }
    let (status, run) = rest(&ns, "POST", "/rest/uptime/checks/run", "").await?;
    ensure!(status == 200 && run["checked"][0]["up"] == true, "{status} {run}");
    let input = json!({ "json": { "target": "self", "limit": 1 } }).to_string();
    let (status, history) = rest(&ns, "POST", "/api/uptime/targets/history", &input).await?;
    ensure!(status == 200 && history["json"]["results"][0]["up"] == true, "{status} {history}");
    let (status, refused) = rest(&ns, "GET", "/rest/uptime/targets/history?target=self&limit=1001", "").await?;
    ensure!(status == 400 && refused["data"]["issues"][0]["path"] == json!(["limit"]), "{status} {refused}");
    let (status, refused) = rest(&ns, "GET", "/rest/uptime/targets/history?target=other", "").await?;
    ensure!(status == 404 && refused["message"] == "there is no target 'other'", "{status} {refused}");

    let pod = ns.core_pod_names().await?.remove(0);
    let forward = ns.port_forward(&pod).await?;
    let (client, address) = (Client::builder().no_proxy().timeout(PATIENCE).build()?, forward.address());
    let cookie = sign_in(&ns, &client, &address).await?;
    let call = async |path: &str, input: Value| -> Result<(u16, Value)> {
        let answer = client.post(format!("{address}{path}")).header("cookie", &cookie).json(&json!({ "json": input })).send().await?;
        Ok((answer.status().as_u16(), answer.json::<Value>().await?["json"].take()))
    };

    // Only for those who show who they are; the plugin is told who that is.
    let (status, refused) = rest(&ns, "GET", "/rest/hello-ts/greet?name=Ada", "").await?;
    ensure!(status == 401, "{status} {refused}");
    let (status, greeted) = call("/api/hello-ts/greet", json!({ "name": "Ada" })).await?;
    ensure!(status == 200 && greeted == json!({ "greeting": "Hello, Ada!", "by": "user" }), "{status} {greeted}");
    let (status, refused) = call("/api/hello-ts/greet", json!({ "name": "Voldemort" })).await?;
    ensure!(status == 404 && refused["code"] == "NOT_FOUND" && refused["message"] == "nobody of that name", "{status} {refused}");
    let (status, refused) = call("/api/hello-ts/greet", json!({ "name": "" })).await?;
    ensure!(status == 400 && refused["message"] == "Input validation failed", "{status} {refused}");

    let document: Value = client.get(format!("{address}/api/openapi.json")).header("cookie", &cookie).send().await?.json().await?;
    for path in ["/rest/uptime/targets/history", "/rest/hello-ts/greet"] {
        ensure!(document["paths"][path]["get"].is_object(), "{path} is not described: {}", document["paths"]);
    }

    // What an admin takes away is gone, on all pods and for good; other plugins may still call.
    let (status, rules) = call("/api/auth/getRoles", json!({})).await?;
    let anonymous = rules["roles"].as_array().and_then(|roles| roles.iter().find(|role| role["id"] == "anonymous"));
    let kept: Vec<&Value> = anonymous.and_then(|role| role["accessRules"].as_array()).context(status)?.iter().collect();
    ensure!(kept.contains(&&json!("uptime.check.manage")), "{kept:?}");
    let kept: Vec<&Value> = kept.into_iter().filter(|rule| **rule != "uptime.check.manage").collect();
    let (status, taken) = call("/api/auth/setRoleAccessRules", json!({ "id": "anonymous", "accessRules": kept })).await?;
    ensure!(status == 200, "{status} {taken}");
    eventually("every pod refuses", COUNTS, || async {
        for _ in 0..10 {
            let (status, refused) = rest(&ns, "POST", "/rest/uptime/checks/run", "").await?;
            ensure!(status == 403, "{status} {refused}");
        }
        Ok(())
    })
    .await?;
    let refreshed = forward.request("POST", "/api/status-page/refresh", None, "").await?;
    ensure!(refreshed.status == 200 && !refreshed.body.contains("not available"), "{refreshed:?}");
    ns.remove().await
}
