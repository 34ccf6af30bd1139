//! RIST senders of others: librist sends to us through a path that loses packets, and nothing is missing.

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    common::{Running, have},
    lossy::{Losses, LossyPath},
    st2022::{LOCALHOST, port, ports},
};

/// Packets of one run: six seconds.
const COUNT: u64 = 3000;
const SIZE: usize = 1316;
/// What is lost before the first packet that comes, or behind the last one, nobody can know of.
const SPARED: u64 = 25;

/// A packet's payload; its number is in its first bytes.
fn payload(number: u64) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..SIZE as u64).map(|i| ((i * (number + 7)) >> 3) as u8).collect();
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// A free even port whose next one is free, too.
fn pair() -> u16 {
    ports().0
}

/// Our receiver, with the buffer that RIST usually has.
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

    /// The numbers that came out, each with its whole payload, and the summary.
    fn finish(mut self) -> (Vec<u64>, Value) {
        thread::sleep(Duration::from_millis(1500)); // what is missing is asked for during the hold
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

/// ristsender takes UDP payloads and sends them as RTP.
fn ristsender(input: u16, to: SocketAddr) -> Running {
    let mut command = Command::new("ristsender");
    command.args(["-p", "0", "-v", "3", "-S", "0", "-i", &format!("udp://127.0.0.1:{input}")]);
    command.args(["-o", &format!("rist://{to}?buffer=1000")]).stdout(Stdio::null());
    Running::start(command)
}

/// Feeds a sender that takes UDP, until it has all.
fn feed(to: u16, wrap: impl Fn(u64) -> Vec<u8>) {
    let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    for number in 0..COUNT {
        socket.send_to(&wrap(number), (LOCALHOST, to)).expect("send");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Through 10 % of loss and bursts of 20, from librist.
fn from_librist(near: SocketAddr, far: SocketAddr, input: &str) {
    let path = LossyPath::open(near, far, Losses::heavy(7, SPARED, COUNT - SPARED));
    let receiver = Receiver::start(input);
    let (udp, reserved) = port();
    drop(reserved);
    let _sender = ristsender(udp, near);
    thread::sleep(Duration::from_millis(1500)); // it holds media back until it was answered
    feed(udp, payload);
    let (numbers, summary) = receiver.finish();
    let lost = path.census().lost.load(Ordering::Relaxed);
    println!("{input}: {lost} lost on the way; {summary}");
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

#[test]
fn nothing_from_librist_is_missing() {
    if !have("ristsender") {
        return;
    }
    let (near, far) = (pair(), pair());
    let at = |port| SocketAddr::from((LOCALHOST, port));
    from_librist(at(near), at(far), &format!("rist://@127.0.0.1:{far}"));
}
