//! Which targets are due, and asking them.

use std::collections::BTreeMap;
use std::time::Duration;

use checkstack_plugin::clock::{self, Stopwatch, Timestamp};
use checkstack_plugin::http;
use schemars::JsonSchema;
use serde::Serialize;

use crate::results::LastCheck;
use crate::settings::{Settings, Target};

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) target: String,
    pub(crate) checked_at: Timestamp,
    pub(crate) up: bool,
    /// None where there was no answer.
    pub(crate) status: Option<u16>,
    pub(crate) latency_ms: u32,
    /// Why it is not up.
    pub(crate) problem: Option<String>,
}

/// What a run has to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan<'s> {
    /// Those that have waited longest first, so that each has its turn even if time is short.
    pub(crate) due: Vec<&'s Target>,
    pub(crate) recent: Vec<&'s Target>,
}

pub(crate) fn plan<'s>(settings: &'s Settings, last_checks: &BTreeMap<String, LastCheck>, now: Timestamp) -> Plan<'s> {
    let last_check = |target: &&Target| last_checks.get(&target.name).map(|last| last.at);
    let is_due = |target: &&Target| last_check(target).is_none_or(|last| now.since(last) >= settings.min_interval.0);
    let (mut due, recent): (Vec<_>, Vec<_>) = settings.targets.iter().partition(is_due);
    // Stable: targets that were never checked come first, in the order of the configuration.
    due.sort_by_key(last_check);
    Plan { due, recent }
}

/// Whether a check that begins now ends in time, even if it takes all its own time. One that is cut
/// short would look like a target that is down.
pub(crate) fn fits(target: &Target, elapsed: Duration, settings: &Settings) -> bool {
    elapsed + target.timeout.0 <= settings.run_budget.0
}

pub(crate) fn run(target: &Target) -> Outcome {
    let checked_at = clock::now();
    let stopwatch = Stopwatch::start();
    let answer = http::get(&target.url).header("user-agent", "checkstack-uptime").timeout(target.timeout.into()).send();
    let latency_ms = u32::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u32::MAX);
    let (status, problem) = match answer {
        Ok(response) => (Some(response.status), problem_with(response.status, target.expect_status)),
        Err(error) => (None, Some(error.to_string())),
    };
    Outcome { target: target.name.clone(), checked_at, up: problem.is_none(), status, latency_ms, problem }
}

/// What is wrong with the status of an answer.
fn problem_with(status: u16, expected: Option<u16>) -> Option<String> {
    match expected {
        Some(expected) if status != expected => Some(format!("answered {status} instead of {expected}")),
        None if !(200..400).contains(&status) => Some(format!("answered {status}")),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::tests::settings;

    fn three_targets() -> Settings {
        let target = |name: &str| json!({ "name": name, "url": "http://x" });
        settings(json!({ "targets": [target("a"), target("b"), target("c")], "minInterval": "5s" }))
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_unix_microseconds(second * 1_000_000)
    }

    fn names<'t>(targets: &[&'t Target]) -> Vec<&'t str> {
        targets.iter().map(|target| target.name.as_str()).collect()
    }

    #[test]
    fn those_that_waited_longest_come_first_and_recent_ones_not_at_all() {
        let settings = three_targets();
        let plan_with = |last_checks: &[(&str, i64)]| {
            let last_checks = last_checks.iter().map(|(name, at)| ((*name).to_owned(), LastCheck { at: second(*at), up: true })).collect();
            let plan = plan(&settings, &last_checks, second(100));
            (names(&plan.due).join(""), names(&plan.recent).join(""))
        };
        assert_eq!(plan_with(&[]), ("abc".into(), "".into()));
        assert_eq!(plan_with(&[("a", 80), ("b", 70)]), ("cba".into(), "".into()));
        assert_eq!(plan_with(&[("a", 96), ("b", 95), ("c", 200)]), ("b".into(), "ac".into()));
    }

    #[test]
    fn a_check_begins_only_if_it_can_end() {
        let settings = three_targets();
        let target = &settings.targets[0];
        assert!(fits(target, Duration::from_millis(500), &settings));
        assert!(!fits(target, Duration::from_millis(501), &settings));
    }

    #[test]
    fn the_status_decides() {
        assert_eq!(problem_with(200, None), None);
        assert_eq!(problem_with(302, None), None);
        assert_eq!(problem_with(404, None).unwrap(), "answered 404");
        assert_eq!(problem_with(404, Some(404)), None);
        assert_eq!(problem_with(200, Some(204)).unwrap(), "answered 200 instead of 204");
    }
}
