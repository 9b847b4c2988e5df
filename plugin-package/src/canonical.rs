//! Canonical JSON, for hashing: without white space, the keys of every object in byte order.

use serde::Serialize;
use serde_json::{Map, Value};

/// The canonical form of `value`. Two values that are equal as JSON have equal bytes, whatever
/// the order of fields in a type and whichever features `serde_json` was compiled with.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&sorted(serde_json::to_value(value)?))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_arrays_are_not() {
        let value: Value = serde_json::from_str(r#"{"b": [{"z": 1, "a": 2}, 0], "a": {"d": null, "c": "é"}}"#).unwrap();
        assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), r#"{"a":{"c":"é","d":null},"b":[{"a":2,"z":1},0]}"#);
    }
}
