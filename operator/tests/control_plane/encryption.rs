//! The key that secrets are encrypted with: made once, exchanged on demand, and there after the instance is gone.

use std::time::Duration;

use checkstack_control_api::encryption::{CURRENT_KEY_FILE, NEXT_KEY_FILE, PREVIOUS_KEYS_FILE};
use checkstack_crds::Checkstack;
use checkstack_operator::KeyRotation;
use checkstack_operator::controllers::ControllerOptions;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::cluster::Sandbox;
use crate::operator::{Operator, options};

fn key<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    Some(secret.data.as_ref()?.get(name)?.0.as_slice())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_encryption_key_is_made_once_exchanged_on_demand_and_outlives_the_instance() {
    let sandbox = Sandbox::new("encryption").await;
    let rotation = KeyRotation { propagation: Duration::from_secs(3), ..options(&sandbox).rotation };
    let _operator = Operator::start_with(&sandbox, ControllerOptions { rotation, ..options(&sandbox) }).await;
    let from = json!([{ "secretRef": { "name": "smtp" } }, { "secretRef": { "name": "api" } }]);
    sandbox.instance("main", json!({ "secretsFrom": from })).await;
    let made: Secret = sandbox.wait("main-encryption", "made", |secret: &Secret| key(secret, CURRENT_KEY_FILE).is_some()).await;
    assert_eq!(made.metadata.owner_references, None);
    let deployment: Deployment = sandbox.wait("main", "made", |_| true).await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let mounts: Vec<String> = pod.containers[0].volume_mounts.iter().flatten().map(|mount| mount.mount_path.clone()).collect();
    for path in ["/etc/checkstack/encryption", "/etc/checkstack/secrets/00", "/etc/checkstack/secrets/01"] {
        assert!(mounts.iter().any(|mount| mount == path), "{path}: {mounts:?}");
    }

    let ask = json!({ "metadata": { "annotations": { "checkstack.io/rotate-encryption-key": "1" } } });
    sandbox.merge::<Checkstack>("main", ask).await;
    let announced: Secret = sandbox.wait("main-encryption", "announced", |secret: &Secret| key(secret, NEXT_KEY_FILE).is_some()).await;
    assert_eq!(key(&announced, CURRENT_KEY_FILE), key(&made, CURRENT_KEY_FILE));
    let switched: Secret = sandbox.wait("main-encryption", "switched", |secret: &Secret| key(secret, PREVIOUS_KEYS_FILE).is_some()).await;
    assert_eq!(key(&switched, CURRENT_KEY_FILE), key(&announced, NEXT_KEY_FILE));
    assert_eq!(key(&switched, PREVIOUS_KEYS_FILE), key(&made, CURRENT_KEY_FILE));
    assert_eq!(key(&switched, NEXT_KEY_FILE), None);
}
