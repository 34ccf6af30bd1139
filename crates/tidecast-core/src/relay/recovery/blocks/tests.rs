//! Recovery compared with what was sent, and its rules one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use tidecast_wire::fec::rs::Codes;

use super::*;
use crate::limits::{FEC_FIT_TIME, FEC_LEARN_TIME_MIN};

#[allow(clippy::disallowed_methods)]
fn t0() -> Instant {
    Instant::now()
}

fn recover(start: u64) -> BlockRecovery {
    BlockRecovery::new(start, t0() + FEC_LEARN_TIME_MIN)
}

/// Source packets by number, and the repair payloads of one block.
fn block(
    first: u64,
    k: usize,
    m: usize,
    stride: u8,
    sizes: &[usize],
) -> (BTreeMap<u64, RebuiltPayload>, Vec<Vec<u8>>) {
    let packets: BTreeMap<u64, RebuiltPayload> = (0..k)
        .map(|i| {
            let number = first + i as u64 * u64::from(stride);
            let payload = (0..sizes[i]).map(|b| (b * 7 + i * 13) as u8).collect();
            (number, RebuiltPayload { number, flags: 0, timestamp: 1_000_000 + i as u64, payload })
        })
        .collect();
    let repairs = repairs_of(&packets, m, stride);
    (packets, repairs)
}

fn repairs_of(packets: &BTreeMap<u64, RebuiltPayload>, m: usize, stride: u8) -> Vec<Vec<u8>> {
    let (k, sizes) = (packets.len(), packets.values().map(|packet| packet.payload.len()));
    let len = SourceShard::HEADER + sizes.max().unwrap();
    let data: Vec<Vec<u8>> = packets
        .values()
        .map(|p| {
            let mut shard = Vec::new();
            shard_of(p).emit(len, &mut shard);
            shard
        })
        .collect();
    let mut parity = vec![vec![0; len]; m];
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    Codes::new().encode(k, m, &data, &mut parity).unwrap();
    let payloads = parity.iter().enumerate().map(|(index, shard)| {
        let mut out = Vec::new();
        tidecast_wire::native::RepairRepr { k: k as u8, m: m as u8, index: index as u8, stride, shard }
            .emit(&mut out);
        out
    });
    payloads.collect()
}

fn shard_of(p: &RebuiltPayload) -> SourceShard<'_> {
    SourceShard { flags: p.flags, timestamp: p.timestamp, payload: &p.payload }
}

fn means(codes: &mut Codes, now: Instant, grace: Duration) -> Means<'_> {
    Means { now, codes, grace, overdue: 0, room: usize::MAX, end: u64::MAX }
}

proptest! {
    /// Any `m` lost packets of `k + m` are recovered byte for byte; with one more, the block is
    /// given up.
    #[test]
    fn rebuilds_or_says_it_cannot(
        k in 1usize..20, m in 1usize..6, stride in 1u8..5,
        sizes in prop::collection::vec(0usize..300, 20), order in any::<u64>(), extra in any::<bool>(),
    ) {
        let now = t0();
        let (packets, repairs) = block(100, k, m, stride, &sizes);
        let mut lost: Vec<usize> = (0..k + m).collect();
        let mut state = order;
        for i in (1..lost.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            lost.swap(i, (state >> 33) as usize % (i + 1));
        }
        lost.truncate(m + usize::from(extra));
        let mut recover = recover(100);
        let mut codes = Codes::new();
        let mut found = Findings::default();
        let mut take = |f: Findings<RebuiltPayload>| {
            found.rebuilt.extend(f.rebuilt);
            found.hopeless.extend(f.hopeless);
            prop_assert_eq!(f.nonsense, 0);
            Ok(())
        };
        // Earlier blocks have shown the shape.
        for first in 0..2 {
            let repair = Repair::parse(&repairs[0]).unwrap();
            recover.repair(first, &repair, 1 << 20, &mut means(&mut codes, now, Duration::ZERO));
        }
        for (i, p) in packets.values().enumerate() {
            if !lost.contains(&i) {
                let means = &mut means(&mut codes, now, Duration::ZERO);
                take(recover.media(p.number, unpadded(shard_of(p)), means))?;
            }
        }
        for (i, payload) in repairs.iter().enumerate() {
            if !lost.contains(&(k + i)) {
                let repair = Repair::parse(payload).unwrap();
                take(recover.repair(100, &repair, 100, &mut means(&mut codes, now, Duration::ZERO)))?;
            }
        }
        // Repair packets of later blocks show that no more of this one will come.
        let (_, later) = block(100_352, 1, 1, stride, &[5]);
        let later = Repair::parse(&later[0]).unwrap();
        for first in 100_352..100_354 {
            take(recover.repair(first, &later, 100, &mut means(&mut codes, now, Duration::ZERO)))?;
        }

        let missing: Vec<u64> = packets.values().enumerate().filter(|(i, _)| lost.contains(i)).map(|(_, p)| p.number).collect();
        let here = |n: &u64| *n < 100_000;
        found.rebuilt.sort_by_key(|r| r.number);
        found.rebuilt.retain(|r| here(&r.number));
        if missing.len() + lost.iter().filter(|i| **i >= k).count() <= m {
            prop_assert_eq!(found.rebuilt.iter().map(|r| r.number).collect::<Vec<_>>(), missing);
            for r in &found.rebuilt {
                prop_assert_eq!(r, &packets[&r.number]);
            }
        } else if lost.iter().any(|i| *i < k) && lost.iter().filter(|i| **i >= k).count() < m {
            prop_assert!(found.rebuilt.is_empty());
            found.hopeless.retain(here);
            prop_assert_eq!(found.hopeless, missing);
        }
    }
}

