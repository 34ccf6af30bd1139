//! The packets that the encoder sends, and their times.

use std::collections::BTreeMap;

use tidecast_wire::{
    fec::matrix::{Datagram, Encoder, Shape, ShapeError, Sum, Taken},
    st2022::{Axis, HEADER, PAYLOAD_TYPE, Repair, Shard},
};

use crate::stream::{Dice, Sent, Stream, media, seeds};

#[test]
fn the_standards_limits() {
    for (columns, rows, row_fec) in
        [(1, 4, false), (20, 5, true), (5, 20, true), (10, 10, true), (4, 4, true)]
    {
        let shape = Shape::new(columns, rows, row_fec).unwrap();
        assert_eq!((shape.columns(), shape.rows(), shape.row_fec()), (columns, rows, row_fec));
    }
    let columns = |actual, min, rows| Err(ShapeError::Columns { actual, min, max: 20, rows });
    assert_eq!(Shape::new(0, 5, false), columns(0, 1, false));
    assert_eq!(Shape::new(21, 4, false), columns(21, 1, false));
    assert_eq!(Shape::new(3, 5, true), columns(3, 4, true));
    assert_eq!(Shape::new(5, 3, true), Err(ShapeError::Rows { actual: 3, min: 4, max: 20 }));
    assert_eq!(Shape::new(5, 21, true), Err(ShapeError::Rows { actual: 21, min: 4, max: 20 }));
    let error = Shape::new(11, 10, false).unwrap_err();
    assert_eq!(error.to_string(), "11 columns by 10 rows are 110 packets, expected at most 100");
    let error = Shape::new(3, 5, true).unwrap_err();
    assert_eq!(error.to_string(), "3 columns, expected 4 to 20 with row FEC");
}

/// Rows are sent with their last packet; the columns of a matrix one every D packets of the next.
#[test]
fn columns_are_spread_over_the_next_matrix() {
    let (first, shape) = (65_530, Shape::new(5, 4, true).unwrap());
    let stream = Stream::new(shape, first, 3, &mut Dice(1));
    let (mut at, mut sent) = (0, Vec::new());
    for packet in &stream.sent {
        match packet {
            Sent::Media(number) => at = number - first,
            Sent::Repair(datagram) => {
                let repair = Repair::parse(&datagram.bytes).unwrap();
                let base = u64::from(repair.base().wrapping_sub(first as u16));
                assert_eq!(repair.axis(), datagram.axis);
                sent.push((at, repair.axis(), base, repair.offset(), repair.count()));
            }
        }
    }
    let rows = (0..12).map(|row| (5 * row + 4, Axis::Row, 5 * row, 1, 5));
    let spread =
        |matrix: u64| (0..5).map(move |c| (20 * (matrix + 1) + 4 * c, Axis::Column, 20 * matrix + c, 5, 4));
    // The last columns have no next matrix over which they could be spread.
    let last = (0..5).map(|column| (59, Axis::Column, 40 + column, 5, 4));
    let mut expected: Vec<_> = rows.chain(spread(0)).chain(spread(1)).chain(last).collect();
    expected.sort_by_key(|(at, axis, base, ..)| (*at, *axis == Axis::Column, *base));
    sent.sort_by_key(|(at, axis, base, ..)| (*at, *axis == Axis::Column, *base));
    assert_eq!(sent, expected);
}

#[test]
fn repair_streams_count_for_themselves() {
    let mut encoder = Encoder::new(Shape::new(4, 4, true).unwrap(), 65_534, 7);
    let mut out = Vec::new();
    let mut dice = Dice(2);
    let packets: Vec<_> = (0..40).map(|n| media(n, &mut dice)).collect();
    for packet in &packets {
        encoder.media(packet, &mut out);
    }
    let numbers = |axis| {
        let ours = out.iter().filter(|datagram| datagram.axis == axis);
        ours.map(|datagram| Repair::parse(&datagram.bytes).unwrap().repr().sequence).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Axis::Column), [65_534, 65_535, 0, 1, 2, 3]);
    assert_eq!(numbers(Axis::Row), (7..17).collect::<Vec<_>>());
    let last = Repair::parse(&out.last().unwrap().bytes).unwrap().repr();
    assert_eq!((last.payload_type, last.ssrc), (PAYLOAD_TYPE, 0));
    assert_eq!(last.timestamp.to_be_bytes(), packets[39][4..8]);
}

