//! What the OpenAPI document says, for who writes a client: procedures by plugin, and schemas by the names of types.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::names::{self, Scope};

/// Of paths in the document; calls of clients go to the other mount, which has types that JSON lacks.
const MOUNT: &str = "/rest/";
const COMPONENTS: &str = "#/components/schemas/";
/// Of references in [`Plugin::types`], and to them.
pub(crate) const TYPES: &str = "#/$defs/";

/// What one plugin offers.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) id: String,
    /// Schemas that have a name, the name of a type; they refer to each other by [`TYPES`].
    pub(crate) types: BTreeMap<String, Value>,
    pub(crate) procedures: Vec<Procedure>,
    /// Paths of procedures that a client does not have, and why.
    pub(crate) left_out: Vec<(String, &'static str)>,
}

/// One procedure.
#[derive(Debug)]
pub(crate) struct Procedure {
    pub(crate) path: String,
    /// It only looks.
    pub(crate) is_query: bool,
    /// For a reader, in Markdown.
    pub(crate) description: String,
    pub(crate) input: Option<Input>,
    /// None: it gives nothing.
    pub(crate) output: Option<Value>,
}

/// What a procedure takes.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) schema: Value,
    /// Nothing at all will do, too.
    pub(crate) is_optional: bool,
}

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// No OpenAPI document.
    #[error("it is no OpenAPI document of an instance: it has no 'paths'")]
    NoPaths,
    /// What would be written into a client as it is.
    #[error("'{0}' is no path of a procedure: it consists of letters, digits, - and _, joined by /")]
    Path(String),
    /// A reference to nothing.
    #[error("its reference '{0}' leads nowhere")]
    Reference(String),
}

/// The plugins that a document describes, by their ids.
pub(crate) fn read(document: &Value) -> Result<Vec<Plugin>, InvalidDocument> {
    let paths = document.get("paths").and_then(Value::as_object).ok_or(InvalidDocument::NoPaths)?;
    let mut operations: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, item) in paths {
        let Some(whole) = path.strip_prefix(MOUNT) else { continue };
        if !whole.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/')) {
            return Err(InvalidDocument::Path(path.clone()));
        }
        let Some((plugin, path)) = whole.split_once('/') else { continue };
        for (method, operation) in item.as_object().into_iter().flatten() {
            operations.entry(plugin).or_default().push(Operation { path, is_query: method == "get", json: operation });
        }
    }
    operations.into_iter().map(|(id, operations)| plugin(document, id, operations)).collect()
}

struct Operation<'a> {
    path: &'a str,
    is_query: bool,
    json: &'a Value,
}

fn plugin(document: &Value, id: &str, operations: Vec<Operation<'_>>) -> Result<Plugin, InvalidDocument> {
    let mut types = Types { document, plugin: id, scope: Scope::of_types(), names: BTreeMap::new(), waiting: VecDeque::new() };
    let mut procedures = Vec::with_capacity(operations.len());
    let mut left_out = Vec::new();
    for Operation { path, is_query, json } in operations {
        if let Some(reason) = reason_to_leave_out(json) {
            left_out.push((path.to_owned(), reason));
            continue;
        }
        let text = |field: &str| json.get(field).and_then(Value::as_str).unwrap_or_default();
        let input = match is_query {
            true => json.get("x-checkstack-input"),
            false => json.pointer("/requestBody/content/application~1json/schema"),
        };
        let input = input.map(|schema| Input { schema: types.referring(schema), is_optional: takes_nothing(document, schema) });
        let output = json.pointer("/responses/200/content/application~1json/schema").map(|schema| types.referring(schema));
        let description = [text("summary"), text("description")].into_iter().filter(|text| !text.is_empty());
        let description = description.collect::<Vec<_>>().join("\n\n");
        procedures.push(Procedure { path: path.to_owned(), is_query, description, input, output });
    }
    Ok(Plugin { id: id.to_owned(), types: types.finished()?, procedures, left_out })
}

fn reason_to_leave_out(operation: &Value) -> Option<&'static str> {
    if operation.pointer("/responses/200/content/text~1event-stream").is_some() {
        return Some("it answers with a stream of events");
    }
    operation.pointer("/requestBody/content/multipart~1form-data").map(|_| "it takes files")
}

/// Whether a schema is content with an empty object, as far as can be seen without a value.
fn takes_nothing(document: &Value, schema: &Value) -> bool {
    let Some(fields) = schema.as_object() else { return schema == &Value::Bool(true) };
    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
        // One step: what refers further is rare, and only costs the caller an argument.
        let target = target(document, reference).filter(|target| target.get("$ref").is_none());
        return fields.keys().all(|name| name == "$ref" || name == "description")
            && target.is_some_and(|target| takes_nothing(document, target));
    }
    let is_object = fields.get("type").is_none_or(|kind| kind == "object");
    let has_more =
        ["anyOf", "oneOf", "allOf", "not", "if", "const", "enum", "minProperties"].iter().any(|keyword| fields.contains_key(*keyword));
    is_object && !has_more && fields.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn target<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

/// Schemas that have been referred to, and get a name each.
struct Types<'a> {
    document: &'a Value,
    plugin: &'a str,
    scope: Scope,
    /// By reference.
    names: BTreeMap<String, String>,
    waiting: VecDeque<String>,
}

