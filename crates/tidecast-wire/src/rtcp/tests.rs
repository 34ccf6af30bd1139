use super::*;
use proptest::{collection::vec, prelude::*};

fn emitted(reprs: &[Repr<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    reprs.iter().for_each(|repr| repr.emit(&mut out));
    out
}

/// All packets of a valid datagram.
fn packets(bytes: &[u8]) -> Vec<Packet<'_>> {
    Compound::parse(bytes).unwrap().packets().map(Result::unwrap).collect()
}

fn only(bytes: &[u8]) -> Packet<'_> {
    let [packet] = packets(bytes)[..] else { panic!("expected one packet in {bytes:02x?}") };
    packet
}

/// The error in the only packet of a datagram.
fn refused(bytes: &[u8]) -> RtcpError {
    Compound::parse(bytes).unwrap().packets().next().unwrap().unwrap_err()
}

fn nack(bytes: &[u8]) -> Nack<'_> {
    let Packet::Nack(nack) = only(bytes) else { panic!("expected a NACK in {bytes:02x?}") };
    nack
}

/// All numbers that a NACK requests.
fn asked(nack: &Nack<'_>) -> Vec<u16> {
    nack.ranges().flat_map(|numbers| numbers.iter()).collect()
}

#[test]
fn range_nack_of_a_real_receiver() {
    let bytes = [0x80, 0xcc, 0, 3, 0x91, 0x6e, 0x44, 0x50, 0x52, 0x49, 0x53, 0x54, 0, 0x3b, 0, 3];
    let nack = nack(&bytes);
    assert_eq!((nack.form(), nack.media(), nack.sender()), (Form::Range, 0x916e_4450, None));
    assert_eq!(asked(&nack), [59, 60, 61, 62]);
    let numbers = [Numbers { first: 59, more: 3 }];
    assert_eq!(emitted(&[Repr::RangeNack { media: 0x916e_4450, numbers: &numbers }]), bytes);
}

#[test]
fn generic_nack() {
    // number 65,535, and the 1st, 2nd and 16th after it
    let bytes = [0x81, 0xcd, 0, 3, 0, 0, 0, 7, 0, 0, 0, 8, 0xff, 0xff, 0x80, 0x03];
    let nack = nack(&bytes);
    assert_eq!((nack.form(), nack.media(), nack.sender()), (Form::Generic, 8, Some(7)));
    let ranges: Vec<_> = nack.ranges().map(|numbers| (numbers.first, numbers.count())).collect();
    assert_eq!(ranges, [(65_535, 3), (15, 1)]);
    let numbers = [Numbers { first: 65_535, more: 2 }, Numbers { first: 15, more: 0 }];
    assert_eq!(emitted(&[Repr::GenericNack { sender: 7, media: 8, numbers: &numbers }]), bytes);
}

#[test]
fn compound_of_a_receiver() {
    // empty receiver report, description with CNAME and TOOL, range NACK, an unknown type and a
    // foreign application
    let bytes = [
        &[0x80, 0xc9, 0, 1, 0, 0, 0, 1][..],
        &[0x81, 0xca, 0, 4, 0, 0, 0, 1, 6, 1, b't', 1, 4, b'r', b'e', b'l', b'a', 0, 0, 0],
        &[0x80, 0xcc, 0, 3, 0, 0, 0, 9, b'R', b'I', b'S', b'T', 0, 5, 0, 0],
        &[0x80, 0xcf, 0, 1, 0, 0, 0, 1],
        &[0x80, 0xcc, 0, 2, 0, 0, 0, 9, b'O', b'T', b'H', b'R'],
        &[0x8f, 0xcd, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9],
    ]
    .concat();
    let [report, description, asks] = packets(&bytes)[..] else { panic!("expected three known packets") };
    assert!(
        matches!(report, Packet::ReceiverReport(report) if report.ssrc == 1 && report.blocks.iter().count() == 0)
    );
    let Packet::Description(description) = description else { panic!("{description:?}") };
    assert_eq!(description.cnames().collect::<Vec<_>>(), [(1, &b"rela"[..])]);
    assert!(matches!(asks, Packet::Nack(nack) if asked(&nack) == [5]));
}

