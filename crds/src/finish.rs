//! The last touch to a schema that comes out of the derive macros.
//!
//! What Rust says and what a Kubernetes API should say differ in a few points, the same ones in
//! every field; they are put right here, in one place.

use serde_json::{Map, Value};

/// Makes a generated `openAPIV3Schema` one that reads well and behaves well.
pub(crate) fn finish(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    // An explicit null then is as good as leaving the field out: the API server drops it and
    // applies the default. With `nullable` it would be kept, and no default applied.
    object.remove("nullable");
    // The name of the Rust type means nothing to an admin.
    object.remove("title");
    // Says nothing, and `kubectl get -o yaml` would show it in every object.
    if object.get("default").is_some_and(is_empty) {
        object.remove("default");
    }
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = unwrap_lines(description);
    }
    for schema in subschemas(object) {
        finish(schema);
    }
}

/// Takes every default out of a schema: what the operator reports must not be made up by the API
/// server.
pub(crate) fn remove_defaults(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.remove("default");
    subschemas(object).for_each(remove_defaults);
}

/// Every schema directly below this one.
pub(crate) fn subschemas(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema.iter_mut().flat_map(|(keyword, value)| -> Box<dyn Iterator<Item = &mut Value>> {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => Box::new(properties.values_mut()),
            ("items" | "additionalProperties", value @ Value::Object(_)) => Box::new(std::iter::once(value)),
            _ => Box::new(std::iter::empty()),
        }
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Doc comments are wrapped at the width of the source; `kubectl explain` wraps by itself.
/// Paragraphs and list items keep their line.
fn unwrap_lines(text: &str) -> String {
    let mut unwrapped = String::with_capacity(text.len());
    for line in text.lines() {
        let starts_anew = line.is_empty() || line.starts_with("- ") || unwrapped.is_empty() || unwrapped.ends_with('\n');
        if line.is_empty() {
            unwrapped.push_str("\n\n");
            continue;
        }
        if starts_anew && !unwrapped.is_empty() && !unwrapped.ends_with('\n') {
            unwrapped.push('\n');
        } else if !starts_anew {
            unwrapped.push(' ');
        }
        unwrapped.push_str(line.trim());
    }
    unwrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_titles_and_empty_defaults_go_at_every_depth() {
        let mut schema = json!({
            "title": "Outer",
            "properties": {
                "title": { "type": "string", "nullable": true, "default": "" },
                "map": { "additionalProperties": { "items": { "title": "Inner", "nullable": true, "default": {} } } },
                "kept": { "type": "boolean", "default": false },
            },
        });
        finish(&mut schema);
        assert_eq!(
            schema,
            json!({
                "properties": {
                    "title": { "type": "string" },
                    "map": { "additionalProperties": { "items": {} } },
                    "kept": { "type": "boolean", "default": false },
                },
            })
        );
    }

    #[test]
    fn descriptions_are_wrapped_by_the_reader_not_by_the_source() {
        assert_eq!(
            unwrap_lines("One sentence\nover two lines.\n\nAnother one:\n- first\n- second\n  goes on"),
            "One sentence over two lines.\n\nAnother one:\n- first\n- second goes on"
        );
    }
}
