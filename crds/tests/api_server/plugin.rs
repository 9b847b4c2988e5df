//! Good and bad plugins.

use checkstack_crds::CheckstackPlugin;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Error};
use serde_json::{Value, json};

use crate::control_plane::Sandbox;
use crate::refusal::{Refused, assert_accepted, assert_every_rule_has_a_row, assert_refused, causes, changed, refused};

const SHA512: &str = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
const SHA384: &str = "sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb";
const SHA256: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

pub fn good() -> Value {
    json!({
        "apiVersion": "checkstack.io/v1alpha1",
        "kind": "CheckstackPlugin",
        "metadata": { "name": "uptime" },
        "spec": {
            "instanceRef": { "name": "main" },
            "source": { "tarball": { "url": "https://plugins.example.com/uptime-1.2.0.tgz" } },
        },
    })
}

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

fn tarball(change: Value) -> Value {
    spec(json!({ "source": { "tarball": change } }))
}

fn url(url: &str) -> Value {
    tarball(json!({ "url": url }))
}

fn origin(origin: &str) -> Value {
    spec(json!({ "grants": { "http": { "allow": [origin] } } }))
}

fn memory(memory: &str) -> Value {
    spec(json!({ "grants": { "memory": memory } }))
}

fn deadline(deadline: &str) -> Value {
    spec(json!({ "grants": { "deadline": deadline } }))
}

fn config_from(source: Value) -> Value {
    spec(json!({ "configFrom": [source] }))
}

/// Everything that an admin may write, once.
pub fn full() -> Value {
    spec(json!({
        "source": { "tarball": { "url": "http://10.0.0.7:8080/a/b.tgz?x=1", "secretHeadersRef": { "name": "registry-headers" } } },
        "integrity": SHA512,
        "enabled": false,
        "critical": true,
        "config": { "targets": [{ "url": "https://a", "every": 3 }], "nested": { "anything": [1, "b", null, { "c": true }] } },
        "configVersion": 3,
        "configFrom": [
            { "secretRef": { "name": "all" } },
            { "secretRef": { "name": "one", "key": "token" } },
            { "secretRef": { "name": "one", "key": "other-token" }, "as": "otherToken" },
        ],
        "grants": {
            "http": { "allow": ["https://api.example.com", "http://*.example.com:8080"], "allowCidrs": ["127.0.0.0/8", "::1/128"] },
            "database": true,
            "secrets": ["smtp-password", "API_KEY"],
            "memory": "128Mi",
            "deadline": "500ms",
        },
        "deletionPolicy": "Purge",
    }))
}

#[tokio::test]
async fn good_plugins_are_accepted() {
    let mut changes = vec![
        json!({}),
        full(),
        tarball(json!({ "url": null, "configMapRef": { "name": "packages", "key": "uptime-1.2.0.tgz" } })),
        spec(json!({ "integrity": SHA384 })),
        spec(json!({ "integrity": SHA256 })),
    ];
    changes.extend(["http://localhost/x", "https://[fd00::7]:8443/x.tgz", "https://example.com/@scope/x.tgz?mail=a@b"].map(url));
    changes.extend(["1Mi", "1024Ki", "64Mi", "1Gi", "1024Mi"].map(memory));
    changes.extend(["100ms", "1s", "30s", "30000ms"].map(deadline));
    changes.extend(
        [
            "http://localhost",
            "https://1password.com",
            "https://a-b.c--d.example:443",
            "https://*.example",
            "http://10.0.0.7",
            "http://10.0.0.7:65535",
            "https://[fd00::7]",
            "https://[::1]:1",
        ]
        .map(origin),
    );
    assert_accepted::<CheckstackPlugin>(&good(), changes).await;
}

