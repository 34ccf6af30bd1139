//! Retransmission between real processes: lost packets are retransmitted, and a flood of requests
//! gets no more than the configured share.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;
use tidecast_core::limits::RETRANSMIT_BYTES_MIN;
use tidecast_wire::rtcp::{Numbers, Repr};

use super::common::{PATIENCE, Running, free_port, metric, stamped::Collector, tidecast, until};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn summary(said: &str) -> Value {
    let line =
        said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no summary: {said}"));
    serde_json::from_str(line).expect("JSON")
}

/// Writes a file of packets that all differ.
fn file(folder: &Path, size: usize, count: usize) -> (String, Vec<u8>) {
    let bytes: Vec<u8> =
        (0..count * size).map(|i| (i / size) as u8 ^ (i.wrapping_mul(31) >> 3) as u8).collect();
    let path = folder.join("media");
    std::fs::write(&path, &bytes).expect("write");
    (path.display().to_string(), bytes)
}

/// Native NACKs go to the source of the packets, which is the link, and on to the producer.
#[test]
fn what_a_link_loses_a_producer_sends_again() {
    const COUNT: usize = 1500;
    let folder = tempfile::tempdir().expect("folder");
    let (media, bytes) = file(folder.path(), 400, COUNT);
    let out = folder.path().join("out");
    let [near, far] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let (input, to) = (format!("udp://@{far}"), format!("udp://{far}"));
    let mut recv = Running::tidecast(
        ["recv", "--retransmission", "on", "--hold", "1s", "--json", "-o"]
            .into_iter()
            .chain([out.to_str().expect("UTF-8"), &input]),
    );
    let near_input = format!("udp://@{near}");
    let link =
        ["impair", &near_input, "--to", &to, "--loss", "10%", "--burst", "4", "--seed", "11", "--json"];
    let (mut link, report) = (tidecast(link), folder.path().join("report"));
    link.stdout(File::create(&report).expect("create"));
    let mut link = Running::start(link);
    link.wait_for_line("ready");
    let send = ["send", "--file", &media, "--format", "native", "--size", "400", "--rate", "500pps"];
    let near_output = format!("udp://{near}");
    let mut send = Running::start(tidecast(send.into_iter().chain([near_output.as_str()])));
    assert!(send.wait().success(), "{}", send.stderr());
    thread::sleep(Duration::from_millis(1200)); // the hold of the gap that the end of the session revealed
    let (received, passed) = (summary(&recv.stop()), link.stop());
    let passed = summary(&std::fs::read_to_string(&report).expect(&passed));
    println!("{received}\n{passed}\n{}", send.stderr());

    let of =
        |report: &Value, key: &str| report[key].as_u64().unwrap_or_else(|| panic!("no {key} in {report}"));
    let written = std::fs::read(&out).expect("what recv wrote");
    // All three session ends may be lost, together with preceding packets, whose loss is then not
    // detected.
    assert!(written.len() >= (COUNT - 40) * 400, "{} bytes came: {received}", written.len());
    assert!(bytes.starts_with(&written), "something else came out: {received}");
    assert_eq!((of(&received, "lost"), of(&received, "kernel_drops")), (0, 0), "{received}");
    assert_eq!(of(&received, "delivered") * 400, written.len() as u64);
    assert_eq!(of(&received, "expected"), of(&received, "delivered") + of(&received, "lost"));
    assert!(of(&passed, "dropped_media") > COUNT as u64 / 20, "{passed}");
    assert!(of(&received, "recovered") > COUNT as u64 / 20, "{received}");
    let not_passed = of(&received, "duplicates") + of(&received, "late") + of(&received, "rejected");
    assert_eq!(
        of(&received, "received") + of(&received, "recovered"),
        of(&received, "delivered") + not_passed
    );
    assert!(of(&passed, "returned") > 0, "requests went back through the link: {passed}");
}

/// Returns an even port and the next higher one, both free.
fn pair() -> (UdpSocket, UdpSocket) {
    loop {
        let Ok(media) = UdpSocket::bind((LOCALHOST, free_port() & !1)) else { continue };
        let above = media.local_addr().expect("bound").port() + 1;
        if let Ok(rtcp) = UdpSocket::bind((LOCALHOST, above)) {
            return (media, rtcp);
        }
    }
}

