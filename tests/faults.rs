//! Every fault that a path or a producer can have, through the real binary at 500 packets a second: `relay` and
//! `recv` hear the same group, and what comes out must be what was sent, in order, without a long silence.
//!
//! What is wrong with the packets fails at once. A silence is measured between kernel time stamps, less the time in
//! which the test's own sender was late; since the machine can also delay the relay, a case counts as too silent
//! only if it is that every time.

mod common;

use std::{
    fmt,
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Running, stamped::Collector};
use tidecast::{
    clock,
    wire::{native, rtp},
};

const PACKETS: u64 = 1000;
const INTERVAL: Duration = Duration::from_millis(2);
const HOLD: Duration = Duration::from_millis(150);
const SILENCE_MAX: Duration = Duration::from_millis(160);
const TRIES: usize = 3;
/// Cases at the same time: each has four processes and threads, and is idle most of the time.
const AT_ONCE: usize = 6;
const SEED: u64 = 0x7c15_9e37;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Rtp,
    Native,
    /// `seq=u16be@2`, one flow per sender.
    Custom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Swaps,
    Late(u64),
    Duplicates,
    Loss,
    /// The numbers go on elsewhere in the same session.
    Jump(i64),
    ToZero,
    /// A new session id or SSRC, whose numbers begin at this one.
    NewRun(u64),
    /// One packet that nobody sent, so far from the numbers in use.
    Forged(i64),
}

const FAULTS: [Fault; 14] = [
    Fault::None,
    Fault::Swaps,
    Fault::Late(8),
    Fault::Late(40),
    Fault::Duplicates,
    Fault::Loss,
    Fault::Jump(30_000),
    Fault::Jump(-400),
    Fault::ToZero,
    Fault::NewRun(0),
    // The new numbers wrap (where they do) while they are new.
    Fault::NewRun(65_530),
    Fault::Forged(2000),
    Fault::Forged(-2000),
    Fault::Forged(20_000),
];

#[derive(Debug, Clone, Copy)]
struct Case {
    wire: Wire,
    fault: Fault,
    tick: &'static str,
    /// The first number.
    start: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { wire, fault, tick, start } = self;
        write!(f, "{wire:?}, {fault:?}, tick {tick}, numbers from {start}, seed {SEED:#x}")
    }
}

/// Why a case failed.
enum Failure {
    /// Other packets or counts than expected: a fault of the relay, whatever the machine does.
    Wrong(String),
    Silent(String),
}

/// What a case sends, and what must come out: datagrams and payloads.
#[derive(Default)]
struct Script {
    steps: Vec<Vec<u8>>,
    expected: Vec<Vec<u8>>,
    payloads: Vec<u8>,
    dropped: u64,
    duplicates: u64,
    forged: u64,
}

impl Case {
    /// The run (session or SSRC) and the number of a packet.
    fn number(&self, id: u64) -> (u32, u64) {
        let half = PACKETS / 2;
        match self.fault {
            Fault::Jump(by) if id >= half => (1, (self.start + id).wrapping_add_signed(by)),
            Fault::ToZero if id >= half => (1, id - half),
            Fault::NewRun(first) if id >= half => (2, first + id - half),
            _ => (1, self.start + id),
        }
    }

    fn payload(id: u64) -> Vec<u8> {
        let length = 20 + id * 7 % 200;
        (0..length).map(|at| (id >> (8 * (at % 4))) as u8).collect()
    }

    fn datagram(&self, (run, number): (u32, u64), id: u64) -> Vec<u8> {
        let (payload, mut out) = (Case::payload(id), Vec::new());
        match self.wire {
            Wire::Rtp => rtp::Repr {
                marker: false,
                payload_type: 96,
                sequence: number as u16,
                timestamp: (id as u32).wrapping_mul(180),
                ssrc: 0xabcd_0000 + run,
                payload: &payload,
            }
            .emit(&mut out),
            Wire::Native => native::Repr {
                kind: native::Kind::Data,
                flags: 0,
                stream: 7,
                session: run,
                sequence: number,
                timestamp: 1_700_000_000_000_000 + id * 2000,
                payload: &payload,
            }
            .emit(&mut out),
            Wire::Custom => {
                out.extend_from_slice(&[0x01, 0x02]);
                out.extend_from_slice(&(number as u16).to_be_bytes());
                out.extend_from_slice(&payload);
            }
        }
        out
    }

