//! Procedures that answer with a stream of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use checkstack_calls::access::{AccessRule, Level};
use checkstack_calls::contract::Offer;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::gate::UserType;
use checkstack_platform::native::{Caller, NativeParts, NativePlugin, NativeServices, ProcedureDefinition, Procedures};
use checkstack_platform::plugin::{
    CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome, ProcedureCall, ProcedureEvents,
    ProcedureFailure,
};
use futures::{Stream, StreamExt as _, stream};
use reqwest::Response;
use serde_json::{Value, json};

use crate::instance::{Instance, Pod};
use crate::principals::Known;

type Events<Output> = Result<stream::BoxStream<'static, Result<Output, CallError>>, CallError>;

/// How many streams of `ticks` there are.
#[derive(Default)]
struct Open(AtomicUsize);

struct OneOpen(Arc<Open>);

impl Drop for OneOpen {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn count(_: Arc<Open>, _: Caller, to: u32) -> Result<impl Stream<Item = Result<u32, CallError>>, CallError> {
    match to {
        0 => Err(CallError::with_message(ErrorCode::Conflict, "nothing to count")),
        to => Ok(stream::iter((0..to).map(Ok))),
    }
}

async fn fails(_: Arc<Open>, _: Caller, (): ()) -> Events<u32> {
    Ok(stream::iter([Ok(1), Err(CallError::with_message(ErrorCode::Conflict, "as scripted")), Ok(2)]).boxed())
}

async fn large(_: Arc<Open>, _: Caller, (): ()) -> Events<String> {
    Ok(stream::iter([Ok("small".to_owned()), Ok("x".repeat(2 * 1024 * 1024))]).boxed())
}

/// One, and then nothing for ever.
async fn ticks(open: Arc<Open>, _: Caller, (): ()) -> Events<u32> {
    open.0.fetch_add(1, Ordering::SeqCst);
    let one = OneOpen(open);
    Ok(stream::iter([Ok(1)])
        .chain(stream::pending())
        .map(move |tick| {
            let _ = &one;
            tick
        })
        .boxed())
}

struct Clock {
    description: Description,
    procedures: Procedures<Open>,
    open: Arc<Open>,
}

impl Clock {
    fn new(open: Arc<Open>) -> Self {
        let rule =
            AccessRule { resource: "tick".into(), level: Level::Read, description: "Hear it".into(), is_default: false, is_public: false };
        let definitions = vec![
            ProcedureDefinition::events("count", "Counts", count).guarded(UserType::Anonymous, &[]),
            ProcedureDefinition::events("fails", "", fails).guarded(UserType::Anonymous, &[]),
            ProcedureDefinition::events("large", "", large).guarded(UserType::Anonymous, &[]),
            ProcedureDefinition::events("ticks", "", ticks).guarded(UserType::User, &["tick.read"]),
            ProcedureDefinition::events("openTicks", "", ticks).guarded(UserType::Anonymous, &[]),
        ];
        let procedures = Procedures::new("clock".parse().unwrap(), vec![rule], definitions).unwrap();
        Self { description: Description::default(), procedures, open }
    }
}

#[async_trait]
impl Plugin for Clock {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn handle(&self, _: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Err(CallFailure::NotRunning("clock".parse().unwrap()))
    }

    fn offer(&self) -> Option<&Offer> {
        Some(self.procedures.offer())
    }

    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        self.procedures.run(self.open.clone(), call).await
    }

    async fn stream(&self, call: ProcedureCall) -> Result<ProcedureEvents, ProcedureFailure> {
        self.procedures.stream(self.open.clone(), call).await
    }

    async fn check(&self, _: &str) -> Result<ProbeOutcome, CallFailure> {
        Err(CallFailure::NotRunning("clock".parse().unwrap()))
    }

    async fn shutdown(&self) {}
}

async fn clock(instance: &Instance) -> (Pod, Arc<Open>, Arc<Known>) {
    let (open, known) = (Arc::new(Open::default()), Arc::new(Known::default()));
    let (plugin, identity) = (Arc::new(Clock::new(open.clone())), known.clone());
    let parts = move |_: NativeServices| {
        Ok(NativeParts {
            plugins: vec![NativePlugin { id: "clock".parse().unwrap(), plugin }],
            identity: Some(identity),
            ..NativeParts::default()
        })
    };
    let pod = instance.new_pod("pod").await;
    pod.platform.start(instance.loader(), parts).await.unwrap();
    (pod, open, known)
}

async fn asked(pod: &Pod, path: &str, who: &str) -> Response {
    pod.client.get(format!("{}{path}", pod.address)).header("authorization", who).send().await.unwrap()
}

/// What comes until this has come.
async fn until(response: &mut Response, end: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(end) {
            let piece = response.chunk().await.unwrap().unwrap_or_else(|| panic!("it ended with {text}"));
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(15), read).await.unwrap();
    text
}

