//! Tests of ST 2022-1 through the whole core, packet by packet: recovered packets equal those
//! sent. `residual` tests how many are recovered.

use std::{collections::BTreeSet, time::Duration};

use tidecast_core::relay::{Config, Counters, Fec, Hold, How};
use tidecast_wire::{
    fec::matrix::{Encoder, Shape, Taken},
    rtp,
    st2022::{Axis, Repair},
};

use crate::harness::{Event, MS, Sim, config, source};

const SSRC: u32 = 0x5EED_0001;
/// The first sequence number, which wraps within the second matrix.
pub const FIRST: u64 = 65_400;
/// Time between two media packets at 8 Mbit/s with seven TS packets each.
pub const INTERVAL: Duration = Duration::from_micros(1316);

/// Returns a media packet; their sizes differ.
fn media(ssrc: u32, number: u64) -> Vec<u8> {
    let mixed = (number ^ u64::from(ssrc)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let payload = vec![mixed as u8; 12 + (mixed >> 58) as usize % 49];
    let (sequence, timestamp) = (number as u16, number as u32 * 118);
    let mut packet = Vec::new();
    rtp::Repr { marker: number % 9 == 4, payload_type: 33, sequence, timestamp, ssrc, payload: &payload }
        .emit(&mut packet);
    packet
}

/// A packet on the wire.
#[derive(Debug, Clone)]
pub enum Sent {
    Media(u64, Vec<u8>),
    Repair(Vec<u8>),
}

/// A sender.
struct Sender {
    ssrc: u32,
    encoder: Encoder,
}

impl Sender {
    fn new(ssrc: u32, columns: u8, rows: u8) -> Sender {
        let shape = Shape::new(columns, rows, true).expect("a matrix");
        Sender { ssrc, encoder: Encoder::new(shape, 7, 9) }
    }

    /// Returns a media packet and the repair packets that follow it.
    fn send(&mut self, number: u64) -> Vec<Sent> {
        let packet = media(self.ssrc, number);
        let mut repairs = Vec::new();
        assert_eq!(self.encoder.media(&packet, &mut repairs), Taken::Added);
        let repairs = repairs.into_iter().map(|repair| Sent::Repair(repair.bytes));
        std::iter::once(Sent::Media(number, packet)).chain(repairs).collect()
    }
}

/// Returns this many whole matrices and the columns of the last one, by the number that they
/// follow.
pub fn stream(columns: u8, rows: u8, matrices: u64) -> Vec<(u64, Sent)> {
    let mut sender = Sender::new(SSRC, columns, rows);
    let end = FIRST + matrices * u64::from(columns) * u64::from(rows);
    let mut all: Vec<(u64, Sent)> =
        (FIRST..end).flat_map(|n| sender.send(n).into_iter().map(move |sent| (n, sent))).collect();
    let mut last = Vec::new();
    sender.encoder.flush(&mut last);
    all.extend(last.into_iter().map(|repair| (end - 1, Sent::Repair(repair.bytes))));
    all
}

fn protected(hold: Hold) -> Sim {
    Sim::new(Config { hold, fec: Fec::St2022, ..config("rtp") })
}

impl Sim {
    pub fn receive(&mut self, at: Duration, sent: &Sent) {
        match sent {
            Sent::Media(_, packet) => self.packet(at, packet),
            Sent::Repair(packet) => self.repair_from(at, 0, source(1), packet),
        }
    }

    /// Feeds the received packets, at the pace of sending, and waits until everything is released.
    fn receive_all<'a>(&mut self, sent: impl IntoIterator<Item = &'a (u64, Sent)>) -> Counters {
        for (number, sent) in sent {
            self.receive(INTERVAL * (number - FIRST) as u32, sent);
        }
        self.run_until(self.elapsed() + Duration::from_secs(3));
        self.check_counters()
    }

    /// Checks that the output is as sent and in order. Returns the numbers that FEC recovered.
    fn all_as_sent(&self, end: u64) -> Vec<u64> {
        let (mut next, mut recovered) = (None, Vec::new());
        for (_, event) in &self.events {
            let Event::Delivered { seq, how, bytes, .. } = event else { continue };
            // Internal numbers start one number space higher.
            let number = seq - 65_536;
            assert_eq!(*bytes, media(SSRC, number), "number {number}");
            assert!(next.is_none_or(|next| number >= next) && number < end, "{number} after {next:?}");
            next = Some(number + 1);
            if *how == How::Fec {
                recovered.push(number);
            }
        }
        recovered
    }
}

