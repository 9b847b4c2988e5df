//! The files of a directory, read once into memory: a request names an entry of a table and never a path on the disk.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use checkstack_plugin_package::Digest;

use super::file_types::{cache_control, content_type};
use super::representation::{Coded, Representation};

/// Folders within each other.
const MAX_DEPTH: usize = 16;
/// Codings of a file that stand beside it: name of the coding, end of the name; best first.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// How much a directory may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Files, folders included.
    pub(super) entries: usize,
    /// Of all files together.
    pub(super) bytes: u64,
}

/// Why a directory is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableDirectory {
    /// It cannot be read.
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// Too many files.
    #[error("it has more than {0} files and folders")]
    TooManyEntries(usize),
    /// Too many bytes.
    #[error("its files have more than {0} bytes altogether")]
    TooLarge(u64),
    /// Folders in folders.
    #[error("{} is more than {MAX_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
}

/// By path below the directory, with `/` between names.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, Representation>);

impl Files {
    /// Reads them. What begins with a dot is left out, and so is what a link leads to outside of the directory. Blocks.
    pub(super) fn read(directory: &Path, limits: Limits) -> Result<Self, UnusableDirectory> {
        let root = std::fs::canonicalize(directory).map_err(|error| UnusableDirectory::Unreadable(directory.to_owned(), error))?;
        let mut walk = Walk { root: &root, limits, entries: 0, bytes: 0, found: BTreeMap::new() };
        walk.folder(&root, "", 0)?;
        Ok(Self(with_codings(walk.found)))
    }

    /// The file of this path.
    pub(super) fn get(&self, path: &str) -> Option<&Representation> {
        self.0.get(path)
    }
}

struct Walk<'a> {
    root: &'a Path,
    limits: Limits,
    entries: usize,
    bytes: u64,
    found: BTreeMap<String, Bytes>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), UnusableDirectory> {
        let unreadable = |error| UnusableDirectory::Unreadable(folder.to_owned(), error);
        if depth > MAX_DEPTH {
            return Err(UnusableDirectory::TooDeep(folder.to_owned()));
        }
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(UnusableDirectory::TooManyEntries(self.limits.entries));
            }
            let Some(name) = entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(str::to_owned) else { continue };
            // Where it really is: a mounted ConfigMap consists of links. One that leads nowhere is not served.
            let Some(place) = std::fs::canonicalize(entry.path()).ok().filter(|place| place.starts_with(self.root)) else { continue };
            let path = format!("{prefix}{name}");
            if place.is_dir() {
                self.folder(&place, &format!("{path}/"), depth + 1)?;
            } else if place.is_file() {
                let content = self.file(&place)?;
                self.found.insert(path, content);
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &Path) -> Result<Bytes, UnusableDirectory> {
        let left = self.limits.bytes - self.bytes;
        let mut content = Vec::new();
        // It may grow while it is read.
        let read = std::fs::File::open(place).and_then(|file| file.take(left + 1).read_to_end(&mut content));
        read.map_err(|error| UnusableDirectory::Unreadable(place.to_owned(), error))?;
        if content.len() as u64 > left {
            return Err(UnusableDirectory::TooLarge(self.limits.bytes));
        }
        self.bytes += content.len() as u64;
        Ok(content.into())
    }
}

/// A file's codings go with it, and have no path of their own.
fn with_codings(mut found: BTreeMap<String, Bytes>) -> BTreeMap<String, Representation> {
    let plain = |path: &str| CODINGS.iter().find_map(|(_, end)| path.strip_suffix(end)).map(str::to_owned);
    let coded: Vec<String> = found.keys().filter(|path| plain(path).is_some_and(|plain| found.contains_key(&plain))).cloned().collect();
    let mut beside: BTreeMap<String, Bytes> = coded.into_iter().filter_map(|path| found.remove_entry(&path)).collect();
    let representation = |(path, content): (String, Bytes)| {
        let coding = |(coding, end): &(&'static str, &str)| Some(Coded { coding, content: beside.remove(&format!("{path}{end}"))? });
        let representation = Representation {
            coded: CODINGS.iter().filter_map(coding).collect(),
            content_type: content_type(&path),
            cache_control: cache_control(&path),
            tag: tag(&content),
            content,
        };
        (path, representation)
    };
    found.into_iter().map(representation).collect()
}

/// Of a content: 128 bits of its SHA-256.
pub(super) fn tag(content: &[u8]) -> String {
    Digest::of(content).hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMITS: Limits = Limits { entries: 20, bytes: 100 };

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let place = directory.path().join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, content).unwrap();
        }
        directory
    }

    fn paths(directory: &tempfile::TempDir) -> Vec<String> {
        Files::read(directory.path(), LIMITS).unwrap().0.into_keys().collect()
    }

    #[test]
    fn all_files_are_there_by_path_and_hidden_ones_are_not() {
        let directory = directory(&[("index.html", "<html>"), ("assets/a.js", "a"), (".env", "secret"), (".git/config", "secret")]);
        assert_eq!(paths(&directory), ["assets/a.js", "index.html"]);
    }

    #[test]
    fn links_are_followed_within_the_directory_only() {
        let outside = directory(&[("secret.txt", "secret"), ("folder/secret.txt", "secret")]);
        let directory = directory(&[("..data/index.html", "<html>"), ("assets/a.js", "a")]);
        let root = directory.path();
        symlink("..data/index.html", root.join("index.html")).unwrap();
        symlink(root.join("assets"), root.join("vendor")).unwrap();
        symlink(outside.path().join("secret.txt"), root.join("secret.txt")).unwrap();
        symlink(outside.path().join("folder"), root.join("folder")).unwrap();
        symlink("/nowhere/at/all", root.join("broken.txt")).unwrap();
        assert_eq!(paths(&directory), ["assets/a.js", "index.html", "vendor/a.js"]);
    }

    #[test]
    fn a_link_into_itself_ends() {
        let directory = directory(&[("a.js", "a")]);
        symlink(directory.path(), directory.path().join("again")).unwrap();
        let limits = Limits { entries: 1000, bytes: 1000 };
        assert!(matches!(Files::read(directory.path(), limits), Err(UnusableDirectory::TooDeep(_))));
    }

    #[test]
    fn a_directory_has_limits() {
        let large = directory(&[("a", &"x".repeat(60)), ("b", &"x".repeat(41))]);
        assert!(matches!(Files::read(large.path(), LIMITS), Err(UnusableDirectory::TooLarge(100))));
        let full = directory(&[("a", &"x".repeat(60)), ("b", &"x".repeat(40))]);
        assert_eq!(paths(&full), ["a", "b"]);
        let names: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        let many = directory(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
        assert!(matches!(Files::read(many.path(), LIMITS), Err(UnusableDirectory::TooManyEntries(20))));
        assert!(matches!(Files::read(Path::new("/nowhere"), LIMITS), Err(UnusableDirectory::Unreadable(..))));
    }

    #[test]
    fn codings_go_with_their_file() {
        let directory =
            directory(&[("a.js", "a"), ("a.js.br", "b"), ("a.js.gz", "g"), ("other.gz", "o"), ("c.css", "c"), ("c.css.gz", "g")]);
        let files = Files::read(directory.path(), LIMITS).unwrap();
        let codings = |path: &str| files.get(path).map(|file| file.coded.iter().map(|coded| coded.coding).collect::<Vec<_>>());
        assert_eq!((codings("a.js"), codings("c.css")), (Some(vec!["br", "gzip"]), Some(vec!["gzip"])));
        assert_eq!((codings("other.gz"), codings("a.js.br")), (Some(vec![]), None));
    }
}
