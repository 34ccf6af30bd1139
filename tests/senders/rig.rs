//! A relay on separate groups, its output and its state; and the datagrams of several formats.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tidecast_wire::{rtp, ts};

use super::common::{Running, free_port, get, group, now, stamped::Collector, until, until_clients};

pub(super) const MS: Duration = Duration::from_millis(1);
/// Longer than a gap may stay open, so that losses have been counted.
const GAPS_CLOSE: Duration = Duration::from_secs(2);

pub(super) struct Rig {
    pub(super) relay: Running,
    pub(super) http: SocketAddr,
    /// Destinations, leg by leg.
    pub(super) legs: Vec<(Ipv4Addr, u16)>,
    output: Collector,
}

impl Rig {
    /// Starts `tidecast relay` with this many legs, and an output with the options in `query`.
    pub(super) fn new(scheme: &str, legs: usize, query: &str, args: &[&str]) -> Rig {
        let legs: Vec<_> = (0..legs).map(|_| (group(), free_port())).collect();
        let output = Collector::unicast();
        let inputs = legs.iter().map(|(group, port)| format!("{scheme}://@{group}:{port}?if=127.0.0.1"));
        let to = format!("udp://{}{query}", output.addr);
        let rest = ["--to", &to, "--http", "127.0.0.1:0"].into_iter().chain(args.iter().copied());
        let all = ["relay".to_owned()].into_iter().chain(inputs).chain(rest.map(str::to_owned));
        let mut relay = Running::tidecast(all);
        let http = relay.http();
        Rig { relay, http, legs, output }
    }

    /// Starts a relay with one leg of `udp://`.
    pub(super) fn of(format: &str) -> Rig {
        Rig::new("udp", 1, "", &["--format", format])
    }

    pub(super) fn send(&self, from: &UdpSocket, bytes: &[u8]) {
        from.send_to(bytes, self.legs[0]).expect("send");
    }

    pub(super) fn state(&self) -> Value {
        let (status, _, body) = get(self.http, "/api/v1/streams");
        assert_eq!(status, 200, "{body}");
        let all: Value = serde_json::from_str(&body).expect("JSON");
        all["channels"][0].clone()
    }

    /// Waits until `count` datagrams are output and nothing is held. Returns the counters and the
    /// output.
    pub(super) fn finish(self, count: usize) -> (Value, Vec<Vec<u8>>) {
        let (state, out, _) = self.finish_with_log(count);
        (state, out)
    }

    pub(super) fn finish_with_log(mut self, count: usize) -> (Value, Vec<Vec<u8>>, String) {
        self.output.wait_for(count, GAPS_CLOSE);
        // Packets that wait for their time, or are under probation, are output or counted by then.
        let state = until("nothing to be held", || Some(self.state()).filter(|state| state["held"] == 0));
        let log = self.relay.stop();
        let out = self.output.finish().into_iter().map(|datagram| datagram.bytes).collect();
        (state, out, log)
    }
}

/// Returns a counter of a channel.
pub(super) fn counter(state: &Value, name: &str) -> u64 {
    let counters = &state["counters"];
    counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"))
}

/// Fails unless these counters have these values.
pub(super) fn counted(what: &str, state: &Value, expected: &[(&str, u64)]) {
    let found: Vec<(&str, u64)> = expected.iter().map(|(name, _)| (*name, counter(state, name))).collect();
    assert_eq!(found, expected, "{what}: {} {}", state["counters"], state["rejects"]);
}

/// Fails, with only the first difference, unless all sent packets were output, in order.
pub(super) fn all_came(what: &str, sent: &[Vec<u8>], out: &[Vec<u8>]) {
    let same = sent.iter().zip(out).take_while(|(a, b)| a == b).count();
    let [a, b] = [sent, out].map(|list| list.get(same).map(|bytes| &bytes[..bytes.len().min(40)]));
    assert!(
        sent.len() == same && out.len() == same,
        "{what}: {} sent, {} out; the first other one is {same}: {a:02x?}, {b:02x?}",
        sent.len(),
        out.len()
    );
}

/// Sends at a steady pace by the clock: a pause of the machine is made up for.
pub(super) fn paced(interval: Duration, count: usize, mut send: impl FnMut(usize)) {
    let start = now();
    for n in 0..count {
        thread::sleep((interval * n as u32).saturating_sub(start.elapsed()));
        send(n);
    }
}

/// A player over HTTP that starts with the next packet.
pub(super) struct Player(JoinHandle<Vec<u8>>);

impl Player {
    /// Connects the only player of this relay.
    pub(super) fn of(rig: &Rig) -> Player {
        let mut stream = TcpStream::connect(rig.http).expect("connect");
        stream.write_all(b"GET /streams/main?start=live HTTP/1.0\r\n\r\n").expect("write");
        until_clients(rig.http, 1);
        Player(thread::spawn(move || {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("read");
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
            answer.split_off(head + 4)
        }))
    }

    /// Returns the received bytes, once the relay has ended.
    pub(super) fn got(self) -> Vec<u8> {
        self.0.join().expect("no panic")
    }
}

/// Returns a MoldUDP64 packet with this many messages, starting at this number.
pub(super) fn mold(number: u64, messages: u16) -> Vec<u8> {
    let mut out = b"0000000042".to_vec();
    out.extend(number.to_be_bytes());
    out.extend(messages.to_be_bytes());
    if messages < u16::MAX {
        for message in 0..u64::from(messages) {
            out.extend([0, 8]);
            out.extend((number + message).to_be_bytes());
        }
    }
    out
}

pub(super) const U32: &str = "seq=u32be@0";

pub(super) fn u32(number: usize) -> Vec<u8> {
    [&(number as u32).to_be_bytes()[..], b"a reading of some bytes"].concat()
}

pub(super) fn rtp(payload_type: u8, ssrc: u32, number: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rtp::Repr { marker: false, payload_type, sequence: number, timestamp, ssrc, payload }.emit(&mut out);
    out
}

/// Returns datagram `n` of a transport stream, with seven packets.
pub(super) fn stream(n: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(7 * ts::PACKET);
    for place in 0..7 {
        let continuity = ((7 * n + place) & 15) as u8;
        out.extend([ts::SYNC, 1, 0, 0x10 | continuity]);
        out.extend((n as u32).to_be_bytes());
        out.extend([place as u8; ts::PACKET - 8]);
    }
    out
}
