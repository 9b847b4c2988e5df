//! Deleting unpacked artifacts.
//!
//! Whatever has an artifact's name is whole: it gets that name last and loses it first. So a server
//! that is killed in the middle leaves nothing that looks like an artifact and is none, only
//! directories with other names, which the next one deletes. A node that goes down may leave anything:
//! nothing here waits for the disk. What is there from before it came up again is deleted.

use std::io;
use std::path::Path;

use tracing::{debug, warn};
use uuid::Uuid;

/// What directories are called that are not complete yet.
pub(super) const UNPACKING: &str = ".unpacking-";
/// What directories are called that may have been deleted in part.
const DELETING: &str = ".deleting-";

/// Where the running kernel says which of its runs this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Deletes what cannot be trusted to be whole: what a server left behind that was killed, and everything
/// if the node has been down since. At the start only: what is being unpacked looks the same.
pub(super) fn clean(directory: &Path) {
    clean_in(directory, std::fs::read_to_string(BOOT_ID).ok());
}

fn clean_in(directory: &Path, boot: Option<String>) {
    let marker = directory.with_extension("boot");
    if boot.is_some() && std::fs::read_to_string(&marker).ok() == boot {
        let left_behind = |name: &str| name.starts_with(UNPACKING) || name.starts_with(DELETING);
        return delete_all(directory, left_behind, remove);
    }
    delete_all(directory, |_| true, remove);
    let marked =
        directory.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&marker, boot.unwrap_or_default()));
    if let Err(error) = marked {
        debug!(path = %marker.display(), %error, "artifacts will be unpacked again by the next server here");
    }
}

/// Deletes what is not wanted any more.
pub(super) fn sweep(directory: &Path, wanted: impl Fn(&str) -> bool) {
    delete_all(directory, |name| !name.starts_with(UNPACKING) && !wanted(name), remove);
}

/// One that cannot be deleted does not keep the others from it; it is tried again the next time.
fn delete_all(directory: &Path, is_waste: impl Fn(&str) -> bool, remove: impl Fn(&Path) -> io::Result<()>) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return warn!(directory = %directory.display(), %error, "unpacked artifacts cannot be listed"),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_waste(&name) {
            continue;
        }
        if let Err(error) = delete(directory, &name, &entry.path(), &remove) {
            warn!(path = %entry.path().display(), %error, "an unpacked artifact that is no longer used could not be deleted");
        }
    }
}

/// Deletes one artifact, of which mapped code may still be running.
pub(super) fn discard(artifact: &Path) -> io::Result<()> {
    match (artifact.parent(), artifact.file_name()) {
        (Some(directory), Some(name)) => delete(directory, &name.to_string_lossy(), artifact, remove),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no artifact")),
    }
}

fn delete(directory: &Path, name: &str, path: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if name.starts_with(DELETING) {
        return remove(path);
    }
    // An earlier one of the same name may still be there.
    let renamed = directory.join(format!("{DELETING}{name}-{}", Uuid::new_v4()));
    std::fs::rename(path, &renamed)?;
    remove(&renamed)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path)?.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn directory(artifacts: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in artifacts {
            std::fs::create_dir(directory.path().join(name)).unwrap();
            for file in ["package.json", "plugin.wasm"] {
                std::fs::write(directory.path().join(name).join(file), name).unwrap();
            }
        }
        directory
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_wanted_or_being_unpacked_stays() {
        let directory = directory(&["new", "old", ".unpacking-x", ".deleting-y"]);
        std::fs::write(directory.path().join("stray"), "a file").unwrap();
        sweep(directory.path(), |name| name == "new");
        assert_eq!(names(directory.path()), [".unpacking-x", "new"]);
    }

    #[test]
    fn the_next_server_deletes_what_was_left_behind() {
        let state = directory(&[]);
        let artifacts = state.path().join("artifacts");
        let clean = |boot: Option<&str>| clean_in(&artifacts, boot.map(str::to_owned));
        let unpack = |name: &str| std::fs::create_dir_all(artifacts.join(name)).unwrap();
        clean(Some("boot 1"));
        for name in ["new", "old", ".unpacking-x", ".deleting-y"] {
            unpack(name);
        }
        clean(Some("boot 1"));
        assert_eq!(names(&artifacts), ["new", "old"]);

        // The node was down.
        clean(Some("boot 2"));
        assert!(names(&artifacts).is_empty());
        unpack("new");
        clean(Some("boot 2"));
        assert_eq!(names(&artifacts), ["new"]);
        // Nobody knows.
        for _ in 0..2 {
            unpack("new");
            clean(None);
            assert!(names(&artifacts).is_empty());
        }
    }

    #[test]
    fn what_is_deleted_in_part_does_not_look_like_an_artifact_and_ends_nothing() {
        let directory = directory(&["one", "other", "new"]);
        let calls = Cell::new(0);
        let broken_off = |path: &Path| {
            calls.set(calls.get() + 1);
            std::fs::remove_file(path.join("plugin.wasm"))?;
            Err(io::Error::other("killed"))
        };
        delete_all(directory.path(), |name| name != "new", broken_off);
        assert_eq!(calls.get(), 2, "the first failure is not the last attempt");
        let left = names(directory.path());
        assert!(left.len() == 3 && left.iter().all(|name| name == "new" || name.starts_with(DELETING)), "{left:?}");
        // Unpacked again and deleted again, with the rest of the first time still there.
        std::fs::create_dir(directory.path().join("one")).unwrap();
        sweep(directory.path(), |name| name == "new");
        assert_eq!(names(directory.path()), ["new"]);
    }
}
