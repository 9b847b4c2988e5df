//! A server with the plugin `auth`, and those who call it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkstack_auth::{Auth, AuthSettings, ServiceKeySettings};
use checkstack_platform::identity::Identity;
use checkstack_platform::native::NativeServices;
use reqwest::{Response, header};
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};

pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "Passw0rd-of-the-Secret";

/// A server, and what other parts of it know of `auth`.
pub(crate) struct Replica {
    pub(crate) pod: Pod,
    pub(crate) identity: Arc<dyn Identity>,
}

/// What a caller shows.
#[derive(Clone)]
pub(crate) struct Shown(Vec<(header::HeaderName, String)>);

pub(crate) fn settings(instance: &Instance) -> AuthSettings {
    AuthSettings {
        admin_directory: instance.directory.path().join("admin"),
        session_lifetime: Duration::from_secs(7 * 24 * 3600),
        base_url: None,
        oidc: None,
        oidc_directory: "/nonexistent".into(),
        service_keys: ServiceKeySettings::default(),
        dev_auth: false,
    }
}

/// An instance with an admin.
pub(crate) async fn instance() -> Instance {
    with_admin(Instance::new().await)
}

pub(crate) fn with_admin(instance: Instance) -> Instance {
    std::fs::create_dir(instance.directory.path().join("admin")).unwrap();
    instance.write("admin/username", ADMIN.as_bytes());
    instance.write("admin/password", PASSWORD.as_bytes());
    instance
}

impl Replica {
    pub(crate) async fn start(instance: &Instance, name: &str) -> Self {
        Self::start_with(instance, name, settings(instance)).await
    }

    pub(crate) async fn start_with(instance: &Instance, name: &str, settings: AuthSettings) -> Self {
        let pod = instance.new_pod(name).await;
        let identity: Arc<Mutex<Option<Arc<dyn Identity>>>> = Arc::default();
        let made = identity.clone();
        let native = move |services: NativeServices| {
            let parts = Auth::parts(&services, settings)?;
            made.lock().unwrap().clone_from(&parts.identity);
            Ok(parts)
        };
        pod.platform.start(instance.loader(), native).await.unwrap();
        let identity = identity.lock().unwrap().clone().unwrap();
        Self { pod, identity }
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Response {
        let body = json!({ "email": email, "password": password });
        self.pod.client.post(format!("{}/api/auth/sign-in/email", self.pod.address)).json(&body).send().await.unwrap()
    }

    /// As soon as the Secret has been taken over.
    pub(crate) async fn admin(&self) -> Shown {
        let begin = Instant::now();
        loop {
            let response = self.sign_in(ADMIN, PASSWORD).await;
            if response.status() == 200 {
                let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
                return Shown(vec![(header::COOKIE, cookie.split(';').next().unwrap().to_owned())]);
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{response:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What shows a request to be one of a service.
    pub(crate) async fn service(&self, plugin: &str) -> Shown {
        let value = self.identity.credentials(&plugin.parse().unwrap()).await.unwrap();
        assert!(value.is_sensitive(), "no log shows it");
        Shown(vec![(header::AUTHORIZATION, value.to_str().unwrap().to_owned())])
    }

    pub(crate) async fn call(&self, shown: &Shown, procedure: &str, input: Value) -> (u16, Value) {
        let request = self.pod.client.post(format!("{}/api/auth/{procedure}", self.pod.address)).json(&json!({ "json": input }));
        let response = request.headers(shown.headers()).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (status, body["json"].clone())
    }

    pub(crate) async fn done(&self, shown: &Shown, procedure: &str, input: Value) -> Value {
        let (status, output) = self.call(shown, procedure, input).await;
        assert_eq!(status, 200, "{procedure}: {output}");
        output
    }

    /// The value of the series whose line begins so; 0 when there is none.
    pub(crate) async fn counted(&self, beginning: &str) -> u64 {
        let text = self.pod.get("/.checkstack/metrics").await.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(beginning)?.parse().ok()).unwrap_or(0)
    }

    /// `service uptime`, or the status of a refusal.
    pub(crate) async fn who(&self, shown: &Shown) -> String {
        match self.call(shown, "whoAmI", Value::Null).await {
            (200, me) => format!("{} {}", me["type"].as_str().unwrap(), me["id"].as_str().unwrap()),
            (status, _) => status.to_string(),
        }
    }

    /// Waits until somebody is somebody else; how long that took.
    pub(crate) async fn until(&self, shown: &Shown, expected: &str) -> Duration {
        let begin = Instant::now();
        loop {
            let who = self.who(shown).await;
            if who == expected {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{who}, not {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Shown {
    pub(crate) fn nothing() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self(vec![(header::AUTHORIZATION, format!("Bearer {token}"))])
    }

    pub(crate) fn header(name: &'static str, value: &str) -> Self {
        Self(vec![(header::HeaderName::from_static(name), value.to_owned())])
    }

    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.clone());
        self
    }

    /// What follows `Bearer`.
    pub(crate) fn token(&self) -> &str {
        self.0[0].1.strip_prefix("Bearer ").unwrap()
    }

    pub(crate) fn headers(&self) -> header::HeaderMap {
        self.0.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }
}

/// Longer than what the database has said is believed.
pub(crate) async fn not_believed_any_more() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}
