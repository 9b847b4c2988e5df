//! Values that a schema gives to fields that are missing.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::description::resolve;

/// How many references in a row are followed. [`Schema::compile`] allows no more.
///
/// [`Schema::compile`]: checkstack_calls::schema::Schema::compile
const MAX_REFERENCES: usize = 64;

/// Puts the `default` of its schema wherever a field is missing, at any depth, also through references. Of alternatives
/// (`anyOf`, `oneOf`) only the one counts that the value can be one of by its type, its required fields and those that
/// have one value only; none when several are left. What was put in is taken as it is.
#[must_use]
pub fn apply_defaults(schema: &Value, mut value: Value) -> Value {
    apply(schema, vec![schema], &mut value);
    value
}

fn apply<'a>(root: &'a Value, schemas: Vec<&'a Value>, value: &mut Value) {
    let forms = forms(root, schemas, value);
    match value {
        Value::Object(fields) => apply_to_fields(root, &forms, fields),
        Value::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                let by_place = |form: &&'a Value| form.get("prefixItems").and_then(|places| places.get(index));
                let schemas = forms.iter().filter_map(|form| by_place(form).or_else(|| form.get("items")));
                apply(root, schemas.collect(), element);
            }
        }
        _ => {}
    }
}

fn apply_to_fields(root: &Value, forms: &[&Value], fields: &mut Map<String, Value>) {
    // What is there before anything is put in: a default is never the beginning of more of them.
    for (name, value) in fields.iter_mut() {
        let schemas =
            forms.iter().filter_map(|form| properties(form).and_then(|named| named.get(name)).or_else(|| form.get("additionalProperties")));
        apply(root, schemas.collect(), value);
    }
    for (name, schema) in forms.iter().filter_map(|form| properties(form)).flatten() {
        if !fields.contains_key(name)
            && let Some(default) = default(root, schema)
        {
            fields.insert(name.clone(), default.clone());
        }
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// Of the schema itself, or what it refers to.
fn default<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let mut schema = schema;
    for _ in 0..MAX_REFERENCES {
        if let Some(default) = schema.get("default") {
            return Some(default);
        }
        schema = resolve(root, schema.get("$ref")?.as_str()?)?;
    }
    None
}

/// The schemas that a value is of: these, what they refer to, all of their parts, and the one alternative. Each once: a
/// schema that has itself in two places would be looked at twice as often with each step into the value.
fn forms<'a>(root: &'a Value, mut pending: Vec<&'a Value>, value: &Value) -> Vec<&'a Value> {
    let mut seen = HashSet::new();
    let mut forms = Vec::new();
    // The last comes first: what is said next to a reference counts before what is referred to.
    pending.reverse();
    while let Some(form) = pending.pop() {
        if !seen.insert(std::ptr::from_ref(form)) {
            continue;
        }
        forms.push(form);
        pending.extend(form.get("$ref").and_then(Value::as_str).and_then(|reference| resolve(root, reference)));
        pending.extend(form.get("allOf").and_then(Value::as_array).into_iter().flatten());
        for keyword in ["anyOf", "oneOf"] {
            let alternatives = form.get(keyword).and_then(Value::as_array).into_iter().flatten();
            let mut possible = alternatives.filter(|alternative| can_be(root, alternative, value, MAX_REFERENCES));
            if let (Some(only), None) = (possible.next(), possible.next()) {
                pending.push(only);
            }
        }
    }
    forms
}

/// Whether nothing at the top of a schema speaks against a value.
fn can_be(root: &Value, schema: &Value, value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    let referred = schema.get("$ref").and_then(Value::as_str).and_then(|reference| resolve(root, reference));
    if referred.is_some_and(|referred| !can_be(root, referred, value, depth)) {
        return false;
    }
    let has_type = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number" | "integer") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => true,
    };
    let is_of_type = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(has_type),
        Some(name) => has_type(name),
        None => true,
    };
    let is_allowed = |schema: &Value, value: &Value| {
        schema.get("const").is_none_or(|only| only == value)
            && schema.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(value))
    };
    let property = |name: &str| schema.get("properties").and_then(|properties| properties.get(name));
    let has_fields = value.as_object().is_none_or(|fields| {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let is_there = |name: &str| fields.contains_key(name) || property(name).is_some_and(|schema| default(root, schema).is_some());
        required.into_iter().all(is_there)
            && fields.iter().all(|(name, value)| property(name).is_none_or(|schema| is_allowed(schema, value)))
    });
    is_of_type && is_allowed(schema, value) && has_fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_missing_gets_its_default() {
        let schema = json!({
            "properties": {
                "port": { "type": "integer", "default": 5432 },
                "tls": { "$ref": "#/$defs/tls" },
                "servers": { "items": { "$ref": "#/$defs/tls" } },
                "by_name": { "additionalProperties": { "$ref": "#/$defs/tls" } },
                "none": {},
            },
            "allOf": [{ "properties": { "host": { "default": "localhost" } } }],
            "$defs": { "tls": { "properties": { "verify": { "default": true } }, "default": { "verify": false } } },
        });
        let apply = |value| apply_defaults(&schema, value);
        assert_eq!(apply(json!({})), json!({ "port": 5432, "host": "localhost", "tls": { "verify": false } }), "a default stays as it is");
        let given = json!({ "port": null, "host": "a", "tls": {}, "servers": [{}, { "verify": 1 }], "by_name": { "x": {} } });
        let with = json!({
            "port": null, "host": "a", "tls": { "verify": true }, "servers": [{ "verify": true }, { "verify": 1 }],
            "by_name": { "x": { "verify": true } },
        });
        assert_eq!(apply(given), with);
        assert_eq!(apply(json!("other")), json!("other"));
    }

    #[test]
    fn of_alternatives_the_one_counts_that_it_can_be() {
        let schema = json!({ "anyOf": [
            { "type": "null" },
            { "type": "object", "properties": { "kind": { "const": "a" }, "x": { "default": 1 } }, "required": ["kind"] },
            { "type": "object", "properties": { "kind": { "const": "b" }, "x": { "default": 2 } }, "required": ["kind"] },
        ] });
        let apply = |value| apply_defaults(&schema, value);
        assert_eq!(apply(json!({ "kind": "a" })), json!({ "kind": "a", "x": 1 }));
        assert_eq!(apply(json!({ "kind": "b" })), json!({ "kind": "b", "x": 2 }));
        assert_eq!(apply(json!({ "kind": "c" })), json!({ "kind": "c" }));
        assert_eq!(apply(json!({})), json!({}));
        assert_eq!(apply(json!(null)), json!(null));
        let either = json!({ "oneOf": [{ "properties": { "x": { "default": 1 } } }, { "properties": { "x": { "default": 2 } } }] });
        assert_eq!(apply_defaults(&either, json!({})), json!({}), "nobody knows which");
    }

    #[test]
    fn the_work_does_not_double_with_each_step_into_the_value() {
        let child = json!({ "properties": { "a": { "$ref": "#" }, "b": { "default": 1 } } });
        let schema = json!({ "allOf": [child, child] });
        let deep = (0..60).fold(json!({}), |inner, _| json!({ "a": inner }));
        let mut value = &apply_defaults(&schema, deep);
        for _ in 0..60 {
            assert_eq!(value["b"], 1);
            value = &value["a"];
        }
    }

    #[test]
    fn elements_have_the_schema_of_their_place_or_of_all_others() {
        let of = |default: u8| json!({ "properties": { "a": { "default": default } } });
        let schema = json!({ "prefixItems": [of(1)], "items": of(2) });
        assert_eq!(apply_defaults(&schema, json!([{}, {}, {}])), json!([{ "a": 1 }, { "a": 2 }, { "a": 2 }]));
    }

    #[test]
    fn a_default_that_has_itself_ends() {
        let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "properties": { "a": { "$ref": "#/$defs/a", "default": {} } } } } });
        assert_eq!(apply_defaults(&schema, json!({})), json!({ "a": {} }));
        let endless = json!({ "$ref": "#", "anyOf": [{ "$ref": "#" }] });
        assert_eq!(apply_defaults(&endless, json!({})), json!({}));
    }
}
