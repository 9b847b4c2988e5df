//! The description of all procedures for others: an OpenAPI 3.1 document, made of the contracts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contract::{Offer, OfferedProcedure, Operation};
use crate::error::ErrorCode;
use crate::event_stream;
use crate::files::MAX_FILES;
use crate::gate::UserType;
use crate::schema::{Schema, resolve};

/// The document. `base_url` is where callers reach the server.
#[must_use]
pub fn document<'a>(offers: impl IntoIterator<Item = &'a Offer>, base_url: &str) -> Value {
    let mut components = Components::default();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for offer in offers.into_iter().filter(|offer| !offer.procedures.is_empty()) {
        tags.push(json!({ "name": offer.plugin }));
        for (path, procedure) in &offer.procedures {
            let operation = operation(offer, path, procedure, &mut components);
            paths.insert(format!("/rest/{}/{path}", offer.plugin), json!({ method(procedure): operation }));
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Checkstack API",
            "version": "1.0.0",
            "description": "API documentation for Checkstack platform endpoints.",
        },
        "servers": [{ "url": base_url }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": { "Error": { "description": "The call failed.", "content": content(&json!({ "$ref": "#/components/schemas/Error" })) } },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "The key of an application (`ck_…`) or the token of a service." },
                "session": { "type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "Set by signing in." },
            },
        },
    })
}

/// What a query takes, for who makes a client.
pub const INPUT: &str = "x-checkstack-input";

/// Of a signed-in user.
pub const SESSION_COOKIE: &str = "checkstack.session_token";

fn method(procedure: &OfferedProcedure) -> &'static str {
    match procedure.operation {
        Operation::Query => "get",
        Operation::Mutation => "post",
    }
}

fn operation(offer: &Offer, path: &str, procedure: &OfferedProcedure, components: &mut Components) -> Value {
    let id = format!("{}.{}", offer.plugin, path.replace('/', "."));
    let mut operation = json!({
        "operationId": id,
        "tags": [offer.plugin],
        "description": description(procedure),
        "security": security(procedure.requirement.user_type),
        "responses": responses(procedure, offer.plugin.as_ref(), &id, components),
        "x-orpc-meta": { "userType": procedure.requirement.user_type, "accessRules": procedure.requirement.rules },
    });
    let Some(fields) = operation.as_object_mut() else { return operation };
    if !procedure.summary.is_empty() {
        fields.insert("summary".into(), json!(procedure.summary));
    }
    if let Some(input) = &procedure.input {
        let schema = components.place(input, offer.plugin.as_ref(), &format!("{id}.Input"));
        match procedure.operation {
            Operation::Query => {
                fields.insert("parameters".into(), parameters(input, &schema, components));
                // As a whole: parameters lose what is not a field, and calls of the other mount are not made of them.
                fields.insert(INPUT.into(), schema)
            }
            Operation::Mutation => {
                let required = !input.is_valid(&json!({}));
                let content = if procedure.takes_files { content_with_files(&schema) } else { content(&schema) };
                fields.insert("requestBody".into(), json!({ "required": required, "content": content }))
            }
        };
    }
    operation
}

fn description(procedure: &OfferedProcedure) -> String {
    let who = match procedure.requirement.user_type {
        UserType::Anonymous => "Everybody may call it.",
        UserType::Public => "Everybody may call it whose role permits it; without signing in, the role `anonymous`.",
        UserType::Authenticated => "Signing in, the key of an application or the token of a service is needed.",
        UserType::User => "Only for users who have signed in.",
        UserType::Service => "Only for services.",
    };
    let rules: Vec<String> = procedure.requirement.rules.iter().map(|rule| format!("`{rule}`")).collect();
    let needs = if rules.is_empty() { String::new() } else { format!(" Needs {}.", rules.join(" and ")) };
    let authorization = format!("**Authorization.** {who}{needs}");
    if procedure.description.is_empty() { authorization } else { format!("{}\n\n{authorization}", procedure.description) }
}

fn security(user_type: UserType) -> Value {
    match user_type {
        UserType::Anonymous => json!([]),
        UserType::Public => json!([{}, { "bearer": [] }, { "session": [] }]),
        UserType::Authenticated => json!([{ "bearer": [] }, { "session": [] }]),
        UserType::User => json!([{ "session": [] }]),
        UserType::Service => json!([{ "bearer": [] }]),
    }
}

/// With which any call may end, whoever makes it.
const FAILURES: [ErrorCode; 12] = [
    ErrorCode::BadRequest,
    ErrorCode::NotFound,
    ErrorCode::Timeout,
    ErrorCode::Conflict,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::UnprocessableContent,
    ErrorCode::TooManyRequests,
    ErrorCode::InternalServerError,
    ErrorCode::BadGateway,
    ErrorCode::ServiceUnavailable,
    ErrorCode::GatewayTimeout,
];

