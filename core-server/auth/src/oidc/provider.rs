//! The provider, as it describes itself (OpenID Connect Discovery), and what is asked of it.
//!
//! What it says of itself is believed for ten minutes. A token signed with a key that is not among those that are known has them
//! read again: so keys can be exchanged there at any time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use checkstack_control_api::OidcSettings;
use checkstack_control_api::sign_in::{CA_BUNDLE_FILE, CLIENT_SECRET_FILE};
use http::{StatusCode, header};
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::Jwk;
use moka::future::Cache;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::calls;
use super::error::OidcError;
use super::id_token::{self, Expected};
use super::pending::Pending;
use super::settings::checked_url;

/// How long its description, its keys and the CA bundle are believed.
const BELIEVED: Duration = Duration::from_secs(600);
/// Keys that were read less than this ago are not read again.
const KEYS_AGAIN: Duration = Duration::from_secs(2);
const MAX_KEYS: usize = 100;
const MAX_FILE_BYTES: usize = 256 * 1024;

/// See the module.
pub(super) struct Provider {
    settings: OidcSettings,
    /// With its secret and its CA bundle.
    directory: PathBuf,
    connection: Cache<(), Arc<Connection>>,
}

/// What was learned of the provider at one time.
struct Connection {
    client: Client,
    metadata: Metadata,
    algorithms: Vec<Algorithm>,
    keys: Mutex<Keys>,
}

#[derive(Clone)]
struct Keys {
    keys: Arc<[Jwk]>,
    read: Instant,
}

/// `/.well-known/openid-configuration`
#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What the browser comes back with (RFC 6749, RFC 9207).
#[derive(Debug, Default, Deserialize)]
pub(super) struct AuthorizationResponse {
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
    pub(super) iss: Option<String>,
}

#[derive(Deserialize)]
struct TokenResponse {
    id_token: Option<String>,
    access_token: Option<String>,
    error: Option<String>,
}

impl Provider {
    pub(super) fn new(settings: OidcSettings, directory: PathBuf) -> Self {
        Self { settings, directory, connection: Cache::builder().max_capacity(1).time_to_live(BELIEVED).build() }
    }

    pub(super) fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Where a browser is sent to sign in.
    pub(super) async fn authorization_url(&self, pending: &Pending, redirect_uri: &str) -> Result<String, OidcError> {
        let connection = self.connection().await?;
        let mut url = endpoint("authorization_endpoint", &connection.metadata.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &pending.code_challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// What it says of the user who comes back from it. `response` belongs to `pending`: that has been checked.
    pub(super) async fn claims(
        &self,
        pending: &Pending,
        response: &AuthorizationResponse,
        redirect_uri: &str,
    ) -> Result<Map<String, Value>, OidcError> {
        let connection = self.connection().await?;
        let is_from_it = match &response.iss {
            Some(issuer) => *issuer == self.settings.issuer,
            None => !connection.metadata.authorization_response_iss_parameter_supported,
        };
        if !is_from_it {
            return Err(OidcError::Token("the browser comes back from another provider".into()));
        }
        let code = match (&response.error, &response.code) {
            (None, Some(code)) => code,
            (Some(error), _) => return Err(OidcError::Refused(error.clone())),
            (None, None) => return Err(OidcError::Refused("it gives no code".into())),
        };
        let tokens = self.exchange(&connection, pending, code, redirect_uri).await?;
        let id_token = tokens.id_token.ok_or_else(|| OidcError::Unavailable("the token endpoint gives no ID token".into()))?;
        let claims = self.verified(&connection, &id_token, pending).await?;
        self.completed(&connection, claims, tokens.access_token).await
    }

    async fn connection(&self) -> Result<Arc<Connection>, OidcError> {
        if let Some(known) = self.connection.get(&()).await {
            return Ok(known);
        }
        // Once, however many wait for it. The error is the same for all.
        let found = Box::pin(self.connection.try_get_with((), self.connect())).await;
        found.map_err(|problem| match &*problem {
            OidcError::Misconfigured(why) => OidcError::Misconfigured(why.clone()),
            other => OidcError::Unavailable(other.to_string()),
        })
    }

    async fn connect(&self) -> Result<Arc<Connection>, OidcError> {
        let client = calls::client(read_file(&self.directory.join(CA_BUNDLE_FILE)).await?.as_deref())?;
        let url = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let metadata: Metadata = calls::document("its description", client.get(url)).await?;
        if metadata.issuer != self.settings.issuer {
            let (told, asked) = (&metadata.issuer, &self.settings.issuer);
            return Err(OidcError::Misconfigured(format!("the provider at '{asked}' says that its issuer is '{told}': use that")));
        }
        let keys = read_keys(&client, &metadata).await?;
        let algorithms = id_token::algorithms(&metadata.id_token_signing_alg_values_supported);
        Ok(Arc::new(Connection { client, metadata, algorithms, keys: Mutex::new(keys) }))
    }

    /// Gives the code, with the proof that it was asked for here, for tokens.
    async fn exchange(
        &self,
        connection: &Connection,
        pending: &Pending,
        code: &str,
        redirect_uri: &str,
    ) -> Result<TokenResponse, OidcError> {
        let secret = self.client_secret().await?;
        let methods = connection.metadata.token_endpoint_auth_methods_supported.as_deref();
        // As the standard has it, where nothing is said.
        let is_basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", pending.code_verifier.as_str()),
        ];
        let id = self.settings.client_id.as_str();
        let mut request = connection.client.post(endpoint("token_endpoint", &connection.metadata.token_endpoint)?);
        if is_basic {
            request = request.basic_auth(form_encoded(id), Some(form_encoded(&secret)));
        } else {
            fields.extend([("client_id", id), ("client_secret", secret.as_str())]);
        }
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").header(header::ACCEPT, "application/json");
        let (status, answer): (StatusCode, TokenResponse) = calls::json("its token endpoint", request.body(form)).await?;
        match (status, answer.error.as_deref()) {
            (StatusCode::OK, None) => Ok(answer),
            (_, Some("invalid_grant")) => Err(OidcError::CodeRefused("invalid_grant".into())),
            (_, Some("temporarily_unavailable" | "server_error")) | (_, None) => {
                Err(OidcError::Unavailable(format!("its token endpoint: status {status}")))
            }
            (_, Some(error @ ("invalid_client" | "unauthorized_client"))) => {
                Err(OidcError::Misconfigured(format!("it does not take the client's id and secret: {error}")))
            }
            (_, Some(error)) => Err(OidcError::Misconfigured(format!("its token endpoint refuses: {error}"))),
        }
    }

    /// As it is now: an admin may have changed it.
    async fn client_secret(&self) -> Result<String, OidcError> {
        let path = self.directory.join(CLIENT_SECRET_FILE);
        let secret = read_file(&path).await?.and_then(|secret| String::from_utf8(secret).ok());
        // Secrets written with an editor or `echo` end with a line feed.
        let secret = secret.map(|secret| secret.trim_end().to_owned()).filter(|secret| !secret.is_empty());
        secret.ok_or_else(|| OidcError::Misconfigured(format!("there is no client secret in the file {}", path.display())))
    }

    async fn verified(&self, connection: &Connection, token: &str, pending: &Pending) -> Result<Map<String, Value>, OidcError> {
        let header = jsonwebtoken::decode_header(token).map_err(|problem| OidcError::Token(problem.to_string()))?;
        let mut known = connection.keys();
        if id_token::key_of(&header, &known.keys).is_none() && known.read.elapsed() >= KEYS_AGAIN {
            known = read_keys(&connection.client, &connection.metadata).await?;
            connection.replace_keys(known.clone());
        }
        let key = id_token::key_of(&header, &known.keys);
        let key = key.ok_or_else(|| OidcError::Token("it is signed with a key that is not among the provider's".into()))?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &pending.nonce,
            algorithms: &connection.algorithms,
        };
        id_token::verify(token, key, expected, SystemTime::now()).map_err(|problem| OidcError::Token(problem.to_string()))
    }

