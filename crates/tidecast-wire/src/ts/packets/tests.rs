//! Tests with streams of any unit, split at any position, with losses and damage.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Returns a packet that contains its number, and some other bytes that look like the start of a
/// packet.
fn packet(number: u16) -> [u8; PACKET] {
    let mut packet = std::array::from_fn(|place| {
        let seed = (place as u64) << 16 | u64::from(number);
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37;
        let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 29;
        if mixed.is_multiple_of(41) { SYNC } else { mixed as u8 }
    });
    // with a PID that also looks like a sync byte
    packet[..4].copy_from_slice(&[SYNC, 1, SYNC, 0x10 | number as u8 & 15]);
    packet[4..6].copy_from_slice(&number.to_be_bytes());
    packet
}

fn stream(unit: Unit, count: u16) -> Vec<u8> {
    let mut out = Vec::new();
    // the high byte of a timestamp stays the same for a while
    (0..count).for_each(|number| unit.wrap(&[packet(number)], [SYNC, SYNC, number as u8, 0], &mut out));
    out
}

/// Returns the numbers of the packets that are found in these payloads, and their positions in the
/// joined payloads.
fn told<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u16, isize)> {
    let (mut packets, mut told, mut before) = (Packets::default(), Vec::new(), 0);
    for payload in payloads {
        packets.push(payload, |placed| {
            let number = u16::from_be_bytes([placed.packet[4], placed.packet[5]]);
            let whole = *placed.packet == packet(number);
            told.push((if whole { number } else { u16::MAX }, before + placed.start));
        });
        before += payload.len() as isize;
        assert!(packets.held.len() <= SEARCH_BYTES);
    }
    told
}

fn numbers<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u16> {
    told(payloads).into_iter().map(|(number, _)| number).collect()
}

/// Cuts bytes into pieces of these sizes, repeatedly.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[test]
fn whole_units_are_known_at_once() {
    for unit in Unit::ALL {
        let bytes = stream(unit, 3);
        assert_eq!((bytes.len(), Unit::of_whole(&bytes)), (3 * unit.bytes(), Some(unit)));
        assert_eq!(Unit::of_whole(&bytes[1..]), None);
        let places: Vec<_> = (0..3).map(|n| (n, n as isize * unit.bytes() as isize)).collect();
        assert_eq!(told([&bytes[..]]), places);
        assert_eq!(told(bytes.chunks(unit.bytes())), places);
    }
    assert_eq!(Unit::of_whole(&[]), None);
}

/// As sent by ffmpeg: no packet is passed on twice, late or not at all.
#[test]
fn packets_that_span_datagrams_are_told_when_they_are_whole() {
    for unit in Unit::ALL {
        let bytes = stream(unit, 400);
        let mut packets = Packets::default();
        let (mut count, mut came) = (0, 0);
        for payload in bytes.chunks(1472) {
            packets.push(payload, |_| count += 1);
            came += payload.len();
            assert_eq!(count, came / unit.bytes(), "{unit:?}");
            assert_eq!(packets.is_between(), came.is_multiple_of(unit.bytes()));
        }
        assert_eq!((count, packets.unit()), (400, Some(unit)));
    }
}

#[test]
fn a_lost_datagram_costs_the_packets_that_it_had_a_part_of() {
    for unit in Unit::ALL {
        let bytes = stream(unit, 400);
        let payloads: Vec<&[u8]> = bytes.chunks(1472).collect();
        // those after the loss are found when some have arrived
        for lost in 1..payloads.len() - 2 {
            let came = payloads.iter().enumerate().filter(|(place, _)| *place != lost);
            let (from, to) = (lost * 1472, (lost + 1) * 1472);
            let whole = |number: &u16| {
                let start = usize::from(*number) * unit.bytes();
                start + unit.bytes() <= from || start >= to
            };
            // only the timestamp is missing
            let found = |number: &u16| usize::from(*number) * unit.bytes() + unit.front() >= to;
            let expected: Vec<u16> = (0..400).filter(whole).collect();
            let mut told = numbers(came.map(|(_, payload)| *payload));
            // Bytes of two packets look like one if those after the loss have a sync byte at the
            // right position; the next ones are then found slightly later.
            let count = told.len();
            told.retain(|number| *number != u16::MAX);
            let mistaken = count - told.len();
            assert!(mistaken <= 2 && told.len() + 2 * mistaken >= expected.len(), "{unit:?} without {lost}");
            assert!(
                told.iter().all(|number| expected.contains(number) || found(number)),
                "{unit:?} without {lost}"
            );
        }
    }
}

