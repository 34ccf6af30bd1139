//! Runs every parser on arbitrary input.

use tidecast_wire::{
    self as wire, Format, Reject,
    fec::rs::Codes,
    native::{self, SourceShard},
    st2022, ts,
};

use super::{FORMATS, cases, damaged, producer::Producer};

/// Runs every parser on one datagram.
fn parse_all(formats: &[Format], bytes: &[u8], continuity: &mut ts::Continuity) {
    for format in formats {
        match wire::parse(format, bytes) {
            Ok(wire::Datagram::Native(packet)) => {
                assert_eq!(&bytes[packet.payload_range()], packet.payload());
            }
            Ok(wire::Datagram::Rtp(packet)) => assert_eq!(&bytes[packet.payload_range()], packet.payload()),
            Ok(_) => {}
            Err(Reject::Corrupt(reason) | Reject::Foreign(reason)) => assert!(!reason.as_str().is_empty()),
        }
    }
    if let Ok(nack) = native::Nack::parse(bytes) {
        assert_eq!(nack.iter().count() * 10, bytes.len());
    }
    if let Ok(repair) = native::Repair::parse(bytes) {
        assert!(repair.index() < repair.m() && repair.k() + repair.m() <= 255 && repair.stride() > 0);
    }
    if let Ok(shard) = SourceShard::parse(bytes) {
        let mut out = Vec::new();
        shard.emit(bytes.len(), &mut out);
        assert_eq!(out[1..], bytes[1..]);
    }
    if let Ok(repair) = st2022::Repair::parse(bytes) {
        assert!(repair.count() > 0 && repair.offset() > 0);
        let mut out = Vec::new();
        repair.repr().emit(&mut out);
        assert_eq!((out.len(), st2022::Repair::parse(&out)), (bytes.len(), Ok(repair)));
    }
    for packet in bytes.as_chunks::<{ ts::PACKET }>().0 {
        assert!(ts::pcr(packet).is_none_or(|pcr| pcr.ticks < ts::Pcr::WRAP));
    }
    assert!(continuity.check(bytes) <= (bytes.len() / ts::PACKET) as u64);
}

#[test]
fn fuzz_parsers() {
    let formats: Vec<Format> = FORMATS
        .iter()
        .copied()
        .chain(wire::custom::Layout::profiles().iter().map(|(name, _)| *name))
        .map(|text| text.parse().expect("a valid format"))
        .collect();
    let mut codes = Codes::new();
    let mut continuity = ts::Continuity::default();
    cases("parsers", |dice| {
        let mut producer = Producer::new(dice);
        for _ in 0..500 {
            let format = &formats[dice.below(formats.len() as u64) as usize];
            let bytes = match dice.below(20) {
                0 => producer.st2022(dice),
                _ => producer.datagram(dice, &mut codes, format),
            };
            let bytes = damaged(dice, bytes);
            parse_all(&formats, &bytes, &mut continuity);
            // The payload of a datagram is also parsed on its own.
            parse_all(&formats, bytes.get(native::HEADER..).unwrap_or(&[]), &mut continuity);
        }
        1000
    });
}
