//! The judgement of a fetched package: what it is, or why it is not used.

use std::collections::BTreeMap;

use checkstack_crds::conditions::{PluginConditionReason as Reason, PluginConditionType as Type};
use checkstack_crds::{CheckstackPluginSpec, CheckstackPluginStatus};
use checkstack_plugin_package::{ArchiveError, Digest, Integrity, PackageError, PluginId, PluginPackage, canonical};

use crate::fetch::FetchError;

/// What is known of a verified package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) plugin_id: PluginId,
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) digest: Digest,
    pub(crate) size: i64,
    pub(crate) dependencies: BTreeMap<PluginId, String>,
    /// [`source_key`] of the spec that led to it.
    pub(crate) source: Digest,
}

/// Why there is no package that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The condition that does not hold.
    pub(crate) step: Type,
    pub(crate) reason: Reason,
    /// What is wrong and what to do.
    pub(crate) message: String,
    /// Whether trying again without any change may help.
    pub(crate) transient: bool,
}

/// Identifies source and pin. As long as it stays the same, nothing is fetched again.
pub(crate) fn source_key(spec: &CheckstackPluginSpec) -> Result<Digest, serde_json::Error> {
    canonical::to_vec(&(&spec.source, &spec.integrity)).map(|bytes| Digest::of(&bytes))
}

/// Judges the bytes that came from the source.
pub(crate) fn judge(bytes: &[u8], integrity: Option<&str>, source: Digest) -> Result<Facts, Failure> {
    if let Some(pin) = integrity {
        let pin: Integrity =
            pin.parse().map_err(|error| refused(Type::Verified, Reason::InvalidSpec, format!("spec.integrity: {error}")))?;
        pin.verify(bytes).map_err(|mismatch| {
            let message = format!("{mismatch}: correct spec.integrity if you trust the new content, else find out who changed it");
            refused(Type::Verified, Reason::IntegrityMismatch, message)
        })?;
    }
    let package = PluginPackage::read(bytes).map_err(|error| package_failure(&error))?;
    Ok(Facts {
        plugin_id: package.plugin_id,
        package: package.metadata.name,
        version: package.metadata.version,
        digest: package.digest,
        size: i64::try_from(package.size).unwrap_or(i64::MAX),
        dependencies: package.metadata.checkstack.dependencies,
        source,
    })
}

impl Facts {
    /// What an earlier reconciliation wrote down.
    pub(crate) fn from_status(status: &CheckstackPluginStatus) -> Option<Self> {
        let dependency = |(id, range): (&String, &String)| Some((id.parse().ok()?, range.clone()));
        Some(Self {
            plugin_id: status.plugin_id.as_ref()?.parse().ok()?,
            package: status.package.clone()?,
            version: status.version.clone()?,
            digest: status.digest.as_ref()?.parse().ok()?,
            size: status.size.unwrap_or_default(),
            dependencies: status.dependencies.iter().map(dependency).collect::<Option<_>>()?,
            source: status.resolved_source.as_ref()?.parse().ok()?,
        })
    }

    /// Writes it down.
    pub(crate) fn write_to(&self, status: &mut CheckstackPluginStatus) {
        status.plugin_id = Some(self.plugin_id.to_string());
        status.package = Some(self.package.clone());
        status.version = Some(self.version.clone());
        status.digest = Some(self.digest.to_string());
        status.size = Some(self.size);
        status.dependencies = self.dependencies.iter().map(|(id, range)| (id.to_string(), range.clone())).collect();
        status.resolved_source = Some(self.source.to_string());
    }
}

impl From<&FetchError> for Failure {
    fn from(error: &FetchError) -> Self {
        let reason = match error {
            FetchError::InvalidUrl { .. } | FetchError::InvalidSecretHeader { .. } => Reason::InvalidSpec,
            FetchError::NotFound { .. } => Reason::SourceNotFound,
            FetchError::AccessDenied { .. } => Reason::SourceForbidden,
            FetchError::UnexpectedStatus { .. } | FetchError::Unreachable { .. } | FetchError::Truncated { .. } => {
                Reason::SourceUnreachable
            }
            FetchError::TimedOut { .. } => Reason::SourceTimeout,
            FetchError::TooLarge { .. } => Reason::SourceTooLarge,
            FetchError::TooManyRedirects { .. } | FetchError::RefusedRedirect { .. } => Reason::TooManyRedirects,
            FetchError::SecretNotFound { .. } => Reason::SecretNotFound,
            FetchError::ConfigMapNotFound { .. } | FetchError::ConfigMapKeyNotFound { .. } => Reason::ConfigMapNotFound,
            FetchError::Kubernetes { .. } => Reason::Internal,
        };
        Self { step: Type::Resolved, reason, message: error.to_string(), transient: error.is_transient() }
    }
}

