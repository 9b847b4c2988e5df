//! Writes what is generated from the types: the CustomResourceDefinitions and the reference pages.
//!
//! `crdgen` writes the files, `crdgen --check` says which differ from what it would write and then
//! fails. `--root` names the root of the project, else it is the current directory.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checkstack_crds::generated::{GeneratedFile, generate};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("crdgen: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut check = false;
    let mut root = PathBuf::from(".");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--root" => root = arguments.next().ok_or("--root needs a directory")?.into(),
            other => return Err(format!("unknown argument '{other}'; usage: crdgen [--check] [--root DIRECTORY]")),
        }
    }
    if !root.join("crds/Cargo.toml").is_file() {
        return Err(format!("'{}' is not the root of the project: run crdgen there, or name it with --root", root.display()));
    }
    let files = generate().map_err(|error| error.to_string())?;
    let mut current = true;
    for file in files {
        let GeneratedFile { path, content } = &file;
        let up_to_date = std::fs::read_to_string(root.join(path)).is_ok_and(|written| written == *content);
        match (up_to_date, check) {
            (true, _) => {}
            (false, true) => {
                current = false;
                eprintln!("{path} differs from the types: run crdgen");
            }
            (false, false) => {
                write(&root.join(path), content)?;
                println!("wrote {path}");
            }
        }
    }
    Ok(current)
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}
