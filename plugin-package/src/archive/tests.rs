#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;

/// An entry as any program could write it: the name goes in unchecked.
struct Raw<'a> {
    name: &'a [u8],
    kind: EntryType,
    target: &'a str,
    content: &'a [u8],
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Raw<'a> {
    Raw { name: name.as_bytes(), kind: EntryType::Regular, target: "", content }
}

fn tar_of(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..entry.name.len()].copy_from_slice(entry.name);
        header.set_entry_type(entry.kind);
        header.as_old_mut().linkname[..entry.target.len()].copy_from_slice(entry.target.as_bytes());
        header.set_size(entry.content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refused(bytes: &[u8]) -> ArchiveError {
    Archive::open(bytes).unwrap_err()
}

fn refused_entry(name: &str, kind: EntryType, target: &str) -> ArchiveError {
    refused(&gzip(&tar_of(&[file("package/a", b"a"), Raw { name: name.as_bytes(), kind, target, content: b"" }])))
}

#[test]
fn files_are_listed_and_extracted_with_and_without_gzip() {
    let tar = tar_of(&[
        Raw { name: b"package/", kind: EntryType::Directory, target: "", content: b"" },
        file("package/package.json", b"{}"),
        file("./package//dist/plugin.wasm", &[7; 5000]),
        file("package/empty", b""),
    ]);
    for bytes in [gzip(&tar), tar] {
        let archive = Archive::open(&bytes).unwrap();
        let files: Vec<_> = archive.files().iter().map(|(name, size)| (name.as_str(), *size)).collect();
        assert_eq!(files, [("package/dist/plugin.wasm", 5000), ("package/empty", 0), ("package/package.json", 2)]);
        let contents = archive.extract(|name| name != "package/empty").unwrap();
        assert_eq!(contents.len(), 2);
        assert_eq!(contents["package/dist/plugin.wasm"], [7; 5000]);
    }
}

#[test]
fn names_that_leave_the_package_are_refused() {
    for name in ["../evil", "package/../../evil", "package/..", "..\\evil", "package\\..\\evil"] {
        assert!(
            matches!(refused_entry(name, EntryType::Regular, ""), ArchiveError::PathTraversal(shown) if shown == name.escape_debug().to_string()),
            "{name}"
        );
        assert!(matches!(refused_entry(name, EntryType::Directory, ""), ArchiveError::PathTraversal(_)), "{name}");
    }
    for name in ["/etc/passwd", "\\evil", "C:/evil", "c:evil"] {
        assert!(matches!(refused_entry(name, EntryType::Regular, ""), ArchiveError::AbsolutePath(_)), "{name}");
    }
    for name in ["package/a\\b", "package/a\nb", "package/\u{7f}"] {
        assert!(matches!(refused_entry(name, EntryType::Regular, ""), ArchiveError::InvalidName(_)), "{name}");
    }
    let not_text = tar_of(&[Raw { name: b"package/\xff", kind: EntryType::Regular, target: "", content: b"" }]);
    assert!(matches!(refused(&not_text), ArchiveError::InvalidName(_)));
    // Two dots are no harm where they are part of a name.
    assert!(Archive::open(&tar_of(&[file("package/a..b", b""), file("package/...", b"")])).is_ok());
}

#[test]
fn a_long_name_is_checked_like_a_short_one() {
    for target in ["../../evil", "/evil"] {
        let name = format!("{target}/{}", "a".repeat(200));
        let long_name = format!("{name}\0").into_bytes();
        let gnu = tar_of(&[
            Raw { name: b"././@LongLink", kind: EntryType::GNULongName, target: "", content: &long_name },
            file("package/a", b""),
        ]);
        assert!(matches!(refused(&gnu), ArchiveError::PathTraversal(_) | ArchiveError::AbsolutePath(_)));
        let record = pax_record("path", &name);
        let pax = tar_of(&[Raw { name: b"pax", kind: EntryType::XHeader, target: "", content: &record }, file("package/a", b"")]);
        assert!(matches!(refused(&pax), ArchiveError::PathTraversal(_) | ArchiveError::AbsolutePath(_)));
    }
}

fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let length = (body.len()..).find(|length| length.to_string().len() + body.len() == *length).unwrap();
    format!("{length}{body}").into_bytes()
}