impl Types<'_> {
    /// The schema, with references to types.
    fn referring(&mut self, schema: &Value) -> Value {
        let Value::Object(fields) = schema else { return schema.clone() };
        let field = |(name, value): (&String, &Value)| {
            let value = match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => json!(format!("{TYPES}{}", self.name(reference))),
                // Values, not schemas.
                ("const" | "enum" | "default" | "examples" | "required", value) => value.clone(),
                ("properties" | "patternProperties" | "dependentSchemas" | "$defs", Value::Object(schemas)) => {
                    schemas.iter().map(|(name, schema)| (name.clone(), self.referring(schema))).collect::<Map<_, _>>().into()
                }
                (_, Value::Array(schemas)) => schemas.iter().map(|schema| self.referring(schema)).collect(),
                (_, value) => self.referring(value),
            };
            (name.clone(), value)
        };
        Value::Object(fields.iter().map(field).collect())
    }

    fn name(&mut self, reference: &str) -> String {
        if let Some(name) = self.names.get(reference) {
            return name.clone();
        }
        let short = reference.strip_prefix(COMPONENTS).unwrap_or(reference);
        let short = short.strip_prefix(self.plugin).and_then(|rest| rest.strip_prefix('.')).unwrap_or(short);
        let name = self.scope.name(names::type_name(short));
        self.names.insert(reference.to_owned(), name.clone());
        self.waiting.push_back(reference.to_owned());
        name
    }

    /// All that was referred to, and what that refers to.
    fn finished(mut self) -> Result<BTreeMap<String, Value>, InvalidDocument> {
        let mut types = BTreeMap::new();
        while let Some(reference) = self.waiting.pop_front() {
            let schema = target(self.document, &reference).ok_or_else(|| InvalidDocument::Reference(reference.clone()))?;
            let schema = self.referring(schema);
            types.insert(self.name(&reference), schema);
        }
        Ok(types)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_by_plugin() {
        let document = json!({
            "paths": {
                "/rest/uptime/targets/history": { "get": {
                    "summary": "History", "description": "All of it.",
                    "x-checkstack-input": { "type": "object", "properties": { "limit": { "$ref": "#/components/schemas/uptime.Limit" } } },
                    "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/uptime.tree.Output" } } } } },
                } },
                "/rest/uptime/upload": { "post": { "requestBody": { "content": { "multipart/form-data": {}, "application/json": {} } } } },
                "/rest/uptime/watch": { "get": { "responses": { "200": { "content": { "text/event-stream": {} } } } } },
                "/elsewhere": { "get": {} },
            },
            "components": { "schemas": {
                "uptime.Limit": { "type": "integer" },
                "uptime.tree.Output": { "properties": {
                    "children": { "items": { "$ref": "#/components/schemas/uptime.tree.Output" } },
                    "const": { "$ref": "#/components/schemas/uptime.tree.Output/properties/children" },
                    "kind": { "const": { "$ref": "no reference" } },
                } },
            } },
        });
        let plugins = read(&document).unwrap();
        let [uptime] = plugins.as_slice() else { panic!("{plugins:?}") };
        assert_eq!(uptime.left_out.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["upload", "watch"]);
        let [history] = uptime.procedures.as_slice() else { panic!("{uptime:?}") };
        assert_eq!(
            (history.path.as_str(), history.is_query, history.description.as_str()),
            ("targets/history", true, "History\n\nAll of it.")
        );
        assert!(history.input.as_ref().unwrap().is_optional);
        assert_eq!(history.output, Some(json!({ "$ref": "#/$defs/TreeOutput" })));
        assert_eq!(uptime.types.keys().collect::<Vec<_>>(), ["Limit", "TreeOutput", "TreeOutputPropertiesChildren"]);
        assert_eq!(uptime.types["TreeOutput"]["properties"]["kind"], json!({ "const": { "$ref": "no reference" } }));
        assert_eq!(uptime.types["TreeOutputPropertiesChildren"], json!({ "items": { "$ref": "#/$defs/TreeOutput" } }));
    }

    #[test]
    fn what_is_no_description_is_refused() {
        assert_eq!(read(&json!({})).unwrap_err(), InvalidDocument::NoPaths);
        let injected = json!({ "paths": { "/rest/a/b\"; evil()": {} } });
        assert_eq!(read(&injected).unwrap_err(), InvalidDocument::Path("/rest/a/b\"; evil()".into()));
        let lost = json!({ "paths": { "/rest/a/b": { "get": { "x-checkstack-input": { "$ref": "#/components/schemas/a.B" } } } } });
        assert_eq!(read(&lost).unwrap_err(), InvalidDocument::Reference("#/components/schemas/a.B".into()));
    }

    #[test]
    fn an_input_may_be_left_out_where_an_empty_object_will_do() {
        let document = json!({ "components": { "schemas": { "A": { "type": "object", "required": ["a"] }, "B": { "type": "object" } } } });
        let optional = |schema: Value| takes_nothing(&document, &schema);
        assert!(optional(json!({ "type": "object", "properties": { "a": {} } })) && optional(json!({ "$ref": "#/components/schemas/B" })));
        for other in [
            json!({ "type": "object", "required": ["a"] }),
            json!({ "type": "string" }),
            json!({ "$ref": "#/components/schemas/A" }),
            json!({ "oneOf": [] }),
        ] {
            assert!(!optional(other.clone()), "{other}");
        }
    }
}
