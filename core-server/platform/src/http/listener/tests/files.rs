//! A call with files, from the bytes on a socket to a part of the server and back.

use checkstack_calls::error::CallError;
use checkstack_calls::gate::UserType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::native::{Caller, ProcedureDefinition, Procedures, SentFile};
use crate::plugin::{ProcedureCall, ProcedureFailure};

#[derive(Deserialize, JsonSchema)]
struct Logo {
    #[schemars(extend("properties" = { "size": { "maximum": 100_000 } }))]
    logo: SentFile,
    note: String,
}

#[derive(Serialize, JsonSchema)]
struct Stored {
    name: Option<String>,
    r#type: String,
    bytes: usize,
    note: String,
}

async fn store(_: Arc<()>, caller: Caller, input: Logo) -> Result<Stored, CallError> {
    let file = input.logo.of(&caller)?;
    Ok(Stored { name: file.name.clone(), r#type: file.media_type.clone(), bytes: file.bytes.len(), note: input.note })
}

struct Logos(Description, Procedures<()>);

#[async_trait]
impl Plugin for Logos {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn handle(&self, _request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Ok(PluginResponse { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body: Bytes::new() })
    }

    fn offer(&self) -> Option<&checkstack_calls::contract::Offer> {
        Some(self.1.offer())
    }

    async fn procedure(&self, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        self.1.run(Arc::new(()), call).await
    }

    async fn check(&self, _probe: &str) -> Result<ProbeOutcome, CallFailure> {
        Ok(ProbeOutcome { ok: true, message: None })
    }

    async fn shutdown(&self) {}
}

async fn server() -> Server {
    let server = Server::new(8, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let id: PluginId = "logos".parse().unwrap();
    let store = ProcedureDefinition::mutation("store", "Stores a logo", store).guarded(UserType::Anonymous, &[]);
    let plugin = Arc::new(Logos(Description::default(), Procedures::new(id.clone(), vec![], vec![store]).unwrap()));
    server.shared.table.add_native([Endpoint::native(id.clone(), plugin, SOON, server.shared.metrics.calls_of(&id))]);
    server
}

fn body(logo: &str) -> String {
    format!(
        "--X\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{{\"json\":{{\"logo\":{{}},\"note\":\"n\"}},\"maps\":[[\"logo\"]]}}\r\n\
         --X\r\nContent-Disposition: form-data; name=\"0\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n{logo}\r\n--X--\r\n"
    )
}

/// Status, and the body of the answer.
async fn send(server: &Server, path: &str, fields: &str, body: &str) -> (String, String) {
    let mut stream = server.connect().await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let answer = rest(stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), body.to_owned())
}

const MULTIPART: &str = "Content-Type: multipart/form-data; boundary=X\r\n";

#[tokio::test]
async fn a_file_arrives_on_both_mounts() {
    let server = server().await;
    let stored = r#"{"bytes":3,"name":"a.png","note":"n","type":"image/png"}"#;
    assert_eq!(send(&server, "/api/logos/store", MULTIPART, &body("png")).await, ("200".into(), format!("{{\"json\":{stored}}}")));
    assert_eq!(send(&server, "/rest/logos/store", MULTIPART, &body("png")).await, ("200".into(), stored.into()));
    let (status, told) = send(&server, "/rest/logos/store", MULTIPART, &body(&"x".repeat(100_001))).await;
    assert!(status == "400" && told.contains(r#""path":["logo","size"]"#), "{told}");
    let (status, told) =
        send(&server, "/rest/logos/store", "Content-Type: application/json\r\n", r#"{"logo":{"file":0},"note":"n"}"#).await;
    assert!(status == "400" && told.contains("it has to be a file"), "{told}");
    let (status, _) = send(&server, "/rest/logos/store", MULTIPART, &body(&"x".repeat(2 * 1024 * 1024))).await;
    assert_eq!(status, "413");
}

#[tokio::test]
async fn a_page_of_another_site_sends_none() {
    let server = server().await;
    for (origin, expected) in [("https://evil.example", "403"), ("null", "403"), ("http://pod", "200")] {
        let (status, _) = send(&server, "/api/logos/store", &format!("{MULTIPART}Origin: {origin}\r\n"), &body("png")).await;
        assert_eq!(status, expected, "{origin}");
    }
}

#[tokio::test]
async fn what_files_take_counts_among_all_bodies() {
    let server = server().await;
    let room = server.shared.bodies.clone();
    // So that there is room for this body, and not for it twice.
    let held = room.counted(Bytes::from(vec![0; ANSWER_BYTES])).unwrap();
    let large = body(&"x".repeat(700_000));
    assert_eq!(send(&server, "/api/logos/store", MULTIPART, &large).await.0, "503");
    drop(held);
    assert_eq!(send(&server, "/api/logos/store", MULTIPART, &large).await.0, "400");
}
