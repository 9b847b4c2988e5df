//! Prints `docs/reference/metrics.md`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

fn main() {
    print!("{}", checkstack_platform::metrics_reference());
}