/// Returns the packets that an ideal peeling decoder does not recover, computed from sets of
/// numbers.
pub fn ideal<'a>(received: impl Iterator<Item = &'a (u64, Sent)>, end: u64) -> BTreeSet<u64> {
    let mut missing: BTreeSet<u64> = (FIRST..end).collect();
    let mut lines = Vec::new();
    for (after, sent) in received {
        match sent {
            Sent::Media(number, _) => _ = missing.remove(number),
            Sent::Repair(bytes) => {
                let repair = Repair::parse(bytes).expect("a repair packet");
                let back = (*after as u16).wrapping_sub(repair.base());
                let base = after - u64::from(back);
                lines.push((0..repair.count()).map(|j| base + j * repair.offset()).collect::<Vec<_>>());
            }
        }
    }
    loop {
        let before = missing.len();
        lines.retain(|line| {
            let mut unknown = line.iter().filter(|number| missing.contains(number));
            let (first, more) = (unknown.next().copied(), unknown.next().is_some());
            if let Some(number) = first.filter(|_| !more) {
                missing.remove(&number);
            }
            more
        });
        if missing.len() == before {
            return missing;
        }
    }
}

#[test]
fn st2022_each_lost_packet_comes_back() {
    for (columns, rows) in [(5, 5), (10, 4), (4, 4)] {
        let sent = stream(columns, rows, 4);
        let packets = u64::from(columns) * u64::from(rows);
        for lost in FIRST + packets..FIRST + 3 * packets {
            let mut sim = protected(Hold::Fixed(500 * MS));
            let received = sent.iter().filter(|(_, sent)| !matches!(sent, Sent::Media(n, _) if *n == lost));
            let counters = sim.receive_all(received);
            let what = format!("{columns}x{rows} without {lost}: {counters:?}");
            assert_eq!(sim.all_as_sent(FIRST + 4 * packets), [lost], "{what}");
            assert_eq!(
                (counters.delivered, counters.lost, counters.recovered()),
                (4 * packets, 0, 1),
                "{what}"
            );
            assert_eq!((counters.discarded(), counters.recovered_spurious), (0, 0), "{what}");
            assert_eq!(sim.relay.reject_reasons().len(), 0, "{what}");
        }
    }
}

#[test]
fn st2022_without_loss_nothing_is_recovered() {
    let sent = stream(5, 5, 40);
    let repairs = sent.iter().filter(|(_, sent)| matches!(sent, Sent::Repair(_))).count() as u64;
    // The repair packets arrive after their media, and before all media of the same batch.
    for first in [false, true] {
        let mut sim = protected(Hold::default());
        let mut batches: Vec<Vec<&(u64, Sent)>> =
            sent.chunks(12).map(|batch| batch.iter().collect()).collect();
        if first {
            batches.iter_mut().for_each(|batch| batch.sort_by_key(|(_, s)| matches!(s, Sent::Media(..))));
        }
        for batch in batches {
            let at = INTERVAL * (batch.iter().map(|(number, _)| number).max().unwrap() - FIRST) as u32;
            batch.iter().for_each(|(_, sent)| sim.receive(at, sent));
        }
        sim.run_until(sim.elapsed() + Duration::from_secs(3));
        let counters = sim.check_counters();
        assert_eq!((sim.all_as_sent(FIRST + 1000).len(), counters.delivered), (0, 1000));
        assert_eq!((counters.recovered(), counters.lost, counters.discarded()), (0, 0, 0), "{counters:?}");
        assert_eq!(counters.repair_received, repairs);
        assert!(!sim.events.iter().any(|(_, event)| matches!(event, Event::GapClosed { .. })));
        let flow = sim.relay.flows().next().expect("a flow");
        assert_eq!(flow.fec_matrix, Some((5, 5)));
    }
}

