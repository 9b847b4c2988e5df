//! Secrets of Kubernetes that the instance's spec names: one directory for each, in their order, with a file for each key.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use checkstack_platform::secrets::{Secret, SecretRevision};
use checkstack_settings::reference::SecretName;
use checkstack_settings::secret::SecretString;
use tracing::warn;
use zeroize::Zeroizing;

use crate::keeper::MAX_VALUE_BYTES;

/// Revisions of what is stored are below.
const FIRST_REVISION: u64 = 1 << 63;
/// Files that are looked at; Secrets have a few keys.
const MAX_FILES: usize = 1_000;

/// What is mounted.
pub(crate) struct Mounted {
    directory: PathBuf,
    known: BTreeMap<SecretName, Secret>,
    next_revision: u64,
    /// What has been complained of.
    told: Vec<String>,
}

impl Mounted {
    /// `directory` need not exist.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, known: BTreeMap::new(), next_revision: FIRST_REVISION, told: Vec::new() }
    }

    /// As it was when it was looked at last.
    pub(crate) fn known(&self) -> &BTreeMap<SecretName, Secret> {
        &self.known
    }

    /// Looks at the files again. The kubelet exchanges those of a changed Secret.
    pub(crate) async fn look(&mut self) -> std::io::Result<()> {
        let directory = self.directory.clone();
        let Files { values, unusable } = tokio::task::spawn_blocking(move || read(&directory)).await.map_err(std::io::Error::other)??;
        if self.told != unusable {
            for problem in &unusable {
                warn!(problem, "a key of a mounted Secret is no secret that a plugin can refer to");
            }
            self.told = unusable;
        }
        self.take(values);
        Ok(())
    }

    fn take(&mut self, values: BTreeMap<SecretName, SecretString>) {
        let mut known = std::mem::take(&mut self.known);
        for (name, value) in values {
            let secret = match known.remove(&name) {
                Some(before) if before.value == value => before,
                _ => {
                    self.next_revision += 1;
                    Secret { value, revision: SecretRevision(self.next_revision) }
                }
            };
            self.known.insert(name, secret);
        }
    }
}

#[derive(Default)]
struct Files {
    values: BTreeMap<SecretName, SecretString>,
    unusable: Vec<String>,
}

fn read(directory: &Path) -> std::io::Result<Files> {
    let mut files = Files::default();
    let mut paths = Vec::new();
    for secret in sorted(directory)? {
        paths.extend(sorted(&secret)?);
    }
    for path in paths.into_iter().take(MAX_FILES) {
        let key = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(name) = key.parse::<SecretName>() else {
            files.unusable.push(format!("'{key}': a name has only the characters a-z, A-Z, 0-9, _ and -"));
            continue;
        };
        if files.values.contains_key(&name) {
            files.unusable.push(format!("'{key}' is in a Secret that is named before, which counts"));
            continue;
        }
        match text(&path)? {
            Ok(value) => _ = files.values.insert(name, value),
            Err(problem) => files.unusable.push(format!("'{key}' {problem}")),
        }
    }
    Ok(files)
}

/// What the kubelet keeps for itself begins with two dots.
fn sorted(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(problem),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("..") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> std::io::Result<Result<SecretString, &'static str>> {
    let mut content = Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut content)?;
    Ok(match std::str::from_utf8(&content) {
        _ if content.len() > MAX_VALUE_BYTES => Err("is larger than 64 KiB"),
        Ok("") => Err("is empty"),
        Ok(text) => Ok(text.into()),
        Err(_) => Err("is no text in UTF-8"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_secrets_and_another_content_is_another_revision() {
        let directory = tempfile::tempdir().unwrap();
        let mut mounted = Mounted::new(directory.path().join("none"));
        mounted.look().await.unwrap();
        assert!(mounted.known().is_empty());

        let write = |path: &str, content: &[u8]| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("00/smtp", b"first");
        write("00/..data/smtp", b"the kubelet's own");
        write("00/tls.crt", b"no name");
        write("00/empty", b"");
        write("00/binary", &[0xff]);
        write("00/large", &vec![b'x'; MAX_VALUE_BYTES + 1]);
        write("01/smtp", b"second");
        write("01/api", b"key");
        let mut mounted = Mounted::new(directory.path().into());
        mounted.look().await.unwrap();
        let shown: Vec<(&str, &str)> = mounted.known().iter().map(|(name, secret)| (name.as_str(), secret.value.reveal())).collect();
        assert_eq!(shown, [("api", "key"), ("smtp", "first")]);
        assert_eq!(mounted.told.len(), 5, "{:?}", mounted.told);

        let revision = |mounted: &Mounted, name: &str| mounted.known()[&name.parse::<SecretName>().unwrap()].revision;
        let before = (revision(&mounted, "api"), revision(&mounted, "smtp"));
        write("00/smtp", b"changed");
        mounted.look().await.unwrap();
        assert_eq!(revision(&mounted, "api"), before.0);
        assert_ne!(revision(&mounted, "smtp"), before.1);
        std::fs::remove_file(directory.path().join("01/api")).unwrap();
        mounted.look().await.unwrap();
        assert_eq!(mounted.known().len(), 1);
    }
}