/// One row at least for each rule of the schema that a new object can break.
fn rules() -> Vec<Refused> {
    const OBJECT_NAME: &str = "must be the name of an object in this namespace";
    const KEY: &str = "must be a key of a Secret or ConfigMap";
    const INTEGRITY: &str = "must be sha256-, sha384- or sha512- followed by the digest in base64";
    const URL: &str = "must be an absolute URL that begins with http:// or https://";
    const ORIGIN: &str = "must be scheme://host or scheme://host:port";
    const ORIGIN_ADDRESS: &str = "what is in brackets must be an IPv6 address";
    const ORIGIN_PORT: &str = "the port must be from 1 to 65535";
    const RANGE: &str = "must be an address range like 10.0.0.0/8";
    const MEMORY: &str = "must be a whole number with Ki, Mi or Gi, from 1Mi to 1Gi";
    const DEADLINE: &str = "must be a whole number with ms or s, from 100ms to 30s";
    let mut rows = vec![
        refused("spec.instanceRef.name", OBJECT_NAME, spec(json!({ "instanceRef": { "name": "Main" } }))),
        refused("spec.source", "exactly one source is needed", spec(json!({ "source": { "tarball": null } }))),
        refused("spec.source.tarball", "set exactly one of url and configMapRef", tarball(json!({ "url": null }))),
        refused(
            "spec.source.tarball",
            "set exactly one of url and configMapRef",
            tarball(json!({ "configMapRef": { "name": "packages", "key": "x.tgz" } })),
        ),
        refused(
            "spec.source.tarball",
            "secretHeadersRef is for requests to url",
            tarball(json!({ "url": null, "configMapRef": { "name": "a", "key": "b" }, "secretHeadersRef": { "name": "c" } })),
        ),
        refused("spec.source.tarball.url", "must not hold a user or password", url("https://user:secret@example.com/x.tgz")),
        refused("spec.source.tarball.url", "must not hold a user or password", url("https://user@example.com")),
        refused("spec.source.tarball.secretHeadersRef.name", OBJECT_NAME, tarball(json!({ "secretHeadersRef": { "name": "a_b" } }))),
        refused(
            "spec.source.tarball.configMapRef.name",
            OBJECT_NAME,
            tarball(json!({ "url": null, "configMapRef": { "name": "-a", "key": "x.tgz" } })),
        ),
        refused(
            "spec.source.tarball.configMapRef.key",
            KEY,
            tarball(json!({ "url": null, "configMapRef": { "name": "a", "key": "a/x.tgz" } })),
        ),
        refused("spec.configFrom[0].secretRef.name", OBJECT_NAME, config_from(json!({ "secretRef": { "name": "a b" } }))),
        refused("spec.configFrom[0].secretRef.key", KEY, config_from(json!({ "secretRef": { "name": "a", "key": "b c" } }))),
        refused(
            "spec.configFrom[0]",
            "as names the field for one key of the Secret",
            config_from(json!({ "secretRef": { "name": "a" }, "as": "b" })),
        ),
        refused(
            "spec.configFrom[0].as",
            "must be the name of a config field",
            config_from(json!({ "secretRef": { "name": "a", "key": "b" }, "as": "1st" })),
        ),
        refused(
            "spec.grants.secrets",
            "every name has only letters, digits, '_' and '-'",
            spec(json!({ "grants": { "secrets": ["smtp", "tls.crt"] } })),
        ),
        refused("spec.grants.http.allowCidrs[0]", RANGE, spec(json!({ "grants": { "http": { "allowCidrs": ["127.0.0.1"] } } }))),
    ];
    let truncated = &SHA512[..SHA512.len() - 3];
    let rows_of = |field, message, make: fn(&str) -> Value, values: &[&str]| {
        values.iter().map(|value| refused(field, message, make(value))).collect::<Vec<_>>()
    };
    rows.extend(rows_of(
        "spec.integrity",
        INTEGRITY,
        |text| spec(json!({ "integrity": text })),
        &[
            "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            truncated,
            "SHA256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ],
    ));
    rows.extend(rows_of(
        "spec.source.tarball.url",
        URL,
        url,
        &["example.com/x.tgz", "ftp://example.com/x.tgz", "file:///etc/passwd", "https://", "/x.tgz"],
    ));
    rows.extend(rows_of(
        "spec.grants.http.allow[0]",
        ORIGIN,
        origin,
        &[
            "api.example.com",
            "*",
            "https://*",
            "ftp://example.com",
            "https://Example.com",
            "https://example.com/",
            "https://example.com/path",
            "https://user@example.com",
            "https://a.*.example.com",
            "https://*example.com",
            "https://*.10.0.0.7",
            "https://example.com.",
            "https://-a.example.com",
            "https://example.123",
            "https://fd00::7",
            "http://10.0.0.256",
            "http://010.0.0.1",
            "http://10.1",
            "http://[10.0.0.7]",
            "http://[fd00::7%eth0]",
        ],
    ));
    rows.extend(rows_of(
        "spec.grants.http.allow[0]",
        ORIGIN_ADDRESS,
        origin,
        &["http://[fd00:::7]:80", "http://[1:2:3]", "http://[1:2::3:10.0.0.256]"],
    ));
    rows.extend(rows_of(
        "spec.grants.http.allow[0]",
        ORIGIN_PORT,
        origin,
        &["http://a:0", "http://a:65536", "http://a:99999", "http://a:080"],
    ));
    rows.extend(rows_of(
        "spec.grants.memory",
        MEMORY,
        memory,
        &["1023Ki", "1025Mi", "2Gi", "64", "64M", "64mi", "1.5Mi", "-64Mi", "99999999999Ki", ""],
    ));
    rows.extend(rows_of(
        "spec.grants.deadline",
        DEADLINE,
        deadline,
        &["99ms", "31s", "30001ms", "2", "1m", "1.5s", "-2s", "1s500ms", "999999999s", ""],
    ));
    rows
}

/// Refused only when an object is changed: see `the_instance_of_a_plugin_stays`.
fn transition_rules() -> Vec<Refused> {
    vec![refused("spec.instanceRef", "instanceRef cannot be changed", spec(json!({ "instanceRef": { "name": "other" } })))]
}

#[tokio::test]
async fn every_rule_refuses_with_its_own_words() {
    let (rows, transitions) = (rules(), transition_rules());
    assert_every_rule_has_a_row("CheckstackPlugin", &rows.iter().chain(&transitions).collect::<Vec<_>>());
    assert_refused::<CheckstackPlugin>(&good(), &rows).await;
}

#[tokio::test]
async fn the_instance_of_a_plugin_stays() {
    let sandbox = Sandbox::new().await;
    let api: Api<CheckstackPlugin> = Api::namespaced(sandbox.client.clone(), &sandbox.namespace);
    api.create(&PostParams::default(), &serde_json::from_value(good()).unwrap()).await.unwrap();
    for Refused { change, field, message } in transition_rules() {
        match api.patch("uptime", &PatchParams::default(), &Patch::Merge(&change)).await {
            Err(Error::Api(refusal)) => {
                let causes = causes(&refusal);
                assert!(causes.len() == 1 && causes[0].field == field && causes[0].message.contains(message), "{}", refusal.message);
            }
            other => panic!("{change} gives {other:?}"),
        }
    }
    // Everything else may change.
    let change = full();
    let after = api.patch("uptime", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    assert_eq!(after.spec, serde_json::from_value::<CheckstackPlugin>(changed(&good(), &change)).unwrap().spec);
}

#[tokio::test]
async fn bounds_and_types_are_kept() {
    let many = |count: usize, make: fn(usize) -> Value| Value::Array((0..count).map(make).collect());
    let rows = [
        refused("spec.instanceRef", "Required value", spec(json!({ "instanceRef": null }))),
        refused("spec.source", "Required value", spec(json!({ "source": null }))),
        refused("spec.source.tarball.configMapRef.key", "Required value", tarball(json!({ "url": null, "configMapRef": { "name": "a" } }))),
        refused("spec.config", "must be of type object", spec(json!({ "config": "text" }))),
        refused("spec.config", "must be of type object", spec(json!({ "config": [1] }))),
        refused("spec.configVersion", "greater than or equal to 1", spec(json!({ "configVersion": 0 }))),
        refused("spec.configVersion", "less than or equal to 1000000", spec(json!({ "configVersion": 1_000_001 }))),
        refused("spec.enabled", "must be of type boolean", spec(json!({ "enabled": "yes" }))),
        refused("spec.deletionPolicy", "supported values: \"Retain\", \"Purge\"", spec(json!({ "deletionPolicy": "Delete" }))),
        refused("spec.configFrom[0].secretRef", "Required value", config_from(json!({}))),
        refused(
            "spec.configFrom",
            "must have at most 16 items",
            spec(json!({ "configFrom": many(17, |index| json!({ "secretRef": { "name": format!("s{index}") } })) })),
        ),
        refused("spec.grants.memory", "must be of type string", spec(json!({ "grants": { "memory": 67108864 } }))),
        refused(
            "spec.grants.http.allow",
            "must have at most 64 items",
            spec(json!({ "grants": { "http": { "allow": many(65, |index| json!(format!("https://a{index}"))) } } })),
        ),
        refused(
            "spec.grants.http.allow[1]",
            "Duplicate value",
            spec(json!({ "grants": { "http": { "allow": ["https://a", "https://a"] } } })),
        ),
        refused("spec.source.tarball.url", "may not be more than 2048", url(&format!("https://example.com/{}", "a".repeat(2048)))),
    ];
    assert_refused::<CheckstackPlugin>(&good(), &rows).await;
}
