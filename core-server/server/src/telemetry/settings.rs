//! The variables that OpenTelemetry defines, as far as they concern traces. With which headers to send, and for how long to try, is read by
//! the exporter itself, from `OTEL_EXPORTER_OTLP_…`; what else there is of a resource by the SDK, from `OTEL_RESOURCE_ATTRIBUTES`.

use reqwest::Url;

use super::TelemetryError;
use super::sampler::Sampler;

const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What to trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TraceSettings {
    /// Where exactly spans are sent to.
    pub(super) endpoint: Url,
    pub(super) sampler: Sampler,
    /// What is not understood, and what is done instead: for the log.
    pub(super) warnings: Vec<String>,
}

impl TraceSettings {
    /// None: nothing is to be traced, because nobody has said where to.
    ///
    /// # Errors
    /// Somebody has, and nothing can be sent there.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TelemetryError> {
        // What is empty counts as not set.
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter.eq_ignore_ascii_case("none"));
        if is_off {
            return Ok(None);
        }
        let endpoint = match (set(TRACES_ENDPOINT), set(ENDPOINT)) {
            (Some(traces), _) => collector(&traces).ok_or(TelemetryError::Endpoint(TRACES_ENDPOINT))?,
            (None, Some(all)) => below(collector(&all).ok_or(TelemetryError::Endpoint(ENDPOINT))?),
            (None, None) => return Ok(None),
        };
        let mut warnings = Vec::new();
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if set(name).is_some_and(|protocol| protocol != "http/protobuf") {
                warnings.push(format!("{name} is not heeded: traces go out as http/protobuf"));
            }
        }
        let sampler = sampler(set("OTEL_TRACES_SAMPLER").as_deref(), set("OTEL_TRACES_SAMPLER_ARG").as_deref(), &mut warnings);
        Ok(Some(Self { endpoint, sampler, warnings }))
    }
}

/// None: nothing can be sent there.
fn collector(endpoint: &str) -> Option<Url> {
    let url = Url::parse(endpoint).ok()?;
    let is_one = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none();
    is_one.then_some(url)
}

/// Where traces go, of an endpoint for everything.
fn below(mut collector: Url) -> Url {
    let path = format!("{}/v1/traces", collector.path().trim_end_matches('/'));
    collector.set_path(&path);
    collector
}

fn sampler(name: Option<&str>, argument: Option<&str>, warnings: &mut Vec<String>) -> Sampler {
    let name = name.unwrap_or("parentbased_always_on");
    let (kind, heeds_no) = name.strip_prefix("parentbased_").map_or((name, false), |kind| (kind, true));
    let ratio = match kind {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio(argument, warnings),
        _ => {
            warnings.push("OTEL_TRACES_SAMPLER is none of always_on, always_off and traceidratio, with or without parentbased_ before: all traces are recorded".to_owned());
            return Sampler { ratio: 1.0, heeds_no: true };
        }
    };
    Sampler { ratio, heeds_no }
}

fn ratio(argument: Option<&str>, warnings: &mut Vec<String>) -> f64 {
    let Some(argument) = argument else { return 1.0 };
    match argument.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            warnings.push("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1: all traces are recorded".to_owned());
            1.0
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, TelemetryError> {
        TraceSettings::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    const COLLECTOR: (&str, &str) = (ENDPOINT, "http://collector:4318");

    #[test]
    fn nothing_is_traced_unless_somebody_says_where_to() {
        for off in [
            &[][..],
            &[(ENDPOINT, " ")],
            &[("OTEL_TRACES_SAMPLER", "always_on")],
            &[COLLECTOR, ("OTEL_SDK_DISABLED", "TRUE")],
            &[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(off).unwrap(), None, "{off:?}");
        }
        assert_eq!(read(&[COLLECTOR]).unwrap().unwrap().sampler, Sampler { ratio: 1.0, heeds_no: true });
    }

    #[test]
    fn an_endpoint_for_everything_has_one_for_traces_below_it() {
        for (variables, expected) in [
            (&[COLLECTOR][..], "http://collector:4318/v1/traces"),
            (&[(ENDPOINT, "https://collector/otlp/")], "https://collector/otlp/v1/traces"),
            (&[COLLECTOR, (TRACES_ENDPOINT, "http://traces/here")], "http://traces/here"),
            (&[COLLECTOR, (TRACES_ENDPOINT, "")], "http://collector:4318/v1/traces"),
        ] {
            assert_eq!(read(variables).unwrap().unwrap().endpoint.as_str(), expected);
        }
        for wrong in ["collector:4318", "ftp://collector", "/v1/traces", "http://canary@collector", "http://a:canary@collector"] {
            for name in [ENDPOINT, TRACES_ENDPOINT] {
                let problem = read(&[(name, wrong)]).unwrap_err().to_string();
                assert!(problem.contains(name) && !problem.contains("canary"), "{problem}");
            }
        }
    }

    #[test]
    fn samplers_are_those_of_the_standard_and_what_is_wrong_is_told() {
        let with = |sampler: &str, argument: &str| {
            read(&[COLLECTOR, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]).unwrap().unwrap()
        };
        for (sampler, argument, ratio, heeds_no, warnings) in [
            ("always_on", "", 1.0, false, 0),
            ("always_off", "", 0.0, false, 0),
            ("traceidratio", "0.25", 0.25, false, 0),
            ("parentbased_traceidratio", "0.25", 0.25, true, 0),
            ("parentbased_traceidratio", "", 1.0, true, 0),
            ("traceidratio", "2", 1.0, false, 1),
            ("traceidratio", "NaN", 1.0, false, 1),
            ("jaeger_remote", "", 1.0, true, 1),
        ] {
            let settings = with(sampler, argument);
            assert_eq!((settings.sampler, settings.warnings.len()), (Sampler { ratio, heeds_no }, warnings), "{sampler} {argument}");
        }
        assert_eq!(read(&[COLLECTOR, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().unwrap().warnings.len(), 1);
    }
}
