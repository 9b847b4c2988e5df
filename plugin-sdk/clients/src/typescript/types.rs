//! TypeScript types of JSON Schemas (draft 2020-12).
//!
//! A type is at least as wide as its schema: each value that the schema permits has the type. What TypeScript cannot say (lengths, patterns,
//! `if`, …) is left to the server, which checks. One thing is narrower: a schema that names fields but no `type` is read as that of an
//! object, as people mean it.

use serde_json::{Map, Value};

use super::documentation;
use crate::api::TYPES;

/// What types that JSON lacks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Natives {
    /// All of them.
    OfJavaScript,
    /// There is no `URL`.
    OfPlugins,
}

/// Reads schemas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Types {
    pub(super) natives: Natives,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// `string`, `unknown`, `Date`.
    Known(&'static str),
    /// One that is declared.
    Declared(String),
    /// Of one value: a text, a number, …
    Literal(String),
    Array(Box<Type>),
    Tuple(Vec<Type>, Option<Box<Type>>),
    /// `Set` or `Map`, of these.
    Collection(&'static str, Vec<Type>),
    Object(Vec<Field>, Option<Box<Type>>),
    /// One of them.
    Union(Vec<Type>),
    /// All of them.
    Intersection(Vec<Type>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    name: String,
    is_required: bool,
    documentation: String,
    kind: Type,
}

const UNKNOWN: Type = Type::Known("unknown");
const NEVER: Type = Type::Known("never");
const NULL: Type = Type::Known("null");

impl Types {
    /// `export interface …` or `export type …`, with what the schema says about it.
    pub(super) fn declaration(self, name: &str, schema: &Value) -> String {
        let kind = self.read(schema);
        let documentation = documentation(description(schema), "");
        match &kind {
            Type::Object(fields, _) if !fields.is_empty() => {
                format!("{documentation}export interface {name} {}\n\n", kind.expression("", 0))
            }
            _ => format!("{documentation}export type {name} = {};\n\n", kind.expression("", 0)),
        }
    }

    pub(super) fn read(self, schema: &Value) -> Type {
        let fields = match schema {
            Value::Bool(false) => return NEVER,
            Value::Object(fields) => fields,
            _ => return UNKNOWN,
        };
        let schemas = |keyword: &str| fields.get(keyword).and_then(Value::as_array);
        let mut all = Vec::new();
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            all.push(Type::Declared(reference.strip_prefix(TYPES).unwrap_or(reference).to_owned()));
        }
        if fields.get("not").is_some_and(|not| not.as_object().is_some_and(Map::is_empty) || not == &Value::Bool(true)) {
            all.push(NEVER);
        }
        all.push(match (fields.get("const"), schemas("enum")) {
            (Some(value), _) => literal(value),
            (None, Some(values)) => union(values.iter().map(literal)),
            (None, None) => self.structure(fields),
        });
        all.extend(schemas("allOf").into_iter().flatten().map(|schema| self.read(schema)));
        all.extend(["anyOf", "oneOf"].into_iter().filter_map(schemas).map(|schemas| union(schemas.iter().map(|schema| self.read(schema)))));
        intersection(all)
    }

    /// What `type` says, and the keywords that belong to it.
    fn structure(self, fields: &Map<String, Value>) -> Type {
        let native = fields.get("x-native-type").and_then(Value::as_str);
        let named: Vec<&str> = match fields.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let has = |keywords: &[&str]| keywords.iter().any(|keyword| fields.contains_key(*keyword));
        let meant: &[&str] = match (named.as_slice(), native) {
            ([], Some(native)) => return self.native(native, fields),
            ([], None) if has(&["properties", "additionalProperties", "required"]) => &["object"],
            ([], None) if has(&["items", "prefixItems"]) => &["array"],
            ([], None) => return UNKNOWN,
            (named, _) => named,
        };
        union(meant.iter().map(|name| match native {
            Some(native) if fits(native, name) => self.native(native, fields),
            _ => self.of_json(name, fields),
        }))
    }

    fn of_json(self, name: &str, fields: &Map<String, Value>) -> Type {
        match name {
            "null" => NULL,
            "boolean" => Type::Known("boolean"),
            "string" => Type::Known("string"),
            "integer" | "number" => Type::Known("number"),
            "array" => self.array(fields),
            "object" => self.object(fields),
            _ => UNKNOWN,
        }
    }

    fn native(self, name: &str, fields: &Map<String, Value>) -> Type {
        let items = |fields: &Map<String, Value>| fields.get("items").map_or(UNKNOWN, |items| self.read(items));
        match (name, self.natives) {
            ("bigint", _) => Type::Known("bigint"),
            ("date", _) => Type::Known("Date"),
            ("nan", _) => Type::Known("number"),
            ("undefined", _) => Type::Known("undefined"),
            ("url", Natives::OfJavaScript) => Type::Known("URL"),
            ("url", Natives::OfPlugins) => Type::Known("string"),
            ("regexp", _) => Type::Known("RegExp"),
            ("set", _) => Type::Collection("Set", vec![items(fields)]),
            ("map", _) => {
                let pair = fields.get("items").and_then(|items| items.get("prefixItems")).and_then(Value::as_array);
                let of_pair = |index: usize| pair.and_then(|pair| pair.get(index)).map_or(UNKNOWN, |schema| self.read(schema));
                Type::Collection("Map", vec![of_pair(0), of_pair(1)])
            }
            _ => UNKNOWN,
        }
    }

    fn array(self, fields: &Map<String, Value>) -> Type {
        let rest = fields.get("items").map_or(UNKNOWN, |items| self.read(items));
        let Some(first) = fields.get("prefixItems").and_then(Value::as_array) else { return Type::Array(Box::new(rest)) };
        let at_least = fields.get("minItems").and_then(Value::as_u64).unwrap_or_default();
        let at_most = fields.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let length = first.len() as u64;
        let first: Vec<Type> = first.iter().map(|schema| self.read(schema)).collect();
        if at_least < length {
            // Any of them may be missing.
            return Type::Array(Box::new(union(first.into_iter().chain([rest]))));
        }
        Type::Tuple(first, (at_most > length && rest != NEVER).then(|| Box::new(rest)))
    }

    fn object(self, fields: &Map<String, Value>) -> Type {
        let required = fields.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|other| other == name));
        let properties = fields.get("properties").and_then(Value::as_object);
        let property = |(name, schema): (&String, &Value)| Field {
            name: name.clone(),
            is_required: is_required(name),
            documentation: description(schema).to_owned(),
            kind: self.read(schema),
        };
        let properties: Vec<Field> = properties.into_iter().flatten().map(property).collect();
        let patterns = fields
            .get("patternProperties")
            .and_then(Value::as_object)
            .map(|patterns| union(patterns.values().map(|schema| self.read(schema))));
        let rest = match (fields.get("additionalProperties"), patterns) {
            (Some(Value::Bool(false)), None) => properties.is_empty().then_some(NEVER),
            (Some(Value::Bool(false)), Some(patterns)) => Some(patterns),
            // Others may be there, and nobody asks for them.
            (None, None) => properties.is_empty().then_some(UNKNOWN),
            (None, Some(_)) | (Some(Value::Bool(true)), _) => Some(UNKNOWN),
            (Some(rest), patterns) => Some(union([self.read(rest)].into_iter().chain(patterns))),
        };
        // TypeScript wants the others to be of a type that those with a name have, too.
        let rest = rest.map(|rest| {
            let named =
                properties.iter().flat_map(|field| [Some(field.kind.clone()), (!field.is_required).then_some(Type::Known("undefined"))]);
            Box::new(union([rest].into_iter().chain(named.flatten())))
        });
        Type::Object(properties, rest)
    }
}

