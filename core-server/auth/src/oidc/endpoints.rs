//! What browsers ask for: the beginning of a sign-in, and its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use checkstack_control_api::MacKey;
use checkstack_platform::native::{NativeMetrics, SignInMethod, SignInOutcome};
use checkstack_platform::plugin::{PluginRequest, PluginResponse};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::claims::ExternalUser;
use super::error::OidcError;
use super::pending::{self, Pending};
use super::provider::{AuthorizationResponse, Provider};
use super::return_to::ReturnTo;
use crate::base_url::BaseUrl;
use crate::cookies;
use crate::credential::SessionToken;
use crate::json_answer;
use crate::procedures::State;

/// As the original's session library names the provider in its paths.
pub(crate) const PROVIDER_ID: &str = "oidc";
/// Below `/api/auth`.
const BEGIN: &str = "/sign-in/oauth2";
const CALLBACK: &str = "/oauth2/callback/oidc";
/// The paths that the pending cookie is for.
const COOKIE_PATH: &str = "/api/auth/oauth2";
/// Exchanges with the provider, on one replica.
const AT_A_TIME: usize = 16;
/// For all calls of one exchange; the server gives up after ten seconds.
const EXCHANGE: Duration = Duration::from_secs(8);
/// Seconds, when the provider does not answer.
const RETRY_AFTER: u32 = 10;

/// What the flow needs to know of the instance.
pub(crate) struct Instance {
    pub(crate) base_url: BaseUrl,
    pub(crate) session_lifetime: Duration,
    pub(crate) pending_key: MacKey,
}

/// See the [module above](super).
pub(crate) struct Oidc {
    state: Arc<State>,
    provider: Provider,
    instance: Instance,
    turns: Semaphore,
    metrics: NativeMetrics,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begin {
    provider_id: Option<String>,
    #[serde(rename = "callbackURL", alias = "returnTo")]
    return_to: Option<String>,
}

impl Oidc {
    pub(crate) fn new(
        state: Arc<State>,
        settings: checkstack_control_api::OidcSettings,
        directory: std::path::PathBuf,
        instance: Instance,
        metrics: NativeMetrics,
    ) -> Self {
        Self { state, provider: Provider::new(settings, directory), instance, turns: Semaphore::new(AT_A_TIME), metrics }
    }

    /// None: the path is another's.
    pub(crate) async fn handle(&self, request: &PluginRequest) -> Option<PluginResponse> {
        let answer = match (request.path.as_str(), &request.method) {
            (BEGIN, &Method::GET) => self.redirect_to_provider(request).await,
            (BEGIN, &Method::POST) => match json_answer::read_body(request) {
                Ok(begin) => self.tell_provider(begin).await,
                Err(refused) => return Some(*refused),
            },
            (CALLBACK, &Method::GET) => self.finish(request).await,
            (BEGIN | CALLBACK, _) => return Some(json_answer::method_not_supported()),
            _ => return None,
        };
        // One that has begun has not ended yet.
        let outcome = match &answer {
            Ok(_) => (request.path == CALLBACK).then_some(SignInOutcome::Success),
            Err(problem) => Some(problem.outcome()),
        };
        if let Some(outcome) = outcome {
            self.metrics.signed_in(SignInMethod::Oidc, outcome);
        }
        Some(answer.unwrap_or_else(|problem| self.refusal(&problem)))
    }

    /// For a link: what is below it in the query is where to go afterwards.
    async fn redirect_to_provider(&self, request: &PluginRequest) -> Result<PluginResponse, OidcError> {
        let query = request.query.as_deref().unwrap_or_default();
        let named =
            |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let begin = Begin { provider_id: named("providerId"), return_to: named("returnTo").or_else(|| named("callbackURL")) };
        let (url, cookie) = self.begin(&begin).await?;
        Ok(redirect(&url, [cookie]))
    }

    /// For a script.
    async fn tell_provider(&self, begin: Begin) -> Result<PluginResponse, OidcError> {
        let (url, cookie) = self.begin(&begin).await?;
        Ok(json_answer::respond(StatusCode::OK, &json!({ "url": url, "redirect": true }), cookie))
    }

    async fn begin(&self, begin: &Begin) -> Result<(String, Option<HeaderValue>), OidcError> {
        if begin.provider_id.as_deref().is_some_and(|id| id != PROVIDER_ID) {
            return Err(OidcError::Refused("there is no such provider".into()));
        }
        let return_to = begin.return_to.as_deref().and_then(ReturnTo::parse).unwrap_or_default();
        let pending = Pending::begin(return_to, SystemTime::now());
        let url = self.in_time(self.provider.authorization_url(&pending, &self.redirect_uri())).await?;
        let cookie = self.cookie(cookies::PENDING_SIGN_IN, &pending.sealed(&self.instance.pending_key), COOKIE_PATH, pending::LIFETIME);
        Ok((url, cookie))
    }

