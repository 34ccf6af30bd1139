//! Forged repair packets: memory and work stay limited, and real losses are recovered afterwards.

use tidecast_wire::{
    fec::matrix::{Datagram, Encoder, Shape, Sum},
    seq::Space,
    st2022::{Axis, Fields, PAYLOAD_TYPE, Repair, Repr, Shard},
};

use crate::stream::{Dice, Receiver, Sent, Stream, media, seeds};

const FIRST: u64 = 5 * 65_536;

fn forged(dice: &mut Dice, end: u64) -> Vec<u8> {
    let body: Vec<u8> = (0..dice.below(1400)).map(|_| dice.any() as u8).collect();
    let fields = Fields { length: dice.below(1400) as u16, ..Fields::default() };
    let axis = if dice.hits(0.5) { Axis::Row } else { Axis::Column };
    let near = if dice.hits(0.9) { end + 40 - dice.below(200) } else { dice.any() };
    let mut out = Vec::new();
    let most = if dice.hits(0.8) { 20 } else { 255 };
    let (offset, count) = (1 + dice.below(most) as u8, 1 + dice.below(most) as u8);
    let shard = Shard { fields, body: &body };
    let (sequence, timestamp, base) = (dice.any() as u16, 0, near as u16);
    Repr { axis, payload_type: PAYLOAD_TYPE, sequence, timestamp, ssrc: 0, base, offset, count, shard }
        .emit(&mut out);
    out
}

/// Returns a forged repair packet.
fn made_up(axis: Axis, base: u64, offset: u8, count: u8, shard: Shard<'_>) -> Vec<u8> {
    let base = base as u16;
    let mut bytes = Vec::new();
    Repr { axis, payload_type: PAYLOAD_TYPE, sequence: 0, timestamp: 0, ssrc: 0, base, offset, count, shard }
        .emit(&mut bytes);
    bytes
}

#[test]
fn floods_of_forged_repair_packets_are_bounded_and_pass() {
    let mut dice = Dice(11);
    let shape = Shape::new(5, 5, true).unwrap();
    let stream = Stream::new(shape, FIRST, 60, &mut dice);
    let mut receiver = Receiver::new(FIRST);
    let mut largest = 0;
    for sent in &stream.sent {
        let number = if let Sent::Media(number) = sent { *number } else { 0 };
        if number == FIRST + 200 {
            for _ in 0..20_000 {
                let forged = forged(&mut dice, receiver.end);
                // Only its effect on memory and work matters here.
                let repair = Repair::parse(&forged).unwrap();
                let base = Space::RTP.extend(receiver.end, repair.base().into());
                _ = receiver.decoder.repair(base, &repair);
                largest = largest.max(receiver.decoder.bytes());
            }
        }
        // After the flood: one packet lost in each row.
        if number < FIRST + 400 || !number.is_multiple_of(5) {
            receiver.receive(sent, &stream);
        }
    }
    // The repair packets of as many numbers as the hold may cover, their recovered packets, and
    // rings for both.
    assert!(largest < 4 << 20, "{largest} bytes");
    for number in (FIRST + 400..FIRST + 1400).step_by(5) {
        assert_eq!(receiver.rebuilt.get(&number), Some(&stream.packets[&number]), "{number}");
    }
}

/// Repair packets alone allow only limited work; the next media packet allows the next recovery.
#[test]
fn work_is_paid_for_by_media() {
    let (mut dice, mut receiver) = (Dice(12), Receiver::new(FIRST));
    let mut packet = |number| {
        let mut packet = media(number, &mut dice);
        packet[0] = 0x80;
        packet.resize(1316, 0);
        packet
    };
    let packets: Vec<_> = (0..129).map(|i| packet(FIRST + i)).collect();
    let lost = 60;
    for number in (0..128).filter(|number| *number != lost) {
        receiver.media(FIRST + number as u64, &packets[number]);
    }
    let repair =
        |base: usize, count: u8, sum: &Sum| made_up(Axis::Row, FIRST + base as u64, 1, count, sum.shard());
    let nobodys = Sum { fields: Fields { length: 2000, ..Fields::default() }, body: vec![0; 1304] };
    for count in [60; 1000].into_iter().chain([4; 100]) {
        receiver.repair(&repair(lost - 2, count, &nobodys));
    }
    assert_eq!(receiver.nonsense, 1100);
    let mut sum = Sum::default();
    packets[lost - 2..lost + 2].iter().for_each(|packet| sum.add(Shard::of(packet).unwrap()));
    receiver.repair(&repair(lost - 2, 4, &sum));
    assert_eq!((receiver.nonsense, receiver.rebuilt.len()), (1101, 0), "nobody has paid");
    receiver.media(FIRST + 128, &packets[128]);
    receiver.repair(&repair(lost - 2, 4, &sum));
    assert_eq!(receiver.rebuilt[&(FIRST + lost as u64)], packets[lost]);
}

