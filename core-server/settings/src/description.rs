//! Which parts of a JSON Schema speak about which part of a value.
//!
//! Several parts of a schema may describe one value: what it refers to, its alternatives, its conditions. All of them
//! are followed, whether the value fits them or not, since a question like "is this a secret?" must be answered yes
//! when any of them says so. Each part counts once for one value, so that this ends for every schema, also one that
//! refers to itself.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Keywords whose parts describe the same value: a list of schemas,
const LISTS: [&str; 3] = ["anyOf", "oneOf", "allOf"];
/// one schema. Not `not`: it says what the value is no case of.
const CONDITIONS: [&str; 3] = ["if", "then", "else"];

/// The parts of a schema that describe one value.
#[derive(Clone)]
pub(crate) struct Description<'a> {
    root: &'a Value,
    parts: Vec<&'a Value>,
}

/// The parts that describe a field.
pub(crate) struct FieldDescription<'a> {
    /// What they say.
    pub(crate) description: Description<'a>,
    /// Whether any knows it by its name. The name is that of an entry of a map otherwise.
    pub(crate) is_property: bool,
    /// Whether it is expected: by its name, or as any other.
    pub(crate) is_known: bool,
}

impl<'a> Description<'a> {
    /// Of a value that the whole schema is for.
    pub(crate) fn of(schema: &'a Value) -> Self {
        Self::closed(schema, [schema])
    }

    /// With all that `parts` refer to.
    fn closed(root: &'a Value, parts: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut seen = HashSet::new();
        let mut pending: Vec<&Value> = parts.into_iter().collect();
        let mut parts = Vec::new();
        while let Some(part) = pending.pop() {
            if seen.insert(std::ptr::from_ref(part)) {
                pending.extend(same_value(root, part));
                parts.push(part);
            }
        }
        Self { root, parts }
    }

    /// All parts, in no order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'a Value> {
        self.parts.iter().copied()
    }

    /// Whether any part has this keyword with the value `true`.
    pub(crate) fn is_marked(&self, keyword: &str) -> bool {
        self.parts().any(|part| part.get(keyword) == Some(&Value::Bool(true)))
    }

    /// Of a field of an object. What is said of all others holds where it is not named: patterns are not looked at, so
    /// that what one of them says holds for all names.
    pub(crate) fn field(&self, name: &str) -> FieldDescription<'a> {
        let properties = |part: &'a Value| part.get("properties").and_then(Value::as_object);
        let named: Vec<&Value> = self.parts().filter_map(|part| properties(part)?.get(name)).collect();
        let entries = self.parts().filter(|part| properties(part).is_none_or(|properties| !properties.contains_key(name)));
        let others: Vec<&Value> = entries.flat_map(other_fields).collect();
        let is_property = !named.is_empty();
        let is_free = self.parts().all(|part| properties(part).is_none()) || self.parts().any(is_object_of_anything);
        let is_known = is_property || is_free || others.iter().any(|other| **other != Value::Bool(false));
        FieldDescription { description: Self::closed(self.root, named.into_iter().chain(others)), is_property, is_known }
    }

    /// Of an element of a list.
    pub(crate) fn element(&self, index: usize) -> Self {
        let by_place = self.parts().filter_map(|part| part.get("prefixItems")?.get(index));
        let every = self.parts().flat_map(|part| ["items", "contains", "unevaluatedItems"].into_iter().filter_map(|key| part.get(key)));
        Self::closed(self.root, by_place.chain(every))
    }

    /// What parts say of properties by their names.
    pub(crate) fn properties(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.parts().filter_map(|part| part.get("properties").and_then(Value::as_object)).flat_map(Map::iter)
    }
}

/// Other parts of a schema that describe the value that `part` describes.
fn same_value<'a>(root: &'a Value, part: &'a Value) -> Vec<&'a Value> {
    let target = part.get("$ref").and_then(Value::as_str).and_then(|reference| resolve(root, reference));
    let lists = LISTS.into_iter().filter_map(|keyword| part.get(keyword)?.as_array()).flatten();
    let conditions = CONDITIONS.into_iter().filter_map(|keyword| part.get(keyword));
    let dependent = part.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values);
    target.into_iter().chain(lists).chain(conditions).chain(dependent).collect()
}

