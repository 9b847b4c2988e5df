//! Client of an instance, for programs outside, made by `checkstack client`: do not edit.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::indexing_slicing, reason = "generated")]

/// Calls an instance.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
    correlation_id: Option<String>,
}
/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The instance has been asked, and says no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// There is no answer.
    #[error("the instance cannot be asked: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// The input cannot be written as JSON, or the base URL is none.
    #[error("the call cannot be made: {0}")]
    Invalid(String),
    /// The answer is not that of an instance: of a proxy in between, or of another version.
    #[error("the answer, of status {status}, is not as expected: {problem}")]
    Unexpected {
        /// Of HTTP.
        status: u16,
        /// What is wrong with it.
        problem: String,
        /// For whoever looks into the log of the instance.
        correlation_id: Option<String>,
    },
}
/// What an instance says when it says no.
#[derive(Debug, Clone, PartialEq, thiserror::Error, serde::Deserialize)]
#[error("{code:?}: {message}")]
#[non_exhaustive]
pub struct Refusal {
    /// Its kind.
    pub code: ErrorCode,
    /// Of HTTP.
    pub status: u16,
    /// For a person.
    pub message: String,
    /// For a program.
    #[serde(default)]
    pub data: serde_json::Value,
    /// For whoever looks into the log of the instance.
    #[serde(skip)]
    pub correlation_id: Option<String>,
    /// When to try again, if that is worth it.
    #[serde(skip)]
    pub retry_after: Option<std::time::Duration>,
}
/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[non_exhaustive]
pub struct Issue {
    /// Its kind.
    pub code: String,
    /// Fields and indices that lead to it.
    pub path: Vec<serde_json::Value>,
    /// For a person.
    pub message: String,
}
/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ErrorCode {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotSupported,
    NotAcceptable,
    Timeout,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnprocessableContent,
    TooManyRequests,
    ClientClosedRequest,
    InternalServerError,
    NotImplemented,
    BadGateway,
    ServiceUnavailable,
    GatewayTimeout,
    /// One of an instance of a later release.
    #[serde(other)]
    Unknown,
}
impl Refusal {
    /// What is wrong with the input, for [`ErrorCode::BadRequest`].
    pub fn issues(&self) -> Vec<Issue> {
        let issues = self.data.get("issues").cloned();
        issues.and_then(|issues| serde_json::from_value(issues).ok()).unwrap_or_default()
    }
}
/// Of a query's URL. What is longer is sent as a body, since servers in between refuse long ones.
const MAX_URL: usize = 2_000;
const CORRELATION_ID: &str = "x-correlation-id";
/// What a call and its answer are wrapped in; `meta` notes types that JSON lacks.
#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope {
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    json: serde_json::Value,
    #[serde(default, skip_serializing)]
    meta: Vec<Vec<serde_json::Value>>,
}
impl Client {
    /// Of an instance at `https://checkstack.example.com`, as nobody in particular.
    pub fn new(base_url: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            token: None,
            correlation_id: None,
        }
    }
    /// As an application whose key this is, `ck_…`.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
    /// By a client that has been set up: with a timeout, or a certificate authority.
    #[must_use]
    pub fn with_http(mut self, http: reqwest::Client) -> Self {
        self.http = http;
        self
    }
    /// Ties together the log lines of the instance about all calls of this client; without it, each call has one of its own.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }
    async fn query<O: serde::de::DeserializeOwned>(
        &self,
        procedure: &str,
        input: &impl serde::Serialize,
    ) -> Result<O, Error> {
        let mut url = self.url(procedure)?;
        let body = wrapped(input)?;
        if body != "{}" {
            url.query_pairs_mut().append_pair("data", &body);
        }
        match url.as_str().len() > MAX_URL {
            true => self.mutation(procedure, input).await,
            false => self.send(self.http.get(url)).await,
        }
    }
    async fn mutation<O: serde::de::DeserializeOwned>(
        &self,
        procedure: &str,
        input: &impl serde::Serialize,
    ) -> Result<O, Error> {
        let request = self
            .http
            .post(self.url(procedure)?)
            .header("content-type", "application/json");
        self.send(request.body(wrapped(input)?)).await
    }
    fn url(&self, procedure: &str) -> Result<reqwest::Url, Error> {
        let invalid = |problem| Error::Invalid(
            format!("'{}' is no URL: {problem}", self.base_url),
        );
        reqwest::Url::parse(&format!("{}/api/{procedure}", self.base_url))
            .map_err(invalid)
    }
    async fn send<O: serde::de::DeserializeOwned>(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> Result<O, Error> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(id) = &self.correlation_id {
            request = request.header(CORRELATION_ID, id);
        }
        let response = request.send().await?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (status, correlation_id) = (response.status(), header(CORRELATION_ID));
        let retry_after = header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
            .map(std::time::Duration::from_secs);
        let body = response.bytes().await?;
        let unexpected = |problem: serde_json::Error| Error::Unexpected {
            status: status.as_u16(),
            problem: problem.to_string(),
            correlation_id: correlation_id.clone(),
        };
        let answer = unwrapped(&body).map_err(unexpected)?;
        if status.is_success() {
            return serde_json::from_value(answer).map_err(unexpected);
        }
        let refusal: Refusal = serde_json::from_value(answer).map_err(unexpected)?;
        Err(
            Error::Refused(
                Box::new(Refusal {
                    correlation_id,
                    retry_after,
                    ..refusal
                }),
            ),
        )
    }
}
fn wrapped(input: &impl serde::Serialize) -> Result<String, Error> {
    let invalid = |problem: serde_json::Error| Error::Invalid(problem.to_string());
    let json = serde_json::to_value(input).map_err(invalid)?;
    serde_json::to_string(&Envelope { json, meta: Vec::new() }).map_err(invalid)
}
/// Types that JSON lacks are texts and arrays, which they are for serde, too; only a big integer is a text and should be a number.
fn unwrapped(body: &[u8]) -> Result<serde_json::Value, serde_json::Error> {
    let Envelope { mut json, meta } = serde_json::from_slice(body)?;
    for note in &meta {
        let Some((kind, path)) = note.split_first() else { continue };
        let place = path
            .iter()
            .try_fold(
                &mut json,
                |value, segment| match segment {
                    serde_json::Value::String(name) => value.get_mut(name.as_str()),
                    index => value.get_mut(usize::try_from(index.as_u64()?).ok()?),
                },
            );
        if let (Some(0), Some(place)) = (kind.as_u64(), place) {
            let digits = place.as_str().unwrap_or_default();
            let number = digits
                .parse::<i64>()
                .map(serde_json::Value::from)
                .or_else(|_| digits.parse::<u64>().map(serde_json::Value::from));
            if let Ok(number) = number {
                *place = number;
            }
        }
    }
    Ok(json)
}
impl Client {
    /// Procedures of the plugin `echo`.
    pub fn echo(&self) -> echo::Procedures<'_> {
        echo::Procedures(self)
    }
    /// Procedures of the plugin `secrets`.
    pub fn secrets(&self) -> secrets::Procedures<'_> {
        secrets::Procedures(self)
    }
}
/// Procedures of the plugin `echo`.
pub mod echo {
    /// Procedures of the plugin `echo`.
    #[derive(Debug, Clone, Copy)]
    pub struct Procedures<'a>(pub(super) &'a super::Client);
    impl Procedures<'_> {
        /// Says no
        ///
        /// **Authorization.** Everybody may call it.
        pub async fn not_found(&self) -> Result<(), super::Error> {
            self.0.mutation("echo/NOT_FOUND", &()).await
        }
        /// **Authorization.** Everybody may call it.
        pub async fn echo(
            &self,
            input: &types::EchoInput,
        ) -> Result<types::EchoOutput, super::Error> {
            self.0.query("echo/echo", input).await
        }
        /// **Authorization.** Everybody may call it.
        pub async fn echo_changed(
            &self,
            input: &types::EchoChangedInput,
        ) -> Result<types::EchoChangedOutput, super::Error> {
            self.0.mutation("echo/echo/changed", input).await
        }
    }
    /// What its procedures take and give.
    pub mod types {
        /// `EchoChangedInput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct EchoChangedInput {
            /// A point in time.
            pub at: ::jiff::Timestamp,
            pub count: i64,
            pub ids: ::std::vec::Vec<::std::string::String>,
            pub labels: ::std::vec::Vec<(::std::string::String, i64)>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub page: ::std::option::Option<::std::string::String>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub pattern: ::std::option::Option<::std::string::String>,
            pub shape: EchoChangedInputShape,
            pub state: EchoChangedInputState,
            pub tree: Node,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub until: ::std::option::Option<::jiff::Timestamp>,
        }
        /// `EchoChangedInputShape`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        #[serde(tag = "kind")]
        pub enum EchoChangedInputShape {
            #[serde(rename = "circle")]
            Circle { radius: f64 },
            #[serde(rename = "square")]
            Square { side: f64 },
        }
        /// `EchoChangedInputState`
        #[derive(
            ::serde::Deserialize,
            ::serde::Serialize,
            Clone,
            Copy,
            Debug,
            Eq,
            Hash,
            Ord,
            PartialEq,
            PartialOrd
        )]
        pub enum EchoChangedInputState {
            #[serde(rename = "up")]
            Up,
            #[serde(rename = "down")]
            Down,
        }
        impl ::std::fmt::Display for EchoChangedInputState {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match *self {
                    Self::Up => f.write_str("up"),
                    Self::Down => f.write_str("down"),
                }
            }
        }
        impl ::std::str::FromStr for EchoChangedInputState {
            type Err = self::error::ConversionError;
            fn from_str(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                match value {
                    "up" => Ok(Self::Up),
                    "down" => Ok(Self::Down),
                    _ => Err("invalid value".into()),
                }
            }
        }
        impl ::std::convert::TryFrom<&str> for EchoChangedInputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        impl ::std::convert::TryFrom<::std::string::String> for EchoChangedInputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: ::std::string::String,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        /// `EchoChangedOutput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct EchoChangedOutput {
            /// A point in time.
            pub at: ::jiff::Timestamp,
            pub count: i64,
            pub ids: ::std::vec::Vec<::std::string::String>,
            pub labels: ::std::vec::Vec<(::std::string::String, i64)>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub page: ::std::option::Option<::std::string::String>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub pattern: ::std::option::Option<::std::string::String>,
            pub shape: EchoChangedOutputShape,
            pub state: EchoChangedOutputState,
            pub tree: Node,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub until: ::std::option::Option<::jiff::Timestamp>,
        }
        /// `EchoChangedOutputShape`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        #[serde(tag = "kind")]
        pub enum EchoChangedOutputShape {
            #[serde(rename = "circle")]
            Circle { radius: f64 },
            #[serde(rename = "square")]
            Square { side: f64 },
        }
        /// `EchoChangedOutputState`
        #[derive(
            ::serde::Deserialize,
            ::serde::Serialize,
            Clone,
            Copy,
            Debug,
            Eq,
            Hash,
            Ord,
            PartialEq,
            PartialOrd
        )]
        pub enum EchoChangedOutputState {
            #[serde(rename = "up")]
            Up,
            #[serde(rename = "down")]
            Down,
        }
        impl ::std::fmt::Display for EchoChangedOutputState {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match *self {
                    Self::Up => f.write_str("up"),
                    Self::Down => f.write_str("down"),
                }
            }
        }
        impl ::std::str::FromStr for EchoChangedOutputState {
            type Err = self::error::ConversionError;
            fn from_str(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                match value {
                    "up" => Ok(Self::Up),
                    "down" => Ok(Self::Down),
                    _ => Err("invalid value".into()),
                }
            }
        }
        impl ::std::convert::TryFrom<&str> for EchoChangedOutputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        impl ::std::convert::TryFrom<::std::string::String> for EchoChangedOutputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: ::std::string::String,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        /// `EchoInput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct EchoInput {
            /// A point in time.
            pub at: ::jiff::Timestamp,
            pub count: i64,
            pub ids: ::std::vec::Vec<::std::string::String>,
            pub labels: ::std::vec::Vec<(::std::string::String, i64)>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub page: ::std::option::Option<::std::string::String>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub pattern: ::std::option::Option<::std::string::String>,
            pub shape: EchoInputShape,
            pub state: EchoInputState,
            pub tree: Node,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub until: ::std::option::Option<::jiff::Timestamp>,
        }
        /// `EchoInputShape`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        #[serde(tag = "kind")]
        pub enum EchoInputShape {
            #[serde(rename = "circle")]
            Circle { radius: f64 },
            #[serde(rename = "square")]
            Square { side: f64 },
        }
        /// `EchoInputState`
        #[derive(
            ::serde::Deserialize,
            ::serde::Serialize,
            Clone,
            Copy,
            Debug,
            Eq,
            Hash,
            Ord,
            PartialEq,
            PartialOrd
        )]
        pub enum EchoInputState {
            #[serde(rename = "up")]
            Up,
            #[serde(rename = "down")]
            Down,
        }
        impl ::std::fmt::Display for EchoInputState {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match *self {
                    Self::Up => f.write_str("up"),
                    Self::Down => f.write_str("down"),
                }
            }
        }
        impl ::std::str::FromStr for EchoInputState {
            type Err = self::error::ConversionError;
            fn from_str(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                match value {
                    "up" => Ok(Self::Up),
                    "down" => Ok(Self::Down),
                    _ => Err("invalid value".into()),
                }
            }
        }
        impl ::std::convert::TryFrom<&str> for EchoInputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        impl ::std::convert::TryFrom<::std::string::String> for EchoInputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: ::std::string::String,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        /// `EchoOutput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct EchoOutput {
            /// A point in time.
            pub at: ::jiff::Timestamp,
            pub count: i64,
            pub ids: ::std::vec::Vec<::std::string::String>,
            pub labels: ::std::vec::Vec<(::std::string::String, i64)>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub page: ::std::option::Option<::std::string::String>,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub pattern: ::std::option::Option<::std::string::String>,
            pub shape: EchoOutputShape,
            pub state: EchoOutputState,
            pub tree: Node,
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub until: ::std::option::Option<::jiff::Timestamp>,
        }
        /// `EchoOutputShape`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        #[serde(tag = "kind")]
        pub enum EchoOutputShape {
            #[serde(rename = "circle")]
            Circle { radius: f64 },
            #[serde(rename = "square")]
            Square { side: f64 },
        }
        /// `EchoOutputState`
        #[derive(
            ::serde::Deserialize,
            ::serde::Serialize,
            Clone,
            Copy,
            Debug,
            Eq,
            Hash,
            Ord,
            PartialEq,
            PartialOrd
        )]
        pub enum EchoOutputState {
            #[serde(rename = "up")]
            Up,
            #[serde(rename = "down")]
            Down,
        }
        impl ::std::fmt::Display for EchoOutputState {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match *self {
                    Self::Up => f.write_str("up"),
                    Self::Down => f.write_str("down"),
                }
            }
        }
        impl ::std::str::FromStr for EchoOutputState {
            type Err = self::error::ConversionError;
            fn from_str(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                match value {
                    "up" => Ok(Self::Up),
                    "down" => Ok(Self::Down),
                    _ => Err("invalid value".into()),
                }
            }
        }
        impl ::std::convert::TryFrom<&str> for EchoOutputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        impl ::std::convert::TryFrom<::std::string::String> for EchoOutputState {
            type Error = self::error::ConversionError;
            fn try_from(
                value: ::std::string::String,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        /// `Node`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct Node {
            pub children: ::std::vec::Vec<Node>,
        }
        /// Error types.
        pub mod error {
            /// Error from a `TryFrom` or `FromStr` implementation.
            pub struct ConversionError(::std::borrow::Cow<'static, str>);
            impl ::std::error::Error for ConversionError {}
            impl ::std::fmt::Display for ConversionError {
                fn fmt(
                    &self,
                    f: &mut ::std::fmt::Formatter<'_>,
                ) -> Result<(), ::std::fmt::Error> {
                    ::std::fmt::Display::fmt(&self.0, f)
                }
            }
            impl ::std::fmt::Debug for ConversionError {
                fn fmt(
                    &self,
                    f: &mut ::std::fmt::Formatter<'_>,
                ) -> Result<(), ::std::fmt::Error> {
                    ::std::fmt::Debug::fmt(&self.0, f)
                }
            }
            impl From<&'static str> for ConversionError {
                fn from(value: &'static str) -> Self {
                    Self(value.into())
                }
            }
            impl From<String> for ConversionError {
                fn from(value: String) -> Self {
                    Self(value.into())
                }
            }
        }
    }
}
/// Procedures of the plugin `secrets`.
pub mod secrets {
    /// Procedures of the plugin `secrets`.
    #[derive(Debug, Clone, Copy)]
    pub struct Procedures<'a>(pub(super) &'a super::Client);
    impl Procedures<'_> {
        /// Deletes a secret; plugins that run go on with the value that they have
        ///
        /// **Authorization.** Signing in, the key of an application or the token of a service is needed. Needs `secrets.secret.manage`.
        pub async fn delete_secret(
            &self,
            input: &types::DeleteSecretInput,
        ) -> Result<types::DeleteSecretOutput, super::Error> {
            self.0.mutation("secrets/deleteSecret", input).await
        }
        /// Which secrets there are, without their values
        ///
        /// **Authorization.** Signing in, the key of an application or the token of a service is needed. Needs `secrets.secret.read`.
        pub async fn list_secrets(
            &self,
        ) -> Result<::std::vec::Vec<types::SecretInfo>, super::Error> {
            self.0.query("secrets/listSecrets", &()).await
        }
        /// Encrypts all secrets with the current key that are encrypted with another one
        ///
        /// **Authorization.** Signing in, the key of an application or the token of a service is needed. Needs `secrets.secret.manage`.
        pub async fn reencrypt_secrets(
            &self,
        ) -> Result<types::ReencryptSecretsOutput, super::Error> {
            self.0.mutation("secrets/reencryptSecrets", &()).await
        }
        /// Makes a secret, or gives it another value; plugins that refer to it are initialised anew
        ///
        /// **Authorization.** Signing in, the key of an application or the token of a service is needed. Needs `secrets.secret.manage`.
        pub async fn set_secret(
            &self,
            input: &types::SetSecretInput,
        ) -> Result<(), super::Error> {
            self.0.mutation("secrets/setSecret", input).await
        }
    }
    /// What its procedures take and give.
    pub mod types {
        /// `DeleteSecretInput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct DeleteSecretInput {
            pub name: ::std::string::String,
        }
        /// `DeleteSecretOutput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct DeleteSecretOutput {
            /// False: there was none in the database.
            pub deleted: bool,
        }
        /// `Failure`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct Failure {
            pub name: ::std::string::String,
            pub problem: ::std::string::String,
        }
        /// `ReencryptSecretsOutput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct ReencryptSecretsOutput {
            /// These cannot be decrypted, and are as they were.
            pub failures: ::std::vec::Vec<Failure>,
            /// So many were encrypted with another key.
            pub reencrypted: u32,
            /// So many were encrypted with the current one.
            pub unchanged: u32,
        }
        /// `SecretInfo`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct SecretInfo {
            pub description: ::std::string::String,
            /// One of the same name is in the database, and does not count.
            #[serde(rename = "hidesStored")]
            pub hides_stored: bool,
            pub name: ::std::string::String,
            pub source: Source,
            /// RFC 3339.
            #[serde(
                rename = "updatedAt",
                skip_serializing_if = "::std::option::Option::is_none"
            )]
            pub updated_at: ::std::option::Option<::std::string::String>,
            #[serde(
                rename = "updatedBy",
                skip_serializing_if = "::std::option::Option::is_none"
            )]
            pub updated_by: ::std::option::Option<::std::string::String>,
        }
        /// `SetSecretInput`
        #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
        pub struct SetSecretInput {
            /// For people. Left out, it stays as it is.
            #[serde(skip_serializing_if = "::std::option::Option::is_none")]
            pub description: ::std::option::Option<::std::string::String>,
            /// 1 to 128 of the characters a-z, A-Z, 0-9, _ and -.
            pub name: ::std::string::String,
            /// 64 KiB at most. What plugins write is shown without it, if it has four characters and more.
            pub value: ::std::string::String,
        }
        /// Where a secret is.
        #[derive(
            ::serde::Deserialize,
            ::serde::Serialize,
            Clone,
            Copy,
            Debug,
            Eq,
            Hash,
            Ord,
            PartialEq,
            PartialOrd
        )]
        pub enum Source {
            /// In the database, encrypted.
            #[serde(rename = "database")]
            Database,
            /// In a Secret that the instance's spec names.
            #[serde(rename = "kubernetes")]
            Kubernetes,
        }
        impl ::std::fmt::Display for Source {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match *self {
                    Self::Database => f.write_str("database"),
                    Self::Kubernetes => f.write_str("kubernetes"),
                }
            }
        }
        impl ::std::str::FromStr for Source {
            type Err = self::error::ConversionError;
            fn from_str(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                match value {
                    "database" => Ok(Self::Database),
                    "kubernetes" => Ok(Self::Kubernetes),
                    _ => Err("invalid value".into()),
                }
            }
        }
        impl ::std::convert::TryFrom<&str> for Source {
            type Error = self::error::ConversionError;
            fn try_from(
                value: &str,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        impl ::std::convert::TryFrom<::std::string::String> for Source {
            type Error = self::error::ConversionError;
            fn try_from(
                value: ::std::string::String,
            ) -> ::std::result::Result<Self, self::error::ConversionError> {
                value.parse()
            }
        }
        /// Error types.
        pub mod error {
            /// Error from a `TryFrom` or `FromStr` implementation.
            pub struct ConversionError(::std::borrow::Cow<'static, str>);
            impl ::std::error::Error for ConversionError {}
            impl ::std::fmt::Display for ConversionError {
                fn fmt(
                    &self,
                    f: &mut ::std::fmt::Formatter<'_>,
                ) -> Result<(), ::std::fmt::Error> {
                    ::std::fmt::Display::fmt(&self.0, f)
                }
            }
            impl ::std::fmt::Debug for ConversionError {
                fn fmt(
                    &self,
                    f: &mut ::std::fmt::Formatter<'_>,
                ) -> Result<(), ::std::fmt::Error> {
                    ::std::fmt::Debug::fmt(&self.0, f)
                }
            }
            impl From<&'static str> for ConversionError {
                fn from(value: &'static str) -> Self {
                    Self(value.into())
                }
            }
            impl From<String> for ConversionError {
                fn from(value: String) -> Self {
                    Self(value.into())
                }
            }
        }
    }
}