#[test]
fn descriptions_of_several_sources() {
    // no items; a CNAME that ends at a word, with a word of zeros; the same without it at the very
    // end
    let full = [0, 0, 0, 2, 1, 2, b'a', b'b'];
    let bytes = [&[0x83, 0xca, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0][..], &full, &[0; 4], &full].concat();
    let Packet::Description(description) = only(&bytes) else { panic!("expected a description") };
    assert_eq!(description.cnames().collect::<Vec<_>>(), [(2, &b"ab"[..]); 2]);
    for items in [[1, 3, b'a', b'b'], [9, 9, 9, 9], [1, 1, 1, 1]] {
        let bytes = [&[0x81, 0xca, 0, 2, 0, 0, 0, 1][..], &items].concat();
        assert_eq!(refused(&bytes), RtcpError::Description { sources: 1 }, "{items:?}");
    }
    assert_eq!(refused(&[0x81, 0xca, 0, 0]), RtcpError::Description { sources: 1 });
}

#[test]
fn echo_with_padding() {
    let echo = Echo { ssrc: 6, timestamp: 0x0102_0304_0506_0708, delay: 9, padding: &[0xaa; 8] };
    let bytes = emitted(&[Repr::EchoRequest(echo), Repr::EchoResponse(Echo { padding: &[], ..echo })]);
    assert_eq!(bytes[..8], [0x82, 0xcc, 0, 7, 0, 0, 0, 6]);
    assert_eq!(bytes[32..44], [0x83, 0xcc, 0, 5, 0, 0, 0, 6, b'R', b'I', b'S', b'T']);
    assert_eq!(bytes[44..], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
    assert_eq!(
        packets(&bytes),
        [Packet::EchoRequest(echo), Packet::EchoResponse(Echo { padding: &[], ..echo })]
    );
}

#[test]
fn padding_of_the_last_packet_is_no_part_of_it() {
    let padded = [0xa3, 0xcb, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 8];
    let Packet::Bye(bye) = only(&padded) else { panic!("expected a bye") };
    assert_eq!(bye.sources().collect::<Vec<_>>(), [1, 2, 3]);
    let not_padded = |bytes: &[u8], actual, max| {
        assert_eq!(Compound::parse(bytes), Err(RtcpError::Padding { actual, max }), "{bytes:02x?}");
    };
    not_padded(&[0xa0, 0xcb, 0, 0], 0, 0);
    not_padded(&[0xa0, 0xcb, 0, 1, 0, 0, 0, 0], 0, 4);
    not_padded(&[0xa0, 0xcb, 0, 1, 0, 0, 0, 3], 3, 4);
    not_padded(&[0xa0, 0xcb, 0, 1, 0, 0, 0, 8], 8, 4);
    not_padded(&[&padded[..], &[0x80, 0xcb, 0, 0]].concat(), 8, 0);
    // nothing is left of what the count announces
    let bytes = [0xa1, 0xcb, 0, 1, 0, 0, 0, 4];
    assert_eq!(refused(&bytes), RtcpError::Truncated { expected: 8, actual: 4 });
}

#[test]
fn datagrams_that_are_no_rtcp() {
    let refused = |bytes: &[u8], error| assert_eq!(Compound::parse(bytes), Err(error), "{bytes:02x?}");
    refused(&[], RtcpError::Truncated { expected: 4, actual: 0 });
    refused(&[0x80, 0xc9, 0], RtcpError::Truncated { expected: 4, actual: 3 });
    refused(&[0x80, 0xc9, 0, 1, 0, 0, 0], RtcpError::Truncated { expected: 8, actual: 7 });
    refused(&[0x80, 0xc9, 0xff, 0xff], RtcpError::Truncated { expected: 262_144, actual: 4 });
    refused(&[0x47, 0xc9, 0, 0], RtcpError::Version { actual: 1 });
    refused(&[0x80, 33, 0, 0], RtcpError::Type { actual: 33 });
    // the second packet is damaged
    refused(&[0x80, 0xcf, 0, 0, 0x80, 0xcf], RtcpError::Truncated { expected: 4, actual: 2 });
}

#[test]
fn packets_shorter_than_their_type_and_count_need() {
    for (bytes, expected, actual) in [
        (&[0x80, 200, 0, 0][..], 28, 4),
        (&[0x80, 201, 0, 0], 8, 4),
        (&[0x81, 201, 0, 1, 0, 0, 0, 1], 28, 4), // blocks are counted from behind the SSRC
        (&[0x82, 203, 0, 1, 0, 0, 0, 1], 12, 8),
        (&[0x80, 204, 0, 1, 0, 0, 0, 1], 12, 8),
        (&[0x82, 204, 0, 2, 0, 0, 0, 1, b'R', b'I', b'S', b'T'], 24, 12),
        (&[0x81, 205, 0, 1, 0, 0, 0, 1], 12, 8),
    ] {
        assert_eq!(refused(bytes), RtcpError::Truncated { expected, actual }, "{bytes:02x?}");
    }
}

#[test]
fn a_damaged_packet_costs_no_other() {
    let asks = emitted(&[Repr::RangeNack { media: 1, numbers: &[Numbers { first: 2, more: 0 }] }]);
    let bytes = [&[0x81, 0xca, 0, 0][..], &asks].concat();
    let read: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    assert_eq!(read[0], Err(RtcpError::Description { sources: 1 }));
    assert!(matches!(read[1], Ok(Packet::Nack(nack)) if asked(&nack) == [2]));
}

#[test]
fn bounds_of_what_is_emitted() {
    let numbers: Vec<_> = (0..1000).map(|i| Numbers { first: 20 * i, more: 0 }).collect();
    let bytes = emitted(&[Repr::RangeNack { media: 1, numbers: &numbers }]);
    assert_eq!(asked(&nack(&bytes)).len(), RANGES_MAX);
    let bytes = emitted(&[Repr::GenericNack { sender: 1, media: 1, numbers: &numbers }]);
    assert_eq!(asked(&nack(&bytes)).len(), ENTRIES_MAX);
    let cname = "ä".repeat(200);
    let bytes = emitted(&[Repr::Cname { ssrc: 1, cname: &cname }]);
    let Packet::Description(description) = only(&bytes) else { panic!("expected a description") };
    assert_eq!(description.cnames().next(), Some((1, &cname.as_bytes()[..254])));
}

fn any_numbers() -> impl Strategy<Value = Numbers> {
    (any::<u16>(), 0..40u16).prop_map(|(first, more)| Numbers { first, more })
}

fn any_block() -> impl Strategy<Value = Block> {
    (any::<[u32; 5]>(), any::<u8>(), Block::LOST).prop_map(|(fields, fraction_lost, lost)| {
        let [ssrc, highest, jitter, last_report, since_report] = fields;
        Block { ssrc, fraction_lost, lost, highest, jitter, last_report, since_report }
    })
}

proptest! {
    #[test]
    fn reports_come_back(
        (ssrc, ntp, timestamp, packets, octets) in any::<(u32, u64, u32, u32, u32)>(),
        blocks in vec(any_block(), 0..=BLOCKS_MAX),
        cname in ".{0,80}",
    ) {
        let bytes = emitted(&[
            Repr::SenderReport { ssrc, ntp, timestamp, packets, octets, blocks: &blocks },
            Repr::ReceiverReport { ssrc, blocks: &blocks },
            Repr::Cname { ssrc, cname: &cname },
            Repr::Bye { ssrc },
        ]);
        let read = super::tests::packets(&bytes);
        let Packet::SenderReport(sent) = read[0] else { panic!("{:?}", read[0]) };
        prop_assert_eq!(
            (sent.ssrc, sent.ntp, sent.timestamp, sent.packets, sent.octets),
            (ssrc, ntp, timestamp, packets, octets)
        );
        prop_assert_eq!(sent.blocks.iter().collect::<Vec<_>>(), blocks.clone());
        let Packet::ReceiverReport(received) = read[1] else { panic!("{:?}", read[1]) };
        prop_assert_eq!((received.ssrc, received.blocks.iter().collect::<Vec<_>>()), (ssrc, blocks));
        let Packet::Description(description) = read[2] else { panic!("{:?}", read[2]) };
        prop_assert_eq!(description.cnames().collect::<Vec<_>>(), [(ssrc, cname.as_bytes())]);
        let Packet::Bye(bye) = read[3] else { panic!("{:?}", read[3]) };
        prop_assert_eq!(bye.sources().collect::<Vec<_>>(), [ssrc]);
        prop_assert_eq!(read.len(), 4);
    }

    #[test]
    fn nacks_ask_for_the_numbers_they_were_made_of(
        (sender, media) in any::<(u32, u32)>(),
        numbers in vec(any_numbers(), 0..=RANGES_MAX),
    ) {
        let wanted: Vec<u16> = numbers.iter().flat_map(Numbers::iter).collect();
        let bytes = emitted(&[Repr::RangeNack { media, numbers: &numbers }]);
        prop_assert_eq!(nack(&bytes).ranges().collect::<Vec<_>>(), numbers.clone());
        let bytes = emitted(&[Repr::GenericNack { sender, media, numbers: &numbers }]);
        // a mask has no order: repeated or descending numbers may be reordered within an entry
        let sorted = |mut numbers: Vec<u16>| {
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        prop_assert_eq!(sorted(asked(&nack(&bytes))), sorted(wanted));
        prop_assert_eq!((nack(&bytes).sender(), nack(&bytes).media()), (Some(sender), media));
    }

    #[test]
    fn generic_nacks_keep_the_order_of_numbers_in_order(mut wanted in vec(any::<u16>(), 1..100)) {
        wanted.sort_unstable();
        wanted.dedup();
        let numbers: Vec<_> = wanted.iter().map(|first| Numbers { first: *first, more: 0 }).collect();
        let bytes = emitted(&[Repr::GenericNack { sender: 1, media: 2, numbers: &numbers }]);
        prop_assert_eq!(asked(&nack(&bytes)), wanted);
    }

    #[test]
    fn echoes_come_back((ssrc, timestamp, delay) in any::<(u32, u64, u32)>(), padding in vec(any::<[u8; 4]>(), 0..300)) {
        let echo = Echo { ssrc, timestamp, delay, padding: padding.as_flattened() };
        let bytes = emitted(&[Repr::EchoRequest(echo), Repr::EchoResponse(echo)]);
        prop_assert_eq!(packets(&bytes), [Packet::EchoRequest(echo), Packet::EchoResponse(echo)]);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    /// Almost valid headers, so that bodies are read.
    #[test]
    fn damaged_packets_do_no_harm(
        parts in vec((0x80u8..0xc0, 198u8..208, 0u16..12, vec(any::<u8>(), 0..44)), 1..5),
        rist in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (first, kind, words, mut body) in parts {
            body.resize(usize::from(words) * 4, 0);
            if rist && body.len() >= 8 {
                body[4..8].copy_from_slice(b"RIST");
            }
            bytes.extend_from_slice(&[first, kind]);
            bytes.extend_from_slice(&words.to_be_bytes());
            bytes.extend_from_slice(&body);
        }
        read_all(&bytes);
    }
}

/// Reads everything that can be read.
fn read_all(bytes: &[u8]) {
    let Ok(compound) = Compound::parse(bytes) else { return };
    for packet in compound.packets().filter_map(Result::ok) {
        match packet {
            Packet::SenderReport(report) => assert!(report.blocks.iter().count() <= BLOCKS_MAX),
            Packet::ReceiverReport(report) => assert!(report.blocks.iter().count() <= BLOCKS_MAX),
            Packet::Description(description) => {
                assert!(description.cnames().all(|(_, name)| name.len() <= CNAME_MAX))
            }
            Packet::Bye(bye) => assert!(bye.sources().count() <= 31),
            Packet::Nack(nack) => {
                nack.ranges().for_each(|numbers| assert!((1..=65_536).contains(&numbers.count())))
            }
            Packet::EchoRequest(echo) | Packet::EchoResponse(echo) => assert_eq!(echo.padding.len() % 4, 0),
        }
    }
}
