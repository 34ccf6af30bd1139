//! Tests of the encoders: their output is parsed, damaged and rebuilt as a receiver would.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use tidecast_wire::native::Packet;

/// A start time.
fn epoch() -> Instant {
    crate::clock::now()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn fec(k: u64, m: u64, stride: u64) -> Fec {
    Fec::new(k, m, stride).expect("a good shape")
}

type Sent = Vec<Vec<u8>>;

fn into(sent: &mut Sent) -> impl FnMut(&[u8]) + '_ {
    |datagram| sent.push(datagram.to_vec())
}

fn packet(datagram: &[u8]) -> Packet<'_> {
    Packet::parse(datagram).expect("the encoder makes valid datagrams")
}

fn kinds(sent: &Sent) -> Vec<(Kind, u64)> {
    sent.iter().map(|d| (packet(d).kind(), packet(d).sequence())).collect()
}

/// Rebuilds the missing packets of each block from `arrived`; returns payload and timestamp by
/// number.
fn receive(arrived: &[&Vec<u8>]) -> BTreeMap<u64, (u64, Vec<u8>)> {
    let mut data = BTreeMap::new();
    let mut blocks: BTreeMap<u64, Vec<Repair<'_>>> = BTreeMap::new();
    for packet in arrived.iter().map(|d| packet(d)) {
        match packet.kind() {
            Kind::Data => {
                data.insert(packet.sequence(), (packet.timestamp(), packet.payload().to_vec()));
            }
            Kind::Repair => {
                let repair = Repair::parse(packet.payload()).expect("a good repair packet");
                blocks.entry(packet.sequence()).or_default().push(repair);
            }
            Kind::Heartbeat | Kind::End | Kind::Nack => {}
        }
    }
    for (first, repairs) in blocks {
        rebuild(first, &repairs, &mut data);
    }
    data
}

fn rebuild(first: u64, repairs: &[Repair<'_>], data: &mut BTreeMap<u64, (u64, Vec<u8>)>) {
    let (k, m, stride) = (repairs[0].k(), repairs[0].m(), repairs[0].stride());
    let len = repairs[0].shard().len();
    let mut shards: Vec<Option<Vec<u8>>> = (0..k as u64)
        .map(|i| {
            let (timestamp, payload) = data.get(&(first + i * stride))?;
            let mut shard = Vec::new();
            SourceShard { flags: 0, timestamp: *timestamp, payload }.emit(len, &mut shard);
            Some(shard)
        })
        .collect();
    shards.resize(k + m, None);
    for repair in repairs {
        assert_eq!((repair.k(), repair.m(), repair.stride()), (k, m, stride), "one block, one shape");
        shards[k + repair.index()] = Some(repair.shard().to_vec());
    }
    if Codes::new().rebuild(k, m, &mut shards).is_err() {
        return;
    }
    for (i, shard) in (0..).zip(&shards[..k]) {
        let source = SourceShard::parse(shard.as_deref().expect("rebuilt")).expect("a source shard");
        data.entry(first + i * stride).or_insert((source.timestamp, source.payload.to_vec()));
    }
}

/// The source block of each number, according to the repair packets sent.
fn block_of(sent: &Sent) -> BTreeMap<u64, u64> {
    let mut blocks = BTreeMap::new();
    for packet in sent.iter().map(|d| packet(d)).filter(|p| p.kind() == Kind::Repair) {
        let repair = Repair::parse(packet.payload()).expect("a good repair packet");
        for i in 0..repair.k() as u64 {
            let before = blocks.insert(packet.sequence() + i * repair.stride(), packet.sequence());
            assert!(before.is_none_or(|b| b == packet.sequence()), "a number in two blocks");
        }
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whichever m packets of each block are lost, all payloads and timestamps are recovered byte
    /// for byte.
    #[test]
    fn any_m_losses_of_each_block_are_rebuilt(
        (k, m, stride) in (1u64..12, 1u64..5, 1u64..5),
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..120),
        gaps in prop::collection::vec(0u64..25, 120),
        losses in prop::collection::vec(any::<u32>(), 1000),
        base in any::<u64>(),
    ) {
        let start = epoch();
        let fec = fec(k, m, stride);
        let mut encoder = Encoder::new(7, 9, Some(fec));
        let mut sent = Sent::new();
        let mut at = Duration::ZERO;
        let mut expected = BTreeMap::new();
        for (n, payload) in (0u64..).zip(&payloads) {
            at += ms(gaps[n as usize]);
            let timestamp = base.wrapping_add(n * 12_345);
            encoder.poll(start + at, into(&mut sent));
            prop_assert_eq!(encoder.push(start + at, timestamp, payload, into(&mut sent)), Ok(n));
            expected.insert(n, (timestamp, payload.clone()));
        }
        encoder.finish(into(&mut sent));

        let blocks = block_of(&sent);
        prop_assert_eq!(blocks.len(), payloads.len(), "every packet is protected");
        // Lose m packets of each block, data or repair, chosen by the random numbers.
        let mut order: Vec<usize> = (0..sent.len()).collect();
        order.sort_by_key(|&i| losses[i % losses.len()].wrapping_add(i as u32));
        let mut lost_of: BTreeMap<u64, u64> = BTreeMap::new();
        let mut lost = vec![false; sent.len()];
        for i in order {
            let packet = packet(&sent[i]);
            let block = match packet.kind() {
                Kind::Data => blocks[&packet.sequence()],
                Kind::Repair => packet.sequence(),
                _ => continue,
            };
            let count = lost_of.entry(block).or_default();
            lost[i] = *count < m;
            *count += u64::from(lost[i]);
        }
        let arrived: Vec<_> = sent.iter().zip(&lost).filter(|(_, l)| !**l).map(|(d, _)| d).collect();
        prop_assert!(arrived.len() < sent.len());
        prop_assert_eq!(receive(&arrived), expected);
    }

    /// Without FEC each payload becomes one datagram, and no other datagram is sent while payloads
    /// come.
    #[test]
    fn payloads_pass_unchanged(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20)) {
        let start = epoch();
        let mut encoder = Encoder::new(1, 2, None);
        let mut sent = Sent::new();
        for payload in &payloads {
            encoder.push(start, 5, payload, into(&mut sent)).expect("small enough");
        }
        prop_assert_eq!(sent.len(), payloads.len());
        for (n, (datagram, payload)) in (0..).zip(sent.iter().zip(&payloads)) {
            let packet = packet(datagram);
            prop_assert_eq!((packet.stream(), packet.session(), packet.sequence(), packet.timestamp()), (1, 2, n, 5));
            prop_assert_eq!(packet.payload(), &payload[..]);
        }
    }
}