fn responses(procedure: &OfferedProcedure, plugin: &str, id: &str, components: &mut Components) -> Value {
    let mut done = json!({ "description": "The call went well." });
    if let (Some(output), Some(fields)) = (&procedure.output, done.as_object_mut()) {
        fields.insert("content".into(), content(&components.place(output, plugin, &format!("{id}.Output"))));
    }
    if let (true, Some(fields)) = (procedure.event_stream, done.as_object_mut()) {
        let schema =
            fields.get("content").and_then(|content| content.pointer("/application~1json/schema")).cloned().unwrap_or_else(|| json!({}));
        fields.insert("description".into(), json!(EVENT_STREAM));
        fields.insert("content".into(), json!({ event_stream::CONTENT_TYPE: { "schema": schema } }));
    }
    let error = json!({ "$ref": "#/components/responses/Error" });
    let mut responses = Map::from_iter([("200".to_owned(), done)]);
    let mut codes = FAILURES.to_vec();
    if procedure.requirement.user_type != UserType::Anonymous {
        codes.extend([ErrorCode::Unauthorized, ErrorCode::Forbidden]);
    }
    responses.extend(codes.into_iter().map(|code| (code.status().as_str().to_owned(), error.clone())));
    Value::Object(responses)
}

const EVENT_STREAM: &str =
    "Server-sent events: `message`, whose data is of this schema, any number of times; then `done`, or `error` with what went wrong.";

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// See [`files`](crate::files).
fn content_with_files(schema: &Value) -> Value {
    let segment = json!({ "type": ["string", "integer"] });
    let data = json!({
        "type": "object",
        "required": ["json"],
        "description": "The input. Where a file belongs there is an empty object, and the path to it is in `maps`, at the number of the file's part.",
        "properties": {
            "json": schema,
            "meta": { "type": "array", "items": { "type": "array" } },
            "maps": { "type": "array", "maxItems": MAX_FILES, "items": { "type": "array", "items": segment } },
        },
    });
    let parts = json!({
        "type": "object",
        "required": ["data"],
        "properties": { "data": data },
        "patternProperties": { "^[0-9]{1,2}$": { "type": "string", "format": "binary" } },
        "additionalProperties": false,
    });
    json!({
        "multipart/form-data": { "schema": parts, "encoding": { "data": { "contentType": "application/json" } } },
        "application/json": { "schema": schema },
    })
}

/// The fields of the input, each as a parameter of the query string.
fn parameters(input: &Schema, placed: &Value, components: &Components) -> Value {
    let whole = placed.get("$ref").and_then(Value::as_str).and_then(|reference| components.get(reference)).unwrap_or(placed);
    let required =
        |name: &str| whole.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|other| other == name));
    let fields = whole.get("properties").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut parameter = json!({ "name": name, "in": "query", "required": required(name), "schema": schema });
        let own = input.json().pointer("/properties").and_then(|properties| properties.get(name));
        let style = if own.is_some_and(|own| is_object(input.json(), own)) { "deepObject" } else { "form" };
        if let Some(fields) = parameter.as_object_mut() {
            fields.extend([("style".to_owned(), json!(style)), ("explode".to_owned(), json!(true))]);
        }
        parameter
    };
    fields.map(parameter).collect()
}

fn is_object(root: &Value, schema: &Value) -> bool {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| resolve(root, reference)).unwrap_or(schema);
    target.get("type").is_some_and(|kind| kind == "object")
}

/// Parts that several operations may share.
struct Components {
    schemas: BTreeMap<String, Value>,
}

impl Default for Components {
    fn default() -> Self {
        let error = json!({
            "type": "object",
            "required": ["defined", "code", "status", "message"],
            "properties": {
                "defined": { "type": "boolean" },
                "code": { "type": "string", "description": "Its kind, such as `BAD_REQUEST`." },
                "status": { "type": "integer", "description": "The HTTP status." },
                "message": { "type": "string", "description": "For a person." },
                "data": { "description": "For a program: with `BAD_REQUEST`, the issues of the input." },
            },
        });
        Self { schemas: [("Error".to_owned(), error)].into() }
    }
}

const PREFIX: &str = "#/components/schemas/";

impl Components {
    fn get(&self, reference: &str) -> Option<&Value> {
        self.schemas.get(reference.strip_prefix(PREFIX)?)
    }

