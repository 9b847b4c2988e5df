//! The parts of a schema, each of which describes a value, and the ways from one to another.
//!
//! Only what can be followed here is accepted: references to the schema's own parts, by plain JSON pointers.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::InvalidSchema;

/// How many parts a schema may have.
const MAX_PARTS: usize = 10_000;
/// Of the text that says where a part is.
const MAX_PLACE_CHARACTERS: usize = 200;
/// The only dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// So many values are compared in the time of a visit.
const COMPARED_PER_VISIT: usize = 8;

/// A step from a value into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step<'a> {
    /// To the field of this name.
    Field(&'a str),
    /// To fields, whatever their names.
    AnyField,
    /// To fields that the part does not name.
    OtherField,
    /// To the item of this number.
    Item(usize),
    /// To items from this number on.
    LaterItem(usize),
}

/// See the module.
pub(super) struct Part<'a> {
    /// Parts that describe the same value.
    pub(super) same: Vec<usize>,
    /// Parts that describe something in it.
    pub(super) steps: Vec<(Step<'a>, usize)>,
    /// Whether it is about what no other part has described: to find out what that is, the others are looked at once more.
    pub(super) is_about_the_rest: bool,
    /// What a value is compared with, in visits.
    pub(super) weight: u64,
    from: Option<Origin<'a>>,
}

/// Where a part is.
struct Origin<'a> {
    parent: usize,
    keyword: &'a str,
    /// Among those of the keyword.
    name: Option<Name<'a>>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Field(&'a str),
    Number(usize),
}

/// All parts of a schema. The first is the schema itself.
pub(super) struct Parts<'a> {
    all: Vec<Part<'a>>,
    /// By the address of the JSON value.
    indices: HashMap<usize, usize>,
    pending: Vec<(usize, &'a Value)>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(root: &'a Value) -> Result<Self, InvalidSchema> {
        let mut parts = Self { all: Vec::new(), indices: HashMap::new(), pending: Vec::new() };
        let mut references = Vec::new();
        parts.add(root, None)?;
        while let Some((index, schema)) = parts.pending.pop() {
            let Value::Object(fields) = schema else { continue };
            parts.check_dialect(index, fields)?;
            references.extend(fields.get("$ref").and_then(Value::as_str).map(|reference| (index, reference)));
            let prefix = fields.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
            for (keyword, value) in fields {
                parts.read_keyword(index, keyword, value, prefix)?;
            }
        }
        for (index, reference) in references {
            let target = parts.target(root, reference).ok_or_else(|| InvalidSchema::Reference {
                place: parts.place(index),
                reference: reference.chars().take(MAX_PLACE_CHARACTERS).collect(),
            })?;
            if let Some(part) = parts.all.get_mut(index) {
                part.same.push(target);
            }
        }
        Ok(parts)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Part<'a>> {
        self.all.get(index)
    }

    /// Where a part is, as the fragment of a URI.
    pub(super) fn place(&self, index: usize) -> String {
        let mut segments = Vec::new();
        let mut next = self.all.get(index);
        while let Some(origin) = next.and_then(|part| part.from.as_ref()) {
            segments.extend(origin.name.map(|name| match name {
                Name::Field(name) => name.replace('~', "~0").replace('/', "~1"),
                Name::Number(number) => number.to_string(),
            }));
            segments.push(origin.keyword.to_owned());
            next = self.all.get(origin.parent);
        }
        let pointer: String = segments.into_iter().rev().flat_map(|segment| ["/".to_owned(), segment]).collect();
        format!("#{}", pointer.chars().take(MAX_PLACE_CHARACTERS).collect::<String>())
    }

    fn target(&self, root: &Value, reference: &str) -> Option<usize> {
        // What is written as %2F is found by some and not by others.
        let target = super::resolve(root, reference).filter(|_| !reference.contains('%'))?;
        self.indices.get(&address(target)).copied()
    }

    /// Keywords by which a reference would mean something else than it says.
    fn check_dialect(&self, index: usize, fields: &Map<String, Value>) -> Result<(), InvalidSchema> {
        let dialect = fields.get("$schema").and_then(Value::as_str).map(|dialect| dialect.trim_end_matches('#'));
        let unusable = [
            ("$dynamicRef", fields.contains_key("$dynamicRef")),
            ("$recursiveRef", fields.contains_key("$recursiveRef")),
            ("$id", index != 0 && fields.contains_key("$id")),
            ("$schema", dialect.is_some_and(|dialect| dialect != DIALECT)),
        ];
        match unusable.into_iter().find(|(_, is_there)| *is_there) {
            Some((keyword, _)) => Err(InvalidSchema::Keyword { place: self.place(index), keyword }),
            None => Ok(()),
        }
    }

    fn read_keyword(&mut self, index: usize, keyword: &'a str, value: &'a Value, prefix: usize) -> Result<(), InvalidSchema> {
        let Some(leads) = leads(keyword) else { return Ok(()) };
        let origin = |name| Some(Origin { parent: index, keyword, name });
        match value {
            Value::Object(schemas) if has_names(keyword) => {
                for (name, schema) in schemas {
                    let part = self.add(schema, origin(Some(Name::Field(name))))?;
                    let step = if leads == Leads::Named { Leads::Into(Step::Field(name)) } else { leads };
                    self.lead(index, step, part, schema);
                }
            }
            Value::Array(schemas) => {
                for (number, schema) in schemas.iter().enumerate() {
                    let part = self.add(schema, origin(Some(Name::Number(number))))?;
                    let step = if leads == Leads::Named { Leads::Into(Step::Item(number)) } else { leads };
                    self.lead(index, step, part, schema);
                }
            }
            // A look at all that are left, at once.
            Value::Bool(_) if matches!(keyword, "additionalProperties" | "unevaluatedProperties") => {}
            schema => {
                let part = self.add(schema, origin(None))?;
                let step = if keyword == "items" { Leads::Into(Step::LaterItem(prefix)) } else { leads };
                self.lead(index, step, part, schema);
            }
        }
        Ok(())
    }

    fn add(&mut self, schema: &'a Value, from: Option<Origin<'a>>) -> Result<usize, InvalidSchema> {
        let index = self.all.len();
        if index >= MAX_PARTS {
            return Err(InvalidSchema::TooManyParts(MAX_PARTS));
        }
        let is_about_the_rest = schema.get("unevaluatedProperties").or_else(|| schema.get("unevaluatedItems")).is_some();
        self.all.push(Part { same: Vec::new(), steps: Vec::new(), is_about_the_rest, weight: weight(schema), from });
        self.indices.insert(address(schema), index);
        self.pending.push((index, schema));
        Ok(index)
    }

    fn lead(&mut self, from: usize, leads: Leads<'a>, to: usize, schema: &Value) {
        // One that is content with everything is not asked.
        let Some(part) = self.all.get_mut(from).filter(|_| *schema != Value::Bool(true)) else { return };
        match leads {
            Leads::Same => part.same.push(to),
            Leads::Into(step) => part.steps.push((step, to)),
            Leads::Named | Leads::Nowhere => {}
        }
    }
}

