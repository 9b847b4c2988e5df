//! Every bad input gets its own clear error.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use checkstack_control_api::{SigningKey, paths, token};
use checkstack_e2e::instance::{INSTANCE, PATIENCE, plugin_object};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use checkstack_plugin_package::{Digest, pack};
use serde_json::{Value, json};

use crate::shared_operator;

/// The API server refuses it with these words.
async fn rejected(ns: &Namespace, object: &Value, words: &str) -> Result<()> {
    let error = match ns.apply(&object.to_string()).await {
        Ok(_) => anyhow::bail!("accepted: {object}"),
        Err(error) => error.to_string(),
    };
    ensure!(error.contains(words), "'{words}' is not in: {error}");
    Ok(())
}

#[tokio::test]
async fn objects_that_break_a_rule_are_rejected_by_the_api_server() -> Result<()> {
    let ns = Namespace::create("rejected").await?;
    let without_source = |source: Value| plugin_object("x", json!({"source": source}));
    rejected(&ns, &without_source(json!({})), "exactly one").await?;
    rejected(&ns, &without_source(json!({"tarball": {"url": "ftp://example.com/x.tgz"}})), "http").await?;
    rejected(&ns, &plugin_object("x", json!({"integrity": "md5-abc"})), "integrity").await?;
    rejected(&ns, &plugin_object("x", json!({"grants": {"memory": "2Gi"}})), "memory").await?;
    rejected(&ns, &plugin_object("x", json!({"grants": {"deadline": "1h"}})), "deadline").await?;
    rejected(&ns, &plugin_object("x", json!({"grants": {"http": {"allow": ["example.com"]}}})), "http").await?;
    ns.apply(&plugin_object("x", json!({"enabled": false})).to_string()).await?;
    rejected(&ns, &plugin_object("x", json!({"instanceRef": {"name": "other"}})), "cannot be changed").await?;
    ns.kubectl(&["delete", "checkstackplugin/x", "--timeout=60s"]).await?;
    ns.remove().await
}

/// Packages that must be refused, each under a reason and with words of its own.
#[tokio::test]
async fn bad_packages_are_refused_each_with_its_own_reason() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("packages").await?;
    ns.bring_up_instance(1).await?;
    let good = package("chaos")?;

    ns.install_plugin("truncated", &good[..good.len() / 2], json!({})).await?;
    ns.install_plugin("not-a-package", b"\xff\xfe is no archive", json!({})).await?;
    ns.install_plugin("traversal", &tar_with(&[("package/../../etc/passwd", b'0', "")])?, json!({})).await?;
    ns.install_plugin("link", &tar_with(&[("package/plugin.wasm", b'2', "/etc/passwd")])?, json!({})).await?;
    ns.install_plugin("no-metadata", &pack::pack(&BTreeMap::from([("README.md".to_owned(), vec![])]))?, json!({})).await?;
    let other = format!("sha256-{}", "A".repeat(43) + "=");
    ns.install_plugin("pinned", &good, json!({"integrity": other})).await?;
    ns.apply_plugin("nowhere", json!({})).await?;
    ns.apply_plugin("no-host", json!({"source": {"tarball": {"url": "http://no-such-host.invalid/x.tgz"}}})).await?;

    ns.serve_made_by("dd if=/dev/zero of=huge.tgz bs=1M count=60 2>/dev/null").await?;
    let url = |file: &str| format!("http://packages.{}.svc:8080/{file}", ns.name);
    ns.apply_plugin("oversized", json!({"source": {"tarball": {"url": url("huge.tgz")}}})).await?;
    ns.apply_plugin("absent", json!({"source": {"tarball": {"url": url("absent.tgz")}}})).await?;
    ns.apply_plugin("no-secret", json!({"source": {"tarball": {"url": url("huge.tgz"), "secretHeadersRef": {"name": "absent"}}}})).await?;

    for (name, condition, reason, words) in [
        ("truncated", "Verified", "InvalidPackage", "truncated"),
        ("not-a-package", "Verified", "InvalidPackage", ""),
        ("traversal", "Verified", "UnsafePackage", ".."),
        ("link", "Verified", "UnsafePackage", "link"),
        ("no-metadata", "Verified", "InvalidPackage", "package.json"),
        ("pinned", "Verified", "IntegrityMismatch", "sha256"),
        ("nowhere", "Resolved", "ConfigMapNotFound", "nowhere"),
        ("no-host", "Resolved", "SourceUnreachable", "no-such-host.invalid"),
        ("oversized", "Resolved", "SourceTooLarge", "50"),
        ("absent", "Resolved", "SourceNotFound", "404"),
        ("no-secret", "Resolved", "SecretNotFound", "absent"),
    ] {
        let object = format!("checkstackplugin/{name}");
        let failed = ns.await_condition(&object, condition, "False", reason, PATIENCE).await?;
        ensure!(failed.message.contains(words), "{name}: '{words}' is not in: {}", failed.message);
        ns.await_condition(&object, "Ready", "False", reason, PATIENCE).await?;
    }
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

#[tokio::test]
async fn calls_to_the_control_api_must_be_signed_and_fresh() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("signed").await?;
    ns.bring_up_instance(1).await?;
    let pod = ns.core_pod_names().await?.remove(0);

    // Through the API server's proxy no Authorization header arrives: such a call is unsigned.
    let artifact = paths::artifact(&Digest::of(b"x"));
    for (method, path) in
        [("PUT", paths::PLUGIN_SET), ("PUT", &artifact), ("POST", paths::RECONCILE), ("DELETE", "/.checkstack/plugin-data/x")]
    {
        let answer = ns.request(method, INSTANCE, path, "{}").await?;
        ensure!(answer.status == 401 && answer.json()?["error"].is_string(), "{method} {path}: {answer:?}");
    }

    // With the operator's own key, but too late, for another instance, or for another body.
    let keys = ns.get("secret/main-keys").await?;
    let pem = decode(keys["data"]["signing.pem"].as_str().context("no signing.pem")?)?;
    let key = SigningKey::from_pem(&pem)?;
    let instance = format!("{}/{INSTANCE}", ns.name);
    let forward = ns.port_forward(&pod).await?;
    let now = SystemTime::now();
    for (issued, audience, body, status, word) in [
        (now - Duration::from_secs(600), instance.as_str(), "{}", 401, "expired_token"),
        (now, "other/instance", "{}", 403, "wrong_audience"),
        (now, instance.as_str(), "{\"other\":1}", 403, "digest_mismatch"),
        (now, instance.as_str(), "{}", 422, "invalid_set"),
    ] {
        let token = token::sign(&key, audience, "PUT", paths::PLUGIN_SET, Some(&Digest::of(b"{}")), issued)?;
        let answer = forward.request("PUT", paths::PLUGIN_SET, Some(&token), body).await?;
        ensure!(answer.status == status && answer.body.contains(word), "expected {status} {word}: {answer:?}");
    }
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let secret: k8s_openapi::ByteString = serde_json::from_value(text.into())?;
    Ok(secret.0)
}

/// A gzipped tar with raw entries: path, type flag, link name.
fn tar_with(entries: &[(&str, u8, &str)]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (path, kind, link) in entries {
        let mut header = [0u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(b"00000000000");
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
    }
    archive.extend_from_slice(&[0; 1024]);
    Ok(archive)
}