    /// A schema as it stands in the document: what it calls `$defs` is among the components, under its name and the plugin's.
    fn place(&mut self, schema: &Schema, plugin: &str, id: &str) -> Value {
        let mut json = schema.json().clone();
        if let Value::Object(fields) = &mut json {
            fields.remove("$schema");
        }
        let definitions = match json.as_object_mut().and_then(|fields| fields.remove("$defs")) {
            Some(Value::Object(definitions)) => definitions,
            _ => Map::new(),
        };
        // The same name with another content is another component.
        let taken = |name: &str, content: &Value| self.schemas.get(name).is_some_and(|other| other != content);
        let mut names = BTreeMap::new();
        for (name, content) in &definitions {
            let short = component_name(&format!("{plugin}.{name}"));
            let referring = referring_to(content, &|target| Some(format!("{PREFIX}{}", component_name(&format!("{plugin}.{target}")))), id);
            let name_there = if taken(&short, &referring) { component_name(&format!("{id}.{name}")) } else { short };
            names.insert(name.clone(), name_there);
        }
        let target = |name: &str| names.get(name).map(|name| format!("{PREFIX}{name}"));
        for (name, content) in &definitions {
            if let Some(name) = names.get(name) {
                self.schemas.insert(name.clone(), referring_to(content, &target, id));
            }
        }
        let placed = referring_to(&json, &target, id);
        if refers_to_itself(schema.json()) {
            self.schemas.insert(component_name(id), placed);
            return json!({ "$ref": format!("{PREFIX}{}", component_name(id)) });
        }
        placed
    }
}

/// A schema whose references to its own parts are made references into the document.
fn referring_to(schema: &Value, target: &dyn Fn(&str) -> Option<String>, id: &str) -> Value {
    match schema {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let value = match (name.as_str(), value) {
                    ("$ref", Value::String(reference)) => json!(referred(reference, target, id)),
                    // Many readers of OpenAPI take nothing but an object for a schema.
                    ("properties" | "patternProperties", Value::Object(schemas)) => {
                        schemas.iter().map(|(name, schema)| (name.clone(), schema_object(schema, target, id))).collect()
                    }
                    ("items" | "contains", schema) => schema_object(schema, target, id),
                    (_, value) => referring_to(value, target, id),
                };
                (name.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => items.iter().map(|item| referring_to(item, target, id)).collect(),
        other => other.clone(),
    }
}

/// The same schema, not as `true` or `false`.
fn schema_object(schema: &Value, target: &dyn Fn(&str) -> Option<String>, id: &str) -> Value {
    match schema {
        Value::Bool(true) => json!({}),
        Value::Bool(false) => json!({ "not": {} }),
        schema => referring_to(schema, target, id),
    }
}

fn referred(reference: &str, target: &dyn Fn(&str) -> Option<String>, id: &str) -> String {
    if let Some(known) = reference.strip_prefix("#/$defs/").and_then(target) {
        return known;
    }
    match reference.strip_prefix('#') {
        Some(rest) => format!("{PREFIX}{}{rest}", component_name(id)),
        None => reference.to_owned(),
    }
}

fn refers_to_itself(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.iter().any(|(name, value)| match (name.as_str(), value) {
            ("$ref", Value::String(reference)) => reference.starts_with('#') && !is_definition(reference),
            (_, value) => refers_to_itself(value),
        }),
        Value::Array(items) => items.iter().any(refers_to_itself),
        _ => false,
    }
}

fn is_definition(reference: &str) -> bool {
    reference.strip_prefix("#/$defs/").is_some_and(|name| !name.contains('/'))
}

