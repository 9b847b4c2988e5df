//! Where traces go, as the server is told: by the variables that OpenTelemetry defines.

use checkstack_crds::checkstack::CheckstackSpec;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};

/// Variables of the core container. What the spec does not say may be in spec.podTemplate.env.
pub(super) fn environment(spec: &CheckstackSpec) -> Vec<EnvVar> {
    let Some(traces) = &spec.telemetry.traces else { return Vec::new() };
    let plain = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let mut variables = vec![
        plain("OTEL_EXPORTER_OTLP_ENDPOINT", unexpanded(&traces.endpoint)),
        plain("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        plain("OTEL_TRACES_SAMPLER_ARG", traces.sampling_ratio.to_string()),
    ];
    variables.extend(traces.headers_secret_ref.as_ref().map(|headers| EnvVar {
        name: "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            // A pod without it starts all the same.
            secret_key_ref: Some(SecretKeySelector { name: headers.name.clone(), key: headers.key.clone(), optional: Some(true) }),
            ..EnvVarSource::default()
        }),
    }));
    variables
}

/// The kubelet puts no other variable's value, like that of `DATABASE_URL`, in its place: it would go to the collector.
fn unexpanded(endpoint: &str) -> String {
    endpoint.replace('$', "$$")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::instance;

    #[test]
    fn the_server_is_told_where_traces_go_and_nothing_of_a_secret() {
        assert_eq!(environment(&instance(json!({})).spec), []);
        let traces =
            json!({ "endpoint": "http://$(DATABASE_URL).evil.example", "samplingRatio": 0.1, "headersSecretRef": { "name": "token" } });
        let told = environment(&instance(json!({ "telemetry": { "traces": traces } })).spec);
        let value = |name: &str| told.iter().find(|variable| variable.name == name).unwrap().clone();
        assert_eq!(value("OTEL_EXPORTER_OTLP_ENDPOINT").value.unwrap(), "http://$$(DATABASE_URL).evil.example", "the CRD refuses it, too");
        assert_eq!(value("OTEL_TRACES_SAMPLER_ARG").value.unwrap(), "0.1");
        let headers = value("OTEL_EXPORTER_OTLP_HEADERS");
        let secret = headers.value_from.unwrap().secret_key_ref.unwrap();
        assert_eq!((headers.value, secret.name.as_str(), secret.key.as_str(), secret.optional), (None, "token", "headers", Some(true)));
        let all = environment(&instance(json!({ "telemetry": { "traces": { "endpoint": "http://c:4318" } } })).spec);
        assert_eq!(all.len(), 3);
        assert_eq!(all.last().unwrap().value.as_deref(), Some("1"));
    }
}
