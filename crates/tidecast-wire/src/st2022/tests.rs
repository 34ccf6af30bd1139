//! Parses and emits repair packets.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Reason, Reject};

/// A repair packet for the row of 0xfffe and 0xffff. In its FEC header, the XOR of the protected
/// headers is X for the flags, M and payload type 0x21 for the second bytes, and 7 for the lengths.
const GOLDEN: [u8; 31] = [
    0x90, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, // RTP header
    0xff, 0xfe, 0, 7, 0xa1, 0, 0, 0, 9, 8, 7, 6, 0x40, 1, 2, 0, // FEC header
    b'x', b'o', b'r',
];

fn changed(at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = GOLDEN.to_vec();
    bytes[at] = byte;
    bytes
}

#[test]
fn golden_repair_packet() {
    let fields = Fields { flags: 0x10, marker_and_type: 0xa1, length: 7, timestamp: 0x0908_0706 };
    let expected = Repr {
        axis: Axis::Row,
        payload_type: PAYLOAD_TYPE,
        sequence: 0x1234,
        timestamp: 0x0102_0304,
        ssrc: 0,
        base: 0xfffe,
        offset: 1,
        count: 2,
        shard: Shard { fields, body: b"xor" },
    };
    let parsed = Repair::parse(&GOLDEN).unwrap();
    assert_eq!(parsed.repr(), expected);
    assert_eq!((parsed.axis(), parsed.base(), parsed.offset(), parsed.count()), (Axis::Row, 0xfffe, 1, 2));
    assert_eq!(Repair::parse(&changed(24, 0)).unwrap().axis(), Axis::Column);
    // index and extension bits are ignored
    assert_eq!(Repair::parse(&changed(24, 0x47)).unwrap().repr(), expected);
    assert_eq!(Repair::parse(&changed(27, 0xff)).unwrap().repr(), expected);
    assert!(Repair::parse(&GOLDEN[..HEADER]).unwrap().shard().body.is_empty());
}

#[test]
fn what_is_no_repair_packet() {
    for len in 0..HEADER {
        assert_eq!(
            Repair::parse(&GOLDEN[..len]),
            Err(St2022Error::Truncated { expected: HEADER, actual: len })
        );
    }
    let kind = |extended, mask, more, code| Err(St2022Error::Kind { extended, mask, more, code });
    let cases = [
        (changed(0, 0x47), Err(St2022Error::Version { actual: 1 })),
        (changed(1, 200), Err(St2022Error::Rtcp { packet_type: 200 })),
        (changed(16, 0x21), kind(0, 0, 0, 0)),
        (changed(17, 1), kind(1, 1 << 16, 0, 0)),
        (changed(19, 3), kind(1, 3, 0, 0)),
        (changed(24, 0x80), kind(1, 0, 1, 0)),
        (changed(24, 0x10), kind(1, 0, 0, 2)),
        (changed(25, 0), Err(St2022Error::Protects { count: 2, offset: 0 })),
        (changed(26, 0), Err(St2022Error::Protects { count: 0, offset: 1 })),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Repair::parse(&bytes), expected);
    }
}

#[test]
fn errors_have_their_rejects() {
    let reject = |bytes: &[u8]| Reject::from(Repair::parse(bytes).unwrap_err());
    assert_eq!(reject(b""), Reject::Corrupt(Reason::Truncated));
    assert_eq!(reject(&changed(0, 0)), Reject::Foreign(Reason::Format));
    assert_eq!(reject(&changed(1, 201)), Reject::Foreign(Reason::Rtcp));
    assert_eq!(reject(&changed(18, 1)), Reject::Foreign(Reason::Kind));
    assert_eq!(reject(&changed(26, 0)), Reject::Corrupt(Reason::Repair));
}

#[test]
fn shards_that_are_no_packet() {
    let fields = Fields { length: 3, ..Fields::default() };
    let mut out = Vec::new();
    assert!(!Shard { fields, body: b"ab" }.emit(1, 2, &mut out), "longer than its bytes");
    assert!(!Shard { fields, body: b"abcd" }.emit(1, 2, &mut out), "something behind the end");
    assert!(out.is_empty());
    assert!(Shard { fields, body: b"abc\0" }.emit(1, 2, &mut out));
    assert_eq!(out.len(), 15);
    assert_eq!(Shard::of(&out[..11]), None);
    assert_eq!(Shard::of(&[0x40; 20]), None, "another version");
    assert_eq!(Shard::of(&[0x80; 12 + 65_536]), None, "longer than a datagram");
}

proptest! {
    #[test]
    fn what_was_emitted_is_parsed(
        row in any::<bool>(),
        payload_type in (0u8..128).prop_filter("RTCP's", |pt| !(64..96).contains(pt)),
        (sequence, base, timestamp, ssrc) in any::<(u16, u16, u32, u32)>(),
        (offset, count) in (1u8.., 1u8..),
        (flags, marker_and_type, length, stamp) in any::<(u8, u8, u16, u32)>(),
        body in vec(any::<u8>(), 0..1500),
    ) {
        let fields = Fields { flags: flags & 0x3f, marker_and_type, length, timestamp: stamp };
        let axis = if row { Axis::Row } else { Axis::Column };
        let shard = Shard { fields, body: &body };
        let repr = Repr { axis, payload_type, sequence, timestamp, ssrc, base, offset, count, shard };
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        prop_assert_eq!(bytes.len(), HEADER + body.len());
        prop_assert_eq!(Repair::parse(&bytes).unwrap().repr(), repr);
    }

    /// Any bytes: no panic, and accepted packets are emitted identically except for the ignored
    /// bits.
    #[test]
    fn accepted_packets_come_back(
        first in 0x80u8..0xc0, mut rest in vec(any::<u8>(), 0..80), valid in any::<bool>(),
    ) {
        if valid && rest.len() >= HEADER {
            rest[15] |= 0x80;
            rest[16..19].fill(0);
            rest[23] &= 0x47;
        }
        let mut bytes = [&[first], &rest[..]].concat();
        if let Ok(parsed) = Repair::parse(&bytes) {
            let mut again = Vec::new();
            parsed.repr().emit(&mut again);
            bytes[24] &= 0xf8;
            bytes[27] = 0;
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn packets_come_back_from_their_shards(
        flags in 0x80u8..0xc0, second in any::<u8>(), rest in vec(any::<u8>(), 10..200), padding in 0usize..50,
    ) {
        let packet = [&[flags, second], &rest[..]].concat();
        let shard = Shard::of(&packet).unwrap();
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let padded = [shard.body, &vec![0; padding]].concat();
        let mut again = Vec::new();
        let whole = Shard { body: &padded, ..shard }.emit(sequence, ssrc, &mut again);
        prop_assert!(whole);
        prop_assert_eq!(again, packet);
    }
}
