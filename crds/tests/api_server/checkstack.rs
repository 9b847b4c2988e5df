//! Good and bad instances.

use checkstack_crds::Checkstack;
use serde_json::{Value, json};

use crate::refusal::{Refused, assert_accepted, assert_every_rule_has_a_row, assert_refused, refused};

pub fn good() -> Value {
    json!({
        "apiVersion": "checkstack.io/v1alpha1",
        "kind": "Checkstack",
        "metadata": { "name": "main" },
        "spec": { "database": { "urlSecretRef": { "name": "main-db" } } },
    })
}

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

fn pod_template(change: Value) -> Value {
    spec(json!({ "podTemplate": change }))
}

fn environment(variable: Value) -> Value {
    pod_template(json!({ "env": [variable] }))
}

fn peer(peer: Value) -> Value {
    spec(json!({ "networkPolicy": { "enabled": true, "ingressFrom": [peer] } }))
}

/// With a collector that is changed.
fn traces(change: Value) -> Value {
    let mut traces = json!({ "endpoint": "http://collector:4318" });
    traces.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    spec(json!({ "telemetry": { "traces": traces } }))
}

/// With an address, and a provider that is changed.
fn oidc(change: Value) -> Value {
    let mut oidc = json!({ "issuer": "https://id.example.com", "clientId": "checkstack", "clientSecretRef": { "name": "sso" } });
    oidc.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    spec(json!({ "baseUrl": "https://checkstack.example.com", "signIn": { "oidc": oidc } }))
}

fn requirement(requirement: Value) -> Value {
    spec(json!({ "plugins": { "selector": { "matchExpressions": [requirement] } } }))
}

/// Everything that an admin may write, once.
pub fn full() -> Value {
    spec(json!({
        "replicas": 3,
        "image": "registry.example.com/checkstack/core:1.2.3@sha256:0000",
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{ "name": "mirror" }, { "name": "other.mirror" }],
        "database": { "urlSecretRef": { "name": "main-db", "key": "DATABASE_URL" } },
        "baseUrl": "https://checkstack.example.com",
        "allowedOrigins": ["https://status.example.com:8443", "http://localhost:5173", "http://10.0.0.1"],
        "signIn": { "sessionLifetimeSeconds": 28800, "oidc": {
            "name": "Example",
            "issuer": "https://id.example.com:8443/realms/ops",
            "clientId": "checkstack",
            "clientSecretRef": { "name": "sso", "key": "secret" },
            "caBundleSecretRef": { "name": "sso-ca", "key": "tls.crt" },
            "scopes": ["openid", "email", "groups"],
            "groupsClaim": "https://example.com/groups",
            "groupRoles": [{ "group": "ops team/é", "roles": ["admin"] }, { "group": "dev", "roles": ["help-desk", "a.b_c"] }],
            "createUsers": false,
            "linkVerifiedEmail": true,
        } },
        "telemetry": { "traces": {
            "endpoint": "https://collector.example.com:4318/otlp",
            "samplingRatio": 0.25,
            "headersSecretRef": { "name": "collector", "key": "otlp" },
        } },
        "plugins": { "rollback": "Manual", "revisionHistoryLimit": 3, "selector": {
            "matchLabels": { "team": "web", "example.com/tier": "" },
            "matchExpressions": [
                { "key": "stage", "operator": "In", "values": ["prod", "test"] },
                { "key": "example.com/skip", "operator": "DoesNotExist" },
            ],
        } },
        "rollout": { "progressDeadlineSeconds": 600, "strategy": "Restart" },
        "resources": { "requests": { "cpu": "250m", "memory": "128Mi" }, "limits": { "cpu": 2, "memory": "1Gi", "ephemeral-storage": "5G" } },
        "podTemplate": {
            "labels": { "team": "web" },
            "annotations": { "example.com/Note": "any text: é" },
            "nodeSelector": { "kubernetes.io/os": "linux" },
            "tolerations": [{ "key": "gpu", "operator": "Exists", "effect": "NoSchedule" }],
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
                { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "x" } } },
            ] } },
            "topologySpreadConstraints": [
                { "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway" },
            ],
            "priorityClassName": "system-cluster-critical",
            "env": [
                { "name": "CHECKSTACK_CACHE_BYTES", "value": "67108864" },
                { "name": "CHECKSTACK_DATABASE_CONNECTIONS", "value": "25" },
                { "name": "CHECKSTACK_LOG", "value": "debug" },
                { "name": "CHECKSTACK_LOG_FORMAT", "value": "text" },
                { "name": "HTTPS_PROXY", "valueFrom": { "secretKeyRef": { "name": "proxy", "key": "url" } } },
                { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
            ],
            "terminationGracePeriodSeconds": 120,
        },
        "service": {
            "type": "LoadBalancer",
            "port": 8080,
            "annotations": { "service.beta.kubernetes.io/aws-load-balancer-type": "nlb" },
            "labels": { "team": "web" },
        },
        "networkPolicy": { "enabled": true, "ingressFrom": [
            { "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": "gateway" } } },
            { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } },
        ] },
        "podDisruptionBudget": { "minAvailable": "50%" },
    }))
}

