//! Bounds of one connection.

use std::time::Duration;

/// How long, how much, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The peer is asked whether it is there when nothing was heard of it for so long,
    pub ping_after: Duration,
    /// and is taken for gone when there was nothing for so long; it is noticed up to `ping_after` later.
    pub silent_for: Duration,
    /// The peer has to take a message within this time.
    pub write_within: Duration,
    /// What is left when a socket is closed: messages that wait, the closing itself, and the peer's answer to it.
    pub close_within: Duration,
    /// Longest message of the peer, in bytes.
    pub max_message_bytes: usize,
    /// Messages that wait to be sent,
    pub waiting_messages: usize,
    /// and their bytes, unless it is a single one.
    pub waiting_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_secs(30),
            silent_for: Duration::from_secs(60),
            write_within: Duration::from_secs(10),
            close_within: Duration::from_secs(5),
            max_message_bytes: 64 * 1024,
            waiting_messages: 64,
            waiting_bytes: 1024 * 1024,
        }
    }
}