#[test]
fn repairs_follow_the_last_packet_of_the_last_block() {
    let start = epoch();
    let mut encoder = Encoder::new(1, 1, Some(fec(2, 1, 2)));
    let mut sent = Sent::new();
    for _ in 0..8 {
        encoder.push(start, 1, b"x", into(&mut sent)).expect("small enough");
    }
    let (d, r) = (Kind::Data, Kind::Repair);
    let lap = |n: u64| [(d, n), (d, n + 1), (d, n + 2), (d, n + 3), (r, n), (r, n + 1)];
    assert_eq!(kinds(&sent), [lap(0), lap(4)].concat());
    assert_eq!(encoder.repairs(), 4);
}

#[test]
fn a_slow_sensor_does_not_wait_for_its_block_to_fill() {
    let start = epoch();
    let mut encoder = Encoder::new(1, 1, Some(fec(10, 2, 2))).close_after(ms(40));
    let mut sent = Sent::new();
    for (at, payload) in [(0, "one"), (10, "two, which is longer"), (20, "three")] {
        encoder.push(start + ms(at), at, payload.as_bytes(), into(&mut sent)).expect("small enough");
    }
    assert_eq!(encoder.next_deadline(), Some(start + ms(40)));
    encoder.poll(start + ms(39), into(&mut sent));
    assert_eq!(sent.len(), 3, "not yet");
    encoder.poll(start + ms(40), into(&mut sent));
    let r = Kind::Repair;
    assert_eq!(kinds(&sent)[3..], [(r, 0), (r, 1), (r, 0), (r, 1)]);
    let shape = |i: usize| {
        let repair = Repair::parse(packet(&sent[i]).payload()).expect("a good repair packet");
        (repair.k(), repair.m(), repair.stride(), repair.shard().len())
    };
    assert_eq!(shape(3), (2, 2, 2, 12 + "three".len()), "numbers 0 and 2");
    assert_eq!(shape(4), (1, 2, 2, 12 + "two, which is longer".len()), "number 1");
    // The next packet starts new blocks.
    encoder.push(start + ms(50), 50, b"four", into(&mut sent)).expect("small enough");
    encoder.poll(start + ms(90), into(&mut sent));
    assert_eq!(kinds(&sent)[7..], [(Kind::Data, 3), (r, 3), (r, 3)]);
}

