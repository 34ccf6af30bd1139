//! Other RIST senders: librist and GStreamer send to tidecast over a path that loses packets, and
//! nothing is missing. If RTCP is lost as well, tidecast misses no more than librist's own
//! receiver.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    common::{Running, free_port, have, is_root},
    lossy::{Losses, LossyPath},
    pipelines::gstreamer,
    rist_out::librist,
    st2022::{LOCALHOST, ports},
};

/// Packets of one run: six seconds.
const COUNT: u64 = 3000;
const SIZE: usize = 1316;
/// Number of packets at either end that are never lost: losses before the first received packet,
/// or after the last, cannot be detected.
const SPARED: u64 = 25;

/// Returns a packet's payload, whose first bytes contain its number.
fn payload(number: u64) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..SIZE as u64).map(|i| ((i * (number + 7)) >> 3) as u8).collect();
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Returns a free even port whose next higher one is free, too.
fn pair() -> u16 {
    ports().0
}

/// tidecast as a receiver, with the usual buffer of RIST.
struct Receiver {
    running: Running,
    folder: TempDir,
}

impl Receiver {
    fn start(input: &str) -> Receiver {
        let folder = TempDir::new().expect("a folder");
        let output = folder.path().join("out");
        let output = output.to_str().expect("UTF-8");
        let mut running = Running::tidecast(["recv", "--hold", "1s", "--json", "-o", output, input]);
        running.wait_for_line("ready");
        Receiver { running, folder }
    }

    /// Returns the output numbers, after checking each whole payload, and the summary.
    fn finish(mut self) -> (Vec<u64>, Value) {
        thread::sleep(Duration::from_millis(1500)); // missing packets are requested during the hold
        let summary = self.running.stop();
        let summary = summary.lines().find(|line| line.starts_with('{')).expect("a summary");
        let bytes = std::fs::read(self.folder.path().join("out")).expect("the output");
        let numbers = bytes.chunks(SIZE).map(|packet| {
            let number = u64::from_be_bytes(packet[..8].try_into().expect("8 bytes"));
            assert_eq!(packet, payload(number), "number {number}");
            number
        });
        (numbers.collect(), serde_json::from_str(summary).expect("JSON"))
    }
}

/// Starts ristsender, which receives UDP payloads and sends them as RTP.
fn ristsender(input: u16, to: SocketAddr) -> Running {
    let mut command = Command::new("ristsender");
    command.args(["-p", "0", "-v", "3", "-S", "0", "-i", &format!("udp://127.0.0.1:{input}")]);
    command.args(["-o", &format!("rist://{to}?buffer=1000")]).stdout(Stdio::null());
    Running::start(command)
}

