//! An OpenID provider (`tests/oidc`), and a browser that signs in there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::{Certificate, Client, Response, header, redirect};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::process::{Pod, free_address};

pub(crate) const CLIENT_SECRET: &str = "s3cret-of-the-client";
pub(crate) const CALLBACK: &str = "/api/auth/oauth2/callback/oidc";

/// The program, with a certificate of an authority that nobody knows.
pub(crate) struct Provider {
    directory: TempDir,
    address: String,
    settings: Value,
    process: Option<Child>,
}

impl Provider {
    /// For one pod. `settings`: `keyType` and `claimsInToken`.
    pub(crate) fn start(pod: &Pod, settings: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = |name: &str, arguments: &str| {
            let key = format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key");
            let arguments = format!("{key} -out {name}.crt {arguments}");
            let made = Command::new("openssl").args(arguments.split(' ')).current_dir(directory.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        certificate("ca", "-addext basicConstraints=critical,CA:TRUE");
        let of_host = "-CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1";
        certificate("provider", of_host);
        let mut provider = Self { address: free_address(), settings, directory, process: None };
        provider.settings["port"] = json!(provider.address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
        provider.settings["key"] = json!(provider.read("provider.key"));
        provider.settings["certificate"] = json!(provider.read("provider.crt"));
        provider.settings["redirectUri"] = json!(pod.url(CALLBACK));
        provider.settings["accounts"] = json!(provider.directory.path().join("accounts.json"));
        provider.run(CLIENT_SECRET);
        provider
    }

    /// Ends it, if it runs, and begins it with new keys.
    pub(crate) fn run(&mut self, client_secret: &str) {
        self.stop();
        let folder = std::env::var("CHECKSTACK_TEST_OIDC").expect("the folder that `tests/oidc/install` prints");
        self.settings["clientSecret"] = json!(client_secret);
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/oidc/provider.mjs");
        let mut node = Command::new("node");
        let pipes = node.arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = pipes.spawn().unwrap();
        process.stdin.take().unwrap().write_all(self.settings.to_string().as_bytes()).unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok).find(|line| line == "ready");
        self.process = Some(process);
        assert!(said.is_some(), "the provider does not start");
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Whom it knows, by subject, with their claims.
    pub(crate) fn accounts(&self, accounts: Value) {
        std::fs::write(self.directory.path().join("accounts.json"), accounts.to_string()).unwrap();
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What a pod is given to sign people in there; `more` are further settings.
    pub(crate) fn given_to(&self, pod: Pod, more: Value) -> Pod {
        let mut settings = json!({ "issuer": self.issuer(), "clientId": "checkstack", "scopes": ["openid", "email", "profile", "groups"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        std::fs::create_dir_all(pod.path("oidc")).unwrap();
        pod.write("oidc/client-secret", format!("{CLIENT_SECRET}\n").as_bytes());
        pod.write("oidc/ca.crt", self.read("ca.crt").as_bytes());
        let (base_url, directory) = (pod.url(""), pod.path("oidc"));
        pod.with("CHECKSTACK_BASE_URL", &base_url)
            .with("CHECKSTACK_OIDC", &settings.to_string())
            .with("CHECKSTACK_OIDC_DIR", directory.to_str().unwrap())
    }

    pub(crate) fn browser(&self) -> Browser {
        let authority = Certificate::from_pem(self.read("ca.crt").as_bytes()).unwrap();
        let client = Client::builder().redirect(redirect::Policy::none()).tls_certs_only([authority]).build().unwrap();
        Browser { client, cookies: BTreeMap::new() }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(file)).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps cookies, by origin.
pub(crate) struct Browser {
    client: Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(crate) async fn get(&mut self, url: &str) -> Response {
        let kept = self.cookies.entry(origin(url)).or_default();
        let sent: Vec<String> = kept.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = self.client.get(url).header(header::COOKIE, sent.join("; ")).send().await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            match rest.split(';').next().unwrap() {
                "" => kept.remove(name),
                value => kept.insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }

    /// Where the pod sends it to.
    pub(crate) async fn begin(&mut self, pod: &Pod, return_to: &str) -> Url {
        let response = self.get(&pod.url(&format!("/api/auth/sign-in/oauth2?returnTo={return_to}"))).await;
        assert_eq!(response.status(), 303);
        location(&response).parse().unwrap()
    }

    /// Goes where it is sent, until that is the pod: with what the provider says there.
    pub(crate) async fn at_provider(&mut self, pod: &Pod, mut url: Url, subject: &str) -> Url {
        if !subject.is_empty() {
            url.query_pairs_mut().append_pair("login_hint", subject);
        }
        for _ in 0..10 {
            let response = self.get(url.as_str()).await;
            assert_eq!(response.status(), 303, "{url}");
            url = url.join(&location(&response)).unwrap();
            if url.as_str().starts_with(&pod.url(CALLBACK)) {
                return url;
            }
        }
        panic!("never back from the provider: {url}");
    }

    /// From the beginning to the end: what the pod answers then.
    pub(crate) async fn sign_in(&mut self, pod: &Pod, subject: &str) -> Response {
        let url = self.begin(pod, "/systems").await;
        let back = self.at_provider(pod, url, subject).await;
        self.get(back.as_str()).await
    }

    pub(crate) fn cookie(&self, pod: &Pod, name: &str) -> Option<String> {
        self.cookies.get(&origin(&pod.url("")))?.get(name).cloned()
    }

    pub(crate) fn set_cookie(&mut self, pod: &Pod, name: &str, value: &str) {
        self.cookies.entry(origin(&pod.url(""))).or_default().insert(name.to_owned(), value.to_owned());
    }
}

pub(crate) fn location(response: &Response) -> String {
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

fn origin(url: &str) -> String {
    url.parse::<Url>().unwrap().origin().ascii_serialization()
}
