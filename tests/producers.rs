//! The producers in docs/examples, run as a reader would run them, and the bytes in
//! docs/wire-format.md.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidecast_wire::native::{Kind, Packet, Repr};
use tidecast_wire::seal::{Key, Sealer};

use tidecast_testkit::examples;

use examples::{compiled, docs, python};

const SILENCE: Duration = Duration::from_secs(10);

/// Opens a socket on a free port that has joined the group on loopback.
fn join(group: Ipv4Addr) -> (UdpSocket, String) {
    let socket = UdpSocket::bind((group, 0)).expect("bind to the group");
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("join on loopback");
    socket.set_read_timeout(Some(SILENCE)).expect("set a time-out");
    let port = socket.local_addr().expect("bound").port().to_string();
    (socket, port)
}

/// The content of a datagram: kind, number, payload, session, timestamp.
struct Heard {
    kind: Kind,
    sequence: u64,
    payload: Vec<u8>,
    session: u32,
    timestamp: u64,
}

/// Returns everything up to the third session end. Parsing checks length, version and CRC of each
/// datagram.
fn listen(socket: &UdpSocket, stream: u32) -> Vec<Heard> {
    let mut heard: Vec<Heard> = Vec::new();
    let mut bytes = [0; 2048];
    while heard.iter().filter(|h| h.kind == Kind::End).count() < 3 {
        let len = socket.recv(&mut bytes).expect("a datagram before the time-out");
        let packet = Packet::parse(&bytes[..len]).expect("a native datagram");
        assert_eq!((packet.stream(), packet.flags()), (stream, 0));
        heard.push(Heard {
            kind: packet.kind(),
            sequence: packet.sequence(),
            payload: packet.payload().to_vec(),
            session: packet.session(),
            timestamp: packet.timestamp(),
        });
    }
    heard
}

fn spawn(command: &mut Command, arguments: &[&str]) -> Child {
    command.args(arguments).stdin(Stdio::null()).spawn().expect("starts")
}

/// Runs a producer three times: with fast readings, with slow ones and heartbeats between them,
/// and with an interruption.
fn check(group: Ipv4Addr, command: impl Fn() -> Command) {
    let (socket, port) = join(group);
    let to = [&group.to_string(), port.as_str(), "127.0.0.1"];

    let before = tidecast_net::clock::unix_micros();
    let mut child = spawn(&mut command(), &[&to[..], &["50", "2", "4242"]].concat());
    let fast = listen(&socket, 4242);
    assert!(child.wait().expect("ends").success());
    let data: Vec<&Heard> = fast.iter().filter(|h| h.kind == Kind::Data).collect();
    assert_eq!(data.iter().map(|h| h.sequence).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    for (n, reading) in data.iter().enumerate() {
        let text = String::from_utf8(reading.payload.clone()).expect("text");
        assert!(text.starts_with("temperature=2") && text.ends_with(&format!(" n={n}")), "{text}");
    }
    let now = tidecast_net::clock::unix_micros();
    assert!(data.iter().all(|h| (before..=now).contains(&h.timestamp)), "microseconds of the wall clock");
    assert!(fast.iter().all(|h| h.session == fast[0].session));
    assert!(fast[50..].iter().all(|h| h.kind == Kind::End && h.sequence == 50 && h.payload.is_empty()));

    let mut child = spawn(&mut command(), &[&to[..], &["2", "2500"]].concat());
    let slow = listen(&socket, 7);
    assert!(child.wait().expect("ends").success());
    let said: Vec<(Kind, u64)> = slow.iter().map(|h| (h.kind, h.sequence)).collect();
    let (beat, end) = ((Kind::Heartbeat, 1), (Kind::End, 2));
    assert_eq!(said, [(Kind::Data, 0), beat, beat, (Kind::Data, 1), end, end, end]);
    assert_ne!(slow[0].session, fast[0].session, "each run is a session of its own");

    let mut child = spawn(&mut command(), &[&to[..], &["2", "60000"]].concat());
    // The first reading shows that it has started, and that it handles an interrupt.
    let len = socket.recv(&mut [0; 2048]).expect("the first reading");
    assert!(len > 32);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let said: Vec<(Kind, u64)> = listen(&socket, 7).iter().map(|h| (h.kind, h.sequence)).collect();
    assert_eq!(said, [(Kind::End, 1); 3]);
    assert!(child.wait().expect("ends").success());
}

#[test]
fn the_python_producer_is_understood() {
    check(Ipv4Addr::new(239, 66, 2, 1), || python("producer"));
}

#[test]
fn the_c_producer_compiles_without_warnings_and_is_understood() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("producer", directory.path());
    check(Ipv4Addr::new(239, 66, 2, 2), || Command::new(&program));
}

