//! Paths below `/.checkstack/`, the part of the HTTP surface that belongs to the platform.

/// `GET`: 200 while the process answers (platform facts §1.4).
pub const HEALTH: &str = "/.checkstack/health";
/// `GET`: 200 when the pod may serve, else 503 (platform facts §1.4).
pub const READY: &str = "/.checkstack/ready";
/// `GET`: the [`PodReport`](crate::report::PodReport) of this pod.
pub const PLUGINS: &str = "/.checkstack/plugins";
/// `GET`: Prometheus text.
pub const METRICS: &str = "/.checkstack/metrics";
/// `PUT`, signed: a [`PluginSetDelivery`](crate::report::PluginSetDelivery). 202 when taken over,
/// 409 when the pod has a newer revision.
pub const PLUGIN_SET: &str = "/.checkstack/plugin-set";
/// `POST`, signed: try failed plugins again now. 202.
pub const RECONCILE: &str = "/.checkstack/reconcile";
/// The artifact store: `HEAD` and `PUT` `<prefix>/<digest>`, signed. `PUT` of itself, signed, with
/// [`ArtifactsInUse`](crate::report::ArtifactsInUse): deletes the others that have been of no use for some time.
pub const ARTIFACTS: &str = "/.checkstack/artifacts";
/// Prefix of what plugins keep in the database: `DELETE` `<prefix>/<plugin id>`, signed, purges it.
pub const PLUGIN_DATA: &str = "/.checkstack/plugin-data";

/// The path of one artifact: `/.checkstack/artifacts/sha256:…`.
pub fn artifact(digest: &checkstack_plugin_package::Digest) -> String {
    format!("{ARTIFACTS}/{digest}")
}

/// The path of one plugin's data.
pub fn plugin_data(plugin_id: &checkstack_plugin_package::PluginId) -> String {
    format!("{PLUGIN_DATA}/{plugin_id}")
}
