//! Where a plugin's package comes from.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::names::{ConfigMapKeyReference, NameReference};

/// Where a package comes from: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.tarball)].filter(set, set).size() == 1").message("exactly one source is needed: set source.tarball"))]
pub struct PluginSource {
    /// A package file (.tgz) at a URL or in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tarball: Option<TarballSource>,
}

/// A package file: exactly one of url and configMapRef.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.configMapRef)").message("set exactly one of url and configMapRef"))]
#[x_kube(validation = Rule::new("!has(self.secretHeadersRef) || has(self.url)").message("secretHeadersRef is for requests to url: set url, or remove secretHeadersRef"))]
pub struct TarballSource {
    /// Where to fetch the file, at most 50 MB: http://… or https://…. It is fetched once; to fetch another file, change the
    /// URL or integrity. A file that cannot be used is fetched again every ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''").message("must be an absolute URL that begins with http:// or https://"))]
    #[x_kube(validation = Rule::new("!self.matches('^[a-zA-Z]+://[^/?#]*@')").message("must not hold a user or password: put an Authorization header into a Secret and name it in secretHeadersRef"))]
    pub url: Option<String>,

    /// A Secret whose keys are header names and whose values are sent with the request, like Authorization. They are
    /// sent to the origin of url only, also when it redirects elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_headers_ref: Option<NameReference>,

    /// The file in the binaryData of a ConfigMap, for packages below 1 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyReference>,
}
