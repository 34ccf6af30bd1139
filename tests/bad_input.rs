//! Tests of bad input: malformed datagrams are counted by reason and dropped while the valid ones
//! around them arrive, the log stays short, and commands end with one clear line and the right
//! exit code.

use tidecast_testkit::common;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use common::{PATIENCE, Running, native, now, sender, stamped::Collector};
use serde_json::Value;
use tidecast_wire::{
    native::{Kind, Repr},
    st2022,
};

/// Returns the state of the first channel.
fn state(http: SocketAddr) -> Value {
    let (status, _, body) = common::get(http, "/api/v1/streams");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).expect("JSON")["channels"][0].clone()
}

/// Returns a native datagram with a valid checksum, whatever its header and payload contain.
fn forged(version_and_kind: u8, payload: &[u8]) -> Vec<u8> {
    let (stream, session, sequence, timestamp) = (1, 1, 3, 0);
    let mut bytes = Vec::new();
    Repr { kind: Kind::Data, flags: 0, stream, session, sequence, timestamp, payload }.emit(&mut bytes);
    bytes[2] = version_and_kind;
    bytes.truncate(bytes.len() - 4);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// Returns a repair packet with a shard of 20 bytes that states a length of `announced`.
fn repair(k: u8, m: u8, index: u8, stride: u8, announced: u8) -> Vec<u8> {
    forged(0x11, &[&[k, m, index, stride, 0, announced], &[7; 20][..]].concat())
}

fn damaged(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    bytes
}

fn rtp(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    [&[first, second, 0, 9, 0, 0, 0, 9, 0xab, 0xcd, 0, 9], rest].concat()
}

/// Bad datagrams of a format: description, datagram, and the class and reason under which they are
/// counted.
type Bad = Vec<(&'static str, Vec<u8>, &'static str, &'static str)>;

fn bad_native() -> Bad {
    let good = native(1, 1, 3, b"a reading");
    vec![
        ("empty", Vec::new(), "corrupt", "empty"),
        ("header cut", good[..20].to_vec(), "corrupt", "truncated"),
        ("payload cut", good[..good.len() - 3].to_vec(), "corrupt", "checksum"),
        ("a bit flipped", damaged(good), "corrupt", "checksum"),
        ("version 2", forged(0x20, b"x"), "foreign", "version"),
        ("kind 9", forged(0x19, b"x"), "foreign", "kind"),
        ("repair without fields", forged(0x11, b"abc"), "corrupt", "repair"),
        ("k = 0", repair(0, 2, 0, 1, 20), "corrupt", "repair"),
        ("m = 0", repair(10, 0, 0, 1, 20), "corrupt", "repair"),
        ("k + m = 256", repair(254, 2, 0, 1, 20), "corrupt", "repair"),
        ("index beyond m", repair(10, 2, 2, 1, 20), "corrupt", "repair"),
        ("stride 0", repair(10, 2, 0, 0, 20), "corrupt", "repair"),
        ("shard beyond the datagram", repair(10, 2, 0, 1, 21), "corrupt", "repair"),
        ("shard shorter than the datagram", repair(10, 2, 0, 1, 19), "corrupt", "repair"),
        ("NACK of 11 bytes", forged(0x14, &[0; 11]), "corrupt", "nack"),
        ("NACK of 65 ranges", forged(0x14, &[0; 650]), "corrupt", "nack"),
    ]
}

fn bad_rtp() -> Bad {
    vec![
        ("empty", Vec::new(), "corrupt", "empty"),
        ("header cut", rtp(0x80, 33, b"")[..11].to_vec(), "corrupt", "truncated"),
        ("sources beyond the datagram", rtp(0x8f, 33, b"short"), "corrupt", "truncated"),
        ("extension beyond the datagram", rtp(0x90, 33, &[0, 0, 0xff, 0xff]), "corrupt", "truncated"),
        ("padding beyond the datagram", rtp(0xa0, 33, &[1, 2, 200]), "corrupt", "padding"),
        ("padding of 0", rtp(0xa0, 33, &[1, 2, 0]), "corrupt", "padding"),
        ("RTCP", rtp(0x80, 200, b""), "foreign", "rtcp"),
    ]
}

/// Sends each bad datagram `rounds` times, each after a valid one. Returns the channel's state,
/// and the relay's log.
fn sent_among_good(format: &str, good: impl Fn(u64) -> Vec<u8>, bad: &Bad, rounds: u64) -> (Value, String) {
    let (group, port, output) = (common::group(), common::free_port(), Collector::unicast());
    let (input, to) = (format!("udp://@{group}:{port}?if=127.0.0.1"), format!("udp://{}", output.addr));
    let args = ["relay", &input, "--to", &to, "--format", format, "--http", "127.0.0.1:0"];
    let mut relay = Running::tidecast(args);
    let http = relay.http();
    let socket = sender();
    let mut expected = Vec::new();
    for _ in 0..rounds {
        for (_, bytes, ..) in bad {
            let datagram = good(expected.len() as u64);
            socket.send_to(&datagram, (group, port)).expect("send");
            socket.send_to(bytes, (group, port)).expect("send");
            expected.push(datagram);
        }
        thread::sleep(Duration::from_millis(5));
    }
    output.wait_for(expected.len(), PATIENCE);
    let start = now();
    let all = 2 * expected.len();
    let mut seen = state(http);
    while seen["counters"]["media_received"] != all && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
        seen = state(http);
    }
    let said = relay.stop();
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|datagram| datagram.bytes).collect();
    assert_eq!(seen["legs"][0]["kernel_drops"], 0, "{said}");
    assert_eq!(seen["counters"]["media_received"], all, "{seen}\n{said}");
    assert_eq!(received.len(), expected.len(), "{seen}\n{said}");
    assert!(received == expected, "in another order\n{said}");
    (seen, said)
}

