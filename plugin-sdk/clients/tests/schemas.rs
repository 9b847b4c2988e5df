//! Whatever a schema is: its values have the type that TypeScript gets, and Rust gets types too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use checkstack_calls::schema::Schema;
use checkstack_clients::{Caller, Language, Options, generate};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

const CASES: usize = 400;

/// A schema, and a value that it permits.
type Case = (Value, Value);

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", Just("a-b".to_owned()), Just("*/ \" \\".to_owned()), Just("type".to_owned()), Just(String::new())]
}

fn leaf() -> impl Strategy<Value = Case> {
    prop_oneof![
        any::<bool>().prop_map(|value| (json!({ "type": "boolean" }), json!(value))),
        any::<i32>().prop_map(|value| (json!({ "type": "integer" }), json!(value))),
        any::<i16>().prop_map(|value| (json!({ "type": ["number", "null"] }), json!(f64::from(value) / 4.0))),
        text().prop_map(|value| (json!({ "type": "string", "description": value }), json!(value))),
        text().prop_map(|value| (json!({ "const": value }), json!(value))),
        any::<u8>().prop_map(|value| (json!({ "enum": [value, "other", null] }), json!(value))),
        text().prop_map(|value| (json!({ "type": ["string", "null"], "enum": [value, null] }), Value::Null)),
        Just((json!({ "type": ["integer", "null"] }), Value::Null)),
        any::<u8>().prop_map(|value| (json!(true), json!([value, { "a": value }]))),
    ]
}

fn schemas(cases: &[Case]) -> Vec<Value> {
    cases.iter().map(|(schema, _)| schema.clone()).collect()
}

fn values(cases: &[Case]) -> Vec<Value> {
    cases.iter().map(|(_, value)| value.clone()).collect()
}

fn array(cases: &[Case]) -> Case {
    (json!({ "type": "array", "items": { "anyOf": schemas(cases) } }), json!(values(cases)))
}

/// Of a fixed length, with more, or with less.
fn tuple(cases: &[Case], form: u8) -> Case {
    let mut schema = json!({ "type": "array", "prefixItems": schemas(cases), "minItems": cases.len() });
    let mut items = values(cases);
    match form % 3 {
        0 => schema["maxItems"] = json!(cases.len()),
        1 => {
            schema["items"] = json!({ "type": "null" });
            items.push(Value::Null);
        }
        _ => {
            schema["minItems"] = json!(0);
            items.pop();
        }
    }
    (schema, json!(items))
}

/// Fields are required, or there, or neither; others may come beside them.
fn object(fields: &BTreeMap<String, (Case, u8)>, rest: Option<&Case>) -> Case {
    let mut value = Map::new();
    let mut required = Vec::new();
    for (name, ((_, field), form)) in fields {
        if form % 3 == 0 {
            required.push(name);
        }
        if form % 3 < 2 {
            value.insert(name.clone(), field.clone());
        }
    }
    let properties: Map<String, Value> = fields.iter().map(|(name, ((schema, _), _))| (name.clone(), schema.clone())).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    if let Some((of_rest, other)) = rest {
        schema["additionalProperties"] = of_rest.clone();
        value.insert("other".to_owned(), other.clone());
    }
    (schema, Value::Object(value))
}

/// Two objects, of which the value is both.
fn both(one: &BTreeMap<String, (Case, u8)>) -> Case {
    let other: BTreeMap<String, (Case, u8)> = one.iter().map(|(name, case)| (format!("{name}2"), case.clone())).collect();
    let ((mut first, one), (mut second, other)) = (object(one, None), object(&other, None));
    for schema in [&mut first, &mut second] {
        schema.as_object_mut().unwrap().remove("additionalProperties");
    }
    let value = one.as_object().unwrap().clone().into_iter().chain(other.as_object().unwrap().clone()).collect();
    (json!({ "allOf": [first, second] }), Value::Object(value))
}

fn case() -> impl Strategy<Value = Case> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        let fields = || prop::collection::btree_map(text(), (inner.clone(), any::<u8>()), 1..4);
        prop_oneof![
            several().prop_map(|cases| array(&cases)),
            (several(), any::<u8>()).prop_map(|(cases, form)| tuple(&cases, form)),
            (fields(), prop::option::of(inner.clone())).prop_map(|(fields, rest)| object(&fields, rest.as_ref())),
            fields().prop_map(|fields| both(&fields)),
            several().prop_map(|cases| (json!({ "anyOf": schemas(&cases) }), cases[0].1.clone())),
            inner.clone().prop_map(|(schema, value)| (json!({ "type": "object", "additionalProperties": schema }), json!({ "k": value }))),
        ]
    })
}

fn cases() -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(|_| case().new_tree(&mut runner).unwrap().current()).collect()
}

fn document<'a>(schemas: impl Iterator<Item = (usize, &'a Value)>) -> Value {
    let path = |(number, schema): (usize, &Value)| {
        let content = json!({ "200": { "content": { "application/json": { "schema": schema } } } });
        (format!("/rest/test/p{number}"), json!({ "get": { "responses": content } }))
    };
    json!({ "paths": schemas.map(path).collect::<Map<_, _>>() })
}

fn made(document: &Value, language: Language, caller: Caller) -> String {
    generate(document, Options { language, caller, plugins: &[] }).unwrap_or_else(|error| panic!("{error}: {document}"))
}

#[test]
fn each_value_that_a_schema_permits_has_the_type() {
    let cases = cases();
    for (schema, value) in &cases {
        assert_eq!(Schema::compile(schema.clone()).unwrap().issues(value), [], "a fault of this test: {schema} {value}");
    }
    let folder = tempfile::tempdir().unwrap();
    let document = document(cases.iter().map(|(schema, _)| schema).enumerate());
    std::fs::write(folder.path().join("client.ts"), made(&document, Language::TypeScript, Caller::Outsider)).unwrap();
    let mut uses = "import type { Client } from \"./client.ts\";\ntype Of<T> = T extends () => Promise<infer O> ? O : never;\n".to_owned();
    for (number, (_, value)) in cases.iter().enumerate() {
        writeln!(uses, "export const v{number}: Of<Client[\"test\"][\"p{number}\"]> = {value};").unwrap();
    }
    std::fs::write(folder.path().join("uses.ts"), uses).unwrap();
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../typescript/node_modules");
    assert!(modules.exists(), "run plugin-sdk/toolchain/install typescript");
    let options = json!({
        "compilerOptions": {
            "target": "es2023", "lib": ["es2023", "dom"], "module": "esnext", "moduleResolution": "bundler", "types": [], "strict": true, "noEmit": true,
            "exactOptionalPropertyTypes": true, "noUncheckedIndexedAccess": true, "allowImportingTsExtensions": true, "skipLibCheck": true,
        },
        "include": ["*.ts"],
    });
    std::fs::write(folder.path().join("tsconfig.json"), options.to_string()).unwrap();
    let checked = Command::new(modules.join(".bin/tsc")).current_dir(folder.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn of_each_schema_there_are_types_in_rust() {
    for (number, (schema, _)) in cases().iter().enumerate() {
        let text = made(&document([(number, schema)].into_iter()), Language::Rust, Caller::Plugin);
        assert!(text.contains(&format!("pub fn p{number}() -> Result<")), "{text}");
    }
}