/// Whether a value of this type of JSON can be one.
fn fits(native: &str, json: &str) -> bool {
    match native {
        "bigint" => matches!(json, "integer" | "number" | "string"),
        "date" | "url" | "regexp" => json == "string",
        "nan" | "undefined" => json == "null",
        "set" | "map" => json == "array",
        _ => false,
    }
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn literal(value: &Value) -> Type {
    match value {
        Value::Null => NULL,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Type::Literal(value.to_string()),
        Value::Array(items) => Type::Tuple(items.iter().map(literal).collect(), None),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Field {
                name: name.clone(),
                is_required: true,
                documentation: String::new(),
                kind: literal(value),
            };
            Type::Object(fields.iter().map(field).collect(), fields.is_empty().then(|| Box::new(NEVER)))
        }
    }
}

/// Each of them once.
fn union(types: impl IntoIterator<Item = Type>) -> Type {
    let mut all: Vec<Type> = Vec::new();
    for kind in types {
        let parts = if let Type::Union(parts) = kind { parts } else { vec![kind] };
        for part in parts {
            if part != NEVER && !all.contains(&part) {
                all.push(part);
            }
        }
    }
    if all.contains(&UNKNOWN) {
        return UNKNOWN;
    }
    if all.len() > 1 { Type::Union(all) } else { all.pop().unwrap_or(NEVER) }
}

