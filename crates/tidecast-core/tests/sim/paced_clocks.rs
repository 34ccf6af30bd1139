//! Tests of paced release when a source's clock stops, moves to another PID, jumps or is wrong:
//! none of this is visible to receivers.

use std::{collections::BTreeMap, time::Duration};

use tidecast_core::relay::{Config, Delay, Hold, Release};
use tidecast_wire::{native::Kind, rtp, ts};

use crate::{
    formats::native,
    harness::{Dice, MS, Repeat, Sim, config, seed, source},
};

const SECOND: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_millis(60);

/// Packets with their sending times in milliseconds.
type Sent = Vec<(u64, Vec<u8>)>;

/// The released packets of a stream.
#[derive(Debug)]
struct Out {
    what: String,
    /// When each packet was sent and left, in milliseconds.
    packets: Vec<(f64, f64)>,
    configured: f64,
    delay: f64,
    clock: &'static str,
}

impl Out {
    /// Sends it over a path with up to 20 ms of jitter that keeps the order.
    fn of(what: &str, format: &str, delay: Delay, sent: &Sent, seed: u64) -> Out {
        let release = Release::Paced(delay);
        let mut sim = Sim::new(Config { hold: Hold::Fixed(HOLD), release, ..config(format) });
        let mut dice = Dice::new(seed);
        let mut last = Duration::ZERO;
        for (n, (at, datagram)) in sent.iter().enumerate() {
            let jitter = if n < 5 { 0 } else { dice.below(20) };
            last = last.max(MS * (*at + jitter) as u32);
            sim.packet_from(last, 0, source(1), datagram);
        }
        sim.run_until(last + 5 * SECOND);
        let number = |payload: &[u8]| u64::from_be_bytes(*payload.last_chunk().expect("a number"));
        let left = sim.delivered(number);
        let counters = sim.check_counters();
        assert_eq!((counters.lost, left.len()), (0, sent.len()), "{what}: {counters:?}");
        assert!(left.iter().map(|(_, number)| *number).eq(0..sent.len() as u64), "{what}: in order");
        let pacing = sim.relay.flows().last().and_then(|flow| flow.pacing).expect("paced");
        let packets = sent.iter().zip(&left).map(|((at, _), (out, _))| (*at as f64, out.as_secs_f64() * 1e3));
        let configured = match delay {
            Delay::Auto => 210.0,
            Delay::Fixed(delay) => delay.as_secs_f64() * 1e3,
        };
        let (packets, delay) = (packets.collect(), pacing.delay.as_secs_f64() * 1e3);
        let out = Out { what: format!("{what}, {delay:?}"), packets, configured, delay, clock: pacing.clock };
        println!(
            "{}: {} silent {:.0} ms, delays by second {:?}, in force {:.0} ms",
            out.what,
            out.clock,
            out.silent(),
            out.by_second(),
            out.delay
        );
        out
    }

    /// Returns the maximum time without a packet beyond that of the source.
    fn silent(&self) -> f64 {
        let pairs = self.packets.windows(2);
        pairs.map(|pair| pair[1].1 - pair[0].1 - (pair[1].0 - pair[0].0)).fold(0.0, f64::max)
    }

    /// Returns the median delay of each second in which packets were sent.
    fn by_second(&self) -> Vec<i64> {
        let mut seconds: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (sent, left) in &self.packets {
            seconds.entry(*sent as u64 / 1000).or_default().push((left - sent) as i64);
        }
        let median = |mut delays: Vec<i64>| {
            delays.sort_unstable();
            delays[delays.len() / 2]
        };
        seconds.into_values().map(median).collect()
    }

    /// Checks that there is no silence of that length, and that the delay deviates from the
    /// configured one by at most `off` in every second except the first ones.
    fn holds(&self, silent: f64, off: i64, first: usize) {
        assert!(self.silent() < silent, "{}: silent for {} ms", self.what, self.silent());
        let seconds = self.by_second();
        let right = |delay: &i64| (delay - self.configured as i64).abs() <= off;
        assert!(seconds[first..].iter().all(right), "{}: {seconds:?}", self.what);
        assert!((self.delay - self.configured).abs() < 1.0, "{}: in force {} ms", self.what, self.delay);
    }
}

const DELAYS: [Delay; 2] = [Delay::Auto, Delay::Fixed(Duration::from_millis(200))];

fn in_rtp(payload_type: u8, number: u64, timestamp: u64, payload: &[u8]) -> Vec<u8> {
    let (sequence, timestamp) = (number as u16, timestamp as u32);
    let mut out = Vec::new();
    rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc: 7, payload }.emit(&mut out);
    out
}

