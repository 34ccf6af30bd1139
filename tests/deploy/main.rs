//! Tests of running tidecast as a service: the files of deploy/, and the program's output for
//! packagers.

mod about;
mod compose;
mod dashboard;
mod package;
mod rules;
mod sample;
mod sysctl;
mod unit;
mod watchdog;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tidecast_testkit::common;

/// Returns the path of a file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the output of a command, which must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = both(&output);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// Returns standard output and standard error.
fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}
