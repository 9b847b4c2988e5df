//! A client that `checkstack client` has made, as a plugin has it in its sources: `plugins/clients` writes it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod uptime;

use serde_json::json;
use uptime::Error;
use uptime::types::{State, TargetsHistoryInput, TargetsHistoryOutput, TargetsOutput};

#[test]
fn procedures_are_functions_with_types() {
    let _: fn() -> Result<TargetsOutput, Error> = uptime::targets;
    let _: fn(&TargetsHistoryInput) -> Result<TargetsHistoryOutput, Error> = uptime::targets_history;
    assert_eq!(uptime::PLUGIN_ID, "uptime");
}

#[test]
fn types_are_written_and_read_as_the_other_plugin_does() {
    let input = TargetsHistoryInput { target: "shop".into(), limit: None };
    assert_eq!(serde_json::to_value(input).unwrap(), json!({ "target": "shop" }));
    // As a test of uptime has it.
    let target = json!({
        "name": "shop", "url": "http://shop", "state": "down", "checkedAt": null, "status": 503,
        "latencyMs": 12, "problem": "answered 503", "checks": 4, "availability": 0.75, "meanLatencyMs": 20.5,
    });
    let output: TargetsOutput =
        serde_json::from_value(json!({ "windowSeconds": 60, "targets": [target], "ofALaterRelease": true })).unwrap();
    let shop = &output.targets[0];
    assert_eq!((shop.state, shop.status, shop.checks, shop.checked_at.as_deref()), (State::Down, Some(503), 4, None));
}
