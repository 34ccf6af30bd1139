//! The alerts: promtool runs their own tests, each alert has a case there that fails without it,
//! and each states what to do.

use std::{collections::BTreeSet, fs, process::Command};

use crate::{both, common::have, file, said};

const RULES: &str = "deploy/tidecast-rules.yml";
const TESTS: &str = "deploy/tidecast-rules-test.yml";

/// Returns the rules' text, split by alert.
fn alerts(rules: &str) -> Vec<&str> {
    rules.split("      - alert: ").skip(1).map(|alert| alert.split("\n  - name:").next().unwrap()).collect()
}

fn name(alert: &str) -> &str {
    alert.lines().next().unwrap()
}

/// Returns the names of metrics in a text.
pub(crate) fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let metric = |word: &&str| word.starts_with("tidecast_");
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    text.split(word).filter(metric).map(base).collect()
}

/// Fails unless each metric in the text is in the reference.
pub(crate) fn are_documented(text: &str) {
    let reference = fs::read_to_string(file("docs/metrics.md")).unwrap();
    for metric in metrics(text) {
        assert!(reference.contains(&format!("| `{metric}` |")), "{metric} is no metric of tidecast");
    }
}

#[test]
fn promtool_passes_configuration_rules_and_their_tests() {
    if !have("promtool") {
        return;
    }
    let run = |words: &[&str], path: &str| said(Command::new("promtool").args(words).arg(file(path)));
    assert!(run(&["check", "config"], "deploy/prometheus.yml").contains("SUCCESS"));
    assert!(run(&["check", "rules", "--lint=all", "--lint-fatal"], RULES).contains("SUCCESS"));
    assert!(run(&["test", "rules"], TESTS).contains("SUCCESS"));
}

#[test]
fn the_tests_of_the_rules_miss_every_alert_that_never_or_always_speaks() {
    if !have("promtool") {
        return;
    }
    let rules = fs::read_to_string(file(RULES)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(file(TESTS), folder.path().join("tidecast-rules-test.yml")).unwrap();
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 15);
    for alert in alerts {
        let end = alert.find("\n        labels:").unwrap();
        for expression in
            ["vector(0) > 1", "tidecast_flows or tidecast_numbers_expected_total or up or vector(1)"]
        {
            let other = format!("{}\n        expr: {expression}{}", name(alert), &alert[end..]);
            fs::write(folder.path().join("tidecast-rules.yml"), rules.replace(alert, &other)).unwrap();
            let mut promtool = Command::new("promtool");
            promtool.args(["test", "rules", "tidecast-rules-test.yml"]).current_dir(folder.path());
            let output = promtool.output().unwrap();
            let said = both(&output);
            assert!(
                !output.status.success() && said.contains("FAILED"),
                "{} as {expression}: {said}",
                name(alert)
            );
        }
    }
}

#[test]
fn every_alert_says_what_happened_and_what_to_do() {
    let rules = fs::read_to_string(file(RULES)).unwrap();
    for alert in alerts(&rules) {
        let name = name(alert);
        assert!(name.starts_with("Tidecast"), "{name}");
        for part in ["\n          summary: \"", "\n          action: >-\n", "labels: { severity: "] {
            assert!(alert.contains(part), "{name} has no {part:?}");
        }
    }
    are_documented(&rules);
}