/// Whether a part describes objects on its own, and none of their fields.
fn is_object_of_anything(part: &Value) -> bool {
    let says_more = ["properties", "$ref", "additionalProperties", "unevaluatedProperties", "patternProperties", "dependentSchemas"];
    let has = |keyword: &&str| part.get(*keyword).is_some();
    part.get("type").is_some_and(|kind| kind == "object") && !says_more.iter().chain(&LISTS).chain(&CONDITIONS).any(has)
}

/// What a schema says of fields that it does not name.
fn other_fields(part: &Value) -> impl Iterator<Item = &Value> {
    let all = ["additionalProperties", "unevaluatedProperties"].into_iter().filter_map(|keyword| part.get(keyword));
    all.chain(part.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values))
}

/// What a reference within a schema refers to: `#`, or `#/` and a JSON pointer.
pub(crate) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_marked(schema: &Value, path: &[&str]) -> bool {
        let mut description = Description::of(schema);
        for step in path {
            description = match step.parse() {
                Ok(index) => description.element(index),
                Err(_) => description.field(step).description,
            };
        }
        description.is_marked("x-mark")
    }

    #[test]
    fn all_ways_to_describe_a_value_are_followed() {
        let mark = json!({ "x-mark": true });
        let field = json!({ "properties": { "a": mark } });
        for (schema, path) in [
            (mark.clone(), vec![]),
            (field.clone(), vec!["a"]),
            (json!({ "anyOf": [{ "type": "null" }, mark] }), vec![]),
            (json!({ "oneOf": [{ "allOf": [mark] }] }), vec![]),
            (json!({ "if": {}, "then": field, "else": {} }), vec!["a"]),
            (json!({ "else": field }), vec!["a"]),
            (json!({ "if": field }), vec!["a"]),
            (json!({ "dependentSchemas": { "b": field } }), vec!["a"]),
            (json!({ "$ref": "#/$defs/x", "$defs": { "x": mark } }), vec![]),
            (json!({ "items": field }), vec!["7", "a"]),
            (json!({ "prefixItems": [{}, field] }), vec!["1", "a"]),
            (json!({ "contains": mark }), vec!["0"]),
            (json!({ "unevaluatedItems": mark }), vec!["0"]),
            (json!({ "additionalProperties": mark }), vec!["a"]),
            (json!({ "unevaluatedProperties": mark }), vec!["a"]),
            (json!({ "patternProperties": { "^a": mark } }), vec!["a"]),
            (json!({ "properties": { "b": {} }, "additionalProperties": mark }), vec!["a"]),
            (json!({ "properties": { "child": { "$ref": "#" }, "a": mark } }), vec!["child", "child", "a"]),
        ] {
            assert!(is_marked(&schema, &path), "{schema}");
        }
        for (schema, path) in [
            (json!({}), vec![]),
            (json!(true), vec!["a", "0"]),
            (json!({ "x-mark": "true" }), vec![]),
            (field, vec![]),
            (json!({ "not": mark }), vec![]),
            (json!({ "prefixItems": [{}, mark] }), vec!["0"]),
            (json!({ "properties": { "a": {} }, "additionalProperties": mark }), vec!["a"]),
        ] {
            assert!(!is_marked(&schema, &path), "{schema}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let branches: Vec<Value> = (0..30).map(|_| json!({ "$ref": "#/$defs/tree" })).collect();
        let tree = json!({ "anyOf": branches, "additionalProperties": { "$ref": "#/$defs/tree" }, "x-mark": true });
        let schema = json!({ "$ref": "#/$defs/tree", "$defs": { "tree": tree } });
        assert!(is_marked(&schema, &["a"; 100]));
    }

    #[test]
    fn a_field_is_known_by_its_name_or_as_an_entry() {
        let known = |schema: Value| Description::of(&schema).field("a").is_known;
        assert!(known(json!({ "properties": { "a": {} } })));
        assert!(known(json!({ "properties": { "b": {} }, "additionalProperties": { "type": "string" } })));
        assert!(known(json!({ "type": "object" })), "any field");
        assert!(known(json!({ "anyOf": [{ "properties": { "b": {} } }, { "properties": { "a": {} } }] })));
        assert!(known(json!({ "anyOf": [{ "properties": { "b": {} } }, { "type": "object" }] })), "one alternative takes any");
        assert!(!known(json!({ "properties": { "b": {} } })));
        assert!(!known(json!({ "type": "object", "anyOf": [{ "properties": { "b": {} } }] })));
        assert!(!known(json!({ "properties": { "b": {} }, "additionalProperties": false })));
    }
}