/// Sends all packets to a sender that receives UDP.
fn feed(to: u16) {
    let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    for number in 0..COUNT {
        socket.send_to(&payload(number), (LOCALHOST, to)).expect("send");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a sender, which `start` creates from its UDP input port and its destination, over a path
/// with 10 % of loss and bursts of 20 to tidecast's receiver.
fn from(start: fn(u16, SocketAddr) -> Running, near: SocketAddr, far: SocketAddr, input: &str) {
    let path = LossyPath::open(near, far, Losses::heavy(7, SPARED, COUNT - SPARED));
    let receiver = Receiver::start(input);
    let udp = free_port();
    let _sender = start(udp, near);
    thread::sleep(Duration::from_millis(1500)); // librist holds media back until its RTCP is answered
    feed(udp);
    let (numbers, summary) = receiver.finish();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let census = path.census();
    let (lost, again, asked) = (of(&census.lost), of(&census.again), of(&census.requests));
    println!("{input}: {lost} lost on the way, {asked} datagrams back, {again} sent again; {summary}");
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>(), "{summary}");
    assert!(lost > COUNT / 10, "only {lost} lost on the way");
    assert_eq!((&summary["lost"], &summary["sessions"]), (&0.into(), &1.into()));
    assert!(summary["recovered"].as_u64() >= Some(COUNT / 10), "{summary}");
    assert_eq!(
        summary["flows"].as_array().map(Vec::len),
        Some(1),
        "retransmissions make no flow of their own"
    );
}

/// Returns how many of ristsender's packets are missing after a path that loses in both
/// directions, counted from the first received one. Packets that are not requested in time are
/// lost permanently, so some may be missing.
fn missing(
    (chance, round_trip): (f64, Duration),
    receive: impl FnOnce(SocketAddr) -> Box<dyn FnOnce() -> Vec<u64>>,
) -> u64 {
    let [near, far] = [pair(), pair()].map(|port| SocketAddr::from((LOCALHOST, port)));
    let losses = Losses::both_ways(11, chance, round_trip, SPARED, COUNT - SPARED);
    let _path = LossyPath::open(near, far, losses);
    let finish = receive(far);
    let udp = free_port();
    let _sender = ristsender(udp, near);
    // librist holds media back until its RTCP is answered, which takes longer if replies are lost
    thread::sleep(Duration::from_secs(3));
    feed(udp);
    let numbers = finish();
    let first = *numbers.first().expect("something came");
    assert!(first <= SPARED, "{first} is the first");
    COUNT - first - numbers.len() as u64
}

fn ours(far: SocketAddr) -> Box<dyn FnOnce() -> Vec<u64>> {
    let receiver = Receiver::start(&format!("rist://@{far}"));
    Box::new(|| {
        let (numbers, summary) = receiver.finish();
        let disorder = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(disorder, None, "{summary}");
        numbers
    })
}

/// Runs librist's receiver, with the same buffer. The order of its output is not checked.
fn theirs(far: SocketAddr) -> Box<dyn FnOnce() -> Vec<u64>> {
    let (receiver, collector) = librist(&format!("rist://@{far}"));
    Box::new(move || {
        thread::sleep(Duration::from_millis(1500)); // the duration of its buffer
        drop(receiver);
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
        let numbers: BTreeSet<u64> =
            collector.finish().into_iter().map(|(_, bytes)| number(&bytes)).collect();
        numbers.into_iter().collect()
    })
}

#[test]
fn where_requests_are_lost_we_miss_no_more_than_librist() {
    if !have("ristsender") || !have("ristreceiver") {
        return;
    }
    for (chance, milliseconds) in [(0.1, 100), (0.3, 100), (0.2, 300)] {
        let path = (chance, Duration::from_millis(milliseconds));
        let (ours, theirs) = (missing(path, ours), missing(path, theirs));
        println!("{chance} lost both ways, {milliseconds} ms: {ours} of {COUNT} missing, librist {theirs}");
        // a packet is missing by chance if every request or every retransmission of it is lost
        assert!(ours <= theirs + COUNT / 200, "{chance}, {milliseconds} ms: {ours}, librist {theirs}");
    }
}

/// Runs a sender over unicast.
fn on_loopback(start: fn(u16, SocketAddr) -> Running) {
    let [near, far] = [pair(), pair()].map(|port| SocketAddr::from((LOCALHOST, port)));
    from(start, near, far, &format!("rist://@{far}"));
}

#[test]
fn nothing_from_librist_is_missing() {
    if have("ristsender") {
        on_loopback(ristsender);
    }
}

/// In a separate network: librist sends to groups according to the routing table, regardless of
/// the interface option.
#[test]
fn nothing_from_librist_by_multicast_is_missing() {
    if !have("ristsender") || !have("ip") || !is_root() {
        return;
    }
    let apart = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        for words in ["link set lo up", "route add 224.0.0.0/4 dev lo src 127.0.0.1"] {
            let status = Command::new("ip").args(words.split(' ')).status().expect("ip");
            assert!(status.success(), "ip {words}");
        }
        let at = |last| SocketAddr::from((Ipv4Addr::new(239, 200, 1, last), 5000));
        from(ristsender, at(1), at(2), &format!("rist://@{}?if=127.0.0.1", at(2)));
    });
    apart.join().expect("nothing is missing");
}

/// Starts GStreamer's sender, which answers only if it knows its SSRC from the caps, which any
/// payloader sets.
fn ristsink(input: u16, to: SocketAddr) -> Running {
    gstreamer(&format!(
        "udpsrc address=127.0.0.1 port={input} caps=video/mpegts,systemstream=true,packetsize=188 \
         ! rtpmp2tpay ! ristsink address={} port={} sender-buffer=2000",
        to.ip(),
        to.port()
    ))
}

#[test]
fn nothing_from_gstreamer_is_missing() {
    if have("gst-launch-1.0") {
        on_loopback(ristsink);
    }
}
