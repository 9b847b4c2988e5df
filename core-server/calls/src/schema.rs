//! JSON Schemas (draft 2020-12) of inputs and outputs, and what is said about a value that breaks one.
//!
//! Plugins bring them, hostile ones too: a schema is accepted only when it is known how much work any value is at most.

mod parts;
mod patterns;
mod visits;

use std::fmt;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

use self::visits::Visits;
use crate::native_type;

/// How many issues are told about one value.
const MAX_ISSUES: usize = 50;
/// Bytes that one pattern may take when it is compiled: plugins bring them.
const PATTERN_BYTES: usize = 1 << 20;

/// A schema that can be used.
pub struct Schema {
    json: Value,
    validator: Validator,
    has_native_types: bool,
    visits: Visits,
}

/// Why a schema cannot be used. Places are fragments of a URI, `#/properties/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchema {
    /// It is no schema.
    #[error("{0}")]
    Malformed(String),
    /// There is too much of it.
    #[error("it has more than {0} parts")]
    TooManyParts(usize),
    /// Fields and items of it are described in too many ways.
    #[error("its parts lead to each other in more than {0} ways")]
    TooManyWays(usize),
    /// A keyword by which a reference would mean something else, or another dialect.
    #[error("at {place}: {keyword} cannot be used; a schema is of draft 2020-12 and refers to its parts by #/$defs/<name>")]
    Keyword {
        /// Of the part that has it.
        place: String,
        /// Which.
        keyword: &'static str,
    },
    /// A reference to something outside, or to nothing.
    #[error("at {place}: $ref '{reference}' leads to no part of this schema; it has the form #/$defs/<name>, without %")]
    Reference {
        /// Of the part that has it.
        place: String,
        /// As it is written, the beginning.
        reference: String,
    },
    /// One value would be looked at again and again.
    #[error("at {place}: it looks at a value in more than {most} forms, alternatives and what they refer to; have fewer of them")]
    TooManyForms {
        /// Of the part that describes the value.
        place: String,
        /// As many are allowed.
        most: u64,
    },
    /// It does not come to the value.
    #[error("at {place}: it refers to itself without a step into the value, or through more than {most} parts")]
    Endless {
        /// Of the part where it begins.
        place: String,
        /// As many are allowed.
        most: usize,
    },
    /// The work grows too much with the depth of a value.
    #[error(
        "at {place}: {step} is described more than once, and so is what lies below, so that deep values would take too long to check; \
         describe it in one place, or give alternatives fields of different names"
    )]
    Growing {
        /// Of the part where it is most.
        place: String,
        /// Which step into the value.
        step: String,
    },
}

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
    /// When it is no schema, refers to something outside, or could take too long to check a value.
    pub fn compile(json: Value) -> Result<Self, InvalidSchema> {
        let visits = Visits::of(&json)?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
        // An engine whose time is linear: a pattern of a plugin is matched against what callers send.
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        let built = options.with_pattern_options(patterns).build(&json);
        match built {
            Ok(validator) => Ok(Self { has_native_types: native_type::occur_in(&json), json, validator, visits }),
            Err(error) => Err(InvalidSchema::Malformed(error.to_string())),
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

    /// Whether a value is as it should be, and can be checked.
    #[must_use]
    pub fn is_valid(&self, value: &Value) -> bool {
        self.visits.permit(value).check && self.validator.is_valid(value)
    }

    /// What is wrong with a value, the first 50 things. Empty when nothing is. Of a value that is very large or deep it is not said where.
    #[must_use]
    pub fn issues(&self, value: &Value) -> Vec<Issue> {
        let whole = |code: &str, message: &str| vec![Issue { code: code.to_owned(), path: Vec::new(), message: message.to_owned() }];
        let permitted = self.visits.permit(value);
        if !permitted.check {
            return whole("too_big", "it is too large, or too deep, to be checked");
        }
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        if !permitted.tell {
            return whole("custom", "it is not what the schema says, and too large, or too deep, to say where");
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
}
