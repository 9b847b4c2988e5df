//! Names, labels and annotations of what the operator owns: see docs/architecture.md.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// `app.kubernetes.io/managed-by` of everything that the operator makes.
pub const MANAGED_BY: &str = "checkstack-operator";
/// `app.kubernetes.io/name` of the operator's own pods, as the chart sets it.
pub const OPERATOR_APP: &str = "checkstack-operator";
/// `app.kubernetes.io/name` of an instance's objects.
pub const INSTANCE_APP: &str = "checkstack";
/// `app.kubernetes.io/component` of the core server's pods.
pub const CORE_COMPONENT: &str = "core";

/// Label: which application.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label: which instance.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: which part of it.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label: who made it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Annotation of the pod template: keyed hash of the database URL. A changed URL rolls the pods.
pub const DATABASE_CHECKSUM: &str = "checkstack.io/database-checksum";
/// Annotation of the pod template: says which sealing key it is. A new one rolls the pods; a new
/// signing key does not.
pub const KEYS_CHECKSUM: &str = "checkstack.io/keys-checksum";
/// Annotation of a ControllerRevision, and of the pod template where each set has pods of its own:
/// [`PluginSet::hash`](checkstack_plugin_package::PluginSet::hash).
pub const SET_HASH: &str = "checkstack.io/plugin-set-hash";

/// Annotation of a Checkstack: each new value asks for a new signing key. Of the Secret with the keys:
/// the value that was last complied with.
pub const ROTATE_SIGNING_KEY: &str = "checkstack.io/rotate-signing-key";
/// Annotation of the Secret with the keys: since when the signing key signs.
pub const SIGNING_KEY_SINCE: &str = "checkstack.io/signing-key-since";
/// Annotation of the Secret with the keys: since when pods can learn the key that signs next.
pub const NEXT_SIGNING_KEY_SINCE: &str = "checkstack.io/next-signing-key-since";

/// Annotation of a Checkstack: each new value asks for a new encryption key. Of the Secret with those keys: the value that was last
/// complied with.
pub const ROTATE_ENCRYPTION_KEY: &str = "checkstack.io/rotate-encryption-key";
/// Annotation of the Secret with the encryption keys: since when pods can learn the key that encrypts next.
pub const NEXT_ENCRYPTION_KEY_SINCE: &str = "checkstack.io/next-encryption-key-since";

/// Annotation of a CheckstackPlugin: each new value has a form that was rolled back tried again.
pub const RETRY: &str = "checkstack.io/retry";

/// Finalizer of a CheckstackPlugin: pods must let go of it, and its data may have to be purged.
pub const PLUGIN_FINALIZER: &str = "checkstack.io/deregister";

/// Name of the container that serves.
pub const CORE_CONTAINER: &str = "core";
/// Name of the init container.
pub const MATERIALISE_CONTAINER: &str = "materialise";
/// Name of the port that everything is served on.
pub const HTTP_PORT_NAME: &str = "http";
/// Its number.
pub const HTTP_PORT: i32 = 3000;

/// ConfigMap with the plugin set.
pub fn plugin_set_config_map(instance: &str) -> String {
    format!("{instance}-plugins")
}

/// Secret with the keys.
pub fn keys_secret(instance: &str) -> String {
    format!("{instance}-keys")
}

/// Secret with name and password of the first admin.
pub fn admin_secret(instance: &str) -> String {
    format!("{instance}-admin")
}

/// Secret with the keys that secrets are encrypted with in the database. Not the instance's own: it is needed for as long as
/// the database is.
pub fn encryption_secret(instance: &str) -> String {
    format!("{instance}-encryption")
}

/// Secret with the plugins' secret settings.
pub fn plugin_config_secret(instance: &str) -> String {
    format!("{instance}-plugin-config")
}

/// ControllerRevision of one revision of the plugin set.
pub fn set_revision(instance: &str, revision: u64) -> String {
    format!("{instance}-{revision}")
}

/// Labels that select the core server's pods. Never changed: a Deployment's selector is immutable.
pub fn pod_selector(instance: &str) -> BTreeMap<String, String> {
    [(LABEL_NAME, INSTANCE_APP), (LABEL_INSTANCE, instance), (LABEL_COMPONENT, CORE_COMPONENT)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// [`pod_selector`] as a selector.
pub fn pod_label_selector(instance: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(pod_selector(instance)), ..LabelSelector::default() }
}

/// Labels of everything that belongs to an instance.
pub fn instance_labels(instance: &str) -> BTreeMap<String, String> {
    let mut labels = pod_selector(instance);
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    labels
}

/// Selector, for lists and watches, of everything that the operator owns.
pub fn owned_selector() -> String {
    format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={CORE_COMPONENT}")
}

/// The pods' selector in the text form that the scale subresource wants.
pub fn pod_selector_text(instance: &str) -> String {
    pod_selector(instance).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
