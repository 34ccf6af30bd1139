//! The demo as a new user runs it: without a terminal and without a configured port, with Ctrl-C
//! at the end.

use tidecast_testkit::common;

use common::{Running, get, tidecast};
use std::{io::Read, process::Stdio};

/// Starts the demo on a free port. Returns it with the address of its HTTP server.
fn start(args: &[&str]) -> (Running, std::net::SocketAddr) {
    let mut command = tidecast([&["demo"], args].concat());
    command.stdout(Stdio::piped());
    let mut demo = Running::start(command);
    let ready = demo.wait_for_line("tidecast: ready");
    let http =
        ready.split("http://").nth(1).and_then(|rest| rest.split([';', ' ']).next()).expect("an address");
    let address = http.parse().expect("an address");
    (demo, address)
}

fn stdout(demo: &mut Running) -> String {
    let mut text = String::new();
    demo.child.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    text
}

#[test]
fn shows_recovered_losses_and_ends_at_ctrl_c_with_a_summary() {
    let (mut demo, http) = start(&["--http", "127.0.0.1:0"]);
    let mut recovered = 0;
    while recovered == 0 {
        let (status, _, body) = get(http, "/api/v1/streams");
        assert_eq!(status, 200);
        let state: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let channels = state["channels"].as_array().expect("channels");
        assert_eq!(channels.len(), 5);
        let sensors = channels.iter().find(|channel| channel["name"] == "sensors").expect("the sensors");
        let count = |name: &str| sensors["counters"][name].as_u64().expect("a number");
        recovered = count("recovered_fec") - count("recovered_spurious");
        assert!(demo.child.try_wait().expect("wait").is_none(), "{}", demo.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    demo.stop();
    let text = stdout(&mut demo);
    for expected in
        ["packets/s   rescued", "film-unprotected", "link lost", &format!("http://{http}/streams/film-fec")]
    {
        assert!(text.contains(expected), "no {expected:?} in:\n{text}");
    }
    let sensors = text.lines().rfind(|line| line.starts_with("sensors")).expect("a summary of the sensors");
    let cells: Vec<u64> =
        sensors.split_whitespace().skip(1).map(|cell| cell.parse().expect("a number")).collect();
    let [sent, link_lost, recovered, lost, delivered, ..] = cells[..] else { panic!("{sensors}") };
    assert!(sent > 0 && link_lost > 0 && recovered > 0, "{sensors}");
    // The relay cannot detect losses before the first received packet of a sensor.
    assert!(delivered + lost <= sent && sent - delivered - lost <= 8, "{sensors}");
}

#[test]
fn two_demos_do_not_disturb_each_other() {
    // Both run without a configured port: the second one must find another.
    let (mut a, http_a) = start(&["--for", "2s"]);
    let (mut b, http_b) = start(&["--for", "2s"]);
    assert_ne!(http_a, http_b);
    for demo in [&mut a, &mut b] {
        assert!(demo.wait().success(), "{}", demo.stderr());
        assert!(stdout(demo).contains("link lost"));
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let mut command = tidecast(["demo", "--http", &address]);
    command.stdout(Stdio::null());
    let mut demo = Running::start(command);
    let status = demo.wait();
    assert_eq!(status.code(), Some(1), "{}", demo.stderr());
    assert!(demo.stderr().contains(&address), "{}", demo.stderr());
}