/// The original arrives after all, later than any packet before: it is a duplicate, and the
/// recovery was unnecessary.
#[test]
fn st2022_rebuilds_in_vain_are_counted() {
    let late = FIRST + 60;
    let mut sim = protected(Hold::Fixed(500 * MS));
    for (number, sent) in stream(5, 5, 6) {
        let at = INTERVAL * (number - FIRST) as u32;
        if !matches!(sent, Sent::Media(n, _) if n == late) {
            sim.receive(at, &sent);
        }
        if matches!(sent, Sent::Media(n, _) if n == late + 20) {
            sim.packet(at, &media(SSRC, late));
        }
    }
    sim.run_until(Duration::from_secs(5));
    let counters = sim.check_counters();
    assert_eq!(sim.all_as_sent(FIRST + 150), [late]);
    assert_eq!((counters.recovered_fec, counters.recovered_spurious, counters.duplicate), (1, 1, 1));
}

/// The hold starts at its maximum, settles at the span of 10x10 at 8 Mbit/s, and falls after the
/// FEC has stopped.
#[test]
fn st2022_hold_follows_the_matrix() {
    let mut sim = protected(Hold::default());
    let matrices = 40;
    let sent = stream(10, 10, matrices);
    let hold = |sim: &Sim| sim.relay.timing(sim.now).0;
    for (number, sent) in &sent {
        let lost = *number >= FIRST + 200 && number % 97 == 0;
        if !(lost && matches!(sent, Sent::Media(..))) {
            sim.receive(INTERVAL * (number - FIRST) as u32, sent);
        }
        if *number == FIRST + 3499 {
            // From the first packet of a matrix to its last column: 190 intervals.
            assert!((INTERVAL * 190..INTERVAL * 260).contains(&hold(&sim)), "{:?}", hold(&sim));
        }
    }
    let counters = sim.check_counters();
    assert!(counters.recovered_fec > 30 && counters.lost == 0, "{counters:?}");
    let stopped = sim.elapsed();
    for number in FIRST + 100 * matrices.. {
        let at = INTERVAL * (number - FIRST) as u32;
        sim.packet(at, &media(SSRC, number));
        if at > stopped + Duration::from_secs(30) {
            break;
        }
    }
    assert_eq!(hold(&sim), Duration::from_millis(20));
    assert_eq!(sim.relay.bytes_held(), 0, "nothing is kept any more");
}

/// Two streams on one group, from one host and from two; SSRC 0 of the repair packets does not
/// identify the stream.
#[test]
fn st2022_repair_packets_find_their_stream() {
    for hosts in [[1, 1], [1, 2]] {
        let mut sim = protected(Hold::Fixed(500 * MS));
        let firsts = [FIRST, FIRST + 9000];
        let mut senders = [Sender::new(SSRC, 5, 5), Sender::new(SSRC + 1, 10, 4)];
        for n in 0..1000 {
            for (which, sender) in senders.iter_mut().enumerate() {
                for sent in sender.send(firsts[which] + n) {
                    match sent {
                        Sent::Media(..) if n % 41 == 20 => {}
                        Sent::Media(_, packet) => {
                            sim.packet_from(INTERVAL * n as u32, 0, source(hosts[which]), &packet)
                        }
                        Sent::Repair(packet) => {
                            sim.repair_from(INTERVAL * n as u32, 0, source(hosts[which]), &packet)
                        }
                    }
                }
            }
        }
        sim.run_until(Duration::from_secs(10));
        let counters = sim.check_counters();
        assert_eq!(
            (counters.delivered, counters.lost, counters.recovered_fec),
            (2000, 0, 48),
            "{counters:?}"
        );
        assert_eq!(sim.relay.flow_count(), 2);
    }
}

