//! When recovered packets are released, and when not.

use super::*;
use tidecast_wire::{
    fec::{
        matrix::{Datagram, Encoder, Shape},
        rs::Codes,
    },
    limits::DATAGRAM_BYTES_MAX,
    st2022::Axis,
};

const SSRC: u32 = 0xabcd_0123;
const FIRST: u64 = 65_536 + 65_530;
const GRACE: Duration = Duration::from_millis(8);
const MS: Duration = Duration::from_millis(1);

fn packet(number: u64) -> Vec<u8> {
    let mut packet = Vec::new();
    let payload: Vec<u8> = (0..100 + number % 7).map(|i| (i * number) as u8).collect();
    let (sequence, timestamp) = (number as u16, number as u32 * 3000);
    let marker = number.is_multiple_of(3);
    rtp::Repr { marker, payload_type: 33, sequence, timestamp, ssrc: SSRC, payload: &payload }
        .emit(&mut packet);
    packet
}

/// The repair packets of two matrices of 4 by 4, each with the number that it comes after.
fn repairs() -> Vec<(u64, Datagram)> {
    let mut encoder = Encoder::new(Shape::new(4, 4, true).unwrap(), 0, 0);
    let mut all = Vec::new();
    for number in FIRST..FIRST + 32 {
        let mut out = Vec::new();
        encoder.media(&packet(number), &mut out);
        all.extend(out.into_iter().map(|datagram| (number, datagram)));
    }
    all
}

struct Run {
    recover: MatrixRecovery,
    codes: Codes,
    now: Instant,
    end: u64,
    grace: Duration,
    room: usize,
    found: Findings<RebuiltDatagram>,
}

