use super::*;
use proptest::{collection::vec, prelude::*};

// Written out by hand; the checksums are Python's zlib.crc32, the repair shard is from a second
// implementation of the code. Stream 7, session 42, from 2026-01-01T00:00:00Z on.
const DATA_0: &str = "5443 10 00 00000007 0000002a 0000000000000000 0006474846204000 32312e352043 b73be275";
const DATA_1: &str = "5443 10 00 00000007 0000002a 0000000000000001 00064748462f8240 32312e37352043 03f4f3bd";
const REPAIR: &str = "5443 11 00 00000007 0000002a 0000000000000000 0000000000000000
    02 01 00 01 0013 0000000400064748463ed98032312e310a8586 b2ea54b0";
const HEARTBEAT: &str = "5443 12 00 00000007 0000002a 0000000000000002 00064748463ec480 ce9c82c6";
const END: &str = "5443 13 00 00000007 0000002a 0000000000000002 00064748463ec480 29812451";
const NACK: &str = "5443 14 00 00000007 0000002a 0000000000000000 0000000000000000
    0000000000000001 0001  0000000000000005 0003  3b46e3e7";
const RETRANSMITTED_1: &str =
    "5443 10 01 00000007 0000002a 0000000000000001 00064748462f8240 32312e37352043 f22ef617";
const SEALED_0: &str = "5443 10 02 00000007 0000002a 0000000000000000 0006474846204000 32312e352043
    000102030405060708090a0b0c0d0e0f 23b22fbd";
const RESERVED_KIND: &str =
    "5443 15 00 00000007 0000002a 0000000000000000 0006474846204000 32312e352043 376bfdf5";

const TIME: u64 = 1_767_225_600_000_000;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn golden(kind: Kind, sequence: u64, timestamp: u64, payload: &[u8]) -> Repr<'_> {
    Repr { kind, flags: 0, stream: 7, session: 42, sequence, timestamp, payload }
}

fn emitted(repr: Repr<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    repr.emit(&mut out);
    assert_eq!(out.len(), repr.len());
    out
}

/// The bytes with a checksum that fits them.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn golden_datagrams() {
    let nack = hex("0000000000000001 0001 0000000000000005 0003");
    let repair = hex("02010001 0013 0000000400064748463ed98032312e310a8586");
    let cases = [
        (DATA_0, golden(Kind::Data, 0, TIME, b"21.5 C")),
        (DATA_1, golden(Kind::Data, 1, TIME + 1_000_000, b"21.75 C")),
        (REPAIR, golden(Kind::Repair, 0, 0, &repair[..])),
        (HEARTBEAT, golden(Kind::Heartbeat, 2, TIME + 2_000_000, b"")),
        (END, golden(Kind::End, 2, TIME + 2_000_000, b"")),
        (NACK, golden(Kind::Nack, 0, 0, &nack)),
    ];
    for (text, repr) in cases {
        let bytes = hex(text);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.repr(), repr, "{text}");
        assert_eq!(emitted(repr), bytes, "{text}");
    }
    let bytes = hex(DATA_1);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(
        (packet.kind(), packet.flags(), packet.is_retransmission(), packet.stream(), packet.session()),
        (Kind::Data, 0, false, 7, 42)
    );
    assert_eq!((packet.sequence(), packet.timestamp()), (1, TIME + 1_000_000));
    assert_eq!(packet.payload(), b"21.75 C");
    assert_eq!(packet.payload_range(), 28..35);
}

#[test]
fn retransmission_is_the_same_packet_with_a_flag_and_a_new_checksum() {
    let (original, again) = (hex(DATA_1), hex(RETRANSMITTED_1));
    let mut repr = Packet::parse(&original).unwrap().repr();
    repr.flags |= RETRANSMISSION;
    assert_eq!(emitted(repr), again);
    assert!(Packet::parse(&again).unwrap().is_retransmission());
}

#[test]
fn a_tag_is_no_payload() {
    let bytes = hex(SEALED_0);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.payload(), packet.payload_range()), (&b"21.5 C"[..], 28..34));
    assert_eq!((packet.key_id(), packet.is_encrypted()), (Some(0), false));
    assert_eq!(emitted(packet.repr()), bytes, "the tag goes with it");
    assert_eq!(SourceShard::of(&packet).payload.len(), 6 + TAG, "and is rebuilt with it");
    // a tag of 15 bytes
    let short = checked(bytes[..HEADER + 15].to_vec());
    assert_eq!(Packet::parse(&short), Err(NativeError::Truncated { expected: 48, actual: 47 }));
}

#[test]
fn reserved_kinds_and_other_versions() {
    assert_eq!(Packet::parse(&hex(RESERVED_KIND)), Err(NativeError::Kind { actual: 5 }));
    let mut version_2 = hex(DATA_0);
    version_2[2] = 0x20;
    assert_eq!(Packet::parse(&version_2), Err(NativeError::Version { actual: 2 }));
    assert_eq!(Packet::parse(&version_2[..3]), Err(NativeError::Version { actual: 2 }));
    assert_eq!(Packet::parse(b"TS and more"), Err(NativeError::Magic { actual: *b"TS" }));
    assert_eq!(Packet::parse(b"TC"), Err(NativeError::Truncated { expected: 32, actual: 2 }));
}