/// A sender that restarts with another SSRC, numbering and matrix.
#[test]
fn st2022_goes_on_after_a_restart() {
    let mut sim = protected(Hold::Fixed(300 * MS));
    let (mut old, mut new) = (Sender::new(SSRC, 5, 5), Sender::new(SSRC + 7, 6, 6));
    for n in 0..1000_u64 {
        let sent = if n < 500 { old.send(FIRST + n) } else { new.send(20_000 + n) };
        for sent in sent {
            if !(matches!(sent, Sent::Media(..)) && n % 50 == 25) {
                sim.receive(INTERVAL * n as u32, &sent);
            }
        }
    }
    sim.run_until(Duration::from_secs(10));
    let counters = sim.check_counters();
    assert_eq!((counters.delivered, counters.lost, counters.recovered_fec), (1000, 0, 20), "{counters:?}");
    let matrices: Vec<_> = sim.relay.flows().map(|flow| flow.fec_matrix).collect();
    assert_eq!(matrices, [Some((5, 5)), Some((6, 6))]);
}

/// Datagrams on the repair ports that are not repair packets are counted by the kind of error, and
/// never delivered.
#[test]
fn st2022_garbage_on_the_repair_ports_disturbs_nothing() {
    let sent = stream(5, 5, 8);
    let mut sim = protected(Hold::Fixed(300 * MS));
    let (mut bad, mut forged) = (0, 0);
    for (number, sent) in &sent {
        let at = INTERVAL * (number - FIRST) as u32;
        if let Sent::Repair(bytes) = sent {
            let (mut no_xor, media) = (bytes.clone(), media(SSRC, *number));
            no_xor[24] |= 0x08;
            let rtcp = [0x80, 200, 0, 1];
            let garbage: [&[u8]; 6] = [&bytes[..20], &media, &rtcp, b"hello", b"", &no_xor];
            for garbage in garbage {
                sim.repair_from(at, 0, source(9), garbage);
                bad += 1;
            }
            let mut far = bytes.clone();
            far[12] ^= 0x40; // 16,384 away
            sim.repair_from(at, 0, source(1), &far);
            forged += 1;
        }
        if (number - FIRST) % 23 != 11 || matches!(sent, Sent::Repair(_)) {
            sim.receive(at, sent);
        }
    }
    sim.run_until(Duration::from_secs(5));
    let counters = sim.check_counters();
    let recovered = sim.all_as_sent(FIRST + 200);
    assert!(recovered.len() >= 8, "{recovered:?}");
    assert_eq!((counters.delivered, counters.lost, counters.sessions), (200, 0, 1), "{counters:?}");
    assert_eq!((counters.corrupt + counters.foreign, counters.discarded()), (bad, bad), "{counters:?}");
    let reasons = sim.relay.reject_reasons();
    assert!(reasons["unusable_repair"] <= forged && reasons["rtcp"] == bad / 6, "{reasons:?}");
}

/// Repair packets before all media, and without configured FEC, are only counted.
#[test]
fn st2022_repair_packets_alone_do_nothing() {
    for fec in [Fec::St2022, Fec::Auto, Fec::Off] {
        let mut sim = Sim::new(Config { fec, ..config("rtp") });
        let repairs: Vec<_> =
            stream(5, 5, 4).into_iter().filter(|(_, s)| matches!(s, Sent::Repair(_))).collect();
        let counters = sim.receive_all(&repairs);
        assert_eq!((counters.repair_received, counters.delivered), (repairs.len() as u64, 0), "{counters:?}");
        assert_eq!((sim.relay.flow_count(), sim.relay.bytes_held(), sim.events.len()), (0, 0, 0));
        let axis = |bytes: &[u8]| Repair::parse(bytes).expect("a repair packet").axis();
        let rows = repairs.iter().filter(|(_, s)| matches!(s, Sent::Repair(b) if axis(b) == Axis::Row));
        assert_eq!(rows.count(), 20);
    }
    let mut sim = Sim::new(Config { hold: Hold::Fixed(300 * MS), ..config("rtp") });
    let sent = stream(5, 5, 8);
    let counters =
        sim.receive_all(sent.iter().filter(|(n, s)| *n != FIRST + 70 || matches!(s, Sent::Repair(_))));
    assert_eq!((counters.lost, counters.recovered()), (1, 0), "{counters:?}");
}
