//! The first admin: a Secret that the operator makes, and the way back in when its password is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::shared_operator;

/// The kubelet looks at the Secrets of a pod every minute, and may see them a minute late; the server looks every ten seconds.
const KUBELET: Duration = Duration::from_secs(160);

struct Admin {
    username: String,
    password: String,
}

impl Admin {
    async fn of(ns: &Namespace) -> Result<Self> {
        let secret: Secret = serde_json::from_value(ns.get("secret/main-admin").await?)?;
        let data = secret.data.context("an empty Secret")?;
        let entry = |name: &str| Ok::<_, anyhow::Error>(String::from_utf8(data.get(name).context("no entry")?.0.clone())?);
        Ok(Self { username: entry("username")?, password: entry("password")? })
    }

    async fn sign_in(&self, ns: &Namespace) -> Result<u16> {
        let body = json!({ "email": self.username, "password": self.password }).to_string();
        Ok(ns.request("POST", INSTANCE, "/api/auth/sign-in/email", &body).await?.status)
    }

    async fn until_signed_in(&self, ns: &Namespace, within: Duration) -> Result<()> {
        eventually("the admin signs in", within, || async {
            let status = self.sign_in(ns).await?;
            ensure!(status == 200, "{status}");
            Ok(())
        })
        .await
    }
}

#[tokio::test]
async fn the_admin_of_the_secret_signs_in_and_a_deleted_secret_is_a_new_password() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("sign-in").await?;
    ns.bring_up_instance(1).await?;
    let first = Admin::of(&ns).await?;
    first.until_signed_in(&ns, PATIENCE).await?;
    let nobody = ns.http_get(INSTANCE, "/rest/auth/getUsers").await?;
    ensure!(nobody.status == 401, "{nobody:?}");
    let before = ns.get("deployment/main").await?["metadata"]["generation"].clone();

    ns.kubectl(&["delete", "secret", "main-admin"]).await?;
    let second = eventually("there is another Secret", Duration::from_secs(60), || Admin::of(&ns)).await?;
    ensure!(second.password != first.password, "the same password");
    second.until_signed_in(&ns, KUBELET).await?;
    let old = first.sign_in(&ns).await?;
    ensure!(old == 401, "{old}");
    ensure!(ns.get("deployment/main").await?["metadata"]["generation"] == before, "no pod is restarted for it");
    ns.remove().await
}
