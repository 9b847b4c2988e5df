//! A tar archive as a stream of entries.
//!
//! The crate `tar` reads headers; the walk from header to header is here, because it must tell a
//! complete archive from a truncated one, must not hold more of a hostile one in memory than a few
//! blocks, and must refuse what only some readers understand.

use tar::{EntryType, Header};

use super::ArchiveError;

const BLOCK: usize = 512;
/// Largest extended header. A long path with some extended attributes needs a few KiB.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;

/// Where a tar comes from.
pub(super) trait Source {
    /// Reads some bytes; 0 only at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError>;
}

/// A reader of entries.
pub(super) struct TarStream<S> {
    source: S,
    /// Bytes of the current entry that were not read yet, and of the padding after it.
    content_left: u64,
    padding_left: u64,
    began_well: bool,
}

/// An entry, its content not read yet.
pub(super) struct Entry {
    /// As it is in the archive.
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) kind: EntryKind,
}

/// What an entry is.
pub(super) enum EntryKind {
    File,
    Directory,
    Link(Vec<u8>),
    Special,
}

/// The content of the current entry.
pub(super) struct Content<'s, S> {
    stream: &'s mut TarStream<S>,
}

/// What extension entries say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link_target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<S: Source> Content<'_, S> {
    /// Reads all of it.
    pub(super) fn append_to(self, target: &mut Vec<u8>) -> Result<(), ArchiveError> {
        let mut block = [0; 16 * BLOCK];
        while self.stream.content_left > 0 {
            let read = self.stream.read_content(&mut block)?;
            target.extend_from_slice(block.get(..read).unwrap_or_default());
        }
        Ok(())
    }
}

impl<S: Source> TarStream<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, content_left: 0, padding_left: 0, began_well: false }
    }

    /// The next entry, or none where the archive ends as it should.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_entry()?;
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| corrupt("the size in a header is no number"))?;
            match header.entry_type() {
                EntryType::XHeader => extensions.add_pax(&self.extension(size)?)?,
                EntryType::GNULongName => extensions.name = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link_target = Some(until_nul(self.extension(size)?)),
                // Comments on the whole archive: git writes the commit into one.
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                entry_type => return Ok(Some(self.entry(&header, entry_type, size, extensions)?)),
            }
        }
    }

    /// Whether the first block was one that a tar begins with.
    pub(super) fn began_well(&self) -> bool {
        self.began_well
    }

    /// The content of the entry that `next_entry` returned last.
    pub(super) fn content(&mut self) -> Content<'_, S> {
        Content { stream: self }
    }

    /// Reads what follows the end of the archive: nothing but zeros.
    pub(super) fn finish(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; 16 * BLOCK];
        loop {
            let read = self.source.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            if block.iter().take(read).any(|byte| *byte != 0) {
                return Err(corrupt("there is data after its end"));
            }
        }
    }

    fn entry(&mut self, header: &Header, entry_type: EntryType, size: u64, extensions: Extensions) -> Result<Entry, ArchiveError> {
        let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
        // A size that only some readers see would make them see other entries than others do.
        if extensions.size.is_some_and(|extended| extended != size) {
            return Err(corrupt(format!("two sizes are given for '{}'", shown(&name))));
        }
        let kind = match entry_type {
            _ if extensions.sparse => EntryKind::Special,
            // The oldest tar has no type for directories; a slash at the end makes one.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink | EntryType::Link => EntryKind::Link(
                extensions.link_target.or_else(|| header.link_name_bytes().map(|target| target.into_owned())).unwrap_or_default(),
            ),
            _ => EntryKind::Special,
        };
        if matches!(kind, EntryKind::Directory) && size > 0 {
            return Err(corrupt(format!("the directory '{}' has content", shown(&name))));
        }
        self.expect_content(size);
        Ok(Entry { name, size, kind })
    }

    /// The next header; none at the zero block that ends an archive.
    fn next_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block, "the list of entries")?;
        if block.iter().all(|byte| *byte == 0) {
            self.began_well = true;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let stored = header.cksum().map_err(|_| corrupt("the checksum of a header is no number"))?;
        // The checksum is taken with its own eight bytes as spaces.
        let computed =
            block.iter().enumerate().map(|(index, byte)| if (148..156).contains(&index) { 32 } else { u32::from(*byte) }).sum::<u32>();
        if stored != computed {
            return Err(corrupt("the checksum of a header is wrong"));
        }
        self.began_well = true;
        Ok(Some(header))
    }

    /// The content of an extension entry.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(corrupt(format!("an extended header has {size} bytes; {MAX_EXTENSION_BYTES} are allowed")));
        }
        self.expect_content(size);
        let mut content = Vec::new();
        self.content().append_to(&mut content)?;
        Ok(content)
    }

    fn expect_content(&mut self, size: u64) {
        let block = BLOCK as u64;
        self.content_left = size;
        self.padding_left = (block - size % block) % block;
    }

    fn skip_entry(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; 16 * BLOCK];
        while self.content_left > 0 {
            self.read_content(&mut block)?;
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding_left)).unwrap_or_default();
        match block.get_mut(..padding) {
            Some(padding) => self.fill(padding, "an entry"),
            None => Ok(()),
        }
    }

    fn read_content(&mut self, block: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = usize::try_from(self.content_left).unwrap_or(usize::MAX).min(block.len());
        let read = self.source.read(block.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(ArchiveError::Truncated("an entry"));
        }
        self.content_left = self.content_left.saturating_sub(read as u64);
        Ok(read)
    }

    fn fill(&mut self, mut buffer: &mut [u8], what: &'static str) -> Result<(), ArchiveError> {
        while !buffer.is_empty() {
            let read = self.source.read(buffer)?;
            if read == 0 {
                return Err(ArchiveError::Truncated(what));
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Extensions {
    /// Records of the form `<length> <key>=<value>\n`. The crate `tar` splits them at line ends,
    /// which extended attributes may contain.
    fn add_pax(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or_else(|| corrupt("an extended header is malformed"))?;
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link_target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                    self.size = Some(size.ok_or_else(|| corrupt("the size in an extended header is no number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }
}

/// The first record's key and value, and the records after it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
}

fn shown(name: &[u8]) -> String {
    super::shown(&String::from_utf8_lossy(name))
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

fn corrupt(problem: impl Into<String>) -> ArchiveError {
    ArchiveError::CorruptTar(problem.into())
}