#[tokio::test]
async fn good_instances_are_accepted() {
    assert_accepted::<Checkstack>(
        &good(),
        vec![
            json!({}),
            full(),
            json!({ "metadata": { "name": "a23456789-123456789-123456789-123456789-12345678" } }),
            spec(json!({ "secretsFrom": [{ "secretRef": { "name": "smtp" } }] })),
            spec(json!({ "replicas": 0 })),
            spec(json!({ "replicas": 100 })),
            spec(json!({ "podDisruptionBudget": { "maxUnavailable": 0 } })),
            spec(json!({ "podDisruptionBudget": { "maxUnavailable": "100%" } })),
            spec(json!({ "networkPolicy": { "enabled": true } })),
            spec(json!({ "networkPolicy": { "enabled": false, "ingressFrom": [] } })),
            requirement(json!({ "key": "stage", "operator": "NotIn", "values": ["prod"] })),
            requirement(json!({ "key": "stage", "operator": "Exists", "values": [] })),
            peer(json!({ "ipBlock": { "cidr": "fd00::/8" } })),
            environment(json!({ "name": "DATABASE_URLS", "value": "" })),
            oidc(json!({})),
            traces(json!({})),
            traces(json!({ "samplingRatio": 0 })),
            spec(json!({ "baseUrl": "http://localhost:65535", "signIn": { "sessionLifetimeSeconds": 60 } })),
        ],
    )
    .await;
}

