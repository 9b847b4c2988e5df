//! Every bad input gets its own clear error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use checkstack_control_api::{SigningKey, paths, token};
use checkstack_e2e::instance::{INSTANCE, PATIENCE, plugin_object};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, with_metadata};
use checkstack_plugin_package::{Digest, Integrity, pack};
use serde_json::{Value, json};

use crate::shared_operator;

/// The API server refuses it: gives what it says about it, which has all of these words.
async fn rejected(ns: &Namespace, object: &Value, words: &[&str]) -> Result<String> {
    let error = match ns.apply(&object.to_string()).await {
        Ok(_) => anyhow::bail!("accepted: {object}"),
        Err(error) => error.to_string(),
    };
    for words in words {
        ensure!(error.contains(words), "'{words}' is not in: {error}");
    }
    Ok(error)
}

#[tokio::test]
async fn objects_that_break_a_rule_are_rejected_by_the_api_server_each_with_its_own_words() -> Result<()> {
    let ns = Namespace::create("rejected").await?;
    let url = "https://example.com/x.tgz";
    let config_map = json!({"name": "x", "key": "package.tgz"});
    let tarball = |tarball: Value| json!({"source": {"tarball": tarball}});
    let mut errors = BTreeSet::new();
    for (spec, field, words) in [
        (json!({"source": {}}), "spec.source", "exactly one source is needed: set source.tarball"),
        (tarball(json!({"url": url, "configMapRef": config_map})), "spec.source.tarball", "set exactly one of url and configMapRef"),
        (
            tarball(json!({"url": "ftp://example.com/x.tgz"})),
            "spec.source.tarball.url",
            "must be an absolute URL that begins with http:// or https://",
        ),
        (
            tarball(json!({"url": "https://me:secret@example.com/x.tgz"})),
            "spec.source.tarball.url",
            "must not hold a user or password: put an Authorization header into a Secret and name it in secretHeadersRef",
        ),
        (
            tarball(json!({"configMapRef": config_map, "secretHeadersRef": {"name": "x"}})),
            "spec.source.tarball",
            "secretHeadersRef is for requests to url: set url, or remove secretHeadersRef",
        ),
        (json!({"integrity": "md5-abc"}), "spec.integrity", "must be sha256-, sha384- or sha512- followed by the digest in base64"),
        (json!({"grants": {"memory": "2Gi"}}), "spec.grants.memory", "must be a whole number with Ki, Mi or Gi, from 1Mi to 1Gi"),
        (json!({"grants": {"deadline": "1h"}}), "spec.grants.deadline", "must be a whole number with ms or s, from 100ms to 30s"),
        (
            json!({"grants": {"http": {"allow": ["example.com"]}}}),
            "spec.grants.http.allow[0]",
            "must be scheme://host or scheme://host:port",
        ),
        (
            json!({"grants": {"http": {"allowCidrs": ["10.0.0.7"]}}}),
            "spec.grants.http.allowCidrs[0]",
            "must be an address range like 10.0.0.0/8",
        ),
        (
            json!({"configFrom": [{"secretRef": {"name": "x"}, "as": "y"}]}),
            "spec.configFrom[0]",
            "as names the field for one key of the Secret",
        ),
        (json!({"enabeld": true}), "spec.enabeld", "field not declared in schema"),
    ] {
        errors.insert(rejected(&ns, &plugin_object("x", spec), &[field, words]).await?);
        ensure!(ns.get("checkstackplugin/x").await.is_err(), "'{words}', and there it is");
    }
    ns.apply(&plugin_object("x", json!({"enabled": false})).to_string()).await?;
    let moved = plugin_object("x", json!({"instanceRef": {"name": "other"}}));
    errors.insert(rejected(&ns, &moved, &["spec.instanceRef", "instanceRef cannot be changed: delete this plugin"]).await?);
    assert_eq!(errors.len(), 13, "some of them cannot be told apart: {errors:#?}");
    assert_eq!(ns.get("checkstackplugin/x").await?["spec"]["instanceRef"]["name"], INSTANCE);
    ns.kubectl(&["delete", "checkstackplugin/x", "--timeout=60s"]).await?;
    ns.remove().await
}

