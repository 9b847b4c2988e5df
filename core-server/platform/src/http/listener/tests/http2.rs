//! The same listener, spoken to in HTTP/2: each limit, over real sockets.

use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;

use super::*;

/// A connection of a client that gives the server this much room for each answer, and what has become of it.
async fn connect(server: &Server, window: u32) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (requests, connection) = builder.handshake(server.connect().await).await.unwrap();
    (requests, tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://pod{path}")).body(()).unwrap()
}

async fn ask(requests: &SendRequest<Bytes>, request: Request<()>) -> ResponseFuture {
    let mut ready = soon(requests.clone().ready()).await.unwrap();
    ready.send_request(request, true).unwrap().0
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("nothing happened")
}

async fn status(answer: ResponseFuture) -> u16 {
    soon(answer).await.unwrap().status().as_u16()
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `GET / HTTP`, as HPACK has it.
const GET: [u8; 3] = [0x82, 0x84, 0x86];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn who_begins_with_http2_is_answered_so() {
    let server = Server::new(8, 4).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for _ in 0..3 {
        let answer = client.get(format!("http://{}/.checkstack/health", server.address)).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
        assert_eq!(answer.text().await.unwrap(), r#"{"status":"ok"}"#);
    }
    assert!(server.get("/.checkstack/health").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::new(8, 4).await;
    let (requests, _connection) = connect(&server, 65_535).await;
    let with = |count: usize, bytes: usize| {
        let mut request = get("/.checkstack/health");
        for number in 0..count {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            request.headers_mut().insert(name, http::HeaderValue::try_from("x".repeat(bytes)).unwrap());
        }
        request
    };
    assert_eq!(status(ask(&requests, with(100, 10)).await).await, 200);
    assert_eq!(status(ask(&requests, with(129, 10)).await).await, 431);
    assert_eq!(status(ask(&requests, with(4, 10_000)).await).await, 431);
    assert_eq!(status(ask(&requests, with(0, 0)).await).await, 200, "the connection goes on");
}

#[tokio::test]
async fn who_does_not_finish_a_head_loses_the_connection() {
    let limits = Limits { head: Duration::from_millis(300), pong: Duration::from_millis(300), ..LIMITS };
    let server = Server::within(limits, 4).await;
    // HEADERS of stream 1 without END_HEADERS, of which not everything comes.
    let headers = [&[0, 0, 100, 1, 0, 0, 0, 0, 1][..], &[0x82]].concat();
    for sent in [&b""[..], b"PRI * HT", PREFACE, &[PREFACE, &SETTINGS, &headers].concat()] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        let mut said = Vec::new();
        let _ = soon(stream.read_to_end(&mut said)).await;
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = Server::new(8, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let (requests, _connection) = connect(&server, 65_535).await;
    let mut ready = requests.clone().ready().await.unwrap();
    let request = Request::post("http://pod/api/large/").body(()).unwrap();
    let (answer, mut body) = ready.send_request(request, false).unwrap();
    body.send_data(vec![b'x'; 2 * 1024 * 1024].into(), true).unwrap();
    assert_eq!(status(answer).await, 413);
}

#[tokio::test]
async fn who_does_not_answer_a_ping_loses_the_connection() {
    let limits = Limits { ping: Duration::from_millis(200), pong: Duration::from_millis(200), ..LIMITS };
    let server = Server::within(limits, 4).await;
    let (alive, connection) = connect(&server, 65_535).await;
    let mut silent = server.connect().await;
    silent.write_all(&[PREFACE, &SETTINGS].concat()).await.unwrap();
    let mut said = Vec::new();
    let _ = soon(silent.read_to_end(&mut said)).await;
    assert!(!connection.is_finished());
    assert_eq!(status(ask(&alive, get("/.checkstack/health")).await).await, 200);
}

#[tokio::test]
async fn a_connection_has_so_many_requests_at_a_time() {
    let server = Server::new(8, 100).await;
    let mut stream = server.connect().await;
    let mut requests = [PREFACE, &SETTINGS].concat();
    for number in 0..=MAX_STREAMS {
        requests.extend([&[0, 0, 3, 1, 5][..], &(2 * number + 1).to_be_bytes(), &GET].concat());
    }
    stream.write_all(&requests).await.unwrap();
    // The others wait for the gate: what is refused is the one that is too many (RST_STREAM, REFUSED_STREAM).
    let (kind, id, content) = loop {
        let mut head = [0; 9];
        soon(stream.read_exact(&mut head)).await.unwrap();
        let mut content = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        soon(stream.read_exact(&mut content)).await.unwrap();
        if !matches!(head[3], 4 | 8) {
            break (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), content);
        }
    };
    assert_eq!((kind, id, content), (3, 2 * MAX_STREAMS + 1, vec![0, 0, 0, 7]));
}

#[tokio::test]
async fn each_request_of_a_connection_counts() {
    let server = Server::new(8, 4).await;
    let (requests, _connection) = connect(&server, 65_535).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask(&requests, get("/api/other/")).await);
    }
    let mut refused = 0;
    for answer in answers.drain(4..) {
        let answer = soon(answer).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
        refused += 1;
    }
    assert_eq!((refused, answers.len()), (6, 4));
    server.shared.gate.enter(Phase::Initialised);
    for answer in answers {
        assert_eq!(status(answer).await, 404);
    }
}

/// CVE-2023-44487.
#[tokio::test]
async fn who_gives_up_request_after_request_loses_the_connection() {
    let server = Server::new(8, 1000).await;
    let (requests, connection) = connect(&server, 65_535).await;
    let (patient, _patient) = connect(&server, 65_535).await;
    let waiting = ask(&patient, get("/api/other/")).await;
    for round in 0.. {
        assert!(round < 10 * MAX_STREAMS, "the connection is still there");
        let Ok(mut ready) = soon(requests.clone().ready()).await else { break };
        let Ok((_, mut stream)) = ready.send_request(get("/api/other/"), false) else { break };
        // So that it is not only begun.
        tokio::time::sleep(Duration::from_millis(2)).await;
        stream.send_reset(Reason::CANCEL);
    }
    let _ = soon(connection).await.unwrap();
    server.shared.gate.enter(Phase::Initialised);
    assert_eq!(status(waiting).await, 404, "another connection has nothing to do with it");
}

/// The same, faster than anybody looks at them.
#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let server = Server::new(8, 1000).await;
    let mut stream = server.connect().await;
    let mut flood = [PREFACE, &SETTINGS].concat();
    // GET / of http, and its end (RST_STREAM, CANCEL).
    for number in 0..2000_u32 {
        let id = (2 * number + 1).to_be_bytes();
        flood.extend([&[0, 0, 3, 1, 5][..], &id, &GET, &[0, 0, 4, 3, 0], &id, &[0, 0, 0, 8]].concat());
    }
    let _ = stream.write_all(&flood).await;
    let mut said = Vec::new();
    let _ = soon(stream.read_to_end(&mut said)).await;
    assert!(server.get("/.checkstack/health").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn who_gives_no_room_loses_the_connection_and_its_answers_are_freed() {
    let server = Server::new(8, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let (requests, connection) = connect(&server, 0).await;
    let answer = soon(ask(&requests, get("/api/large/")).await).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "this is not the body");
    let refused = server.get("/api/large/").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "no room for a second answer: {refused:.80}");
    let _ = soon(connection).await.unwrap();
    drop(answer);
    let begin = Instant::now();
    while !server.get("/api/large/").await.starts_with("HTTP/1.1 200") {
        assert!(begin.elapsed() < SOON, "the first answer is still held");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_takes_its_answers_keeps_the_connection() {
    let server = Server::new(8, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let (requests, _connection) = connect(&server, 65_535).await;
    for _ in 0..3 {
        let mut body = soon(ask(&requests, get("/api/large/")).await).await.unwrap().into_body();
        let mut length = 0;
        while let Some(data) = soon(body.data()).await {
            let data = data.unwrap();
            length += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(length, ANSWER_BYTES);
    }
}

#[tokio::test]
async fn a_server_that_ends_says_so_and_finishes_what_it_has_begun() {
    let server = Server::new(8, 4).await;
    let (requests, connection) = connect(&server, 65_535).await;
    let waiting = ask(&requests, get("/api/other/")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = async { soon(requests.clone().ready()).await?.send_request(get("/.checkstack/health"), true)?.0.await };
    let refused = refused.await.unwrap_err();
    assert!(refused.is_go_away() && refused.reason() == Some(Reason::NO_ERROR), "{refused:?}");
    server.shared.gate.enter(Phase::Initialised);
    assert_eq!(status(waiting).await, 404);
    soon(connection).await.unwrap().unwrap();
}
