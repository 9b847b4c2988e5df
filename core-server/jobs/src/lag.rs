//! Whether consumers keep up.

use serde::{Deserialize, Serialize};

/// From how many waiting jobs on there is reason to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LagThresholds {
    /// At least 1.
    #[schemars(range(min = 1))]
    pub warning_threshold: u64,
    /// At least 1.
    #[schemars(range(min = 1))]
    pub critical_threshold: u64,
}

impl Default for LagThresholds {
    fn default() -> Self {
        Self { warning_threshold: 100, critical_threshold: 500 }
    }
}

/// How far consumers are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LagSeverity {
    /// Below both thresholds.
    None,
    /// At the warning threshold, or above.
    Warning,
    /// At the critical threshold, or above.
    Critical,
}

/// How severe it is that `pending` jobs wait. The critical threshold counts first, even where it is the lower one.
pub fn lag_severity(pending: u64, thresholds: LagThresholds) -> LagSeverity {
    match pending {
        pending if pending >= thresholds.critical_threshold => LagSeverity::Critical,
        pending if pending >= thresholds.warning_threshold => LagSeverity::Warning,
        _ => LagSeverity::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_reached_when_met() {
        let severity = |pending| lag_severity(pending, LagThresholds::default());
        let severities: Vec<LagSeverity> = [0, 99, 100, 499, 500].into_iter().map(severity).collect();
        use LagSeverity::{Critical, None, Warning};
        assert_eq!(severities, [None, None, Warning, Warning, Critical]);
        let reversed = LagThresholds { warning_threshold: 10, critical_threshold: 5 };
        assert_eq!(lag_severity(7, reversed), Critical);
    }
}
