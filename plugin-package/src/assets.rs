//! Files for browsers: the folder `checkstack.frontend` of a package.

use std::collections::BTreeMap;

use crate::archive::{Archive, ArchiveError, PACKAGE_PREFIX};

/// Most files.
pub const MAX_ASSETS: usize = 1_000;
/// Most that they have together.
pub const MAX_ASSETS_BYTES: u64 = 16 * 1024 * 1024;

/// Why the files of a package cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssets {
    /// See there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The folder is not there, or nothing is in it.
    #[error("the package has no files in '{0}', which checkstack.frontend in its package.json names")]
    Missing(String),
    /// Over [`MAX_ASSETS`].
    #[error("'{0}' has {1} files; {MAX_ASSETS} are allowed")]
    TooMany(String, usize),
    /// Over [`MAX_ASSETS_BYTES`].
    #[error("the files in '{0}' have {1} bytes; {MAX_ASSETS_BYTES} (16 MiB) are allowed")]
    TooLarge(String, u64),
}

/// The files below `directory`, by path. Hidden ones are left out.
pub(crate) fn read(archive: &Archive<'_>, directory: &str) -> Result<BTreeMap<String, Vec<u8>>, InvalidAssets> {
    let prefix = format!("{PACKAGE_PREFIX}{directory}/");
    let is_asset = |name: &str| name.strip_prefix(&prefix).is_some_and(|path| !is_hidden(path));
    let sizes: Vec<u64> = archive.files().iter().filter(|(name, _)| is_asset(name)).map(|(_, size)| *size).collect();
    check(directory, sizes.len(), sizes.iter().sum())?;
    let files = archive.extract(is_asset)?;
    Ok(files.into_iter().filter_map(|(name, content)| Some((name.strip_prefix(&prefix)?.to_owned(), content))).collect())
}

/// Whether so many files of so many bytes are within the limits.
///
/// # Errors
/// When they are not, or when there are none.
pub fn check(directory: &str, files: usize, bytes: u64) -> Result<(), InvalidAssets> {
    match (files, bytes) {
        (0, _) => Err(InvalidAssets::Missing(directory.to_owned())),
        (files, _) if files > MAX_ASSETS => Err(InvalidAssets::TooMany(directory.to_owned(), files)),
        (_, bytes) if bytes > MAX_ASSETS_BYTES => Err(InvalidAssets::TooLarge(directory.to_owned(), bytes)),
        _ => Ok(()),
    }
}

/// Whether a part of the path begins with a dot.
#[must_use]
pub fn is_hidden(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{files, metadata};
    use crate::pack::pack;
    use crate::{PackageError, PluginPackage};

    fn assets(directory: &str, assets: &[(&str, Vec<u8>)]) -> Result<Vec<String>, PackageError> {
        let (mut files, mut metadata) = (files(), metadata());
        metadata["checkstack"]["frontend"] = json!(directory);
        files.insert("package.json".into(), metadata.to_string().into_bytes());
        files.extend(assets.iter().map(|(path, content)| ((*path).to_owned(), content.clone())));
        let package = PluginPackage::read(&pack(&files).unwrap())?;
        Ok(package.assets.into_keys().collect())
    }

    #[test]
    fn the_folder_that_the_metadata_name_is_for_browsers_and_nothing_else() {
        let some = [("ui/a.js", vec![b'a']), ("ui/b/c.css", vec![]), ("ui/.env", vec![]), ("ui/.git/config", vec![]), ("uix/a.js", vec![])];
        assert_eq!(assets("./ui/", &some), Ok(vec!["a.js".to_owned(), "b/c.css".to_owned()]));
        assert!(PluginPackage::read(&pack(&files()).unwrap()).unwrap().assets.is_empty());
        assert_eq!(assets("ui", &[]), Err(InvalidAssets::Missing("ui".into()).into()));
        for outside in ["../ui", "/ui", "ui/../..", "ui\\x"] {
            assert!(matches!(assets(outside, &[]), Err(PackageError::Metadata(_))), "{outside}");
        }
    }

    #[test]
    fn there_are_limits_on_number_and_size() {
        let many: Vec<String> = (0..=MAX_ASSETS).map(|number| format!("ui/{number}.js")).collect();
        let many: Vec<(&str, Vec<u8>)> = many.iter().map(|name| (name.as_str(), vec![])).collect();
        assert_eq!(assets("ui", &many), Err(InvalidAssets::TooMany("ui".into(), MAX_ASSETS + 1).into()));
        assert_eq!(assets("ui", &many[1..]).map(|names| names.len()), Ok(MAX_ASSETS));
        let large = [("ui/a", vec![0; 16 * 1024 * 1024]), ("ui/b", vec![0])];
        assert_eq!(assets("ui", &large), Err(InvalidAssets::TooLarge("ui".into(), MAX_ASSETS_BYTES + 1).into()));
    }
}
