//! How the connections of one pod are divided. PostgreSQL has few of them (`max_connections` is 100
//! unless somebody has raised it), and they are shared by all replicas.

/// Connections of one pod, unless the settings say otherwise: three replicas, and one more while a
/// rollout replaces them, fit into a `max_connections` of 100 and leave some.
pub const DEFAULT_CONNECTIONS: u32 = 22;
/// With less, plugins could not work beside each other.
pub const FEWEST_CONNECTIONS: u32 = 12;

/// Uploads of artifacts at the same time. Each takes up to minutes, on a connection of its own.
pub(crate) const UPLOADS: u32 = 2;
/// For the readiness probe.
const PROBE: u32 = 1;
/// Hears of new jobs.
const LISTENER: u32 = 1;
/// Tells and hears what caches have to forget.
const CACHES: u32 = 1;
/// For ending what a plugin has left running; see [`super::sessions`].
const TERMINATOR: u32 = 1;

/// Who in a pod may have how many connections at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionDivision {
    /// The core's own work, jobs included.
    pub core: u32,
    /// The key-value stores of all plugins.
    pub key_value: u32,
    /// The key-value store of one plugin, of those.
    pub key_value_per_plugin: u32,
    /// The login roles of all plugins.
    pub plugins: u32,
    /// The login role of one plugin, of those.
    pub per_plugin: u32,
}

impl ConnectionDivision {
    /// Divides `total`, which counts as [`FEWEST_CONNECTIONS`] if it is less. One plugin never gets more
    /// than half of what there is for all.
    pub fn of(total: u32) -> Self {
        let rest = total.max(FEWEST_CONNECTIONS) - UPLOADS - PROBE - LISTENER - CACHES - TERMINATOR;
        let (core, key_value) = ((rest / 4).clamp(2, 6), (rest / 4).clamp(2, 6));
        let plugins = rest - core - key_value;
        Self { core, key_value, key_value_per_plugin: key_value / 2, plugins, per_plugin: (plugins / 2).min(4) }
    }

    /// What the pod has at most, all together.
    pub fn total(&self) -> u32 {
        self.core + self.key_value + self.plugins + UPLOADS + PROBE + LISTENER + CACHES + TERMINATOR
    }
}

impl Default for ConnectionDivision {
    fn default() -> Self {
        Self::of(DEFAULT_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_nobody_is_left_without() {
        for total in FEWEST_CONNECTIONS..=1000 {
            let division = ConnectionDivision::of(total);
            assert_eq!(division.total(), total);
            for part in [division.core, division.key_value, division.plugins] {
                assert!(part >= 2, "{division:?}");
            }
            for (one, all) in [(division.key_value_per_plugin, division.key_value), (division.per_plugin, division.plugins)] {
                assert!(one >= 1 && one * 2 <= all, "{division:?}");
            }
        }
        assert_eq!(ConnectionDivision::of(0).total(), FEWEST_CONNECTIONS);
    }

    #[test]
    fn three_replicas_in_a_rollout_fit_into_postgresqls_default() {
        // Three are reserved for superusers.
        const MAX_CONNECTIONS: u32 = 100 - 3;
        let expected = ConnectionDivision { core: 4, key_value: 4, key_value_per_plugin: 2, plugins: 8, per_plugin: 4 };
        assert_eq!(ConnectionDivision::default(), expected);
        let replicas_and_one_more = 3 + 1;
        assert!(replicas_and_one_more * expected.total() < MAX_CONNECTIONS);
    }
}
