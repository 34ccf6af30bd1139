//! Tests that need Node.js: a producer and a subscriber around the relay, where every number
//! arrives once and in order, and none after `dropMembership`, although the producer continues;
//! and the page, in a browser.

mod page;

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use common::{Running, free_port, group, have, metric, until};
use tidecast_testkit::common;

/// A running script with its output and its standard input.
struct Script {
    running: Running,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn start(name: &str, to: (Ipv4Addr, u16), format: &str) -> Script {
        let path = format!("{}/tests/node/{name}", env!("CARGO_MANIFEST_DIR"));
        Script::of(path, &[&to.0.to_string(), &to.1.to_string(), format])
    }

    fn of(path: String, args: &[&str]) -> Script {
        let mut node = Command::new("node");
        node.arg(path).args(args).stdout(Stdio::piped());
        let mut running = Running::start_with_input(node);
        let output = BufReader::new(running.child.stdout.take().expect("piped"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let into = lines.clone();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| into.lock().expect("no panic").push(line));
        });
        Script { input: running.child.stdin.take(), running, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    fn until_line(&self, wanted: &str) {
        until(&format!("{wanted:?}"), || self.lines().iter().any(|line| line == wanted).then_some(()));
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("it listens");
    }

    /// Closes its standard input, which ends it, and returns all of its output.
    fn finish(mut self) -> Vec<String> {
        self.input = None;
        assert!(self.running.wait().success(), "{}", self.running.stderr());
        // Its end closes the pipe, but the reader may not have read the last lines yet.
        until("the last line", || (Arc::strong_count(&self.lines) == 1).then(|| self.lines()))
    }
}

/// Runs the scripts around a relay, whose `relay_format` describes the datagrams of
/// `script_format`.
fn around_the_relay(script_format: &str, relay_format: &str) {
    if !have("node") {
        return;
    }
    let (from, to) = ((group(), free_port()), (group(), free_port()));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut relay = Running::tidecast([
        "relay",
        &format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1),
        "--format",
        relay_format,
        "--hold",
        "2s",
        "--to",
        &format!("udp://{}:{}?ttl=0&if=127.0.0.1", to.0, to.1),
        "--http",
        &http.to_string(),
    ]);
    let sent_on = || metric(http, &["tidecast_output_packets_total{", "output=\"udp://"]) as u64;

    let mut subscriber = Script::start("subscriber.js", to, script_format);
    subscriber.until_line("joined");
    let producer = Script::start("producer.js", from, script_format);
    until("1,000 numbers", || (subscriber.lines().len() > 1000).then_some(()));
    subscriber.tell("drop");
    subscriber.until_line("dropped");
    // Datagrams sent before may still be in its socket's queue; those sent from here on must not
    // reach it.
    let before = sent_on();
    until("300 more from the relay", || (sent_on() > before + 300).then_some(()));
    let received = subscriber.finish();
    let used: u64 = producer.finish().last().and_then(|line| line.parse().ok()).expect("its count");
    until("the last number", || (sent_on() >= used).then_some(()));

    let numbers: Vec<u64> = received.iter().filter_map(|line| line.parse().ok()).collect();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "each number once and in order");
    assert!(numbers.len() as u64 <= before, "{} received, {before} sent before it left", numbers.len());
    assert!(used > numbers.len() as u64 + 300, "the producer went on to {used}");

    let twice = metric(http, &["tidecast_packets_discarded_total{", "reason=\"duplicate\""]);
    let swapped = metric(http, &["tidecast_packets_reordered_total{"]);
    assert!(twice > 50.0 && swapped > 50.0, "{twice} came twice, {swapped} late: the path was rough");
    let delivered = metric(http, &["tidecast_packets_delivered_total{"]) as u64;
    assert_eq!(delivered, used, "all that was produced went out");
    let summary = relay.stop();
    assert!(summary.contains("lost 0,"), "{summary}");
}

#[test]
fn numbered_datagrams_arrive_once_and_in_order_until_the_membership_is_dropped() {
    around_the_relay("plain", "seq=u32be@0");
}

#[test]
fn native_datagrams_arrive_once_and_in_order_until_the_membership_is_dropped() {
    around_the_relay("native", "native");
}
