//! How long things take and last.

use std::time::Duration;

/// The defaults are meant for production; tests make them short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntitySettings {
    /// For one change or question, waiting for others who change the same entity included.
    pub deadline: Duration,
    /// Transitions that are older are forgotten, except for the newest of each field of an entity that is there: since when a field is what
    /// it is stays known. Longer than an event waits for a work queue (7 days), so that the numbers of an entity that is made again do not
    /// begin anew while old ones are still to be heard.
    pub retention: Duration,
    /// Changes of one entity whose transitions are kept, with the same exception.
    pub changes: u32,
    /// How often old transitions are forgotten, by one replica.
    pub sweep: Duration,
}

impl Default for EntitySettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            retention: Duration::from_secs(30 * 24 * 3600),
            changes: 500,
            sweep: Duration::from_secs(3600),
        }
    }
}
