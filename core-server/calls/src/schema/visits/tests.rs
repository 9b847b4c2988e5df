use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::{Draft, Keyword, ValidationError, Validator};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::schema::Schema;

fn refusal(schema: Value) -> String {
    Schema::compile(schema).unwrap_err().to_string()
}

/// `$defs` A0 to A`count`, each made of the next one by `part`.
fn tower(count: usize, part: impl Fn(Value) -> Value) -> Value {
    let reference = |number: usize| json!({ "$ref": format!("#/$defs/A{number}") });
    let mut definitions: Map<String, Value> = (0..count).map(|number| (format!("A{number}"), part(reference(number + 1)))).collect();
    definitions.insert(format!("A{count}"), json!({ "type": "integer" }));
    json!({ "$defs": definitions, "$ref": "#/$defs/A0" })
}

fn nested(depth: usize, wrap: impl Fn(Value) -> Value, inner: Value) -> Value {
    (0..depth).fold(inner, |value, _| wrap(value))
}

#[test]
fn a_field_that_is_described_twice_and_leads_back_is_refused() {
    let twice = |reference: &str| json!({ "allOf": [{ "$ref": reference }, { "$ref": reference }] });
    let back = json!({ "properties": { "a": twice("#") } });
    assert_eq!(
        refusal(back),
        "at #/properties/a: field 'a' is described more than once, and so is what lies below, so that deep values would take too long to \
         check; describe it in one place, or give alternatives fields of different names"
    );
    for growing in [
        json!({ "items": twice("#") }),
        json!({ "additionalProperties": twice("#") }),
        json!({ "allOf": [{ "properties": { "a": { "$ref": "#" } } }, { "patternProperties": { "^a": { "$ref": "#" } } }] }),
        json!({ "allOf": [{ "prefixItems": [{ "$ref": "#" }] }, { "contains": { "$ref": "#" } }] }),
        json!({ "anyOf": [{ "items": { "$ref": "#" } }, { "unevaluatedItems": { "$ref": "#" }, "contains": { "$ref": "#" } }] }),
        json!({ "properties": { "a": { "if": { "$ref": "#" }, "then": { "$ref": "#" } } } }),
        tower(40, |next| json!({ "properties": { "a": { "allOf": [next, next] } } })),
        tower(40, |next| json!({ "properties": { "a": next }, "additionalProperties": next, "unevaluatedProperties": next })),
    ] {
        let problem = Schema::compile(growing.clone()).unwrap_err();
        assert!(matches!(problem, InvalidSchema::Growing { .. }), "{growing}: {problem}");
    }
}

#[test]
fn a_schema_without_end_is_refused() {
    let reference = json!({ "$ref": "#/$defs/A" });
    let branches: Vec<Value> = vec![reference.clone(); 20];
    let many = |count: usize| json!({ "anyOf": (0..count).map(|number| json!({ "const": number })).collect::<Vec<_>>() });
    let rest = |inner: Value| json!({ "anyOf": [inner], "unevaluatedProperties": false });
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "properties": { "a": { "$defs": {}, "$ref": "#/properties/a" } } }),
        json!({ "$defs": { "A": { "not": { "$ref": "#/$defs/B" } }, "B": { "if": { "$ref": "#/$defs/A" } } }, "$ref": "#/$defs/A" }),
        json!({ "$defs": { "A": { "anyOf": branches } }, "anyOf": branches }),
        json!({ "dependentSchemas": { "a": { "$ref": "#" } } }),
        many(1000),
        tower(12, |next| json!({ "allOf": [next, next] })),
        tower(70, |next| next),
        nested(20, rest, json!({})),
    ] {
        let problem = Schema::compile(schema.clone()).unwrap_err();
        assert!(matches!(problem, InvalidSchema::TooManyForms { .. } | InvalidSchema::Endless { .. }), "{schema}: {problem}");
    }
    assert_eq!(
        refusal(json!({ "items": { "$ref": "#/items" } })),
        "at #/items: it refers to itself without a step into the value, or through more than 64 parts"
    );
    assert!(Schema::compile(many(999)).is_ok() && Schema::compile(nested(5, rest, json!({}))).is_ok());
    // A tree ends with the value.
    let tree = Schema::compile(json!({ "type": "array", "items": { "$ref": "#" } })).unwrap();
    assert!(tree.is_valid(&json!([[[]], []])) && !tree.is_valid(&json!([[1]])));
}