/// Checks that each bad datagram alone is counted under its reason, and that many of them do not
/// fill the log.
fn counted_by_reason(format: &str, good: impl Fn(u64) -> Vec<u8> + Copy, bad: Bad) {
    const ROUNDS: u64 = 100;
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut classes: BTreeMap<&str, u64> = BTreeMap::from([("corrupt", 0), ("foreign", 0)]);
    for (_, _, class, reason) in &bad {
        *reasons.entry(reason).or_default() += ROUNDS;
        *classes.entry(class).or_default() += ROUNDS;
    }
    let (seen, said) = sent_among_good(format, good, &bad, ROUNDS);
    let names = || bad.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
    let counted: BTreeMap<&str, u64> = seen["rejects"]
        .as_object()
        .expect("rejects")
        .iter()
        .map(|(k, v)| (&**k, v.as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(counted, reasons, "{}", names());
    for (class, expected) in classes {
        assert_eq!(seen["counters"][class], expected, "{class}: {}", names());
    }
    for counter in ["rejected", "lost", "late", "duplicate"] {
        assert_eq!(seen["counters"][counter], 0, "{counter}: {seen}");
    }
    let lines = said.lines().filter(|line| line.contains("dropped")).count();
    assert!((1..=2).contains(&lines), "{lines} lines on thousands of bad datagrams:\n{said}");
}

#[test]
fn bad_native_datagrams_are_counted_by_reason_and_cost_no_good_one() {
    counted_by_reason("auto", |n| native(1, 1, n, b"a reading"), bad_native());
}

#[test]
fn bad_rtp_is_counted_by_reason_and_costs_no_good_packet() {
    let good = |n: u64| {
        let mut packet = rtp(0x80, 33, b"media");
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(n as u32 * 90).to_be_bytes());
        packet
    };
    counted_by_reason("auto", good, bad_rtp());
    let mut foreign = bad_rtp();
    foreign.push(("native", native(1, 1, 1, b"x"), "foreign", "format"));
    foreign.push(("text", b"hello".to_vec(), "foreign", "format"));
    counted_by_reason("rtp", good, foreign);
}

#[test]
fn what_is_not_of_the_named_format_is_foreign() {
    let text = || ("text", b"hello".to_vec(), "foreign", "format");
    let empty = || ("empty", Vec::new(), "corrupt", "empty");
    let rtp = || ("RTP", rtp(0x80, 33, b"x"), "foreign", "format");
    counted_by_reason("native", |n| native(1, 1, n, b"a reading"), vec![text(), empty(), rtp()]);
    let ts = |n: u64| {
        let mut packet = [0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | (n % 16) as u8]);
        packet.to_vec()
    };
    counted_by_reason(
        "ts",
        ts,
        vec![text(), empty(), ("cut TS", ts(0)[..187].to_vec(), "foreign", "format")],
    );
    counted_by_reason(
        "match=\"ME\"@0,seq=u16be@2",
        |n| [b"ME", &(n as u16).to_be_bytes()[..], b"payload"].concat(),
        vec![
            empty(),
            ("another program", b"YOU and nobody else".to_vec(), "foreign", "match"),
            ("no room for the number", b"ME\0".to_vec(), "corrupt", "truncated"),
        ],
    );
}