/// Whether the operator tries a bad source again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The status says that it works on it.
    TriesAgain,
    /// The status says that nothing happens until somebody changes something.
    Waits,
}

/// What is said about a bad package: condition, reason, what is wrong, what to do.
struct Refusal<'a>(&'a str, &'a str, &'a str, &'a str, Then);

/// Packages that must be refused, each under a reason and with words of its own.
#[tokio::test]
async fn bad_packages_are_refused_each_with_its_own_reason() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("packages").await?;
    ns.bring_up_instance(1).await?;
    let good = package("chaos")?;
    let other = Integrity::of(b"another package").to_string();
    let url = |file: &str| format!("http://packages.{}.svc:8080/{file}", ns.name);

    ns.install_plugin("empty", b"", json!({})).await?;
    ns.install_plugin("truncated", &good[..good.len() / 2], json!({})).await?;
    ns.install_plugin("not-a-package", b"\xff\xfe is no archive", json!({})).await?;
    ns.install_plugin("traversal", &tar_with(&[("package/../../etc/passwd", b'0', "")])?, json!({})).await?;
    ns.install_plugin("link", &tar_with(&[("package/plugin.wasm", b'2', "/etc/passwd")])?, json!({})).await?;
    ns.install_plugin("no-metadata", &pack::pack(&BTreeMap::from([("README.md".to_owned(), vec![])]))?, json!({})).await?;
    let without_component = with_metadata(&good, |metadata| metadata["checkstack"]["wasm"] = "dist/missing.wasm".into())?;
    ns.install_plugin("no-component", &without_component, json!({})).await?;
    ns.install_plugin("pinned", &good, json!({"integrity": other})).await?;
    ns.apply_plugin("nowhere", json!({})).await?;
    let elsewhere = json!({"name": "truncated", "key": "other.tgz"});
    ns.apply_plugin("no-key", json!({"source": {"tarball": {"configMapRef": elsewhere}}})).await?;
    ns.apply_plugin("no-host", json!({"source": {"tarball": {"url": "http://no-such-host.invalid/x.tgz"}}})).await?;

    ns.serve_made_by("dd if=/dev/zero of=huge.tgz bs=1M count=60 2>/dev/null").await?;
    ns.apply_plugin("oversized", json!({"source": {"tarball": {"url": url("huge.tgz")}}})).await?;
    ns.apply_plugin("absent", json!({"source": {"tarball": {"url": url("absent.tgz")}}})).await?;
    ns.apply_plugin("no-secret", json!({"source": {"tarball": {"url": url("huge.tgz"), "secretHeadersRef": {"name": "absent"}}}})).await?;

    let (pack_it, mismatch) = ("build the package with: checkstack plugin pack", Integrity::of(&good).to_string());
    let mut messages = BTreeMap::new();
    for (name, Refusal(condition, reason, wrong, remedy, then)) in [
        ("empty", Refusal("Verified", "InvalidPackage", "the archive is empty", pack_it, Then::Waits)),
        ("truncated", Refusal("Verified", "InvalidPackage", "the archive is truncated", "fetch or build it again", Then::Waits)),
        ("not-a-package", Refusal("Verified", "InvalidPackage", "the file is neither gzip nor tar", pack_it, Then::Waits)),
        (
            "traversal",
            Refusal(
                "Verified",
                "UnsafePackage",
                "the entry 'package/../../etc/passwd', whose path leads out of the package ('..')",
                "distrust where it came from",
                Then::Waits,
            ),
        ),
        (
            "link",
            Refusal(
                "Verified",
                "UnsafePackage",
                "the link 'package/plugin.wasm' to '/etc/passwd'; links are not allowed",
                "distrust where it came from",
                Then::Waits,
            ),
        ),
        ("no-metadata", Refusal("Verified", "InvalidPackage", "the archive has no package/package.json", pack_it, Then::Waits)),
        ("no-component", Refusal("Verified", "InvalidPackage", "the package has no file 'dist/missing.wasm'", pack_it, Then::Waits)),
        // The message has the value that spec.integrity would need.
        ("pinned", Refusal("Verified", "IntegrityMismatch", &mismatch, "correct spec.integrity if you trust the new content", Then::Waits)),
        ("nowhere", Refusal("Resolved", "ConfigMapNotFound", "ConfigMap 'nowhere' does not exist", "create it", Then::TriesAgain)),
        ("no-key", Refusal("Resolved", "ConfigMapNotFound", "ConfigMap 'truncated' has no key 'other.tgz'", "add it", Then::TriesAgain)),
        (
            "no-host",
            Refusal(
                "Resolved",
                "SourceUnreachable",
                "http://no-such-host.invalid/x.tgz cannot be reached: its name cannot be resolved",
                "check the URL and the network",
                Then::TriesAgain,
            ),
        ),
        ("oversized", Refusal("Resolved", "SourceTooLarge", "larger than the limit of 50 MiB", "make it smaller", Then::Waits)),
        ("absent", Refusal("Resolved", "SourceNotFound", "absent.tgz does not exist (HTTP 404)", "check the URL", Then::TriesAgain)),
        ("no-secret", Refusal("Resolved", "SecretNotFound", "Secret 'absent' does not exist", "create it", Then::TriesAgain)),
    ] {
        let object = format!("checkstackplugin/{name}");
        let failed = ns.await_condition(&object, condition, "False", reason, PATIENCE).await?;
        for words in [wrong, remedy] {
            ensure!(failed.message.contains(words), "{name}: '{words}' is not in: {}", failed.message);
        }
        let summary = ns.await_condition(&object, "Ready", "False", reason, PATIENCE).await?;
        assert_eq!(summary.message, failed.message, "{name}");
        let (holds, other) = if then == Then::Waits { ("Stalled", "Reconciling") } else { ("Reconciling", "Stalled") };
        ns.await_condition(&object, holds, "True", reason, PATIENCE).await?;
        ensure!(ns.condition(&object, other).await.is_err(), "{name} is {other} too");
        let description = ns.kubectl(&["describe", &object]).await?;
        ensure!(description.contains(&failed.message), "{name}: {description}");
        if let Some(before) = messages.insert(failed.message.clone(), name) {
            anyhow::bail!("{before} and {name} cannot be told apart: {}", failed.message);
        }
    }
    assert_eq!(messages.len(), 14);
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
        ensure!(answer.status == 401 && answer.json()?["error"] == "unauthenticated", "{method} {path}: {answer:?}");
    }

    // With the operator's own key, but too late, for another instance or call, or for another body; or with another key.
    let keys = ns.get("secret/main-keys").await?;
    let pem = decode(keys["data"]["signing.pem"].as_str().context("no signing.pem")?)?;
    let key = SigningKey::from_pem(&pem)?;
    let instance = format!("{}/{INSTANCE}", ns.name);
    let forward = ns.port_forward(&pod).await?;
    let now = SystemTime::now();
    let stranger = SigningKey::generate()?;
    for (key, issued, audience, path, body, status, word) in [
        (&key, now - Duration::from_secs(600), instance.as_str(), paths::PLUGIN_SET, "{}", 401, "expired_token"),
        (&key, now + Duration::from_secs(600), instance.as_str(), paths::PLUGIN_SET, "{}", 401, "token_not_yet_valid"),
        (&stranger, now, instance.as_str(), paths::PLUGIN_SET, "{}", 401, "unknown_key"),
        (&key, now, "other/instance", paths::PLUGIN_SET, "{}", 403, "wrong_audience"),
        (&key, now, instance.as_str(), artifact.as_str(), "{}", 403, "wrong_request"),
        (&key, now, instance.as_str(), paths::PLUGIN_SET, "{\"other\":1}", 403, "digest_mismatch"),
        (&key, now, instance.as_str(), paths::PLUGIN_SET, "{}", 422, "invalid_set"),
    ] {
        let token = token::sign(key, audience, "PUT", path, Some(&Digest::of(b"{}")), issued)?;
        let answer = forward.request("PUT", paths::PLUGIN_SET, Some(&token), body).await?;
        ensure!(answer.status == status && answer.json()?["error"] == word, "expected {status} {word}: {answer:?}");
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