#[test]
fn heartbeats_come_after_a_second_of_silence_and_every_second() {
    let start = epoch();
    let mut encoder = Encoder::new(3, 4, None);
    assert_eq!(encoder.next_deadline(), None);
    let mut sent = Sent::new();
    encoder.poll(start, into(&mut sent));
    assert_eq!(encoder.next_deadline(), Some(start + ms(1000)));
    encoder.push(start + ms(600), 1, b"x", into(&mut sent)).expect("small enough");
    for at in (600..3700).step_by(100) {
        encoder.poll(start + ms(at), into(&mut sent));
    }
    assert_eq!(
        kinds(&sent),
        [(Kind::Data, 0), (Kind::Heartbeat, 1), (Kind::Heartbeat, 1), (Kind::Heartbeat, 1)]
    );
    assert_eq!(encoder.next_deadline(), Some(start + ms(4600)));
    assert!(sent[1..].iter().all(|d| packet(d).payload().is_empty()));
}

#[test]
fn repairs_break_the_silence_too() {
    let start = epoch();
    let mut encoder = Encoder::new(3, 4, Some(fec(4, 1, 1)));
    let mut sent = Sent::new();
    encoder.push(start, 1, b"x", into(&mut sent)).expect("small enough");
    encoder.poll(start + ms(40), into(&mut sent));
    encoder.poll(start + ms(1000), into(&mut sent));
    assert_eq!(kinds(&sent), [(Kind::Data, 0), (Kind::Repair, 0)]);
    encoder.poll(start + ms(1040), into(&mut sent));
    assert_eq!(kinds(&sent)[2..], [(Kind::Heartbeat, 1)]);
}

#[test]
fn the_end_is_said_three_times_after_the_last_repairs() {
    let start = epoch();
    let mut encoder = Encoder::new(3, 4, Some(fec(4, 1, 1)));
    let mut sent = Sent::new();
    encoder.push(start, 1, b"x", into(&mut sent)).expect("small enough");
    encoder.finish(into(&mut sent));
    let end = (Kind::End, 1);
    assert_eq!(kinds(&sent), [(Kind::Data, 0), (Kind::Repair, 0), end, end, end]);
}

#[test]
fn a_payload_that_does_not_fit_is_refused_and_uses_no_number() {
    let start = epoch();
    let mut sent = Sent::new();
    let mut plain = Encoder::new(1, 1, None);
    let largest = vec![7; Encoder::PAYLOAD_BYTES_MAX];
    plain.push(start, 1, &largest, into(&mut sent)).expect("fits exactly");
    assert_eq!(sent[0].len(), DATAGRAM_BYTES_MAX);
    let error = plain.push(start, 1, &[&largest[..], b"x"].concat(), into(&mut sent)).expect_err("too large");
    assert_eq!(error.to_string(), "payload of 65476 bytes, expected at most 65475");
    assert_eq!((plain.next_number(), sent.len()), (1, 1));

    let mut with_fec = Encoder::new(1, 1, Some(fec(1, 1, 1)));
    let error = with_fec.push(start, 1, &largest, into(&mut sent)).expect_err("too large");
    assert_eq!(error.to_string(), "payload of 65475 bytes, expected at most 65457 with FEC");
    let fits = &largest[..Encoder::PAYLOAD_BYTES_MAX_FEC];
    with_fec.push(start, 1, fits, into(&mut sent)).expect("fits exactly");
    assert_eq!(sent.last().expect("a repair packet").len(), DATAGRAM_BYTES_MAX);
    assert_eq!(receive(&[&sent[2]])[&0].1, fits, "the repair packet alone gives it back");
}

#[test]
fn rtp_numbers_and_times_its_packets() {
    let mut encoder = RtpEncoder::new(11, rtp::PAYLOAD_TYPE_TS);
    let mut sent = Sent::new();
    for n in 0..70_000u64 {
        let payload = n.to_be_bytes();
        encoder.push(Duration::from_micros(n * 20_000), &payload, into(&mut sent)).expect("small enough");
    }
    let first = rtp::Packet::parse(&sent[0]).expect("valid RTP");
    for (n, datagram) in (0u64..).zip(&sent) {
        let packet = rtp::Packet::parse(datagram).expect("valid RTP");
        assert_eq!((packet.payload_type(), packet.ssrc()), (33, encoder.ssrc()));
        assert_eq!(packet.sequence(), first.sequence().wrapping_add(n as u16));
        assert_eq!(packet.timestamp(), first.timestamp().wrapping_add((n * 1800) as u32), "20 ms at 90 kHz");
        assert_eq!(packet.payload(), n.to_be_bytes());
    }
    let again = RtpEncoder::new(11, 33);
    assert_eq!(again.ssrc(), encoder.ssrc());
    assert_ne!(RtpEncoder::new(12, 33).ssrc(), encoder.ssrc());
    let error = encoder.push(Duration::ZERO, &[0; 65_496], |_| ()).expect_err("too large");
    assert_eq!(error, EncodeError::TooLarge { expected: 65_495, actual: 65_496, fec: false });
}