impl Run {
    fn new() -> Run {
        let now = crate::clock::now();
        Run {
            recover: MatrixRecovery::new(
                FIRST,
                SSRC,
                MatrixTerms { learn_until: now, patience: 500 * MS, several: false },
            ),
            codes: Codes::new(),
            now,
            end: FIRST,
            grace: GRACE,
            room: usize::MAX,
            found: Findings::default(),
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut MatrixRecovery, &mut Means<'_>) -> Findings<RebuiltDatagram>) {
        let Run { now, grace, room, end, codes, .. } = self;
        let mut means = Means { now: *now, codes, grace: *grace, overdue: 0, room: *room, end: *end };
        let found = act(&mut self.recover, &mut means);
        self.found.rebuilt.extend(found.rebuilt);
        self.found.hopeless.extend(found.hopeless);
        self.found.nonsense += found.nonsense;
        self.found.awaited = found.awaited.or(self.found.awaited);
        self.found.span = found.span.or(self.found.span);
    }

    fn media(&mut self, number: u64) {
        self.end = self.end.max(number + 1);
        let shard = kept(&packet(number)).unwrap();
        self.with(|recover, means| recover.media(number, shard, means));
    }

    fn repair(&mut self, datagram: &Datagram) {
        let repair = Repair::parse(&datagram.bytes).unwrap();
        self.with(|recover, means| recover.repair(0, &repair, FIRST, means));
    }

    /// Advances to the time at which something is due, and polls then.
    fn poll(&mut self) -> Option<Instant> {
        let due = self.recover.deadline(self.grace)?;
        self.now = self.now.max(due);
        self.with(|recover, means| recover.poll(means));
        Some(due)
    }

    fn rebuilt(&self) -> Vec<u64> {
        self.found.rebuilt.iter().map(|rebuilt| rebuilt.number).collect()
    }

    /// Sends everything in order, a millisecond apart, except what is lost; polls whenever
    /// something is due.
    fn all(&mut self, lost: &[u64], before_media: bool) {
        let repairs = repairs();
        for number in FIRST..FIRST + 32 {
            self.now += MS;
            let ours = repairs.iter().filter(|(after, _)| *after == number);
            if before_media {
                ours.clone().for_each(|(_, datagram)| self.repair(datagram));
            }
            if !lost.contains(&number) {
                self.media(number);
            }
            if !before_media {
                ours.for_each(|(_, datagram)| self.repair(datagram));
            }
            if self.recover.deadline(self.grace).is_some_and(|due| due <= self.now) {
                self.poll();
            }
        }
    }
}

#[test]
fn what_is_not_lost_is_never_handed_out() {
    for before_media in [false, true] {
        let mut run = Run::new();
        run.all(&[], before_media);
        while run.poll().is_some() {}
        assert_eq!((run.rebuilt(), run.found.hopeless.len(), run.found.nonsense), (vec![], 0, 0));
        assert_eq!((run.found.awaited, run.recover.shape()), (None, Some((4, 4))));
    }
}

#[test]
fn each_lost_packet_comes_back_once_as_it_was() {
    for before_media in [false, true] {
        for lost in FIRST + 1..FIRST + 31 {
            let mut run = Run::new();
            run.all(&[lost], before_media);
            while run.poll().is_some() {}
            let expected = RebuiltDatagram { number: lost, packet: packet(lost) };
            assert_eq!(run.found.rebuilt, [expected], "{before_media}");
            assert!(run.found.hopeless.is_empty());
        }
    }
}

/// The row recovers the packet at once, but it is overdue only after the grace.
#[test]
fn a_reordered_original_has_its_grace() {
    let repairs = repairs();
    let row = &repairs[0];
    assert_eq!((row.0, row.1.axis), (FIRST + 3, Axis::Row));
    let mut run = Run::new();
    [0, 2, 3].iter().for_each(|n| run.media(FIRST + n));
    run.repair(&row.1);
    let began = run.now;
    run.now += GRACE - MS;
    run.with(|recover, means| recover.poll(means));
    assert_eq!((run.rebuilt(), run.recover.deadline(GRACE)), (vec![], Some(began + GRACE)));
    run.media(FIRST + 1);
    assert_eq!(run.poll(), Some(began + GRACE), "looked at, and let go");
    assert_eq!((run.rebuilt(), run.recover.deadline(GRACE)), (vec![], None));
}

/// The repair packet overtakes the last packet of its row. That packet is not missing until a
/// later one has come, or some time has passed.
#[test]
fn a_repair_packet_that_overtakes_makes_nothing_overdue() {
    let row = &repairs()[0].1;
    let mut run = Run::new();
    run.grace = Duration::ZERO;
    (0..3).for_each(|n| run.media(FIRST + n));
    run.repair(row);
    let began = run.now;
    assert_eq!((run.rebuilt(), run.recover.deadline(run.grace)), (vec![], Some(began + ST2022_TAIL_GRACE)));
    run.now += MS;
    run.media(FIRST + 4);
    assert_eq!(run.rebuilt(), [FIRST + 3], "overtaken, and no grace");
    // the end of a stream that has stopped
    let mut run = Run::new();
    (0..3).for_each(|n| run.media(FIRST + n));
    run.repair(row);
    assert_eq!(run.poll(), Some(run.now));
    assert_eq!(run.rebuilt(), [FIRST + 3]);
}

#[test]
fn tails_are_announced_and_hopeless_ones_given_up() {
    let mut run = Run::new();
    run.media(FIRST);
    run.media(FIRST + 1);
    run.repair(&repairs()[0].1);
    assert_eq!(run.found.awaited, Some(FIRST + 4), "two more were sent");
    // A square of four lost packets whose rows and columns each miss two; other lost packets are
    // recovered. No column of the second matrix comes before the third.
    let square = [5, 6, 9, 10].map(|n| FIRST + n);
    let mut run = Run::new();
    run.all(&[&square[..], &[FIRST + 3, FIRST + 17]].concat(), false);
    while run.poll().is_some() {}
    assert_eq!(run.rebuilt(), [FIRST + 3, FIRST + 17]);
    let mut hopeless = run.found.hopeless.clone();
    hopeless.sort_unstable();
    assert!(hopeless.iter().all(|number| square.contains(number)), "{hopeless:?}");
}

#[test]
fn the_span_is_how_long_a_repair_packet_took() {
    let mut run = Run::new();
    run.all(&[], false);
    // The last repair packet is the last column of the first matrix: it came with number 28; its
    // first packet is number 3.
    let column = repairs().into_iter().rfind(|(_, d)| d.axis == Axis::Column).unwrap();
    assert_eq!((column.0, Repair::parse(&column.1.bytes).unwrap().base()), (FIRST + 28, (FIRST + 3) as u16));
    run.found.span = None;
    run.now -= 3 * MS; // when it came: after number 28 of 31
    run.repair(&column.1);
    assert_eq!(run.found.span, Some(24 * MS), "from number 4: of two one may be forged");
    assert_eq!(run.recover.span(), 32);
}

/// Only one packet of the row has come; those of the next row do not count.
#[test]
fn the_span_begins_with_the_packets_that_are_protected() {
    let mut run = Run::new();
    run.media(FIRST);
    run.now += 10 * MS;
    run.media(FIRST + 4);
    run.now += 5 * MS;
    run.repair(&repairs()[0].1);
    assert_eq!(run.found.span, Some(15 * MS));
}

#[test]
fn sessions_without_repair_packets_keep_nothing_and_may_begin_later() {
    let mut run = Run::new();
    for number in FIRST..=FIRST + FEC_LEARN_PACKETS + 1 {
        run.media(number);
    }
    assert_eq!((run.recover.bytes(), run.recover.keeping()), (0, false));
    // FEC is switched on here
    let first = run.end;
    let mut encoder = Encoder::new(Shape::new(4, 4, true).unwrap(), 0, 0);
    for number in first..first + 20 {
        let mut out = Vec::new();
        encoder.media(&packet(number), &mut out);
        if number != first + 9 {
            run.media(number);
        }
        out.iter().for_each(|datagram| run.repair(datagram));
    }
    while run.poll().is_some() {}
    assert_eq!((run.rebuilt(), run.recover.keeping()), (vec![first + 9], true));
}

#[test]
fn without_room_nothing_is_kept() {
    let mut run = Run::new();
    run.room = 50;
    run.all(&[FIRST + 9], false);
    assert_eq!((run.recover.decoder.bytes(), run.rebuilt()), (0, vec![]));
    assert!(run.found.nonsense > 0);
}

/// A repair packet whose sum is no RTP packet, and one from an unknown source.
#[test]
fn nonsense_is_counted() {
    let mut run = Run::new();
    run.grace = Duration::ZERO;
    [0, 2, 3, 4].iter().for_each(|n| run.media(FIRST + n));
    let mut forged = repairs()[0].1.clone();
    // Number 1 has its marker set: with payload type 72 that reads as RTCP.
    forged.bytes[16] ^= 33 ^ 72;
    run.repair(&forged);
    assert_eq!((run.found.nonsense, run.rebuilt()), (1, vec![]), "an RTCP sender report");
    forged.bytes[12..14].copy_from_slice(&(FIRST as u16).wrapping_add(2000).to_be_bytes());
    run.repair(&forged);
    assert_eq!(run.found.nonsense, 2);
    assert!(run.recover.bytes() < DATAGRAM_BYTES_MAX);
}