/// Returns a forged ST 2022-1 repair packet.
fn st2022_repair(base: u16, offset: u8, count: u8) -> Vec<u8> {
    let fields = st2022::Fields { length: 20, ..st2022::Fields::default() };
    let mut bytes = Vec::new();
    st2022::Repr {
        axis: if offset == 1 { st2022::Axis::Row } else { st2022::Axis::Column },
        payload_type: st2022::PAYLOAD_TYPE,
        sequence: base,
        timestamp: 0,
        ssrc: 0,
        base,
        offset,
        count,
        shard: st2022::Shard { fields, body: &[7; 20] },
    }
    .emit(&mut bytes);
    bytes
}

/// Datagrams that do not belong there arrive on the ports beside the media.
#[test]
fn garbage_on_the_ports_for_repair_packets_costs_no_good_one() {
    const COUNT: u64 = 600;
    let (group, port, output) = (common::group(), common::free_port(), Collector::unicast());
    let (input, to) = (format!("rtp://@{group}:{port}?if=127.0.0.1"), format!("udp://{}", output.addr));
    let args = ["relay", &input, "--fec", "st2022-1", "--to", &to, "--http", "127.0.0.1:0"];
    let mut relay = Running::tidecast(args);
    let http = relay.http();
    let socket = sender();
    let good = |n: u64| {
        let mut packet = rtp(0x80, 33, b"media");
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet
    };
    let mut repairs = 0;
    for n in 0..COUNT {
        socket.send_to(&good(n), (group, port)).expect("send");
        let past = (n as u16).saturating_sub(40);
        let forged = [(past, 1, 10), (past, 5, 5), (n as u16 + 9000, 10, 10), (n as u16, 255, 255)];
        let bad = match n % 8 {
            0 => good(n + 1),
            1 => rtp(0x80, 200, b""),
            2 => b"hello".to_vec(),
            3 => Vec::new(),
            other => {
                repairs += 1;
                let (base, offset, count) = forged[other as usize - 4];
                st2022_repair(base, offset, count)
            }
        };
        socket.send_to(&bad, (group, port + 2 + 2 * (n % 2) as u16)).expect("send");
        thread::sleep(Duration::from_millis(1));
    }
    output.wait_for(COUNT as usize, PATIENCE);
    let seen = common::until("all datagrams", || {
        let seen = state(http);
        let all = seen["legs"][0]["repair"] == repairs && seen["legs"][0]["media"] == COUNT + COUNT / 2;
        all.then_some(seen)
    });
    let said = relay.stop();
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|datagram| datagram.bytes).collect();
    assert!(received.iter().eq(&(0..COUNT).map(good).collect::<Vec<_>>()), "{seen}\n{said}");
    assert_eq!(seen["counters"]["media_received"], COUNT + COUNT / 2, "{seen}");
    assert_eq!(seen["counters"]["corrupt"], COUNT / 4, "too short: {seen}");
    assert_eq!(seen["counters"]["foreign"], COUNT / 4, "{seen}");
    assert_eq!((&seen["rejects"]["rtcp"], &seen["rejects"]["empty"]), (&(COUNT / 8).into(), &Value::Null));
    for counter in ["rejected", "lost", "late", "duplicate", "recovered_fec"] {
        assert_eq!(seen["counters"][counter], 0, "{counter}: {seen}");
    }
}

