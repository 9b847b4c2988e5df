//! Procedures of a guest: what it offers, how it is called, and what comes of its answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use checkstack_calls::access::{Account, Permissions, Principal};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{CallFailure, Plugin, ProcedureCall, ProcedureFailure};
use serde_json::{Value, json};

use crate::fixture::{Sandbox, ask, id, services};
use crate::guest::{self, Guest};

/// One procedure; what else the guest is asked for here, the platform would not let through.
const CONTRACT: &str = r#"{"procedures": {"e": {"operation": "query", "access": ["echo.read"], "input": {}, "output": {}}}, "accessRules": [{"resource": "echo", "level": "read", "description": "Hear yourself"}]}"#;

fn call(procedure: &str) -> ProcedureCall {
    ProcedureCall {
        procedure: procedure.into(),
        input: None,
        files: Vec::new(),
        principal: None,
        correlation_id: "correlation-1".into(),
        depth: 0,
    }
}

async fn run(plugin: &Arc<dyn Plugin>, procedure: &str) -> Result<Option<Value>, ProcedureFailure> {
    plugin.procedure(call(procedure)).await
}

#[tokio::test]
async fn what_is_described_is_offered() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&Guest::default().contract(CONTRACT).component(), services()).await;
    let offer = plugin.offer().unwrap();
    assert_eq!(offer.plugin, id("subject"));
    assert_eq!(offer.procedures.keys().collect::<Vec<_>>(), ["e"]);
    assert_eq!(offer.access_rules.keys().map(ToString::to_string).collect::<Vec<_>>(), ["subject.echo.read"]);
    assert!(sandbox.start(&guest::plain(), services()).await.offer().is_none());
}

#[tokio::test]
async fn a_contract_that_cannot_be_used_keeps_the_plugin_from_being_loaded() {
    let sandbox = Sandbox::new();
    for (contract, expected) in [
        ("{", "describe gives a contract that cannot be used: EOF"),
        (r#"{"procedures": {"a": {"operation": "look"}}}"#, "unknown variant `look`"),
        (r#"{"procedures": {"a": {"operation": "query", "access": ["b.read"]}}}"#, "access rule 'subject.b.read' is not among accessRules"),
        (r##"{"procedures": {"a": {"operation": "query", "input": {"$ref": "#"}}}}"##, "its input schema cannot be used"),
    ] {
        let failure = sandbox.load(&Guest::default().contract(contract).component(), services()).await.err().unwrap();
        assert_eq!((failure.reason, failure.transient), (PluginReason::InvalidPackage, false));
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
}

#[tokio::test]
async fn input_and_output_are_json() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&Guest::default().contract(CONTRACT).component(), services()).await;
    let input = json!({ "name": "ü\n", "list": [1, null, true] });
    let echoed = plugin.procedure(ProcedureCall { input: Some(input.clone()), ..call("e") }).await;
    assert_eq!(echoed, Ok(Some(input)));
    assert_eq!(run(&plugin, "e").await, Ok(None));
}

#[tokio::test]
async fn the_guest_is_told_who_calls() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&Guest::default().contract(CONTRACT).component(), services()).await;
    let account = || Arc::new(Account { id: "u1".into(), name: "Ada".into(), permissions: Permissions::All, teams: BTreeSet::new() });
    let callers = [None, Some(Principal::User(account())), Some(Principal::Application(account())), Some(Principal::Service(id("other")))];
    for (kind, principal) in callers.into_iter().enumerate() {
        assert_eq!(plugin.procedure(ProcedureCall { principal, ..call("i") }).await, Ok(Some(json!(kind))));
    }
    let told = plugin.procedure(ProcedureCall { principal: Some(Principal::User(account())), ..call("CONFLICT") }).await;
    assert_eq!(told, Err(ProcedureFailure::Refused(CallError::with_message(ErrorCode::Conflict, "Ada"))));
}

#[tokio::test]
async fn what_is_no_answer_is_a_fault_of_the_plugin() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&Guest::default().contract(CONTRACT).component(), services()).await;
    let failure = |result: Result<Option<Value>, ProcedureFailure>| match result {
        Err(ProcedureFailure::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    assert!(matches!(failure(run(&plugin, "x").await), CallFailure::InvalidAnswer(_, problem) if problem.contains("no JSON")));
    assert!(matches!(failure(run(&plugin, "OTHER").await), CallFailure::InvalidAnswer(_, problem) if problem.contains("'OTHER'")));
    assert!(matches!(failure(run(&plugin, "t").await), CallFailure::Trapped(_, problem) if problem.contains("in procedure")));
    assert_eq!(ask(&plugin, "/e", "still there").await, (200, "still there".into()));
}