/// Of the characters that OpenAPI permits.
fn component_name(name: &str) -> String {
    let permitted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    name.chars().map(|character| if permitted(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Contract;

    fn offer(plugin: &str, contract: Value) -> Offer {
        serde_json::from_value::<Contract>(contract).unwrap().offer(plugin.parse().unwrap()).unwrap()
    }

    fn catalog() -> Offer {
        let system = json!({ "type": "object", "properties": { "id": { "type": "string" }, "parent": { "$ref": "#/$defs/System" } } });
        offer(
            "catalog",
            json!({
                "accessRules": [{ "resource": "system", "level": "read", "description": "See systems" }],
                "procedures": {
                    "systems/list": {
                        "operation": "query", "access": ["system.read"], "summary": "Systems", "description": "All of them.",
                        "input": {
                            "type": "object", "required": ["limit"],
                            "properties": { "limit": { "type": "integer" }, "filter": { "type": "object" }, "ids": { "type": "array" } },
                        },
                        "output": { "$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": { "System": system }, "items": { "$ref": "#/$defs/System" } },
                    },
                    "systems/create": { "operation": "mutation", "userType": "user", "input": { "$defs": { "System": system }, "$ref": "#/$defs/System", "required": ["id"] } },
                    "systems/other": { "operation": "mutation", "userType": "anonymous", "output": { "$defs": { "System": { "type": "string" } }, "$ref": "#/$defs/System" } },
                    "tree": { "operation": "query", "userType": "public", "output": { "properties": { "children": { "items": { "$ref": "#" } } } } },
                },
            }),
        )
    }

    #[test]
    fn the_document_says_who_and_where() {
        let document = document([&catalog(), &offer("empty", json!({}))], "https://checks.example.com");
        assert_eq!(document["openapi"], "3.1.1");
        assert_eq!(document["info"]["title"], "Checkstack API");
        assert_eq!(document["servers"], json!([{ "url": "https://checks.example.com" }]));
        assert_eq!(document["tags"], json!([{ "name": "catalog" }]));
        let list = &document["paths"]["/rest/catalog/systems/list"]["get"];
        assert_eq!(list["operationId"], "catalog.systems.list");
        assert_eq!(list["x-orpc-meta"], json!({ "userType": "authenticated", "accessRules": ["catalog.system.read"] }));
        let description = list["description"].as_str().unwrap();
        assert!(
            description.starts_with("All of them.\n\n**Authorization.** ") && description.ends_with(" Needs `catalog.system.read`."),
            "{description}"
        );
        assert_eq!(list["security"], json!([{ "bearer": [] }, { "session": [] }]));
        assert!(list["responses"].as_object().unwrap().contains_key("403"));
        let other = &document["paths"]["/rest/catalog/systems/other"]["post"];
        assert_eq!(other["security"], json!([]));
        let statuses: Vec<&String> = other["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, ["200", "400", "404", "408", "409", "413", "415", "422", "429", "500", "502", "503", "504"]);
    }

    #[test]
    fn a_stream_of_events_is_described_by_one_of_them() {
        let contract = json!({ "procedures": { "b": { "operation": "query", "eventStream": true, "output": { "type": "integer" } } } });
        let offer = serde_json::from_value::<Contract>(contract).unwrap().native_offer("a".parse().unwrap()).unwrap();
        let answer = document([&offer], "/")["paths"]["/rest/a/b"]["get"]["responses"]["200"].clone();
        assert_eq!(answer["content"], json!({ "text/event-stream": { "schema": { "type": "integer" } } }));
        assert!(answer["description"].as_str().unwrap().starts_with("Server-sent events"));
    }

    #[test]
    fn a_schema_is_an_object() {
        let output = json!({ "properties": { "any": true, "never": false, "properties": { "const": true } }, "items": true, "additionalProperties": false });
        let offer = offer("a", json!({ "procedures": { "b": { "operation": "query", "output": output } } }));
        let document = document([&offer], "/");
        assert_eq!(
            document["paths"]["/rest/a/b"]["get"]["responses"]["200"]["content"]["application/json"]["schema"],
            json!({ "properties": { "any": {}, "never": { "not": {} }, "properties": { "const": true } }, "items": {}, "additionalProperties": false })
        );
    }

    #[test]
    fn fields_of_a_query_are_parameters() {
        let document = document([&catalog()], "http://localhost");
        let parameters = document["paths"]["/rest/catalog/systems/list"]["get"]["parameters"].as_array().unwrap().clone();
        let said: Vec<(String, bool, String)> = parameters
            .iter()
            .map(|parameter| {
                let text = |field: &str| parameter[field].as_str().unwrap().to_owned();
                (text("name"), parameter["required"].as_bool().unwrap(), text("style"))
            })
            .collect();
        let expected = [("filter", false, "deepObject"), ("ids", false, "form"), ("limit", true, "form")];
        assert_eq!(said, expected.map(|(name, required, style)| (name.to_owned(), required, style.to_owned())));
        let whole = &document["paths"]["/rest/catalog/systems/list"]["get"][INPUT];
        assert_eq!((&whole["required"], &whole["properties"]["limit"]), (&json!(["limit"]), &json!({ "type": "integer" })));
    }

    #[test]
    fn what_schemas_share_is_there_once_and_what_differs_is_not_mixed_up() {
        let document = document([&catalog()], "http://localhost");
        let schema = |path: &str, pointer: &str| document["paths"][path].pointer(pointer).unwrap().clone();
        let shared = json!({ "$ref": "#/components/schemas/catalog.System" });
        assert_eq!(schema("/rest/catalog/systems/list", "/get/responses/200/content/application~1json/schema"), json!({ "items": shared }));
        assert_eq!(schema("/rest/catalog/systems/create", "/post/requestBody/required"), true);
        assert_eq!(document["components"]["schemas"]["catalog.System"]["properties"]["parent"], shared);
        let other = schema("/rest/catalog/systems/other", "/post/responses/200/content/application~1json/schema");
        assert_eq!(other, json!({ "$ref": "#/components/schemas/catalog.systems.other.Output.System" }));
        let tree = json!({ "$ref": "#/components/schemas/catalog.tree.Output" });
        assert_eq!(schema("/rest/catalog/tree", "/get/responses/200/content/application~1json/schema"), tree);
        assert_eq!(document["components"]["schemas"]["catalog.tree.Output"]["properties"]["children"]["items"], tree);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document([&catalog()], "http://localhost");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            assert!(resolve(&document, &reference).is_some(), "{reference}");
        }
    }
}