#[test]
fn references_that_cannot_be_followed_are_refused() {
    for (schema, problem) in [
        (
            json!({ "$ref": "https://example.com/x" }),
            "at #: $ref 'https://example.com/x' leads to no part of this schema; it has the form #/$defs/<name>, without %",
        ),
        (json!({ "items": { "$ref": "other" } }), "at #/items: $ref 'other' leads"),
        (json!({ "$defs": { "a b": {} }, "$ref": "#/$defs/a%20b" }), "at #: $ref '#/$defs/a%20b' leads"),
        (json!({ "$defs": { "a": { "$anchor": "a" } }, "$ref": "#a" }), "at #: $ref '#a' leads"),
        (json!({ "x-other": { "type": "string" }, "$ref": "#/x-other" }), "at #: $ref '#/x-other' leads"),
        (json!({ "properties": { "$ref": { "$ref": "#/properties" } } }), "at #/properties/$ref: $ref '#/properties' leads"),
        (json!({ "$ref": "" }), "at #: $ref '' leads"),
        (json!({ "$defs": { "a~/b": { "$id": "https://example.com" } } }), "at #/$defs/a~0~1b: $id cannot be used"),
        (json!({ "items": { "$dynamicRef": "#" } }), "at #/items: $dynamicRef cannot be used"),
        (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "at #: $schema cannot be used"),
    ] {
        let said = refusal(schema.clone());
        assert!(said.starts_with(problem), "{schema}: {said}");
    }
    let schema =
        json!({ "$schema": DIALECT, "$id": "https://example.com/a", "$defs": { "a/b": { "type": "string" } }, "$ref": "#/$defs/a~1b" });
    let schema = Schema::compile(schema).unwrap();
    assert!(schema.is_valid(&json!("a")) && !schema.is_valid(&json!(1)));
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[test]
fn large_schemas_are_refused() {
    let fields: Map<String, Value> = (0..10_001).map(|number| (format!("f{number}"), json!({}))).collect();
    assert_eq!(refusal(json!({ "properties": fields })), "it has more than 10000 parts");
    let named = |count: usize| (0..count).map(|number| (format!("f{number}"), json!({}))).collect::<Map<String, Value>>();
    let wide: Vec<Value> = (0..900).map(|_| json!({ "additionalProperties": {} })).collect();
    assert_eq!(refusal(json!({ "properties": named(3000), "allOf": wide })), "its parts lead to each other in more than 200000 ways");
}

#[test]
fn types_that_contain_themselves_are_accepted() {
    let reference = || json!({ "$ref": "#" });
    let list = || json!({ "type": "array", "items": { "$ref": "#" } });
    let tagged = |kind: &str| json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "const": kind }, "of": list() } });
    for (schema, value) in [
        // By the name of a field, as serde has it.
        (
            json!({ "oneOf": [
                { "type": "object", "properties": { "not": reference() }, "required": ["not"], "additionalProperties": false },
                { "type": "object", "properties": { "all": list() }, "required": ["all"], "additionalProperties": false },
                { "type": "object", "properties": { "any": list() }, "required": ["any"], "additionalProperties": false },
                { "type": "string" },
            ] }),
            nested(100, |inner| json!({ "not": inner }), json!("a")),
        ),
        // By the value of one.
        (
            json!({ "anyOf": [tagged("all"), tagged("any"), tagged("not"), { "type": "object", "required": ["kind"], "properties": { "kind": { "const": "is" } } }] }),
            nested(5, |inner| json!({ "kind": "not", "of": [inner] }), json!({ "kind": "is" })),
        ),
        (
            json!({ "properties": { "next": { "anyOf": [reference(), { "type": "null" }] } } }),
            nested(100, |inner| json!({ "next": inner }), Value::Null),
        ),
    ] {
        let compiled = Schema::compile(schema.clone()).unwrap_or_else(|problem| panic!("{schema}: {problem}"));
        assert_eq!(compiled.issues(&value), [], "{schema}");
    }
}

#[test]
fn what_would_take_too_long_is_not_checked() {
    let list = json!({ "type": "array", "items": { "$ref": "#" } });
    let either = Schema::compile(json!({ "anyOf": [{ "properties": { "a": list } }, { "properties": { "a": list } }] })).unwrap();
    let deep = |depth| nested(depth, |inner| json!({ "a": [inner] }), json!({}));
    assert_eq!(either.issues(&deep(4)), []);
    let issues = either.issues(&deep(40));
    assert_eq!((issues.len(), issues[0].code.as_str()), (1, "too_big"));
    assert!(!either.is_valid(&deep(40)));
    let wrong = nested(8, |inner| json!({ "a": [inner] }), json!({ "a": 1 }));
    let issues = either.issues(&wrong);
    assert_eq!((issues.len(), issues[0].code.as_str(), issues[0].path.len()), (1, "custom", 0), "{issues:?}");

    let items = Schema::compile(json!({ "items": { "type": "string" } })).unwrap();
    assert_eq!(items.issues(&json!(vec![1; 1_000_000])).len(), 1, "a million issues are not kept");
    assert_eq!(items.issues(&json!(vec!["a"; 1_000_000])), []);
    let pattern = Schema::compile(json!({ "pattern": "[01]*1[01]{5000}$" })).unwrap();
    assert_eq!(pattern.issues(&json!("0".repeat(10_000_000)))[0].code, "too_big");
    let pattern = Schema::compile(json!({ "pattern": "^[01]*$" })).unwrap();
    assert_eq!(pattern.issues(&json!("0".repeat(10_000_000))), []);
}

