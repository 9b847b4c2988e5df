//! Plugins that do not start: each gives the reason that the admin reads.

use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::PluginFailure;

use crate::fixture::{Sandbox, deadline, services, services_with, settings};
use crate::guest::{self, Guest};

fn assert_failure(failure: &PluginFailure, reason: PluginReason, is_transient: bool, parts: &[&str]) {
    assert_eq!((failure.reason, failure.transient), (reason, is_transient), "{failure}");
    for part in parts {
        assert!(failure.message.contains(part), "'{part}' is not in: {failure}");
    }
    assert!(!failure.message.contains('\n'), "{failure}");
}

async fn failure_of(guest: Guest) -> PluginFailure {
    Sandbox::new().failure(&guest.component(), services()).await
}

#[tokio::test]
async fn bytes_that_are_no_component() {
    let sandbox = Sandbox::new();
    let mut truncated = guest::plain();
    truncated.truncate(truncated.len() / 2);
    for bytes in [&b""[..], b"\x7fELF", b"\0asm", &truncated] {
        assert_failure(&sandbox.failure(bytes, services()).await, PluginReason::InvalidComponent, false, &["not a WebAssembly component"]);
    }
    assert_failure(
        &sandbox.failure(&guest::core_module(), services()).await,
        PluginReason::InvalidComponent,
        false,
        &["core WebAssembly module"],
    );
}

#[tokio::test]
async fn a_component_whose_code_is_invalid() {
    let mut component = Guest::default().init("(drop (i32.const 123456789)) (call $done)").component();
    // `i32.const 123456789`, and the `drop` after it becomes an opcode that no engine has.
    let constant = [0x41, 0x95, 0x9a, 0xef, 0x3a];
    let at = component.windows(5).position(|bytes| bytes == constant).unwrap();
    component[at + 5] = 0x27;
    assert_failure(&Sandbox::new().failure(&component, services()).await, PluginReason::InvalidComponent, false, &["does not compile"]);
}

#[tokio::test]
async fn a_component_without_the_exports() {
    let failure = Sandbox::new().failure(&guest::without_exports(), services()).await;
    assert_failure(&failure, PluginReason::InvalidComponent, false, &["does not export", "checkstack:plugin/lifecycle"]);
}

#[tokio::test]
async fn another_version_of_the_world() {
    let failure = failure_of(Guest::default().version("0.9.0")).await;
    assert_failure(&failure, PluginReason::IncompatibleWorld, false, &["0.9.0", "0.2.0"]);
}

#[tokio::test]
async fn a_foreign_import() {
    let failure = failure_of(Guest::default().foreign_import()).await;
    assert_failure(&failure, PluginReason::InvalidComponent, false, &["other:thing/door@1.0.0"]);
}

#[tokio::test]
async fn a_function_of_another_type() {
    let failure = Sandbox::new().failure(&guest::with_another_type(), services()).await;
    assert_failure(&failure, PluginReason::InvalidComponent, false, &["does not fit the plugin world"]);
}

#[tokio::test]
async fn a_refused_configuration() {
    let failure = failure_of(Guest::default().init_fails(0, "'url' is missing")).await;
    assert_failure(&failure, PluginReason::InvalidConfig, false, &["refused its configuration: 'url' is missing", "correct spec.config"]);
}

#[tokio::test]
async fn a_failed_init() {
    let failure = failure_of(Guest::default().init_fails(1, "no answer from upstream")).await;
    assert_failure(&failure, PluginReason::InitFailed, true, &["init failed: no answer from upstream", "log lines of the plugin"]);
}

#[tokio::test]
async fn a_trap_in_each_step() {
    for (guest, step) in [
        (Guest::default().describe("unreachable"), "describe"),
        (Guest::default().init("unreachable"), "init"),
        (Guest::default().after_plugins_ready("unreachable"), "after-plugins-ready"),
    ] {
        assert_failure(&failure_of(guest).await, PluginReason::Trapped, true, &[&format!("trapped in {step}: "), "unreachable"]);
    }
}

#[tokio::test]
async fn an_endless_loop_in_each_step() {
    let mut settings = settings();
    settings.activation_at_least = Duration::ZERO;
    let sandbox = Sandbox::with(settings);
    for (guest, step, limit) in [
        (Guest::default().describe("(call $endless)"), "describe", 50),
        (Guest::default().init("(call $endless) unreachable"), "init", 500),
        (Guest::default().after_plugins_ready("(call $endless) unreachable"), "after-plugins-ready", 500),
    ] {
        let begin = std::time::Instant::now();
        let failure = sandbox.failure(&guest.component(), deadline(50)).await;
        let parts = [&*format!("did not finish {step} within {limit} ms"), "raise spec.grants.deadline"];
        assert_failure(&failure, PluginReason::DeadlineExceeded, true, &parts);
        assert!(begin.elapsed().as_millis() < 2_000, "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_memory_balloon_in_init() {
    let failure = failure_of(Guest::default().init("(call $balloon) unreachable")).await;
    assert_failure(&failure, PluginReason::MemoryExceeded, false, &["in init", "64 MiB", "raise spec.grants.memory"]);
}

#[tokio::test]
async fn more_memory_from_the_start_than_granted() {
    let component = Guest::default().pages(100).component();
    let failure = Sandbox::new().failure(&component, services_with(|grants| grants.memory_bytes = 4 << 20)).await;
    assert_failure(&failure, PluginReason::MemoryExceeded, false, &["in instantiation", "4 MiB"]);
}

#[tokio::test]
async fn a_recursion_without_end() {
    let failure = failure_of(Guest::default().init("(drop (call $recurse (i32.const 0))) (call $done)")).await;
    assert_failure(&failure, PluginReason::Trapped, true, &["call stack exhausted"]);
}

#[tokio::test]
async fn probes_without_names() {
    let failure = failure_of(Guest::default().describe("(i32.store (i32.const 2104) (i32.const 0))")).await;
    assert_failure(&failure, PluginReason::InvalidPackage, false, &["probe ''"]);
}

#[tokio::test]
async fn a_grant_that_is_no_origin() {
    let services = services_with(|grants| grants.http.allow = vec!["acme.io".into()]);
    let failure = Sandbox::new().failure(&guest::plain(), services).await;
    assert_failure(&failure, PluginReason::InvalidConfig, false, &["spec.grants.http.allow", "'acme.io'"]);
}