fn ts_packet(pid: u16, number: u64, pcr: Option<f64>) -> Vec<u8> {
    let mut packet = vec![0xff; ts::PACKET];
    packet[..4].copy_from_slice(&[ts::SYNC, (pid >> 8) as u8, pid as u8, 0x10]);
    if let Some(seconds) = pcr {
        let ticks = (seconds * ts::Pcr::HZ as f64) as u64 % ts::Pcr::WRAP;
        let (base, extension) = (ticks / 300, ticks % 300);
        packet[3] = 0x20;
        packet[4..6].copy_from_slice(&[183, 0x10]);
        packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[10] = ((base & 1) << 7) as u8 | 0x7e | (extension >> 8) as u8;
        packet[11] = extension as u8;
    } else {
        packet[3] |= (number & 15) as u8;
    }
    packet[180..].copy_from_slice(&number.to_be_bytes());
    packet
}

/// Returns the PCRs at a time in seconds: PIDs and values.
type Pcrs = fn(f64) -> Vec<(u16, f64)>;

const PCRS: [(&str, Pcrs); 9] = [
    ("all the time", |t| vec![(0x1f0, t + 10.0)]),
    ("missing for 1 s", |t| if (4.0..5.0).contains(&t) { vec![] } else { vec![(0x1f0, t + 10.0)] }),
    ("missing for 0.5 s, again and again", |t| if t % 2.0 > 1.5 { vec![] } else { vec![(0x1f0, t + 10.0)] }),
    ("stops", |t| if t < 4.0 { vec![(0x1f0, t + 10.0)] } else { vec![] }),
    ("stands", |t| vec![(0x1f0, t.min(4.0) + 10.0)]),
    ("stands for 1 s and goes on from there", |t| {
        vec![(0x1f0, if t < 4.0 { t } else { 4.0 + (t - 5.0).max(0.0) } + 10.0)]
    }),
    ("moves to another PID", |t| vec![if t < 4.0 { (0x1f0, t + 10.0) } else { (0x2f0, t + 5000.0) }]),
    ("of two programmes, one of which ends", |t| {
        let second = (0x2f0, t + 5000.0);
        if t < 4.0 { vec![(0x1f0, t + 10.0), second] } else { vec![second] }
    }),
    ("stops late", |t| if t < 9.0 { vec![(0x1f0, t + 10.0)] } else { vec![] }),
];

/// Returns transport packets at 200 datagrams per second, with one that may have PCRs every 30 ms;
/// `rtp`: in RTP with constant timestamps.
fn transport_stream(pcrs: Pcrs, rtp: bool) -> Sent {
    let datagram = |number: u64| {
        let read = if number.is_multiple_of(6) { pcrs(number as f64 * 0.005) } else { vec![] };
        let mut payload: Vec<u8> =
            read.iter().flat_map(|(pid, pcr)| ts_packet(*pid, number, Some(*pcr))).collect();
        while payload.len() < 7 * ts::PACKET {
            payload.extend(ts_packet(0x100, number, None));
        }
        if rtp { in_rtp(33, number, number * 450, &payload) } else { payload }
    };
    (0..2800).map(|number| (number * 5, datagram(number))).collect()
}

#[test]
fn a_pcr_that_stops_or_moves_is_not_seen() {
    let seed = seed(36);
    let _repeat = Repeat(seed);
    for (what, pcrs) in PCRS {
        for delay in DELAYS {
            for (format, rtp) in [("ts", false), ("rtp", true)] {
                let out = Out::of(what, format, delay, &transport_stream(pcrs, rtp), seed);
                out.holds(60.0, 20, 1);
            }
        }
    }
}

/// The same at a variable rate: pictures of 4 to 8 datagrams, each twelfth of 30, with their PCRs
/// first.
fn variable_stream(pcrs: Pcrs, rtp: bool, seed: u64) -> Sent {
    let mut dice = Dice::new(seed);
    let mut sent: Sent = Vec::new();
    for picture in 0..350_u64 {
        let count = if picture.is_multiple_of(12) { 30 } else { 4 + dice.below(5) };
        let read = pcrs(picture as f64 * 0.040);
        for n in 0..count {
            let number = sent.len() as u64;
            let read = read.iter().filter(|_| n == 0);
            let mut payload: Vec<u8> =
                read.flat_map(|(pid, pcr)| ts_packet(*pid, number, Some(*pcr))).collect();
            while payload.len() < 7 * ts::PACKET {
                payload.extend(ts_packet(0x100, number, None));
            }
            let datagram = if rtp { in_rtp(33, number, picture * 3600, &payload) } else { payload };
            sent.push((picture * 40 + n * 40 / count, datagram));
        }
    }
    sent
}

