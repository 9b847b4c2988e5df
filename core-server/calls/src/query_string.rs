//! Inputs in a query string: `filter[name]=web&ids[]=1&ids[]=2`, as the REST mount takes them.
//!
//! A query string knows only texts. What the schema of the input wants to be a number, a boolean or null is made one if it
//! can be; what cannot is left for the schema to complain about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::envelope::Malformed;
use crate::schema::forms_of;

/// How many pairs a query string may have.
const MAX_PAIRS: usize = 1000;
/// How many brackets a name may have.
const MAX_DEPTH: usize = 16;

/// The input in a query string (what follows `?`), as `schema`, one that [compiles](crate::schema::Schema), wants it.
///
/// # Errors
/// For too many pairs, brackets that do not close, or a name that is both a value and the beginning of others.
pub fn decode(query: &str, schema: Option<&Value>) -> Result<Value, Malformed> {
    let mut root = Node::Fields(BTreeMap::new());
    for (count, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        if count >= MAX_PAIRS {
            return Err(Malformed(format!("the query string has more than {MAX_PAIRS} parameters")));
        }
        insert(&mut root, &segments(&name)?, value.into_owned())
            .ok_or_else(|| Malformed(format!("the parameter '{name}' is both a value and the beginning of others")))?;
    }
    let schema = schema.map(|root| Part { root, here: root });
    Ok(value(root, schema))
}

/// What a parameter's name leads to.
enum Node {
    Values(Vec<String>),
    Fields(BTreeMap<String, Node>),
}

/// `a[b][]` → `a`, `b` and an empty segment.
fn segments(name: &str) -> Result<Vec<&str>, Malformed> {
    let malformed = || Malformed(format!("the parameter '{name}' has brackets that do not close, or too many"));
    let Some((first, mut rest)) = name.find('[').map(|at| name.split_at(at)) else { return Ok(vec![name]) };
    let mut segments = vec![first];
    while !rest.is_empty() {
        let (segment, after) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')).ok_or_else(malformed)?;
        segments.push(segment);
        rest = after;
    }
    if segments.len() > MAX_DEPTH { Err(malformed()) } else { Ok(segments) }
}

fn insert(node: &mut Node, path: &[&str], value: String) -> Option<()> {
    match (node, path) {
        (Node::Values(values), []) => values.push(value),
        (Node::Fields(fields), [first, rest @ ..]) => {
            let new = || if rest.is_empty() { Node::Values(Vec::new()) } else { Node::Fields(BTreeMap::new()) };
            insert(fields.entry((*first).to_owned()).or_insert_with(new), rest, value)?;
        }
        (Node::Values(_), [_, ..]) | (Node::Fields(_), []) => return None,
    }
    Some(())
}

fn value(node: Node, schema: Option<Part<'_>>) -> Value {
    let wants = schema.map(|schema| schema.types()).unwrap_or_default();
    let wants_only = |name: &str| wants.contains(name) && wants.iter().all(|other| *other == name || *other == "null");
    match node {
        Node::Values(values) if wants_only("array") => {
            let item = schema.and_then(|schema| schema.item());
            values.into_iter().map(|text| value(Node::Values(vec![text]), item)).collect()
        }
        // As with any form, the last one counts.
        Node::Values(mut values) => values.pop().map_or(Value::Null, |text| scalar(text, &wants)),
        Node::Fields(fields) if !wants_only("object") && is_list(&fields) => {
            let item = schema.and_then(|schema| schema.item());
            ordered(fields).into_iter().map(|node| value(node, item)).collect()
        }
        Node::Fields(fields) => {
            let field = |(name, node): (String, Node)| {
                let part = schema.and_then(|schema| schema.property(&name));
                (name, value(node, part))
            };
            Value::Object(fields.into_iter().map(field).collect::<Map<_, _>>())
        }
    }
}

fn is_list(fields: &BTreeMap<String, Node>) -> bool {
    !fields.is_empty() && fields.keys().all(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The items of a list: by their numbers, and then those that have none.
fn ordered(fields: BTreeMap<String, Node>) -> Vec<Node> {
    let mut numbered: Vec<(u64, Node)> = Vec::new();
    let mut others = Vec::new();
    for (name, node) in fields {
        match (name.parse(), node) {
            (Ok(number), node) => numbered.push((number, node)),
            (Err(_), Node::Values(values)) => others.extend(values.into_iter().map(|text| Node::Values(vec![text]))),
            (Err(_), node) => others.push(node),
        }
    }
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, node)| node).chain(others).collect()
}

fn scalar(text: String, wants: &BTreeSet<&str>) -> Value {
    if wants.contains("string") {
        return Value::String(text);
    }
    let number = || text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok();
    let decimal = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    let is_number = wants.contains("number") || wants.contains("integer");
    let found = match text.as_str() {
        "true" | "false" if wants.contains("boolean") => Some(Value::Bool(text == "true")),
        "" | "null" if wants.contains("null") => Some(Value::Null),
        _ if is_number => number().or_else(decimal),
        _ => None,
    };
    found.unwrap_or(Value::String(text))
}

/// A part of a schema.
#[derive(Clone, Copy)]
struct Part<'a> {
    root: &'a Value,
    here: &'a Value,
}

