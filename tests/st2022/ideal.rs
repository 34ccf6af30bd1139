//! The decoder recovers exactly the packets that an ideal peeling decoder would, which is plain
//! logic over sets of numbers.

use std::collections::BTreeSet;

use tidecast_link::{Bursts, Impairments, Link};
use tidecast_wire::{fec::matrix::Shape, seq::Space, st2022::Repair};

use crate::{
    peeling::{Ideal, Line},
    stream::{Dice, Receiver, Sent, Stream, seeds},
};

/// Near the wrap of the 16-bit number, so that it is within the first matrices.
const FIRST: u64 = 3 * 65_536 - 60;

/// Number of packets that wait for a gap, as in a relay: the decoder also keeps the packets that
/// they need before it knows the matrix.
const HOLD_PACKETS: u64 = 128;

/// Returns every lost number that repair packets recover, computed from sets of numbers.
fn ideal(stream: &Stream, received: &[&Sent]) -> BTreeSet<u64> {
    let mut ideal = Ideal::default();
    let mut lost: BTreeSet<u64> = stream.packets.keys().copied().collect();
    for sent in received {
        match sent {
            Sent::Media(number) => {
                ideal.media(*number);
                lost.remove(number);
            }
            Sent::Repair(datagram) => {
                let repair = Repair::parse(&datagram.bytes).unwrap();
                let base = Space::RTP.extend(FIRST + 3000, repair.base().into());
                let (offset, count) = (repair.offset(), repair.count());
                ideal.repair(Line { base, offset, count, index: 0 });
            }
        }
    }
    let end = 1 + *stream.packets.keys().last().expect("a packet");
    &lost - &ideal.left(stream.first()..end)
}

fn independent(loss: f64) -> Impairments {
    Impairments { loss, ..Impairments::default() }
}

/// Returns losses of this mean length, with this mean distance between bursts.
fn bursts(distance: f64, length: f64) -> Impairments {
    let loss = length / (distance + length);
    Impairments { loss, burst: length, bursts: Bursts::Fixed, ..Impairments::default() }
}

/// Returns the packets that pass a link.
fn lossy<'a>(stream: &'a Stream, model: Impairments, dice: &mut Dice) -> Vec<&'a Sent> {
    let (mut link, now) = (Link::new(model, dice.any()), tidecast_net::clock::now());
    let mut keeps = |_: &&Sent| {
        link.push(now, ());
        link.pop(now).is_some()
    };
    // The start of a stream is known from its first packet, and the last one shows its end.
    let keep_first = stream.sent.iter().take(1);
    keep_first.chain(stream.sent[1..].iter().filter(|sent| keeps(sent))).collect()
}

/// Returns the packets, each moved by up to `distance` positions.
fn reordered<'a>(received: &[&'a Sent], distance: u64, dice: &mut Dice) -> Vec<&'a Sent> {
    let mut places: Vec<(u64, &Sent)> =
        received.iter().enumerate().map(|(i, sent)| (i as u64 + dice.below(distance + 1), *sent)).collect();
    places[1..].sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, sent)| sent).collect()
}

fn shape(dice: &mut Dice) -> Shape {
    loop {
        let (columns, rows, row_fec) = (1 + dice.below(20) as u8, 4 + dice.below(17) as u8, dice.hits(0.6));
        if let Ok(shape) = Shape::new(columns, rows, row_fec) {
            return shape;
        }
    }
}

/// Checks that every recoverable packet is recovered, byte for byte, and no other; and that
/// packets reported as unrecoverable are.
fn check(stream: &Stream, received: &[&Sent], what: &str) -> Receiver {
    let expected = ideal(stream, received);
    let mut receiver = Receiver::new(stream.first());
    let mut came = BTreeSet::new();
    for sent in received {
        receiver.decoder.waits_from(receiver.end.saturating_sub(HOLD_PACKETS));
        receiver.receive(sent, stream);
        if let Sent::Media(number) = sent {
            came.insert(*number);
        }
    }
    for (number, packet) in &receiver.rebuilt {
        assert_eq!(packet, &stream.packets[number], "{what}: {number}");
    }
    let rebuilt: BTreeSet<u64> = receiver.rebuilt.keys().filter(|n| !came.contains(n)).copied().collect();
    assert_eq!(rebuilt, expected, "{what}");
    assert_eq!(receiver.nonsense, 0, "{what}");
    receiver
}

#[test]
fn random_losses_come_back_as_from_an_ideal_decoder() {
    for seed in seeds(400) {
        let mut dice = Dice(seed);
        let shape = shape(&mut dice);
        let loss = match dice.below(6) {
            0 => independent(0.01),
            1 => independent(0.02),
            2 => independent(0.05),
            3 => independent(0.2),
            4 => bursts(150.0, shape.columns().into()),
            _ => bursts(60.0, 3.0),
        };
        let what = format!("TIDECAST_SEED={seed}, {shape:?}, {loss:?}");
        let stream = Stream::new(shape, FIRST, 8, &mut dice);
        let received = lossy(&stream, loss, &mut dice);
        let receiver = check(&stream, &received, &what);
        // In order, no recoverable packet is given up.
        let wrong: Vec<_> = receiver.hopeless.iter().filter(|n| receiver.rebuilt.contains_key(n)).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
        let received = reordered(&received, 1 + shape.columns() as u64 / 2, &mut dice);
        check(&stream, &received, &format!("{what}, reordered"));
    }
}

