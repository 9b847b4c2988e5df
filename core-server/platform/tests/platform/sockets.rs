//! WebSockets: signals for browsers at every replica, and the routes of parts of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Account, Permissions, Principal, RuleId};
use checkstack_calls::gate::TeamGrants;
use checkstack_platform::StartError;
use checkstack_platform::identity::{Identity, NotIdentified};
use checkstack_platform::native::{NativeParts, NativeServices, SocketHandler, SocketRefusal, SocketRequest};
use checkstack_signals::{SignalError, SignalService};
use checkstack_sockets::{CloseReason, SocketConnection};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::instance::{Instance, Pod};
use crate::packages::package;
use crate::scripted::Script;

const SIGNALS: &str = "/api/signals/ws";
const SOON: Duration = Duration::from_secs(20);

/// Knows who shows a cookie `user=<id>`, unless they were signed out.
#[derive(Default)]
struct People {
    signed_out: Mutex<BTreeSet<String>>,
    is_down: Mutex<bool>,
    granted: BTreeSet<String>,
    asked: Mutex<Vec<usize>>,
}

#[async_trait]
impl Identity for People {
    async fn principal(&self, headers: &HeaderMap) -> Result<Option<Principal>, NotIdentified> {
        if *self.is_down.lock().unwrap() {
            return Err(NotIdentified::Unavailable("as scripted".into()));
        }
        let shown = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let account =
            |id: &str| Arc::new(Account { id: id.into(), name: id.into(), permissions: Permissions::None, teams: BTreeSet::new() });
        if let Some(key) = shown("authorization") {
            return match key.as_str() {
                "too-many" => Err(NotIdentified::TooManyAttempts),
                key => Ok(Some(Principal::Application(account(key)))),
            };
        }
        let user = shown("cookie").and_then(|cookie| cookie.strip_prefix("user=").map(str::to_owned));
        Ok(user.filter(|user| !self.signed_out.lock().unwrap().contains(user)).map(|user| Principal::User(account(&user))))
    }

    async fn anonymous(&self) -> Result<Arc<Permissions>, NotIdentified> {
        Ok(Arc::new(Permissions::None))
    }

    async fn team_grants(&self, _: Option<&Principal>, _: &RuleId, _: &[String]) -> Result<BTreeMap<String, TeamGrants>, NotIdentified> {
        Ok(BTreeMap::new())
    }

    async fn users_granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, NotIdentified> {
        assert_eq!(rule.to_string(), "uptime.target.read");
        self.asked.lock().unwrap().push(users.len());
        Ok(users.iter().filter(|user| self.granted.contains(*user)).cloned().collect())
    }

    fn withhold(&self, _: &mut HeaderMap) {}

    async fn rules_defined(&self, _: &BTreeMap<RuleId, AccessRule>) -> Result<(), NotIdentified> {
        Ok(())
    }
}

/// Says everything again, and ends when it is told to.
struct Echo;

#[async_trait]
impl SocketHandler for Echo {
    async fn admit(&self, request: &SocketRequest) -> Result<(), SocketRefusal> {
        match request.query.as_deref() {
            Some("token=wrong") => Err(SocketRefusal { status: StatusCode::UNAUTHORIZED, message: "no such token".into() }),
            _ => Ok(()),
        }
    }

    async fn attend(&self, request: SocketRequest, mut connection: SocketConnection) {
        let _ = connection.sender().send(request.path.into());
        while let Some(text) = connection.next().await {
            match text.as_str() {
                "end" => return,
                "own" => connection.sender().close(CloseReason::new(4000, "as asked")),
                _ => drop(connection.sender().send(text)),
            }
        }
    }
}

struct Served {
    pod: Pod,
    signals: SignalService,
}

async fn serve(
    instance: &Instance,
    name: &str,
    people: &Arc<People>,
    change: impl FnOnce(&mut checkstack_platform::SocketSettings),
) -> Served {
    let mut settings = instance.settings(name);
    settings.allowed_origins = vec!["https://checks.example.com".into()];
    settings.sockets.standing.ask_every = Duration::from_millis(200);
    change(&mut settings.sockets);
    let pod = instance.new_pod_with(settings).await;
    let (given, identity) = (Arc::new(Mutex::new(None)), people.clone());
    let kept = given.clone();
    let parts = move |services: NativeServices| {
        let id = "satellite".parse().unwrap();
        for path in ["/", "/logs"] {
            services.socket_routes.register(&id, path, Arc::new(Echo)).map_err(|problem| problem.to_string())?;
        }
        *kept.lock().unwrap() = Some(services.signals);
        Ok(NativeParts { identity: Some(identity), ..NativeParts::default() })
    };
    pod.platform.start(instance.loader(), parts).await.unwrap();
    let signals = given.lock().unwrap().take().unwrap();
    // Until the other replicas hear of it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Served { pod, signals }
}

