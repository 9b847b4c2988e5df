//! An application with a key of its own, as programs outside call.

use anyhow::{Context, Result};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::PATIENCE;
use checkstack_e2e::namespace::Namespace;
use k8s_openapi::api::core::v1::Secret;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};

/// Signs in as the first admin, and makes one. Its key.
pub(crate) async fn new_key(ns: &Namespace) -> Result<String> {
    let pods = ns.core_pods().await?;
    let address = pods.first().and_then(|pod| pod["status"]["podIP"].as_str()).context("no core pod with an address")?;
    let secret: Secret = serde_json::from_value(ns.get("secret/main-admin").await?)?;
    let data = secret.data.context("an empty Secret")?;
    let entry = |name: &str| Ok::<_, anyhow::Error>(String::from_utf8(data.get(name).context("no entry")?.0.clone())?);
    let credentials = json!({ "email": entry("username")?, "password": entry("password")? });
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let sign_in = format!("http://{address}:3000/api/auth/sign-in/email");
    let cookie = eventually("the admin signs in", PATIENCE, || async {
        let answer = client.post(&sign_in).json(&credentials).send().await?.error_for_status()?;
        Ok(answer.headers().get(SET_COOKIE).context("no cookie")?.clone())
    })
    .await?;
    let application = client
        .post(format!("http://{address}:3000/rest/auth/createApplication"))
        .header(COOKIE, cookie.to_str()?.split(';').next().unwrap_or_default())
        .json(&json!({ "name": "bench", "roles": ["admin"] }))
        .send()
        .await?
        .error_for_status()?;
    Ok(application.json::<Value>().await?["key"].as_str().context("no key")?.to_owned())
}
