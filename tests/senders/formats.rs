//! The captures of fixtures/formats, each of a protocol with a profile, with its kinds of messages
//! from two senders: all are output, no loss is reported, and deliberate omissions are counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use serde_json::Value;
use tidecast_wire::{self as wire, Datagram, Format};

use super::{
    capture::{Sent, sent},
    common,
    rig::{MS, Rig, counted, counter, paced},
};

/// Separate sockets for the senders of a capture, whose hosts become 127.0.0.1 and 127.0.0.2.
struct Senders {
    hosts: Vec<Ipv4Addr>,
    sockets: BTreeMap<SocketAddr, UdpSocket>,
}

impl Senders {
    fn of(capture: &[Sent]) -> Senders {
        let hosts: BTreeSet<Ipv4Addr> = capture.iter().map(|sent| *sent.source.ip()).collect();
        let hosts: Vec<Ipv4Addr> = hosts.into_iter().collect();
        let mut senders = Senders { hosts, sockets: BTreeMap::new() };
        for sent in capture {
            let host = senders.host(sent);
            senders.sockets.entry(sent.source.into()).or_insert_with(|| socket(host));
        }
        senders
    }

    fn host(&self, sent: &Sent) -> Ipv4Addr {
        let place =
            self.hosts.iter().position(|host| host == sent.source.ip()).expect("a sender of the capture");
        Ipv4Addr::new(127, 0, 0, 1 + place as u8)
    }
}

fn socket(host: Ipv4Addr) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
    socket.bind(&SocketAddr::from((host, 0)).into()).expect("bind");
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("interface");
    socket.set_multicast_ttl_v4(0).expect("ttl");
    socket.set_send_buffer_size(4 << 20).expect("buffer");
    socket.into()
}

/// Plays a capture into a relay. Returns the state at the end, and the output.
fn play(name: &str, capture: &[Sent]) -> (Value, Vec<Vec<u8>>) {
    let rig = Rig::of(name);
    let senders = Senders::of(capture);
    paced(2 * MS, capture.len(), |n| {
        let sent = &capture[n];
        rig.send(&senders.sockets[&sent.source.into()], &sent.payload);
    });
    rig.finish(capture.len())
}

/// Returns the stream of a datagram, if it is numbered and belongs to one stream.
fn stream(format: &Format, sent: &Sent) -> Option<String> {
    match wire::parse(format, &sent.payload) {
        Ok(Datagram::Custom(packet)) if packet.numbered() && packet.step() > 0 && !packet.mixed() => {
            let source = sent.source.into();
            Some(packet.id(source).map_or(sent.source.to_string(), |id| id.to_string()))
        }
        Ok(Datagram::Custom(_)) => None,
        other => panic!("{other:?}"),
    }
}

/// Returns the datagrams of each stream, in order; `whose` maps payloads to streams.
fn by_stream(whose: &BTreeMap<&[u8], String>, payloads: &[Vec<u8>]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut streams: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for payload in payloads {
        if let Some(stream) = whose.get(payload.as_slice()) {
            streams.entry(stream.clone()).or_default().push(payload.clone());
        }
    }
    streams
}

/// Counters that must stay 0 for the datagrams of a protocol's senders.
const NOTHING: [(&str, u64); 5] =
    [("corrupt", 0), ("foreign", 0), ("late", 0), ("duplicate", 0), ("rejected", 0)];

fn holds(name: &str) {
    let capture = sent(&format!("formats/{name}.pcap"));
    let format: Format = name.parse().expect("a profile");
    let hosts: BTreeSet<_> = capture.iter().map(|sent| *sent.source.ip()).collect();
    let ports: BTreeSet<_> = capture.iter().map(|sent| sent.source).collect();
    assert!(hosts.len() == 2 || name == "lcm" && ports.len() == 2, "{name}: {ports:?}");
    let whose: BTreeMap<&[u8], String> =
        capture.iter().filter_map(|sent| Some((sent.payload.as_slice(), stream(&format, sent)?))).collect();

    let (state, out) = play(name, &capture);
    let payloads: Vec<Vec<u8>> = capture.iter().map(|sent| sent.payload.clone()).collect();
    same(name, &payloads, &out);
    assert_eq!(by_stream(&whose, &out), by_stream(&whose, &payloads), "{name}: each stream in order");
    counted(name, &state, &NOTHING);
    counted(name, &state, &[("lost", 0)]);
    let received = counter(&state, "media_received") + counter(&state, "control_received");
    assert_eq!(received, capture.len() as u64, "{name}");

    // Without one from the middle of the longest stream.
    let streams = by_stream(&whose, &payloads);
    let longest = streams.values().max_by_key(|datagrams| datagrams.len()).expect("a stream");
    let left_out = &longest[longest.len() / 2];
    let place = payloads.iter().position(|payload| payload == left_out).expect("in the capture");
    let mut without: Vec<Sent> = capture;
    without.remove(place);
    let (lossy, out) = play(name, &without);
    let payloads: Vec<Vec<u8>> = without.into_iter().map(|sent| sent.payload).collect();
    same(name, &payloads, &out);
    counted(name, &lossy, &NOTHING);
    assert!(counter(&lossy, "lost") > 0, "{name}: {}", lossy["counters"]);
    assert_eq!(counter(&lossy, "expected"), counter(&state, "expected"), "{name}: {}", lossy["counters"]);
}

/// Fails unless the received datagrams equal those sent, in any order of streams.
fn same(name: &str, sent: &[Vec<u8>], out: &[Vec<u8>]) {
    let [mut sent, mut out] = [sent.to_vec(), out.to_vec()];
    sent.sort();
    out.sort();
    assert!(sent == out, "{name}: {} sent, {} out", sent.len(), out.len());
}

macro_rules! captures {
    ($($name:ident),*) => {
        /// The profiles that have a capture: all of them.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*
    };
}

captures!(
    mavlink, mavlink1, mavlink2, sacn, artnet, lcm, ccsds, vita49, moldudp64, netflow5, netflow9, ipfix,
    sflow5, ptp, aeron, edi
);

#[test]
fn each_profile_has_its_capture_and_is_recognised() {
    let mut profiles: Vec<&str> = wire::custom::Layout::profiles().iter().map(|(name, _)| *name).collect();
    let mut names = NAMES.to_vec();
    profiles.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, profiles);
    for name in NAMES {
        let file = format!("{}/fixtures/formats/{name}.pcap", env!("CARGO_MANIFEST_DIR"));
        let output = common::tidecast(["probe", "--json", &file]).output().expect("run");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        // the capture of one version has the datagrams of both
        let expected = if name.starts_with("mavlink") { "mavlink" } else { name };
        assert_eq!(report["format_guess"], expected, "{name}: {report}");
        let output = common::tidecast(["probe", "--json", "--format", name, &file]).output().expect("run");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let none = |counter: &str| report["numbers"][counter] == 0;
        assert!(none("lost") && none("restarts") && none("duplicates") && none("strays"), "{name}: {report}");
        assert!(report["corrupt"] == 0 && report["foreign"] == 0, "{name}: {report}");
    }
}
