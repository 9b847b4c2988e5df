//! How replicas reach each other.

use async_trait::async_trait;

/// Something through which each replica can tell all others something, in the order in which it says it.
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// From when this has returned, everything that others publish is received, until the link fails.
    ///
    /// # Errors
    /// When there is no connection.
    async fn connect(&self) -> Result<Box<dyn Link>, LinkLost>;
}

/// One connection to the others.
#[async_trait]
pub trait Link: Send {
    /// Publishes messages, each of at most [`MAX_MESSAGE_BYTES`], and brings in what others have published before this was called:
    /// [`Self::received`] has it. Without messages it does only that.
    ///
    /// # Errors
    /// The connection was lost. Some messages, or all, may have been published.
    async fn exchange(&mut self, messages: &[String]) -> Result<(), LinkLost>;

    /// The next message that was brought in. Messages of one's own may be among them.
    fn received(&mut self) -> Option<String>;

    /// Waits for a message, and returns it. Giving up waiting loses none.
    ///
    /// # Errors
    /// The connection was lost.
    async fn next(&mut self) -> Result<String, LinkLost>;
}

/// Why there is no link to the other replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LinkLost(pub String);

/// Longest message, in bytes: `NOTIFY` takes less than 8,000.
pub const MAX_MESSAGE_BYTES: usize = 7_900;