#[test]
fn unknown_flags_are_ignored_and_kept() {
    let bytes = emitted(Repr { flags: 0xfc, ..golden(Kind::Data, 0, 0, b"x") });
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.flags(), packet.is_retransmission(), packet.payload()), (0xfc, false, &b"x"[..]));
}

#[test]
fn heartbeat_and_end_may_have_a_payload() {
    for kind in [Kind::Heartbeat, Kind::End] {
        assert_eq!(Packet::parse(&emitted(golden(kind, 9, 0, b"more"))).unwrap().payload(), b"more");
    }
}

#[test]
fn damage_is_seen_at_every_bit_and_every_length() {
    let bytes = hex(REPAIR);
    for len in 3..bytes.len() {
        let error = Packet::parse(&bytes[..len]).unwrap_err();
        let expected = if len < HEADER + TRAILER { "truncated" } else { "checksum" };
        assert_eq!(crate::Reject::from(error).reason().as_str(), expected, "{len} bytes");
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 0x80 >> (bit % 8);
        let error = Packet::parse(&damaged).unwrap_err();
        match bit {
            0..16 => assert!(matches!(error, NativeError::Magic { .. }), "bit {bit}: {error}"),
            16..20 => assert!(matches!(error, NativeError::Version { .. }), "bit {bit}: {error}"),
            _ => assert!(matches!(error, NativeError::Checksum { .. }), "bit {bit}: {error}"),
        }
    }
}

#[test]
fn golden_repair_shard_is_the_code_of_the_source_shards() {
    let (first, second, repair) = (hex(DATA_0), hex(DATA_1), hex(REPAIR));
    let packets = [&first, &second].map(|bytes| Packet::parse(bytes).unwrap());
    let repair = Repair::parse(Packet::parse(&repair).unwrap().payload()).unwrap();
    assert_eq!((repair.k(), repair.m(), repair.index(), repair.stride()), (2, 1, 0, 1));
    let shards = packets.map(|packet| {
        let mut shard = Vec::new();
        SourceShard::of(&packet).emit(repair.shard().len(), &mut shard);
        shard
    });
    let mut codes = crate::fec::rs::Codes::new();
    let mut parity = [Vec::new()];
    codes.encode(2, 1, &[&shards[0], &shards[1]], &mut parity).unwrap();
    assert_eq!(parity[0], repair.shard());

    let mut received = [Some(shards[0].clone()), None, Some(repair.shard().to_vec())];
    codes.rebuild(2, 1, &mut received).unwrap();
    let rebuilt = SourceShard::parse(received[1].as_ref().unwrap()).unwrap();
    assert_eq!(rebuilt, SourceShard { flags: 0, timestamp: TIME + 1_000_000, payload: b"21.75 C" });
}

#[test]
fn repair_fields_that_cannot_be() {
    let shard = [0; 12];
    let good = RepairRepr { k: 200, m: 55, index: 54, stride: 255, shard: &shard };
    let check = |repr: RepairRepr<'_>| {
        let mut payload = Vec::new();
        repr.emit(&mut payload);
        // the datagram that carries it meets the same fate, with a checksum that is right
        let bytes = emitted(golden(Kind::Repair, 0, 0, &payload));
        let result = Repair::parse(&payload).map(|repair| repair.repr().k);
        assert_eq!(Packet::parse(&bytes).map(|_| repr.k), result);
        result
    };
    assert_eq!(check(good), Ok(200));
    assert_eq!(check(RepairRepr { k: 0, ..good }), Err(NativeError::Block { k: 0, m: 55 }));
    assert_eq!(check(RepairRepr { m: 0, index: 0, ..good }), Err(NativeError::Block { k: 200, m: 0 }));
    assert_eq!(check(RepairRepr { m: 56, ..good }), Err(NativeError::Block { k: 200, m: 56 }));
    assert_eq!(check(RepairRepr { k: 255, m: 255, ..good }), Err(NativeError::Block { k: 255, m: 255 }));
    assert_eq!(check(RepairRepr { index: 55, ..good }), Err(NativeError::Index { index: 55, m: 55 }));
    assert_eq!(check(RepairRepr { stride: 0, ..good }), Err(NativeError::Stride));
    assert_eq!(
        check(RepairRepr { shard: &shard[..11], ..good }),
        Err(NativeError::Shard { expected: 12, actual: 11 })
    );
    let mut payload = Vec::new();
    good.emit(&mut payload);
    for (announced, len) in [(13, 12), (11, 12), (0xffff, 12)] {
        payload[4..6].copy_from_slice(&u16::to_be_bytes(announced));
        let expected = usize::from(announced);
        assert_eq!(Repair::parse(&payload), Err(NativeError::Shard { expected, actual: len }));
    }
    assert_eq!(Repair::parse(&payload[..5]), Err(NativeError::Shard { expected: 18, actual: 5 }));
}

