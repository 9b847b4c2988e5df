use serde_json::json;

use super::*;

fn written(schema: Value) -> String {
    Types { natives: Natives::OfJavaScript }.read(&schema).expression("", 0)
}

#[test]
fn a_type_says_what_its_schema_says() {
    let cases = [
        (json!(true), "unknown"),
        (json!({ "not": {} }), "never"),
        (json!({ "type": "integer", "minimum": 1 }), "number"),
        (json!({ "type": ["string", "null"] }), "string | null"),
        (json!({ "enum": ["a", 1, null] }), r#""a" | 1 | null"#),
        (json!({ "type": "string", "const": "a\"b" }), r#""a\"b""#),
        (json!({ "type": "array", "items": { "type": ["string", "null"] } }), "(string | null)[]"),
        (json!({ "type": "array" }), "unknown[]"),
        (json!({ "type": "array", "prefixItems": [{ "type": "string" }], "minItems": 1, "maxItems": 1 }), "[string]"),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "string" }], "minItems": 1, "items": { "type": "null" } }),
            "[string, ...null[]]",
        ),
        (json!({ "type": "array", "prefixItems": [{ "type": "string" }], "items": { "type": "null" } }), "(string | null)[]"),
        (json!({ "type": "object" }), "{ [name: string]: unknown }"),
        (json!({ "type": "object", "additionalProperties": false }), "{ [name: string]: never }"),
        (json!({ "additionalProperties": { "type": "boolean" } }), "{ [name: string]: boolean }"),
        (json!({ "properties": { "a-b": true, "c": {} }, "required": ["c"] }), "{\n  \"a-b\"?: unknown;\n  c: unknown;\n}"),
        (
            json!({ "properties": { "a": { "type": "string" } }, "additionalProperties": { "type": "number" } }),
            "{\n  a?: string;\n  [name: string]: number | string | undefined;\n}",
        ),
        (json!({ "$ref": "#/$defs/A", "description": "B" }), "A"),
        (json!({ "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] }), "A | null"),
        (json!({ "allOf": [{ "$ref": "#/$defs/A" }, { "anyOf": [{ "$ref": "#/$defs/B" }, { "$ref": "#/$defs/C" }] }] }), "A & (B | C)"),
        (json!({ "type": "string", "x-native-type": "date" }), "Date"),
        (json!({ "type": ["string", "null"], "x-native-type": "date" }), "Date | null"),
        (json!({ "type": ["integer", "string"], "x-native-type": "bigint" }), "bigint"),
        (json!({ "type": "array", "items": { "type": "string" }, "x-native-type": "set" }), "Set<string>"),
        (
            json!({ "type": "array", "items": { "prefixItems": [{ "type": "string" }, { "$ref": "#/$defs/A" }] }, "x-native-type": "map" }),
            "Map<string, A>",
        ),
        (json!({ "type": "string", "x-native-type": "url" }), "URL"),
    ];
    for (schema, expected) in cases {
        assert_eq!(written(schema.clone()), expected, "{schema}");
    }
    let url = json!({ "type": "string", "x-native-type": "url" });
    assert_eq!(Types { natives: Natives::OfPlugins }.read(&url), Type::Known("string"), "a plugin has no URL");
}

#[test]
fn a_comment_ends_where_it_should() {
    let schema = json!({ "type": "object", "description": "One */ alert(1) /*\n\nTwo.", "properties": { "a": { "description": "Of it.", "type": "null" } } });
    let text = Types { natives: Natives::OfJavaScript }.declaration("A", &schema);
    assert_eq!(text, "/**\n * One *\u{200b}/ alert(1) /*\n *\n * Two.\n */\nexport interface A {\n  /** Of it. */\n  a?: null;\n}\n\n");
}