/// What the schemas below a keyword describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads<'a> {
    /// The same value.
    Same,
    /// Something in it.
    Into(Step<'a>),
    /// The field, or the item, of their name.
    Named,
    /// What refers to them.
    Nowhere,
}

fn leads(keyword: &str) -> Option<Leads<'_>> {
    Some(match keyword {
        "not" | "if" | "then" | "else" | "allOf" | "anyOf" | "oneOf" | "dependentSchemas" | "dependencies" => Leads::Same,
        "properties" | "prefixItems" => Leads::Named,
        "patternProperties" | "unevaluatedProperties" | "propertyNames" => Leads::Into(Step::AnyField),
        "additionalProperties" => Leads::Into(Step::OtherField),
        "items" | "contains" | "unevaluatedItems" | "additionalItems" => Leads::Into(Step::LaterItem(0)),
        "$defs" | "definitions" | "contentSchema" => Leads::Nowhere,
        _ => return None,
    })
}

/// Whether a keyword has schemas by name.
fn has_names(keyword: &str) -> bool {
    matches!(keyword, "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs" | "definitions")
}

/// Its own, without that of its parts.
fn weight(schema: &Value) -> u64 {
    let compared: usize =
        ["enum", "const", "required", "dependentRequired", "type"].iter().filter_map(|keyword| schema.get(keyword)).map(size).sum();
    1 + u64::try_from(compared / COMPARED_PER_VISIT).unwrap_or(u64::MAX)
}

/// How many values there are in one.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// What tells one part of a document from another that has the same content.
fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}
