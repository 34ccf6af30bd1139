//! Tells the program which commit it is built from, and when that was made; nothing where it is not
//! built from a clone.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["log", "-1", "--format= (%h, %cs)"]).unwrap_or_default();
    println!("cargo::rustc-env=TIDECAST_VERSION={}{commit}", env!("CARGO_PKG_VERSION"));
}

/// What git says, without the line's end.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
