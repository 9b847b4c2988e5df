//! From an HTTP request to a procedure's input, and from its output to an answer.
//!
//! - RPC: `POST /api/<plugin>/<procedure>`, for queries GET too, with [envelopes](crate::envelope).
//! - REST: `/rest/<plugin>/<procedure>`, GET for queries, POST for mutations, with plain JSON.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::contract::{Offer, OfferedProcedure, Operation};
use crate::envelope::{self, Malformed};
use crate::error::{CallError, ErrorCode};
use crate::files::{self, Input};
use crate::query_string;

/// By which of the two a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// `/api/…`
    Rpc,
    /// `/rest/…`
    Rest,
}

/// A request, as far as it concerns the input.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// What follows `?`.
    pub query: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Whole.
    pub body: &'a [u8],
}

/// The procedure that a path leads to. `path` is what comes after the plugin's id.
#[must_use]
pub fn find<'a>(offer: &'a Offer, mount: Mount, method: &Method, path: &str) -> Option<&'a OfferedProcedure> {
    let procedure = offer.procedures.get(path.strip_prefix('/')?)?;
    let is_there = match (mount, procedure.operation) {
        (Mount::Rpc, _) => true,
        (Mount::Rest, Operation::Query) => method == Method::GET,
        (Mount::Rest, Operation::Mutation) => method == Method::POST,
    };
    is_there.then_some(procedure)
}

/// The input as the procedure gets it, with its files.
///
/// # Errors
/// What is wrong with the request.
pub fn input(procedure: &OfferedProcedure, mount: Mount, sent: Sent<'_>) -> Result<Input, CallError> {
    if !procedure.takes_files {
        return procedure.checked_input(json_input(procedure, mount, sent)?).map(Input::from);
    }
    let input = match sent.content_type {
        Some(content_type) if *sent.method == Method::POST && files::is_multipart(sent.content_type) => {
            files::read(content_type, sent.body)?
        }
        _ => json_input(procedure, mount, sent)?.into(),
    };
    files::checked(procedure, input)
}

fn json_input(procedure: &OfferedProcedure, mount: Mount, sent: Sent<'_>) -> Result<Option<Value>, CallError> {
    let schema = procedure.input.as_ref().map(crate::schema::Schema::json);
    let read = match (mount, sent.method) {
        (Mount::Rpc, &Method::GET) if procedure.operation == Operation::Query => envelope::decode(data(sent.query).as_bytes()),
        (Mount::Rpc, &Method::POST) => envelope::decode(json_body(sent)?),
        (Mount::Rest, &Method::GET) => query_string::decode(sent.query.unwrap_or_default(), schema).map(Some),
        (Mount::Rest, &Method::POST) => plain(json_body(sent)?),
        _ => return Err(CallError::new(ErrorCode::MethodNotSupported)),
    };
    read.map_err(|malformed| CallError::with_message(ErrorCode::BadRequest, malformed.to_string()))
}

