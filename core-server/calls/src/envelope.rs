//! What a call and its answer look like on the RPC route: `{"json": …, "meta": [[type, path…], …]}`.
//!
//! `meta` notes types that JSON lacks. A plugin sees JSON only: points in time and the like are strings, a big integer is a
//! number where it fits into 64 bits, and what is undefined is not there.

use serde_json::{Map, Value, json};

use crate::error::CallError;
use crate::native_type::{self, NativeType, Places};
use crate::schema::{PathSegment, Schema};

/// Why what was sent is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Malformed request: {0}")]
pub struct Malformed(pub String);

/// The input of a call. None is what JavaScript calls undefined.
///
/// # Errors
/// When it is not JSON, or not an envelope.
pub fn decode(body: &[u8]) -> Result<Option<Value>, Malformed> {
    if body.is_empty() {
        return Ok(None);
    }
    decode_value(serde_json::from_slice(body).map_err(|error| Malformed(format!("the body is no JSON: {error}")))?)
}

/// The same, of what has been read.
pub(crate) fn decode_value(envelope: Value) -> Result<Option<Value>, Malformed> {
    let Value::Object(mut envelope) = envelope else { return Err(Malformed("the body is not an object with a field 'json'".into())) };
    let meta = match envelope.remove("meta") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Malformed("'meta' is not an array".into())),
    };
    let mut input = envelope.remove("json");
    for entry in &meta {
        let (native, path) = noted(entry).ok_or_else(|| Malformed("'meta' has an entry that is not [type, path…]".into()))?;
        restore(&mut input, native, &path).ok_or_else(|| Malformed("'meta' names a value that is not there".into()))?;
    }
    Ok(input)
}

/// An entry of `meta`.
fn noted(entry: &Value) -> Option<(NativeType, Vec<&Value>)> {
    let (number, path) = entry.as_array()?.split_first()?;
    let is_segment = |segment: &Value| segment.is_string() || segment.is_u64();
    let native = NativeType::from_number(number.as_u64()?)?;
    path.iter().all(is_segment).then(|| (native, path.iter().collect()))
}

/// Makes JSON of what JSON lacks.
fn restore(input: &mut Option<Value>, native: NativeType, path: &[&Value]) -> Option<()> {
    let Some((last, parents)) = path.split_last() else {
        match native {
            NativeType::Undefined => *input = None,
            _ => as_json(input.as_mut()?, native),
        }
        return Some(());
    };
    let parent = parents.iter().try_fold(input.as_mut()?, |value, segment| child(value, segment))?;
    match parent {
        // A second entry may name what the first has taken away.
        Value::Object(fields) if native == NativeType::Undefined => drop(fields.remove(last.as_str()?)),
        parent => as_json(child(parent, last)?, native),
    }
    Some(())
}

fn child<'a>(value: &'a mut Value, segment: &Value) -> Option<&'a mut Value> {
    match (value, segment) {
        (Value::Object(fields), Value::String(name)) => fields.get_mut(name),
        (Value::Array(items), Value::String(index)) => items.get_mut(index.parse::<usize>().ok()?),
        (Value::Array(items), index) => items.get_mut(usize::try_from(index.as_u64()?).ok()?),
        _ => None,
    }
}

fn as_json(value: &mut Value, native: NativeType) {
    if let (NativeType::BigInt, Value::String(digits)) = (native, &value) {
        let number = digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from));
        if let Ok(number) = number {
            *value = number;
        }
    }
}

/// The answer to a call that went well. `schema` is that of the output.
#[must_use]
pub fn encode(output: Option<Value>, schema: Option<&Schema>) -> Value {
    let Some(mut output) = output else { return json!({}) };
    let places = match schema {
        Some(schema) if schema.has_native_types() => native_type::places(schema.json(), &output),
        _ => Vec::new(),
    };
    let big = places.iter().filter(|(native, _)| *native == NativeType::BigInt);
    for (_, path) in big {
        as_decimal(&mut output, path);
    }
    let mut envelope = Map::from_iter([("json".to_owned(), output)]);
    if !places.is_empty() {
        envelope.insert("meta".into(), meta(places));
    }
    Value::Object(envelope)
}

/// The answer to a call that failed.
#[must_use]
pub fn encode_error(error: &CallError) -> Value {
    json!({ "json": error.to_json() })
}

fn as_decimal(output: &mut Value, path: &[PathSegment]) {
    let place = path.iter().try_fold(output, |value, segment| match segment {
        PathSegment::Field(name) => value.get_mut(name),
        PathSegment::Index(index) => value.get_mut(index),
    });
    if let Some(place) = place.filter(|place| place.is_number()) {
        *place = Value::String(place.to_string());
    }
}

