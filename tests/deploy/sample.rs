//! The program prints the sample configuration (deploy/tidecast.toml), and accepts it.

use std::fs;

use crate::{common::tidecast, file, said};

#[test]
fn the_program_prints_the_sample() {
    let sample = fs::read_to_string(file("deploy/tidecast.toml")).unwrap();
    assert_eq!(said(tidecast(["config", "--sample"]).env_remove("TIDECAST_LOG")), sample);
    let output = tidecast(["config"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--sample"), "{said}");
}

#[test]
fn the_program_takes_the_sample() {
    let sample = file("deploy/tidecast.toml");
    assert!(said(&mut tidecast(["check", "-c", sample.to_str().unwrap()])).contains(": ok"));
}
