//! Tests of paced release on simulated clocks: ten minutes with clocks 100 ppm apart, jitter,
//! loss, wraps and restarts. They compare the time at which each packet leaves with the time at
//! which its source sent it.

use std::time::Duration;

use tidecast_core::relay::{Config, Counters, Delay, FlowState, Hold, Release};

use crate::{
    capture,
    formats::native,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, source},
};
use tidecast_wire::{native::Kind, rtp, ts};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOLD: Duration = Duration::from_millis(60);
const DELAY: Duration = Duration::from_millis(150);

/// Additional delay of a path.
#[derive(Debug, Clone, Copy)]
enum Jitter {
    /// Uniform up to 40 ms.
    Uniform,
    /// Mostly some milliseconds, sometimes ten times that: a Pareto distribution with shape 2, cut
    /// off at 60 ms.
    Heavy,
}

impl Jitter {
    fn draw(self, dice: &mut Dice) -> Duration {
        let unit = (dice.below(1 << 30) as f64 + 1.0) / (1_u64 << 30) as f64;
        let seconds = match self {
            Jitter::Uniform => 0.040 * unit,
            Jitter::Heavy => (0.003 * (unit.powf(-0.5) - 1.0)).min(0.060),
        };
        Duration::from_secs_f64(seconds)
    }
}

/// A producer with an inaccurate clock.
#[derive(Debug, Clone, Copy)]
struct Source {
    kind: Kinds,
    /// Time between two packets, by the relay's clock.
    interval: Duration,
    /// How much faster its clock runs than the relay's.
    ppm: f64,
}

/// Kinds of datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kinds {
    /// RTP with a different timestamp in each packet, which wraps in the second minute.
    Rtp,
    /// H.264 in RTP: 25 pictures per second, whose packets are sent at a constant rate.
    Pictures,
    /// The same with pictures that are sent before others that are shown first.
    Reordered,
    /// A transport stream with a PCR every 12 packets, which wraps in the second minute.
    Ts,
    /// The same in RTP, whose timestamps are those of the pictures.
    TsInRtp,
    /// Native datagrams with timestamps.
    Native,
    /// Audio of a dynamic payload type, 48 kHz.
    Opus,
}

/// Returns the clock value in ticks at which the source starts.
fn wraps_in_the_second_minute(modulus: u64, hz: u64) -> u64 {
    modulus - 90 * hz
}

fn in_rtp(payload_type: u8, number: u64, timestamp: u64, payload: &[u8]) -> Vec<u8> {
    let (sequence, timestamp, ssrc) = (number as u16, timestamp as u32, 7);
    let mut out = Vec::new();
    rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc, payload }.emit(&mut out);
    out
}

/// Returns a transport packet with its number at its end.
fn ts_packet(number: u64, pcr: Option<u64>, discontinuity: bool) -> Vec<u8> {
    let mut packet = vec![0xff; ts::PACKET];
    packet[..4].copy_from_slice(&[ts::SYNC, 1, 0, 0x10 | (number & 15) as u8]);
    if let Some(ticks) = pcr {
        let (base, extension) = (ticks / 300, ticks % 300);
        packet[3] |= 0x20;
        packet[4..6].copy_from_slice(&[7, 0x10 | if discontinuity { 0x80 } else { 0 }]);
        packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[10] = ((base & 1) << 7) as u8 | 0x7e | (extension >> 8) as u8;
        packet[11] = extension as u8;
    }
    packet[180..].copy_from_slice(&number.to_be_bytes());
    packet
}

impl Source {
    fn ticks(&self, number: u64, hz: u64) -> u64 {
        (self.interval.as_secs_f64() * number as f64 * (1.0 + self.ppm * 1e-6) * hz as f64).round() as u64
    }

    fn pcr(&self, number: u64) -> Option<u64> {
        let start = wraps_in_the_second_minute(ts::Pcr::WRAP, ts::Pcr::HZ);
        (number.is_multiple_of(12)).then(|| (start + self.ticks(number, ts::Pcr::HZ)) % ts::Pcr::WRAP)
    }

    /// Returns the number of packets of one picture.
    fn picture(&self) -> u64 {
        (0.040 / self.interval.as_secs_f64()).round() as u64
    }