#[test]
fn waits_for_a_reordered_original_before_rebuilding() {
    let now = t0();
    let grace = Duration::from_millis(10);
    let (packets, repairs) = block(0, 3, 1, 1, &[4, 4, 4]);
    let mut recover = recover(0);
    let mut codes = Codes::new();
    for n in [0, 2] {
        recover.media(n, unpadded(shard_of(&packets[&n])), &mut means(&mut codes, now, grace));
    }
    let repair = Repair::parse(&repairs[0]).unwrap();
    assert!(recover.repair(0, &repair, 0, &mut means(&mut codes, now, grace)).rebuilt.is_empty());
    assert_eq!(recover.deadline(grace), Some(now + grace));
    let found = recover.poll(&mut means(&mut codes, now + grace, grace));
    assert_eq!(
        found.rebuilt,
        [RebuiltPayload { number: 1, flags: 0, timestamp: 1_000_001, payload: packets[&1].payload.clone() }]
    );
    assert_eq!(recover.deadline(grace), None);
}

#[test]
fn slow_sessions_without_repair_packets_keep_nothing_after_a_while() {
    let (mut recover, mut codes) = (recover(0), Codes::new());
    let source = SourceShard { flags: 0, timestamp: 0, payload: b"reading" };
    recover.media(0, unpadded(source), &mut means(&mut codes, t0(), Duration::ZERO));
    assert!(recover.bytes() > 0);
    recover.media(1, unpadded(source), &mut means(&mut codes, t0() + FEC_LEARN_TIME_MIN, Duration::ZERO));
    assert_eq!((recover.bytes(), recover.is_idle()), (0, true));
}

#[test]
fn sessions_without_repair_packets_keep_nothing() {
    let now = t0();
    let mut recover = recover(0);
    let mut codes = Codes::new();
    let source = SourceShard { flags: 0, timestamp: 0, payload: b"reading" };
    for n in 0..=FEC_LEARN_PACKETS + 1 {
        recover.media(n, unpadded(source), &mut means(&mut codes, now, Duration::ZERO));
    }
    assert_eq!(recover.bytes(), 0);
    recover.media(5000, unpadded(source), &mut means(&mut codes, now, Duration::ZERO));
    assert_eq!(recover.bytes(), 0);
}

#[test]
fn an_original_that_comes_after_all_closes_the_block() {
    let now = t0();
    let grace = Duration::from_millis(10);
    let (packets, repairs) = block(0, 3, 2, 1, &[4, 4, 4]);
    let mut recover = recover(0);
    let mut codes = Codes::new();
    let repair = Repair::parse(&repairs[0]).unwrap();
    for n in [0, 2] {
        recover.media(n, unpadded(shard_of(&packets[&n])), &mut means(&mut codes, now, grace));
    }
    recover.repair(0, &repair, 1, &mut means(&mut codes, now, grace));
    assert_eq!(recover.deadline(grace), Some(now + grace));
    recover.media(1, unpadded(shard_of(&packets[&1])), &mut means(&mut codes, now, grace));
    assert_eq!((recover.deadline(grace), recover.blocks.len()), (None, 0));
}