    /// Many providers put into the token only who it is, and tell the rest when asked.
    async fn completed(
        &self,
        connection: &Connection,
        mut claims: Map<String, Value>,
        access_token: Option<String>,
    ) -> Result<Map<String, Value>, OidcError> {
        let (Some(userinfo), Some(access_token)) = (&connection.metadata.userinfo_endpoint, access_token) else { return Ok(claims) };
        let lacks_groups = !self.settings.group_roles.is_empty() && super::claims::claim(&claims, &self.settings.groups_claim).is_none();
        if !lacks_groups && claims.contains_key("email") && claims.contains_key("name") {
            return Ok(claims);
        }
        let request = connection.client.get(endpoint("userinfo_endpoint", userinfo)?).bearer_auth(access_token);
        let told: Map<String, Value> = calls::document("its userinfo endpoint", request).await?;
        if told.get("sub") != claims.get("sub") {
            return Err(OidcError::Token("the userinfo endpoint tells of another user".into()));
        }
        for (name, value) in told {
            claims.entry(name).or_insert(value);
        }
        Ok(claims)
    }
}

impl Connection {
    fn keys(&self) -> Keys {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace_keys(&self, keys: Keys) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

async fn read_keys(client: &Client, metadata: &Metadata) -> Result<Keys, OidcError> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let set: KeySet = calls::document("its keys", client.get(endpoint("jwks_uri", &metadata.jwks_uri)?)).await?;
    // Of a kind that is not known here: for others.
    let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok()).collect();
    Ok(Keys { keys, read: Instant::now() })
}

/// An address that the provider names. Codes and tokens go there.
fn endpoint(name: &str, text: &str) -> Result<Url, OidcError> {
    checked_url(text).ok_or_else(|| OidcError::Unavailable(format!("its {name} '{text}' is no https URL")))
}

fn form_encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

async fn read_file(path: &Path) -> Result<Option<Vec<u8>>, OidcError> {
    match tokio::fs::read(path).await {
        Ok(bytes) if bytes.is_empty() || bytes.len() > MAX_FILE_BYTES => {
            Err(OidcError::Misconfigured(format!("the file {} has to have 1 to {MAX_FILE_BYTES} bytes", path.display())))
        }
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OidcError::Misconfigured(format!("the file {} cannot be read: {error}", path.display()))),
    }
}
