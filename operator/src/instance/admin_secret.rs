//! The Secret with the name and password of the instance's first admin. Whoever may read it may sign in as that admin; another
//! one in its place is the way back in for somebody who has forgotten the password.

use std::collections::BTreeMap;

use checkstack_crds::Checkstack;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use rand::RngExt as _;
use tracing::info;

use super::objects::owned_metadata;
use super::reconcile::InstanceError;
use crate::context::Context;
use crate::error::KubernetesContext as _;
use crate::names;
use crate::object_key::ObjectKey;
use crate::references::Reference;

const USERNAME: &str = "admin@checkstack.local";
const PASSWORD_CHARACTERS: usize = 24;
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/// Makes it, if there is none. One that somebody else has made is as good.
pub(super) async fn ensure(context: &Context, instance: &Checkstack) -> Result<(), InstanceError> {
    let key = ObjectKey::new(instance.namespace().unwrap_or_default(), names::admin_secret(&instance.name_any()));
    if context.references.secret(&key).await?.is_some() {
        return Ok(());
    }
    let parameters = PostParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PostParams::default() };
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    secrets.create(&parameters, &secret(instance, random_password())).await.during("create", || format!("Secret '{}'", key.name))?;
    info!(instance = %ObjectKey::of(instance), secret = key.name, "made a password for the first admin");
    context.references.look_at(&Reference::Secret(key)).await?;
    Ok(())
}

fn secret(instance: &Checkstack, password: String) -> Secret {
    Secret {
        metadata: owned_metadata(instance, names::admin_secret(&instance.name_any())),
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(BTreeMap::from([
            ("username".to_owned(), ByteString(USERNAME.into())),
            ("password".to_owned(), ByteString(password.into_bytes())),
        ])),
        ..Secret::default()
    }
}

/// With letters of both cases and a digit: what the server asks of passwords.
fn random_password() -> String {
    let mut random = rand::rng();
    loop {
        let character = |_| ALPHABET.get(random.random_range(0..ALPHABET.len())).copied().map_or('2', char::from);
        let password: String = (0..PASSWORD_CHARACTERS).map(character).collect();
        let has = |kind: fn(&u8) -> bool| password.as_bytes().iter().any(kind);
        if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) {
            return password;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_password_is_new_and_strong() {
        let passwords: Vec<String> = (0..100).map(|_| random_password()).collect();
        for password in &passwords {
            assert!(password.len() == 24 && password.chars().any(|character| character.is_ascii_digit()), "{password}");
        }
        assert_eq!(passwords.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
    }

    #[test]
    fn the_secret_goes_with_the_instance() {
        let secret = secret(&fixtures::instance(serde_json::json!({})), "p".into());
        assert_eq!(secret.metadata.name.as_deref(), Some("main-admin"));
        assert_eq!(secret.metadata.owner_references.unwrap()[0].controller, Some(true));
        assert_eq!(secret.data.unwrap()["username"].0, b"admin@checkstack.local");
    }
}
