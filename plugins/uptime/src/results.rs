//! Results in the plugin's own table.

use std::collections::BTreeMap;

use checkstack_plugin::clock::Timestamp;
use checkstack_plugin::params;
use checkstack_plugin::sql::{self, Row, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

use crate::check::Outcome;
use crate::settings::Target;

/// How a target is, and how it has been.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetSummary {
    name: String,
    url: String,
    state: State,
    /// None before the first check, like what follows.
    checked_at: Option<Timestamp>,
    status: Option<u16>,
    latency_ms: Option<u32>,
    problem: Option<String>,
    /// Checks within the window.
    checks: u64,
    /// 0 to 1: the part of them that found it up.
    availability: Option<f64>,
    /// Of those that found it up.
    mean_latency_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    Up,
    Down,
    Unknown,
}

/// Fails when the table cannot be read.
pub(crate) fn answer() -> Result<(), sql::Error> {
    sql::query("SELECT id FROM results LIMIT 1", params![]).map(drop)
}

/// Adds results, and removes those from before `keep_since`.
pub(crate) fn record(outcomes: &[Outcome], keep_since: Timestamp) -> Result<(), sql::Error> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let insert = |transaction: Transaction, outcome: &Outcome| {
        transaction.execute(
            "INSERT INTO results (target, checked_at, up, status, latency_ms, problem) VALUES ($1, $2, $3, $4, $5, $6)",
            params![&outcome.target, outcome.checked_at, outcome.up, outcome.status, outcome.latency_ms, outcome.problem.clone()],
        )
    };
    let transaction = outcomes.iter().fold(Transaction::new(), insert);
    transaction.execute("DELETE FROM results WHERE checked_at < $1", params![keep_since]).commit().map(drop)
}

/// The last check of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastCheck {
    pub(crate) at: Timestamp,
    pub(crate) up: bool,
}

/// Of each target; those that never were checked are missing.
pub(crate) fn last_checks(targets: &[Target]) -> Result<BTreeMap<String, LastCheck>, sql::Error> {
    let last = |(name, row): (String, Row)| Ok((name, LastCheck { at: row.get("checked_at")?, up: row.get("up")? }));
    latest(targets)?.into_iter().map(last).collect()
}

/// All targets, in their order.
pub(crate) fn summaries(targets: &[Target], since: Timestamp) -> Result<Vec<TargetSummary>, sql::Error> {
    let latest = latest(targets)?;
    let totals = sql::query(
        "SELECT target, count(*) AS checks, count(*) FILTER (WHERE up) AS ups,
                (avg(latency_ms) FILTER (WHERE up))::float8 AS mean_latency_ms
         FROM results WHERE checked_at >= $1 GROUP BY target",
        params![since],
    )?;
    let totals = by_target(totals)?;
    targets.iter().map(|target| summary(target, latest.get(&target.name), totals.get(&target.name))).collect()
}

/// The newest results of a target first.
pub(crate) fn history(target: &str, limit: u32) -> Result<Vec<Outcome>, sql::Error> {
    let rows = sql::query(
        "SELECT target, checked_at, up, status, latency_ms, problem
         FROM results WHERE target = $1 ORDER BY checked_at DESC, id DESC LIMIT $2",
        params![target, limit],
    )?;
    rows.iter().map(outcome).collect()
}

/// The last result of each target: one step into the index for each, however many results there are.
fn latest(targets: &[Target]) -> Result<BTreeMap<String, Row>, sql::Error> {
    let names: serde_json::Value = targets.iter().map(|target| target.name.as_str()).collect();
    let rows = sql::query(
        "SELECT latest.* FROM jsonb_array_elements_text($1) AS name
         CROSS JOIN LATERAL (
             SELECT target, checked_at, up, status, latency_ms, problem
             FROM results WHERE target = name ORDER BY checked_at DESC, id DESC LIMIT 1
         ) AS latest",
        params![names],
    )?;
    by_target(rows)
}

fn by_target(rows: Vec<Row>) -> Result<BTreeMap<String, Row>, sql::Error> {
    rows.into_iter().map(|row| Ok((row.get("target")?, row))).collect()
}

fn outcome(row: &Row) -> Result<Outcome, sql::Error> {
    Ok(Outcome {
        target: row.get("target")?,
        checked_at: row.get("checked_at")?,
        up: row.get("up")?,
        status: row.get("status")?,
        latency_ms: row.get("latency_ms")?,
        problem: row.get("problem")?,
    })
}

fn summary(target: &Target, latest: Option<&Row>, totals: Option<&Row>) -> Result<TargetSummary, sql::Error> {
    let latest = latest.map(outcome).transpose()?;
    let total = |column| totals.map_or(Ok(0), |row| row.get::<u64>(column));
    let (checks, ups) = (total("checks")?, total("ups")?);
    Ok(TargetSummary {
        name: target.name.clone(),
        url: target.url.clone(),
        state: match &latest {
            None => State::Unknown,
            Some(outcome) if outcome.up => State::Up,
            Some(_) => State::Down,
        },
        checked_at: latest.as_ref().map(|outcome| outcome.checked_at),
        status: latest.as_ref().and_then(|outcome| outcome.status),
        latency_ms: latest.as_ref().map(|outcome| outcome.latency_ms),
        problem: latest.and_then(|outcome| outcome.problem),
        checks,
        availability: (checks > 0).then(|| ups as f64 / checks as f64),
        mean_latency_ms: totals.map_or(Ok(None), |row| row.get("mean_latency_ms"))?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use checkstack_plugin::params;
    use serde_json::json;

    use super::*;
    use crate::settings::tests::settings;

    fn target() -> Target {
        settings(json!({ "targets": [{ "name": "shop", "url": "http://shop" }] })).targets.remove(0)
    }

    #[test]
    fn a_target_without_results_is_unknown() {
        let summary = summary(&target(), None, None).unwrap();
        assert_eq!((summary.state, summary.checks, summary.availability), (State::Unknown, 0, None));
    }

    #[test]
    fn the_last_result_is_the_state_and_the_others_the_availability() {
        let at = Timestamp::from_unix_microseconds(1_000_000);
        let latest = Row::new(
            &["target", "checked_at", "up", "status", "latency_ms", "problem"],
            params!["shop", at, false, 503_u16, 12_u32, "answered 503"],
        );
        let totals = Row::new(&["target", "checks", "ups", "mean_latency_ms"], params!["shop", 4_i64, 3_i64, 20.5]);
        let summary = summary(&target(), Some(&latest), Some(&totals)).unwrap();
        assert_eq!(
            serde_json::to_value(summary).unwrap(),
            json!({
                "name": "shop", "url": "http://shop", "state": "down", "checkedAt": "1970-01-01T00:00:01.000000Z", "status": 503,
                "latencyMs": 12, "problem": "answered 503", "checks": 4, "availability": 0.75, "meanLatencyMs": 20.5,
            })
        );
    }
}
