//! `/api/openapi.json`, and `/api/docs` for people: what can be called here, for whoever may read it (platform facts §9.5).

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use checkstack_calls::access::{AccessRule, Level, Permissions, Principal, RuleId};
use checkstack_calls::openapi;
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tracing::{error, warn};

use super::{Shared, api_page, headers, json_response};
use crate::identity::NotIdentified;

const PATH: &str = "/api/openapi.json";

/// In which form the document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Page,
}

/// The form that is at this path.
pub(super) fn at(path: &str) -> Option<Form> {
    match path {
        PATH => Some(Form::Json),
        api_page::PATH => Some(Form::Page),
        _ => None,
    }
}

/// Who may read the document: `api-docs.api-docs.read`.
pub(crate) fn access_rule() -> Option<(RuleId, AccessRule)> {
    let rule = AccessRule {
        resource: "api-docs".to_owned(),
        level: Level::Read,
        description: "Read the description of all procedures".to_owned(),
        is_default: false,
        is_public: false,
    };
    let plugin: PluginId = "api-docs".parse().ok()?;
    Some((rule.id(&plugin), rule))
}

/// Answers a request for it.
pub(super) async fn answer(shared: &Shared, form: Form, request: Request) -> Response {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => document(shared, form, request.headers()).await,
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    headers::add_security_headers(response.headers_mut());
    response
}

async fn document(shared: &Shared, form: Form, sent: &HeaderMap) -> Response {
    let principal = match shared.identity().principal(sent).await {
        Ok(Some(principal)) => principal,
        Ok(None) => return refused(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Err(problem) => return not_identified(&problem),
    };
    let rule = access_rule().map(|(id, _)| id);
    let may = match &principal {
        Principal::User(account) | Principal::Application(account) => match &account.permissions {
            Permissions::All => true,
            permissions => rule.is_some_and(|rule| permissions.contain(&rule)),
        },
        Principal::Service(_) => false,
    };
    if !may {
        return refused(StatusCode::FORBIDDEN, "Forbidden");
    }
    let serving = shared.table.serving();
    // With many plugins it is large.
    let made = tokio::task::spawn_blocking(move || {
        let document = openapi::document(serving.iter().filter_map(|endpoint| endpoint.plugin().offer()), "/");
        match form {
            Form::Json => json_response(StatusCode::OK, &document),
            Form::Page => api_page::answer(&document),
        }
    });
    match made.await {
        Ok(response) => response,
        Err(problem) => {
            error!(%problem, "the OpenAPI document cannot be made");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "Failed to generate OpenAPI specification")
        }
    }
}

pub(super) fn not_identified(problem: &NotIdentified) -> Response {
    warn!(%problem, "a document is refused");
    let status = match problem {
        NotIdentified::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        NotIdentified::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = refused(status, status.canonical_reason().unwrap_or_default());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refused(status: StatusCode, error: &str) -> Response {
    json_response(status, &BTreeMap::from([("error", json!(error))]))
}