/// Well-formed forged repair packets: blocks far away, of absurd size, and with shards that lead
/// to wrong recovered packets.
#[test]
fn made_up_repair_packets_cost_no_good_one() {
    let (group, port, output) = (common::group(), common::free_port(), Collector::unicast());
    let (input, to) = (format!("udp://@{group}:{port}?if=127.0.0.1"), format!("udp://{}", output.addr));
    let mut relay = Running::tidecast(["relay", &input, "--to", &to, "--hold", "100ms"]);
    let socket = sender();
    let count = 1000_u64;
    let expected: Vec<Vec<u8>> = (0..count).map(|n| native(1, 1, n, b"a reading")).collect();
    for n in 0..count {
        // Every other pair is swapped, so that a packet is missing when the repair packets arrive.
        let at = if n % 4 < 2 { n ^ 1 } else { n } as usize;
        socket.send_to(&expected[at], (group, port)).expect("send");
        let made_up = [(2, 1, n), (10, 4, n + 3), (254, 1, n * 1_000_003), (200, 55, u64::MAX - n)];
        for (k, m, first) in made_up {
            let stride = [1, 255][(n % 2) as usize];
            let payload = [&[k, m, (n % u64::from(m)) as u8, stride, 0, 20], &[n as u8; 20][..]].concat();
            let mut bytes = Vec::new();
            let (kind, payload) = (Kind::Repair, &payload[..]);
            Repr { kind, flags: 0, stream: 1, session: 1, sequence: first, timestamp: 0, payload }
                .emit(&mut bytes);
            socket.send_to(&bytes, (group, port)).expect("send");
        }
        thread::sleep(Duration::from_millis(1));
    }
    output.wait_for(expected.len(), PATIENCE);
    let said = relay.stop();
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|datagram| datagram.bytes).collect();
    let missing = expected.iter().filter(|expected| !received.contains(expected)).count();
    let made_up = received.iter().filter(|received| !expected.contains(received)).count();
    assert_eq!((missing, made_up), (0, 0), "missing and made up\n{said}");
    assert!(received == expected, "in another order\n{said}");
}

#[test]
fn a_datagram_longer_than_udp_over_ipv4_allows_is_counted_and_not_passed_on() {
    let (port, output) = (common::free_port(), Collector::unicast());
    let (input, to) = (format!("udp://@[::1]:{port}"), format!("udp://{}", output.addr));
    let mut relay = Running::tidecast(["relay", &input, "--to", &to, "--http", "127.0.0.1:0"]);
    let http = relay.http();
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
    // IPv6 allows 20 bytes more.
    let lengths = [100, 65_507, 65_508, 65_520, 200];
    for length in lengths {
        socket.send_to(&vec![b'x'; length], (Ipv6Addr::LOCALHOST, port)).expect("send");
    }
    assert!(output.wait_for(3, PATIENCE), "{}", relay.stderr());
    let seen = state(http);
    let said = relay.stop();
    let received: Vec<usize> = output.finish().iter().map(|datagram| datagram.bytes.len()).collect();
    assert_eq!(received, [100, 65_507, 200], "{said}");
    assert_eq!(seen["legs"][0]["truncated"], 2, "{seen}");
}

