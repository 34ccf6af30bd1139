//! Each client of each transport gets the same numbered datagrams, with the same gaps, in order.

use std::{
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    common::{PATIENCE, have, have_npm, metric, now},
    source::{Losses, Relay, produce},
};

const TRANSPORTS: [&str; 4] = ["tcp", "websocket", "sse", "socketio"];

/// Only one test at a time, because hundreds of clients in Node.js need both cores: packets for
/// which they are too slow are reported as missed.
static ALONE: Mutex<()> = Mutex::new(());

fn have_clients() -> bool {
    have("node") && ["ws", "eventsource", "socket.io-client"].into_iter().all(have_npm)
}

/// Clients of one transport, in a separate process.
struct Clients {
    transport: &'static str,
    node: Child,
}

impl Clients {
    fn start(
        relay: &Relay,
        transport: &'static str,
        count: usize,
        end: u64,
        pause: Option<[u64; 2]>,
    ) -> Clients {
        let mut node = Command::new("node");
        node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/clients.js"));
        let address = if transport == "tcp" { relay.tcp } else { relay.http };
        node.args([transport, &address.to_string(), "readings", &count.to_string(), &end.to_string()]);
        node.args(pause.into_iter().flatten().map(|number| number.to_string()));
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Clients { transport, node: node.spawn().expect("node") }
    }

    /// Returns what each of them received, in the order in which they were started.
    fn finish(mut self) -> (&'static str, Vec<Value>) {
        let start = now();
        // Clients that have received everything end by themselves; the others report when their
        // input ends.
        let input = self.node.stdin.take();
        while self.node.try_wait().expect("wait").is_none() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        drop(input);
        let output = self.node.wait_with_output().expect("wait");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {errors}", self.transport);
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let clients = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (self.transport, clients)
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}: no count"))
}

/// Returns how many numbers a list of ranges contains.
fn numbers(ranges: &Value) -> u64 {
    let ranges = ranges.as_array().expect("a list");
    ranges.iter().map(|range| count(&range[1]) - count(&range[0]) + 1).sum()
}

fn is_empty(list: &Value) -> bool {
    list.as_array().expect("a list").is_empty()
}

#[test]
fn a_hundred_clients_of_each_transport_get_the_same_packets_and_gaps_in_order() {
    const COUNT: u64 = 10_000;
    if !have_clients() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let relay = Relay::start(&[]);
    let start = |transport| Clients::start(&relay, transport, 100, COUNT - 1, None);
    let clients = TRANSPORTS.map(start);
    relay.until_clients(&TRANSPORTS, 100);
    produce(&relay, COUNT, 60, 100, Losses { seed: 5, bursts: &[3000, 6000, 9000] });
    let mut first: Option<Value> = None;
    for clients in clients {
        let (transport, told) = clients.finish();
        assert_eq!(told.len(), 100);
        for (n, client) in told.iter().enumerate() {
            let who = format!("client {n} over {transport}");
            for list in ["missed", "disorder", "wrong"] {
                assert!(is_empty(&client[list]), "{who}: {list}: {}", client[list]);
            }
            assert_eq!(count(&client["packets"]) + numbers(&client["lost"]), COUNT, "{who}: {client}");
            let same = first.get_or_insert_with(|| client.clone());
            assert_eq!(client, same, "{who}");
        }
    }
    let told = first.expect("a client");
    let of_relay = |name| metric(relay.http, &[name]) as u64;
    assert_eq!(numbers(&told["lost"]), of_relay("tidecast_packets_lost_total{"));
    assert!(numbers(&told["lost"]) >= 3, "{told}: FEC cannot make good bursts of six");
    assert!(count(&told["recovered"]) > 50, "{told}: FEC makes good most of 1 %");
    println!("{told}");
}

#[test]
fn a_client_that_stops_reading_costs_no_other_a_packet_and_is_told_what_it_missed() {
    const COUNT: u64 = 9_000;
    if !have_clients() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let relay = Relay::start(&[]);
    let start = |transport| Clients::start(&relay, transport, 3, COUNT - 1, Some([500, 10_000]));
    let clients = TRANSPORTS.map(start);
    relay.until_clients(&TRANSPORTS, 3);
    produce(&relay, COUNT, 1200, 500, Losses { seed: 6, bursts: &[4000] });
    for clients in clients {
        let (transport, told) = clients.finish();
        for (n, client) in told.iter().enumerate() {
            let who = format!("client {n} over {transport}: {client}");
            for list in ["disorder", "wrong"] {
                assert!(is_empty(&client[list]), "{who}");
            }
            let missed = numbers(&client["missed"]);
            let told = count(&client["packets"]) + numbers(&client["lost"]) + missed;
            assert_eq!(told, COUNT, "{who}");
            assert_eq!(missed > 0, n == 0, "{who}");
            // Its backlog is the content of the kernels' buffers, followed by new data.
            assert!(n > 0 || (missed > 1000 && count(&client["last"]) >= 1), "{who}");
        }
        let label = format!("output=\"{transport}\"");
        let lagged =
            metric(relay.http, &["tidecast_output_dropped_packets_total{", &label, "reason=\"lag\""]);
        assert!(lagged > 1000.0, "{transport}: {lagged}");
    }
}