/// Returns requests in both forms for the latest packets.
fn floods(media: u32, newest: u16) -> [Vec<u8>; 2] {
    let before = |count: u16| newest.wrapping_sub(count);
    let each: Vec<Numbers> = (0..12).map(|i| Numbers { first: before(17 * i + 16), more: 16 }).collect();
    let ranges = [Numbers { first: before(400), more: 400 }];
    let compound = |further: Repr<'_>| {
        let mut bytes = Vec::new();
        Repr::ReceiverReport { ssrc: 9, blocks: &[] }.emit(&mut bytes);
        Repr::Cname { ssrc: 9, cname: "greedy" }.emit(&mut bytes);
        further.emit(&mut bytes);
        bytes
    };
    [
        compound(Repr::GenericNack { sender: 9, media, numbers: &each }),
        compound(Repr::RangeNack { media, numbers: &ranges }),
    ]
}

/// Returns the address that the sender's RTCP comes from.
fn who_reports(socket: &UdpSocket) -> SocketAddr {
    socket.set_read_timeout(Some(PATIENCE)).expect("time-out");
    socket.recv_from(&mut [0; 2048]).expect("a report").1
}

/// Returns the SSRC and the number of an RTP packet; its retransmission has the same.
fn names(packet: &[u8]) -> (u32, u16) {
    let ssrc = u32::from_be_bytes(packet[8..12].try_into().expect("4 bytes"));
    (ssrc & !1, u16::from_be_bytes([packet[2], packet[3]]))
}

/// Many sockets repeatedly request everything while the stream is sent.
#[test]
fn a_flood_of_requests_gets_its_share_of_a_rist_output() {
    const COUNT: usize = 1500;
    const SHARE: usize = 10;
    const PACKET: usize = 12 + 1316;
    let (media, rtcp) = pair();
    let to = format!("rist://{}?share={SHARE}", media.local_addr().expect("bound"));
    let collector = Collector::new(media);
    let http = SocketAddr::from((LOCALHOST, free_port()));
    let input = format!("rtp://@127.0.0.1:{}", free_port());
    let mut relay = Running::tidecast(["relay", &input, "--to", &to, "--http", &http.to_string()]);
    let source = input.replace('@', "");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/test.ts");
    let count = COUNT.to_string();
    let send = ["send", "--loop", "--rate", "500pps", "--file", fixture, "--count", &count, &source];
    let mut send = Running::start(tidecast(send));
    let control = who_reports(&rtcp);

    let askers: Vec<UdpSocket> = (0..4).map(|_| UdpSocket::bind((LOCALHOST, 0)).expect("bind")).collect();
    let mut asked = 0_u64;
    while send.child.try_wait().expect("wait").is_none() {
        assert!(asked < 100_000, "the stream does not end: {}", send.stderr());
        let newest = collector.with(|all| all.last().map(|last| names(&last.bytes)));
        for asker in &askers {
            for flood in newest.iter().flat_map(|(ssrc, number)| floods(*ssrc, *number)) {
                asker.send_to(&flood, control).expect("send");
                asked += 1;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert!(send.wait().success(), "{}", send.stderr());
    let counted = |result: &str| metric(http, &["tidecast_output_requests_total{", &format!("\"{result}\"")]);
    let received = || metric(http, &["tidecast_packets_received_total{", "kind=\"media\""]);
    until("the whole stream", || (received() >= COUNT as f64).then_some(()));
    thread::sleep(Duration::from_millis(1500)); // the counters are updated once per second
    let (resent, refused) = (counted("resent"), counted("refused"));
    let said = relay.stop();
    let came = collector.finish();
    let again =
        came.iter().filter(|datagram| datagram.bytes[11] & 1 == 1).map(|datagram| datagram.bytes.len());
    let (again, all): (Vec<usize>, usize) = (again.collect(), came.len());
    println!("{asked} requests: {} of {all} packets were sent again, {refused} numbers refused", again.len());

    let numbers: Vec<u16> = came
        .iter()
        .filter(|datagram| datagram.bytes[11] & 1 == 0)
        .map(|datagram| names(&datagram.bytes).1)
        .collect();
    assert_eq!(numbers.len(), COUNT, "{said}");
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "the media in its order: {said}"
    );
    assert_eq!(resent, again.len() as f64, "{said}");
    let allowed = RETRANSMIT_BYTES_MIN as usize + COUNT * PACKET * SHARE / 100;
    let bytes: usize = again.iter().sum();
    assert!(bytes <= allowed, "{bytes} bytes again, {allowed} allowed\n{said}");
    assert!(bytes > allowed / 2, "nobody was answered: {bytes} of {allowed} allowed\n{said}");
    assert!(refused > 1000.0, "the flood was none: {asked} requests, {refused} refused\n{said}");
}
