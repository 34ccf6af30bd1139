//! README.md and the guides of docs/guides, run as a reader would: each in a separate network
//! namespace, its files written, its commands typed, its long-running programs in terminals that
//! stay open. Needs root; without it a message says that the tests are skipped.
//!
//! The terminals are recorded in `target/tmp/recordings`; `scriptreplay -t NN.timing -O NN.log`
//! plays one.

mod guide;
mod reader;
mod shown;

use std::{fs, path::Path};

use reader::Known;
use tidecast_testkit::common;

/// Each guide has a test below.
const GUIDES: [&str; 3] = ["sensors", "iptv", "monitoring"];

fn follow(name: &str, programs: &[&str]) {
    if may_follow(name, programs) {
        reader::follow(&format!("docs/guides/{name}.md"), |_| Known::default());
    }
}

fn may_follow(name: &str, programs: &[&str]) -> bool {
    if !common::is_root() {
        eprintln!("SKIPPED: {name} needs root, for a network namespace");
        return false;
    }
    common::have("script") && programs.iter().all(|program| common::have(program))
}

/// What each command of the README that goes on must show.
const PROMISED: [(&str, &str); 10] = [
    ("cargo run --release -- demo", "lost packets in the protected channels"),
    ("tidecast send --file", "sending"),
    ("tidecast relay 'rtp:", "tidecast: ready"),
    ("vlc http:", "Received first picture"),
    ("tidecast send --sensor", "sending"),
    ("tidecast relay 'udp:", "tidecast: ready"),
    ("curl -N", "\"type\":\"packet\""),
    ("tidecast recv", "in all: received"),
    ("tidecast config", "tidecast: ready"),
    ("curl http", "tidecast_build_info"),
];

/// What is known about a command of the README.
fn of_readme(script: &str) -> Known {
    let promised = PROMISED.iter().find(|(command, _)| script.starts_with(command)).map(|(_, shown)| *shown);
    let left_out = match script.split_whitespace().next() {
        Some("tests/run") => Some("it runs this test"),
        Some("cargo") if !is_released() => Some("there is no release build"),
        _ => None,
    };
    Known { promised, left_out }
}

/// Whether the release is built, which `tests/run` does before the tests.
fn is_released() -> bool {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let built = target.join("release/tidecast").exists();
    let required = std::env::var_os("TIDECAST_REQUIRE_PEERS").is_some();
    assert!(built || !required, "the README runs the release: cargo build --release comes first");
    built
}

#[test]
fn the_readme() {
    if may_follow("README.md", &["cvlc", "curl"]) {
        reader::follow("README.md", of_readme);
    }
}

#[test]
fn sensors() {
    if common::have_npm("playwright-core") {
        follow("sensors", &["python3", "jq", "curl", "node", "chromium"]);
    }
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