/// For any input, each repair packet is the XOR of the packets that it names: gaps, jumps,
/// duplicates, late packets and other SSRCs among the media.
#[test]
fn every_repair_packet_is_the_sum_of_what_it_protects() {
    let mut checked = 0;
    for seed in seeds(200) {
        let mut dice = Dice(seed);
        let (columns, rows) = (4 + dice.below(6) as u8, 4 + dice.below(6) as u8);
        let mut encoder = Encoder::new(Shape::new(columns, rows, dice.hits(0.7)).unwrap(), 0, 0);
        let (mut packets, mut out) = (BTreeMap::new(), Vec::new());
        let (mut number, mut ssrc) = (65_536 - dice.below(100), 1);
        for _ in 0..600 {
            number = match dice.below(300) {
                0 => number + dice.below(2000),
                1..5 => number + dice.below(30),
                5..9 => number.saturating_sub(dice.below(30)),
                _ => number + 1,
            };
            if dice.below(300) == 0 {
                ssrc += 1;
                // Pending repair packets come first.
                let packet = media_of(number, ssrc);
                encoder.media(&packet, &mut out);
                checked += check_all(&mut out, &packets, seed);
                packets = BTreeMap::from([(number as u16, packet)]);
                continue;
            }
            let packet = media_of(number, ssrc);
            if encoder.media(&packet, &mut out) == Taken::Added {
                packets.insert(number as u16, packet);
            }
            checked += check_all(&mut out, &packets, seed);
        }
        encoder.flush(&mut out);
        checked += check_all(&mut out, &packets, seed);
    }
    assert!(checked > 1000, "only {checked} repair packets");
}

/// Returns the same packet for the same number.
fn media_of(number: u64, ssrc: u32) -> Vec<u8> {
    let mut packet = media(number, &mut Dice(number << 8 | u64::from(ssrc)));
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

fn check_all(out: &mut Vec<Datagram>, packets: &BTreeMap<u16, Vec<u8>>, seed: u64) -> usize {
    out.drain(..).map(|datagram| check(&datagram.bytes, packets, seed)).count()
}

/// Checks one repair packet against its media.
fn check(bytes: &[u8], packets: &BTreeMap<u16, Vec<u8>>, seed: u64) {
    let repair = Repair::parse(bytes).unwrap();
    let mut left = Sum::from(repair.shard());
    for j in 0..repair.count() {
        let number = repair.base().wrapping_add((j * repair.offset()) as u16);
        let packet =
            packets.get(&number).unwrap_or_else(|| panic!("TIDECAST_SEED={seed}: {number} is not there"));
        left.add(Shard::of(packet).unwrap());
    }
    assert_eq!(
        (left.fields, left.body.iter().all(|byte| *byte == 0)),
        (Default::default(), true),
        "TIDECAST_SEED={seed}"
    );
}

#[test]
fn what_cannot_be_protected() {
    let mut encoder = Encoder::new(Shape::new(4, 4, false).unwrap(), 0, 0);
    let (mut dice, mut out) = (Dice(5), Vec::new());
    let mut packet = |number| media(number, &mut dice);
    assert_eq!(encoder.media(b"", &mut out), Taken::NotRtp);
    assert_eq!(encoder.media(&[0x47; 188], &mut out), Taken::NotRtp);
    for number in 100..120 {
        let packet = packet(number);
        assert_eq!(encoder.media(&packet, &mut out), Taken::Added);
        assert_eq!(encoder.media(&packet, &mut out), Taken::Duplicate);
    }
    assert_eq!(encoder.media(&packet(115), &mut out), Taken::Late);
    let mut huge = packet(120);
    huge[0] = 0x80;
    huge.resize(65_507, 1);
    assert_eq!(encoder.media(&huge, &mut out), Taken::TooLong);
    huge.resize(65_507 - HEADER + 12, 1);
    assert_eq!(encoder.media(&huge, &mut out), Taken::Added);
    // At the end the short columns are sent, too: one of two packets, three of one each.
    out.clear();
    encoder.flush(&mut out);
    let counts: Vec<_> = out.iter().map(|d| Repair::parse(&d.bytes).unwrap().count()).collect();
    assert_eq!(counts[counts.len() - 4..], [2, 1, 1, 1]);
    out.clear();
    encoder.flush(&mut out);
    assert!(out.is_empty(), "nothing is left");
}
