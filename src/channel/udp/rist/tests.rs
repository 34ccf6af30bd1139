//! RIST outputs against real sockets on loopback.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use super::*;
use tidecast_testkit::sockets::{PATIENCE, QUIET, free_port, group, input, payloads, receive};
use tidecast_wire::{
    rtcp::{Compound, Echo, Numbers, Packet, Repr},
    rtp,
};

const SSRC: u32 = 0x1234_5679;

/// An output with its resources.
struct Bench {
    rist: Rist,
    receive: ReceiveBatch,
    pool: Pool,
    send: SendBatch,
    /// Indices of the sockets that were reported as opened.
    opened: Vec<usize>,
    now: Instant,
}

impl Bench {
    fn new(url: &str) -> Bench {
        let now = clock::now();
        let rist = Rist::of(&url.parse().unwrap(), &None, 0, 1, now).unwrap();
        let (receive, pool, send) = (ReceiveBatch::new(), Pool::new(8), SendBatch::new());
        let mut bench = Bench { rist, receive, pool, send, opened: Vec::new(), now };
        bench.maintain();
        bench
    }

    fn maintain(&mut self) {
        let opened = &mut self.opened;
        self.rist.maintain(self.now, &mut Interfaces::read(self.now), |place, _| opened.push(place));
    }

    fn send(&mut self, packets: &[Vec<u8>]) {
        self.rist.send(self.now, &mut self.send, packets.iter().map(|packet| Datagram::plain(packet)));
    }

    /// Reads a socket; loopback delivers at once.
    fn receive(&mut self, place: usize) -> usize {
        let Bench { receive, pool, send, .. } = self;
        self.rist.receive(place, self.now, &mut Tools { receive, pool, send })
    }

    fn counts(&self) -> (u64, u64, u64) {
        let requests = self.rist.output().0.requests().unwrap();
        (requests.numbers.resent, requests.malformed, requests.foreign)
    }
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut out = Vec::new();
    rtp::Repr { marker: false, payload_type: 33, sequence, timestamp: 1, ssrc, payload: b"media" }
        .emit(&mut out);
    out
}

fn nack(first: u16) -> Vec<u8> {
    let mut out = Vec::new();
    Repr::RangeNack { media: SSRC & !1, numbers: &[Numbers { first, more: 0 }] }.emit(&mut out);
    out
}

fn bound(ip: Ipv4Addr, port: u16) -> Option<UdpSocket> {
    let socket = UdpSocket::bind((ip, port)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(socket)
}

/// A receiver's sockets, on an even port and the one above.
fn receiver() -> (u16, UdpSocket, UdpSocket) {
    loop {
        let port = free_port() & !1;
        let [media, rtcp] = [port, port + 1].map(|port| bound(Ipv4Addr::LOCALHOST, port));
        if let (Some(media), Some(rtcp)) = (media, rtcp) {
            return (port, media, rtcp);
        }
    }
}

fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 2048];
    let (len, source) = socket.recv_from(&mut bytes).unwrap();
    (bytes[..len].to_vec(), source)
}

fn is_silent(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(QUIET)).unwrap();
    socket.recv(&mut [0; 2048]).is_err()
}

#[test]
fn the_target_alone_is_answered_from_whichever_port() {
    let (port, media, rtcp) = receiver();
    let mut bench = Bench::new(&format!("rist://127.0.0.1:{port}"));
    assert_eq!(bench.opened, [0]);
    bench.send(&[packet(SSRC, 7), packet(SSRC, 8)]);
    let (report, from) = next(&rtcp);
    let names = |bytes: &[u8]| Compound::parse(bytes).unwrap().packets().filter_map(Result::ok).count();
    assert_eq!(names(&report), 2, "a new stream is made known before its first packet");
    assert_eq!([next(&media).0, next(&media).0], [packet(SSRC & !1, 7), packet(SSRC & !1, 8)]);

    let elsewhere = bound(Ipv4Addr::LOCALHOST, 0).unwrap();
    rtcp.send_to(&nack(8), from).unwrap();
    elsewhere.send_to(&nack(7), from).unwrap();
    elsewhere.send_to(b"hello", from).unwrap();
    bound(Ipv4Addr::new(127, 0, 0, 2), 0).unwrap().send_to(&nack(7), from).unwrap();
    assert_eq!(bench.receive(0), 4);
    assert_eq!([next(&media).0, next(&media).0], [packet(SSRC, 8), packet(SSRC, 7)], "marked by an odd SSRC");
    assert_eq!(bench.counts(), (2, 1, 1));
    assert!(is_silent(&media));
    assert_eq!(bench.rist.output().0.counters().packets, 4, "what is sent again counts, too");

    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    let echo = Echo { ssrc: 5, timestamp: 6, delay: 0, padding: &[] };
    Repr::EchoRequest(echo).emit(&mut asked);
    Repr::EchoResponse(echo).emit(&mut expected);
    elsewhere.send_to(&asked, from).unwrap();
    assert_eq!(bench.receive(0), 1);
    assert_eq!(next(&elsewhere).0, expected);
}

#[test]
fn receivers_of_a_group_answer_to_the_sender_or_through_the_group() {
    let (group, port) = (group(), free_port() & !1);
    let interfaces = Interfaces::read(clock::now());
    let media = Subscription::open(&input("", group, port), RECEIVE_BUFFER_MIN, &interfaces).unwrap();
    let rtcp = Subscription::open(&input("", group, port + 1), RECEIVE_BUFFER_MIN, &interfaces).unwrap();
    let mut bench = Bench::new(&format!("rist://{group}:{port}?if=127.0.0.1&ttl=0"));
    assert_eq!(bench.opened, [0, 1]);
    bench.send(&[packet(SSRC, 7), packet(SSRC, 8)]);
    let from = receive(&rtcp, 1)[0].source;
    let anybody = tidecast_testkit::sockets::sender(Ipv4Addr::LOCALHOST);
    anybody.send_to(&nack(7), from).unwrap();
    assert_eq!(bench.receive(0), 1);
    anybody.send_to(&nack(8), (group, port + 1)).unwrap();
    assert_eq!(bench.receive(1), 2, "its own report comes back, too");
    let all = [packet(SSRC & !1, 7), packet(SSRC & !1, 8), packet(SSRC, 7), packet(SSRC, 8)];
    assert_eq!(payloads(&receive(&media, 4)), all);
    assert_eq!(bench.counts(), (2, 0, 0));
}

#[test]
fn reports_come_in_time_and_the_end_is_said() {
    let (port, _media, rtcp) = receiver();
    let mut bench = Bench::new(&format!("rist://127.0.0.1:{port}"));
    let start = bench.now;
    for after in [0, 40, 79, 80, 159, 160] {
        bench.now = start + Duration::from_millis(after);
        bench.rist.report(bench.now, &mut bench.send);
    }
    assert_eq!(bench.rist.due(), start + Duration::from_millis(240));
    bench.rist.finish(bench.now, &mut bench.send);
    let reports: Vec<_> = (0..4).map(|_| next(&rtcp).0).collect();
    let last = Compound::parse(&reports[3]).unwrap().packets().last().unwrap().unwrap();
    assert!(matches!(last, Packet::Bye(_)), "{last:?}");
    assert!(reports[0] == reports[2] && is_silent(&rtcp));
}
