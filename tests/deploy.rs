//! The files of deploy/ that this program reads itself.

use std::process::Command;

#[test]
fn the_sample_configuration_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tidecast.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_tidecast")).args(["check", "-c", file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
