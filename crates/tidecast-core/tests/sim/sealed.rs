//! Sealed datagrams among those of somebody without the key: half of the load is forged, replayed,
//! truncated or sealed with other keys, and nothing that comes out may show it.

use std::{sync::Arc, time::Duration};

use tidecast_core::{
    encode::Encoder,
    relay::{Config, Hold, How},
};
use tidecast_wire::{
    fec::native::Fec,
    native::{FLAGS, HEADER, RETRANSMISSION, TRAILER},
    seal::{Key, Keyring, Sealer},
};

use crate::harness::{Dice, Event, Repeat, Sim, config, seed, source};

const STREAMS: u32 = 3;
const PACKETS: u64 = 3000;
const TIME: u64 = 1_700_000_000_000_000;
/// Between two packets of a stream.
const INTERVAL: Duration = Duration::from_millis(2);

fn key(id: u8, digit: char) -> Key {
    format!("{id}:{}", digit.to_string().repeat(64)).parse().expect("a key")
}

/// Datagrams of a run of each stream, in order, with the time after the start at which each is
/// sent.
fn run(key: &Key, session: u32, begins: Duration, dice: &mut Dice) -> Vec<(Duration, Vec<u8>)> {
    let start = tidecast_net::clock::now();
    let mut sent = Vec::new();
    for stream in 0..STREAMS {
        let sealer = Arc::new(Sealer::new(key, stream, session, stream > 0).expect("a key of all streams"));
        let fec = Fec::new(10, 2, 1).expect("a good shape");
        let mut encoder = Encoder::new(stream, session, Some(fec)).sealed(sealer);
        for number in 0..PACKETS {
            let at = begins + INTERVAL * number as u32 + Duration::from_micros(300) * stream;
            let payload: Vec<u8> = (0..dice.below(1200)).map(|_| dice.any() as u8).collect();
            let time = TIME + at.as_micros() as u64;
            encoder.push(start + at, time, &payload, |d| sent.push((at, d.to_vec()))).expect("not too large");
        }
        let end = begins + INTERVAL * PACKETS as u32;
        encoder.finish(|d| sent.push((end, d.to_vec())));
    }
    sent.sort_by_key(|(at, _)| *at);
    sent
}

/// What arrives: some are lost, some overtaken.
fn link(sent: Vec<(Duration, Vec<u8>)>, dice: &mut Dice) -> Vec<(Duration, Vec<u8>)> {
    let mut arrives: Vec<_> = sent
        .into_iter()
        .filter_map(|(at, datagram)| {
            let late = if dice.hits(0.05) { dice.below(20_000) } else { 0 };
            (!dice.hits(0.03)).then(|| (at + Duration::from_micros(late), datagram))
        })
        .collect();
    arrives.sort_by_key(|(at, _)| *at);
    arrives
}

/// The datagram with a checksum that fits it.
fn checked(mut datagram: Vec<u8>) -> Vec<u8> {
    let body = datagram.len() - TRAILER;
    let crc = crc32fast::hash(&datagram[..body]);
    datagram[body..].copy_from_slice(&crc.to_be_bytes());
    datagram
}

/// Datagrams of those without the key.
struct Hostile {
    /// Another run with the right key, which was recorded before.
    recorded: Vec<Vec<u8>>,
    /// A run with another key.
    other: Vec<Vec<u8>>,
}

