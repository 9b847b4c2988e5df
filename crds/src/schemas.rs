//! Schemas of fields whose Rust type comes from Kubernetes or is a plain list or map.
//!
//! `k8s-openapi` gives a schema without bounds and without rules, because Kubernetes checks its own
//! types in code. Here they get both: an admin learns of a mistake when applying, and not from a
//! Deployment that the API server refuses later.

use k8s_openapi::api::core::v1::{Affinity, EnvVar, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::finish::subschemas;

/// Upper limits of lists and maps inside types of Kubernetes.
const MAX_ITEMS: u32 = 32;
const MAX_PROPERTIES: u32 = 64;

/// A rule in the notation of the API server.
fn rule(expression: &str, message: &str) -> Value {
    json!({ "rule": expression, "message": message })
}

/// The schema of a type of Kubernetes, with an upper limit for every list and map in it.
fn bounded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    bound(&mut schema);
    schema
}

fn bound(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if object.contains_key("items") {
        object.entry("maxItems").or_insert(MAX_ITEMS.into());
    }
    if object.contains_key("additionalProperties") {
        object.entry("maxProperties").or_insert(MAX_PROPERTIES.into());
    }
    // The description of a quantity alone is 50 lines, and it occurs in every selector.
    if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        object.remove("description");
    }
    subschemas(object).for_each(bound);
}

/// Puts keywords into the schema of a property, where there is that property.
fn extend(schema: &mut Value, path: &str, keywords: Value) {
    if let (Some(Value::Object(target)), Value::Object(keywords)) = (schema.pointer_mut(path), keywords) {
        target.extend(keywords);
    }
}

fn object_schema(value: Value) -> Schema {
    // Every caller passes an object; `true`, the schema that accepts all, would fail the tests.
    Schema::try_from(value).unwrap_or_default()
}

fn list_of(items: Value, max_items: u32) -> Schema {
    json_schema!({ "type": "array", "maxItems": max_items, "items": items })
}

const LABEL_KEYS: &str = "self.all(key, !format.qualifiedName().validate(key).hasValue())";
const LABEL_KEYS_MESSAGE: &str =
    "every key must be like 'example.com/name' or 'name': letters, digits, '-', '_' and '.', at most 63 characters";
const LABEL_VALUES: &str = "self.all(key, !format.labelValue().validate(self[key]).hasValue())";
const LABEL_VALUES_MESSAGE: &str =
    "every value must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";
const NOT_OURS: &str = "self.all(key, !key.startsWith('checkstack.io/') && !(key in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))";
const NOT_OURS_MESSAGE: &str = "the operator sets app.kubernetes.io/name, instance, component, managed-by and everything below checkstack.io/ itself: choose other keys";

/// Labels of an object that the operator owns.
pub(crate) fn extra_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": [
            rule(LABEL_KEYS, LABEL_KEYS_MESSAGE),
            rule(LABEL_VALUES, LABEL_VALUES_MESSAGE),
            rule(NOT_OURS, NOT_OURS_MESSAGE),
        ],
    })
}

/// Annotations of an object that the operator owns.
pub(crate) fn extra_annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
        "x-kubernetes-validations": [
            rule("self.all(key, !format.qualifiedName().validate(key.lowerAscii()).hasValue())", LABEL_KEYS_MESSAGE),
            rule("self.all(key, !key.startsWith('checkstack.io/'))", "keys below checkstack.io/ belong to the operator: choose other keys"),
        ],
    })
}

/// Labels that a node must have.
pub(crate) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [rule(LABEL_KEYS, LABEL_KEYS_MESSAGE), rule(LABEL_VALUES, LABEL_VALUES_MESSAGE)],
    })
}

/// A label selector, checked.
pub(crate) fn label_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = bounded::<LabelSelector>(generator);
    extend(&mut schema, "", json!({ "x-kubernetes-map-type": "atomic" }));
    extend(
        &mut schema,
        "/properties/matchLabels",
        json!({
            "additionalProperties": { "type": "string", "maxLength": 63 },
            "x-kubernetes-validations": [rule(LABEL_KEYS, LABEL_KEYS_MESSAGE), rule(LABEL_VALUES, LABEL_VALUES_MESSAGE)],
        }),
    );
    let requirement = "/properties/matchExpressions/items";
    extend(&mut schema, &format!("{requirement}/properties/operator"), json!({ "enum": ["In", "NotIn", "Exists", "DoesNotExist"] }));
    extend(
        &mut schema,
        &format!("{requirement}/properties/key"),
        json!({
            "maxLength": 317,
            "x-kubernetes-validations": [rule("!format.qualifiedName().validate(self).hasValue()", "must be a label key like 'example.com/name' or 'name'")],
        }),
    );
    extend(
        &mut schema,
        &format!("{requirement}/properties/values/items"),
        json!({ "maxLength": 63, "x-kubernetes-validations": [rule("!format.labelValue().validate(self).hasValue()", LABEL_VALUES_MESSAGE)] }),
    );
    extend(
        &mut schema,
        requirement,
        json!({ "x-kubernetes-validations": [rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "In and NotIn need values; Exists and DoesNotExist must have none",
        )] }),
    );
    object_schema(schema)
}

