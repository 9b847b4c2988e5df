//! What the builders make, whole: see `snapshots/`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;

use super::*;
use crate::fixtures::{entry, instance};

const INPUTS: PodInputs<'static> = PodInputs {
    default_image: "registry.example.com/core:1",
    run_as_user: Some(65532),
    database_checksum: "database-checksum",
    keys_checksum: "keys-checksum",
    set_hash: None,
};

/// Everything that can be said in a spec.
fn everything() -> Checkstack {
    instance(json!({
        "replicas": 3,
        "image": "mirror.example.com/core:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{ "name": "registry" }],
        "database": { "urlSecretRef": { "name": "postgres", "key": "uri" } },
        "baseUrl": "https://checkstack.example.com",
        "allowedOrigins": ["https://status.example.com"],
        "signIn": { "sessionLifetimeSeconds": 3600, "oidc": {
            "issuer": "https://id.example.com",
            "clientId": "checkstack",
            "clientSecretRef": { "name": "sso" },
            "caBundleSecretRef": { "name": "sso-ca", "key": "tls.crt" },
        } },
        "secretsFrom": [{ "secretRef": { "name": "mail" } }, { "secretRef": { "name": "api" } }],
        "telemetry": { "traces": {
            "endpoint": "http://collector.monitoring.svc:4318",
            "samplingRatio": 0.25,
            "headersSecretRef": { "name": "collector" },
        } },
        "rollout": { "progressDeadlineSeconds": 60 },
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
        "podTemplate": {
            "labels": { "team": "sre", "app.kubernetes.io/name": "mine" },
            "annotations": { "note": "x" },
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
            "priorityClassName": "high",
            "env": [{ "name": "CHECKSTACK_LOG", "value": "debug" }, { "name": "DATABASE_URL", "value": "postgres://evil" }],
            "terminationGracePeriodSeconds": 12,
        },
        "service": { "type": "LoadBalancer", "port": 8080, "annotations": { "lb": "internal" }, "labels": { "team": "sre" } },
        "networkPolicy": { "enabled": true, "ingressFrom": [{ "namespaceSelector": { "matchLabels": { "ingress": "yes" } } }] },
        "podDisruptionBudget": { "minAvailable": "50%" },
    }))
}

#[test]
fn the_smallest_instance() {
    let instance = instance(json!({}));
    insta::assert_yaml_snapshot!("small_deployment", deployment(&instance, &INPUTS));
    insta::assert_yaml_snapshot!("small_service", service(&instance));
    insta::assert_yaml_snapshot!("small_service_account", service_account(&instance));
    assert_eq!(disruption_budget(&instance), None);
    assert_eq!(network_policy(&instance, "checkstack-system"), None);
    assert_eq!(url(&instance), "http://main.monitoring.svc");
}

#[test]
fn an_instance_with_everything() {
    let instance = everything();
    insta::assert_yaml_snapshot!("full_deployment", deployment(&instance, &INPUTS));
    insta::assert_yaml_snapshot!("full_service", service(&instance));
    insta::assert_yaml_snapshot!("full_disruption_budget", disruption_budget(&instance));
    insta::assert_yaml_snapshot!("full_network_policy", network_policy(&instance, "checkstack-system"));
    assert_eq!(url(&instance), "http://main.monitoring.svc:8080");
}

#[test]
fn the_plugin_set_as_pods_find_it() {
    let instance = instance(json!({}));
    let mut set = checkstack_plugin_package::PluginSet::empty("monitoring/main");
    set.revision = 4;
    set.plugins.push(entry("uptime-checks", "uptime"));
    insta::assert_yaml_snapshot!("plugin_set", config_map(&instance, &set, "signature").unwrap());
    let values = [("token".to_owned(), json!("s3cret"))].into_iter().collect();
    let secrets = BTreeMap::from([("uptime".parse().unwrap(), values)]);
    let last_good = BTreeMap::from([("page".parse().unwrap(), [("token".to_owned(), json!("before"))].into_iter().collect())]);
    let secret = plugin_config(&instance, &secrets, &last_good).unwrap();
    insta::assert_yaml_snapshot!("plugin_config", secret);
    assert_eq!(plugin_config_values(&secret), (secrets, last_good));
}

#[test]
fn the_operators_own_labels_and_settings_win() {
    let template = deployment(&everything(), &INPUTS).spec.unwrap().template;
    let labels = template.metadata.unwrap().labels.unwrap();
    assert_eq!((labels["app.kubernetes.io/name"].as_str(), labels["team"].as_str()), ("checkstack", "sre"));
    let environment = template.spec.unwrap().containers[0].env.clone().unwrap();
    let database: Vec<_> = environment.iter().filter(|variable| variable.name == "DATABASE_URL").collect();
    assert_eq!((database.len(), database[0].value.as_deref()), (1, None));
}

#[test]
fn the_private_key_is_not_mounted() {
    let volumes = deployment(&instance(json!({})), &INPUTS).spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let keys = volumes.iter().find(|volume| volume.name == "keys").unwrap().secret.clone().unwrap();
    let items: Vec<String> = keys.items.unwrap().into_iter().map(|item| item.key).collect();
    assert_eq!(items, ["jwks.json", "sealing.key"]);
}

#[test]
fn one_replica_has_no_budget_whatever_the_spec_says() {
    assert_eq!(disruption_budget(&instance(json!({ "replicas": 1, "podDisruptionBudget": { "maxUnavailable": 1 } }))), None);
    let two = disruption_budget(&instance(json!({ "replicas": 2 }))).unwrap().spec.unwrap();
    assert_eq!(two.max_unavailable, Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1)));
}