impl<'a> Part<'a> {
    /// The part itself, and all that it refers to or offers as alternatives.
    fn forms(self) -> Vec<&'a Value> {
        let mut forms = vec![self.here];
        let mut next = 0;
        while let Some(form) = forms.get(next).copied() {
            next += 1;
            forms.extend(forms_of(self.root, form));
        }
        forms
    }

    /// Names of the JSON types that it permits. Empty: it does not say.
    fn types(self) -> BTreeSet<&'a str> {
        let mut types = BTreeSet::new();
        for form in self.forms() {
            let named = form.get("type").map(|names| names.as_array().map_or(std::slice::from_ref(names), Vec::as_slice));
            types.extend(named.into_iter().flatten().filter_map(Value::as_str));
            let values = form.get("const").into_iter().chain(form.get("enum").and_then(Value::as_array).into_iter().flatten());
            types.extend(values.map(|value| -> &'a str { type_of(value) }));
        }
        types
    }

    fn item(self) -> Option<Self> {
        self.forms().into_iter().find_map(|form| form.get("items")).map(|here| Self { here, ..self })
    }

    fn property(self, name: &str) -> Option<Self> {
        let forms = self.forms();
        let named = forms.iter().find_map(|form| form.get("properties")?.get(name));
        let here = named.or_else(|| forms.iter().find_map(|form| form.get("additionalProperties")))?;
        Some(Self { here, ..self })
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn decoded(query: &str, schema: Value) -> Value {
        decode(query, Some(&schema)).unwrap()
    }

    #[test]
    fn brackets_make_objects_and_lists() {
        let without = |query: &str| decode(query, None).unwrap();
        assert_eq!(without(""), json!({}));
        assert_eq!(without("a=1&b=x%20y&c=x+y"), json!({ "a": "1", "b": "x y", "c": "x y" }));
        assert_eq!(without("a[b][c]=1&a[b][d]=2"), json!({ "a": { "b": { "c": "1", "d": "2" } } }));
        assert_eq!(without("a[]=1&a[]=2"), json!({ "a": ["1", "2"] }));
        assert_eq!(without("a[10]=c&a[2]=b&a[0]=a"), json!({ "a": ["a", "b", "c"] }));
        assert_eq!(without("a[0][x]=1&a[1][x]=2"), json!({ "a": [{ "x": "1" }, { "x": "2" }] }));
        assert_eq!(without("a=1&a=2"), json!({ "a": "2" }));
        assert_eq!(without("a%5Bb%5D=1"), json!({ "a": { "b": "1" } }));
    }

    #[test]
    fn texts_become_what_the_schema_wants() {
        let schema = json!({
            "$defs": { "Limit": { "type": "integer" } },
            "properties": {
                "limit": { "$ref": "#/$defs/Limit" },
                "ratio": { "type": "number" },
                "on": { "type": "boolean" },
                "name": { "type": "string" },
                "maybe": { "anyOf": [{ "$ref": "#/$defs/Limit" }, { "type": "null" }] },
                "either": { "type": ["string", "integer"] },
                "ids": { "type": "array", "items": { "type": "integer" } },
                "level": { "enum": [1, 2] },
                "labels": { "type": "object", "additionalProperties": { "type": "boolean" } },
            },
        });
        let cases = [
            ("limit=10", json!({ "limit": 10 })),
            ("limit=18446744073709551615", json!({ "limit": u64::MAX })),
            ("limit=ten", json!({ "limit": "ten" })),
            ("ratio=0.5", json!({ "ratio": 0.5 })),
            ("ratio=inf", json!({ "ratio": "inf" })),
            ("on=true", json!({ "on": true })),
            ("on=false", json!({ "on": false })),
            ("on=1", json!({ "on": "1" })),
            ("name=12", json!({ "name": "12" })),
            ("maybe=", json!({ "maybe": null })),
            ("maybe=3", json!({ "maybe": 3 })),
            ("either=3", json!({ "either": "3" })),
            ("ids=1", json!({ "ids": [1] })),
            ("ids=1&ids=2", json!({ "ids": [1, 2] })),
            ("ids[]=1&ids[]=2", json!({ "ids": [1, 2] })),
            ("level=2", json!({ "level": 2 })),
            ("labels[0]=true", json!({ "labels": { "0": true } })),
        ];
        for (query, expected) in cases {
            assert_eq!(decoded(query, schema.clone()), expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let refused = |query: &str| decode(query, None).unwrap_err().to_string();
        assert!(refused("a[b=1").contains("brackets that do not close"));
        assert!(refused("a[b]c=1").contains("brackets that do not close"));
        assert!(refused(&format!("a{}=1", "[b]".repeat(MAX_DEPTH))).contains("too many"));
        assert!(refused("a=1&a[b]=2").contains("both a value"));
        assert!(refused("a[b]=1&a=2").contains("both a value"));
        assert!(refused(&"a=1&".repeat(MAX_PAIRS + 1)).contains("more than 1000"));
    }

    #[test]
    fn a_large_index_takes_no_room() {
        assert_eq!(decode("a[99999999999999999999]=x&a[7]=y", None).unwrap(), json!({ "a": ["y", "x"] }));
    }

    proptest! {
        #[test]
        fn no_query_string_makes_it_panic(query in "[a-c0-9\\[\\]=&%+]{0,60}") {
            let _ = decode(&query, None);
            let _ = decode(&query, Some(&json!({ "properties": { "a": { "type": "array", "items": { "type": "integer" } } } })));
        }
    }
}
