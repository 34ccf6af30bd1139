//! The compose file and the files that it mounts.

use std::{fs, process::Command};

use crate::{
    common::{Running, have},
    file, said,
};

const COMPOSE: &str = "deploy/compose.yml";

#[test]
fn compose_reads_its_file() {
    if !have("docker-compose") {
        return;
    }
    let config = said(Command::new("docker-compose").arg("-f").arg(file(COMPOSE)).arg("config"));
    for service in ["tidecast:", "prometheus:", "grafana:"] {
        assert!(config.contains(service), "{config}");
    }
    assert_eq!(config.matches("network_mode: host").count(), 3, "{config}");
    for limit in ["mem_limit: ", "pids_limit: 512", "healthcheck:"] {
        assert!(config.contains(limit), "{config}");
    }
}

/// Runs the health check of the compose file, which must follow the relay's state.
#[test]
fn the_health_check_tells_a_relay_that_runs_from_one_that_does_not() {
    let compose = fs::read_to_string(file(COMPOSE)).unwrap();
    let line = compose.lines().find_map(|line| line.trim().strip_prefix("test: ")).unwrap();
    let words: Vec<String> = serde_json::from_str(line).unwrap();
    assert_eq!(words[0], "CMD");
    let mut relay = Running::tidecast(["serve", "--http", "127.0.0.1:0"]);
    let http = relay.http().to_string();
    let port = http.rsplit(':').next().unwrap();
    let healthy = || {
        let words: Vec<String> =
            words.iter().map(|word| word.replace("/8080", &format!("/{port}"))).collect();
        Command::new(&words[1]).args(&words[2..]).output().unwrap().status.success()
    };
    assert!(healthy(), "{words:?}");
    relay.signal("STOP");
    let script = words[3].replace("/8080", &format!("/{port}"));
    let mut stopped = Command::new("timeout");
    stopped.args(["2", &words[1], &words[2], &script]);
    assert!(!stopped.output().unwrap().status.success(), "it does not answer");
    relay.signal("CONT");
    relay.stop();
    assert!(!healthy(), "nobody listens");
}

#[test]
fn what_is_mounted_copied_and_provisioned_exists() {
    let compose = fs::read_to_string(file(COMPOSE)).unwrap();
    let mounts: Vec<&str> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next()).collect();
    assert_eq!(mounts.len(), 5, "{mounts:?}");
    for mount in mounts {
        assert!(file("deploy").join(mount).exists(), "{mount}");
    }
    let containerfile = fs::read_to_string(file("deploy/Containerfile")).unwrap();
    let copies = containerfile.lines().filter_map(|line| line.strip_prefix("COPY deploy/"));
    for source in copies.filter_map(|rest| rest.split(' ').next()) {
        assert!(file("deploy").join(source).exists(), "{source}");
    }
    let provider = fs::read_to_string(file("deploy/grafana/provisioning/dashboards/tidecast.yml")).unwrap();
    let folder = provider.lines().find_map(|line| line.trim().strip_prefix("path: ")).unwrap();
    assert!(compose.contains(&format!("./grafana/tidecast.json:{folder}/tidecast.json:ro")), "{folder}");
    let source = fs::read_to_string(file("deploy/grafana/provisioning/datasources/prometheus.yml")).unwrap();
    assert!(
        source.contains("url: http://127.0.0.1:9090")
            && compose.contains("--web.listen-address=127.0.0.1:9090")
    );
}

#[test]
fn the_image_is_built_by_the_compiler_that_the_program_asks_for() {
    let manifest = fs::read_to_string(file("Cargo.toml")).unwrap();
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    let containerfile = fs::read_to_string(file("deploy/Containerfile")).unwrap();
    assert!(containerfile.contains(&format!("FROM rust:{version}-slim-bookworm AS build")), "{version}");
}
