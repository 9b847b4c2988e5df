//! The far end of a socket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Browser(WebSocketStream<DuplexStream>);

impl Browser {
    pub(crate) async fn on(stream: DuplexStream) -> Self {
        Self(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        // Whoever is closed for saying too much cannot say all of it.
        let _ = self.0.send(Message::text(text)).await;
    }

    /// The next text.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match timeout(SOON, self.0.next()).await.expect("nothing comes") {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text comes: {other:?}"),
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    pub(crate) async fn hears_nothing(&mut self) {
        if let Ok(heard) = timeout(Duration::from_millis(300), self.0.next()).await {
            panic!("something comes: {heard:?}");
        }
    }

    /// The code with which the server closes, after however many messages.
    pub(crate) async fn closed_with(&mut self) -> u16 {
        loop {
            match timeout(SOON, self.0.next()).await.expect("it is not closed") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("it ended without a reason: {other:?}"),
            }
        }
    }
}
