//! `/api/docs`: the description of all procedures for people. A page without scripts, made of the document that programs get.

use std::fmt::{self, Write as _};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::Value;

/// Where it is.
pub(super) const PATH: &str = "/api/docs";

/// It may load nothing but the style that is in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark; } \
    code, pre { font-family: ui-monospace, monospace; } pre { overflow-x: auto; font-size: .85rem; } \
    article { border-top: 1px solid; padding: .5rem 0; } h3 { margin: 0; } summary { cursor: pointer; }";

/// The page as an answer.
pub(super) fn answer(document: &Value) -> Response {
    let mut response = Response::new(Body::from(page(document)));
    for (name, value) in
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Of an OpenAPI document.
fn page(document: &Value) -> String {
    let mut page = String::new();
    // Writing to a text does not fail.
    let _ = write_page(&mut page, document);
    page
}

fn write_page(page: &mut String, document: &Value) -> fmt::Result {
    let title = text(document.pointer("/info/title"));
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body>"
    )?;
    write!(page, "<h1>{title}</h1><p>For programs: <a href=\"/api/openapi.json\"><code>/api/openapi.json</code></a>.</p><nav><ul>")?;
    let tags = document.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(|tag| tag.get("name")?.as_str());
    let tags: Vec<&str> = tags.collect();
    for tag in &tags {
        write!(page, "<li><a href=\"#{0}\">{0}</a></li>", Escaped(tag))?;
    }
    page.push_str("</ul></nav>");
    for tag in tags {
        write!(page, "<section><h2 id=\"{0}\">{0}</h2>", Escaped(tag))?;
        for (path, method, operation) in operations(document, tag) {
            write_operation(page, path, method, operation)?;
        }
        page.push_str("</section>");
    }
    write_schemas(page, document)?;
    page.push_str("</body></html>");
    Ok(())
}

fn operations<'a>(document: &'a Value, tag: &'a str) -> impl Iterator<Item = (&'a String, &'a String, &'a Value)> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let all = paths
        .flat_map(|(path, methods)| methods.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation)));
    let has = move |operation: &Value| operation.pointer("/tags/0").and_then(Value::as_str) == Some(tag);
    all.filter(move |(_, _, operation)| has(operation))
}

fn write_operation(page: &mut String, path: &str, method: &str, operation: &Value) -> fmt::Result {
    write!(
        page,
        "<article id=\"{}\"><h3><code>{} {}</code></h3>",
        text(operation.get("operationId")),
        method.to_uppercase(),
        Escaped(path)
    )?;
    if operation.get("summary").is_some() {
        write!(page, "<p>{}</p>", text(operation.get("summary")))?;
    }
    for paragraph in operation.get("description").and_then(Value::as_str).unwrap_or_default().split("\n\n") {
        write!(page, "<p>{}</p>", Escaped(paragraph))?;
    }
    for (what, part) in [
        ("Query", operation.get("parameters")),
        ("Body", operation.pointer("/requestBody/content")),
        ("Answer", operation.pointer("/responses/200/content")),
    ] {
        if let Some(part) = part.filter(|part| part.as_array().is_none_or(|items| !items.is_empty())) {
            write_json(page, what, part)?;
        }
    }
    page.push_str("</article>");
    Ok(())
}

fn write_schemas(page: &mut String, document: &Value) -> fmt::Result {
    page.push_str("<section><h2>Schemas</h2>");
    for (name, schema) in document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten() {
        write_json(page, name, schema)?;
    }
    page.push_str("</section>");
    Ok(())
}

fn write_json(page: &mut String, what: &str, json: &Value) -> fmt::Result {
    write!(page, "<details><summary>{}</summary><pre>{}</pre></details>", Escaped(what), Escaped(&format!("{json:#}")))
}

fn text(value: Option<&Value>) -> Escaped<'_> {
    Escaped(value.and_then(Value::as_str).unwrap_or_default())
}

/// Text in a page: what plugins write is never taken for a part of it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use checkstack_calls::contract::Contract;
    use checkstack_calls::openapi;
    use serde_json::json;

    use super::*;

    fn of(procedures: Value) -> String {
        let contract = serde_json::from_value::<Contract>(json!({ "procedures": procedures })).unwrap();
        page(&openapi::document([&contract.offer("catalog".parse().unwrap()).unwrap()], "/"))
    }

    #[test]
    fn every_procedure_is_there_with_what_it_takes_and_gives() {
        let page = of(json!({
            "systems/list": { "operation": "query", "summary": "All systems", "input": { "type": "object", "properties": { "limit": { "type": "integer" } } } },
            "systems/create": { "operation": "mutation", "input": { "type": "object" }, "output": { "type": "string" } },
        }));
        for part in [
            "<h2 id=\"catalog\">catalog</h2>",
            "<code>GET /rest/catalog/systems/list</code>",
            "<p>All systems</p>",
            "<summary>Query</summary><pre>[",
            "<code>POST /rest/catalog/systems/create</code>",
            "<summary>Body</summary>",
            "<summary>Answer</summary>",
            "**Authorization.**",
            "<summary>Error</summary>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(page.matches("<article").count(), 2);
    }

    #[test]
    fn what_a_plugin_writes_is_text() {
        let evil = "</pre></p><script>alert(1)</script>\"'&";
        let page = of(json!({ "a": { "operation": "query", "summary": evil, "description": evil, "output": { "description": evil } } }));
        assert!(!page.contains("<script") && !page.contains("</pre></p>"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 3);
    }
}
