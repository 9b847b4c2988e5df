//! Connections with the client of another crate at their far end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::time::{Duration, Instant};

use checkstack_sockets::*;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

type Client = WebSocketStream<DuplexStream>;

/// What the buffers between the two ends take.
const BETWEEN: usize = 4 * 1024;

struct Open {
    client: Client,
    near: SocketConnection,
    ending: CancellationToken,
    ended: JoinHandle<Ended>,
}

/// What attends to it is the test itself.
async fn open(rules: Rules) -> Open {
    let (here, there) = tokio::io::duplex(BETWEEN);
    let (near, far) = SocketConnection::new(&rules);
    let ending = CancellationToken::new();
    let told = ending.clone();
    let sender = near.sender().clone();
    let attended = async move {
        while sender.is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::spawn(async move { far.drive(here, attended, &rules, &told).await });
    Open { client: WebSocketStream::from_raw_socket(there, Role::Client, None).await, near, ending, ended }
}

fn quick() -> Rules {
    Rules {
        ping_after: Duration::from_millis(400),
        silent_for: Duration::from_millis(1_000),
        write_within: Duration::from_millis(300),
        close_within: Duration::from_millis(1_000),
        max_message_bytes: 1_000,
        waiting_messages: 4,
        waiting_bytes: 1_000_000,
    }
}

async fn next(client: &mut Client) -> Option<Message> {
    let next = timeout(Duration::from_secs(10), client.next()).await.expect("nothing comes");
    next.map(|message| message.expect("the connection broke"))
}

/// The code with which the server closes, after however many messages.
async fn closed_with(client: &mut Client) -> u16 {
    loop {
        match next(client).await {
            Some(Message::Close(Some(frame))) => return frame.code.into(),
            Some(_) => {}
            None => panic!("the connection ended without a reason"),
        }
    }
}

async fn ended(open: JoinHandle<Ended>) -> Ended {
    timeout(Duration::from_secs(10), open).await.expect("it does not end").unwrap()
}

#[tokio::test]
async fn texts_go_both_ways_in_their_order_and_long_ones_arrive_whole() {
    let Open { mut client, mut near, .. } = open(Rules::default()).await;
    let long = "ä€😀x".repeat(5_000);
    for text in ["one", &long, "three"] {
        near.sender().send(text.to_owned().into()).unwrap();
    }
    for text in ["one", &long, "three"] {
        assert_eq!(next(&mut client).await.unwrap().into_text().unwrap().as_str(), text);
    }
    client.send(Message::text("four")).await.unwrap();
    client.send(Message::binary(vec![b'5', 0xff])).await.unwrap();
    assert_eq!(near.next().await.unwrap().as_str(), "four");
    assert_eq!(near.next().await.unwrap().as_str(), "5\u{fffd}", "binary messages are read as text");
}

#[tokio::test]
async fn what_was_said_before_the_end_comes_through() {
    let Open { mut client, near, ended: end, .. } = open(Rules::default()).await;
    for text in ["a", "b"] {
        near.sender().send(text.into()).unwrap();
    }
    near.sender().close(CloseReason::new(4001, "enough"));
    assert_eq!(next(&mut client).await, Some(Message::text("a")));
    assert_eq!(next(&mut client).await, Some(Message::text("b")));
    assert_eq!(closed_with(&mut client).await, 4001);
    assert_eq!(ended(end).await, Ended::Closed(CloseReason::new(4001, "enough")));
    assert!(!near.sender().is_open());
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_nobody_waits_for_it() {
    for by_the_queue in [true, false] {
        let Open { mut client, near, ended: end, .. } = open(quick()).await;
        let text = Utf8Bytes::from("x".repeat(BETWEEN));
        let begin = Instant::now();
        let mut sent = 0;
        while by_the_queue && near.sender().send(text.clone()).is_ok() {
            sent += 1;
            assert!(sent < 100, "nothing bounds what waits");
            tokio::task::yield_now().await;
        }
        if !by_the_queue {
            // Few enough to wait; the first of them is not taken in time.
            for _ in 0..3 {
                near.sender().send(text.clone()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        // The sender has not waited for the peer.
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert_eq!(closed_with(&mut client).await, 1013);
        assert_eq!(ended(end).await, Ended::Closed(CloseReason::TOO_SLOW));
    }
}

#[tokio::test]
async fn a_slow_peer_that_never_reads_again_is_dropped() {
    let Open { client, near, ended: end, .. } = open(quick()).await;
    let text = Utf8Bytes::from("x".repeat(BETWEEN));
    while near.sender().send(text.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ended(end).await, Ended::Closed(CloseReason::TOO_SLOW));
    drop(client);
}

#[tokio::test]
async fn a_peer_that_is_there_is_kept_and_a_dead_one_noticed() {
    let Open { mut client, near, ended: end, .. } = open(quick()).await;
    // A client answers pings while it reads.
    let alive = timeout(Duration::from_secs(3), async { while !matches!(next(&mut client).await, None | Some(Message::Close(_))) {} });
    assert!(alive.await.is_err(), "a peer that answers was closed");
    assert!(near.sender().is_open());
    let begin = Instant::now();
    assert_eq!(ended(end).await, Ended::Closed(CloseReason::SILENT));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn who_attends_slowly_holds_the_peer_back_and_does_not_lose_it() {
    let Open { mut client, mut near, .. } = open(quick()).await;
    let sending = tokio::spawn(async move {
        for number in 0..40 {
            client.send(Message::text(number.to_string())).await.unwrap();
        }
        // Answers pings again.
        while client.next().await.is_some() {}
    });
    // Longer than a peer may be silent.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for number in 0..40 {
        assert_eq!(near.next().await.unwrap().as_str(), number.to_string());
    }
    assert!(near.sender().is_open());
    drop(near);
    sending.abort();
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let Open { mut client, near: _near, ended: end, .. } = open(Rules { max_message_bytes: 1_000, ..Rules::default() }).await;
    client.send(Message::text("x".repeat(1_001))).await.unwrap();
    assert_eq!(closed_with(&mut client).await, 1009);
    drop(client);
    assert_eq!(ended(end).await, Ended::Closed(CloseReason::TOO_LARGE));
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let Open { mut client, ending, ended: end, .. } = open(Rules::default()).await;
    ending.cancel();
    assert_eq!(closed_with(&mut client).await, 1001);
    assert_eq!(ended(end).await, Ended::Closed(CloseReason::GOING_AWAY));
}

#[tokio::test]
async fn the_end_of_the_peer_is_noticed_with_and_without_a_word() {
    for with_a_word in [true, false] {
        let Open { mut client, mut near, ended: end, .. } = open(Rules::default()).await;
        if with_a_word {
            client.close(None).await.unwrap();
            while client.next().await.is_some() {}
        }
        drop(client);
        assert_eq!(near.next().await, None);
        end.abort();
        assert!(!near.sender().is_open() || near.sender().send("x".into()).is_err());
    }
}

#[tokio::test]
async fn a_connection_ends_with_who_attends_to_it() {
    let (here, there) = tokio::io::duplex(BETWEEN);
    let rules = Rules::default();
    let (mut near, far) = SocketConnection::new(&rules);
    let attend = async move {
        let text = near.next().await.unwrap();
        near.sender().send(Utf8Bytes::from(format!("echo {text}"))).unwrap();
    };
    let server = tokio::spawn(async move { far.drive(here, attend, &rules, &CancellationToken::new()).await });
    let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut client).await, Some(Message::text("echo hello")));
    assert_eq!(closed_with(&mut client).await, 1000);
    assert_eq!(ended(server).await, Ended::Closed(CloseReason::DONE));
}

#[tokio::test]
async fn all_connections_end_with_their_owner() {
    let sockets = Sockets::default();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (here, there) = tokio::io::duplex(BETWEEN);
        sockets.spawn(|ending| async move {
            let rules = Rules::default();
            let (mut near, far) = SocketConnection::new(&rules);
            let attended = async move { while near.next().await.is_some() {} };
            far.drive(here, attended, &rules, &ending).await;
        });
        clients.push(WebSocketStream::from_raw_socket(there, Role::Client, None).await);
    }
    assert_eq!((sockets.len(), sockets.is_ending()), (20, false));
    let closed = tokio::spawn(async move {
        let mut codes = Vec::new();
        for client in &mut clients {
            codes.push(closed_with(client).await);
            while client.next().await.is_some() {}
        }
        codes
    });
    assert_eq!(sockets.end(Duration::from_secs(10)).await, 0);
    assert_eq!(closed.await.unwrap(), [1001; 20]);
    assert!(sockets.is_ending() && sockets.is_empty());
}
