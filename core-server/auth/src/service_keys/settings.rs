//! How long keys and tokens count.

use std::time::Duration;

/// The default is that of the platform facts (§6.2). Tests have less time.
#[derive(Debug, Clone, Copy)]
pub struct ServiceKeySettings {
    /// After this time another key signs.
    pub rotate_after: Duration,
    /// For this time the one before still counts: longer than any token, and than others keep the public keys.
    pub grace: Duration,
    /// Of a token.
    pub token_lifetime: Duration,
    /// How often it is looked whether it is time for another key, on each replica.
    pub look_every: Duration,
}

impl Default for ServiceKeySettings {
    fn default() -> Self {
        Self {
            rotate_after: Duration::from_secs(60 * 60),
            grace: Duration::from_secs(24 * 60 * 60),
            token_lifetime: Duration::from_secs(5 * 60),
            look_every: Duration::from_secs(60),
        }
    }
}