    async fn finish(&self, request: &PluginRequest) -> Result<PluginResponse, OidcError> {
        let query = request.query.as_deref().unwrap_or_default();
        let response = AuthorizationResponse::of(query);
        let pending = Pending::of(&request.headers, &self.instance.pending_key, SystemTime::now()).ok_or(OidcError::NotBegun)?;
        if !response.state.as_deref().is_some_and(|state| pending.is_of(state)) {
            return Err(OidcError::NotBegun);
        }
        let claims = self.in_time(self.provider.claims(&pending, &response, &self.redirect_uri())).await?;
        let settings = self.provider.settings();
        let user = ExternalUser::new(&settings.issuer, &claims, &settings.groups_claim, &settings.group_roles);
        let token = SessionToken::generate();
        let policy =
            crate::store::AdmissionPolicy { create_users: settings.create_users, link_verified_email: settings.link_verified_email };
        let admitted = self.state.store.admit(user, policy, &token, self.instance.session_lifetime).await??;
        for role in &admitted.unknown_roles {
            warn!(role, "a group of the provider gives a role that there is not: make it, or take it out of the mapping");
        }
        info!(user = %admitted.user, "signed in at the provider");
        let session = self.cookie(cookies::SESSION, token.reveal(), "/", self.instance.session_lifetime);
        Ok(redirect(pending.return_to.as_str(), [session, self.forget_pending()]))
    }

    /// A place among those that ask the provider, and an end in time. Signing in with a password needs neither.
    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, OidcError>>) -> Result<T, OidcError> {
        let _turn = self.turns.try_acquire().map_err(|_| OidcError::Busy)?;
        let late = |_| Err(OidcError::Unavailable(format!("no answer within {} s", EXCHANGE.as_secs())));
        tokio::time::timeout(EXCHANGE, exchange).await.unwrap_or_else(late)
    }

    fn redirect_uri(&self) -> String {
        self.instance.base_url.join(&format!("/api/auth{CALLBACK}"))
    }

    fn cookie(&self, name: &str, value: &str, path: &str, lifetime: Duration) -> Option<HeaderValue> {
        cookies::set(name, value, path, lifetime, self.instance.base_url.is_encrypted())
    }

    fn forget_pending(&self) -> Option<HeaderValue> {
        self.cookie(cookies::PENDING_SIGN_IN, "", COOKIE_PATH, Duration::ZERO)
    }

    /// What people are told, and what the log is.
    fn refusal(&self, problem: &OidcError) -> PluginResponse {
        let provider = &self.provider.settings().name;
        let again = "begin again";
        let (status, code, message) = match problem {
            OidcError::Unavailable(_) => {
                warn!(%problem, "nobody can sign in at the provider");
                (StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE", format!("{provider} does not answer: try again in a moment"))
            }
            OidcError::Misconfigured(_) => {
                error!(%problem, "nobody can sign in at the provider: see spec.signIn.oidc");
                let message = format!("signing in with {provider} does not work: an admin finds in the log why");
                (StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_MISCONFIGURED", message)
            }
            OidcError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", problem.to_string()),
            OidcError::NotBegun => {
                let message = format!("{problem}, or longer than ten minutes ago: {again} at {}", self.instance.base_url);
                (StatusCode::BAD_REQUEST, "SIGN_IN_NOT_BEGUN", message)
            }
            OidcError::Refused(_) | OidcError::CodeRefused(_) => {
                info!(%problem, "a sign-in did not come to its end");
                (StatusCode::FORBIDDEN, "PROVIDER_REFUSED", format!("{provider} did not sign you in: {again}"))
            }
            OidcError::Token(_) => {
                warn!(%problem, "what the provider says of a user does not count");
                (StatusCode::FORBIDDEN, "INVALID_TOKEN", format!("what {provider} says of you does not count: {again}"))
            }
            OidcError::UnknownUser => {
                (StatusCode::FORBIDDEN, "UNKNOWN_USER", "nobody here is this user: ask an admin for an account".to_owned())
            }
            OidcError::AddressTaken => {
                let message = "another user here has your address: ask an admin".to_owned();
                (StatusCode::FORBIDDEN, "ADDRESS_TAKEN", message)
            }
            OidcError::NoAddress => {
                (StatusCode::FORBIDDEN, "NO_ADDRESS", format!("{provider} gives no verified address of yours: ask an admin"))
            }
            OidcError::Store(problem) => return json_answer::of_store(problem),
        };
        let mut response = json_answer::respond(status, &json!({ "code": code, "message": message }), self.forget_pending());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        response
    }
}

impl AuthorizationResponse {
    /// From the query. Of what is there twice, nothing is believed.
    fn of(query: &str) -> Self {
        let mut response = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "state" => &mut response.state,
                "code" => &mut response.code,
                "error" => &mut response.error,
                "iss" => &mut response.iss,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Self::default();
            }
        }
        response
    }
}

fn redirect(to: &str, cookies: impl IntoIterator<Item = Option<HeaderValue>>) -> PluginResponse {
    let mut headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
    headers.extend(HeaderValue::from_str(to).ok().map(|location| (header::LOCATION, location)));
    for cookie in cookies.into_iter().flatten() {
        headers.append(header::SET_COOKIE, cookie);
    }
    PluginResponse { status: StatusCode::SEE_OTHER, headers, body: bytes::Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_is_not_believed() {
        let response = AuthorizationResponse::of("code=a%20b&state=s&iss=https%3A%2F%2Fid.example.com&session_state=x");
        let fields = [&response.code, &response.state, &response.iss, &response.error].map(|field| field.as_deref().unwrap_or("-"));
        assert_eq!(fields, ["a b", "s", "https://id.example.com", "-"]);
        assert!(AuthorizationResponse::of("state=s&code=a&code=b").state.is_none());
    }
}
