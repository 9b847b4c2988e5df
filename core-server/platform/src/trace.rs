//! Spans for whoever collects traces (`docs/decisions/0022-telemetry.md`). They have a target of their own: no log shows them, and while
//! nobody collects nothing is interested in them, so that they are not even made.
//!
//! A span says who worked and how that ended. Of what a request carries it has only the ids by which it is found again: no path below a
//! plugin, no query, no other header, no body, no statement.

mod counts;
mod parent;

use checkstack_plugin_package::PluginId;
use http::{HeaderMap, Method, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState};
use tracing::field::Empty;
use tracing::{Level, Span, info_span, span_enabled};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use self::counts::SpanCounts;
pub(crate) use self::counts::SpansSoFar;
use self::parent::TraceParent;
use crate::metrics::CallOutcome;

/// Of all spans that are exported, and of nothing else.
pub const TARGET: &str = "checkstack_trace";

/// For what a plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Request,
    Job,
    Event,
}

impl Work {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Job => "job",
            Self::Event => "event",
        }
    }
}

/// Of a request from outside. What asks for the state of the pod is not traced. A caller may say which trace it belongs to, and not
/// whether it is recorded.
pub(crate) fn request(method: &Method, path: &str, headers: &HeaderMap, correlation_id: &str) -> Span {
    if !is_enabled() {
        return Span::none();
    }
    let Some(route) = route(path) else { return Span::none() };
    let method = known(method);
    let span = info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        checkstack.correlation_id = correlation_id,
    );
    if let Some(parent) = TraceParent::of(headers) {
        let (trace, caller, flags) = parent.ids();
        let remote = SpanContext::new(trace, caller, flags, true, TraceState::default());
        // It has no parent yet, and has not begun.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
    span
}

/// How it was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    if span.is_disabled() {
        return;
    }
    // As the type that the conventions want: a smaller one would become text.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Of the trace that a span belongs to, for the log. None: nobody collects, or it is not traced.
pub(crate) fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let of = context.span().span_context().clone();
    of.is_valid().then(|| of.trace_id().to_string())
}

/// Whether the caller may make a call.
pub(crate) fn gate() -> Span {
    info_span!(target: TARGET, "gate")
}

/// What a plugin is called for is one of the procedures that it offers.
pub(crate) fn leads_to(procedure: &str) {
    if is_enabled() {
        Span::current().record("checkstack.procedure", procedure);
    }
}

/// Of something that a plugin does.
pub(crate) fn plugin(plugin: &PluginId, work: Work) -> Span {
    let kind = if work == Work::Request { "internal" } else { "consumer" };
    info_span!(
        target: TARGET,
        "plugin",
        otel.name = format_args!("{} {plugin}", work.as_str()),
        otel.kind = kind,
        otel.status_code = Empty,
        checkstack.plugin = plugin.as_str(),
        checkstack.work = work.as_str(),
        checkstack.procedure = Empty,
        checkstack.outcome = Empty,
    )
}

/// How that ended.
pub(crate) fn ended(span: &Span, outcome: CallOutcome) {
    if span.is_disabled() {
        return;
    }
    span.record("checkstack.outcome", outcome.as_str());
    if outcome != CallOutcome::Answered {
        span.record("otel.status_code", "ERROR");
    }
}

/// Of work on a connection to PostgreSQL, within something else that is recorded: what the server does for itself all the time is not.
pub(crate) fn database(pool: &'static str) -> Span {
    // Not tracing's own span, which may be one for the log.
    if !Context::map_current(|context| context.span().span_context().is_sampled()) {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "database",
        otel.name = format_args!("postgresql {pool}"),
        otel.kind = "client",
        db.system.name = "postgresql",
        checkstack.pool = pool,
    )
}

/// How an attempt to bring a version of a plugin up has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It serves.
    Active,
    /// It serves, in the place of another version.
    Swapped,
    Failed,
    /// It was not wanted any more.
    Abandoned,
}

impl Attempt {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Swapped => "swapped",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Of an attempt to bring a version of a plugin up, which may be in the place of another.
pub(crate) fn activation(plugin: &PluginId, version: &str) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "activation",
        otel.name = format_args!("activation {plugin}"),
        otel.status_code = Empty,
        checkstack.plugin = plugin.as_str(),
        checkstack.version = version,
        checkstack.outcome = Empty,
    )
}

/// How that ended.
pub(crate) fn concluded(activation: &Span, attempt: Attempt) {
    if activation.is_disabled() {
        return;
    }
    activation.record("checkstack.outcome", attempt.as_str());
    if attempt == Attempt::Failed {
        activation.record("otel.status_code", "ERROR");
    }
}

/// Of one stage of that.
pub(crate) fn stage(activation: &Span, stage: &'static str) -> Span {
    info_span!(target: TARGET, parent: activation, "stage", otel.name = stage)
}

/// Whether anybody collects.
fn is_enabled() -> bool {
    span_enabled!(target: TARGET, Level::INFO)
}

/// What comes after it may be anything.
fn route(path: &str) -> Option<&'static str> {
    [("/.checkstack/", None), ("/api/", Some("/api/{plugin}")), ("/rest/", Some("/rest/{plugin}")), ("/assets/", Some("/assets/{file}"))]
        .into_iter()
        .find_map(|(beginning, route)| path.starts_with(beginning).then_some(route))
        .unwrap_or(Some("/{path}"))
}

/// Callers may make methods up.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nobody_collects_there_are_no_spans() {
        let headers = HeaderMap::new();
        for span in [
            request(&Method::GET, "/api/uptime/x", &headers, "c"),
            plugin(&"uptime".parse().unwrap(), Work::Job),
            gate(),
            database("core"),
            activation(&"uptime".parse().unwrap(), "1.0.0"),
        ] {
            assert!(span.is_disabled() && id(&span).is_none());
        }
    }

    #[test]
    fn routes_and_methods_are_closed_lists() {
        for (path, expected) in [
            ("/.checkstack/ready", None),
            ("/api/status-page/unsubscribe/token", Some("/api/{plugin}")),
            ("/rest/uptime/targets", Some("/rest/{plugin}")),
            ("/", Some("/{path}")),
            ("/secret", Some("/{path}")),
        ] {
            assert_eq!(route(path), expected);
        }
        assert_eq!((known(&Method::GET), known(&"MADE-UP".parse().unwrap())), ("GET", "_OTHER"));
    }
}