fn meta(places: Places) -> Value {
    let entry = |(native, path): (NativeType, Vec<PathSegment>)| {
        let path = path.into_iter().map(|segment| json!(segment));
        Value::Array(std::iter::once(Value::from(native.number())).chain(path).collect())
    };
    Value::Array(places.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorCode;
    use crate::native_type::KEYWORD;

    fn decoded(body: Value) -> Option<Value> {
        decode(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_input_is_json_with_notes() {
        let sent = r#"{"json":{"at":"2026-01-01T00:00:00.000Z","ids":["a"]},"meta":[[1,"at"],[6,"ids"]]}"#;
        let input = json!({ "at": "2026-01-01T00:00:00.000Z", "ids": ["a"] });
        assert_eq!(decode(sent.as_bytes()), Ok(Some(input)));
    }

    #[test]
    fn nothing_is_undefined() {
        assert_eq!(decode(b""), Ok(None));
        assert_eq!(decoded(json!({})), None);
        assert_eq!(decoded(json!({ "json": null, "meta": [[3]] })), None);
        assert_eq!(decoded(json!({ "json": null })), Some(Value::Null));
        let input = json!({ "a": null, "b": [1, null], "c": null });
        assert_eq!(
            decoded(json!({ "json": input, "meta": [[3, "a"], [3, "a"], [3, "b", 1]] })),
            Some(json!({ "b": [1, null], "c": null }))
        );
    }

    #[test]
    fn a_big_integer_is_a_number_where_it_fits() {
        let big = |text: &str| decoded(json!({ "json": [text], "meta": [[0, 0]] }));
        assert_eq!(big("-9007199254740993"), Some(json!([-9_007_199_254_740_993_i64])));
        assert_eq!(big("18446744073709551615"), Some(json!([u64::MAX])));
        assert_eq!(big("18446744073709551616"), Some(json!(["18446744073709551616"])));
        assert_eq!(decoded(json!({ "json": "7", "meta": [[0]] })), Some(json!(7)));
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let refused = |body: &str| decode(body.as_bytes()).unwrap_err().to_string();
        assert!(refused("{").starts_with("Malformed request: the body is no JSON"));
        assert_eq!(refused("[]"), "Malformed request: the body is not an object with a field 'json'");
        assert_eq!(refused(r#"{"meta":{}}"#), "Malformed request: 'meta' is not an array");
        for meta in ["1", "[]", "[8]", r#"["1"]"#, "[1, {}]", "[1, -1]", "[1.5]"] {
            let said = refused(&format!(r#"{{"json":1,"meta":[{meta}]}}"#));
            assert_eq!(said, "Malformed request: 'meta' has an entry that is not [type, path…]", "{meta}");
        }
        for meta in [r#"[1,"b"]"#, r#"[1,"a","b"]"#, r#"[3,"a","b"]"#, "[1,7]", r#"[3,"b","c"]"#, "[3,0]"] {
            let said = refused(&format!(r#"{{"json":{{"a":1}},"meta":[{meta}]}}"#));
            assert_eq!(said, "Malformed request: 'meta' names a value that is not there", "{meta}");
        }
        assert!(decode(&[b"{\"json\":".as_slice(), &[b'['; 10_000]].concat()).is_err(), "too deep");
    }

    #[test]
    fn an_output_is_noted_by_its_schema() {
        let schema = Schema::compile(json!({
            "properties": { "at": { KEYWORD: "date" }, "count": { KEYWORD: "bigint" }, "name": { "type": "string" } }
        }))
        .unwrap();
        let output = json!({ "at": "2026-01-01T00:00:00.000Z", "count": 7, "name": "x" });
        let sent = encode(Some(output), Some(&schema));
        assert_eq!(
            sent,
            json!({ "json": { "at": "2026-01-01T00:00:00.000Z", "count": "7", "name": "x" }, "meta": [[1, "at"], [0, "count"]] })
        );
        assert_eq!(encode(Some(json!({ "name": "x" })), Some(&schema)).to_string(), r#"{"json":{"name":"x"}}"#);
        assert_eq!(encode(Some(json!(1)), None).to_string(), r#"{"json":1}"#);
        assert_eq!(encode(None, Some(&schema)).to_string(), "{}");
    }

    #[test]
    fn an_error_is_in_an_envelope_too() {
        let sent = encode_error(&CallError::new(ErrorCode::NotFound));
        assert_eq!(sent, json!({ "json": { "defined": false, "code": "NOT_FOUND", "status": 404, "message": "Not Found" } }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z0-9]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever notes come with it.
        #[test]
        fn no_body_makes_it_panic(json in any_json(), meta in any_json(), cut in 0_usize..200) {
            let body = json!({ "json": json, "meta": meta }).to_string();
            let _ = decode(body.as_bytes());
            let _ = decode(body.get(..cut).unwrap_or(&body).as_bytes());
        }

        #[test]
        fn what_is_sent_without_notes_arrives(json in any_json()) {
            let sent = encode(Some(json.clone()), None).to_string();
            prop_assert_eq!(decode(sent.as_bytes()), Ok(Some(json)));
        }
    }
}