#[test]
fn an_unreachable_target_costs_the_others_nothing() {
    let (group, port) = (common::group(), common::free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let good = [Collector::unicast(), Collector::unicast(), Collector::unicast()];
    let deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind"); // its buffer fills
    let to = |address: &dyn std::fmt::Display| format!("udp://{address}");
    let targets = [
        to(&format!("127.0.0.1:{}", common::free_port())), // no receiver there
        to(&good[0].addr),
        to(&"239.255.255.1:5000?if=nosuch0"),
        to(&good[1].addr),
        to(&"[2001:db8::1]:5000"), // no route, or no receiver there
        to(&deaf.local_addr().expect("address")),
        to(&good[2].addr),
    ];
    let args = ["relay".to_owned(), input].into_iter();
    let mut relay =
        Running::tidecast(args.chain(targets.iter().flat_map(|to| ["--to".to_owned(), to.clone()])));
    let socket = sender();
    let expected: Vec<Vec<u8>> = (0..2000).map(|n| native(1, 1, n, &[n as u8; 1000])).collect();
    for datagram in &expected {
        socket.send_to(datagram, (group, port)).expect("send");
        thread::sleep(Duration::from_micros(500));
    }
    for good in &good {
        good.wait_for(expected.len(), PATIENCE);
    }
    let said = relay.stop();
    for good in good {
        let received: Vec<Vec<u8>> = good.finish().into_iter().map(|datagram| datagram.bytes).collect();
        assert!(received == expected, "{} of {} came\n{said}", received.len(), expected.len());
    }
}

/// Runs a command that must end by itself. Returns its exit code and its output.
fn ends(args: &[&str]) -> (i32, String) {
    let mut running = Running::start(common::tidecast(args));
    let status = running.wait();
    (status.code().unwrap_or(-1), running.stderr())
}

fn one_line(args: &[&str], code: i32, parts: &[&str]) {
    let (ended, said) = ends(args);
    assert_eq!(ended, code, "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{args:?}: no {part:?} in {said}");
    }
}

#[test]
fn a_wrong_configuration_is_one_line_and_exit_code_78() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("wrong.toml");
    let channel =
        "[[channel]]\nname = \"a\"\ninput = \"udp://@239.1.1.1:5000\"\noutput = \"udp://10.0.0.7:6000\"\n";
    for (text, parts) in [
        (
            format!("{channel}hold = \"fast\"\n"),
            vec!["wrong.toml:5:", "hold = \"fast\"", "expected auto or a duration"],
        ),
        (format!("{channel}hodl = \"50ms\"\n"), vec!["wrong.toml:5:", "hodl", "did you mean \"hold\"?"]),
        (
            format!("tick = \"1h\"\n{channel}"),
            vec!["wrong.toml:1:", "tick = \"1h\"", "expected a duration from"],
        ),
        ("[http]\nallow = [\"10.0.0.0/8\"]\n".to_owned(), vec!["wrong.toml:2:", "10.0.0.0/8", "expected"]),
        (
            format!("{channel}[[channel]]\nname = \"b\"\ninput = \"udp://@239.1.1.1:70000\"\n"),
            vec!["wrong.toml:7:", "70000", "expected 1 to 65535"],
        ),
        ("[[channel]\n".to_owned(), vec!["wrong.toml:1:"]),
    ] {
        std::fs::write(&file, &text).expect("write");
        let file = file.to_str().expect("text");
        for command in ["serve", "check"] {
            one_line(&[command, "-c", file], 78, &parts);
        }
    }
    let missing = Path::new(folder.path()).join("missing.toml");
    one_line(&["serve", "-c", missing.to_str().expect("text")], 78, &["missing.toml", "cannot be read"]);
}