    fn datagram(&self, number: u64) -> Vec<u8> {
        let payload = number.to_be_bytes();
        let rtp_ticks = |number| wraps_in_the_second_minute(1 << 32, 90_000) + self.ticks(number, 90_000);
        let first_of_picture = number - number % self.picture().max(1);
        match self.kind {
            Kinds::Rtp => in_rtp(33, number, rtp_ticks(number), &payload),
            Kinds::Pictures => in_rtp(34, number, rtp_ticks(first_of_picture), &payload),
            Kinds::Reordered => {
                // I P B B: sent 0 3 1 2, shown in order.
                let picture = number / self.picture();
                let shown = if picture == 0 {
                    0
                } else {
                    (picture - 1) / 3 * 3 + [3, 1, 2][((picture - 1) % 3) as usize]
                };
                in_rtp(34, number, rtp_ticks(shown * self.picture()), &payload)
            }
            Kinds::Ts => ts_packet(number, self.pcr(number), false),
            Kinds::TsInRtp => {
                in_rtp(33, number, rtp_ticks(first_of_picture), &ts_packet(number, self.pcr(number), false))
            }
            Kinds::Native => {
                let micros = 1_700_000_000_000_000 + self.ticks(number, 1_000_000);
                native(Kind::Data, 7, 1, number, micros, &payload)
            }
            Kinds::Opus => in_rtp(111, number, self.ticks(number, 48_000), &payload),
        }
    }

    fn format(&self) -> &'static str {
        match self.kind {
            Kinds::Ts => "ts",
            Kinds::Native => "native",
            _ => "rtp",
        }
    }
}

/// Returns the number at a payload's end.
fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(*payload.last_chunk().expect("a number"))
}

fn paced(format: &str, delay: Delay) -> Sim {
    Sim::new(Config { hold: Hold::Fixed(HOLD), release: Release::Paced(delay), ..config(format) })
}

/// The packets that left.
#[derive(Debug)]
struct Left {
    /// When the source sent each packet, and how much later it left, in milliseconds.
    delays: Vec<(Duration, f64)>,
    counters: Counters,
    flow: FlowState,
}

impl Left {
    fn of(sim: &Sim, sent: impl Fn(u64) -> Duration) -> Left {
        let delays = sim
            .delivered(number)
            .into_iter()
            .map(|(at, number)| (sent(number), at.as_secs_f64() * 1e3 - sent(number).as_secs_f64() * 1e3));
        let flow = sim.relay.flows().next().expect("a flow");
        Left { delays: delays.collect(), counters: sim.check_counters(), flow }
    }

    fn between(&self, from: Duration, to: Duration) -> Vec<f64> {
        let part = self.delays.iter().filter(|(sent, _)| (from..to).contains(sent));
        let mut part: Vec<f64> = part.map(|(_, delay)| *delay).collect();
        part.sort_by(f64::total_cmp);
        part
    }

    /// Returns the median delay of those sent in a part of the time.
    fn median(&self, from: Duration, to: Duration) -> f64 {
        quantile(&self.between(from, to), 0.5)
    }