struct Client(WebSocketStream<TcpStream>);

/// Status, the field `Retry-After`, and the body.
type Refused = (u16, Option<String>, Value);

impl Served {
    async fn try_connect(&self, path: &str, fields: &[(&'static str, &str)]) -> Result<Client, Refused> {
        let host = self.pod.address.strip_prefix("http://").unwrap();
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client_async(request, TcpStream::connect(host).await.unwrap()).await {
            Ok((client, response)) => {
                assert!(response.headers().contains_key("x-correlation-id"));
                Ok(Client(client))
            }
            Err(Error::Http(response)) => {
                let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
                Err((response.status().as_u16(), retry_after, serde_json::from_slice(response.body().as_deref().unwrap()).unwrap()))
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn connect(&self, user: &str) -> Client {
        self.try_connect(SIGNALS, &[("cookie", &format!("user={user}"))]).await.unwrap()
    }

    /// One that knows who it is taken for.
    async fn connected(&self, user: &str) -> Client {
        let mut client = self.connect(user).await;
        assert_eq!(client.json().await, json!({ "type": "connected", "userId": user }));
        client
    }

    /// Value of a metric.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.pod.get("/.checkstack/metrics").await.text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Client {
    async fn text(&mut self) -> String {
        loop {
            match timeout(SOON, self.0.next()).await.expect("nothing comes") {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text comes: {other:?}"),
            }
        }
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The payload of the next signal.
    async fn signal(&mut self, id: &str) -> Value {
        let message = self.json().await;
        assert_eq!((&message["type"], &message["signalId"]), (&json!("signal"), &json!(id)), "{message}");
        message["payload"].clone()
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn hears_nothing(&mut self) {
        if let Ok(heard) = timeout(Duration::from_millis(400), self.0.next()).await {
            panic!("something comes: {heard:?}");
        }
    }

    async fn closed_with(&mut self) -> u16 {
        loop {
            match timeout(SOON, self.0.next()).await.expect("it is not closed") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("it ended without a reason: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn signals_cross_replicas_and_reach_those_they_are_for() {
    let (instance, people) = (Instance::new().await, Arc::new(People { granted: ["ada".to_owned()].into(), ..People::default() }));
    let (first, second) = (serve(&instance, "first", &people, |_| {}).await, serve(&instance, "second", &people, |_| {}).await);
    let (mut ada, mut ada_again, mut bob) = (first.connected("ada").await, second.connected("ada").await, second.connected("bob").await);
    let mut program = second.try_connect(SIGNALS, &[("authorization", "key")]).await.unwrap();
    assert_eq!(program.text().await, r#"{"type":"connected","userId":"anonymous"}"#, "only a user is one");
    ada.say(r#"{"type":"ping"}"#).await;
    assert_eq!(ada.text().await, r#"{"type":"pong"}"#);

    let id = |name: &str| format!("uptime.{name}").parse().unwrap();
    first.signals.broadcast(&id("changed"), json!(1)).await;
    for client in [&mut ada, &mut ada_again, &mut bob, &mut program] {
        assert_eq!(client.signal("uptime.changed").await, 1);
    }
    second.signals.send_to_user(&id("seen"), "ada", json!(2)).await;
    let (users, rule) = (["ada".to_owned(), "bob".to_owned()], "uptime.target.read".parse().unwrap());
    second.signals.send_to_authorized_users(&id("secret"), &users, json!(3), &rule).await;
    for client in [&mut ada, &mut ada_again] {
        let mut heard = [client.json().await["payload"].clone(), client.json().await["payload"].clone()];
        heard.sort_by_key(Value::as_u64);
        assert_eq!(heard, [json!(2), json!(3)]);
    }
    for client in [&mut bob, &mut program] {
        client.hears_nothing().await;
    }
    assert_eq!(*people.asked.lock().unwrap(), [2], "one question for all");
    assert_eq!(first.metric(r#"checkstack_sockets_open{kind="signals"}"#).await, 1.0);
    assert_eq!(second.metric(r#"checkstack_sockets_open{kind="signals"}"#).await, 3.0);
    assert_eq!(second.metric(r#"checkstack_signals_sent_total{kind="users"}"#).await, 2.0);
}

#[tokio::test]
async fn plugins_tell_browsers_under_their_own_name_and_within_their_quota() {
    let (instance, people) = (Instance::new().await, Arc::new(People { granted: ["ada".to_owned()].into(), ..People::default() }));
    instance.scripts.set("uptime", Script::default());
    let served = serve(&instance, "pod", &people, |_| {}).await;
    let mut ada = served.connected("ada").await;
    served.pod.run(1, &[&package("uptime", &[])]).await;
    assert_eq!(ada.signal("core.plugin.installed").await, json!({ "pluginId": "uptime" }));
    let signals = instance.scripts.services("uptime").signals;
    signals.broadcast("changed", json!({ "target": 1 })).await.unwrap();
    assert_eq!(ada.signal("uptime.changed").await, json!({ "target": 1 }));
    signals.send_to_users("seen", &["ada".into()], json!(2)).await.unwrap();
    assert_eq!(ada.signal("uptime.seen").await, 2);
    signals.send_to_authorized_users("secret", &["ada".into(), "bob".into()], json!(3), "target.read").await.unwrap();
    assert_eq!(ada.signal("uptime.secret").await, 3);
    for name in ["", "a b"] {
        assert!(matches!(signals.broadcast(name, json!(1)).await, Err(SignalError::Invalid(_))), "{name}");
    }
    assert!(matches!(signals.send_to_authorized_users("x", &[], json!(1), "no rule").await, Err(SignalError::Invalid(_))));
    assert!(matches!(signals.broadcast("x", json!("x".repeat(70_000))).await, Err(SignalError::Invalid(_))));
    let large = json!("x".repeat(60_000));
    let mut sent = 0;
    while signals.broadcast("large", large.clone()).await != Err(SignalError::Limited) {
        sent += 1;
        assert!(sent < 50, "nothing bounds what a plugin sends");
    }
    served.pod.run(2, &[]).await;
    while ada.json().await["signalId"] != "core.plugin.deregistered" {}
}

#[tokio::test]
async fn a_page_of_a_stranger_and_what_is_no_handshake_get_no_socket() {
    let (instance, people) = (Instance::new().await, Arc::new(People::default()));
    let served = serve(&instance, "pod", &people, |_| {}).await;
    let own = served.pod.address.clone();
    for path in [SIGNALS, "/api/ws/satellite"] {
        for origin in ["https://checks.example.com", &own] {
            assert!(served.try_connect(path, &[("origin", origin)]).await.is_ok(), "{origin}");
        }
        for origin in ["https://evil.example", "null", "https://checks.example.com.evil.example"] {
            let (status, _, body) = served.try_connect(path, &[("origin", origin), ("cookie", "user=ada")]).await.err().unwrap();
            assert_eq!((status, &body["error"]), (403, &json!("Forbidden")), "{origin}");
        }
        let refused = |response: Response| async move { (response.status().as_u16(), response.headers().clone()) };
        let (status, fields) = refused(served.pod.get(path).await).await;
        assert_eq!(
            (status, &fields["upgrade"], &fields["sec-websocket-version"]),
            (426, &"websocket".parse().unwrap(), &"13".parse().unwrap())
        );
        let (status, fields) = refused(served.pod.client.post(format!("{own}{path}")).send().await.unwrap()).await;
        assert_eq!((status, &fields["allow"]), (405, &"GET".parse().unwrap()));
        let get = || served.pod.client.get(format!("{own}{path}")).header("connection", "upgrade").header("upgrade", "websocket");
        let (status, _) =
            refused(get().header("sec-websocket-version", "13").header("sec-websocket-key", "short").send().await.unwrap()).await;
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn there_is_room_for_so_many_sockets_and_no_more() {
    let (instance, people) = (Instance::new().await, Arc::new(People::default()));
    let served = serve(&instance, "pod", &people, |sockets| {
        (sockets.browsers.all, sockets.browsers.of_one, sockets.browsers.of_nobody) = (4, 2, 1);
        (sockets.routes.all, sockets.routes.of_one) = (1, 1);
    });
    let served = served.await;
    let _ada = (served.connected("ada").await, served.connected("ada").await);
    let full = |refused: Result<Client, Refused>| {
        let (status, retry_after, body) = refused.err().unwrap();
        assert_eq!((status, retry_after.as_deref()), (503, Some("10")), "{body}");
        body["message"].as_str().unwrap().to_owned()
    };
    assert!(full(served.try_connect(SIGNALS, &[("cookie", "user=ada")]).await).contains("same user"));
    let nobody = served.try_connect(SIGNALS, &[]).await.unwrap();
    assert!(full(served.try_connect(SIGNALS, &[]).await).contains("too many"));
    let _bob = served.connected("bob").await;
    assert!(full(served.try_connect(SIGNALS, &[("cookie", "user=cid")]).await).contains("too many"));
    let _route = served.try_connect("/api/ws/satellite", &[]).await.unwrap();
    full(served.try_connect("/api/ws/satellite", &[]).await);
    drop(nobody);
    let deadline = Instant::now() + SOON;
    while served.try_connect(SIGNALS, &[("cookie", "user=cid")]).await.is_err() {
        assert!(Instant::now() < deadline, "no place comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_cannot_be_known_gets_no_socket_and_who_is_signed_out_loses_it() {
    let (instance, people) = (Instance::new().await, Arc::new(People::default()));
    let served = serve(&instance, "pod", &people, |_| {}).await;
    let (status, retry_after, _) = served.try_connect(SIGNALS, &[("authorization", "too-many")]).await.err().unwrap();
    assert_eq!((status, retry_after.is_some()), (429, true));
    let (mut ada, mut bob) = (served.connected("ada").await, served.connected("bob").await);
    *people.is_down.lock().unwrap() = true;
    let (status, retry_after, _) = served.try_connect(SIGNALS, &[("cookie", "user=ada")]).await.err().unwrap();
    assert_eq!((status, retry_after.is_some()), (503, true));
    tokio::time::sleep(Duration::from_millis(600)).await;
    *people.is_down.lock().unwrap() = false;
    people.signed_out.lock().unwrap().insert("ada".into());
    assert_eq!(ada.closed_with().await, 1008);
    served.signals.broadcast(&"uptime.changed".parse().unwrap(), json!(1)).await;
    assert_eq!(bob.signal("uptime.changed").await, 1, "nobody else has lost theirs");
}

#[tokio::test]
async fn routes_are_found_by_their_very_name_and_attended_to() {
    let (instance, people) = (Instance::new().await, Arc::new(People::default()));
    let served = serve(&instance, "pod", &people, |sockets| sockets.route_rules.max_message_bytes = 2_000).await;
    for path in ["/api/ws/satellite", "/api/ws/satellite/logs"] {
        let mut client = served.try_connect(path, &[]).await.unwrap();
        assert_eq!(client.text().await, path);
        client.say("hello").await;
        assert_eq!(client.text().await, "hello");
        client.0.send(Message::binary(b"bytes".to_vec())).await.unwrap();
        assert_eq!(client.text().await, "bytes");
        for (last, code) in [("end", 1000), ("own", 4000), (&"x".repeat(2_001), 1009)] {
            let mut client = served.try_connect(path, &[]).await.unwrap();
            client.say(last).await;
            assert_eq!(client.closed_with().await, code);
        }
    }
    for path in ["/api/ws/other", "/api/ws/", "/api/ws/satellite/", "/api/ws/satellite/more"] {
        assert_eq!(served.try_connect(path, &[]).await.err().unwrap(), (404, None, json!({ "error": "Not Found" })), "{path}");
    }
    let (status, _, body) = served.try_connect("/api/ws/satellite?token=wrong", &[]).await.err().unwrap();
    assert_eq!((status, &body["message"]), (401, &json!("no such token")));
}

#[tokio::test]
async fn a_route_that_is_there_twice_keeps_the_server_from_starting() {
    let instance = Instance::new().await;
    let pod = instance.new_pod("pod").await;
    let parts = |services: NativeServices| {
        let id = "satellite".parse().unwrap();
        services.socket_routes.register(&id, "/", Arc::new(Echo)).unwrap();
        services.socket_routes.register(&id, "/", Arc::new(Echo)).map_err(|problem| problem.to_string())?;
        Ok(NativeParts::default())
    };
    let refused = pod.platform.start(instance.loader(), parts).await.unwrap_err();
    assert!(matches!(&refused, StartError::Native { problem, .. } if problem == "WebSocket route already registered: /api/ws/satellite"));
}

#[tokio::test]
async fn the_end_of_the_server_is_told_and_not_waited_for() {
    let (instance, people) = (Instance::new().await, Arc::new(People::default()));
    let mut served = serve(&instance, "pod", &people, |_| {}).await;
    let mut clients = [served.connected("ada").await, served.try_connect("/api/ws/satellite", &[]).await.unwrap()];
    let closed = tokio::spawn(async move {
        let codes = [clients[0].closed_with().await, clients[1].closed_with().await];
        // The connections themselves end, too.
        for client in &mut clients {
            while client.0.next().await.is_some() {}
        }
        codes
    });
    let begin = Instant::now();
    served.pod.end().await;
    assert_eq!(closed.await.unwrap(), [1001, 1001]);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}
