//! `spec.config` of the plugin.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::duration::Span;

/// What to check, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
    /// Availability and latency are computed over this time.
    #[serde(default = "default_window")]
    pub(crate) window: Span,
    /// Results are kept this long.
    #[serde(default = "default_retention")]
    pub(crate) retention: Span,
    /// All targets are checked so often, by one replica; 0s: only when somebody asks for it.
    #[serde(default = "default_interval")]
    pub(crate) interval: Span,
    /// A target is not asked again within this time, whoever asks for it: anybody may.
    #[serde(default = "default_min_interval")]
    pub(crate) min_interval: Span,
    /// Time for all checks of one request. Must end before `grants.deadline` does.
    #[serde(default = "default_run_budget")]
    pub(crate) run_budget: Span,
}

/// One thing that should be up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    /// The one status that counts as up; without it, 200 to 399.
    pub(crate) expect_status: Option<u16>,
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Span,
}

fn default_window() -> Span {
    Span::from_hours(24)
}

fn default_retention() -> Span {
    Span::from_hours(7 * 24)
}

fn default_interval() -> Span {
    Span::from_millis(60_000)
}

fn default_min_interval() -> Span {
    Span::from_millis(5_000)
}

fn default_run_budget() -> Span {
    Span::from_millis(1_500)
}

fn default_timeout() -> Span {
    Span::from_millis(1_000)
}

impl Settings {
    const MOST_TARGETS: usize = 100;
    const SHORTEST_INTERVAL: Span = Span::from_millis(1_000);

    /// All that is wrong, in one sentence.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        if !(1..=Self::MOST_TARGETS).contains(&self.targets.len()) {
            problems.push(format!("`targets` has {} entries; 1 to {} are allowed", self.targets.len(), Self::MOST_TARGETS));
        }
        let mut names = BTreeSet::new();
        for (index, target) in self.targets.iter().enumerate() {
            let place = format!("targets[{index}]");
            target.find_problems(&place, self.run_budget, &mut problems);
            if !names.insert(&target.name) {
                problems.push(format!("`{place}.name`: '{}' is the name of another target", target.name));
            }
        }
        if !self.interval.0.is_zero() && self.interval < Self::SHORTEST_INTERVAL {
            problems.push(format!("`interval` ({}) is shorter than {}; 0s turns it off", self.interval, Self::SHORTEST_INTERVAL));
        }
        if self.retention < self.window {
            problems.push(format!("`retention` ({}) is shorter than `window` ({})", self.retention, self.window));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

impl Target {
    const LONGEST_NAME: usize = 100;

    fn find_problems(&self, place: &str, run_budget: Span, problems: &mut Vec<String>) {
        if !(1..=Self::LONGEST_NAME).contains(&self.name.chars().count()) || self.name.chars().any(char::is_control) {
            problems.push(format!("`{place}.name` must have 1 to {} printable characters", Self::LONGEST_NAME));
        }
        if !is_http_url(&self.url) {
            problems.push(format!("`{place}.url`: '{}' is no http or https URL", self.url));
        }
        if let Some(status) = self.expect_status.filter(|status| !(100..=599).contains(status)) {
            problems.push(format!("`{place}.expectStatus`: {status} is no HTTP status"));
        }
        if self.timeout.0.is_zero() || self.timeout > run_budget {
            problems.push(format!("`{place}.timeout` ({}) must be more than 0 and at most `runBudget` ({run_budget})", self.timeout));
        }
    }
}

/// Whether it looks like one; the server that sends the request knows exactly.
fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    !host.is_empty() && !host.starts_with(':') && !url.contains(char::is_whitespace) && !url.contains(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn settings(config: serde_json::Value) -> Settings {
        serde_json::from_value(config).unwrap()
    }

    fn problem(config: serde_json::Value) -> String {
        settings(config).validate().unwrap_err()
    }

    #[test]
    fn a_target_needs_a_name_and_a_url_only() {
        let settings = settings(json!({ "targets": [{ "name": "shop", "url": "https://shop.example" }] }));
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(settings.window, Span::from_hours(24));
        assert_eq!(settings.targets[0].timeout, Span::from_millis(1_000));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let wrong = problem(json!({
            "targets": [
                { "name": "", "url": "ftp://a" },
                { "name": "a", "url": "http://a", "expectStatus": 42, "timeout": "5s" },
                { "name": "a", "url": "http://:80/" },
            ],
            "window": "2d",
            "retention": "24h",
        }));
        assert_eq!(
            wrong,
            "`targets[0].name` must have 1 to 100 printable characters; \
             `targets[0].url`: 'ftp://a' is no http or https URL; \
             `targets[1].expectStatus`: 42 is no HTTP status; \
             `targets[1].timeout` (5s) must be more than 0 and at most `runBudget` (1.5s); \
             `targets[2].url`: 'http://:80/' is no http or https URL; \
             `targets[2].name`: 'a' is the name of another target; \
             `retention` (86400s) is shorter than `window` (172800s)"
        );
    }

    #[test]
    fn there_must_be_targets_and_not_too_many() {
        assert_eq!(problem(json!({ "targets": [] })), "`targets` has 0 entries; 1 to 100 are allowed");
        let many: Vec<_> = (0..101).map(|n| json!({ "name": n.to_string(), "url": "http://a" })).collect();
        assert_eq!(problem(json!({ "targets": many })), "`targets` has 101 entries; 1 to 100 are allowed");
    }
}
