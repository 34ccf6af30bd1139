//! A group with a thousand sensors at 10 readings per second each: after a bad link, the counters
//! of the relay and of `recv` must equal those that `impair` printed; and a flood from 100,000
//! forged sensors must neither affect them nor take more memory than the configuration allows.
//!
//! Datagrams that the kernel drops because the machine is too busy for five programs are not a
//! fault of the relay: such a run is repeated, and a third one fails with that reason.

use tidecast_testkit::common;

use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use common::{PATIENCE, Running, native, now, sender, stamped::Collector, stamped::Datagram};
use serde_json::Value;
use tidecast_wire::native::{Kind, Packet};

const SENSORS: u64 = 1000;
const TRIES: usize = 3;
const SEED: &str = "7";
/// The relay's limits in the configuration of these tests.
const FLOWS_MAX: u64 = 4000;
const BYTES_MAX: u64 = 8_000_000;

/// The kernel dropped datagrams at the place that the text names, so the run is not conclusive.
struct Overloaded(String);

/// Calls `run` until the machine is fast enough.
fn with_patience(run: impl Fn() -> Result<(), Overloaded>) {
    let mut places = Vec::new();
    while places.len() < TRIES {
        match run() {
            Ok(()) => return,
            Err(Overloaded(place)) => places.push(place),
        }
    }
    panic!("the kernel dropped datagrams in each of {TRIES} runs: {}", places.join("; "));
}

fn keeps_up(drops: &Value, place: &str) -> Result<(), Overloaded> {
    match drops.as_u64() {
        Some(0) => Ok(()),
        Some(drops) => Err(Overloaded(format!("{drops} at {place}"))),
        None => panic!("no count of kernel drops at {place}"),
    }
}

/// A relay with these tests' limits.
struct Relay {
    process: Running,
    http: SocketAddr,
    input: (Ipv4Addr, u16),
    output: Collector,
    _folder: tempfile::TempDir,
}

