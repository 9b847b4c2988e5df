//! Types of JavaScript that JSON lacks. A schema names them by the keyword `x-native-type`, so that callers in JavaScript
//! get a `Date` where a plugin says that there is a point in time.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::schema::{PathSegment, forms_of};

/// Schema keyword.
pub const KEYWORD: &str = "x-native-type";

/// A type, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NativeType {
    /// An integer of any size, as a decimal string.
    BigInt,
    /// A point in time, as an ISO 8601 string.
    Date,
    /// Not a number, as `null`.
    NaN,
    /// Nothing at all: `null` in an array; a field that is not there.
    Undefined,
    /// A URL, as a string.
    Url,
    /// A regular expression, as a string.
    RegExp,
    /// An array without order.
    Set,
    /// An array of pairs.
    Map,
    /// A [file](crate::files), which has no number: it is not in the JSON.
    File,
}

impl NativeType {
    const ALL: [(Self, &'static str); 9] = [
        (Self::BigInt, "bigint"),
        (Self::Date, "date"),
        (Self::NaN, "nan"),
        (Self::Undefined, "undefined"),
        (Self::Url, "url"),
        (Self::RegExp, "regexp"),
        (Self::Set, "set"),
        (Self::Map, "map"),
        (Self::File, "file"),
    ];

    /// On the wire.
    #[must_use]
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The type of this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).map(|(native, _)| *native).filter(|native| *native != Self::File)
    }

    /// The type that a schema calls so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(native, _)| native)
    }

    /// Whether a value in JSON can be one.
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::BigInt => value.is_i64() || value.is_u64() || value.is_string(),
            Self::Date | Self::Url | Self::RegExp => value.is_string(),
            Self::NaN | Self::Undefined => value.is_null(),
            Self::Set | Self::Map => value.is_array(),
            Self::File => value.is_object(),
        }
    }
}

/// Where a value has types that JSON lacks.
pub type Places = Vec<(NativeType, Vec<PathSegment>)>;

/// Finds them by the schema of the value, one that [compiles](crate::schema::Schema). What is inside of something comes before
/// it, as it has to be put together.
#[must_use]
pub fn places(schema: &Value, value: &Value) -> Places {
    let mut search = Search { root: schema, path: Vec::new(), found: Vec::new(), seen: BTreeSet::new(), visited: HashSet::new() };
    search.visit(schema, value);
    search.found
}

/// Whether a schema names any such type.
#[must_use]
pub fn occur_in(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.contains_key(KEYWORD) || fields.values().any(occur_in),
        Value::Array(items) => items.iter().any(occur_in),
        _ => false,
    }
}

/// Whether a schema names this type.
#[must_use]
pub fn occurs_in(schema: &Value, native: NativeType) -> bool {
    let is_it = |name: &Value| name.as_str().and_then(NativeType::from_name) == Some(native);
    match schema {
        Value::Object(fields) => fields.get(KEYWORD).is_some_and(is_it) || fields.values().any(|part| occurs_in(part, native)),
        Value::Array(items) => items.iter().any(|part| occurs_in(part, native)),
        _ => false,
    }
}

struct Search<'a> {
    root: &'a Value,
    path: Vec<PathSegment>,
    found: Places,
    /// Several forms of a schema may name the same.
    seen: BTreeSet<(NativeType, Vec<PathSegment>)>,
    /// Forms of a schema and values, by their addresses: another look would find the same.
    visited: HashSet<(usize, usize)>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, schema: &'a Value, value: &Value) {
        if !self.visited.insert((std::ptr::from_ref(schema).addr(), std::ptr::from_ref(value).addr())) {
            return;
        }
        match value {
            Value::Object(fields) => self.visit_fields(schema, fields),
            Value::Array(items) => self.visit_items(schema, items),
            _ => {}
        }
        for form in forms_of(self.root, schema) {
            self.visit(form, value);
        }
        let native = schema.get(KEYWORD).and_then(Value::as_str).and_then(NativeType::from_name);
        if let Some(native) = native.filter(|native| native.fits(value)) {
            let place = (native, self.path.clone());
            if self.seen.insert(place.clone()) {
                self.found.push(place);
            }
        }
    }

    fn visit_fields(&mut self, schema: &'a Value, fields: &serde_json::Map<String, Value>) {
        for (name, value) in fields {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            if let Some(part) = property.or_else(|| schema.get("additionalProperties")) {
                self.step(PathSegment::Field(name.clone()), part, value);
            }
        }
    }

    fn visit_items(&mut self, schema: &'a Value, items: &[Value]) {
        let (first, others) = (schema.get("prefixItems").and_then(Value::as_array), schema.get("items"));
        if first.is_none() && others.is_none() {
            return;
        }
        for (index, value) in items.iter().enumerate() {
            if let Some(part) = first.and_then(|parts| parts.get(index)).or(others) {
                self.step(PathSegment::Index(index), part, value);
            }
        }
    }

    fn step(&mut self, segment: PathSegment, schema: &'a Value, value: &Value) {
        self.path.push(segment);
        self.visit(schema, value);
        self.path.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(schema: &Value, value: &Value) -> Vec<String> {
        places(schema, value).into_iter().map(|(native, path)| format!("{native:?} {}", json!(path))).collect()
    }

    #[test]
    fn types_are_found_wherever_the_schema_names_them() {
        let schema = json!({
            "$defs": { "At": { "type": "string", KEYWORD: "date" } },
            "properties": {
                "at": { "$ref": "#/$defs/At" },
                "maybe": { "anyOf": [{ "$ref": "#/$defs/At" }, { "type": "null" }] },
                "ids": { "items": { "properties": { "big": { KEYWORD: "bigint" } } } },
                "pair": { "prefixItems": [{ KEYWORD: "url" }, {}] },
            },
            "additionalProperties": { KEYWORD: "regexp" },
        });
        assert!(occur_in(&schema));
        let value = json!({ "at": "2026", "maybe": "2026", "ids": [{ "big": 1 }, { "big": null }], "pair": ["u", "v"], "other": "^a" });
        let mut found = texts(&schema, &value);
        found.sort();
        let expected = [r#"BigInt ["ids",0,"big"]"#, r#"Date ["at"]"#, r#"Date ["maybe"]"#, r#"RegExp ["other"]"#, r#"Url ["pair",0]"#];
        assert_eq!(found, expected);
        assert_eq!(texts(&schema, &json!({ "maybe": null })), [""; 0]);
        assert!(!occur_in(&json!({ "type": "object", "properties": { "a": { "type": "string" } } })));
    }

    #[test]
    fn what_is_inside_comes_first() {
        let schema = json!({ "items": { KEYWORD: "date" }, KEYWORD: "set" });
        assert_eq!(texts(&schema, &json!(["2026"])), ["Date [0]", "Set []"]);
    }

    #[test]
    fn a_tree_is_followed_to_its_end_and_what_two_forms_name_is_there_once() {
        let tree = json!({ "items": { "$ref": "#" }, KEYWORD: "set" });
        assert_eq!(texts(&tree, &json!([[[]]])), ["Set [0,0]", "Set [0]", "Set []"]);
        let twice = json!({ "$defs": { "At": { KEYWORD: "date" } }, "allOf": [{ "$ref": "#/$defs/At" }, { "$ref": "#/$defs/At" }] });
        assert_eq!(texts(&twice, &json!("2026")), ["Date []"]);
    }
}
