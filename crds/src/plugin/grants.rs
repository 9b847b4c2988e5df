//! What an admin permits a plugin.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::checkstack::is_default;
use crate::quantities::{CallDeadline, MemorySize};
use crate::schemas;

/// What a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantsSpec {
    /// Outgoing HTTP requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http: HttpGrantSpec,

    /// A database schema of its own, and the key-value store. Other plugins' data stays out of reach.
    #[serde(default)]
    pub database: bool,

    /// Names of the instance's secrets that spec.config may refer to, as ${{ secrets.NAME }}.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::secret_names")]
    pub secrets: Vec<String>,

    /// A part of the web UI: the files in the package's checkstack.frontend are served, and their scripts may do in the browser whatever the
    /// user may who looks at it. Only for plugins that are trusted so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub frontend: bool,

    /// Memory of one running copy of the plugin: a whole number with Ki, Mi or Gi, from 1Mi to 1Gi. Pods run several copies
    /// when requests come in parallel.
    #[serde(default = "GrantsSpec::default_memory")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,10}(Ki|Mi|Gi)$') && quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('1Gi')) <= 0").message("must be a whole number with Ki, Mi or Gi, from 1Mi to 1Gi, like 64Mi"))]
    pub memory: MemorySize,

    /// How long one call into the plugin may take: a whole number with ms or s, from 100ms to 30s.
    #[serde(default = "GrantsSpec::default_deadline")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}(ms|s)$') && duration(self) >= duration('100ms') && duration(self) <= duration('30s')").message("must be a whole number with ms or s, from 100ms to 30s, like 500ms or 2s"))]
    pub deadline: CallDeadline,
}

/// Where a plugin may send HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGrantSpec {
    /// Origins that it may call: https://api.example.com, http://*.example.com:8080. Without a port, the scheme's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::origins")]
    pub allow: Vec<String>,

    /// Address ranges that an allowed origin may resolve to although they are loopback or link-local, which are refused
    /// otherwise: cloud metadata services live there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::address_ranges")]
    pub allow_cidrs: Vec<String>,
}

impl GrantsSpec {
    const fn default_memory() -> MemorySize {
        MemorySize::mebibytes(64)
    }

    const fn default_deadline() -> CallDeadline {
        CallDeadline::milliseconds(2_000)
    }
}

impl Default for GrantsSpec {
    fn default() -> Self {
        Self {
            http: HttpGrantSpec::default(),
            database: false,
            secrets: Vec::new(),
            frontend: false,
            memory: Self::default_memory(),
            deadline: Self::default_deadline(),
        }
    }
}