impl Relay {
    fn start() -> Relay {
        let (input, output) = ((common::group(), common::free_port()), Collector::unicast());
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("scale.toml");
        let config = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"sensors\"\ninput = \"{}\"\noutput = \"udp://{}\"\n\
             hold = \"500ms\"\nlimits = {{ flows_max = {FLOWS_MAX}, bytes_max = {BYTES_MAX} }}\n",
            url(input),
            output.addr
        );
        std::fs::write(&file, config).expect("write");
        let mut process = Running::tidecast(["serve", "-c", file.to_str().expect("text")]);
        let http = process.http();
        Relay { process, http, input, output, _folder: folder }
    }

    /// Returns the channel's state once it has this many flows.
    fn state(&self, flows: u64) -> Value {
        let (status, _, body) = common::get(self.http, &format!("/api/v1/streams?flows={flows}"));
        assert_eq!(status, 200, "{body}");
        let state: Value = serde_json::from_str(&body).expect("JSON");
        state["channels"][0].clone()
    }

    /// Returns the memory that the process uses, in bytes.
    fn resident(&self) -> u64 {
        let file = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(file).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Waits until nothing is held and the last session of every sensor has ended.
    fn settle(&self) -> Value {
        let start = now();
        loop {
            let state = self.state(SENSORS);
            if state["held"] == 0 || start.elapsed() > PATIENCE {
                return state;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn url((group, port): (Ipv4Addr, u16)) -> String {
    format!("udp://@{group}:{port}?if=127.0.0.1")
}

/// Starts `send` with all sensors.
fn send(to: (Ipv4Addr, u16), session: u32, duration: &str) -> Running {
    let (to, session) = (format!("udp://{}:{}?if=127.0.0.1&ttl=0", to.0, to.1), session.to_string());
    let sensors = SENSORS.to_string();
    let args = ["send", "--to", &to, "--sensor", &sensors, "--interval", "100ms"];
    Running::start(common::tidecast(args.into_iter().chain(["--session", &session, "--for", duration])))
}

fn finish(mut send: Running) -> u64 {
    assert!(send.wait().success(), "{}", send.stderr());
    let said = send.stderr();
    let sent = said.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    sent.unwrap_or_else(|| panic!("no count: {said}"))
}

/// Returns the numbers of each sensor's session, in the order of output.
fn by_sensor(datagrams: &[Datagram], session: u32) -> BTreeMap<u32, Vec<u64>> {
    let mut sensors: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for datagram in datagrams {
        let packet = Packet::parse(&datagram.bytes).expect("a native datagram");
        if packet.kind() == Kind::Data && packet.session() == session {
            sensors.entry(packet.stream()).or_default().push(packet.sequence());
        }
    }
    sensors
}

fn figure(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn through_a_bad_link() -> Result<(), Overloaded> {
    let mut relay = Relay::start();
    let group = (common::group(), common::free_port());
    let folder = tempfile::tempdir().expect("folder");
    let printed = folder.path().join("impair.json");
    let link = "--loss 1% --reorder 5% --distance 1500 --duplicate 0.5% --json --seed".split(' ');
    let (from, to) = (url(group), format!("udp://{}:{}?if=127.0.0.1&ttl=0", relay.input.0, relay.input.1));
    let args = ["impair", &from, "--to", &to].into_iter().chain(link).chain([SEED]);
    let mut command = common::tidecast(args);
    command.stdout(File::create(&printed).expect("create"));
    let mut impair = Running::start(command);
    impair.wait_for_line("tidecast: ready");
    let mut recv = Running::tidecast(["recv", &url(relay.input), "--hold", "500ms", "--json"]);

    // A first session without losses: a receiver of it knows that the second one starts at 0, and
    // counts losses of the link at its start.
    let first = finish(send(relay.input, 1, "1s"));
    let before = relay.settle();
    let sent = finish(send(group, 2, "6s"));
    impair.signal("INT");
    assert!(impair.wait().success(), "{}", impair.stderr());
    let printed = std::fs::read_to_string(&printed).expect("read");
    let printed: Value = serde_json::from_str(&printed).expect("what impair printed");
    thread::sleep(Duration::from_millis(600)); // the hold of the last gaps
    let state = relay.settle();
    let (relay_said, recv_said) = (relay.process.stop(), recv.stop());
    let received = relay.output.finish();

    keeps_up(&printed["kernel_drops"], "impair")?;
    keeps_up(&state["legs"][0]["kernel_drops"], "the relay")?;
    let summary = recv_said.lines().find(|line| line.starts_with('{')).expect("a summary");
    let summary: Value = serde_json::from_str(summary).expect("JSON");
    keeps_up(&summary["kernel_drops"], "recv")?;

    let context = || format!("seed {SEED}\n{relay_said}");
    let count = |key: &str| figure(&printed, key);
    let [received_media, dropped, duplicated] =
        ["received_media", "dropped_media", "duplicated_media"].map(count);
    assert_eq!(received_media, sent);
    assert!(dropped > sent / 200 && count("reordered_media") > sent / 50 && duplicated > 0, "{}", context());
    let control = count("received_control") - count("dropped_control") + count("duplicated_control");
    let counters = &state["counters"];
    for (key, expected) in [
        ("media_received", first + sent - dropped + duplicated),
        ("control_received", figure(&before["counters"], "control_received") + control),
        ("delivered", first + sent - dropped),
        ("expected", first + sent),
        ("lost", dropped),
        ("duplicate", duplicated),
        ("reordered", count("reordered_media")),
        ("late", 0),
        ("corrupt", 0),
        ("foreign", 0),
        ("rejected", 0),
        ("sessions", 2 * SENSORS),
    ] {
        assert_eq!(figure(counters, key), expected, "the relay's {key}; {}", context());
    }
    for (key, expected) in [
        ("received", first + sent - dropped + duplicated),
        ("delivered", first + sent - dropped),
        ("lost", dropped),
        ("duplicates", duplicated),
        ("reordered", count("reordered_media")),
    ] {
        assert_eq!(figure(&summary, key), expected, "recv's {key}; {}", context());
    }
    let flows = |list: &Value, name: &str, lost: &str| -> BTreeMap<String, u64> {
        let list = list.as_array().expect("flows");
        let lost = |flow: &Value| flow.pointer(lost).and_then(Value::as_u64).expect("a count");
        let id = |flow: &Value| flow["flow"].as_str().expect("id").trim_start_matches(name).to_owned();
        list.iter().map(|flow| (id(flow), lost(flow))).collect()
    };
    let dropped_of_each = flows(&printed["flows"], "native ", "/dropped_media");
    assert_eq!(dropped_of_each.len() as u64, SENSORS);
    assert_eq!(flows(&state["flows"], "", "/counters/lost"), dropped_of_each, "{}", context());

    let sensors = by_sensor(&received, 2);
    assert_eq!(sensors.len() as u64, SENSORS);
    for (sensor, numbers) in &sensors {
        assert!(numbers.is_sorted_by(|a, b| a < b), "sensor {sensor}: {numbers:?}; {}", context());
    }
    let delivered: usize = sensors.values().map(Vec::len).sum();
    assert_eq!(delivered as u64, sent - dropped, "{}", context());
    Ok(())
}

#[test]
fn a_thousand_sensors_through_a_bad_link_are_in_order_and_counted_exactly() {
    with_patience(through_a_bad_link);
}

fn beside_a_flood() -> Result<(), Overloaded> {
    const MADE_UP: u32 = 100_000;
    const BURST: u32 = 50;
    let mut relay = Relay::start();
    let sensors = send(relay.input, 1, "13s");
    // All sensors have sent more than one reading, so their flows are in use.
    assert!(relay.output.wait_for(2 * SENSORS as usize, PATIENCE), "{}", relay.process.stderr());
    let resident = relay.resident();

    let (socket, start) = (sender(), now());
    let (mut looks, mut flooded) = (0, 0);
    for (turn, first) in (0..MADE_UP).step_by(BURST as usize).enumerate() {
        thread::sleep((Duration::from_millis(5) * turn as u32).saturating_sub(start.elapsed()));
        for id in first..first + BURST {
            // Most never send again; the last quarter does, with a gap that takes memory.
            let numbers = [u64::from(id % 3), 7];
            for number in &numbers[..if id < MADE_UP / 4 * 3 { 1 } else { 2 }] {
                let datagram = native(1_000_000 + id * 7919, 77, *number, b"nobody measured this");
                socket.send_to(&datagram, relay.input).expect("send");
                flooded += 1;
            }
        }
        if turn % 200 == 199 {
            let state = relay.state(0);
            looks += 1;
            let (held, flows) = (figure(&state, "held_bytes"), figure(&state, "flow_count"));
            assert!(held <= BYTES_MAX, "{held} bytes held, {BYTES_MAX} are configured");
            assert!(flows <= FLOWS_MAX, "{flows} flows, {FLOWS_MAX} are configured");
            // Memory besides the packets: a flow's tables and its ring of positions after a gap, 8
            // KiB, and receive slots for two full batches of 64 legs; and the allocator takes more
            // than requested.
            let grown = relay.resident().saturating_sub(resident);
            let allowed = 2 * BYTES_MAX + FLOWS_MAX * 8192 + (8 << 20);
            println!("{}: {held} bytes held, {flows} flows, {grown} bytes more in use", first + BURST);
            assert!(grown <= allowed, "{grown} bytes more in use, {allowed} are allowed");
        }
    }
    assert_eq!(looks, 10);
    let sent = finish(sensors);
    let state = relay.settle();
    let said = relay.process.stop();
    let received = relay.output.finish();
    keeps_up(&state["legs"][0]["kernel_drops"], "the relay")?;

    let sensors = by_sensor(&received, 1);
    let complete = |numbers: &Vec<u64>| numbers.iter().copied().eq(0..numbers.len() as u64);
    let damaged: Vec<_> = sensors.iter().filter(|(_, numbers)| !complete(numbers)).collect();
    assert!(damaged.is_empty(), "not whole or not in order: {damaged:?}\n{said}");
    assert_eq!(sensors.values().map(Vec::len).sum::<usize>() as u64, sent, "{said}");
    for flow in state["flows"].as_array().expect("flows") {
        let counters = &flow["counters"];
        assert_eq!((figure(counters, "lost"), figure(counters, "sessions")), (0, 1), "{flow}");
    }
    let media = figure(&state["counters"], "media_received");
    assert_eq!(media, sent + flooded, "{said}");
    Ok(())
}

#[test]
fn a_flood_of_made_up_sensors_touches_none_and_stays_within_bounds() {
    with_patience(beside_a_flood);
}