fn package_failure(error: &PackageError) -> Failure {
    let message = error.to_string();
    if error.is_world_mismatch() {
        return refused(Type::Compatible, Reason::IncompatibleWorld, message);
    }
    let (reason, what_to_do) = match error {
        PackageError::Archive(
            ArchiveError::PathTraversal(_)
            | ArchiveError::AbsolutePath(_)
            | ArchiveError::InvalidName(_)
            | ArchiveError::Link { .. }
            | ArchiveError::SpecialFile(_)
            | ArchiveError::Duplicate(_),
        ) => (Reason::UnsafePackage, "distrust where it came from, and build the package with: checkstack plugin pack"),
        PackageError::Archive(ArchiveError::TooLarge(_)) => {
            (Reason::SourceTooLarge, "make it smaller, it needs its component and package.json only")
        }
        _ => (Reason::InvalidPackage, "build the package with: checkstack plugin pack"),
    };
    refused(Type::Verified, reason, format!("{message}; {what_to_do}"))
}

/// What the package is does not change by asking again.
fn refused(step: Type, reason: Reason, message: String) -> Failure {
    Failure { step, reason, message, transient: false }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::fixtures::plugin;

    #[test]
    fn every_fault_of_a_source_has_its_reason() {
        let url = || "http://example.com/p.tgz".to_owned();
        let name = || "x".to_owned();
        for (error, reason) in [
            (FetchError::InvalidUrl { url: url(), reason: name() }, Reason::InvalidSpec),
            (FetchError::InvalidSecretHeader { name: name(), key: name() }, Reason::InvalidSpec),
            (FetchError::NotFound { url: url(), status: 404 }, Reason::SourceNotFound),
            (FetchError::AccessDenied { url: url(), status: 401 }, Reason::SourceForbidden),
            (FetchError::UnexpectedStatus { url: url(), status: 500 }, Reason::SourceUnreachable),
            (FetchError::Unreachable { url: url(), reason: name() }, Reason::SourceUnreachable),
            (FetchError::Truncated { url: url() }, Reason::SourceUnreachable),
            (FetchError::TimedOut { url: url(), limit: Duration::from_secs(60) }, Reason::SourceTimeout),
            (FetchError::TooLarge { location: url(), limit: 1 << 20 }, Reason::SourceTooLarge),
            (FetchError::TooManyRedirects { url: url(), limit: 5 }, Reason::TooManyRedirects),
            (FetchError::RefusedRedirect { url: url(), target: url(), reason: name() }, Reason::TooManyRedirects),
            (FetchError::SecretNotFound { name: name() }, Reason::SecretNotFound),
            (FetchError::ConfigMapNotFound { name: name() }, Reason::ConfigMapNotFound),
            (FetchError::ConfigMapKeyNotFound { name: name(), key: name() }, Reason::ConfigMapNotFound),
            (FetchError::Kubernetes { what: name() }, Reason::Internal),
        ] {
            let failure = Failure::from(&error);
            assert_eq!((failure.step, failure.reason), (Type::Resolved, reason), "{error}");
            assert_eq!((failure.message, failure.transient), (error.to_string(), error.is_transient()));
        }
    }

    #[test]
    fn packages_that_are_not_safe_are_told_apart_from_those_that_are_no_packages() {
        for (error, reason) in [
            (ArchiveError::PathTraversal("../x".into()), Reason::UnsafePackage),
            (ArchiveError::AbsolutePath("/x".into()), Reason::UnsafePackage),
            (ArchiveError::Link { entry: "x".into(), target: "/etc".into() }, Reason::UnsafePackage),
            (ArchiveError::SpecialFile("x".into()), Reason::UnsafePackage),
            (ArchiveError::TooLarge(60 << 20), Reason::SourceTooLarge),
            (ArchiveError::UnpackedTooLarge, Reason::InvalidPackage),
            (ArchiveError::Truncated("a file"), Reason::InvalidPackage),
        ] {
            let failure = package_failure(&PackageError::Archive(error.clone()));
            assert_eq!((failure.step, failure.reason, failure.transient), (Type::Verified, reason, false));
            let what_to_do = failure.message.strip_prefix(&format!("{error}; ")).unwrap();
            assert!(what_to_do.contains("checkstack plugin pack") || reason == Reason::SourceTooLarge, "{what_to_do}");
        }
    }

    #[test]
    fn the_source_is_another_one_when_address_or_pin_change_and_only_then() {
        let key = |patch| source_key(&plugin("uptime", patch).spec).unwrap();
        let base = key(json!({}));
        assert_eq!(base, key(json!({ "spec": { "config": { "a": 1 }, "enabled": false, "critical": true } })));
        assert_ne!(base, key(json!({ "spec": { "source": { "tarball": { "url": "https://example.com/other.tgz" } } } })));
        assert_ne!(base, key(json!({ "spec": { "integrity": "sha512-x" } })));
    }

    #[test]
    fn facts_survive_the_way_through_status() {
        let facts = Facts {
            plugin_id: "uptime".parse().unwrap(),
            package: "@acme/uptime".into(),
            version: "1.2.3".into(),
            digest: Digest::of(b"x"),
            size: 1,
            dependencies: [("catalog".parse().unwrap(), "^1".to_owned())].into(),
            source: Digest::of(b"source"),
        };
        let mut status = CheckstackPluginStatus::default();
        assert_eq!(Facts::from_status(&status), None);
        facts.write_to(&mut status);
        assert_eq!(Facts::from_status(&status), Some(facts));
    }
}
