//! Maps compiled code from disk. The only unsafe code of this crate.

#![allow(unsafe_code, reason = "wasmtime trusts compiled code; this module makes sure that it can")]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::authentication::{CodeMac, TAG_BYTES, Tag};

/// Why a file with compiled code is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableCode {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is too short to be compiled code")]
    Truncated,
    #[error("it was not written by this server, or for another artifact, engine or processor, or it is damaged")]
    NotAuthentic,
    #[error("the engine refuses it: {0}")]
    Refused(String),
}

/// Loads the code in `path`, whose last bytes are the tag that `mac` must agree with.
pub(crate) fn load(engine: &Engine, path: &Path, mac: CodeMac) -> Result<Component, UnusableCode> {
    let mut file = File::open(path)?;
    verify(&mut file, mac)?;
    // SAFETY: `deserialize_file` requires that the file holds what this engine's
    // `Component::serialize` gave, and that it does not change while it is mapped.
    // - Its bytes carry a MAC under a key that only this server has, and the server tags nothing but
    //   what `Component::serialize` of an engine with the same compatibility hash returned. The MAC
    //   was verified just now over the whole file.
    // - What is mapped is the file that was verified, even if another was renamed over it since: it
    //   is reopened through its descriptor.
    // - The server never writes to such a file in place, it renames a new one over it, and removes
    //   the write permission. Directory and file belong to the server's own user.
    unsafe { Component::deserialize_file(engine, reopened(&file, path)) }.map_err(|error| UnusableCode::Refused(format!("{error:#}")))
}

#[cfg(target_os = "linux")]
fn reopened(file: &File, _path: &Path) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(not(target_os = "linux"))]
fn reopened(_file: &File, path: &Path) -> std::path::PathBuf {
    path.to_owned()
}

fn verify(file: &mut File, mut mac: CodeMac) -> Result<(), UnusableCode> {
    let length = file.metadata()?.len();
    let mut remaining = length.checked_sub(TAG_BYTES as u64).filter(|code| *code > 0).ok_or(UnusableCode::Truncated)?;
    let mut chunk = vec![0; 256 * 1024];
    while remaining > 0 {
        let wanted = usize::try_from(remaining).unwrap_or(usize::MAX).min(chunk.len());
        let part = chunk.get_mut(..wanted).ok_or(UnusableCode::Truncated)?;
        file.read_exact(part)?;
        mac.update(part);
        remaining -= wanted as u64;
    }
    let mut tag: Tag = [0; TAG_BYTES];
    file.read_exact(&mut tag)?;
    if mac.agrees_with(&tag) { Ok(()) } else { Err(UnusableCode::NotAuthentic) }
}
