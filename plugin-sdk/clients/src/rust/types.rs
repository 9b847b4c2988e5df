//! Rust types of JSON Schemas, by `typify`.
//!
//! It reads drafts before 2020-12, makes types that check lengths and patterns (which the server does), and gives up on schemas that it does not
//! know. So a schema is [put](simplified) into what it does well, before: the shape of values, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proc_macro2::TokenStream;
use schemars08::schema::Schema;
use serde_json::{Map, Value, json};
use syn::visit_mut::VisitMut;
use typify::{TypeSpace, TypeSpaceImpl, TypeSpaceSettings};

use crate::Error;
use crate::api::{Plugin, TYPES};
use crate::names::{self, Scope};

/// Stands for a point in time, and is replaced by the type for it.
const POINT_IN_TIME: &str = "CheckstackPointInTime";

/// Types of a plugin's schemas.
pub(super) struct Types {
    space: TypeSpace,
    names: Scope,
    plugin: String,
}

impl Types {
    /// With those that have names. `point_in_time` is the path of a type.
    pub(super) fn new(plugin: &Plugin, point_in_time: &str) -> Result<Self, Error> {
        let mut settings = TypeSpaceSettings::default();
        settings.with_type_mod("types").with_derive("PartialEq".to_owned());
        settings.with_replacement(POINT_IN_TIME, point_in_time, [TypeSpaceImpl::Display, TypeSpaceImpl::FromStr].into_iter());
        let mut names = Scope::of_types();
        let mut definitions = vec![(POINT_IN_TIME.to_owned(), json!({ "type": "string" }))];
        for (name, schema) in &plugin.types {
            definitions.push((names.name(name.clone()), simplified(schema)));
        }
        let mut types = Self { space: TypeSpace::new(&settings), names, plugin: plugin.id.clone() };
        let definitions =
            definitions.into_iter().map(|(name, schema)| Ok((name, types.schema(schema)?))).collect::<Result<Vec<_>, Error>>()?;
        types.guarded(|space| space.add_ref_types(definitions))?;
        Ok(types)
    }

    /// The type of a schema, which gets a name like that of the procedure if it needs one.
    pub(super) fn of(&mut self, path: &str, what: &str, schema: &Value) -> Result<TokenStream, Error> {
        let schema = self.schema(simplified(schema))?;
        let name = self.names.name(names::type_name(&format!("{path} {what}")));
        self.guarded(|space| {
            let id = space.add_type_with_name(&schema, Some(name))?;
            space.get_type(&id).map(|kind| kind.ident())
        })
    }

    /// All that there are.
    pub(super) fn items(&self) -> Result<Vec<syn::Item>, Error> {
        let mut file: syn::File = syn::parse2(self.space.to_stream())?;
        WithoutSchemas.visit_file_mut(&mut file);
        Ok(file.items)
    }

    fn schema(&self, schema: Value) -> Result<Schema, Error> {
        serde_json::from_value(schema).map_err(|problem| self.error(problem.to_string()))
    }

    /// It panics at what it does not expect.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut TypeSpace) -> Result<T, typify::Error>) -> Result<T, Error> {
        let space = &mut self.space;
        match catch_unwind(AssertUnwindSafe(|| work(space))) {
            Ok(result) => result.map_err(|problem| self.error(problem.to_string())),
            Err(_) => Err(self.error("see above".to_owned())),
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::Types { plugin: self.plugin.clone(), problem }
    }
}

/// Documentation of types without their schemas, which would be three quarters of the text.
struct WithoutSchemas;

impl VisitMut for WithoutSchemas {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<syn::Attribute>) {
        let mut is_schema = false;
        attributes.retain(|attribute| {
            let Some(line) = documentation(attribute) else { return true };
            is_schema |= line.contains("<details>");
            let keep = !is_schema;
            is_schema &= !line.contains("</details>");
            keep
        });
        for attribute in attributes {
            // As people write it.
            if let Some(line) = documentation(attribute).filter(|line| !line.is_empty() && !line.starts_with(' ')) {
                let line = format!(" {line}");
                *attribute = syn::parse_quote!(#[doc = #line]);
            }
        }
    }
}

fn documentation(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if pair.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

/// Only what says of which shape a value is, as drafts before 2020-12 say it.
fn simplified(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return json!(true) };
    let mut simple = match native(fields) {
        Some(simple) => simple,
        None => shape(fields),
    };
    if let (Some(description), Value::Object(simple)) = (fields.get("description"), &mut simple) {
        simple.insert("description".to_owned(), description.clone());
    }
    simple
}

/// A type that JSON lacks, as it is after `meta` has been followed: a big integer is a number.
fn native(fields: &Map<String, Value>) -> Option<Value> {
    let point_in_time = || json!({ "$ref": format!("{TYPES}{POINT_IN_TIME}") });
    let simple = match fields.get("x-native-type")?.as_str()? {
        "date" => point_in_time(),
        "bigint" => integer(fields),
        "url" | "regexp" => json!({ "type": "string" }),
        "nan" => return Some(json!({ "type": ["number", "null"] })),
        _ => return None,
    };
    let is_nullable = fields.get("type").and_then(Value::as_array).is_some_and(|names| names.iter().any(|name| name == "null"));
    Some(if is_nullable { json!({ "oneOf": [simple, { "type": "null" }] }) } else { simple })
}