/// An unrecoverable gap is detected after the next matrix, however many rows and columns are lost.
#[test]
fn hopeless_gaps_are_found() {
    for seed in seeds(60) {
        let mut dice = Dice(seed);
        let shape = Shape::new(5 + dice.below(5) as u8, 5 + dice.below(5) as u8, dice.hits(0.5)).unwrap();
        let stream = Stream::new(shape, FIRST, 12, &mut dice);
        let received = lossy(&stream, independent(0.15), &mut dice);
        let receiver = check(&stream, &received, &format!("TIDECAST_SEED={seed}, {shape:?}"));
        let came: BTreeSet<u64> =
            received.iter().filter_map(|s| if let Sent::Media(n) = s { Some(*n) } else { None }).collect();
        let within = FIRST + 3 * shape.packets() as u64..FIRST + 9 * shape.packets() as u64;
        let lost = within.filter(|n| !came.contains(n) && !receiver.rebuilt.contains_key(n));
        let missed: Vec<u64> = lost.filter(|n| !receiver.hopeless.contains(n)).collect();
        assert!(missed.is_empty(), "TIDECAST_SEED={seed}, {shape:?}: {missed:?} of {:?}", receiver.hopeless);
    }
}

#[test]
fn each_packet_of_a_matrix_comes_back_alone() {
    let shapes = [
        (4, 4, true),
        (5, 5, true),
        (10, 10, true),
        (20, 5, true),
        (10, 4, true),
        (5, 20, false),
        (1, 4, false),
    ];
    for (columns, rows, row_fec) in shapes {
        let shape = Shape::new(columns, rows, row_fec).unwrap();
        let stream = Stream::new(shape, FIRST, 2, &mut Dice(7));
        for deleted in FIRST + 1..FIRST + 2 * shape.packets() as u64 {
            let received: Vec<&Sent> =
                stream.sent.iter().filter(|s| !matches!(s, Sent::Media(n) if *n == deleted)).collect();
            let receiver = check(&stream, &received, &format!("{shape:?} without {deleted}"));
            assert_eq!(receiver.rebuilt.into_keys().collect::<Vec<_>>(), [deleted]);
            assert!(receiver.hopeless.is_empty(), "{shape:?} without {deleted}");
        }
    }
}

#[test]
fn nothing_comes_back_of_what_was_not_lost() {
    let shape = Shape::new(8, 6, true).unwrap();
    let stream = Stream::new(shape, FIRST, 20, &mut Dice(9));
    let received: Vec<&Sent> = stream.sent.iter().collect();
    let receiver = check(&stream, &received, "no loss");
    assert!(receiver.rebuilt.is_empty() && receiver.hopeless.is_empty());
    assert_eq!(receiver.decoder.shape(), Some((8, 6)));
}

/// The matrix changes repeatedly within the stream; the decoder follows, and its memory decreases
/// again.
#[test]
fn shapes_change_in_mid_stream() {
    for seed in seeds(60) {
        let mut dice = Dice(seed);
        let mut stream = Stream::default();
        let mut first = FIRST;
        for _ in 0..6 {
            let shape = shape(&mut dice);
            stream.send(shape, first, 2 + dice.below(3), &mut dice);
            first = 1 + *stream.packets.keys().last().unwrap();
        }
        let received = lossy(&stream, independent(0.03), &mut dice);
        check(&stream, &received, &format!("TIDECAST_SEED={seed}"));
    }
}

/// A sender that restarts its matrices at another position, without any announcement, is followed.
#[test]
fn matrices_may_begin_anew_anywhere() {
    for seed in seeds(60) {
        let mut dice = Dice(seed);
        let shape = Shape::new(5 + dice.below(5) as u8, 5 + dice.below(5) as u8, dice.hits(0.3)).unwrap();
        let mut stream = Stream::new(shape, FIRST, 5, &mut dice);
        let packets = shape.packets() as u64;
        let pause = FIRST + 5 * packets;
        let again = pause + 1 + dice.below(packets - 1);
        for number in pause..again {
            stream.packets.insert(number, crate::stream::media(number, &mut dice));
            stream.sent.push(Sent::Media(number));
        }
        stream.send(shape, again, 8, &mut dice);
        let received = lossy(&stream, independent(0.05), &mut dice);
        let receiver = check(&stream, &received, &format!("TIDECAST_SEED={seed}, {shape:?}"));
        let wrong =
            receiver.hopeless.iter().filter(|n| **n > again + packets && receiver.rebuilt.contains_key(n));
        assert_eq!(wrong.count(), 0, "TIDECAST_SEED={seed}, {shape:?}");
    }
}

#[test]
fn memory_follows_the_matrix() {
    let mut dice = Dice(3);
    let large = Shape::new(10, 10, true).unwrap();
    let mut stream = Stream::new(large, FIRST, 20, &mut dice);
    stream.send(Shape::new(4, 4, true).unwrap(), FIRST + 2000, 60, &mut dice);
    let mut receiver = Receiver::new(FIRST);
    let (mut largest, mut total) = (0, 0);
    for sent in &stream.sent {
        receiver.receive(sent, &stream);
        largest = largest.max(receiver.decoder.bytes());
        total += if let Sent::Media(n) = sent { stream.packets[n].len() } else { 0 };
    }
    // Three matrices of 100 of the 2,960 packets, approximately, because of their sizes, and the
    // ring.
    assert!(largest < total * 400 / 2960 + 1024 * 64, "{largest} of {total}");
    assert!(receiver.decoder.bytes() < largest * 2 / 3, "{} of {largest}", receiver.decoder.bytes());
    assert_eq!((receiver.decoder.shape(), receiver.decoder.span()), (Some((4, 4)), 16));
}
