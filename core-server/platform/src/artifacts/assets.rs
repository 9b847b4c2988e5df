//! Files for browsers, unpacked beside the component.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use checkstack_plugin_package::Digest;

use crate::plugin::MaterialisedArtifact;

/// Below an artifact's directory.
const ASSETS: &str = "frontend";

/// The files for browsers of one artifact.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactAssets {
    directory: PathBuf,
    /// Of the artifact, and so of everything in it.
    pub(crate) digest: Digest,
}

/// Into the directory of an artifact that is being laid out. Paths are those of a package: none leads out of it.
pub(super) fn write(artifact: &Path, assets: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for (path, content) in assets {
        let place = artifact.join(ASSETS).join(path);
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create_new(place)?.write_all(content)?;
    }
    Ok(())
}

impl ArtifactAssets {
    /// Those of a materialised artifact, if it has any.
    pub(crate) async fn of(artifact: &MaterialisedArtifact) -> Option<Self> {
        let directory = artifact.directory.join(ASSETS);
        let is_there = tokio::fs::try_exists(&directory).await.unwrap_or(false);
        is_there.then_some(Self { directory, digest: artifact.digest })
    }

    /// Where the file of this path is: names joined by `/`. None for a path that is not of this form; whether the file is there
    /// has yet to be seen.
    pub(crate) fn place(&self, path: &str) -> Option<PathBuf> {
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0']);
        path.split('/').all(is_name).then(|| self.directory.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let assets = ArtifactAssets { directory: "/state/frontend".into(), digest: Digest::of(b"") };
        assert_eq!(assets.place("b/c.js"), Some("/state/frontend/b/c.js".into()));
        for path in ["", "/", "/etc/passwd", "../plugin.wasm", "b/../../plugin.wasm", "b//c", "b/", ".env", "b\\..\\c", "a\0b"] {
            assert_eq!(assets.place(path), None, "{path:?}");
        }
    }

    #[test]
    fn files_lie_in_their_folders() {
        let artifact = tempfile::tempdir().unwrap();
        write(artifact.path(), &BTreeMap::from([("a.js".to_owned(), b"a".to_vec()), ("b/c/d.css".to_owned(), b"d".to_vec())])).unwrap();
        assert_eq!(std::fs::read(artifact.path().join("frontend/b/c/d.css")).unwrap(), b"d");
        let none = tempfile::tempdir().unwrap();
        write(none.path(), &BTreeMap::new()).unwrap();
        assert!(!none.path().join("frontend").exists());
    }
}
