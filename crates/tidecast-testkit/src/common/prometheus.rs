//! Runs a real Prometheus server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Running, free_port, get, until};

/// A Prometheus server of one test, with its data in a temporary folder.
pub struct Prometheus {
    running: Running,
    http: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes the relays every second.
    pub fn start(targets: &[SocketAddr]) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = folder.path().join("prometheus.yml");
        let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let targets = targets.join(", ");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: tidecast\n    static_configs:\n      - targets: [{targets}]\n"
        );
        fs::write(&config, text).expect("write");
        let mut prometheus = Command::new("prometheus");
        prometheus.arg(format!("--config.file={}", config.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        prometheus.args([&format!("--web.listen-address={http}"), "--log.level=warn"]);
        prometheus.stdout(Stdio::null());
        let running = Running::start(prometheus);
        until("Prometheus", || {
            TcpStream::connect(http).ok()?;
            (get(http, "/-/ready").0 == 200).then_some(())
        });
        Prometheus { running, http, _folder: folder }
    }

    /// Returns the series of an expression, as Prometheus's API writes them.
    pub fn query(&self, expression: &str) -> Vec<serde_json::Value> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let (status, _, body) = get(self.http, &format!("/api/v1/query?query={query}"));
        assert_eq!(status, 200, "{expression}: {body}\n{}", self.running.stderr());
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        answer["data"]["result"].as_array().expect("a vector").clone()
    }
}
