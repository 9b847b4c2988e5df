//! Signals (platform facts §8): what plugins tell the pages that people have open in their browsers, over all replicas.
//!
//! ```text
//!  plugin ─► SignalBus ─► event bus ─► every replica: Relay ─► Hub ─► queue of each socket ─► browser
//! ```
//!
//! - [`SignalService`] sends and never fails: what could not be sent is in the log. [`SignalBus`] says why.
//! - [`Hub`] knows the sockets of this replica: all hear broadcasts, those of a user what is for that user. A message is written as JSON once
//!   and shared by all sockets.
//! - [`Relay`] brings what the event bus carries to the hub.
//! - [`attend`] is the life of one socket.
//!
//! A browser that cannot keep up is closed with 1013 and so is everybody when signals may have been missed: who connects again asks for what
//! there is. Why it is so is in `docs/decisions/0018-signals.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod audience;
mod bus;
mod core_signals;
mod error;
mod hub;
mod message;
mod quota;
mod relay;
mod service;
mod session;
mod signal;
mod standing;

pub use audience::{Audience, NobodyKnows};
pub use bus::{MAX_USERS, SignalBus};
pub use error::SignalError;
pub use hub::{Hub, Membership, Statistics};
pub use message::{ANONYMOUS, connected, error};
pub use quota::{Quota, Rate};
pub use relay::Relay;
pub use service::SignalService;
pub use session::{attend, rules};
pub use signal::{MAX_PAYLOAD_BYTES, SignalId};
pub use standing::{Holder, Standing, StandingTimings};
