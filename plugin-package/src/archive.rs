//! Reading a `.tgz`: strictly, and with bounds on everything that a hostile one could blow up.
//!
//! [`Archive::open`] walks the whole archive once and keeps only names and sizes; [`Archive::extract`]
//! walks it again for the contents that are wanted. So the memory needed is that of the wanted
//! files, not of everything that a small archive may unpack to.

mod tar_stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use tar_stream::{EntryKind, TarStream};

/// Largest archive, as it is sent and stored.
pub const MAX_COMPRESSED_BYTES: usize = 50 * 1024 * 1024;
/// Most that an archive may unpack to, everything counted.
pub const MAX_UNPACKED_BYTES: u64 = 256 * 1024 * 1024;
/// Most entries in an archive.
pub const MAX_ENTRIES: usize = 10_000;

/// What the names of an npm package's files begin with.
pub const PACKAGE_PREFIX: &str = "package/";

/// An archive that was walked from end to end and found to be in order.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    files: BTreeMap<String, u64>,
}

/// Why an archive is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Over [`MAX_COMPRESSED_BYTES`].
    #[error("the archive has {0} bytes; the maximum size is {MAX_COMPRESSED_BYTES} bytes (50 MiB)")]
    TooLarge(usize),
    /// Over [`MAX_UNPACKED_BYTES`].
    #[error("the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes (256 MiB)")]
    UnpackedTooLarge,
    /// Over [`MAX_ENTRIES`].
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// Nothing at all.
    #[error("the archive is empty")]
    Empty,
    /// Something else altogether.
    #[error("the file is neither gzip nor tar: it is no package archive, but perhaps an error page that was served in its place")]
    NotAnArchive,
    /// It ends too early.
    #[error("the archive is truncated: it ends in the middle of {0}; fetch or build it again")]
    Truncated(&'static str),
    /// The compressed stream is damaged.
    #[error("the archive is not intact gzip: {0}")]
    CorruptGzip(String),
    /// The tar inside is damaged, or it never was one.
    #[error("the archive is not a tar archive: {0}")]
    CorruptTar(String),
    /// A name with `..`.
    #[error("the archive has the entry '{0}', whose path leads out of the package ('..')")]
    PathTraversal(String),
    /// A name that begins with `/` or a drive.
    #[error("the archive has the entry '{0}' with an absolute path")]
    AbsolutePath(String),
    /// A name that is not a plain path: not UTF-8, with a backslash or a control character.
    #[error("the archive has the entry '{0}', whose name is not a plain relative path")]
    InvalidName(String),
    /// A symbolic or hard link.
    #[error("the archive has the link '{entry}' to '{target}'; links are not allowed in a package")]
    Link {
        /// Its name.
        entry: String,
        /// What it points to.
        target: String,
    },
    /// A device, a pipe, a sparse file …
    #[error("the archive has the entry '{0}', which is neither a file nor a directory")]
    SpecialFile(String),
    /// Two entries of one name.
    #[error("the archive has the entry '{0}' twice")]
    Duplicate(String),
}

impl<'a> Archive<'a> {
    /// Walks `bytes`, a `.tgz` or an uncompressed tar.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        if bytes.is_empty() {
            return Err(ArchiveError::Empty);
        }
        if bytes.len() > MAX_COMPRESSED_BYTES {
            return Err(ArchiveError::TooLarge(bytes.len()));
        }
        let mut files = BTreeMap::new();
        walk(bytes, |name, size, _| match files.insert(name.to_owned(), size) {
            Some(_) => Err(ArchiveError::Duplicate(shown(name))),
            None => Ok(()),
        })?;
        if let Some(name) = file_used_as_directory(&files) {
            return Err(ArchiveError::InvalidName(shown(name)));
        }
        Ok(Self { bytes, files })
    }

    /// The files in it with their sizes, by name: `package/package.json`.
    pub fn files(&self) -> &BTreeMap<String, u64> {
        &self.files
    }

    /// The contents of the files whose names `wanted` picks. The caller looks at their sizes first.
    pub fn extract(&self, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
        let mut contents = BTreeMap::new();
        walk(self.bytes, |name, size, content| {
            if wanted(name) {
                let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| ArchiveError::UnpackedTooLarge)?);
                content.append_to(&mut bytes)?;
                contents.insert(name.to_owned(), bytes);
            }
            Ok(())
        })?;
        Ok(contents)
    }
}