/// A sum is never shorter than the packets that were added up, even if the rest cancels out.
#[test]
fn sums_that_are_too_short_rebuild_nothing() {
    let mut receiver = Receiver::new(FIRST);
    let mut packet = media(FIRST, &mut Dice(14));
    packet[0] = 0x80;
    packet.resize(200, 7);
    receiver.media(FIRST, &packet);
    receiver.media(FIRST + 1, &packet);
    let fields = Fields { marker_and_type: 33, length: 4, ..Fields::default() };
    for (body, nonsense) in [(&b"lost"[..], 1), (&[&b"lost"[..], &[0; 184]].concat(), 1)] {
        receiver.repair(&made_up(Axis::Row, FIRST, 1, 3, Shard { fields, body }));
        assert_eq!(receiver.nonsense, nonsense);
    }
    assert_eq!(receiver.rebuilt[&(FIRST + 2)][12..], *b"lost");
}

/// Media that jump, repeat and are late, real and forged repair packets with any parameters, in
/// any order: no panic, no recovery of received packets, and memory stays limited.
#[test]
fn any_mixture_is_survived() {
    for seed in seeds(100) {
        let mut dice = Dice(seed);
        let mut number = if dice.hits(0.5) { dice.below(300) } else { FIRST };
        let mut receiver = Receiver::new(number);
        let mut encoder = Encoder::new(Shape::new(5, 4, true).unwrap(), 0, 0);
        for _ in 0..3000 {
            number = match dice.below(400) {
                0 => number + dice.below(40_000),
                1..4 => number + dice.below(500),
                4..20 => number.saturating_sub(dice.below(30)),
                _ => number + 1,
            };
            let packet = media(number, &mut dice);
            let mut repairs = Vec::new();
            encoder.media(&packet, &mut repairs);
            if dice.hits(0.1) {
                repairs.push(Datagram { axis: Axis::Row, bytes: forged(&mut dice, receiver.end.max(200)) });
            }
            if dice.hits(0.9) {
                receiver.end = receiver.end.max(number + 1);
                receiver.decoder.media(number, Sum::from(Shard::of(&packet).unwrap()));
                assert_eq!(
                    receiver.decoder.rebuilt(number),
                    None,
                    "TIDECAST_SEED={seed}: the original is there"
                );
            }
            for datagram in repairs.iter().filter(|_| dice.hits(0.9)) {
                let repair = Repair::parse(&datagram.bytes).unwrap();
                let base = Space::RTP.extend(receiver.end, repair.base().into());
                _ = receiver.decoder.repair(base, &repair);
            }
            let most = (4 * 1024 + 160) * 1400 + 8192 * 64;
            assert!(
                receiver.decoder.bytes() < most,
                "TIDECAST_SEED={seed}: {} bytes",
                receiver.decoder.bytes()
            );
        }
    }
}

/// A forged packet far ahead has no effect, and does not make real gaps look unrecoverable.
#[test]
fn one_forged_packet_moves_nothing() {
    let mut dice = Dice(13);
    let stream = Stream::new(Shape::new(5, 5, true).unwrap(), FIRST, 12, &mut dice);
    // Two of one row: only their columns can recover them.
    let lost = [FIRST + 131, FIRST + 132];
    let mut receiver = Receiver::new(FIRST);
    for sent in &stream.sent {
        if matches!(sent, Sent::Media(number) if lost.contains(number)) {
            for ahead in [1, 30, 70, 400, 5000, 30_000] {
                let shard = Shard { fields: Fields::default(), body: &[] };
                receiver.repair(&made_up(Axis::Column, lost[0] + ahead, 5, 5, shard));
            }
            continue;
        }
        receiver.receive(sent, &stream);
    }
    for number in lost {
        assert_eq!(receiver.rebuilt.get(&number), Some(&stream.packets[&number]));
    }
    assert!(receiver.hopeless.is_empty());
}