fn integer(fields: &Map<String, Value>) -> Value {
    let mut simple = json!({ "type": "integer" });
    let is_natural =
        ["minimum", "exclusiveMinimum"].iter().any(|bound| fields.get(*bound).and_then(Value::as_f64).is_some_and(|bound| bound >= 0.0));
    if let Value::Object(simple) = &mut simple {
        if let Some(format) = fields.get("format").filter(|format| format.as_str().is_some_and(is_integer_format)) {
            simple.insert("format".to_owned(), format.clone());
        }
        if is_natural {
            simple.insert("minimum".to_owned(), json!(0));
        }
    }
    simple
}

fn is_integer_format(format: &str) -> bool {
    let bits = format.strip_prefix('u').unwrap_or(format).strip_prefix("int");
    bits.is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64"))
}

fn shape(fields: &Map<String, Value>) -> Value {
    let list = |keyword: &str| fields.get(keyword).and_then(Value::as_array);
    let mut parts: Vec<Value> = Vec::new();
    parts.extend(fields.get("$ref").map(|reference| json!({ "$ref": reference })));
    let own = match (fields.get("const"), list("enum")) {
        (Some(value), _) => one_of_values(std::slice::from_ref(value)),
        (None, Some(values)) => one_of_values(values),
        (None, None) => typed(fields),
    };
    parts.extend((own != json!(true)).then_some(own));
    parts.extend(list("allOf").into_iter().flatten().map(simplified).filter(|part| part != &json!(true)));
    // The first that fits is taken: what would be all of them that fit is no type.
    parts.extend(["anyOf", "oneOf"].into_iter().filter_map(list).map(|schemas| alternatives(schemas)).filter(|part| part != &json!(true)));
    match parts.len() {
        0 => json!(true),
        1 => parts.swap_remove(0),
        _ => json!({ "allOf": parts }),
    }
}

/// Of which anything may be one: then it is anything.
fn alternatives(schemas: &[Value]) -> Value {
    let simple: Vec<Value> = schemas.iter().map(simplified).collect();
    let is_anything =
        |schema: &Value| schema.as_object().map_or(schema == &json!(true), |fields| fields.keys().all(|name| name == "description"));
    match simple.as_slice() {
        [one] => one.clone(),
        several if several.iter().any(is_anything) => json!(true),
        _ => json!({ "oneOf": simple }),
    }
}

/// Texts become an enumeration; of other values only the type counts.
fn one_of_values(values: &[Value]) -> Value {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut kinds: Vec<&str> = values.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.as_slice() {
        ["string"] => json!({ "type": "string", "enum": values }),
        ["null", "string"] => json!({ "type": ["string", "null"], "enum": values }),
        [one] => json!({ "type": one }),
        ["null", other] => json!({ "type": [other, "null"] }),
        _ => json!(true),
    }
}

fn typed(fields: &Map<String, Value>) -> Value {
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| fields.contains_key(*keyword));
    let names: Vec<&str> = match fields.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if has(&["properties", "additionalProperties", "required"]) => vec!["object"],
        _ if has(&["items", "prefixItems"]) => vec!["array"],
        _ => Vec::new(),
    };
    // With its alternatives, it says nothing more.
    let is_said_elsewhere =
        has(&["oneOf", "anyOf", "allOf", "$ref"]) && !has(&["properties", "additionalProperties", "items", "prefixItems"]);
    match names.as_slice() {
        [] => json!(true),
        _ if is_said_elsewhere => json!(true),
        [name] => of_type(name, fields),
        [name, "null"] | ["null", name] => nullable(of_type(name, fields)),
        several => json!({ "oneOf": several.iter().map(|name| of_type(name, fields)).collect::<Vec<_>>() }),
    }
}

fn nullable(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

fn of_type(name: &str, fields: &Map<String, Value>) -> Value {
    match name {
        "integer" => integer(fields),
        "array" => array(fields),
        "object" => object(fields),
        name => json!({ "type": name }),
    }
}

fn array(fields: &Map<String, Value>) -> Value {
    let number = |keyword: &str| fields.get(keyword).and_then(Value::as_u64);
    match (fields.get("prefixItems").and_then(Value::as_array), fields.get("items")) {
        (Some(first), _) => {
            let length = first.len() as u64;
            let is_tuple = number("minItems") == Some(length) && number("maxItems") == Some(length);
            let first: Vec<Value> = first.iter().map(simplified).collect();
            if is_tuple {
                json!({ "type": "array", "items": first, "minItems": length, "maxItems": length })
            } else {
                json!({ "type": "array" })
            }
        }
        (None, Some(items)) => json!({ "type": "array", "items": simplified(items) }),
        (None, None) => json!({ "type": "array" }),
    }
}

fn object(fields: &Map<String, Value>) -> Value {
    let mut simple = Map::from_iter([("type".to_owned(), json!("object"))]);
    let properties = fields.get("properties").and_then(Value::as_object);
    let properties: Map<String, Value> =
        properties.into_iter().flatten().map(|(name, schema)| (name.clone(), simplified(schema))).collect();
    let rest = fields.get("additionalProperties").filter(|rest| rest.is_object());
    if let Some(rest) = rest {
        simple.insert("additionalProperties".to_owned(), simplified(rest));
    }
    if !properties.is_empty() {
        // Those that are not described have no field.
        let required = fields.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: Vec<&Value> = required.filter(|name| name.as_str().is_some_and(|name| properties.contains_key(name))).collect();
        simple.insert("required".to_owned(), json!(required));
        simple.insert("properties".to_owned(), Value::Object(properties));
    }
    Value::Object(simple)
}

#[cfg(test)]
mod tests;
