//! Pages of other origins may call the instance if an admin has said so (platform facts §1.7), with what the browser knows of their user.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser remembers what it may ask.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Who may call, besides the pages of the instance itself.
#[derive(Clone)]
pub(super) struct Cors(CorsLayer);

impl Cors {
    /// For these origins. One that cannot stand in a header field allows nobody.
    pub(super) fn new(origins: &[String]) -> Self {
        let origins = origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok());
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS])
            .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, HeaderName::from_static("x-correlation-id")])
            .expose_headers([header::CONTENT_LENGTH, header::RETRY_AFTER, HeaderName::from_static("x-correlation-id")])
            .allow_credentials(true)
            .max_age(MAX_AGE);
        Self(layer)
    }

    /// Answers a question of a browser whether a call is allowed, and adds to other answers who may read them.
    pub(super) async fn answer<Answer>(&self, request: Request, answer: impl FnOnce(Request) -> Answer + Clone) -> Response
    where
        Answer: Future<Output = Response>,
    {
        if !request.headers().contains_key(header::ORIGIN) {
            return answer(request).await;
        }
        // One that asks for nothing is a request like others, which a plugin may answer.
        let is_question = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() == Method::OPTIONS && !is_question {
            return answer(request).await;
        }
        let service = service_fn(move |request: Request| {
            let answer = answer.clone();
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        match self.0.layer(service).oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    async fn asked(method: Method, fields: &[(&'static str, &str)]) -> Response {
        let cors = Cors::new(&["https://checks.example.com".into(), "http://localhost:5173".into(), "no\norigin".into()]);
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        for (name, value) in fields {
            request.headers_mut().insert(*name, HeaderValue::try_from(*value).unwrap());
        }
        cors.answer(request, |_| async { Response::builder().status(418).body(Body::empty()).unwrap() }).await
    }

    const HOME: (&str, &str) = ("origin", "https://checks.example.com");

    #[tokio::test]
    async fn a_browser_is_told_what_allowed_origins_may_ask() {
        let question = [HOME, ("access-control-request-method", "PUT"), ("access-control-request-headers", "content-type")];
        let answer = asked(Method::OPTIONS, &question).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let field = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        assert_eq!((field("access-control-allow-origin").as_str(), field("access-control-allow-credentials").as_str()), (HOME.1, "true"));
        assert_eq!((field("access-control-max-age").as_str(), field("vary").contains("origin")), ("600", true));
        assert!(field("access-control-allow-methods").contains("put") && field("access-control-allow-headers").contains("authorization"));

        let stranger = asked(Method::OPTIONS, &[("origin", "https://evil.example"), ("access-control-request-method", "PUT")]).await;
        assert!(!stranger.headers().contains_key("access-control-allow-origin"));
    }

    #[tokio::test]
    async fn an_answer_is_for_allowed_origins_to_read() {
        for (origin, may_read) in
            [(HOME.1, true), ("http://localhost:5173", true), ("https://checks.example.com.evil.example", false), ("null", false)]
        {
            let answer = asked(Method::GET, &[("origin", origin)]).await;
            assert_eq!(answer.status(), 418);
            assert_eq!(answer.headers().get("access-control-allow-origin").is_some_and(|allowed| allowed == origin), may_read, "{origin}");
        }
        assert!(!asked(Method::GET, &[]).await.headers().contains_key("access-control-allow-origin"));
        assert_eq!(asked(Method::OPTIONS, &[HOME]).await.status(), 418, "it asks for nothing");
    }
}
