//! The systemd unit under systemd's own checks. `package.rs` tests that it runs.

use std::{fs, process::Command};

use crate::{common::have, file, said};

/// Maximum exposure level that `systemd-analyze security` may report; 10 is a process without any
/// restrictions.
const EXPOSURE_MAX: f64 = 1.7;

/// Writes the unit with the built program in place of the installed one.
fn unit(folder: &tempfile::TempDir) -> String {
    let text = fs::read_to_string(file("deploy/tidecast.service")).unwrap();
    let installed = "ExecStart=/usr/bin/tidecast ";
    assert!(text.contains(installed), "{text}");
    let path = folder.path().join("tidecast.service");
    fs::write(&path, text.replace(installed, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_tidecast"))))
        .unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !have("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(&folder);
    // The manual page is part of the package, not of this folder.
    assert_eq!(said(Command::new("systemd-analyze").args(["verify", "--man=no", &unit])), "");
    let wrong = fs::read_to_string(&unit).unwrap().replace("WatchdogSec=", "WatchdogSeconds=");
    fs::write(&unit, wrong).unwrap();
    let complaint = said(Command::new("systemd-analyze").args(["verify", "--man=no", &unit]));
    assert!(complaint.contains("WatchdogSeconds"), "a wrong unit is found: {complaint}");
}

#[test]
fn the_sandbox_is_tight() {
    if !have("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let table = said(Command::new("systemd-analyze").args([
        "security",
        "--offline=true",
        "--no-pager",
        &unit(&folder),
    ]));
    let level = table.lines().find_map(|line| line.split("Overall exposure level for ").nth(1));
    let level = level.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<f64>().ok());
    let level = level.unwrap_or_else(|| panic!("no level in {table}"));
    assert!(level <= EXPOSURE_MAX, "{table}");
}
