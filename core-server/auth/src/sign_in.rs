//! Signing in and out with a password: `/api/auth/sign-in/email`, `/api/auth/sign-out`, `/api/auth/get-session`.
//!
//! A session is a random token in a cookie that scripts cannot read and that other sites cannot make a browser send with
//! anything but a plain link. What changes something takes `application/json` only, which a form of another site cannot send.

use std::sync::Arc;
use std::time::Duration;

use checkstack_platform::native::{NativeMetrics, SignInMethod, SignInOutcome};
use checkstack_platform::plugin::{PluginRequest, PluginResponse};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::error;

use crate::cookies;
use crate::credential::SessionToken;
use crate::json_answer::{self, respond};
use crate::password::PasswordError;
use crate::procedures::State;
use crate::session_lifetime::SessionLifetime;
use crate::sign_in_attempts::FAILURES_WITHIN;
use crate::store::{SignedIn, StoreError};

const MAX_EMAIL_BYTES: usize = 320;
const MAX_PASSWORD_BYTES: usize = 1024;

/// See the module.
pub(crate) struct SignIn {
    state: Arc<State>,
    session_lifetime: SessionLifetime,
    /// Whether browsers reach the instance by https in any case.
    is_encrypted: bool,
    metrics: NativeMetrics,
}

#[derive(Deserialize)]
struct EmailAndPassword {
    email: String,
    password: String,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("Not Found")]
    NotFound,
    #[error("Method Not Supported")]
    Method,
    #[error("the body has to be an object with the texts email and password")]
    Body,
    /// With this answer.
    #[error("the request cannot be read")]
    Unreadable(Box<PluginResponse>),
    #[error("Invalid email or password")]
    Wrong,
    #[error("Too many attempts: wait some minutes")]
    TooMany,
    #[error("the database does not answer")]
    Store(#[from] StoreError),
    #[error("passwords cannot be checked at the moment")]
    Password(#[from] PasswordError),
}

impl SignIn {
    pub(crate) fn new(state: Arc<State>, session_lifetime: SessionLifetime, is_encrypted: bool, metrics: NativeMetrics) -> Self {
        Self { state, session_lifetime, is_encrypted, metrics }
    }

    pub(crate) async fn handle(&self, request: &PluginRequest) -> PluginResponse {
        let answer = match (request.path.as_str(), &request.method) {
            ("/sign-in/email", &Method::POST) => {
                let answer = self.sign_in(request).await;
                let outcome = answer.as_ref().map_or_else(Refusal::outcome, |_| SignInOutcome::Success);
                self.metrics.signed_in(SignInMethod::Password, outcome);
                answer
            }
            ("/sign-out", &Method::POST) => self.sign_out(request).await,
            ("/get-session", &Method::GET | &Method::HEAD) => self.session(request).await,
            ("/sign-in/email" | "/sign-out" | "/get-session", _) => Err(Refusal::Method),
            _ => Err(Refusal::NotFound),
        };
        answer.unwrap_or_else(|refusal| refusal.into_response())
    }

    async fn sign_in(&self, request: &PluginRequest) -> Result<PluginResponse, Refusal> {
        let EmailAndPassword { email, password } = read(request)?;
        let State { store, passwords, sign_in_attempts, .. } = &*self.state;
        let email = email.trim().to_lowercase();
        let attempt = sign_in_attempts.begin(&email).await?.ok_or(Refusal::TooMany)?;
        let (user, hash) = store.user_with_email(email).await?.unzip();
        let hash = hash.flatten();
        let is_right = sign_in_attempts.check(attempt, passwords, password, hash.clone()).await?;
        let (true, Some(user), Some(hash)) = (is_right, user, hash) else { return Err(Refusal::Wrong) };
        let token = SessionToken::generate();
        if !store.begin_session(&user, hash, &token, self.session_lifetime, attempt).await? {
            return Err(Refusal::Wrong);
        }
        // The browser keeps it for as long as it may be prolonged; here it is known when it ends.
        let cookie = self.cookie(&request.headers, token.reveal(), self.session_lifetime.longest());
        Ok(respond(StatusCode::OK, &json!({ "user": shown(&user) }), cookie))
    }

    async fn sign_out(&self, request: &PluginRequest) -> Result<PluginResponse, Refusal> {
        if let Some(token) = SessionToken::of(&request.headers) {
            self.state.store.end_session(&token).await?;
        }
        let cookie = self.cookie(&request.headers, "", Duration::ZERO);
        Ok(respond(StatusCode::OK, &json!({ "success": true }), cookie))
    }

    async fn session(&self, request: &PluginRequest) -> Result<PluginResponse, Refusal> {
        let found = match SessionToken::of(&request.headers) {
            Some(token) => self.state.store.session(&token).await?,
            None => None,
        };
        let document = match found {
            Some((user, ends)) => json!({ "session": { "userId": user.id, "expiresAt": time(ends) }, "user": shown(&user) }),
            None => Value::Null,
        };
        Ok(respond(StatusCode::OK, &document, None))
    }

    fn cookie(&self, headers: &HeaderMap, token: &str, lifetime: Duration) -> Option<HeaderValue> {
        cookies::set(cookies::SESSION, token, "/", lifetime, self.is_encrypted || cookies::is_encrypted(headers))
    }
}

impl Refusal {
    /// Of a sign-in.
    fn outcome(&self) -> SignInOutcome {
        match self {
            Self::NotFound | Self::Method | Self::Body | Self::Unreadable(_) => SignInOutcome::Invalid,
            Self::Wrong => SignInOutcome::WrongPassword,
            Self::TooMany | Self::Password(PasswordError::Busy) => SignInOutcome::TooMany,
            Self::Store(_) | Self::Password(PasswordError::Internal(_)) => SignInOutcome::Unavailable,
        }
    }

    fn into_response(self) -> PluginResponse {
        let (status, code) = match &self {
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Method => return json_answer::method_not_supported(),
            Self::Body => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            Self::Wrong => (StatusCode::UNAUTHORIZED, "INVALID_EMAIL_OR_PASSWORD"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS"),
            Self::Unreadable(response) => return (**response).clone(),
            Self::Store(problem) => return json_answer::of_store(problem),
            Self::Password(PasswordError::Internal(problem)) => {
                error!(problem, "a password cannot be checked");
                return json_answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "Internal server error");
            }
            Self::Password(PasswordError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        };
        let mut response = json_answer::refuse(status, code, &self.to_string());
        let retry_after = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some(HeaderValue::from_static("1")),
            StatusCode::TOO_MANY_REQUESTS => Some(HeaderValue::from(FAILURES_WITHIN.as_secs())),
            _ => None,
        };
        response.headers.extend(retry_after.map(|seconds| (header::RETRY_AFTER, seconds)));
        response
    }
}

fn read(request: &PluginRequest) -> Result<EmailAndPassword, Refusal> {
    let read: EmailAndPassword = json_answer::read_body(request).map_err(Refusal::Unreadable)?;
    let fits = read.email.len() <= MAX_EMAIL_BYTES && read.password.len() <= MAX_PASSWORD_BYTES && !read.email.contains('\0');
    if fits { Ok(read) } else { Err(Refusal::Body) }
}

fn shown(user: &SignedIn) -> Value {
    json!({ "id": user.id, "email": user.email, "name": user.name })
}

fn time(seconds: f64) -> Option<String> {
    jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use checkstack_platform::plugin::Caller;

    use super::*;

    fn request(content_type: &'static str, body: &str) -> PluginRequest {
        PluginRequest {
            method: Method::POST,
            path: "/sign-in/email".into(),
            query: None,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]),
            body: Bytes::from(body.to_owned()),
            caller: Caller::Anonymous,
            correlation_id: "a".into(),
            depth: 0,
        }
    }

    fn status(content_type: &'static str, body: &str) -> u16 {
        read(&request(content_type, body)).map_or_else(|refusal| refusal.into_response().status.as_u16(), |_| 200)
    }

    #[test]
    fn a_form_of_another_site_signs_nobody_in() {
        let body = r#"{"email":"a@b","password":"x"}"#;
        assert_eq!(status("application/json", body), 200);
        assert_eq!(status("Application/JSON; charset=utf-8", body), 200);
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            assert_eq!(status(content_type, body), 415, "{content_type}");
        }
        for body in ["", "{}", r#"{"email":"a@b"}"#, r#"{"email":1,"password":"x"}"#, "[", r#"{"email":"a\u0000@b","password":"x"}"#] {
            assert_eq!(status("application/json", body), 400, "{body}");
        }
    }

    #[test]
    fn what_only_the_log_may_know_is_not_told() {
        let problem =
            || StoreError::Database(checkstack_platform::DatabaseError::Refused { code: "42P01".into(), message: "secret".into() });
        let response = Refusal::from(problem()).into_response();
        assert_eq!((response.status.as_u16(), std::str::from_utf8(&response.body).unwrap().contains("secret")), (500, false));
        let away = checkstack_platform::DatabaseError::Unavailable("secret".into());
        let response = Refusal::from(StoreError::Database(away)).into_response();
        assert_eq!((response.status.as_u16(), response.headers[header::RETRY_AFTER].to_str().unwrap()), (503, "1"));
        assert!(!std::str::from_utf8(&response.body).unwrap().contains("secret"));
    }
}
