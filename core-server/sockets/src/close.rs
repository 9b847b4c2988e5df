//! Why a socket is closed.

/// What the peer is told when the server closes a socket (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason {
    code: u16,
    text: &'static str,
}

impl CloseReason {
    /// There is nothing more to say.
    pub const DONE: Self = Self::new(1000, "done");
    /// The server ends; another replica takes the peer.
    pub const GOING_AWAY: Self = Self::new(1001, "the server is going away");
    /// Nothing was heard of the peer, not even that it is there.
    pub const SILENT: Self = Self::new(1001, "nothing was heard for too long");
    /// The peer does not speak the protocol.
    pub const PROTOCOL: Self = Self::new(1002, "this is not the WebSocket protocol");
    /// A text that is none.
    pub const NOT_TEXT: Self = Self::new(1007, "a text is not UTF-8");
    /// The peer sends too much in too short a time.
    pub const TOO_MANY_MESSAGES: Self = Self::new(1008, "too many messages");
    /// One message is too long.
    pub const TOO_LARGE: Self = Self::new(1009, "a message is too large");
    /// What attends to the socket has failed.
    pub const FAILED: Self = Self::new(1011, "the server has failed");
    /// The peer does not take what it is sent: something is missing, and it should connect again and ask for what there is.
    pub const TOO_SLOW: Self = Self::new(1013, "messages were not taken in time");

    /// `code` as in RFC 6455 §7.4; `text` has at most 123 bytes.
    pub const fn new(code: u16, text: &'static str) -> Self {
        Self { code, text }
    }

    /// As in RFC 6455 §7.4.
    pub const fn code(self) -> u16 {
        self.code
    }

    /// For a person.
    pub const fn text(self) -> &'static str {
        self.text
    }
}

/// How a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer has closed it, or has gone.
    ByPeer,
    /// The server has closed it.
    Closed(CloseReason),
    /// It broke: why.
    Broken(String),
}
