//! WebSocket connections as a server has them: the checks before the upgrade, a bounded number of places, a bounded queue for what is sent,
//! and a peer that is asked now and then whether it is still there.
//!
//! - [`handshake`] and [`Origins`] say whether a request may become a socket; [`Places`] whether there is room for one.
//! - [`drive`] is the life of one connection. What is to be sent comes out of an [`Outbox`], whose other end is a [`SocketSender`]; what
//!   was received goes into an [`Inbox`].
//! - [`Sockets`] owns the tasks of all connections and ends them.
//!
//! A peer that does not take what it is sent is closed with 1013, instead of losing some of it without knowing: it connects again and asks
//! for what there is. Nobody else waits for it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod close;
mod connection;
mod drive;
pub mod handshake;
mod inbox;
mod origin;
mod outbox;
mod places;
mod rules;
mod sockets;

pub use close::{CloseReason, Ended};
pub use connection::{Far, SocketConnection};
pub use drive::drive;
pub use inbox::{ChannelInbox, Inbox};
pub use origin::Origins;
pub use outbox::{Outbox, SendError, SocketSender, queue};
pub use places::{Full, Place, Places, PlacesLimits};
pub use rules::Rules;
pub use sockets::Sockets;
pub use tokio_tungstenite::tungstenite::Utf8Bytes;