#[test]
fn extended_headers_are_understood_and_judged() {
    let open = |records: &[u8]| {
        Archive::open(&tar_of(&[Raw { name: b"pax", kind: EntryType::XHeader, target: "", content: records }, file("package/a", b"12")]))
            .map(|archive| archive.files().keys().cloned().collect::<Vec<_>>())
    };
    let records = [pax_record("SCHILY.xattr.note", "with\nline end"), pax_record("path", "package/β"), pax_record("size", "2")].concat();
    assert_eq!(open(&records).unwrap(), ["package/β"]);
    assert!(matches!(open(&pax_record("size", "3")), Err(ArchiveError::CorruptTar(_))));
    assert!(matches!(open(&pax_record("GNU.sparse.major", "1")), Err(ArchiveError::SpecialFile(_))));
    for malformed in ["x", "5 a=b\n", "99 a=b\n", "3 =\n4 a\n", "6 a=bc"] {
        assert!(matches!(open(malformed.as_bytes()), Err(ArchiveError::CorruptTar(_))), "{malformed}");
    }
    assert!(matches!(open(&vec![b' '; 70_000]), Err(ArchiveError::CorruptTar(_))));
}

#[test]
fn archives_of_the_tar_crate_with_long_names_are_read() {
    let mut builder = Builder::new(Vec::new());
    let name = format!("package/{}file", "directory/".repeat(30));
    let mut header = Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, &name, b"x".as_slice()).unwrap();
    let bytes = builder.into_inner().unwrap();
    assert_eq!(Archive::open(&bytes).unwrap().files().keys().collect::<Vec<_>>(), [&name]);
}

#[test]
fn links_are_refused_by_name_and_target() {
    for kind in [EntryType::Symlink, EntryType::Link] {
        assert_eq!(
            refused_entry("package/plugin.wasm", kind, "../../etc/passwd"),
            ArchiveError::Link { entry: "package/plugin.wasm".into(), target: "../../etc/passwd".into() }
        );
    }
}

#[test]
fn neither_devices_nor_other_special_files_are_accepted() {
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block, EntryType::GNUSparse, EntryType::new(b'V')] {
        assert_eq!(refused_entry("package/a2", kind, ""), ArchiveError::SpecialFile("package/a2".into()));
    }
}

#[test]
fn one_name_twice_is_refused_however_it_is_written() {
    for (first, second) in [("package/a", "package/a"), ("package/a", "./package//a")] {
        assert_eq!(refused(&tar_of(&[file(first, b"1"), file(second, b"2")])), ArchiveError::Duplicate("package/a".into()));
    }
    assert!(matches!(refused(&tar_of(&[file("package/a", b""), file("package/a/b", b"")])), ArchiveError::InvalidName(_)));
}

#[test]
fn what_is_cut_off_is_said_to_be_truncated() {
    let tar = tar_of(&[file("package/a", &[1; 3000]), file("package/b", &[2; 3000])]);
    let tgz = gzip(&tar);
    for length in 1..tgz.len() {
        let error = refused(&tgz[..length]);
        let too_short_to_know = length < 2 && error == ArchiveError::NotAnArchive;
        assert!(matches!(error, ArchiveError::Truncated(_)) || too_short_to_know, "{length}: {error}");
    }
    // Everything up to the first zero block counts, at any place.
    for length in 513..tar.len() - 1024 {
        assert!(matches!(refused(&tar[..length]), ArchiveError::Truncated(_)), "{length}");
    }
    assert!(matches!(refused(&gzip(&tar[..tar.len() - 1024])), ArchiveError::Truncated(_)));
}

#[test]
fn damage_is_found() {
    let tar = tar_of(&[file("package/a", &[1; 3000])]);
    let mut checksum = gzip(&tar);
    let position = checksum.len() - 6;
    checksum[position] ^= 1;
    assert!(matches!(refused(&checksum), ArchiveError::CorruptGzip(_)));
    let mut header = tar.clone();
    header[3] ^= 1;
    assert!(matches!(refused(&gzip(&header)), ArchiveError::CorruptTar(_)));
    assert!(matches!(refused(&[gzip(&tar), b"more".to_vec()].concat()), ArchiveError::CorruptGzip(_) | ArchiveError::Truncated(_)));
    assert_eq!(refused(&[tar, b"more".to_vec()].concat()), ArchiveError::CorruptTar("there is data after its end".into()));
}

