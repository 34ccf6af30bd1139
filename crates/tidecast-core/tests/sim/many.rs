//! Tests of a thousand native streams over one bad link, with a flood of forged ones among them.

use std::{collections::HashMap, time::Duration};

use tidecast_core::relay::Config;
use tidecast_link::{Fate, Impairments, Link};
use tidecast_wire::native::Kind;

use crate::{
    formats::native,
    harness::{Dice, Event, MS, Repeat, Sim, config, seed, source},
};

const STREAMS: u64 = 1000;
const PACKETS: u64 = 100;
const INTERVAL: Duration = Duration::from_millis(100);
const BYTES_MAX: usize = 4 << 20;

/// The link's record of the packets of one stream.
#[derive(Debug, Clone, Default)]
struct Sent {
    dropped: Vec<u64>,
    duplicated: u64,
    reordered: u64,
    highest: u64,
}

/// Returns a packet whose payload is stream and number.
fn datagram(stream: usize, number: u64) -> Vec<u8> {
    let stream = stream as u32;
    let payload = [&stream.to_be_bytes()[..], &number.to_be_bytes()].concat();
    native(Kind::Data, stream, 1, number, 0, &payload)
}

/// Sends on all streams at once; `each` is called before every packet of theirs. The first two
/// packets of each are never lost, because losses before the first cannot be detected; every
/// stream ends with heartbeats.
fn run(
    sim: &mut Sim,
    impairments: Impairments,
    seed: u64,
    mut each: impl FnMut(&mut Sim, Duration),
) -> Vec<Sent> {
    let mut link = Link::new(impairments, seed);
    let mut sent = vec![Sent::default(); STREAMS as usize];
    let mut copies: HashMap<(usize, u64), u32> = HashMap::new();
    let step = INTERVAL / STREAMS as u32;
    for round in 0..PACKETS + 1 {
        for stream in 0..STREAMS as usize {
            let at = step * (round * STREAMS + stream as u64) as u32;
            each(sim, at);
            if round < 2 {
                sim.packet(at, &datagram(stream, round));
            } else if round < PACKETS {
                match link.push(sim.at(at), (stream, round)) {
                    Fate::Dropped => sent[stream].dropped.push(round),
                    Fate::Passed => {}
                    Fate::Duplicated => sent[stream].duplicated += 1,
                }
            } else if stream == 0 {
                link.flush(sim.at(at));
            }
            while let Some((stream, number)) = link.pop(sim.at(at)) {
                let known = &mut sent[stream];
                let first_copy = *copies.entry((stream, number)).and_modify(|n| *n += 1).or_insert(1) == 1;
                known.reordered += u64::from(first_copy && number < known.highest);
                known.highest = known.highest.max(number);
                sim.packet(at, &datagram(stream, number));
            }
        }
    }
    let done = link.done();
    assert_eq!(done.dropped, sent.iter().map(|s| s.dropped.len() as u64).sum::<u64>());
    assert_eq!(done.duplicated, sent.iter().map(|s| s.duplicated).sum::<u64>());
    for second in 1..3 {
        for stream in 0..STREAMS as u32 {
            let at = INTERVAL * (PACKETS as u32 + 1) + second * Duration::from_secs(1);
            sim.packet(at, &native(Kind::Heartbeat, stream, 1, PACKETS, 0, b""));
        }
    }
    sim.run_until(INTERVAL * PACKETS as u32 + Duration::from_secs(5));
    sent
}

/// Checks that each stream was delivered in order and complete, except for packets dropped by the
/// link.
fn check(sim: &Sim, sent: &[Sent]) {
    let mut numbers: Vec<Vec<u64>> = vec![Vec::new(); sent.len()];
    let mut flows = HashMap::new();
    for (_, event) in &sim.events {
        let Event::Delivered { flow, seq, payload, .. } = event else { continue };
        let stream = u32::from_be_bytes(*payload.first_chunk().unwrap());
        if stream < STREAMS as u32 {
            assert_eq!(payload[4..], seq.to_be_bytes());
            assert_eq!(*flows.entry(stream).or_insert(*flow), *flow, "one flow per stream");
            numbers[stream as usize].push(*seq);
        }
    }
    for (stream, (numbers, sent)) in numbers.iter().zip(sent).enumerate() {
        let expected: Vec<u64> = (0..PACKETS).filter(|n| !sent.dropped.contains(n)).collect();
        assert_eq!(*numbers, expected, "stream {stream}");
        let flow = flows[&(stream as u32)];
        let counters = sim.relay.flows().find(|state| state.id == flow).unwrap().counters;
        assert_eq!(counters.lost, sent.dropped.len() as u64, "stream {stream}: {counters:?}");
        assert_eq!(counters.duplicate, sent.duplicated, "stream {stream}: {counters:?}");
        assert_eq!(counters.reordered, sent.reordered, "stream {stream}: {counters:?}");
        assert_eq!((counters.late, counters.rejected), (0, 0), "stream {stream}: {counters:?}");
    }
    let counters = sim.check_counters();
    assert_eq!(counters.expected, counters.delivered + counters.lost);
}

fn impairments(distance: u32) -> Impairments {
    Impairments { loss: 0.01, reorder: 0.05, distance, duplicate: 0.02, ..Impairments::default() }
}

fn channel(flows_max: usize) -> Sim {
    // Packets are delayed by more than their stream's own interval, so each stream sees
    // reordering.
    let hold = tidecast_core::relay::Hold::Fixed(400 * MS);
    Sim::new(Config { flows_max, bytes_max: BYTES_MAX, hold, ..config("auto") })
}

#[test]
fn a_thousand_streams_through_a_bad_link() {
    let seed = seed(21);
    let _repeat = Repeat(seed);
    // At 10,000 packets per second, packets of one stream are not reordered, reordered by one
    // position, or by two.
    for distance in [8, 1500, 2500] {
        let mut sim = channel(2000);
        let sent = run(&mut sim, impairments(distance), seed, |_, _| {});
        let reordered = sent.iter().map(|s| s.reordered).sum::<u64>();
        assert_eq!(reordered > 0, distance > 1000);
        check(&sim, &sent);
    }
}

#[test]
fn a_flood_of_made_up_streams_leaves_those_in_use_alone() {
    let seed = seed(22);
    let _repeat = Repeat(seed);
    for flows_max in [1001, 1100, 4000, 200_000] {
        let mut dice = Dice::new(seed);
        let mut sim = channel(flows_max);
        let mut made_up = 0_u32;
        let sent = run(&mut sim, impairments(8), seed, |sim, at| {
            // All streams have sent twice by now; 100,000 others follow within six seconds.
            if at > INTERVAL * 21 / 10 && made_up < 100_000 {
                for _ in 0..2 {
                    made_up += 1;
                    let stream = 1_000_000 + made_up;
                    let number = if dice.hits(0.5) { 0 } else { dice.any() >> 2 };
                    let payload = vec![0xaa; dice.below(1400) as usize];
                    let payload = [&stream.to_be_bytes()[..], &payload].concat();
                    let datagram = native(Kind::Data, stream, dice.any() as u32, number, 0, &payload);
                    sim.packet_from(at, 0, source((made_up % 250) as u8), &datagram);
                    assert!(sim.relay.flow_count() <= flows_max);
                    assert!(sim.relay.bytes_held() <= BYTES_MAX);
                }
            }
        });
        assert_eq!(made_up, 100_000);
        check(&sim, &sent);
    }
}