    fn script(&self) -> Script {
        let mut script = Script::default();
        // Each datagram with its place: twice its turn, plus something odd for what comes between.
        let mut steps = Vec::new();
        let mut random = SEED;
        for id in 0..PACKETS {
            let datagram = self.datagram(self.number(id), id);
            let inner = (20..PACKETS - 110).contains(&id);
            let mut place = 2 * id;
            match self.fault {
                Fault::Swaps if inner && id % 10 == 0 => place += 3,
                Fault::Late(by) if inner && id % (2 * by + 7) == 0 => place += 2 * by + 1,
                Fault::Duplicates if inner => {
                    for (every, later) in [(20, 0), (33, 1), (50, 10), (90, 60)] {
                        if id % every == 7 {
                            steps.push((2 * (id + later) + 1, datagram.clone()));
                            script.duplicates += 1;
                        }
                    }
                }
                Fault::Loss => {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    if inner && (random >> 33).is_multiple_of(100) {
                        script.dropped += 1;
                        continue;
                    }
                }
                Fault::Forged(by) if id == PACKETS / 2 => {
                    let (run, number) = self.number(id);
                    let forged = (run, number.wrapping_add_signed(by));
                    steps.push((2 * id + 1, self.datagram(forged, 1 << 30)));
                    script.forged = 1;
                }
                _ => {}
            }
            script.payloads.extend(match self.wire {
                Wire::Custom => datagram.clone(),
                _ => Case::payload(id),
            });
            script.expected.push(datagram.clone());
            steps.push((place, datagram));
        }
        steps.sort_by_key(|(place, _)| *place);
        script.steps = steps.into_iter().map(|(_, datagram)| datagram).collect();
        script
    }

    fn run(&self) -> Result<(), Failure> {
        let script = self.script();
        let (group, port, output) = (common::group(), common::free_port(), Collector::unicast());
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("payloads");
        let (scheme, format) = match self.wire {
            Wire::Rtp => ("rtp", "rtp"),
            Wire::Native => ("udp", "auto"),
            Wire::Custom => ("udp", "seq=u16be@2"),
        };
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

    /// `Err`: what is wrong, each time.
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

impl Script {
    /// The summary of `recv` against what was done.
    fn compare(&self, said: &str) -> Result<(), String> {
        let json = said.lines().find(|line| line.starts_with('{')).ok_or("no summary")?;
        let summary: serde_json::Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        for (key, expected) in [
            ("kernel_drops", 0), // first: it would explain the others
            ("received", self.steps.len() as u64),
            ("delivered", self.expected.len() as u64),
            ("lost", self.dropped),
            ("duplicates", self.duplicates),
            ("rejected", self.forged),
            ("late", 0),
            ("corrupt", 0),
            ("foreign", 0),
        ] {
            if summary[key] != expected {
                return Err(format!("recv counted {key} {}, expected {expected}", summary[key]));
            }
        }
        Ok(())
    }

    /// What is wrong with the datagrams that came out.
    fn difference(&self, received: &[&[u8]]) -> Option<String> {
        let expected = &self.expected;
        let at = received.iter().zip(expected).position(|(received, expected)| received != expected);
        let at = at.or((received.len() != expected.len()).then_some(received.len().min(expected.len())))?;
        let place = |bytes: &[u8]| expected.iter().position(|expected| expected == bytes);
        let came = received[at..].iter().take(12).map(|bytes| place(bytes));
        let came: Vec<String> = came.map(|id| id.map_or("?".to_owned(), |id| id.to_string())).collect();
        let missing = expected.iter().filter(|expected| !received.contains(&expected.as_slice())).count();
        Some(format!(
            "{} datagrams came, expected {}, {missing} are missing; packet {at} should have come, but [{}] came",
            received.len(),
            expected.len(),
            came.join(", "),
        ))
    }
}

/// Sends all steps at their pace; gives the time right after each.
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

/// The longest time without an output in which the sender was sending, and the output that ended it.
fn longest_silence(sent: &[Duration], received: &[Duration]) -> (Duration, usize) {
    // When the sender was overdue.
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

/// Runs all faults over one format with both kinds of tick, some at the same time.
fn matrix(wire: Wire) {
    let mut cases = Vec::new();
    for fault in FAULTS {
        if wire == Wire::Custom && matches!(fault, Fault::NewRun(_)) {
            continue; // it has no sessions
        }
        // The second start lets 16-bit numbers wrap in mid-run.
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