#[test]
fn a_pcr_of_a_variable_rate_is_gone_on_from_as_well() {
    let seed = seed(42);
    let _repeat = Repeat(seed);
    for (what, pcrs) in PCRS {
        for delay in DELAYS {
            for (format, rtp) in [("ts", false), ("rtp", true)] {
                let out = Out::of(what, format, delay, &variable_stream(pcrs, rtp, seed), seed);
                out.holds(100.0, 50, 1);
            }
        }
    }
}

/// Returns packets of audio at 8 kHz, 20 ms apart, with the timestamp of each by its number.
fn audio(payload_type: u8, ticks: impl Fn(u64) -> u64) -> Sent {
    (0..750).map(|n| (n * 20, in_rtp(payload_type, n, ticks(n), &n.to_be_bytes()))).collect()
}

#[test]
fn time_stamps_that_stand_or_jump_are_not_seen() {
    let seed = seed(37);
    let _repeat = Repeat(seed);
    for delay in DELAYS {
        for (what, sent) in [
            ("stands", audio(0, |n| n.min(200) * 160)),
            ("stands for 240 ms", audio(0, |n| (if (200..212).contains(&n) { 200 } else { n }) * 160)),
            (
                "stands for 1 s and goes on from there",
                audio(0, |n| (n.min(200) + n.saturating_sub(250)) * 160),
            ),
            ("jumps by 300 ms each second", audio(0, |n| n * 160 + n / 50 * 2400)),
            ("jumps by 5 s", audio(0, |n| n * 160 + n / 200 * 40_000)),
            ("jumps back by 300 ms", audio(0, |n| 100_000 + n * 160 - n / 200 * 2400)),
        ] {
            Out::of(what, "rtp", delay, &sent, seed).holds(60.0, 25, 1);
        }
    }
}

#[test]
fn native_time_stamps_that_stand_are_not_seen() {
    let seed = seed(38);
    let _repeat = Repeat(seed);
    let datagram =
        |n: u64, micros| native(Kind::Data, 7, 1, n, 1_700_000_000_000_000 + micros, &n.to_be_bytes());
    for delay in DELAYS {
        let stands: Sent = (0..1400).map(|n| (n * 10, datagram(n, n.min(400) * 10_000))).collect();
        Out::of("stands", "native", delay, &stands, seed).holds(60.0, 25, 1);
    }
}

/// After a pause the timestamps continue where they stopped, or with the relay's time.
#[test]
fn after_a_pause_the_delay_is_as_before() {
    let seed = seed(39);
    let _repeat = Repeat(seed);
    for delay in DELAYS {
        for stands in [true, false] {
            let packet = |n: u64| {
                let pauses = n / 150 * 2000;
                let ticks = n * 160 + if stands { 0 } else { pauses * 8 };
                (n * 20 + pauses, in_rtp(0, n, ticks, &n.to_be_bytes()))
            };
            let sent: Sent = (0..750).map(packet).collect();
            let what = if stands { "stands in pauses" } else { "goes on in pauses" };
            Out::of(what, "rtp", delay, &sent, seed).holds(60.0, 25, 1);
        }
    }
}

/// Bursts of one second are not pauses: the automatic delay grows as necessary.
#[test]
fn bursts_are_smoothed_as_ever() {
    let seed = seed(40);
    let _repeat = Repeat(seed);
    let packet = |n: u64| (n / 50 * 1000, in_rtp(0, n, n * 160, &n.to_be_bytes()));
    let sent: Sent = (0..1000).map(packet).collect();
    let out = Out::of("bursts", "rtp", Delay::Auto, &sent, seed);
    assert!((950.0..1300.0).contains(&out.delay), "{out:?}");
    let late = out.packets.windows(2).skip(500);
    let longest = late.map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max);
    assert!(longest < 60.0, "{longest} ms between two");
}

#[test]
fn wrong_clock_rates_are_found() {
    let seed = seed(41);
    let _repeat = Repeat(seed);
    for delay in DELAYS {
        for (what, sent, clock) in [
            ("16 kHz for 8 kHz", audio(0, |n| n * 320), "rtp"),
            ("48 kHz for 8 kHz", audio(0, |n| n * 960), "rtp"),
            ("3 kHz for 8 kHz", audio(0, |n| n * 60), "arrival"),
            ("48 kHz for 90 kHz", audio(33, |n| n * 960), "rtp"),
        ] {
            let out = Out::of(what, "rtp", delay, &sent, seed);
            out.holds(210.0, 30, 3);
            assert_eq!(out.clock, clock, "{what}");
        }
    }
}
