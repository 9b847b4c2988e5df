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
        Self { http: reqwest::Client::new(), base_url: base_url.trim_end_matches('/').to_owned(), token: None, correlation_id: None }
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

    async fn query<O: serde::de::DeserializeOwned>(&self, procedure: &str, input: &impl serde::Serialize) -> Result<O, Error> {
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

    async fn mutation<O: serde::de::DeserializeOwned>(&self, procedure: &str, input: &impl serde::Serialize) -> Result<O, Error> {
        let request = self.http.post(self.url(procedure)?).header("content-type", "application/json");
        self.send(request.body(wrapped(input)?)).await
    }

    fn url(&self, procedure: &str) -> Result<reqwest::Url, Error> {
        let invalid = |problem| Error::Invalid(format!("'{}' is no URL: {problem}", self.base_url));
        reqwest::Url::parse(&format!("{}/api/{procedure}", self.base_url)).map_err(invalid)
    }

    async fn send<O: serde::de::DeserializeOwned>(&self, mut request: reqwest::RequestBuilder) -> Result<O, Error> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(id) = &self.correlation_id {
            request = request.header(CORRELATION_ID, id);
        }
        let response = request.send().await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, correlation_id) = (response.status(), header(CORRELATION_ID));
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok()).map(std::time::Duration::from_secs);
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
        Err(Error::Refused(Box::new(Refusal { correlation_id, retry_after, ..refusal })))
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
        let place = path.iter().try_fold(&mut json, |value, segment| match segment {
            serde_json::Value::String(name) => value.get_mut(name.as_str()),
            index => value.get_mut(usize::try_from(index.as_u64()?).ok()?),
        });
        if let (Some(0), Some(place)) = (kind.as_u64(), place) {
            let digits = place.as_str().unwrap_or_default();
            let number = digits.parse::<i64>().map(serde_json::Value::from).or_else(|_| digits.parse::<u64>().map(serde_json::Value::from));
            if let Ok(number) = number {
                *place = number;
            }
        }
    }
    Ok(json)
}
