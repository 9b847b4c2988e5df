//! References to other objects of the same namespace.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The name of another object in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct NameReference {
    /// metadata.name of the object, in the namespace of this one.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct DatabaseUrlReference {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key whose value is the connection URL: postgres://user:password@host:5432/database.
    #[serde(default = "DatabaseUrlReference::default_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: String,
}

impl DatabaseUrlReference {
    fn default_key() -> String {
        "url".to_owned()
    }
}

/// The secret of an OpenID client, in a Secret of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct ClientSecretReference {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key whose value is the client's secret.
    #[serde(default = "ClientSecretReference::default_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: String,
}

impl ClientSecretReference {
    fn default_key() -> String {
        "client-secret".to_owned()
    }
}

/// Certificates of authorities, in a Secret of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct CaBundleReference {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key whose value is one certificate or more, in PEM.
    #[serde(default = "CaBundleReference::default_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: String,
}

impl CaBundleReference {
    fn default_key() -> String {
        "ca.crt".to_owned()
    }
}

/// Headers of requests, in a Secret of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct HeadersReference {
    /// metadata.name of the Secret, in the namespace of this object. It need not exist: then there are no headers.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key whose value is the headers: name=value, with commas between them and the values percent-encoded.
    #[serde(default = "HeadersReference::default_key")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: String,
}

impl HeadersReference {
    fn default_key() -> String {
        "headers".to_owned()
    }
}

/// One key of a ConfigMap in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct ConfigMapKeyReference {
    /// metadata.name of the ConfigMap, in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key in binaryData.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: String,
}

/// A Secret of the same namespace, or one key of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct SecretConfigReference {
    /// metadata.name of the Secret, in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// Takes this key alone. Without it every key of the Secret is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message(KEY_MESSAGE))]
    pub key: Option<String>,
}

const OBJECT_NAME_MESSAGE: &str =
    "must be the name of an object in this namespace: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit";
const KEY_MESSAGE: &str = "must be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.' only";
