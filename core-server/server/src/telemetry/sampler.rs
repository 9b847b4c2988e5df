//! Which traces are recorded.
//!
//! It is decided here, by chance, when a request comes: a caller may say which trace it belongs to, and that it is not to be recorded,
//! but nobody outside can have it recorded. So the id of the trace, which a caller can choose, is not what chance is taken from.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Of all traces, from 0 to 1.
    pub(super) ratio: f64,
    /// Whether what a caller does not record is not recorded here.
    pub(super) heeds_no: bool,
}

impl Sampler {
    fn is_recorded(self, parent: Option<&Context>, chance: f64) -> bool {
        let parent = parent.map(|context| context.span().span_context().clone()).filter(|parent| parent.is_valid());
        match parent {
            // A part of something that is decided.
            Some(own) if !own.is_remote() => own.is_sampled(),
            Some(callers) if self.heeds_no && !callers.is_sampled() => false,
            Some(_) | None => chance < self.ratio,
        }
    }
}

impl ShouldSample for Sampler {
    fn should_sample(&self, parent: Option<&Context>, _: TraceId, _: &str, _: &SpanKind, _: &[KeyValue], _: &[Link]) -> SamplingResult {
        let decision = match self.is_recorded(parent, rand::random()) {
            true => SamplingDecision::RecordAndSample,
            false => SamplingDecision::Drop,
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn parent(is_remote: bool, is_sampled: bool) -> Context {
        let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        // With the id by which samplers that look at it record in any case.
        let context = SpanContext::new(TraceId::from(1), SpanId::from(1), flags, is_remote, TraceState::default());
        Context::new().with_remote_span_context(context)
    }

    #[test]
    fn nobody_outside_can_have_something_recorded() {
        let sampler = Sampler { ratio: 0.5, heeds_no: true };
        let recorded = |parent: Option<&Context>, chance| sampler.is_recorded(parent, chance);
        assert!(recorded(None, 0.49) && !recorded(None, 0.5));
        let (says_yes, says_no) = (parent(true, true), parent(true, false));
        assert!(recorded(Some(&says_yes), 0.49) && !recorded(Some(&says_yes), 0.5));
        assert!(!recorded(Some(&says_no), 0.0), "but not to be recorded can be wished for");
        assert!(Sampler { heeds_no: false, ..sampler }.is_recorded(Some(&says_no), 0.0));
        // Within a trace nothing is decided anew.
        assert!(recorded(Some(&parent(false, true)), 0.99) && !recorded(Some(&parent(false, false)), 0.0));
        assert!(!Sampler { ratio: 0.0, ..sampler }.is_recorded(None, 0.0));
        assert!(Sampler { ratio: 1.0, ..sampler }.is_recorded(None, 0.999_999));
    }
}
