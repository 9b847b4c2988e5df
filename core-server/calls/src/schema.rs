//! JSON Schemas (draft 2020-12) of inputs and outputs, and what is said about a value that breaks one.

use std::fmt;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

use crate::native_type;

/// How many issues are told about one value.
const MAX_ISSUES: usize = 50;
/// Bytes that one pattern may take when it is compiled: plugins bring them.
const PATTERN_BYTES: usize = 1 << 20;

/// In how many forms a schema may look at one and the same value: alternatives, and what they refer to. A plugin could
/// write one that never ends.
const MAX_FORMS: usize = 256;

/// A schema that can be used.
pub struct Schema {
    json: Value,
    validator: Validator,
    has_native_types: bool,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchema(pub String);

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Its kind: a closed list.
    pub code: String,
    /// Fields and indices that lead to it.
    pub path: Vec<PathSegment>,
    /// For a person. Does not repeat the value, which may be a secret.
    pub message: String,
}

/// A step to a value within another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum PathSegment {
    /// Of an object.
    Field(String),
    /// Of an array.
    Index(usize),
}

impl From<&str> for PathSegment {
    fn from(field: &str) -> Self {
        Self::Field(field.to_owned())
    }
}

impl From<usize> for PathSegment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Schema {
    /// Prepares a schema. It may refer to its own parts only; nothing is fetched.
    ///
    /// # Errors
    /// When it is no schema, or refers to something outside.
    pub fn compile(json: Value) -> Result<Self, InvalidSchema> {
        if !ends(&json) {
            let message = "a part of it refers to itself without a step into the value, or has more than 256 alternatives";
            return Err(InvalidSchema(message.to_owned()));
        }
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
        // An engine whose time is linear: a pattern of a plugin is matched against what callers send.
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        let built = options.with_pattern_options(patterns).build(&json);
        match built {
            Ok(validator) => Ok(Self { has_native_types: native_type::occur_in(&json), json, validator }),
            Err(error) => Err(InvalidSchema(error.to_string())),
        }
    }

    /// As it was given.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Whether it names types that JSON lacks.
    #[must_use]
    pub fn has_native_types(&self) -> bool {
        self.has_native_types
    }

    /// Whether a value is as it should be.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// What is wrong with a value, the first 50 things. Empty when nothing is.
    #[must_use]
    pub fn issues(&self, value: &Value) -> Vec<Issue> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        self.validator.iter_errors(value).take(MAX_ISSUES).map(|error| issue(&error)).collect()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Schema").field(&self.json).finish()
    }
}

/// What a reference within a schema refers to.
pub(crate) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// Parts that describe the same value as the schema itself: what it refers to, and its alternatives.
pub(crate) fn forms_of<'a>(root: &'a Value, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| resolve(root, reference));
    let lists = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
    target.into_iter().chain(lists.flatten())
}

/// Whether looking at a value by this schema comes to an end, and soon.
fn ends(root: &Value) -> bool {
    let mut parts = vec![root];
    while let Some(part) = parts.pop() {
        let mut pending = vec![part];
        for count in 0.. {
            let Some(form) = pending.pop() else { break };
            if count >= MAX_FORMS {
                return false;
            }
            let conditions = ["not", "if", "then", "else"].into_iter().filter_map(|keyword| form.get(keyword));
            let dependent = form.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(|schemas| schemas.values());
            pending.extend(forms_of(root, form).chain(conditions).chain(dependent));
        }
        match part {
            Value::Object(fields) => parts.extend(fields.values()),
            Value::Array(items) => parts.extend(items),
            _ => {}
        }
    }
    true
}

fn issue(error: &ValidationError<'_>) -> Issue {
    let segment = |segment: LocationSegment<'_>| match segment {
        LocationSegment::Property(field) => PathSegment::Field(field.to_string()),
        LocationSegment::Index(index) => PathSegment::Index(index),
    };
    let mut path: Vec<PathSegment> = error.instance_path().segments().map(segment).collect();
    let message = match error.kind() {
        Kind::Required { property } => {
            path.extend(property.as_str().map(PathSegment::from));
            "it is missing".to_owned()
        }
        _ => error.masked_with("the value").to_string(),
    };
    Issue { code: code(error.kind()).to_owned(), path, message }
}