    /// Returns the 99th percentile of the deviation from their median delay.
    fn off(&self, from: Duration, to: Duration) -> f64 {
        let part = self.between(from, to);
        let median = quantile(&part, 0.5);
        let mut off: Vec<f64> = part.iter().map(|delay| (delay - median).abs()).collect();
        off.sort_by(f64::total_cmp);
        quantile(&off, 0.99)
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

/// Runs this duration of a stream over such a path.
fn run(source_of: Source, jitter: Jitter, loss: f64, delay: Delay, lasts: Duration, seed: u64) -> Left {
    let mut dice = Dice::new(seed);
    let mut sim = paced(source_of.format(), delay);
    let sent = |number: u64| Duration::from_secs_f64(source_of.interval.as_secs_f64() * number as f64);
    let count = (lasts.as_secs_f64() / source_of.interval.as_secs_f64()) as u64;
    let mut arrivals: Vec<(Duration, u64)> = Vec::new();
    let mut last = Duration::ZERO;
    for number in 0..count {
        // A transport stream without RTP has no sequence numbers, so it cannot be reordered.
        let at = sent(number) + jitter.draw(&mut dice);
        let at = if source_of.kind == Kinds::Ts { at.max(last) } else { at };
        last = at;
        if number < 5 || !dice.hits(loss) {
            arrivals.push((at, number));
        }
    }
    arrivals.sort_unstable();
    for (at, number) in arrivals {
        sim.packet_from(at, 0, source(1), &source_of.datagram(number));
    }
    sim.run_until(lasts + SECOND);
    Left::of(&sim, sent)
}

fn report(what: &str, left: &Left, lasts: Duration) {
    println!(
        "{what}: delay {:.2} ms in the second minute, {:.2} ms in the last, 99 % within {:.3} ms; {} late of {}; {:?}",
        left.median(MINUTE, 2 * MINUTE),
        left.median(lasts - MINUTE, lasts),
        left.off(SECOND * 20, lasts),
        left.counters.released_late,
        left.counters.delivered,
        left.flow.pacing,
    );
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Checks the acceptance criteria: no underrun, no growth, and 2 ms at the 99th percentile.
fn holds(
    what: &str,
    source_of: Source,
    jitter: Jitter,
    loss: f64,
    delay: Delay,
    bound: f64,
    seed: u64,
) -> Left {
    let left = run(source_of, jitter, loss, delay, TEN_MINUTES, seed);
    report(what, &left, TEN_MINUTES);
    assert_eq!(left.counters.released_late, 0, "{what}: {:?}", left.counters);
    assert_eq!(left.counters.released_early, 0, "{what}");
    let (early, late) = (left.median(MINUTE, 2 * MINUTE), left.median(TEN_MINUTES - MINUTE, TEN_MINUTES));
    assert!((early - late).abs() < bound, "{what}: {early} ms, then {late} ms");
    let off = left.off(20 * SECOND, TEN_MINUTES);
    assert!(off <= bound, "{what}: 99 % within {off} ms");
    left
}

#[test]
fn ten_minutes_of_rtp_with_clocks_apart() {
    let seed = seed(31);
    let _repeat = Repeat(seed);
    for ppm in [-100.0, 100.0] {
        for (jitter, loss) in [(Jitter::Uniform, 0.0), (Jitter::Heavy, 0.0), (Jitter::Uniform, 0.02)] {
            let source = Source { kind: Kinds::Rtp, interval: 5 * MS, ppm };
            let what = format!("RTP, {ppm} ppm, {jitter:?}, loss {loss}");
            let left = holds(&what, source, jitter, loss, Delay::Fixed(DELAY), 2.0, seed);
            let pacing = left.flow.pacing.expect("paced");
            assert!((pacing.drift_ppm - ppm).abs() < 10.0, "{pacing:?}");
            assert_eq!((pacing.clock, pacing.delay), ("rtp", DELAY));
        }
    }
}

#[test]
fn ten_minutes_of_every_clock() {
    let seed = seed(32);
    let _repeat = Repeat(seed);
    for (kind, clock) in [
        (Kinds::Ts, "pcr"),
        (Kinds::TsInRtp, "pcr"),
        (Kinds::Pictures, "rtp"),
        (Kinds::Reordered, "rtp"),
        (Kinds::Native, "timestamp"),
        (Kinds::Opus, "rtp"),
    ] {
        for ppm in [-100.0, 100.0] {
            let interval = if kind == Kinds::Opus { 20 * MS } else { 4 * MS };
            let source = Source { kind, interval, ppm };
            let what = format!("{kind:?}, {ppm} ppm");
            let left = holds(&what, source, Jitter::Uniform, 0.0, Delay::Auto, 2.0, seed);
            assert_eq!(left.flow.pacing.expect("paced").clock, clock);
        }
    }
}

/// Sends packets of a stream whose timestamps are given by `datagram` for each number, 5 ms apart,
/// with 20 ms of jitter.
fn scripted(sim: &mut Sim, seed: u64, numbers: std::ops::Range<u64>, datagram: impl Fn(u64) -> Vec<u8>) {
    let mut dice = Dice::new(seed);
    let begin = numbers.start;
    let mut arrivals: Vec<(Duration, u64)> = numbers
        .map(|n| {
            (5 * MS * n as u32 + if n < begin + 5 { Duration::ZERO } else { MS * dice.below(20) as u32 }, n)
        })
        .collect();
    arrivals.sort_unstable();
    for (at, number) in arrivals {
        sim.packet(at, &datagram(number));
    }
}

fn own_time(number: u64) -> Duration {
    5 * MS * number as u32
}

/// A splice: the PCR continues at another value, with or without its indicator. It is not visible
/// in the release.
#[test]
fn a_pcr_discontinuity_is_followed() {
    let seed = seed(33);
    let _repeat = Repeat(seed);
    for announced in [true, false] {
        for jump in [7_000_000_000_i64, -7_000_000_000, 2_000_000_000_000] {
            let datagram = |number: u64| {
                let after = number >= 6000;
                let ticks = 10_000_000_000 + 135_000 * number as i64 + if after { jump } else { 0 };
                let pcr = number.is_multiple_of(8).then(|| ticks.rem_euclid(ts::Pcr::WRAP as i64) as u64);
                in_rtp(33, number, 0, &ts_packet(number, pcr, announced && number == 6000))
            };
            let mut sim = paced("rtp", Delay::Fixed(DELAY));
            scripted(&mut sim, seed, 0..12_000, datagram);
            sim.run_until(61 * SECOND);
            let left = Left::of(&sim, own_time);
            let (before, after) =
                (left.median(10 * SECOND, 30 * SECOND), left.median(30 * SECOND, 60 * SECOND));
            assert!((before - after).abs() < 1.0, "{announced} {jump}: {before} ms, then {after} ms");
            let off = left.off(10 * SECOND, 60 * SECOND);
            assert!(off < 1.5, "{announced} {jump}: 99 % within {off} ms");
            assert_eq!((left.counters.delivered, left.counters.released_late), (12_000, 0));
            assert_eq!(left.flow.pacing.expect("paced").clock, "pcr");
        }
    }
}

/// The timestamps of a sender that restarts with another SSRC, or with the same one and another
/// clock.
#[test]
fn restarts_and_pauses_begin_anew() {
    let seed = seed(34);
    let _repeat = Repeat(seed);
    for (ssrc, pause) in [(1, 0), (2, 0), (1, 7), (2, 7)] {
        let mut sim = paced("rtp", Delay::Fixed(DELAY));
        let datagram = |number: u64| {
            let again = number >= 4000;
            let (ssrc, offset) = if again { (ssrc, 3_000_000_000) } else { (1, 0) };
            let (sequence, timestamp) = (number as u16, (450 * number + offset) as u32);
            let mut out = Vec::new();
            let payload = &number.to_be_bytes();
            rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc, payload }.emit(&mut out);
            out
        };
        scripted(&mut sim, seed, 0..4000, datagram);
        let paused = pause * SECOND;
        let mut dice = Dice::new(seed);
        for number in 4000..8000 {
            let jitter = if number < 4005 { 0 } else { dice.below(4) };
            sim.packet(paused + own_time(number) + MS * jitter as u32, &datagram(number));
        }
        sim.run_until(60 * SECOND);
        let sent = |number| own_time(number) + if number < 4000 { Duration::ZERO } else { paused };
        let left = Left::of(&sim, sent);
        let numbers: Vec<u64> = sim.delivered(number).into_iter().map(|(_, number)| number).collect();
        assert!(numbers.is_sorted(), "{ssrc} {pause}: in order over the restart");
        assert_eq!((left.counters.lost, numbers.len()), (0, 8000), "{ssrc} {pause}: {:?}", left.counters);
        let again = left.median(paused + 21 * SECOND, paused + 40 * SECOND);
        assert!((DELAY.as_secs_f64() * 1e3 - again).abs() < 20.0, "{ssrc} {pause}: {again} ms");
        assert!(left.off(paused + 21 * SECOND, paused + 40 * SECOND) < 3.0, "{ssrc} {pause}");
    }
}

/// Packets after a gap are not late, because the delay is longer than the hold. Losses keep their
/// position among the packets.
#[test]
fn gaps_delay_nothing() {
    let mut sim = paced("native", Delay::Fixed(DELAY));
    for number in 0..2000_u64 {
        if number % 100 < 95 || number < 100 {
            let micros = 1_700_000_000_000_000 + 5000 * number;
            sim.packet(own_time(number), &native(Kind::Data, 7, 1, number, micros, &number.to_be_bytes()));
        }
    }
    sim.run_until(12 * SECOND);
    let left = Left::of(&sim, own_time);
    assert!(left.delays.iter().all(|(_, delay)| (delay - 150.0).abs() < 0.2), "{:?}", left.delays);
    assert_eq!((left.counters.released_late, left.counters.lost), (0, 90));
    let mut next = 0;
    for (_, event) in &sim.events {
        match event {
            Event::Delivered { seq, .. } => {
                assert_eq!(*seq, next);
                next += 1;
            }
            Event::Lost { from, count, .. } => {
                assert_eq!(*from, next);
                next += count;
            }
            _ => {}
        }
    }
    assert_eq!(next, 1995);
}

/// If its memory is full, the relay releases packets early and loses nothing; at its end it
/// releases everything at once.
#[test]
fn memory_is_bounded_and_the_end_is_at_once() {
    let config = Config { bytes_max: 20_000, hold: Hold::Fixed(HOLD), ..config("native") };
    let mut sim = Sim::new(Config { release: Release::Paced(Delay::Fixed(SECOND)), ..config });
    for number in 0..1000_u64 {
        let payload = [&[0; 500][..], &number.to_be_bytes()].concat();
        sim.packet(own_time(number), &native(Kind::Data, 7, 1, number, 1 + 5000 * number, &payload));
        assert!(sim.relay.bytes_held() <= 20_000);
        sim.check_counters();
    }
    let counters = sim.check_counters();
    assert!(counters.released_early > 900, "{counters:?}");
    assert_eq!(sim.relay.released_early(), counters.released_early);
    assert!(sim.relay.held() > 20);
    sim.finish();
    let counters = sim.check_counters();
    assert_eq!((counters.delivered, counters.lost, sim.relay.held()), (1000, 0, 0));
    assert!(sim.delivered(number).iter().map(|(_, number)| *number).eq(0..1000));
}

/// Without any clock: a steady stream is smoothed, and an occasional reading is released the delay
/// after its arrival.
#[test]
fn packets_without_a_clock() {
    let seed = seed(35);
    let _repeat = Repeat(seed);
    let plain = |number: u64| native(Kind::Data, 7, 1, number, 0, &number.to_be_bytes());
    let mut sim = paced("native", Delay::Fixed(DELAY));
    scripted(&mut sim, seed, 0..12_000, plain);
    sim.run_until(61 * SECOND);
    let left = Left::of(&sim, own_time);
    assert_eq!(left.flow.pacing.expect("paced").clock, "arrival");
    let off = left.off(10 * SECOND, 60 * SECOND);
    assert!(off < 4.0, "20 ms of jitter, 99 % within {off} ms");
    let mut sim = paced("native", Delay::Fixed(DELAY));
    let mut dice = Dice::new(seed);
    let mut at = Duration::ZERO;
    for number in 0..100 {
        at += MS * (1000 + dice.below(9000)) as u32;
        sim.packet(at, &plain(number));
        sim.run_until(at + DELAY + MS);
        let last = sim.delivered(|_| ()).last().map_or(Duration::ZERO, |(at, ())| *at);
        assert!(last >= at + DELAY - MS && last <= at + DELAY + MS, "{number}: {last:?}, came {at:?}");
    }
}

/// Captures of real senders: ffmpeg sends in bursts with up to 260 ms between them, regardless of
/// its stream's timestamps.
#[test]
fn captures_of_real_senders_leave_smoothly() {
    for (name, format, clock) in [
        ("ffmpeg-rtp-fec.pcap", "rtp", "pcr"),
        ("ffmpeg-udp.pcap", "ts", "pcr"),
        ("gstreamer-rtp.pcap", "rtp", "pcr"),
        // Two seconds: too short to determine the clock rate of its dynamic payload type.
        ("ffmpeg-rtp-h264.pcap", "rtp", "arrival"),
    ] {
        let datagrams = capture::capture(name).into_iter().zip(capture::times(name));
        let media: Vec<(Duration, Vec<u8>)> = datagrams
            .filter(|((port, _), _)| *port == 5004)
            .map(|((_, bytes), time)| (time, bytes))
            .collect();
        let mut sim = paced(format, Delay::Fixed(SECOND));
        let first = media[0].0;
        for (at, bytes) in &media {
            sim.packet(*at - first, bytes);
        }
        sim.run_until(20 * SECOND);
        let most = |times: &[Duration]| {
            let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
            let in_10_ms = |at: &Duration| times.iter().filter(|t| (*at..*at + 10 * MS).contains(*t)).count();
            (pauses.max().expect("many"), times.iter().map(in_10_ms).max().expect("many"))
        };
        let came: Vec<Duration> = media.iter().map(|(at, _)| *at - first).collect();
        let left: Vec<Duration> = sim.delivered(|_| ()).iter().map(|(at, ())| *at).collect();
        let flow = sim.relay.flows().next().expect("a flow");
        println!("{name}: longest pause and most in 10 ms: in {:?}, out {:?}", most(&came), most(&left));
        assert_eq!(flow.pacing.expect("paced").clock, clock, "{name}");
        assert_eq!((left.len(), flow.counters.released_late), (media.len(), 0), "{name}");
        let (pause, together) = most(&left);
        assert!(clock != "pcr" || (pause <= 40 * MS && together <= 3), "{name}: {pause:?}, {together}");
    }
}