#[test]
fn a_damaged_sync_byte_costs_its_packet() {
    for unit in Unit::ALL {
        let mut bytes = stream(unit, 100);
        bytes[40 * unit.bytes() + unit.front()] = 0;
        let expected: Vec<u16> = (0..100).filter(|number| *number != 40).collect();
        assert_eq!(numbers([&bytes[..]]), expected);
        assert_eq!(numbers(bytes.chunks(7 * unit.bytes())), expected);
        assert_eq!(numbers(bytes.chunks(unit.bytes())), expected);
    }
}

#[test]
fn another_unit_is_found() {
    let bytes = [stream(Unit::Plain, 50), stream(Unit::Parity, 50), stream(Unit::Stamped, 50)].concat();
    for size in [1472, 1316, 200] {
        let told = numbers(bytes.chunks(size));
        assert!(
            told.len() > 140 && told.iter().filter(|number| **number == u16::MAX).count() <= 3,
            "{told:?}"
        );
        assert!(told.ends_with(&[46, 47, 48, 49]));
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_packets(
        unit in prop_oneof![Just(Unit::Plain), Just(Unit::Stamped), Just(Unit::Parity)],
        skipped in 0usize..204,
        sizes in vec(prop_oneof![1usize..40, 1usize..300, 1usize..3000, Just(188), Just(1472)], 1..12),
    ) {
        let bytes = &stream(unit, 60)[skipped..];
        let pieces = cut(bytes, &sizes);
        // A first piece of 188 bytes that starts in a timestamp with a sync byte is
        // indistinguishable from a whole plain packet.
        prop_assume!(Unit::of_whole(pieces[0]).is_none_or(|whole| whole == unit && skipped == 0));
        let first = skipped.div_ceil(unit.bytes()) as u16;
        let place = |number: u16| (number, (usize::from(number) * unit.bytes()) as isize - skipped as isize);
        let expected: Vec<_> = (first..60).map(place).collect();
        prop_assert_eq!(told(pieces), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_grow(
        payloads in vec(prop_oneof![vec(any::<u8>(), 0..700), vec(prop_oneof![Just(SYNC), any::<u8>()], 0..2000)], 0..20),
    ) {
        let length = payloads.iter().map(Vec::len).sum::<usize>() as isize;
        for (_, start) in told(payloads.iter().map(Vec::as_slice)) {
            prop_assert!((0..length).contains(&start));
        }
    }
}

/// A file may start with the head that a recorder wrote, or in the middle of a packet.
#[test]
fn the_begin_of_a_file_is_found_behind_other_bytes() {
    let packet = |n: usize| {
        let mut packet = [n as u8; PACKET];
        (packet[0], packet[1], packet[2], packet[3]) = (SYNC, 0x01, 0x00, 0x10 | n as u8 & 0xf);
        packet
    };
    let packets: Vec<[u8; PACKET]> = (0..40).map(packet).collect();
    for unit in Unit::ALL {
        let mut stream = Vec::new();
        unit.wrap(&packets, [0x12, 0x11, 0x22, 0x33], &mut stream);
        assert_eq!(begin(&stream), Some((unit, 0)));
        for lead in [1, 4, 100, 187, 500, 5_000] {
            let junk: Vec<u8> = (0..lead).map(|n| (n * 7 % 251) as u8).collect();
            let found = begin(&[&junk[..], &stream].concat());
            // A junk byte that looks like a sync byte at the right position makes the junk part of
            // a packet.
            let (found, start) = found.unwrap();
            assert!(
                found == unit && (start == lead || start + unit.bytes() == lead),
                "{unit:?} {lead}: {start}"
            );
        }
        let broken = begin(&stream[50..]).unwrap();
        assert_eq!(broken, (unit, unit.bytes() - 50));
    }
    assert_eq!(begin(&packets[0]), Some((Unit::Plain, 0)), "one packet");
    assert_eq!(begin(&packets[0][..100]), None, "too short to tell");
    assert_eq!(begin(b"some text that has the letter G in it, and again G").map(|_| ()), None);
    // A generator of numbers that are random enough.
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for _ in 0..50 {
        let bytes: Vec<u8> = (0..64 << 10).map(|_| random()).collect();
        assert_eq!(begin(&bytes), None);
    }
}