/// Returns the hex bytes of each fenced block that contains a native datagram.
fn documented_datagrams() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(docs("wire-format.md")).expect("the document");
    let blocks = text.split("```").skip(1).step_by(2);
    let bytes = |block: &str| {
        let words = block.lines().flat_map(|line| {
            let byte = |word: &str| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2);
            line.split_whitespace().map_while(byte).collect::<Vec<_>>()
        });
        words.collect::<Vec<u8>>()
    };
    blocks.map(bytes).filter(|bytes| bytes.starts_with(b"TC")).collect()
}

#[test]
fn the_documented_bytes_are_what_the_text_says() {
    let reading = Repr {
        kind: Kind::Data,
        flags: 0,
        stream: 7,
        session: 0xC0FF_EE01,
        sequence: 0,
        timestamp: 1_767_225_600_000_000,
        payload: b"21.5",
    };
    let heartbeat = Repr {
        kind: Kind::Heartbeat,
        sequence: 1,
        timestamp: reading.timestamp + 1_000_000,
        payload: b"",
        ..reading
    };
    let end = Repr { kind: Kind::End, timestamp: 0, ..heartbeat };
    let plain = [reading, heartbeat, end].map(|repr| {
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        bytes
    });
    let digits: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let key: Key = format!("1:{digits}").parse().expect("a key");
    let sealer = Sealer::new(&key, 7, 0xC0FF_EE01, true).expect("a key of all streams");
    let sealed = [reading, heartbeat].map(|repr| {
        let mut bytes = Vec::new();
        sealer.seal(&repr, &mut bytes);
        bytes
    });
    assert_eq!(documented_datagrams(), [&plain[..], &sealed].concat());
    let stream_key = key.for_stream(7).expect("a key of all streams").secret_text();
    let text = std::fs::read_to_string(docs("wire-format.md")).expect("the document");
    assert!(text.contains(&format!("stream key    {}\n", &stream_key["1/7:".len()..])));
}

/// Multiplies in GF(2^8) with the polynomial 0x11D, as in the document.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        product ^= if b & 1 == 1 { a } else { 0 };
        a = (a << 1) ^ if a & 0x80 != 0 { 0x1D } else { 0 };
        b >>= 1;
    }
    product
}

fn power(base: u8, exponent: usize) -> u8 {
    (0..exponent).fold(1, |product, _| times(product, base))
}

/// Solves `x * top = row` by elimination, so that `x` is the row of the document's product that
/// belongs to `row`.
fn divide(row: &[u8], top: &[Vec<u8>]) -> Vec<u8> {
    let k = row.len();
    // One equation per column: sum over i of x[i] * top[i][c] = row[c].
    let mut equations: Vec<Vec<u8>> =
        (0..k).map(|c| top.iter().map(|r| r[c]).chain([row[c]]).collect()).collect();
    for pivot in 0..k {
        let at = (pivot..k).find(|&e| equations[e][pivot] != 0).expect("the top square has an inverse");
        equations.swap(pivot, at);
        let inverse = power(equations[pivot][pivot], 254);
        equations[pivot].iter_mut().for_each(|x| *x = times(*x, inverse));
        let solved = equations[pivot].clone();
        for (_, equation) in equations.iter_mut().enumerate().filter(|(e, _)| *e != pivot) {
            let factor = equation[pivot];
            equation.iter_mut().zip(&solved).for_each(|(x, s)| *x ^= times(*s, factor));
        }
    }
    equations.iter().map(|equation| equation[k]).collect()
}

#[test]
fn the_code_can_be_reproduced_from_the_document() {
    for (k, m) in [(1usize, 3usize), (2, 1), (4, 3), (10, 2), (20, 4)] {
        let matrix: Vec<Vec<u8>> = (0..k + m).map(|r| (0..k).map(|c| power(r as u8, c)).collect()).collect();
        let shards: Vec<Vec<u8>> =
            (0..k).map(|i| (0..16).map(|b| (i * 37 + b * 101 + 3) as u8).collect()).collect();
        let expected: Vec<Vec<u8>> = matrix[k..]
            .iter()
            .map(|row| {
                let factors = divide(row, &matrix[..k]);
                let byte =
                    |b: usize| factors.iter().zip(&shards).fold(0, |sum, (f, s)| sum ^ times(*f, s[b]));
                (0..16).map(byte).collect()
            })
            .collect();
        let sources: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
        let mut parity = vec![Vec::new(); m];
        tidecast_wire::fec::rs::Codes::new().encode(k, m, &sources, &mut parity).expect("a good shape");
        assert_eq!(parity, expected, "({k}, {m})");
        assert!(k > 1 || parity.iter().all(|p| *p == shards[0]), "for k = 1 the repair shards are copies");
    }
}