#[test]
fn every_block_is_paid_for_by_its_own_packets() {
    for (k, m) in (1..255).flat_map(|k| (1..=255 - k).map(move |m| (k, m))) {
        for len in [12, 1316, 65_507] {
            let work = Codes::work(k, m, k.min(m), len);
            let paid = k as u64 * (FEC_WORK_PER_PACKET + FEC_WORK_PER_BYTE * len as u64);
            assert!(work <= paid.min(FEC_WORK_MAX), "({k}, {m}) of {len} bytes takes {work}, {paid} is paid");
        }
    }
}

/// Repair packets without media, each for a block of another shape with one missing packet, must
/// not occupy a CPU core.
#[test]
fn forged_repair_packets_buy_no_work() {
    let now = t0();
    let mut recover = recover(0);
    let mut codes = Codes::new();
    let source = SourceShard { flags: 0, timestamp: 0, payload: b"reading" };
    let (_, repairs) = block(0, 1, 1, 1, &[7]);
    let usual = Repair::parse(&repairs[0]).unwrap();
    for n in (0..655).filter(|n| *n != 500) {
        recover.media(n, unpadded(source), &mut means(&mut codes, now, Duration::ZERO));
        recover.repair(n, &usual, n + 1, &mut means(&mut codes, now, Duration::ZERO));
    }
    let saved = recover.credit;
    let mut tried = 0;
    for k in 200..254u8 {
        let mut payload = Vec::new();
        let shard = [1; 60_000];
        tidecast_wire::native::RepairRepr { k, m: 1, index: 0, stride: 1, shard: &shard }.emit(&mut payload);
        let found = recover.repair(
            400,
            &Repair::parse(&payload).unwrap(),
            500,
            &mut means(&mut codes, now, Duration::ZERO),
        );
        tried += found.nonsense;
        assert!(recover.blocks.is_empty(), "each is settled at once");
    }
    assert_eq!(tried, 54);
    let last = Codes::work(253, 1, 1, 60_000);
    assert!(saved <= FEC_WORK_MAX && recover.credit < last, "and the last ones are refused");
}

/// A block of ten with two repair packets, some packets lost and some forged, and the expected
/// result.
fn among_forged(
    lost: &[u64],
    forge: impl Fn(&mut BlockRecovery, &mut Codes),
    repairs_lost: &[usize],
) -> Findings<RebuiltPayload> {
    let (packets, repairs) = block(0, 10, 3, 1, &[40, 30, 20, 40, 25, 35, 40, 38, 21, 22]);
    let (mut recover, mut codes, now) = (recover(0), Codes::new(), t0());
    let mut found = Findings::default();
    let mut take = |f: Findings<RebuiltPayload>| {
        found.rebuilt.extend(f.rebuilt);
        found.hopeless.extend(f.hopeless);
        found.nonsense += f.nonsense;
    };
    forge(&mut recover, &mut codes);
    for packet in packets.values().filter(|packet| !lost.contains(&packet.number)) {
        let shard = unpadded(shard_of(packet));
        let means = &mut means(&mut codes, now, Duration::ZERO);
        match recover.source(packet.number).is_some() {
            true => recover.came_again(packet.number, shard, means),
            false => take(recover.media(packet.number, shard, means)),
        }
    }
    for (index, payload) in repairs.iter().enumerate().filter(|(index, _)| !repairs_lost.contains(index)) {
        let repair = Repair::parse(payload).unwrap();
        let means = &mut Means { end: 10, ..means(&mut codes, now, Duration::ZERO) };
        assert!(index < 3);
        take(recover.repair(0, &repair, 0, means));
    }
    assert!(
        found.rebuilt.iter().all(|rebuilt| *rebuilt == packets[&rebuilt.number]),
        "what is rebuilt was sent"
    );
    found
}

fn forged_media(number: u64, len: usize) -> impl Fn(&mut BlockRecovery, &mut Codes) {
    move |recover, codes| {
        let payload = vec![0x66; len];
        let source = SourceShard { flags: 0, timestamp: 1_000_003, payload: &payload };
        recover.media(number, unpadded(source), &mut means(codes, t0(), Duration::ZERO));
    }
}

