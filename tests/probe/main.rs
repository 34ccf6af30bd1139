//! `tidecast probe` as a user runs it: on capture files, on groups of `lo`, and with a test of its
//! suggestions.

mod captures;
mod explains;
mod groups;
mod suggestion;

use std::process::Output;

use serde_json::Value;
use tidecast_testkit::common;

use common::tidecast;

/// Runs `probe ARGS --json` to its end. Returns the report.
fn probed(args: &[&str]) -> Value {
    let output = probe(&[args, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {}\n{stderr}", output.status);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}\n{stderr}"))
}

fn probe(args: &[&str]) -> Output {
    tidecast([&["probe"], args].concat()).output().expect("tidecast")
}

fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}
