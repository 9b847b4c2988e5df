//! Secrets that are derived from the sealing key, each for one purpose, and hashes that name
//! things. What is derived needs no storing: every replica computes the same.

use std::fmt;

use aws_lc_rs::hmac;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId, canonical};
use zeroize::Zeroizing;

use crate::keys::SealingKey;

/// The password of a plugin's database role. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabasePassword(Zeroizing<String>);

/// A key that authenticates bytes which a pod wrote itself and will trust later: unpacked packages, cookies, the key for compiled code.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

/// A tag does not belong to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not those that were authenticated")]
pub struct NotAuthentic;

impl SealingKey {
    /// The password of the login role of `plugin_id`: 64 hexadecimal digits.
    pub fn database_password(&self, plugin_id: &PluginId) -> DatabasePassword {
        let bytes = bytes(self, "database-password", &[plugin_id.as_str().as_bytes()]);
        DatabasePassword(Zeroizing::new(Digest::from_sha256(*bytes).hex()))
    }

    /// The key for precompiled code.
    pub fn precompiled_code_key(&self) -> MacKey {
        mac_key(self, "precompiled-code")
    }

    /// The key for what pods tell each other of packages that they have unpacked.
    pub fn unpacked_package_key(&self) -> MacKey {
        mac_key(self, "unpacked-package")
    }

    /// The key for what a browser keeps between the beginning and the end of a sign-in at a provider.
    pub fn pending_sign_in_key(&self) -> MacKey {
        mac_key(self, "pending-sign-in")
    }

    /// The key for what pods show the database when they change entities of plugins.
    pub fn entity_changes_key(&self) -> MacKey {
        mac_key(self, "entity-changes")
    }

    /// A hash of secret content that can be shown: it changes with the content and tells nothing
    /// about it. `purpose` keeps equal contents of different meaning apart.
    pub fn checksum(&self, purpose: &str, content: &[u8]) -> String {
        Digest::from_sha256(mac_key(self, "checksum").tag(&[purpose.as_bytes(), content])).hex()
    }
}

impl DatabasePassword {
    /// The password itself: for a connection, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl MacKey {
    /// HMAC-SHA-256 over `parts`. The limits between them count.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut tag = [0; 32];
        for (target, byte) in tag.iter_mut().zip(self.context(parts).sign().as_ref()) {
            *target = *byte;
        }
        tag
    }

    /// Compares in constant time.
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), NotAuthentic> {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(parts), tag).map_err(|_| NotAuthentic)
    }

    fn context(&self, parts: &[&[u8]]) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context
    }
}

/// The identity of one entry of a set: artifact, config, grants, everything.
pub fn entry_hash(entry: &PluginEntry) -> Result<Digest, serde_json::Error> {
    Ok(Digest::of(&canonical::to_vec(entry)?))
}

pub(crate) fn mac_key(key: &SealingKey, purpose: &str) -> MacKey {
    MacKey(hmac::Key::new(hmac::HMAC_SHA256, &*bytes(key, purpose, &[])))
}

/// 32 bytes for one purpose. The sealing key is uniformly random, so that one application of a
/// pseudo-random function is enough to derive from it (HKDF's first step is not needed).
pub(crate) fn bytes(key: &SealingKey, purpose: &str, context: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut parts: Vec<&[u8]> = vec![b"checkstack v1", purpose.as_bytes()];
    parts.extend_from_slice(context);
    Zeroizing::new(MacKey(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())).tag(&parts))
}

impl fmt::Debug for DatabasePassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DatabasePassword(…)")
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MacKey(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use checkstack_plugin_package::Grants;

    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn password(plugin: &str, byte: u8) -> String {
        key(byte).database_password(&plugin.parse().unwrap()).expose().to_owned()
    }

    /// Written down: another value would lock plugins out of their databases after an upgrade.
    #[test]
    fn a_password_is_the_same_in_every_release() {
        assert_eq!(password("uptime", 1), "0f330afa8a3bdffec87049d288282b49c31a1b7977e21a871c0cc59c13ab1713");
    }

    #[test]
    fn secrets_differ_by_plugin_key_and_purpose() {
        let all = [
            password("uptime", 1),
            password("uptim", 1),
            password("uptime", 2),
            Digest::from_sha256(key(1).precompiled_code_key().tag(&[b"uptime"])).hex(),
            Digest::from_sha256(key(1).unpacked_package_key().tag(&[b"uptime"])).hex(),
            Digest::from_sha256(key(1).entity_changes_key().tag(&[b"uptime"])).hex(),
            Digest::from_sha256(mac_key(&key(1), "secret-config-hash").tag(&[b"uptime"])).hex(),
            Digest::from_sha256(*bytes(&key(1), "database-password", &[])).hex(),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|secret| secret.len() == 64));
    }

    #[test]
    fn a_tag_is_of_its_parts_and_of_nothing_else() {
        let mac = key(1).precompiled_code_key();
        let tag = mac.tag(&[b"digest", b"code"]);
        assert_eq!(mac.verify(&[b"digest", b"code"], &tag), Ok(()));
        for parts in [&[b"digest".as_slice(), b"codes"][..], &[b"digestc", b"ode"], &[b"digest"], &[b"code", b"digest"]] {
            assert_eq!(mac.verify(parts, &tag), Err(NotAuthentic));
        }
        assert_eq!(mac.verify(&[b"digest", b"code"], &[]), Err(NotAuthentic));
        assert_eq!(key(2).precompiled_code_key().verify(&[b"digest", b"code"], &tag), Err(NotAuthentic));
    }

    #[test]
    fn debug_shows_no_secret() {
        let password = key(1).database_password(&"uptime".parse().unwrap());
        assert_eq!(format!("{password:?} {:?}", key(1).precompiled_code_key()), "DatabasePassword(…) MacKey(…)");
    }

    #[test]
    fn an_entry_hash_is_of_everything_in_the_entry() {
        let entry = PluginEntry {
            resource: "uptime".into(),
            plugin_id: "uptime".parse().unwrap(),
            package: "uptime".into(),
            version: "1.0.0".into(),
            digest: Digest::of(b"1"),
            dependencies: Default::default(),
            critical: false,
            config: Default::default(),
            config_version: 1,
            secret_config_hash: None,
            grants: Grants::default(),
            unknown: Default::default(),
        };
        let hash = |change: &dyn Fn(&mut PluginEntry)| {
            let mut entry = entry.clone();
            change(&mut entry);
            entry_hash(&entry).unwrap()
        };
        let hashes = [
            hash(&|_| {}),
            hash(&|entry| entry.digest = Digest::of(b"2")),
            hash(&|entry| entry.critical = true),
            hash(&|entry| drop(entry.config.insert("a".into(), 1.into()))),
            hash(&|entry| entry.config_version = 2),
            hash(&|entry| entry.secret_config_hash = Some("h".into())),
            hash(&|entry| entry.grants.memory_bytes += 1),
            hash(&|entry| entry.grants.http.allow.push("https://acme.io".into())),
        ];
        assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), hashes.len());
        assert_eq!(entry_hash(&entry).unwrap(), entry_hash(&entry.clone()).unwrap());
    }
}
