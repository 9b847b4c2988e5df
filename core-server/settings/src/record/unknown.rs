//! Fields that a schema does not know.

use serde_json::Value;

use crate::description::Description;
use crate::path::ValuePath;

/// Where a value has fields that its schema neither names nor expects as entries of a map. Looks into objects that the
/// schema names fields of; in all others every field is welcome.
#[must_use]
pub fn unknown_fields(schema: &Value, value: &Value) -> Vec<ValuePath> {
    let mut found = Vec::new();
    find(&Description::of(schema), value, &ValuePath::root(), &mut found);
    found
}

/// Takes unknown fields out.
pub(super) fn without_unknown_fields(schema: &Value, mut value: Value) -> Value {
    unknown_fields(schema, &value).iter().for_each(|path| path.remove_field(&mut value));
    value
}

fn find(description: &Description<'_>, value: &Value, path: &ValuePath, found: &mut Vec<ValuePath>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let (field, path) = (description.field(name), path.then(name.as_str()));
                match field.is_known {
                    true => find(&field.description, value, &path, found),
                    false => found.push(path),
                }
            }
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(index, element)| find(&description.element(index), element, &path.then(index), found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let point = json!({ "properties": { "x": {}, "labels": { "additionalProperties": { "type": "string" } } } });
        let schema = json!({ "properties": {
            "point": { "anyOf": [{ "type": "null" }, point] }, "points": { "items": point }, "free": { "type": "object" },
        } });
        let value = json!({
            "point": { "x": 1, "y": 2, "labels": { "any": "a" } },
            "points": [{ "x": 1 }, { "z": { "x": 1 } }],
            "free": { "any": { "thing": 1 } },
            "other": 1,
        });
        let found: Vec<String> = unknown_fields(&schema, &value).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["other", "point.y", "points[1].z"]);
        let without = without_unknown_fields(&schema, value);
        assert_eq!(unknown_fields(&schema, &without), []);
        assert_eq!(without["points"], json!([{ "x": 1 }, {}]));
    }
}