/// The last parameter `data`.
fn data(query: Option<&str>) -> String {
    let parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    parameters.filter(|(name, _)| name == "data").last().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A page of another site can make a browser send a form, or text, with the user's cookies; not so JSON.
fn json_body(sent: Sent<'_>) -> Result<&[u8], CallError> {
    let essence = sent.content_type.and_then(|content_type| content_type.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(sent.body),
        None if sent.body.is_empty() => Ok(sent.body),
        _ => Err(CallError::with_message(ErrorCode::UnsupportedMediaType, "the body has to be application/json")),
    }
}

fn plain(body: &[u8]) -> Result<Option<Value>, Malformed> {
    match body {
        [] => Ok(None),
        body => serde_json::from_slice(body).map(Some).map_err(|error| Malformed(format!("the body is no JSON: {error}"))),
    }
}

/// The answer: a status and a JSON document. Without an output, REST gives an empty body.
#[must_use]
pub fn answer(procedure: &OfferedProcedure, mount: Mount, result: Result<Option<Value>, CallError>) -> (StatusCode, Option<Value>) {
    match (mount, result) {
        (Mount::Rpc, Ok(output)) => (StatusCode::OK, Some(envelope::encode(output, procedure.output.as_ref()))),
        (Mount::Rest, Ok(output)) => (StatusCode::OK, output),
        (mount, Err(error)) => (error.code.status(), Some(error_document(mount, &error))),
    }
}

/// What a call that failed is answered.
#[must_use]
pub fn error_document(mount: Mount, error: &CallError) -> Value {
    match mount {
        Mount::Rpc => envelope::encode_error(error),
        Mount::Rest => error.to_json(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::Contract;

    fn catalog() -> Offer {
        let input = json!({ "type": "object", "properties": { "limit": { "type": "integer" } } });
        let contract = json!({ "procedures": {
            "list": { "operation": "query", "input": input },
            "systems/create": { "operation": "mutation", "input": input, "output": { "x-native-type": "date" } },
        } });
        serde_json::from_value::<Contract>(contract).unwrap().offer("catalog".parse().unwrap()).unwrap()
    }

    const NOTHING: Sent<'static> = Sent { method: &Method::POST, query: None, content_type: None, body: b"" };

    fn json(body: &str) -> Sent<'_> {
        Sent { content_type: Some("Application/JSON; charset=utf-8"), body: body.as_bytes(), ..NOTHING }
    }

    fn read(name: &str, mount: Mount, sent: Sent<'_>) -> Result<Option<Value>, (u16, String)> {
        input(&catalog().procedures[name], mount, sent)
            .map(|input| input.value)
            .map_err(|error| (error.code.status().as_u16(), error.to_json()["message"].as_str().unwrap().to_owned()))
    }

    #[test]
    fn a_path_leads_to_a_procedure() {
        let offer = catalog();
        let leads = |mount, method: Method, path| find(&offer, mount, &method, path).is_some();
        assert!(leads(Mount::Rpc, Method::POST, "/list") && leads(Mount::Rpc, Method::POST, "/systems/create"));
        assert!(leads(Mount::Rpc, Method::PUT, "/list"), "it is told which methods there are");
        assert!(leads(Mount::Rest, Method::GET, "/list") && !leads(Mount::Rest, Method::POST, "/list"));
        assert!(leads(Mount::Rest, Method::POST, "/systems/create") && !leads(Mount::Rest, Method::GET, "/systems/create"));
        for path in ["", "/", "list", "/list/", "//list", "/systems", "/systems%2Fcreate"] {
            assert!(!leads(Mount::Rpc, Method::POST, path), "{path}");
        }
    }

    #[test]
    fn rpc_takes_envelopes() {
        let ten = Ok(Some(json!({ "limit": 10 })));
        assert_eq!(read("list", Mount::Rpc, json(r#"{"json":{"limit":10}}"#)), ten);
        let get = |query| Sent { method: &Method::GET, query: Some(query), ..NOTHING };
        assert_eq!(read("list", Mount::Rpc, get("data=x&data=%7B%22json%22%3A%7B%22limit%22%3A10%7D%7D")), ten);
        assert_eq!(read("list", Mount::Rpc, get("")), Ok(Some(json!({}))));
        assert_eq!(read("list", Mount::Rpc, NOTHING), Ok(Some(json!({}))));
        let not_supported = Err((405, "Method Not Supported".to_owned()));
        assert_eq!(read("systems/create", Mount::Rpc, get("data=%7B%7D")), not_supported);
        assert_eq!(read("list", Mount::Rpc, Sent { method: &Method::PUT, ..NOTHING }), not_supported);
        assert_eq!(read("list", Mount::Rpc, json(r#"{"json":{"limit":"10"}}"#)), Err((400, "Input validation failed".into())));
        assert!(read("list", Mount::Rpc, json("{")).unwrap_err().1.starts_with("Malformed request"));
    }

    #[test]
    fn rest_takes_plain_json_and_query_strings() {
        let ten = Ok(Some(json!({ "limit": 10 })));
        assert_eq!(read("list", Mount::Rest, Sent { method: &Method::GET, query: Some("limit=10"), ..NOTHING }), ten);
        assert_eq!(read("systems/create", Mount::Rest, json(r#"{"limit":10}"#)), ten);
        assert_eq!(read("systems/create", Mount::Rest, NOTHING), Ok(Some(json!({}))));
        assert!(read("systems/create", Mount::Rest, json("{")).unwrap_err().1.starts_with("Malformed request"));
    }

    #[test]
    fn what_another_site_could_send_is_refused() {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"] {
            let sent = Sent { content_type: Some(content_type), ..json("{}") };
            for mount in [Mount::Rpc, Mount::Rest] {
                assert_eq!(read("systems/create", mount, sent).unwrap_err().0, 415, "{content_type}");
            }
        }
        assert_eq!(read("systems/create", Mount::Rpc, Sent { content_type: None, ..json("{}") }).unwrap_err().0, 415);
    }

    #[test]
    fn files_are_for_procedures_that_take_them() {
        let input = json!({ "properties": { "logo": { "x-native-type": "file" } } });
        let contract = json!({ "procedures": { "upload": { "operation": "mutation", "input": input } } });
        let offer = serde_json::from_value::<Contract>(contract).unwrap().native_offer("catalog".parse().unwrap()).unwrap();
        let upload = &offer.procedures["upload"];
        let body = "--X\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{\"json\":{\"logo\":{}},\"maps\":[[\"logo\"]]}\r\n\
            --X\r\nContent-Disposition: form-data; name=\"0\"\r\n\r\npng\r\n--X--";
        let sent = Sent { content_type: Some("multipart/form-data; boundary=X"), ..json(body) };
        for mount in [Mount::Rpc, Mount::Rest] {
            let input = super::input(upload, mount, sent).unwrap();
            assert_eq!((input.value.unwrap()["logo"]["size"].as_u64(), &input.files[0].bytes[..]), (Some(3), &b"png"[..]));
            assert!(super::input(upload, mount, Sent { method: &Method::PUT, ..sent }).is_err());
            assert_eq!(read("systems/create", mount, sent).unwrap_err().0, 415, "it takes none");
        }
        assert_eq!(super::input(upload, Mount::Rest, json("{}")).unwrap().value, Some(json!({})));
        assert!(super::input(upload, Mount::Rest, json(r#"{"logo":{"file":0}}"#)).is_err(), "there is no such file");
    }

    #[test]
    fn each_mount_has_its_form_of_answer() {
        let procedure = &catalog().procedures["systems/create"];
        let of = |mount, result: Result<Option<Value>, CallError>| {
            let (status, body) = answer(procedure, mount, result);
            (status.as_u16(), body.map(|body| body.to_string()))
        };
        let at = || Ok(Some(json!("2026-01-01T00:00:00.000Z")));
        assert_eq!(of(Mount::Rpc, at()), (200, Some(r#"{"json":"2026-01-01T00:00:00.000Z","meta":[[1]]}"#.into())));
        assert_eq!(of(Mount::Rest, at()), (200, Some(r#""2026-01-01T00:00:00.000Z""#.into())));
        assert_eq!(of(Mount::Rpc, Ok(None)), (200, Some("{}".into())));
        assert_eq!(of(Mount::Rest, Ok(None)), (200, None));
        let gone = || Err(CallError::new(ErrorCode::NotFound));
        let (status, body) = answer(procedure, Mount::Rpc, gone());
        assert_eq!((status.as_u16(), &body.unwrap()["json"]["code"]), (404, &json!("NOT_FOUND")));
        assert_eq!(answer(procedure, Mount::Rest, gone()).1.unwrap()["code"], "NOT_FOUND");
    }
}
