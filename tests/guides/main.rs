//! The guides of docs/guides, run as a reader would: each in a separate network namespace, its
//! files written, its commands typed, its long-running programs in terminals that stay open. Needs
//! root; without it a message says that the tests are skipped.

mod guide;
mod reader;
mod shown;

use std::{fs, path::Path};

use tidecast_testkit::common;

/// Each guide has a test below.
const GUIDES: [&str; 3] = ["sensors", "iptv", "monitoring"];

fn follow(name: &str, programs: &[&str]) {
    if !common::is_root() {
        eprintln!("SKIPPED: the guide {name} needs root, for a network namespace");
        return;
    }
    if programs.iter().all(|program| common::have(program)) {
        reader::follow(&format!("docs/guides/{name}.md"));
    }
}

#[test]
fn sensors() {
    follow("sensors", &["python3", "jq", "curl", "chromium"]);
}

#[test]
fn iptv() {
    follow("iptv", &["ffmpeg", "ffprobe", "jq", "curl"]);
}

#[test]
fn monitoring() {
    follow("monitoring", &["prometheus", "promtool", "jq", "curl"]);
}

#[test]
fn every_guide_is_followed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides");
    let entries = fs::read_dir(folder).expect("docs/guides").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut tested = GUIDES;
    tested.sort_unstable();
    assert_eq!(found, tested);
}