#[test]
fn what_is_no_archive_at_all_is_said_to_be_none() {
    assert_eq!(refused(b""), ArchiveError::Empty);
    assert_eq!(refused(b"<html>404</html>"), ArchiveError::NotAnArchive);
    assert_eq!(refused("<!doctype html>".repeat(100).as_bytes()), ArchiveError::NotAnArchive);
    assert!(matches!(refused(&gzip(b"{}")), ArchiveError::Truncated(_)));
    assert!(matches!(refused(&gzip(&[b'x'; 2000])), ArchiveError::CorruptTar(_)));
}

#[test]
fn sizes_and_counts_are_bounded() {
    let error = refused(&vec![0; 51 * 1024 * 1024]);
    assert!(matches!(error, ArchiveError::TooLarge(53_477_376)) && error.to_string().contains("maximum size"), "{error}");

    let names: Vec<String> = (0..MAX_ENTRIES).map(|index| format!("package/{index}")).collect();
    let mut entries: Vec<Raw<'_>> = names.iter().map(|name| file(name, b"")).collect();
    assert_eq!(Archive::open(&gzip(&tar_of(&entries))).unwrap().files().len(), MAX_ENTRIES);
    entries.push(file("package/last", b""));
    assert_eq!(refused(&gzip(&tar_of(&entries))), ArchiveError::TooManyEntries);
    assert_eq!(bomb(MAX_UNPACKED_BYTES), ArchiveError::UnpackedTooLarge);
}

/// What is said to an archive of one file with that many zeros, compressed about a thousandfold.
fn bomb(size: u64) -> ArchiveError {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..9].copy_from_slice(b"package/a");
    header.set_size(size);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..size / zeros.len() as u64 {
        encoder.write_all(&zeros).unwrap();
    }
    refused(&encoder.finish().unwrap())
}

#[test]
fn a_size_that_nobody_has_is_no_problem() {
    for size in [u64::MAX, u64::MAX - 511, 1 << 40] {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..9].copy_from_slice(b"package/a");
        header.set_size(size);
        header.set_cksum();
        assert!(matches!(refused(header.as_bytes()), ArchiveError::Truncated(_)), "{size}");
    }
}

/// Every way through the reader, for the properties below.
fn read_everything(bytes: &[u8]) {
    if let Ok(archive) = Archive::open(bytes) {
        let contents = archive.extract(|_| true).unwrap();
        assert!(archive.files().iter().all(|(name, size)| contents[name].len() as u64 == *size));
        assert!(
            archive.files().keys().all(|name| !name.starts_with('/') && name.split('/').all(|segment| !matches!(segment, "" | "." | "..")))
        );
    }
    let _ = crate::PluginPackage::read(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), compressed in any::<bool>()) {
        read_everything(&if compressed { gzip(&bytes) } else { bytes });
    }

    #[test]
    fn changed_archives_never_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        length in any::<usize>(),
        compress_before in any::<bool>(),
    ) {
        let records = pax_record("path", "package/long");
        let tar = tar_of(&[
            Raw { name: b"pax", kind: EntryType::XHeader, target: "", content: &records },
            file("package/a", &[1; 700]),
            Raw { name: b"././@LongLink", kind: EntryType::GNULongName, target: "", content: b"package/longer\0" },
            file("package/b", b"b"),
            Raw { name: b"package/d/", kind: EntryType::Directory, target: "", content: b"" },
        ]);
        let mut bytes = if compress_before { gzip(&tar) } else { tar };
        for (position, byte) in changes {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        bytes.truncate(bytes.len() - length % 64);
        read_everything(&bytes);
        read_everything(&gzip(&bytes));
    }

    /// Checksums are put right again, so that changes get past them.
    #[test]
    fn changed_headers_never_panic(changes in proptest::collection::vec((0..512_usize, any::<u8>()), 1..8), entry in 0..3_usize) {
        let records = pax_record("path", "package/long");
        let mut tar = tar_of(&[
            Raw { name: b"pax", kind: EntryType::XHeader, target: "", content: &records },
            file("package/a", b"a"),
        ]);
        let start = (entry * 512) % (tar.len() - 1024);
        for (position, byte) in changes {
            tar[start + position] = byte;
        }
        if entry != 1 {
            let mut header = Header::from_byte_slice(&tar[start..start + 512]).clone();
            header.set_cksum();
            tar[start..start + 512].copy_from_slice(header.as_bytes());
        }
        read_everything(&tar);
    }
}