impl Hostile {
    /// One datagram, when `passed` have passed on the wire.
    fn datagram(&self, passed: &[(Duration, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
        let any = |list: &[Vec<u8>], dice: &mut Dice| list[dice.below(list.len() as u64) as usize].clone();
        // Mostly what passed a moment ago, which hits what is in use.
        let far = if dice.hits(0.5) { passed.len() as u64 } else { passed.len().min(30) as u64 };
        let seen = passed[passed.len() - 1 - dice.below(far) as usize].1.clone();
        match dice.below(8) {
            0 => any(&self.recorded, dice),
            1 => any(&self.other, dice),
            2 => seen,
            3 => {
                let mut bytes = seen;
                // Everything but the flag that a producer sets without the key.
                let bit = HEADER as u64 * 8 + dice.below(8 * (bytes.len() - HEADER - TRAILER) as u64);
                bytes[bit as usize / 8] ^= 1 << (bit % 8);
                checked(bytes)
            }
            4 => {
                // A number or time of the header that suits the stream.
                let mut bytes = seen;
                let at = [4, 8, 12, 18, 19, 20, 27][dice.below(7) as usize];
                bytes[at] = bytes[at].wrapping_add(1 + dice.below(5) as u8);
                checked(bytes)
            }
            5 => {
                let len = dice.below(seen.len() as u64) as usize;
                if len > HEADER + TRAILER { checked(seen[..len].to_vec()) } else { seen[..len].to_vec() }
            }
            6 => {
                let mut bytes = seen;
                bytes[FLAGS] ^= dice.any() as u8 & !RETRANSMISSION;
                bytes[FLAGS] |= 8; // never what it was
                checked(bytes)
            }
            _ => {
                let mut bytes = seen;
                bytes[FLAGS] ^= RETRANSMISSION;
                checked(bytes)
            }
        }
    }
}

fn relay(keys: Vec<Key>) -> Sim {
    let seal = Some(Arc::new(Keyring::new(keys).expect("good keys")));
    Sim::new(Config { seal, hold: Hold::Fixed(Duration::from_millis(100)), ..config("native") })
}

/// Runs the same arrivals with and without hostile datagrams among them.
fn compare(seed: u64) {
    let _repeat = Repeat(seed);
    let mut dice = Dice::new(seed);
    let (ours, new) = (key(1, 'a'), key(2, 'b'));
    let plain = |list: Vec<(Duration, Vec<u8>)>| list.into_iter().map(|(_, datagram)| datagram).collect();
    // The producers restart with the new key halfway.
    let again = INTERVAL * PACKETS as u32 + Duration::from_millis(300);
    let begins = Duration::from_secs(10);
    let mut sent = run(&ours, 100, begins, &mut dice);
    sent.extend(run(&new, 50, begins + again, &mut dice));
    let arrivals = link(sent, &mut dice);
    let hostile = Hostile {
        recorded: plain(run(&ours, 7, Duration::ZERO, &mut dice)),
        other: plain(run(&key(1, 'c'), 100, begins + INTERVAL, &mut dice)),
    };
    let (mut clean, mut under_attack) = (relay(vec![ours.clone(), new.clone()]), relay(vec![ours, new]));
    let mut count = 0;
    for (place, (at, datagram)) in arrivals.iter().enumerate() {
        clean.packet(*at, datagram);
        under_attack.packet(*at, datagram);
        // Once each stream has sent.
        if place > 50 {
            let bytes = hostile.datagram(&arrivals[..=place], &mut dice);
            under_attack.packet_from(*at, 0, source(dice.below(3) as u8 + 1), &bytes);
            count += 1;
        }
    }
    let end = Duration::from_secs(60);
    clean.run_until(end);
    under_attack.run_until(end);
    for (place, (expected, found)) in clean.events.iter().zip(&under_attack.events).enumerate() {
        assert!(found == expected, "event {place}: {found:.200?} instead of {expected:.200?}");
    }
    assert_eq!(under_attack.events.len(), clean.events.len());
    let (before, after) = (clean.relay.totals(), under_attack.relay.totals());
    let streams = u64::from(STREAMS);
    assert_eq!(before.expected, 2 * PACKETS * streams);
    assert!(before.lost < before.expected / 500, "{} lost", before.lost);
    let rebuilt =
        clean.events.iter().filter(|(_, event)| matches!(event, Event::Delivered { how: How::Fec, .. }));
    assert!(rebuilt.count() as u64 > before.expected / 50, "losses are rebuilt with seals");
    let delivered =
        |counters: &tidecast_core::relay::Counters| (counters.delivered, counters.lost, counters.sessions);
    assert_eq!(delivered(&after), delivered(&before));
    let reasons = under_attack.relay.reject_reasons();
    for reason in ["forged", "replayed", "truncated", "unknown_key", "unsealed"] {
        assert!(reasons.get(reason).is_some_and(|count| *count > 100), "{reason}: {reasons:?}");
    }
    assert!(
        count > 20_000 && after.rejected + after.corrupt + after.duplicate > count / 2,
        "{count}: {after:?}"
    );
}

#[test]
fn half_of_the_load_is_hostile_and_changes_nothing() {
    (0..4).for_each(|run| compare(seed(20_261_201) + run));
}
