//! The allowed dependencies of each crate. Cargo keeps the crates apart; this test checks their
//! manifests against the rules of docs/architecture.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Each crate, and the crates of this workspace that it may use.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("tidecast-wire", &[]),
    ("tidecast-link", &[]),
    ("tidecast-core", &["tidecast-wire"]),
    ("tidecast-net", &["tidecast-core", "tidecast-wire"]),
    ("tidecast-producer", &["tidecast-core", "tidecast-net", "tidecast-wire"]),
    ("tidecast-testkit", &["tidecast-core", "tidecast-link", "tidecast-net", "tidecast-wire"]),
    ("tidecast", &["tidecast-core", "tidecast-link", "tidecast-net", "tidecast-producer", "tidecast-wire"]),
];

/// Crates that do I/O: none may be below `tidecast-net`.
const INPUT_OUTPUT: [&str; 9] =
    ["async-io", "axum", "hyper", "mio", "nix", "polling", "rustix", "socket2", "tokio"];

/// The crates that a sensor program compiles for `tidecast-producer`, itself included.
const PRODUCER_CRATES_MAX: usize = 40;

/// Packages and the ones that each uses in a build, by id.
struct Graph {
    names: BTreeMap<String, String>,
    uses: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read() -> Graph {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform"]);
        cargo.arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let names = list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let is_built = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
        let used = |node: &Value| {
            list(&node["deps"]).iter().filter(|dep| is_built(dep)).map(|dep| text(&dep["pkg"])).collect()
        };
        let uses =
            list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), used(&node)));
        Graph { names, uses: uses.collect() }
    }

    fn id(&self, name: &str) -> &str {
        self.names.iter().find(|(_, found)| *found == name).unwrap_or_else(|| panic!("no package {name}")).0
    }

    /// Returns all packages that are compiled for this one, including itself.
    fn built_for(&self, name: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.id(name)];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.uses[id].iter().map(String::as_str));
            }
        }
        found
    }

    fn names_built_for(&self, name: &str) -> Vec<&str> {
        self.built_for(name).into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_use_only_those_below_them() {
    let graph = Graph::read();
    for (name, may) in MAY_USE {
        let used = graph.uses[graph.id(name)].iter().map(|id| graph.names[id].as_str());
        let ours: Vec<&str> = used.filter(|name| name.starts_with("tidecast")).collect();
        assert!(ours.iter().all(|used| may.contains(used)), "{name} uses {ours:?}, allowed {may:?}");
    }
    let known = MAY_USE.map(|(name, _)| name);
    let ours = graph.names.values().filter(|name| name.starts_with("tidecast"));
    let unknown: Vec<_> = ours.filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "crates without a rule: {unknown:?}");
}

#[test]
fn nothing_below_the_sockets_does_input_or_output() {
    let graph = Graph::read();
    for name in ["tidecast-wire", "tidecast-link", "tidecast-core"] {
        let built = graph.names_built_for(name);
        let found: Vec<_> = built.iter().filter(|name| INPUT_OUTPUT.contains(name)).collect();
        assert!(found.is_empty(), "{name} is built with {found:?}");
    }
    assert!(graph.names_built_for("tidecast-net").contains(&"socket2"), "the names are those of packages");
}

/// The crates that a sensor program compiles, with these arguments.
fn crates_of_a_sensor_program(more: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "-p", "tidecast-producer", "-e", "normal,build", "--prefix", "none"]);
    cargo.args(more);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn only_a_sensor_program_that_seals_compiles_cryptography() {
    let c = |crates: &BTreeSet<String>| crates.iter().any(|name| name.starts_with("aws-lc-sys "));
    assert!(!c(&crates_of_a_sensor_program(&[])));
    assert!(c(&crates_of_a_sensor_program(&["--features", "seal"])));
}

#[test]
fn a_sensor_program_compiles_few_crates() {
    let crates = crates_of_a_sensor_program(&[]);
    assert!(crates.len() > 10 && crates.len() < PRODUCER_CRATES_MAX, "{} crates: {crates:?}", crates.len());
}
