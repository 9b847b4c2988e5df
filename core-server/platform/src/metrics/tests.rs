//! What is shown of what was counted, and that it is what the catalogue says.

use std::collections::{BTreeMap, BTreeSet};

use checkstack_cache::ScopeUsage;
use checkstack_connections::PoolUsage;
use checkstack_control_api::report::PluginState as State;
use checkstack_events::EventCounts;
use checkstack_jobs::{AttemptCounts, ProviderCounts, Waiting};

use super::*;
use crate::trace::SpansSoFar;

fn id(id: &str) -> PluginId {
    id.parse().unwrap()
}

#[test]
fn calls_are_shown_by_plugin_and_outcome() {
    let metrics = Metrics::new("1.2.3", Vec::new);
    let calls = metrics.calls_of(&id("uptime"));
    let in_flight = calls.begin();
    calls.end(CallOutcome::Answered, Duration::from_micros(60));
    calls.end(CallOutcome::from(&CallFailure::Trapped(id("uptime"), String::new())), Duration::from_secs(60));
    let text = metrics.encode(ServiceFigures::default()).unwrap();
    for line in [
        r#"checkstack_build_info{version="1.2.3"} 1"#,
        r#"checkstack_plugin_calls_total{plugin="uptime",outcome="answered"} 1"#,
        r#"checkstack_plugin_calls_total{plugin="uptime",outcome="trapped"} 1"#,
        r#"checkstack_plugin_calls_total{plugin="uptime",outcome="overloaded"} 0"#,
        r#"checkstack_plugin_call_seconds_bucket{le="0.0001",plugin="uptime"} 1"#,
        r#"checkstack_plugin_call_seconds_bucket{le="+Inf",plugin="uptime"} 2"#,
        r#"checkstack_plugin_call_seconds_count{plugin="uptime"} 2"#,
        r#"checkstack_plugin_calls_in_flight{plugin="uptime"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    drop(in_flight);
    assert!(metrics.encode(ServiceFigures::default()).unwrap().contains(r#"checkstack_plugin_calls_in_flight{plugin="uptime"} 0"#));
}

#[test]
fn every_failure_is_counted_by_its_kind() {
    let id = || id("uptime");
    let kinds = [
        CallFailure::Overloaded(id()),
        CallFailure::DeadlineExceeded(id(), 1),
        CallFailure::Trapped(id(), String::new()),
        CallFailure::InvalidAnswer(id(), String::new()),
        CallFailure::NotRunning(id()),
        CallFailure::TooDeep(id()),
        CallFailure::Quarantined(id(), 1),
    ];
    let failed = kinds.map(|failure| CallOutcome::from(&failure));
    assert_eq!(CallOutcome::ALL[2..], failed);
    assert!(CallOutcome::ALL.iter().enumerate().all(|(place, outcome)| *outcome as usize == place));
}

#[test]
fn exactly_one_state_is_shown() {
    use checkstack_control_api::report::PluginState;
    let metrics = Metrics::new("1.2.3", Vec::new);
    for state in [PluginState::Loading, PluginState::Active, PluginState::Failed, PluginState::Blocked, PluginState::Draining] {
        metrics.set_state(&id("uptime"), state);
        let text = metrics.encode(ServiceFigures::default()).unwrap();
        let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("checkstack_plugin_state{") && line.ends_with(" 1")).collect();
        assert_eq!(shown, [format!(r#"checkstack_plugin_state{{plugin="uptime",state="{state:?}"}} 1"#)]);
    }
}

#[test]
fn a_forgotten_plugin_leaves_no_series() {
    let metrics = Metrics::new("1.2.3", Vec::new);
    metrics.calls_of(&id("uptime")).end(CallOutcome::Answered, Duration::ZERO);
    metrics.set_state(&id("uptime"), checkstack_control_api::report::PluginState::Active);
    metrics.activation(&id("uptime"), true);
    metrics.forget(&id("uptime"));
    assert!(!metrics.encode(ServiceFigures::default()).unwrap().contains("uptime"));
}

/// One of everything.
fn services() -> ServiceFigures {
    let attempts = BTreeMap::from([
        ("uptime.checks".parse().unwrap(), AttemptCounts { completed: 1, retried: 2, failed: 3, given_back: 4 }),
        ("uptime.mails".parse().unwrap(), AttemptCounts { completed: 10, ..AttemptCounts::default() }),
        ("gone.checks".parse().unwrap(), AttemptCounts { completed: 1, ..AttemptCounts::default() }),
        ("hook:uptime.changed".parse().unwrap(), AttemptCounts { completed: 99, ..AttemptCounts::default() }),
    ]);
    let waiting = |queue: &str, group: &str, due, lag| Waiting {
        queue: queue.into(),
        group: group.into(),
        due,
        delayed: 1,
        lag: Duration::from_millis(lag),
    };
    let waiting = vec![
        waiting("uptime.checks", "uptime", 5, 1_500),
        waiting("uptime.mails", "uptime", 6, 500),
        waiting("hook:gone.changed", "uptime.g", 7, 250),
        waiting("gone.checks", "", 8, 0),
    ];
    let events = EventCounts { emitted: 1, left_out: 2, delivered: 3, failed: 4, missed: 5 };
    ServiceFigures {
        plugins: BTreeSet::from(["uptime".to_owned()]),
        jobs: BTreeMap::from([("postgres".to_owned(), ProviderCounts { attempts, recovered: 7 })]),
        waiting: Some(("postgres".to_owned(), waiting)),
        events: BTreeMap::from([("uptime".to_owned(), events), ("gone".to_owned(), events)]),
        caches: vec![("uptime".parse().unwrap(), ScopeUsage { entries: 1, bytes: 2, hits: 3, misses: 4, evictions: 5 })],
        cache_limit: 6,
        pools: vec![("core", PoolUsage { most: 6, in_use: 2, idle: 1, waiting: 3, timeouts: 4 })],
        event_streams: 8,
        spans: Some(SpansSoFar { exported: 1, queue_full: 2, not_taken: 3 }),
    }
}

#[test]
fn services_are_shown_by_plugins_that_may_be_named() {
    let text = Metrics::new("1.2.3", Vec::new).encode(services()).unwrap();
    for line in [
        r#"checkstack_job_attempts_total{provider="postgres",plugin="uptime",outcome="completed"} 11"#,
        r#"checkstack_job_attempts_total{provider="postgres",plugin="uptime",outcome="given_back"} 4"#,
        r#"checkstack_jobs_recovered_total{provider="postgres"} 7"#,
        r#"checkstack_jobs_waiting{provider="postgres",plugin="uptime",kind="job"} 11"#,
        r#"checkstack_jobs_waiting{provider="postgres",plugin="uptime",kind="event"} 7"#,
        r#"checkstack_jobs_waiting{provider="postgres",plugin="other",kind="job"} 8"#,
        r#"checkstack_jobs_delayed{provider="postgres",plugin="uptime",kind="job"} 2"#,
        r#"checkstack_job_lag_seconds{provider="postgres",plugin="uptime",kind="job"} 1.5"#,
        r#"checkstack_events_left_out_total{plugin="uptime"} 2"#,
        r#"checkstack_event_deliveries_failed_total{plugin="uptime"} 4"#,
        r#"checkstack_event_gaps_total{plugin="uptime"} 5"#,
        r#"checkstack_cache_reads_total{plugin="uptime",outcome="hit"} 3"#,
        r#"checkstack_cache_evictions_total{plugin="uptime"} 5"#,
        r#"checkstack_database_connections{pool="core",state="in_use"} 2"#,
        r#"checkstack_database_connections_waiting{pool="core"} 3"#,
        r#"checkstack_database_connection_timeouts_total{pool="core"} 4"#,
        "checkstack_cache_limit_bytes 6",
        "checkstack_event_streams_open 8",
        "checkstack_trace_spans_exported_total 1",
        r#"checkstack_trace_spans_lost_total{reason="queue_full"} 2"#,
        r#"checkstack_trace_spans_lost_total{reason="not_taken"} 3"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains(r#""gone""#) && !text.contains(" 99"), "{text}");
}

/// Kind and labels of each metric, by its name, as they are shown.
fn shown(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut all: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(all.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new())).is_none(), "{name} is there twice");
            current = name.to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} is none of {current}");
            let labels = line.split_once('{').map_or("", |(_, labels)| labels.rsplit_once('}').unwrap().0);
            let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            all.get_mut(&current).unwrap().1.extend(names);
        }
    }
    all
}

#[test]
fn what_is_shown_is_what_the_catalogue_says() {
    let usage = || vec![(id("uptime"), Usage::default())];
    let metrics = Metrics::watching("1.2.3", usage, SocketUsage::default);
    metrics.calls_of(&id("uptime")).end(CallOutcome::Answered, Duration::ZERO);
    metrics.set_state(&id("uptime"), State::Active);
    metrics.activation(&id("uptime"), true);
    metrics.swapped(&id("uptime"));
    metrics.quarantined(&id("uptime"));
    metrics.artifact_upload("created");
    metrics.secrets_read(&id("uptime"), SecretOutcome::Resolved);
    metrics.native().signed_in(SignInMethod::Password, SignInOutcome::Success);
    metrics.native().credential_refused(CredentialKind::Session, RefusalReason::Unknown);
    let mut shown = shown(&metrics.encode(services()).unwrap());
    shown.get_mut("checkstack_plugin_call_seconds").unwrap().1.remove("le");
    let expected = catalogue::ALL.iter().flat_map(|(_, metrics)| metrics.iter()).map(|metric| {
        let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        (format!("{}_{}", catalogue::PREFIX, metric.name), (metric.kind.as_str().to_owned(), labels))
    });
    assert_eq!(shown, expected.collect());
}