fn intersection(types: Vec<Type>) -> Type {
    let mut all: Vec<Type> = Vec::new();
    for kind in types {
        if kind != UNKNOWN && !all.contains(&kind) {
            all.push(kind);
        }
    }
    if all.contains(&NEVER) {
        return NEVER;
    }
    if all.len() > 1 { Type::Intersection(all) } else { all.pop().unwrap_or(UNKNOWN) }
}

impl Type {
    /// Whether it is worth a name.
    pub(super) fn has_fields(&self) -> bool {
        match self {
            Self::Known(_) | Self::Declared(_) | Self::Literal(_) => false,
            Self::Object(fields, _) => !fields.is_empty(),
            Self::Array(item) => item.has_fields(),
            Self::Tuple(items, rest) => items.iter().chain(rest.as_deref()).any(Self::has_fields),
            Self::Collection(_, of) | Self::Union(of) | Self::Intersection(of) => of.iter().any(Self::has_fields),
        }
    }

    /// As it is written. `within` is before names of declared types, `depth` is how far fields are indented.
    pub(super) fn expression(&self, within: &str, depth: usize) -> String {
        let of = |kind: &Self| kind.expression(within, depth);
        // Beside an operator that binds more.
        let operand =
            |kind: &Self| if matches!(kind, Self::Union(_) | Self::Intersection(_)) { format!("({})", of(kind)) } else { of(kind) };
        let joined = |kinds: &[Self], between: &str, one: &dyn Fn(&Self) -> String| kinds.iter().map(one).collect::<Vec<_>>().join(between);
        match self {
            Self::Known(name) => (*name).to_owned(),
            Self::Declared(name) => format!("{within}{name}"),
            Self::Literal(text) => text.clone(),
            Self::Array(item) => format!("{}[]", operand(item)),
            Self::Tuple(items, None) => format!("[{}]", joined(items, ", ", &of)),
            Self::Tuple(items, Some(rest)) => format!("[{}, ...{}[]]", joined(items, ", ", &of), operand(rest)),
            Self::Collection(name, parts) => format!("{name}<{}>", joined(parts, ", ", &of)),
            Self::Union(parts) => joined(parts, " | ", &operand),
            Self::Intersection(parts) => joined(parts, " & ", &operand),
            Self::Object(fields, rest) => object(fields, rest.as_deref(), within, depth),
        }
    }
}

fn object(fields: &[Field], rest: Option<&Type>, within: &str, depth: usize) -> String {
    match (fields, rest) {
        ([], None) => return "{ [name: string]: unknown }".to_owned(),
        // Not `Record`, by which a type cannot refer to itself.
        ([], Some(rest)) => return format!("{{ [name: string]: {} }}", rest.expression(within, depth)),
        _ => {}
    }
    let indentation = "  ".repeat(depth + 1);
    let mut text = "{\n".to_owned();
    for Field { name, is_required, documentation, kind } in fields {
        let mark = if *is_required { "" } else { "?" };
        text += &self::documentation(documentation, &indentation);
        text += &format!("{indentation}{}{mark}: {};\n", property_name(name), kind.expression(within, depth + 1));
    }
    if let Some(rest) = rest {
        text += &format!("{indentation}[name: string]: {};\n", rest.expression(within, depth + 1));
    }
    text + &"  ".repeat(depth) + "}"
}

/// Names that are none in TypeScript are in quotes.
fn property_name(name: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '$');
    let is_plain = name.starts_with(|first: char| !first.is_ascii_digit()) && name.chars().all(is_part);
    if is_plain { name.to_owned() } else { Value::String(name.to_owned()).to_string() }
}

#[cfg(test)]
mod tests;