#[test]
fn wrong_flags_name_value_and_expectation_and_end_with_exit_code_2() {
    let input = "udp://@239.1.1.1:5000";
    for (args, parts) in [
        (
            vec!["relay", input, "--to", "udp://10.0.0.7:6000", "--hold", "fast"],
            ["--hold", "fast", "expected auto"],
        ),
        (
            vec!["relay", "udp://@239.1.1.1:0", "--to", "udp://10.0.0.7:6000"],
            ["INPUT", ":0", "expected 1 to 65535"],
        ),
        (vec!["relay", input, "--to", input], ["--to", input, "expected"]),
        (vec!["serve", "--allow", "10.0.0.0/8"], ["--allow", "10.0.0.0/8", "expected"]),
        (vec!["serve", "--http", "here"], ["--http", "here", "expected"]),
    ] {
        one_line(&args, 2, &parts);
    }
    // Errors that clap itself detects come with a hint at --help.
    for (args, parts) in [
        (vec!["recv", input, "--hold", "fast"], ["--hold", "'fast'", "expected auto"]),
        (vec!["recv", input, "--hodl", "50ms"], ["unexpected argument", "--hodl", "--hold"]),
        (vec!["sned"], ["unrecognized", "sned", "send"]),
    ] {
        let (code, said) = ends(&args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let [udp_taken, tcp_taken] =
        [udp.local_addr(), tcp.local_addr()].map(|taken| taken.expect("address").to_string());
    let input = format!("udp://@{udp_taken}");
    let group = format!("udp://@{}:{}?if=127.0.0.1", common::group(), common::free_port());
    for args in [
        vec!["relay", &input, "--to", "udp://127.0.0.1:9"],
        vec!["recv", &input],
        vec!["impair", &input, "--to", "udp://127.0.0.1:9"],
    ] {
        one_line(&args, 1, &[&udp_taken, "in use"]);
    }
    one_line(&["relay", &group, "--http", &tcp_taken], 1, &[&tcp_taken, " has this port"]);
    one_line(&["serve", "--http", &tcp_taken], 1, &[&tcp_taken, " has this port"]);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let (group, port) = (common::group(), common::free_port());
    let input = format!("udp://@{group}:{port}?if=nosuch0");
    // A tool started manually ends; a relay waits for the interface, and logs that.
    one_line(&["impair", &input, "--to", "udp://127.0.0.1:9"], 1, &["\"nosuch0\"", "present: ", "lo"]);
    one_line(&["recv", &input], 1, &["\"nosuch0\"", "present: ", "lo"]);
    let mut waiting = Running::start(common::tidecast(["relay", &input, "--to", "udp://127.0.0.1:9"]));
    let line = waiting.wait_for_line("tidecast: ");
    assert!(line.contains("waiting: ") && line.contains("\"nosuch0\""), "{line}");
    waiting.wait_for_line("tidecast: ready");
    waiting.stop();
}

#[test]
fn a_dead_stream_is_no_stream_without_losses() {
    let input = format!("udp://@{}:{}?if=127.0.0.1", common::group(), common::free_port());
    let recv = |more: &[&str]| {
        let args = [&["recv", &input, "--for", "200ms"], more].concat();
        let output = common::tidecast(args).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = recv(&["--max-loss", "1%"]);
    assert!(code == Some(1) && text.contains("nothing came from udp://@239."), "{code:?} {text}");
    let (code, text) = recv(&[]);
    assert!(code == Some(1) && text.contains("nothing came from udp://@239."), "{code:?} {text}");
}

#[test]
fn on_demand_only_allowed_class_d_groups_are_joined() {
    let mut serve = Running::tidecast(["serve", "--http", "127.0.0.1:0", "--allow", "239.1.0.0/16"]);
    let http = serve.http();
    for (path, status) in [
        ("/udp/10.0.0.1:5000", 403),
        ("/udp/127.0.0.1:5000", 403),
        ("/rtp/240.0.0.1:5000", 403),
        ("/udp/239.2.0.1:5000", 403),
        ("/udp/239.1.0.1", 400),
        ("/udp/239.1.0.1:0", 400),
        ("/udp/nonsense:5000", 400),
    ] {
        let (got, _, body) = common::get(http, path);
        assert_eq!(got, status, "{path}: {body}");
        assert_eq!(body.lines().count(), 1, "{path}: {body}");
    }
    serve.stop();
}