type Content<'c, 'a> = tar_stream::Content<'c, Decompressed<'a>>;

/// Calls `visit` with name, size and content of every regular file, and reads to the very end, so
/// that checksums at the end of the stream are verified.
fn walk(bytes: &[u8], mut visit: impl FnMut(&str, u64, Content<'_, '_>) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
    let mut stream = TarStream::new(Decompressed::new(bytes));
    let mut entries = 0;
    loop {
        let header = match stream.next_entry() {
            Err(ArchiveError::CorruptTar(_) | ArchiveError::Truncated(_)) if !stream.began_well() && !is_gzip(bytes) => {
                return Err(ArchiveError::NotAnArchive);
            }
            result => result?,
        };
        let Some(header) = header else { break };
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(ArchiveError::TooManyEntries);
        }
        let name = checked_name(&header.name)?;
        match header.kind {
            EntryKind::File => visit(&name, header.size, stream.content())?,
            EntryKind::Directory => {}
            EntryKind::Link(target) => {
                return Err(ArchiveError::Link { entry: shown(&name), target: shown(&String::from_utf8_lossy(&target)) });
            }
            EntryKind::Special => return Err(ArchiveError::SpecialFile(shown(&name))),
        }
    }
    stream.finish()
}

/// The bytes of the tar, counted.
struct Decompressed<'a> {
    source: Source<'a>,
    remaining: u64,
}

enum Source<'a> {
    Gzip(MultiGzDecoder<&'a [u8]>),
    Plain(&'a [u8]),
}

impl<'a> Decompressed<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let source = match is_gzip(bytes) {
            true => Source::Gzip(MultiGzDecoder::new(bytes)),
            false => Source::Plain(bytes),
        };
        Self { source, remaining: MAX_UNPACKED_BYTES }
    }
}

impl tar_stream::Source for Decompressed<'_> {
    /// 0 only at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let result = match &mut self.source {
            Source::Gzip(decoder) => decoder.read(buffer),
            Source::Plain(bytes) => bytes.read(buffer),
        };
        let read = result.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => ArchiveError::Truncated("the compressed stream"),
            _ => ArchiveError::CorruptGzip(error.to_string()),
        })?;
        self.remaining = self.remaining.checked_sub(read as u64).ok_or(ArchiveError::UnpackedTooLarge)?;
        Ok(read)
    }
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The name as a plain relative path.
fn checked_name(raw: &[u8]) -> Result<String, ArchiveError> {
    let lossy = || shown(&String::from_utf8_lossy(raw));
    let name = std::str::from_utf8(raw).map_err(|_| ArchiveError::InvalidName(lossy()))?;
    let has_drive = name.as_bytes().get(1) == Some(&b':') && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if name.starts_with(['/', '\\']) || has_drive {
        return Err(ArchiveError::AbsolutePath(lossy()));
    }
    if name.split(['/', '\\']).any(|segment| segment == "..") {
        return Err(ArchiveError::PathTraversal(lossy()));
    }
    if name.contains(|character: char| character == '\\' || character.is_control()) {
        return Err(ArchiveError::InvalidName(lossy()));
    }
    // `./package//x/` and `package/x` are the same file to every unpacker: so they are here.
    let segments: Vec<&str> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    Ok(segments.join("/"))
}

/// A file whose name is also the directory of another.
fn file_used_as_directory(files: &BTreeMap<String, u64>) -> Option<&str> {
    files
        .keys()
        .map(String::as_str)
        .find(|name| name.match_indices('/').any(|(slash, _)| name.get(..slash).is_some_and(|directory| files.contains_key(directory))))
}

/// A foreign name in a message: short, on one line.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}
