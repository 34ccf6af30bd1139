//! Every fault that a path or a producer can have, with the real binary at 500 packets per second:
//! `relay` and `recv` receive the same group, and the output must be the sent packets, in order,
//! without a long silence.
//!
//! Wrong packets fail immediately. A silence is measured between kernel timestamps, minus the time
//! in which the test's own sender was late; since the machine can also delay the relay, a case
//! counts as too silent only if it is so every time.

mod case;
mod legs;
mod requests;
mod together;

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use case::{Case, FAULTS, Fault, Wire};
use common::{Running, stamped::Collector};
use tidecast_net::clock;
use tidecast_testkit::common;

const INTERVAL: Duration = Duration::from_millis(2);
const HOLD: Duration = Duration::from_millis(150);
const SILENCE_MAX: Duration = Duration::from_millis(160);
const TRIES: usize = 3;
/// Number of cases at the same time: each has four processes and threads, and is idle most of the
/// time.
const AT_ONCE: usize = 6;

/// Reason why a case failed.
enum Failure {
    /// Other packets or counts than expected: a fault of the relay, independent of the machine's
    /// load.
    Wrong(String),
    Silent(String),
}

impl Case {
    fn run(&self) -> Result<(), Failure> {
        let script = self.script();
        let (group, port, output) = (common::group(), common::free_port(), Collector::unicast());
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("payloads");
        let (scheme, format) = self.input();
        let input = format!("{scheme}://@{group}:{port}?if=127.0.0.1");
        let (to, file_name) = (format!("udp://{}", output.addr), file.display().to_string());
        let common = [input.as_str(), "--hold", "150ms", "--format", format];
        let mut relay =
            Running::tidecast(["relay"].into_iter().chain(common).chain(["--to", &to, "--tick", self.tick]));
        let mut recv =
            Running::tidecast(["recv"].into_iter().chain(common).chain(["-o", &file_name, "--json"]));

        let sent = send(&common::sender(), (group, port), &script.steps);
        output.wait_for(script.expected.len(), HOLD + Duration::from_secs(1));
        let (relay_said, recv_said) = (relay.stop(), recv.stop());
        let received = output.finish();

        let bytes: Vec<&[u8]> = received.iter().map(|datagram| &*datagram.bytes).collect();
        let written = std::fs::read(&file).expect("what recv wrote");
        let other = (written != script.payloads).then(|| "recv wrote other payloads".to_owned());
        let wrong = script.difference(&bytes).or(other).or_else(|| script.compare(&recv_said).err());
        let arrivals: Vec<Duration> = received.iter().map(|datagram| datagram.stamp).collect();
        let (silence, at) = longest_silence(&sent, &arrivals);
        let context = || format!("{self}\nrelay:\n{relay_said}\nrecv:\n{recv_said}");
        println!("{self}: longest silence {silence:?}");
        if let Some(wrong) = wrong {
            return Err(Failure::Wrong(format!("{wrong}\n{}", context())));
        }
        if silence > SILENCE_MAX {
            let what = format!("silent for {silence:?} before packet {at}, expected at most {SILENCE_MAX:?}");
            return Err(Failure::Silent(format!("{what}\n{}", context())));
        }
        Ok(())
    }

    /// Runs the case, and again if it was too silent. `Err` contains the failure of each attempt.
    fn run_with_patience(&self) -> Result<(), String> {
        let mut silences = Vec::new();
        while silences.len() < TRIES {
            match self.run() {
                Ok(()) => return Ok(()),
                Err(Failure::Wrong(what)) => return Err(what),
                Err(Failure::Silent(what)) => silences.push(what),
            }
        }
        Err(silences.join("\n"))
    }
}

/// Sends all steps at their pace. Returns the time right after each.
fn send(socket: &UdpSocket, to: (Ipv4Addr, u16), steps: &[Vec<u8>]) -> Vec<Duration> {
    let start = common::now();
    let send = |(step, bytes): (usize, &Vec<u8>)| {
        let due = INTERVAL * step as u32;
        thread::sleep(due.saturating_sub(start.elapsed()));
        socket.send_to(bytes, to).expect("send");
        clock::unix()
    };
    steps.iter().enumerate().map(send).collect()
}

/// Returns the longest time without an output during which the sender was sending, and the index
/// of the output that ended it.
fn longest_silence(sent: &[Duration], received: &[Duration]) -> (Duration, usize) {
    // The periods in which the sender was late.
    let stalls: Vec<(Duration, Duration)> = sent
        .windows(2)
        .filter(|pair| pair[1] > pair[0] + INTERVAL)
        .map(|pair| (pair[0] + INTERVAL, pair[1]))
        .collect();
    let mut before = sent[0];
    let mut longest = (Duration::ZERO, 0);
    for (at, &stamp) in received.iter().enumerate() {
        let stalled: Duration =
            stalls.iter().map(|&(from, to)| to.min(stamp).saturating_sub(from.max(before))).sum();
        let silence = stamp.saturating_sub(before).saturating_sub(stalled);
        longest = longest.max((silence, at));
        before = stamp;
    }
    longest
}

/// Runs all faults with one format and both kinds of tick, some at the same time.
fn matrix(wire: Wire) {
    let mut cases = Vec::new();
    for fault in FAULTS {
        if wire == Wire::Custom && matches!(fault, Fault::NewRun(_)) {
            continue; // the format has no sessions
        }
        // The second start lets 16-bit numbers wrap in the middle of the run.
        for (tick, start) in [("5ms", 23_000), ("0", 65_536 - 300)] {
            cases.push(Case { wire, fault, tick, start });
        }
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let failure = case.run_with_patience().err();
                    failures.lock().expect("no panic").extend(failure);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {} cases:\n\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn rtp_survives_every_fault() {
    matrix(Wire::Rtp);
}

#[test]
fn native_survives_every_fault() {
    matrix(Wire::Native);
}

#[test]
fn custom_numbers_survive_every_fault() {
    matrix(Wire::Custom);
}

#[test]
fn silence_is_measured_without_the_senders_own_stalls() {
    let ms = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
    let sent = ms(&[100, 102, 104, 134, 136, 138]);
    assert_eq!(longest_silence(&sent, &ms(&[101, 103, 105, 135, 138])), (Duration::from_millis(3), 4));
    assert_eq!(longest_silence(&sent, &ms(&[101, 138])), (Duration::from_millis(9), 1));
    assert_eq!(longest_silence(&sent, &ms(&[110])), (Duration::from_millis(6), 0));
    assert_eq!(longest_silence(&sent, &ms(&[101, 134])).0, Duration::from_millis(5));
}
