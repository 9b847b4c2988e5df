//! Packages in ConfigMaps: small ones, for trying things out and for air-gapped clusters.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::FetchError;

/// The bytes of one key of `binaryData`.
///
/// # Errors
/// The ConfigMap or the key does not exist, or the API server does not answer.
pub async fn read_config_map(client: &Client, namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, FetchError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| {
        tracing::warn!(namespace, name, %error, "ConfigMap cannot be read");
        FetchError::Kubernetes { what: format!("ConfigMap '{name}'") }
    })?;
    let config_map = found.ok_or_else(|| FetchError::ConfigMapNotFound { name: name.to_owned() })?;
    let bytes = config_map.binary_data.and_then(|mut data| data.remove(key));
    bytes.map(|bytes| bytes.0).ok_or_else(|| FetchError::ConfigMapKeyNotFound { name: name.to_owned(), key: key.to_owned() })
}
