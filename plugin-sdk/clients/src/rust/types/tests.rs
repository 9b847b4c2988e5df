use super::*;

#[test]
fn a_schema_is_put_into_what_typify_does_well() {
    let cases = [
        (json!({ "type": "string", "pattern": "^a", "format": "date-time", "title": "A" }), json!({ "type": "string" })),
        (
            json!({ "type": "integer", "format": "uint32", "minimum": 1, "maximum": 9 }),
            json!({ "type": "integer", "format": "uint32", "minimum": 0 }),
        ),
        (json!({ "type": "string", "const": "a" }), json!({ "type": "string", "enum": ["a"] })),
        (json!({ "enum": ["a", null] }), json!({ "type": ["string", "null"], "enum": ["a", null] })),
        (json!({ "enum": [1, "a"] }), json!(true)),
        (
            json!({ "x-native-type": "date", "type": ["string", "null"] }),
            json!({ "oneOf": [{ "$ref": "#/$defs/CheckstackPointInTime" }, { "type": "null" }] }),
        ),
        (
            json!({ "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }], "description": "B" }),
            json!({ "oneOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }], "description": "B" }),
        ),
        (json!({ "anyOf": [{ "type": "string" }, {}] }), json!(true)),
        (
            json!({ "properties": { "a": { "const": 1 }, "b": false }, "required": ["a", "c"], "additionalProperties": false }),
            json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" }, "b": true } }),
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "string" }, true], "minItems": 2, "maxItems": 2 }),
            json!({ "type": "array", "items": [{ "type": "string" }, true], "minItems": 2, "maxItems": 2 }),
        ),
        (json!({ "type": "array", "prefixItems": [true] }), json!({ "type": "array" })),
    ];
    for (schema, expected) in cases {
        assert_eq!(simplified(&schema), expected, "{schema}");
    }
}