/// What a container asks for and may use. Claims are left out: they need a pod with resource claims.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    let amounts = |description: &str| {
        json!({
            "description": description,
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": { "x-kubernetes-int-or-string": true, "maxLength": 32 },
            "x-kubernetes-validations": [rule(
                "self.all(name, isQuantity(string(self[name])))",
                "every amount must be a Kubernetes quantity, like 500m, 2 or 256Mi",
            )],
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "limits": amounts("What the container may use at most."),
            "requests": amounts("What is reserved for the container on its node."),
        },
        "x-kubernetes-validations": [rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || !isQuantity(string(self.requests[name])) || !isQuantity(string(self.limits[name])) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
            "a request must not be above the limit of the same name: raise the limit or lower the request",
        )],
    })
}

/// Environment variables besides those that the operator sets.
pub(crate) fn extra_environment(generator: &mut SchemaGenerator) -> Schema {
    let mut variable = bounded::<EnvVar>(generator);
    extend(
        &mut variable,
        "/properties/name",
        json!({
            "minLength": 1,
            "maxLength": 256,
            "x-kubernetes-validations": [
                rule("self.matches('^[-._a-zA-Z][-._a-zA-Z0-9]*$')", "must be the name of an environment variable: letters, digits, '_', '-' and '.', not beginning with a digit"),
                rule(
                    "self in ['CHECKSTACK_CACHE_BYTES', 'CHECKSTACK_DATABASE_CONNECTIONS', 'CHECKSTACK_LOG', 'CHECKSTACK_LOG_FORMAT'] || !(self.startsWith('CHECKSTACK_') || self == 'DATABASE_URL')",
                    "the operator sets this variable itself: of those beginning with CHECKSTACK_ only CHECKSTACK_CACHE_BYTES, CHECKSTACK_DATABASE_CONNECTIONS, CHECKSTACK_LOG and CHECKSTACK_LOG_FORMAT are yours, and the database is set by spec.database",
                ),
            ],
        }),
    );
    extend(&mut variable, "/properties/value", json!({ "maxLength": 32768 }));
    extend(
        &mut variable,
        "",
        json!({ "x-kubernetes-validations": [rule("!(has(self.value) && self.value != '' && has(self.valueFrom))", "set value or valueFrom, not both")] }),
    );
    extend(
        &mut variable,
        "/properties/valueFrom",
        json!({ "x-kubernetes-validations": [rule(
            "[has(self.configMapKeyRef), has(self.fieldRef), has(self.resourceFieldRef), has(self.secretKeyRef)].filter(set, set).size() == 1",
            "set exactly one of configMapKeyRef, fieldRef, resourceFieldRef and secretKeyRef",
        )] }),
    );
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": variable,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

/// Taints that the pods tolerate.
pub(crate) fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    let mut toleration = bounded::<Toleration>(generator);
    extend(&mut toleration, "/properties/effect", json!({ "enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"] }));
    extend(&mut toleration, "/properties/operator", json!({ "enum": ["", "Equal", "Exists"] }));
    list_of(toleration, MAX_ITEMS)
}

/// Rules for the choice of nodes.
pub(crate) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    object_schema(bounded::<Affinity>(generator))
}

/// Rules for spreading pods over nodes and zones.
pub(crate) fn topology_spread(generator: &mut SchemaGenerator) -> Schema {
    let mut constraint = bounded::<TopologySpreadConstraint>(generator);
    extend(&mut constraint, "/properties/whenUnsatisfiable", json!({ "enum": ["DoNotSchedule", "ScheduleAnyway"] }));
    extend(&mut constraint, "/properties/maxSkew", json!({ "minimum": 1 }));
    list_of(constraint, 8)
}

/// Who may open connections.
pub(crate) fn network_peers(generator: &mut SchemaGenerator) -> Schema {
    let mut peer = bounded::<NetworkPolicyPeer>(generator);
    extend(
        &mut peer,
        "",
        json!({ "x-kubernetes-validations": [rule(
            "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
            "set either ipBlock, or podSelector and namespaceSelector",
        )] }),
    );
    let range = rule("isCIDR(self)", "must be an address range like 10.0.0.0/8 or fd00::/8");
    extend(&mut peer, "/properties/ipBlock/properties/cidr", json!({ "maxLength": 64, "x-kubernetes-validations": [range] }));
    extend(
        &mut peer,
        "/properties/ipBlock/properties/except/items",
        json!({ "maxLength": 64, "x-kubernetes-validations": [rule("isCIDR(self)", "must be an address range like 10.0.0.0/8 or fd00::/8")] }),
    );
    list_of(peer, MAX_ITEMS)
}

