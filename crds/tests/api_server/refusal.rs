//! Tables of good and bad objects.
//!
//! Each row changes a good object in one point (JSON merge patch). A bad row names the field and
//! the words of the refusal, and must be refused for that reason alone.

use std::collections::BTreeSet;

use checkstack_crds::definitions::definitions;
use kube::api::{DynamicObject, PostParams};
use kube::core::Status;
use kube::core::response::StatusCause;
use kube::{Api, CustomResourceExt, Error};
use serde_json::Value;

use crate::control_plane::Sandbox;

/// A change that makes a good object bad.
pub struct Refused {
    pub change: Value,
    pub field: &'static str,
    pub message: &'static str,
}

pub fn refused(field: &'static str, message: &'static str, change: Value) -> Refused {
    Refused { change, field, message }
}

/// An object with a change.
pub fn changed(good: &Value, change: &Value) -> Value {
    let mut object = good.clone();
    merge(&mut object, change);
    object
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(key);
            }
            value => merge(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

/// The API server's judgement of an object that is then not stored.
pub async fn judge<K: CustomResourceExt>(sandbox: &Sandbox, object: &Value) -> Result<DynamicObject, Status> {
    let api: Api<DynamicObject> = Api::namespaced_with(sandbox.client.clone(), &sandbox.namespace, &K::api_resource());
    let object = serde_json::from_value(object.clone()).unwrap();
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
        Ok(created) => Ok(created),
        Err(Error::Api(response)) => Err(*response),
        Err(other) => panic!("{other}"),
    }
}

/// Every change must be accepted.
pub async fn assert_accepted<K: CustomResourceExt>(good: &Value, changes: Vec<Value>) {
    let sandbox = Sandbox::new().await;
    for change in changes {
        if let Err(refusal) = judge::<K>(&sandbox, &changed(good, &change)).await {
            panic!("{change} is refused: {}", refusal.message);
        }
    }
}

/// Every change must be refused, for the reason of its row and for no other.
pub async fn assert_refused<K: CustomResourceExt>(good: &Value, rows: &[Refused]) {
    let sandbox = Sandbox::new().await;
    let mut surprises = Vec::new();
    for Refused { change, field, message } in rows {
        match judge::<K>(&sandbox, &changed(good, change)).await {
            Ok(_) => surprises.push(format!("{change}\n  is accepted")),
            Err(refusal) => {
                let causes = causes(&refusal);
                let expected = causes.len() == 1 && causes[0].field == *field && causes[0].message.contains(message);
                if !expected {
                    surprises.push(format!("{change}\n  expected {field}: {message}\n  but got  {}", refusal.message));
                }
            }
        }
    }
    assert!(surprises.is_empty(), "{} of {} rows:\n{}", surprises.len(), rows.len(), surprises.join("\n"));
}

/// What is wrong with the object, without what the API server adds to another cause: that it did
/// not look at rules, and that the scale subresource does not like `.spec.replicas` either.
pub fn causes(refusal: &Status) -> Vec<&StatusCause> {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    causes.filter(|cause| !cause.message.contains("some validation rules were not checked") && !cause.field.starts_with('.')).collect()
}

/// Every rule of a kind's `spec` must be the reason of at least one row.
pub fn assert_every_rule_has_a_row(kind: &str, rows: &[&Refused]) {
    let definition = definitions().unwrap().into_iter().find(|definition| definition.spec.names.kind == kind).unwrap();
    let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
    let mut rules = BTreeSet::new();
    collect_rules("", &schema["openAPIV3Schema"], &mut rules);
    assert!(rules.len() > 10, "the walk through the schema of {kind} finds only {rules:?}");
    let shown = rows.iter().map(|row| (without_indices(row.field), row.message)).collect::<BTreeSet<_>>();
    let missing = rules
        .iter()
        .filter(|(field, message)| !shown.iter().any(|(shown, text)| shown == field && message.contains(text)))
        .collect::<Vec<_>>();
    assert!(missing.is_empty(), "no row of the table is refused by: {missing:#?}");
}

fn collect_rules(path: &str, schema: &Value, rules: &mut BTreeSet<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_else(|| panic!("a rule of '{path}' has no message: {rule}"));
        rules.insert((path.to_owned(), message.to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let separator = if path.is_empty() { "" } else { "." };
        collect_rules(&format!("{path}{separator}{name}"), property, rules);
    }
    if schema["items"].is_object() {
        collect_rules(&format!("{path}[]"), &schema["items"], rules);
    }
    assert!(schema["additionalProperties"]["x-kubernetes-validations"].is_null(), "rules of map values have no path here: '{path}'");
}

/// `spec.list[3].field` → `spec.list[].field`.
fn without_indices(field: &str) -> String {
    if field == "<nil>" {
        return String::new(); // how the API server calls the whole object
    }
    let mut path = String::new();
    let mut inside = false;
    for character in field.chars() {
        inside &= character != ']';
        if !inside {
            path.push(character);
        }
        inside |= character == '[';
    }
    path
}