/// One row at least for each rule of the schema.
fn rules() -> Vec<Refused> {
    const OBJECT_NAME: &str = "must be the name of an object in this namespace";
    const KEY: &str = "must be a key of a Secret or ConfigMap";
    const LABEL_KEY: &str = "every key must be like 'example.com/name' or 'name'";
    const LABEL_VALUE: &str = "every value must be at most 63 letters";
    const RESERVED_LABEL: &str = "the operator sets app.kubernetes.io/name";
    const RESERVED_ANNOTATION: &str = "keys below checkstack.io/ belong to the operator";
    const QUANTITY: &str = "every amount must be a Kubernetes quantity";
    const COUNT: &str = "must be a number of pods, 0 or more, or a percentage like 50%";
    const RANGE: &str = "must be an address range like 10.0.0.0/8";
    const PEER: &str = "set either ipBlock, or podSelector and namespaceSelector";
    const VALUES: &str = "In and NotIn need values; Exists and DoesNotExist must have none";
    const OURS: &str = "the operator sets this variable itself";
    const ONE_SOURCE: &str = "set exactly one of configMapKeyRef";
    const WEB_ORIGIN: &str = "must be scheme://host or scheme://host:port";
    const PORT: &str = "the port must be from 1 to 65535";
    const COLLECTOR: &str = "must be an absolute URL that begins with http:// or https://";
    const NO_MORE: &str = "must have no user, query, fragment or $";
    const NAME: &str = "metadata.name becomes the name of a Service";
    vec![
        refused("<nil>", NAME, json!({ "metadata": { "name": "1main" } })),
        refused("<nil>", NAME, json!({ "metadata": { "name": "main.prod" } })),
        refused("<nil>", NAME, json!({ "metadata": { "name": "a23456789-123456789-123456789-123456789-123456789" } })),
        refused("spec.baseUrl", WEB_ORIGIN, spec(json!({ "baseUrl": "checkstack.example.com" }))),
        refused("spec.baseUrl", WEB_ORIGIN, spec(json!({ "baseUrl": "https://checkstack.example.com/" }))),
        refused("spec.baseUrl", WEB_ORIGIN, spec(json!({ "baseUrl": "https://Checkstack.example.com" }))),
        refused("spec.baseUrl", WEB_ORIGIN, spec(json!({ "baseUrl": "https://*.example.com" }))),
        refused("spec.baseUrl", WEB_ORIGIN, spec(json!({ "baseUrl": "*" }))),
        refused("spec.baseUrl", PORT, spec(json!({ "baseUrl": "https://checkstack.example.com:65536" }))),
        refused("spec.allowedOrigins[1]", WEB_ORIGIN, spec(json!({ "allowedOrigins": ["https://a.example", "null"] }))),
        refused("spec.allowedOrigins[0]", PORT, spec(json!({ "allowedOrigins": ["https://a.example:0"] }))),
        refused("spec.secretsFrom[0].secretRef.name", OBJECT_NAME, spec(json!({ "secretsFrom": [{ "secretRef": { "name": "A b" } }] }))),
        refused("spec", "signIn.oidc needs baseUrl", spec(json!({ "signIn": oidc(json!({}))["spec"]["signIn"] }))),
        refused(
            "spec.signIn.oidc.issuer",
            "must be an absolute URL that begins with https://",
            oidc(json!({ "issuer": "http://id.example.com" })),
        ),
        refused(
            "spec.signIn.oidc.issuer",
            "must be an absolute URL that begins with https://",
            oidc(json!({ "issuer": "id.example.com" })),
        ),
        refused("spec.signIn.oidc.issuer", "must have no user, query or fragment", oidc(json!({ "issuer": "https://ada@id.example.com" }))),
        refused("spec.signIn.oidc.issuer", "must have no user, query or fragment", oidc(json!({ "issuer": "https://id.example.com?a" }))),
        refused("spec.signIn.oidc.clientId", "must be the id that the provider gave", oidc(json!({ "clientId": "" }))),
        refused("spec.signIn.oidc.clientId", "must be the id that the provider gave", oidc(json!({ "clientId": "a b" }))),
        refused("spec.signIn.oidc.clientSecretRef.name", OBJECT_NAME, oidc(json!({ "clientSecretRef": { "name": "A" } }))),
        refused("spec.signIn.oidc.clientSecretRef.key", KEY, oidc(json!({ "clientSecretRef": { "name": "a", "key": "a b" } }))),
        refused("spec.signIn.oidc.caBundleSecretRef.name", OBJECT_NAME, oidc(json!({ "caBundleSecretRef": { "name": "A" } }))),
        refused("spec.signIn.oidc.caBundleSecretRef.key", KEY, oidc(json!({ "caBundleSecretRef": { "name": "a", "key": "" } }))),
        refused("spec.signIn.oidc.scopes", "must contain openid", oidc(json!({ "scopes": ["email"] }))),
        refused("spec.signIn.oidc.scopes[1]", "a scope has no spaces in it", oidc(json!({ "scopes": ["openid", "a b"] }))),
        refused(
            "spec.signIn.oidc.groupRoles[0].roles[0]",
            "must be the id of a role",
            oidc(json!({ "groupRoles": [{ "group": "ops", "roles": ["help desk"] }] })),
        ),
        refused("spec.telemetry.traces.endpoint", COLLECTOR, traces(json!({ "endpoint": "collector:4318" }))),
        refused("spec.telemetry.traces.endpoint", COLLECTOR, traces(json!({ "endpoint": "ftp://collector" }))),
        refused("spec.telemetry.traces.endpoint", NO_MORE, traces(json!({ "endpoint": "http://user@collector:4318" }))),
        refused("spec.telemetry.traces.endpoint", NO_MORE, traces(json!({ "endpoint": "http://collector:4318?token=x" }))),
        refused("spec.telemetry.traces.endpoint", NO_MORE, traces(json!({ "endpoint": "http://collector/$(DATABASE_URL)" }))),
        refused("spec.telemetry.traces.samplingRatio", "less than or equal to 1", traces(json!({ "samplingRatio": 1.5 }))),
        refused("spec.telemetry.traces.headersSecretRef.name", OBJECT_NAME, traces(json!({ "headersSecretRef": { "name": "A" } }))),
        refused("spec.telemetry.traces.headersSecretRef.key", KEY, traces(json!({ "headersSecretRef": { "name": "a", "key": "a b" } }))),
        refused("spec.image", "an image has no spaces in it", spec(json!({ "image": "core:1 --debug" }))),
        refused("spec.imagePullSecrets[1].name", OBJECT_NAME, spec(json!({ "imagePullSecrets": [{ "name": "a" }, { "name": "A" }] }))),
        refused("spec.database.urlSecretRef.name", OBJECT_NAME, spec(json!({ "database": { "urlSecretRef": { "name": "main/db" } } }))),
        refused("spec.database.urlSecretRef.name", OBJECT_NAME, spec(json!({ "database": { "urlSecretRef": { "name": "" } } }))),
        refused("spec.database.urlSecretRef.key", KEY, spec(json!({ "database": { "urlSecretRef": { "key": "" } } }))),
        refused("spec.database.urlSecretRef.key", KEY, spec(json!({ "database": { "urlSecretRef": { "key": "the url" } } }))),
        refused(
            "spec.plugins.selector.matchLabels",
            LABEL_KEY,
            spec(json!({ "plugins": { "selector": { "matchLabels": { "a b": "" } } } })),
        ),
        refused(
            "spec.plugins.selector.matchLabels",
            LABEL_VALUE,
            spec(json!({ "plugins": { "selector": { "matchLabels": { "a": "b c" } } } })),
        ),
        refused(
            "spec.plugins.selector.matchExpressions[0].key",
            "must be a label key like",
            requirement(json!({ "key": "a b", "operator": "Exists" })),
        ),
        refused(
            "spec.plugins.selector.matchExpressions[0].values[1]",
            LABEL_VALUE,
            requirement(json!({ "key": "a", "operator": "In", "values": ["b", "c d"] })),
        ),
        refused("spec.plugins.selector.matchExpressions[0]", VALUES, requirement(json!({ "key": "a", "operator": "In" }))),
        refused("spec.plugins.selector.matchExpressions[0]", VALUES, requirement(json!({ "key": "a", "operator": "NotIn", "values": [] }))),
        refused(
            "spec.plugins.selector.matchExpressions[0]",
            VALUES,
            requirement(json!({ "key": "a", "operator": "Exists", "values": ["b"] })),
        ),
        refused("spec.resources.limits", QUANTITY, spec(json!({ "resources": { "limits": { "cpu": "many" } } }))),
        refused("spec.resources.requests", QUANTITY, spec(json!({ "resources": { "requests": { "memory": "64 MB" } } }))),
        refused(
            "spec.resources",
            "a request must not be above the limit",
            spec(json!({ "resources": { "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } } })),
        ),
        refused(
            "spec.resources",
            "a request must not be above the limit",
            spec(json!({ "resources": { "requests": { "cpu": 2 }, "limits": { "cpu": "1500m" } } })),
        ),
        refused("spec.podTemplate.labels", LABEL_KEY, pod_template(json!({ "labels": { "-a": "b" } }))),
        refused("spec.podTemplate.labels", LABEL_VALUE, pod_template(json!({ "labels": { "a": "-" } }))),
        refused("spec.podTemplate.labels", RESERVED_LABEL, pod_template(json!({ "labels": { "app.kubernetes.io/instance": "x" } }))),
        refused("spec.podTemplate.labels", RESERVED_LABEL, pod_template(json!({ "labels": { "checkstack.io/set": "x" } }))),
        refused("spec.podTemplate.annotations", LABEL_KEY, pod_template(json!({ "annotations": { "a/b/c": "" } }))),
        refused("spec.podTemplate.annotations", RESERVED_ANNOTATION, pod_template(json!({ "annotations": { "checkstack.io/x": "" } }))),
        refused("spec.podTemplate.nodeSelector", LABEL_KEY, pod_template(json!({ "nodeSelector": { "a b": "" } }))),
        refused("spec.podTemplate.nodeSelector", LABEL_VALUE, pod_template(json!({ "nodeSelector": { "a": "ä" } }))),
        refused(
            "spec.podTemplate.priorityClassName",
            "must be the name of a PriorityClass",
            pod_template(json!({ "priorityClassName": "High Priority" })),
        ),
        refused("spec.podTemplate.env[0].name", "must be the name of an environment variable", environment(json!({ "name": "1A" }))),
        refused("spec.podTemplate.env[0].name", OURS, environment(json!({ "name": "DATABASE_URL", "value": "x" }))),
        refused("spec.podTemplate.env[0].name", OURS, environment(json!({ "name": "CHECKSTACK_KEYS_DIR", "value": "/tmp" }))),
        refused(
            "spec.podTemplate.env[0]",
            "set value or valueFrom, not both",
            environment(json!({ "name": "A", "value": "x", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } })),
        ),
        refused("spec.podTemplate.env[0].valueFrom", ONE_SOURCE, environment(json!({ "name": "A", "valueFrom": {} }))),
        refused(
            "spec.podTemplate.env[0].valueFrom",
            ONE_SOURCE,
            environment(json!({ "name": "A", "valueFrom": {
                "secretKeyRef": { "name": "a", "key": "b" }, "configMapKeyRef": { "name": "a", "key": "b" },
            } })),
        ),
        refused("spec.service.annotations", LABEL_KEY, spec(json!({ "service": { "annotations": { "a b": "" } } }))),
        refused("spec.service.annotations", RESERVED_ANNOTATION, spec(json!({ "service": { "annotations": { "checkstack.io/a": "" } } }))),
        refused("spec.service.labels", LABEL_KEY, spec(json!({ "service": { "labels": { "a b": "" } } }))),
        refused("spec.service.labels", LABEL_VALUE, spec(json!({ "service": { "labels": { "a": "b c" } } }))),
        refused("spec.service.labels", RESERVED_LABEL, spec(json!({ "service": { "labels": { "app.kubernetes.io/name": "x" } } }))),
        refused(
            "spec.networkPolicy",
            "ingressFrom has no effect without enabled: true",
            spec(json!({ "networkPolicy": { "ingressFrom": [{ "podSelector": {} }] } })),
        ),
        refused("spec.networkPolicy.ingressFrom[0]", PEER, peer(json!({}))),
        refused("spec.networkPolicy.ingressFrom[0]", PEER, peer(json!({ "ipBlock": { "cidr": "10.0.0.0/8" }, "podSelector": {} }))),
        refused("spec.networkPolicy.ingressFrom[0].ipBlock.cidr", RANGE, peer(json!({ "ipBlock": { "cidr": "10.0.0.0" } }))),
        refused(
            "spec.networkPolicy.ingressFrom[0].ipBlock.except[0]",
            RANGE,
            peer(json!({ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1"] } })),
        ),
        refused(
            "spec.podDisruptionBudget",
            "set minAvailable or maxUnavailable, not both",
            spec(json!({ "podDisruptionBudget": { "minAvailable": 1, "maxUnavailable": 1 } })),
        ),
        refused("spec.podDisruptionBudget.minAvailable", COUNT, spec(json!({ "podDisruptionBudget": { "minAvailable": -1 } }))),
        refused("spec.podDisruptionBudget.minAvailable", COUNT, spec(json!({ "podDisruptionBudget": { "minAvailable": "101%" } }))),
        refused("spec.podDisruptionBudget.maxUnavailable", COUNT, spec(json!({ "podDisruptionBudget": { "maxUnavailable": "one" } }))),
    ]
}

#[tokio::test]
async fn every_rule_refuses_with_its_own_words() {
    let rows = rules();
    assert_every_rule_has_a_row("Checkstack", &rows.iter().collect::<Vec<_>>());
    assert_refused::<Checkstack>(&good(), &rows).await;
}

#[tokio::test]
async fn bounds_and_types_are_kept() {
    let too_many = |item: Value, count: usize| Value::Array(vec![item; count]);
    let rows = [
        refused("spec", "Required value", json!({ "spec": null })),
        refused("spec.database", "Required value", spec(json!({ "database": null }))),
        refused("spec.database.urlSecretRef", "Required value", spec(json!({ "database": { "urlSecretRef": null } }))),
        refused("spec.database.urlSecretRef.name", "Required value", spec(json!({ "database": { "urlSecretRef": { "name": null } } }))),
        refused("spec.replicas", "greater than or equal to 0", spec(json!({ "replicas": -1 }))),
        refused("spec.replicas", "less than or equal to 100", spec(json!({ "replicas": 101 }))),
        refused("spec.replicas", "must be of type integer", spec(json!({ "replicas": "2" }))),
        refused(
            "spec.imagePullPolicy",
            "supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            spec(json!({ "imagePullPolicy": "Often" })),
        ),
        refused("spec.imagePullSecrets[1]", "Duplicate value", spec(json!({ "imagePullSecrets": [{ "name": "a" }, { "name": "a" }] }))),
        refused(
            "spec.rollout.progressDeadlineSeconds",
            "greater than or equal to 10",
            spec(json!({ "rollout": { "progressDeadlineSeconds": 9 } })),
        ),
        refused(
            "spec.rollout.progressDeadlineSeconds",
            "less than or equal to 3600",
            spec(json!({ "rollout": { "progressDeadlineSeconds": 3601 } })),
        ),
        refused(
            "spec.rollout.strategy",
            "supported values: \"HotSwap\", \"Restart\"",
            spec(json!({ "rollout": { "strategy": "Recreate" } })),
        ),
        refused(
            "spec.plugins.rollback",
            "supported values: \"Automatic\", \"Manual\"",
            spec(json!({ "plugins": { "rollback": "Never" } })),
        ),
        refused(
            "spec.plugins.revisionHistoryLimit",
            "greater than or equal to 1",
            spec(json!({ "plugins": { "revisionHistoryLimit": 0 } })),
        ),
        refused(
            "spec.plugins.revisionHistoryLimit",
            "less than or equal to 100",
            spec(json!({ "plugins": { "revisionHistoryLimit": 101 } })),
        ),
        refused(
            "spec.podTemplate.terminationGracePeriodSeconds",
            "greater than or equal to 10",
            pod_template(json!({ "terminationGracePeriodSeconds": 9 })),
        ),
        refused(
            "spec.podTemplate.tolerations",
            "must have at most 32 items",
            pod_template(json!({ "tolerations": too_many(json!({}), 33) })),
        ),
        refused(
            "spec.podTemplate.tolerations[0].effect",
            "Unsupported value",
            pod_template(json!({ "tolerations": [{ "effect": "Never" }] })),
        ),
        refused(
            "spec.podTemplate.topologySpreadConstraints[0].maxSkew",
            "greater than or equal to 1",
            pod_template(
                json!({ "topologySpreadConstraints": [{ "maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule" }] }),
            ),
        ),
        refused(
            "spec.podTemplate.env[1]",
            "Duplicate value",
            pod_template(json!({ "env": [{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }] })),
        ),
        refused(
            "spec.plugins.selector.matchExpressions[0].operator",
            "Unsupported value",
            requirement(json!({ "key": "a", "operator": "Gt" })),
        ),
        refused(
            "spec.service.type",
            "supported values: \"ClusterIP\", \"NodePort\", \"LoadBalancer\"",
            spec(json!({ "service": { "type": "ExternalName" } })),
        ),
        refused(
            "spec.signIn.sessionLifetimeSeconds",
            "greater than or equal to 60",
            spec(json!({ "signIn": { "sessionLifetimeSeconds": 59 } })),
        ),
        refused(
            "spec.signIn.oidc.groupRoles[1]",
            "Duplicate value",
            oidc(json!({ "groupRoles": [{ "group": "ops", "roles": ["a"] }, { "group": "ops", "roles": ["b"] }] })),
        ),
        refused("spec.signIn.oidc.name", "should be at least 1 chars long", oidc(json!({ "name": "" }))),
        refused("spec.service.port", "greater than or equal to 1", spec(json!({ "service": { "port": 0 } }))),
        refused("spec.service.port", "less than or equal to 65535", spec(json!({ "service": { "port": 65536 } }))),
    ];
    assert_refused::<Checkstack>(&good(), &rows).await;
}
