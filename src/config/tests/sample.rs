//! Tests that the sample configuration (deploy/tidecast.toml) is valid unchanged and with every
//! line uncommented, has exactly the keys of the reference, and states the defaults of the
//! program.

use std::collections::BTreeMap;

use super::*;
use crate::config::SAMPLE;

const DOCS: &str = include_str!("../../../docs/configuration.md");

/// The keys of the reference with their sections, and their defaults as TOML if they have one.
type Keys = BTreeMap<(String, String), Option<String>>;

/// Returns the code between backticks in a table cell.
fn code(cell: &str) -> Option<&str> {
    cell.trim().strip_prefix('`')?.split('`').next()
}

/// Returns the keys of docs/configuration.md: those of each table with a default, by the heading
/// above it.
fn documented() -> Keys {
    let mut section = None;
    let mut keys = Keys::new();
    for line in DOCS.lines() {
        if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            let name = heading.trim_matches('`').trim_matches(['[', ']']).to_owned();
            section = (heading == "Top level" || heading.starts_with("`[")).then_some(name);
        }
        let (Some(section), Some(row)) = (&section, line.strip_prefix("| ")) else { continue };
        let cells: Vec<&str> = row.split(" | ").collect();
        let Some(key) =
            code(cells[0]).filter(|key| !key.starts_with('[') && !["limits", "m3u"].contains(key))
        else {
            continue;
        };
        let section = if section == "Top level" { String::new() } else { section.clone() };
        let default = cells[2].trim();
        let written = code(default).or(Some(default).filter(|text| text.parse::<u64>().is_ok()));
        keys.insert((section, key.to_owned()), written.map(str::to_owned));
    }
    keys
}

/// Returns a setting of the sample, or the head of a section, without its `#`.
fn setting(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

/// Returns the sample's settings, each with its section.
fn settings() -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in SAMPLE.lines().filter_map(setting) {
        match line.split_once(" = ") {
            Some((key, value)) => settings.push((section.clone(), key.to_owned(), value.to_owned())),
            None => section = line.trim_matches(['[', ']']).to_owned(),
        }
    }
    settings
}

/// Returns the sample with those settings uncommented that `wanted` selects by section and key,
/// and all section heads.
fn taken_in(wanted: impl Fn(&str, &str) -> bool) -> String {
    let mut section = String::new();
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let setting = setting(line);
        let head = setting.filter(|line| line.starts_with('['));
        if let Some(head) = head {
            section = head.trim_matches(['[', ']']).to_owned();
        }
        let key = setting.and_then(|line| line.split(" = ").next()).unwrap_or_default();
        let taken = setting.filter(|_| head.is_some() || wanted(&section, key));
        text.push_str(taken.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[test]
fn as_it_stands_the_sample_changes_nothing() {
    assert_eq!(SAMPLE.parse::<Config>(), "".parse());
    let comments = |line: &str| line.is_empty() || line.starts_with('#');
    assert!(SAMPLE.lines().all(comments));
}

/// A key that is refused together with the default of another one.
const ONLY_WITH_PACED: &str = "release_delay";
/// Keys that name a file, which does not exist.
const FILES: [&str; 3] = ["sdp", "seal_keys", "playlist"];

#[test]
fn every_line_of_the_sample_is_valid() {
    let text = taken_in(|_, key| !FILES.contains(&key)).replace("release = \"asap\"", "release = \"paced\"");
    let config: Config = text.parse().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.channels.len(), 1);
    assert_eq!(config.channels[0].outputs.len(), 2);
}

#[test]
fn the_sample_has_the_keys_of_the_reference_with_their_defaults() {
    let mut missing = documented();
    assert!(missing.len() >= 26, "the reference is read: {missing:?}");
    for (section, key, value) in settings() {
        let default = missing.remove(&(section.clone(), key.clone()));
        let default = default
            .unwrap_or_else(|| panic!("[{section}] {key} is not in the reference, or twice in the sample"));
        if let Some(default) = default {
            assert_eq!(value, default, "[{section}] {key}");
        }
    }
    assert!(missing.is_empty(), "the sample lacks {:?}", missing.keys());
}

#[test]
fn the_defaults_of_the_sample_are_those_of_the_program() {
    let defaults = documented();
    let required = ["name", "input", "sha256", "jwks", "issuer", "audience"];
    let with_default = |section: &str, key: &str| {
        let has_default = defaults[&(section.to_owned(), key.to_owned())].is_some();
        required.contains(&key) || has_default && key != ONLY_WITH_PACED
    };
    let written: Config = taken_in(with_default).parse().unwrap_or_else(|errors| panic!("{errors}"));
    let silent: Config = taken_in(|_, key| required.contains(&key)).parse().unwrap();
    assert_eq!(written, silent);
    let paced = |text: String| text.replace("#release = \"asap\"", "release = \"paced\"").parse::<Config>();
    let delayed = paced(taken_in(|_, key| required.contains(&key) || key == ONLY_WITH_PACED));
    assert_eq!(delayed, paced(taken_in(|_, key| required.contains(&key))));
    assert_ne!(delayed.as_ref(), Ok(&silent));
}
