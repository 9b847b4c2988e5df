//! What an instance tells those who watch over it.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::names::HeadersReference;

/// What an instance tells those who watch over it. Metrics are there in any case: GET /.checkstack/metrics of each pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TelemetrySpec {
    /// Traces: what a request has caused, and how long each part of it took. Left out, nothing is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<TracesSpec>,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesSpec {
    /// The collector that takes OTLP over HTTP, like http://collector.monitoring.svc:4318. Traces are sent to /v1/traces below it.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''").message("must be an absolute URL that begins with http:// or https://"))]
    #[x_kube(validation = Rule::new("!self.matches('[?#@$[:space:]]')").message("must have no user, query, fragment or $: what the collector wants to be told belongs into headersSecretRef"))]
    pub endpoint: String,

    /// Which part of the requests is traced: 1 is all, 0.1 every tenth, by chance. Who makes a request may ask not to be traced (`traceparent`), and cannot ask to be.
    #[serde(default = "TracesSpec::default_sampling_ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub sampling_ratio: f64,

    /// Headers for the collector, like a token. New pods have a changed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<HeadersReference>,
}

impl TracesSpec {
    const fn default_sampling_ratio() -> f64 {
        1.0
    }
}