/// The stack of a thread of the server has 2 MiB.
#[test]
fn the_deepest_check_fits_on_the_stack() {
    let chain = tower(6, |next| json!({ "allOf": [next] }));
    let mut schema = chain;
    schema["$defs"]["A6"] = json!({ "properties": { "a": { "$ref": "#" } } });
    let schema = Schema::compile(schema).unwrap();
    let value = nested(120, |inner| json!({ "a": inner }), json!({}));
    let deepest = (0..=120).rev().find_map(|depth| {
        let value = nested(depth, |inner| json!({ "a": inner }), json!(1));
        schema.visits.permit(&value).check.then_some(value)
    });
    let deepest = deepest.unwrap();
    std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(move || {
            assert!(schema.is_valid(&deepest));
            assert_eq!(schema.validator.iter_errors(&deepest).count(), 0);
            assert!(!schema.is_valid(&value), "it would need more of the stack");
        })
        .unwrap()
        .join()
        .unwrap();
}

/// Counts looks at the part that has it.
struct Look(Arc<AtomicU64>);

impl<'i> Keyword<'i> for Look {
    fn validate(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn counting(schema: &Value) -> (Validator, Arc<AtomicU64>) {
    let looks = Arc::new(AtomicU64::new(0));
    let counter = looks.clone();
    let options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_keyword("x-look", move |_: &Map<String, Value>, _, _| Ok(Box::new(Look(counter.clone())) as Box<dyn for<'i> Keyword<'i>>));
    (options.build(schema).unwrap(), looks)
}

/// A schema of a few parts, which may refer to each other.
fn any_schema() -> impl Strategy<Value = Value> {
    let reference = prop_oneof![Just("#"), Just("#/$defs/A"), Just("#/$defs/B")].prop_map(|to| json!({ "x-look": 1, "$ref": to }));
    let leaf = prop_oneof![
        3 => reference,
        1 => Just(json!({ "x-look": 1, "type": "integer" })),
        1 => Just(json!({ "x-look": 1, "required": ["a"] })),
        1 => Just(json!({ "x-look": 1, "const": 1 })),
    ];
    let part = leaf.prop_recursive(4, 12, 3, |inner| {
        let lists = prop_oneof![Just("allOf"), Just("anyOf"), Just("oneOf"), Just("prefixItems")];
        let single = prop_oneof![
            Just("not"),
            Just("if"),
            Just("then"),
            Just("items"),
            Just("contains"),
            Just("additionalProperties"),
            Just("unevaluatedProperties"),
            Just("unevaluatedItems"),
            Just("propertyNames"),
        ];
        let named = prop_oneof![Just("properties"), Just("patternProperties"), Just("dependentSchemas")];
        let keyword = prop_oneof![
            (lists, prop::collection::vec(inner.clone(), 1..4)).prop_map(|(keyword, parts)| (keyword, json!(parts))),
            (single, inner.clone()).prop_map(|(keyword, part)| (keyword, part)),
            (named, prop::collection::btree_map("[ab]", inner, 1..3)).prop_map(|(keyword, parts)| (keyword, json!(parts))),
        ];
        prop::collection::vec(keyword, 1..3).prop_map(|keywords| {
            let mut part = json!({ "x-look": 1 });
            for (keyword, value) in keywords {
                part[keyword] = value;
            }
            part
        })
    });
    (part.clone(), part.clone(), part).prop_map(|(mut root, a, b)| {
        root["$defs"] = json!({ "A": a, "B": b });
        root
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3).prop_map(Value::from), "[ab]".prop_map(Value::from)];
    leaf.prop_recursive(6, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Of every schema that is accepted: a check looks no more often than was counted, nor does the search for what is wrong.
    #[test]
    fn no_check_takes_longer_than_was_counted(schema in any_schema(), value in any_value()) {
        let Ok(accepted) = Schema::compile(schema.clone()) else { return Ok(()) };
        let counted = accepted.visits.counted(&value);
        let (validator, looks) = counting(&schema);
        prop_assume!(counted.telling < 1_000_000);
        let _ = validator.is_valid(&value);
        let checking = looks.swap(0, Ordering::Relaxed);
        prop_assert!(checking <= counted.checking, "checking {checking} {counted:?}");
        let errors = validator.iter_errors(&value).count();
        let telling = looks.load(Ordering::Relaxed);
        prop_assert!(telling <= counted.telling, "telling {telling} {errors} {counted:?}");
    }

    /// Whatever is taken for a schema is read to its end.
    #[test]
    fn nothing_makes_it_panic(schema in any_value()) {
        let _ = Schema::compile(schema);
    }
}