fn forged_repair(first: u64, k: u8, m: u8, index: u8) -> impl Fn(&mut BlockRecovery, &mut Codes) {
    move |recover, codes| {
        let mut payload = Vec::new();
        let shard: Vec<u8> = (11..63u8).map(|byte| byte.wrapping_mul(37)).collect();
        tidecast_wire::native::RepairRepr { k, m, index, stride: 1, shard: &shard }.emit(&mut payload);
        let means = &mut Means { end: first + 5, ..means(codes, t0(), Duration::ZERO) };
        recover.repair(first, &Repair::parse(&payload).unwrap(), 0, means);
    }
}

fn numbers_of(found: &Findings<RebuiltPayload>) -> Vec<u64> {
    found.rebuilt.iter().map(|rebuilt| rebuilt.number).collect()
}

#[test]
fn two_contents_of_a_number_spoil_no_rebuild() {
    for (number, len) in [(5, 35), (5, 40), (0, 400), (9, 22)] {
        let found = among_forged(&[3], forged_media(number, len), &[]);
        assert_eq!((numbers_of(&found), found.nonsense), (vec![3], 0), "{number} of {len}");
        let found = among_forged(&[2, 3, 7], forged_media(number, len + 7), &[]);
        assert_eq!(numbers_of(&found), [2, 3, 7], "{number} of {len}: one content only makes sense");
    }
}

#[test]
fn a_forged_packet_whose_original_is_lost_is_found_by_what_does_not_fit() {
    let found = among_forged(&[3, 5], forged_media(5, 29), &[]);
    assert_eq!(numbers_of(&found), [3]);
    let found = among_forged(&[3, 5], forged_media(5, 29), &[1]);
    assert_eq!(numbers_of(&found), [3]);
}

#[test]
fn a_forged_repair_packet_of_the_block_spoils_no_rebuild() {
    for index in 0..3 {
        let found = among_forged(&[4], forged_repair(0, 10, 3, index), &[]);
        assert_eq!(numbers_of(&found), [4], "in the place of {index}");
        let found = among_forged(&[4], forged_repair(0, 10, 3, index), &[usize::from(index)]);
        assert_eq!(numbers_of(&found), [4], "instead of {index}");
        let found = among_forged(&[4, 6, 8], forged_repair(0, 10, 3, index), &[]);
        assert_eq!(numbers_of(&found), [4, 6, 8], "beside {index}");
    }
}

/// A forged repair packet has a first number 200 ahead, or claims a block of its own over missing
/// numbers.
#[test]
fn a_forged_repair_packet_gives_nothing_up() {
    for (first, k, m) in [(200, 10, 3), (200, 1, 1), (2, 7, 1), (3, 5, 1), (0, 10, 1)] {
        let found = among_forged(&[3, 4, 6], forged_repair(first, k, m, 0), &[]);
        assert_eq!((numbers_of(&found), found.hopeless), (vec![3, 4, 6], vec![]), "{first}, {k}, {m}");
    }
}

/// The timestamps of a block ascend, so one far from the others shows that a packet was forged.
#[test]
fn nothing_is_rebuilt_that_was_sent_at_quite_another_time() {
    const NOW: u64 = 1_700_000_000_000_000;
    let (near, far) = (NOW + FEC_FIT_TIME.as_micros() as u64, NOW + 60 * FEC_FIT_TIME.as_micros() as u64);
    for (time, expected) in [(near, vec![9]), (far, vec![]), (NOW / 2, vec![])] {
        let (mut packets, _) = block(0, 10, 1, 1, &[20; 10]);
        packets.values_mut().for_each(|packet| packet.timestamp += NOW);
        packets.get_mut(&9).unwrap().timestamp = time;
        let repairs = repairs_of(&packets, 1, 1);
        let (mut recover, mut codes, now) = (recover(0), Codes::new(), t0());
        for packet in packets.values().take(9) {
            let shard = unpadded(shard_of(packet));
            recover.media(packet.number, shard, &mut means(&mut codes, now, Duration::ZERO));
        }
        let means = &mut Means { end: 10, ..means(&mut codes, now, Duration::ZERO) };
        let found = recover.repair(0, &Repair::parse(&repairs[0]).unwrap(), 0, means);
        assert_eq!(numbers_of(&found), expected, "{time}");
    }
}

#[test]
fn a_block_ends_behind_its_last_number() {
    for (k, stride) in [(1, 1), (1, 7), (10, 1), (10, 3)] {
        let last = numbers(5, k, stride).last();
        assert_eq!(last, Some(5 + span(k, stride) - 1), "{k} packets, {stride} apart");
    }
}
