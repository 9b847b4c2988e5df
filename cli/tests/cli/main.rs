//! The binary as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "tests of the sandbox need more")]
#[path = "../../../core-server/wasm-host/tests/sandbox/guest.rs"]
mod guest;

mod client;
mod inspect;
mod pack;
mod plugin_directory;

use std::process::{Command, Output};

use plugin_directory::PluginDirectory;

/// Runs the tool in a directory of its own.
fn checkstack(arguments: &[&str]) -> Finished {
    Finished(Command::new(env!("CARGO_BIN_EXE_checkstack")).args(arguments).output().unwrap())
}

/// What a run left.
struct Finished(Output);

impl Finished {
    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// The standard output of a run that must have succeeded without complaint.
    fn success(&self) -> String {
        assert!(self.0.status.success() && self.0.stderr.is_empty(), "{}\n{}", self.stdout(), self.stderr());
        self.stdout()
    }

    /// The lines of errors of a run that must have failed and printed nothing else.
    fn errors(&self) -> Vec<String> {
        assert_eq!((self.0.status.code(), self.stdout()), (Some(1), String::new()), "{}", self.stderr());
        self.stderr().lines().map(|line| line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
    }
}

#[test]
fn help_names_the_commands() {
    let help = checkstack(&["plugin", "--help"]).success();
    assert!(help.contains("pack") && help.contains("inspect"), "{help}");
    assert_eq!(checkstack(&[]).0.status.code(), Some(2), "without a command it is used wrongly");
    assert_eq!(checkstack(&["plugin", "unpack"]).0.status.code(), Some(2));
    assert_eq!(checkstack(&["--version"]).success(), format!("checkstack {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(unix)]
#[test]
fn as_a_plugin_of_kubectl_it_says_how_it_was_called() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("kubectl-checkstack");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_checkstack"), &link).unwrap();
    let help = Finished(Command::new(link).args(["plugin", "pack", "--help"]).output().unwrap()).success();
    assert!(help.contains("Usage: kubectl checkstack plugin pack [OPTIONS] [DIRECTORY]"), "{help}");
}

#[test]
fn a_packed_plugin_can_be_inspected() {
    let plugin = PluginDirectory::new();
    checkstack(&["plugin", "pack", plugin.path()]).success();
    let shown = checkstack(&["plugin", "inspect", &plugin.package_path()]).success();
    assert!(shown.starts_with("Package       @acme/widget-backend 1.2.3\n"), "{shown}");
}
