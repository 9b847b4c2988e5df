//! Making a `.tgz`: the same bytes for the same files, on every machine and at any time.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use crate::archive::{MAX_COMPRESSED_BYTES, PACKAGE_PREFIX};

/// Why files cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive would be refused.
    #[error("the package has {0} bytes; the maximum size is {MAX_COMPRESSED_BYTES} bytes (50 MiB)")]
    TooLarge(usize),
    /// A name cannot be expressed in a tar header.
    #[error("the file '{name}' cannot be packed: {reason}")]
    Name {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
    /// Compression failed.
    #[error("the package cannot be compressed: {0}")]
    Compression(std::io::Error),
}

/// Packs `files`, given by their paths within the package.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackError> {
    // Neither a time nor a host system: they would make each build a different artifact.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    archive.mode(tar::HeaderMode::Deterministic);
    for (name, content) in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive
            .append_data(&mut header, format!("{PACKAGE_PREFIX}{name}"), content.as_slice())
            .map_err(|error| PackError::Name { name: name.clone(), reason: error.to_string() })?;
    }
    let mut gzip = archive.into_inner().map_err(PackError::Compression)?;
    gzip.flush().map_err(PackError::Compression)?;
    let bytes = gzip.finish().map_err(PackError::Compression)?;
    match bytes.len() > MAX_COMPRESSED_BYTES {
        true => Err(PackError::TooLarge(bytes.len())),
        false => Ok(bytes),
    }
}

/// The file name of a package (platform facts §3.15): `acme-widget-backend-1.2.3.tgz`.
pub fn file_name(package: &str, version: &str) -> String {
    format!("{}-{version}.tgz", package.trim_start_matches('@').replace('/', "-"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::archive::Archive;
    use crate::{Digest, PluginPackage, fixtures};

    #[test]
    fn what_is_packed_can_be_read() {
        let mut files = fixtures::files();
        let long = format!("assets/{}.txt", "directory/".repeat(25));
        files.insert(long.clone(), b"far away".to_vec());
        let packed = pack(&files).unwrap();
        let unpacked = Archive::open(&packed).unwrap().extract(|_| true).unwrap();
        let expected: BTreeMap<String, Vec<u8>> = files.into_iter().map(|(name, content)| (format!("package/{name}"), content)).collect();
        assert_eq!(unpacked.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_eq!(unpacked, expected);
        assert_eq!(PluginPackage::read(&packed).unwrap().plugin_id.as_str(), "widget");
    }

    /// The digest is written down: the same files give the same artifact on every machine. It may
    /// change only with the compression library.
    #[test]
    fn the_same_files_give_the_same_bytes() {
        let files = BTreeMap::from([("b".to_owned(), b"2".to_vec()), ("a/c".to_owned(), b"1".to_vec())]);
        let packed = pack(&files).unwrap();
        assert_eq!(packed, pack(&files).unwrap());
        assert_eq!(packed.get(4..8), Some(&[0; 4][..]), "no time");
        assert_eq!(packed.get(9), Some(&255), "no host system");
        assert_eq!(Digest::of(&packed).to_string(), "sha256:839d8ccd70e190e90f98c6f3199f455c7b360933e35c7bc24cf3299e08b6c2a7");
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        for name in ["../a", "a/../../b"] {
            let files = BTreeMap::from([(name.to_owned(), Vec::new())]);
            assert!(matches!(pack(&files), Err(PackError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn file_names_follow_npm() {
        assert_eq!(file_name("@acme/widget-backend", "1.2.3"), "acme-widget-backend-1.2.3.tgz");
        assert_eq!(file_name("widget", "1.2.3-rc.1"), "widget-1.2.3-rc.1.tgz");
    }
}
