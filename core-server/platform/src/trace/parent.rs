//! Which trace a caller says that its request belongs to: the header `traceparent` (W3C Trace Context §3.2).

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// See the module. Its ids are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent {
    trace: TraceId,
    span: SpanId,
    is_recorded: bool,
}

impl TraceParent {
    /// None: there is none, more than one, or one that is not valid.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        match (all.next(), all.next()) {
            (Some(only), None) => Self::parse(only.to_str().ok()?),
            _ => None,
        }
    }

    /// `version-trace-span-flags`, in lower-case hexadecimal digits. A later version may have more behind it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)).then_some(part)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let is_recorded = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self { trace, span, is_recorded })
    }

    /// Trace, span of the caller, and whether the caller records it.
    pub(super) fn ids(self) -> (TraceId, SpanId, TraceFlags) {
        (self.trace, self.span, if self.is_recorded { TraceFlags::SAMPLED } else { TraceFlags::default() })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_standard_calls_valid_is_taken_and_nothing_else() {
        let parent = TraceParent::parse(VALID).unwrap();
        assert_eq!(parent.ids().0.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((parent.ids().1.to_string(), parent.is_recorded), ("00f067aa0ba902b7".to_owned(), true));
        assert!(!TraceParent::parse(&VALID.replace("-01", "-02")).unwrap().is_recorded);
        assert!(TraceParent::parse(&format!("cc{}-what-comes-later", &VALID[2..])).is_some());
        for wrong in [
            "",
            "00",
            &VALID.to_uppercase(),
            &format!("{VALID}-x"),
            &format!("ff{}", &VALID[2..]),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &VALID.replace("00f067aa0ba902b7", "0000000000000000"),
            &VALID.replace("-01", "-1"),
            &VALID.replace("4bf9", "+bf9"),
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceParent::of(&headers), Some(parent));
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceParent::of(&headers), None, "nobody knows which of two");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(trace in 1..=u128::MAX, span in 1..=u64::MAX, flags: u8) {
            let parent = TraceParent::parse(&format!("00-{trace:032x}-{span:016x}-{flags:02x}")).unwrap();
            prop_assert_eq!(parent.ids().0, TraceId::from(trace));
            prop_assert_eq!(parent.is_recorded, flags & 1 == 1);
        }

        #[test]
        fn nothing_that_a_stranger_sends_is_more_than_not_valid(text in "\\PC{0,80}") {
            let _ = TraceParent::parse(&text);
        }
    }
}