/// A number of pods, or a share of them.
pub(crate) fn pod_count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 4,
        "x-kubernetes-validations": [rule(
            "type(self) == int ? self >= 0 : self.matches('^(100|[1-9]?[0-9])%$')",
            "must be a number of pods, 0 or more, or a percentage like 50%",
        )],
    })
}

/// `metav1.Condition` by type.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut condition = bounded::<Condition>(generator);
    extend(&mut condition, "/properties/status", json!({ "enum": ["True", "False", "Unknown"] }));
    extend(&mut condition, "/properties/type", json!({ "maxLength": 316 }));
    extend(&mut condition, "/properties/reason", json!({ "minLength": 1, "maxLength": 1024 }));
    extend(&mut condition, "/properties/message", json!({ "maxLength": 32768 }));
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// A host name whose last label begins with a letter, so that it is no address, perhaps after `*.`.
const NAME: &str = "([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?";
/// An IPv4 address, or what may be an IPv6 address in brackets.
const ADDRESS: &str =
    "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|[[][0-9a-f.]*:[0-9a-f:.]*[]]";
const PORT: &str = "!self.matches(':[0-9]{1,5}$') || self.matches(':([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$')";
const PORT_MESSAGE: &str = "the port must be from 1 to 65535, without leading zeros";
const ORIGIN_MESSAGE: &str = "must be scheme://host or scheme://host:port with http or https, in lower case and without a path; a host name may begin with '*.': https://api.example.com, https://*.example.com:8443";

/// Origins that a plugin may call.
pub(crate) fn origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 270,
            "x-kubernetes-validations": [
                rule(&format!("self.matches('^https?://({NAME}|{ADDRESS})(:[0-9]{{1,5}})?$')"), ORIGIN_MESSAGE),
                // Not by url(): what it costs cannot be estimated, and the API server then refuses the rule.
                rule(
                    "!self.matches('^https?://[[][0-9a-f.]*:[0-9a-f:.]*[]](:[0-9]{1,5})?$') || isIP(self.substring(self.indexOf('[') + 1, self.indexOf(']')))",
                    "what is in brackets must be an IPv6 address, like http://[fd00::7]:8080",
                ),
                rule(PORT, PORT_MESSAGE),
            ],
        },
    })
}

/// An origin of pages in browsers.
pub(crate) fn web_origin(_: &mut SchemaGenerator) -> Schema {
    object_schema(web_origin_schema())
}

/// Origins of pages in browsers.
pub(crate) fn web_origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 32, "x-kubernetes-list-type": "set", "items": web_origin_schema() })
}

fn web_origin_schema() -> Value {
    json!({
        "type": "string",
        "maxLength": 270,
        "x-kubernetes-validations": [
            rule(
                "self.matches('^https?://([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*([a-z]([-a-z0-9]{0,61}[a-z0-9])?|[0-9]{1,3})(:[0-9]{1,5})?$')",
                "must be scheme://host or scheme://host:port with http or https, in lower case and without a path: https://checkstack.example.com",
            ),
            rule(PORT, PORT_MESSAGE),
        ],
    })
}

/// What an OpenID provider is asked to tell.
pub(crate) fn scopes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": [rule("'openid' in self", "must contain openid: without it, it is no OpenID Connect")],
        "items": {
            "type": "string",
            "maxLength": 128,
            "x-kubernetes-validations": [rule("self.matches('^[[:graph:]]+$')", "a scope has no spaces in it, and is not empty")],
        },
    })
}

/// Roles of an instance.
pub(crate) fn role_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 128,
            "x-kubernetes-validations": [
                rule("self.matches('^[A-Za-z0-9._-]+$')", "must be the id of a role: letters, digits, '.', '_' and '-'"),
            ],
        },
    })
}

/// Address ranges that a plugin may connect to although they are private to the machine.
pub(crate) fn address_ranges(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 64,
            "x-kubernetes-validations": [rule("isCIDR(self)", "must be an address range like 10.0.0.0/8 or fd00::/8; for one address write 10.0.0.7/32")],
        },
    })
}

/// Names of secrets of the instance.
pub(crate) fn secret_names(_: &mut SchemaGenerator) -> Schema {
    let mut schema = list_of(json!({ "type": "string", "minLength": 1, "maxLength": 128 }), 64);
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([rule("self.all(name, name.matches('^[A-Za-z0-9_-]+$'))", "every name has only letters, digits, '_' and '-'")]),
    );
    schema
}

/// Settings of a plugin: any object.
pub(crate) fn plugin_config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 256, "x-kubernetes-preserve-unknown-fields": true })
}