/// The names that callers of the original platform know.
fn code(kind: &Kind) -> &'static str {
    match kind {
        Kind::Required { .. } | Kind::Type { .. } => "invalid_type",
        Kind::Enum { .. } | Kind::Constant { .. } => "invalid_value",
        Kind::Minimum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::MinLength { .. }
        | Kind::MinItems { .. }
        | Kind::MinProperties { .. } => "too_small",
        Kind::Maximum { .. }
        | Kind::ExclusiveMaximum { .. }
        | Kind::MaxLength { .. }
        | Kind::MaxItems { .. }
        | Kind::AdditionalItems { .. }
        | Kind::MaxProperties { .. } => "too_big",
        Kind::MultipleOf { .. } => "not_multiple_of",
        Kind::Format { .. } | Kind::Pattern { .. } | Kind::ContentEncoding { .. } | Kind::ContentMediaType { .. } => "invalid_format",
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } | Kind::FalseSchema => "unrecognized_keys",
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => "invalid_union",
        Kind::PropertyNames { .. } => "invalid_key",
        _ => "custom",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issues(schema: Value, value: Value) -> Vec<(String, Vec<PathSegment>)> {
        let found = Schema::compile(schema).unwrap().issues(&value);
        found.into_iter().map(|issue| (issue.code, issue.path)).collect()
    }

    #[test]
    fn a_value_that_fits_has_no_issues() {
        let schema = json!({ "type": "object", "properties": { "at": { "type": "string", "format": "date-time" } } });
        assert_eq!(issues(schema, json!({ "at": "2026-01-01T00:00:00Z" })), []);
    }

    #[test]
    fn each_kind_of_issue_has_its_code_and_its_place() {
        let one = |schema: Value, value: Value| {
            let mut found = issues(schema, value);
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        };
        let place = |path: &[&str]| path.iter().map(|field| PathSegment::from(*field)).collect::<Vec<_>>();
        let cases = [
            (json!({ "type": "string" }), json!(1), "invalid_type", place(&[])),
            (json!({ "type": "object", "required": ["source"] }), json!({}), "invalid_type", place(&["source"])),
            (json!({ "enum": ["a", "b"] }), json!("c"), "invalid_value", place(&[])),
            (json!({ "const": 1 }), json!(2), "invalid_value", place(&[])),
            (json!({ "minLength": 3 }), json!("ab"), "too_small", place(&[])),
            (json!({ "minimum": 3 }), json!(2), "too_small", place(&[])),
            (json!({ "maxItems": 1 }), json!([1, 2]), "too_big", place(&[])),
            (json!({ "multipleOf": 2 }), json!(3), "not_multiple_of", place(&[])),
            (json!({ "pattern": "^a" }), json!("b"), "invalid_format", place(&[])),
            (json!({ "format": "uuid" }), json!("b"), "invalid_format", place(&[])),
            (json!({ "additionalProperties": false }), json!({ "a": 1 }), "unrecognized_keys", place(&[])),
            (json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), json!(1), "invalid_union", place(&[])),
            (json!({ "uniqueItems": true }), json!([1, 1]), "custom", place(&[])),
            (
                json!({ "properties": { "a": { "properties": { "b": { "type": "null" } } } } }),
                json!({ "a": { "b": 1 } }),
                "invalid_type",
                place(&["a", "b"]),
            ),
        ];
        for (schema, value, code, path) in cases {
            assert_eq!(one(schema, value), (code.to_owned(), path));
        }
        let (_, path) = one(json!({ "items": { "type": "string" } }), json!(["a", 1]));
        assert_eq!(path, [PathSegment::Index(1)]);
    }

    #[test]
    fn an_issue_does_not_repeat_the_value() {
        let schema =
            Schema::compile(json!({ "properties": { "password": { "type": "string", "minLength": 50, "pattern": "^x", "enum": ["y"] } } }))
                .unwrap();
        let found = schema.issues(&json!({ "password": "hunter2" }));
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|issue| !issue.message.contains("hunter2")), "{found:?}");
        let wrong_type = schema.issues(&json!({ "password": { "hunter2": true } }));
        assert!(!format!("{wrong_type:?}").contains("hunter2"), "{wrong_type:?}");
    }

    #[test]
    fn the_number_of_issues_is_bounded() {
        let schema = Schema::compile(json!({ "items": { "type": "string" } })).unwrap();
        assert_eq!(schema.issues(&json!(vec![1; 1000])).len(), MAX_ISSUES);
    }

    #[test]
    fn what_is_no_schema_or_refers_to_something_outside_is_refused() {
        for schema in [
            json!({ "type": "text" }),
            json!({ "pattern": "(" }),
            json!({ "pattern": "(?=look)" }),
            json!({ "pattern": "(a{1000}){1000}" }),
            json!({ "$ref": "https://example.com/schema.json" }),
            json!({ "$ref": "#/$defs/missing" }),
            json!({ "$ref": "file:///etc/passwd" }),
        ] {
            assert!(Schema::compile(schema.clone()).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_schema_without_end_is_refused() {
        let branches: Vec<Value> = (0..20).map(|_| json!({ "$ref": "#/$defs/A" })).collect();
        let many = |count: usize| json!({ "anyOf": (0..count).map(|number| json!({ "const": number })).collect::<Vec<_>>() });
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "properties": { "a": { "$defs": {}, "$ref": "#/properties/a" } } }),
            json!({ "$defs": { "A": { "not": { "$ref": "#/$defs/B" } }, "B": { "if": { "$ref": "#/$defs/A" } } } }),
            json!({ "$defs": { "A": { "anyOf": branches } }, "anyOf": branches }),
            json!({ "dependentSchemas": { "a": { "$ref": "#" } } }),
            many(256),
        ] {
            let refused = Schema::compile(schema.clone()).unwrap_err();
            assert!(refused.0.contains("without a step into the value"), "{schema}: {refused}");
        }
        // A tree ends with the value.
        let tree = Schema::compile(json!({ "type": "array", "items": { "$ref": "#" } })).unwrap();
        assert!(tree.is_valid(&json!([[[]], []])) && !tree.is_valid(&json!([[1]])));
        assert!(Schema::compile(many(255)).is_ok());
    }
}