#[test]
fn nack_lists() {
    let bytes = hex(NACK);
    let nack = Nack::parse(Packet::parse(&bytes).unwrap().payload()).unwrap();
    assert_eq!(nack.iter().collect::<Vec<_>>(), [(1, 1), (5, 3)]);
    assert_eq!(Nack::parse(&[0; 9]), Err(NativeError::Nack { actual: 9 }));
    assert_eq!(Nack::parse(&[0; 650]), Err(NativeError::Nack { actual: 650 }));
    let ranges = [(u64::MAX, u16::MAX); 65];
    let mut payload = Vec::new();
    NackRepr { ranges: &ranges }.emit(&mut payload);
    assert_eq!(Nack::parse(&payload).unwrap().iter().collect::<Vec<_>>(), &ranges[..64]);
}

#[test]
fn source_shards_that_cannot_be() {
    let mut shard = Vec::new();
    SourceShard { flags: 5, timestamp: 9, payload: b"abc" }.emit(20, &mut shard);
    assert_eq!(shard, hex("04 00 0003 0000000000000009 616263 0000000000"));
    assert_eq!(
        SourceShard::parse(&shard),
        Ok(SourceShard { flags: 4, timestamp: 9, payload: b"abc" }),
        "without the retransmission flag"
    );
    assert_eq!(SourceShard::parse(&shard[..14]), Err(NativeError::Shard { expected: 15, actual: 14 }));
    assert_eq!(SourceShard::parse(&shard[..11]), Err(NativeError::Shard { expected: 12, actual: 11 }));
    for at in [1, 15, 19] {
        let mut wrong = shard.clone();
        wrong[at] = 1;
        assert_eq!(SourceShard::parse(&wrong), Err(NativeError::Padding));
    }
}

#[test]
fn the_largest_datagram() {
    let payload = vec![0x5a; crate::limits::DATAGRAM_BYTES_MAX - HEADER - TRAILER];
    let bytes = emitted(golden(Kind::Data, u64::MAX, u64::MAX, &payload));
    assert_eq!(bytes.len(), 65_507);
    assert_eq!(Packet::parse(&bytes).unwrap().payload(), payload);
}

proptest! {
    #[test]
    fn what_was_emitted_is_parsed(
        kind in prop_oneof![Just(Kind::Data), Just(Kind::Heartbeat), Just(Kind::End)],
        (flags, stream, session) in any::<(u8, u32, u32)>(),
        (sequence, timestamp) in any::<(u64, u64)>(),
        payload in vec(any::<u8>(), 0..2000),
        before in vec(any::<u8>(), 0..3),
    ) {
        let flags = flags & !SEALED;
        let repr = Repr { kind, flags, stream, session, sequence, timestamp, payload: &payload };
        let mut out = before.clone();
        repr.emit(&mut out);
        prop_assert_eq!(&out[..before.len()], &before[..]);
        prop_assert_eq!(Packet::parse(&out[before.len()..]).unwrap().repr(), repr);
    }

    #[test]
    fn what_was_parsed_is_emitted(start in any::<[u8; 2]>(), rest in vec(any::<u8>(), 24..200)) {
        let flags = start[1] & !SEALED;
        let bytes = checked([&MAGIC[..], &[0x10 | start[0] & 7, flags], &rest].concat());
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert_eq!(&bytes[packet.payload_range()], packet.payload());
            prop_assert_eq!(emitted(packet.repr()), bytes);
        }
    }

    #[test]
    fn repair_payloads_come_back(
        (k, m) in (1u8..=254).prop_flat_map(|k| (Just(k), 1..=255 - k)),
        index in any::<prop::sample::Index>(),
        stride in 1u8..,
        shard in vec(any::<u8>(), 12..300),
    ) {
        let repr = RepairRepr { k, m, index: index.index(m.into()) as u8, stride, shard: &shard };
        let mut payload = Vec::new();
        repr.emit(&mut payload);
        prop_assert_eq!(Repair::parse(&payload).unwrap().repr(), repr);
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in vec(any::<u8>(), 0..60), few in vec(0u8..4, 0..60)) {
        for payload in [payload, few] {
            if let Ok(repair) = Repair::parse(&payload) {
                let mut again = Vec::new();
                repair.repr().emit(&mut again);
                prop_assert_eq!(again, &payload[..]);
            }
            if let Ok(shard) = SourceShard::parse(&payload) {
                let mut again = Vec::new();
                shard.emit(payload.len(), &mut again);
                prop_assert_eq!(&again[1..], &payload[1..]);
                prop_assert_eq!(again[0], payload[0] & !RETRANSMISSION);
            }
            if let Ok(nack) = Nack::parse(&payload) {
                let ranges: Vec<_> = nack.iter().collect();
                let mut again = Vec::new();
                NackRepr { ranges: &ranges }.emit(&mut again);
                prop_assert_eq!(again, payload);
            }
        }
    }
}