#[tokio::test]
async fn each_output_is_an_event_in_the_form_of_the_mount() {
    let instance = Instance::new().await;
    let (pod, _, _) = clock(&instance).await;
    let response = pod.client.post(format!("{}/api/clock/count", pod.address)).json(&json!({ "json": 2 })).send().await.unwrap();
    let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((field("content-type").as_str(), field("cache-control").as_str()), ("text/event-stream", "no-store"));
    assert_eq!((field("x-accel-buffering").as_str(), field("x-content-type-options").as_str()), ("no", "nosniff"));
    assert_eq!(
        response.text().await.unwrap(),
        "event: message\ndata: {\"json\":0}\n\nevent: message\ndata: {\"json\":1}\n\nevent: done\ndata: {}\n\n"
    );
    // What a browser can ask for without a script of more than a line.
    let get = asked(&pod, "/api/clock/count?data=%7B%22json%22%3A1%7D", "nobody").await;
    assert_eq!(get.text().await.unwrap(), "event: message\ndata: {\"json\":0}\n\nevent: done\ndata: {}\n\n");
    let failed = asked(&pod, "/rest/clock/fails", "nobody").await.text().await.unwrap();
    let error = json!({ "defined": false, "code": "CONFLICT", "status": 409, "message": "as scripted" });
    assert_eq!(failed, format!("event: message\ndata: 1\n\nevent: error\ndata: {error}\n\n"));
    let large = asked(&pod, "/rest/clock/large", "nobody").await.text().await.unwrap();
    assert!(large.contains("data: \"small\"") && large.contains("Output validation failed") && large.len() < 1000, "{}", large.len());
}

#[tokio::test]
async fn what_is_refused_before_the_first_event_is_an_answer_like_others() {
    let instance = Instance::new().await;
    let (pod, open, _) = clock(&instance).await;
    assert_eq!(asked(&pod, "/rest/clock/ticks", "nobody").await.status(), 401);
    assert_eq!(asked(&pod, "/rest/clock/ticks", "ada").await.status(), 403);
    assert_eq!(open.0.load(Ordering::SeqCst), 0, "the plugin was not asked");
    let wrong = pod.client.post(format!("{}/api/clock/count", pod.address)).json(&json!({ "json": "two" })).send().await.unwrap();
    assert_eq!(
        (wrong.status().as_u16(), wrong.json::<Value>().await.unwrap()["json"]["message"].clone()),
        (400, json!("Input validation failed"))
    );
    let conflict = pod.client.post(format!("{}/api/clock/count", pod.address)).json(&json!({ "json": 0 })).send().await.unwrap();
    assert_eq!(
        (conflict.status().as_u16(), conflict.json::<Value>().await.unwrap()["json"]["message"].clone()),
        (409, json!("nothing to count"))
    );
    let described = asked(&pod, "/api/openapi.json", "root").await.json::<Value>().await.unwrap();
    let answer = &described["paths"]["/rest/clock/count"]["get"]["responses"]["200"]["content"];
    assert!(answer["text/event-stream"]["schema"]["type"] == "integer" && answer["application/json"].is_null(), "{answer}");
}

#[tokio::test]
async fn a_stream_shows_that_it_lives_and_ends_when_its_caller_goes() {
    let instance = Instance::new().await;
    let (pod, open, _) = clock(&instance).await;
    let mut response = asked(&pod, "/rest/clock/ticks", "root").await;
    let begin = Instant::now();
    assert_eq!(until(&mut response, "\n\n").await, "event: message\ndata: 1\n\n");
    assert_eq!(until(&mut response, ": \n\n").await, ": \n\n");
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(open.0.load(Ordering::SeqCst), 1);
    drop(response);
    let deadline = Instant::now() + Duration::from_secs(8);
    while open.0.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "the plugin goes on for nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_may_no_longer_have_the_events_gets_no_more() {
    let instance = Instance::new().await;
    let (pod, open, known) = clock(&instance).await;
    let mut response = asked(&pod, "/rest/clock/ticks", "root").await;
    until(&mut response, "\n\n").await;
    known.sign_out("root");
    let last = until(&mut response, "\n\n").await;
    assert!(last.starts_with("event: error\ndata: {\"code\":\"UNAUTHORIZED\""), "{last}");
    assert_eq!((response.chunk().await.unwrap(), open.0.load(Ordering::SeqCst)), (None, 0));
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let instance = Instance::new().await;
    let (mut pod, _, _) = clock(&instance).await;
    let mut response = asked(&pod, "/rest/clock/openTicks", "nobody").await;
    until(&mut response, "\n\n").await;
    let begin = Instant::now();
    let last = async { until(&mut response, "\n\n").await };
    let (last, ()) = tokio::join!(last, pod.end());
    assert!(last.starts_with("event: error\n") && last.contains("the server is ending"), "{last}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn there_is_a_limit_on_streams_and_other_calls_go_on() {
    let instance = Instance::new().await;
    let (pod, open, _) = clock(&instance).await;
    let opened = futures::future::join_all((0..256).map(|_| asked(&pod, "/rest/clock/openTicks", "nobody"))).await;
    assert!(opened.iter().all(|response| response.status() == 200));
    let refused = asked(&pod, "/rest/clock/openTicks", "nobody").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(pod.get("/api/config").await.status(), 200);
    assert_eq!(open.0.load(Ordering::SeqCst), 256);
    drop(opened);
    let deadline = Instant::now() + Duration::from_secs(10);
    while asked(&pod, "/rest/clock/openTicks", "nobody").await.status() != 200 {
        assert!(Instant::now() < deadline, "no place becomes free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
