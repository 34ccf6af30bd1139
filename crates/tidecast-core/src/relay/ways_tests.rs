//! Compares the short ways with the long one: the same inputs must give the same outputs.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use tidecast_wire::{
    native::{Kind, RETRANSMISSION, Repr},
    rtp,
};

/// A producer, and the path to the relay.
struct Source {
    rtp: bool,
    /// The payloads are TS packets, with some foreign ones among them.
    ts: bool,
    id: u32,
    session: u32,
    next: u64,
    /// Datagrams under way, each with the count of other datagrams of this source that overtake
    /// it.
    late: VecDeque<(u32, Vec<u8>)>,
    latest: Vec<u8>,
}

impl Source {
    fn new(rtp: bool, id: u32) -> Source {
        let next = if rtp { 65_400 } else { 0 };
        Source { rtp, ts: false, id, session: 1, next, late: VecDeque::new(), latest: Vec::new() }
    }

    fn ts(id: u32) -> Source {
        Source { ts: true, ..Source::new(true, id) }
    }

    fn datagram(&self, kind: Kind, number: u64) -> Vec<u8> {
        self.flagged(kind, 0, number)
    }

    /// A datagram with flags of the native format.
    fn flagged(&self, kind: Kind, flags: u8, number: u64) -> Vec<u8> {
        let (mut out, session) = (Vec::new(), self.session);
        let content = number as u8 ^ session as u8;
        let mut payload = vec![content; if self.ts { 188 * 2 } else { 60 }];
        if self.ts {
            payload.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        }
        if self.ts && number.is_multiple_of(50) {
            payload = vec![0; 8]; // a keep-alive
        }
        let payload = &payload[..];
        if self.rtp {
            let (sequence, timestamp, ssrc) = (number as u16, number as u32 * 90, self.id << 8 | session);
            rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc, payload }.emit(&mut out);
        } else {
            let timestamp = number * 1000 + 1;
            Repr { kind, flags, stream: self.id, session, sequence: number, timestamp, payload }
                .emit(&mut out);
        }
        out
    }

    /// The next arrival, if any: usually the next packet.
    fn arrives(&mut self, rng: &mut Pcg64) -> Option<Vec<u8>> {
        for (others, _) in &mut self.late {
            *others = others.saturating_sub(1);
        }
        if let Some(place) = self.late.iter().position(|(others, _)| *others == 0) {
            return self.late.remove(place).map(|(_, datagram)| datagram);
        }
        match rng.random_range(0..1000) {
            0 => self.session += 1,
            1 => self.next += 3 + u64::from(rng.next_u32() % 400),
            2 => self.next -= self.next.min(200),
            3..13 => return Some(self.latest.clone()),
            13..18 if !self.rtp => return Some(self.datagram(Kind::Heartbeat, self.next)),
            18..20 => return Some(self.datagram(Kind::Data, self.next + 3000)),
            _ => {}
        }
        let datagram = self.datagram(Kind::Data, self.next);
        self.next += 1;
        self.latest.clone_from(&datagram);
        match rng.random_range(0..100) {
            0 => None,
            1 => {
                // Another receiver requests it.
                let number = self.next - 1;
                let again = self.flagged(Kind::Data, if self.rtp { 0 } else { RETRANSMISSION }, number);
                self.late.push_back((rng.random_range(1..10), again));
                None
            }
            2..7 => {
                self.late.push_back((rng.random_range(1..40), datagram));
                None
            }
            _ => Some(datagram),
        }
    }
}

/// A relay, and its outputs since the last comparison.
struct Side {
    relay: Relay,
    due: Option<Instant>,
    said: Vec<String>,
}

impl Side {
    fn new(config: Config, long_only: bool) -> Side {
        let mut relay = Relay::new(config);
        relay.long_only = long_only;
        Side { relay, due: None, said: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        self.relay.handle_input(input);
        loop {
            match self.relay.poll_output() {
                Output::Timeout(due) => break self.due = due,
                Output::Deliver(delivery) => {
                    self.said.push(format!("{delivery:?} {:?}", &*delivery.packet.bytes))
                }
                output => self.said.push(format!("{output:?}")),
            }
        }
    }

    /// `timely`: handles deadlines before the packet, as a machine does that is not overloaded.
    fn packet(&mut self, now: Instant, datagram: &[u8], timely: bool) {
        while let Some(due) = self.due.filter(|due| timely && *due <= now) {
            self.input(Input::Timeout { now: due });
        }
        let mut bytes = Buffer::slot();
        bytes.memory_mut()[..datagram.len()].copy_from_slice(datagram);
        bytes.set_len(datagram.len());
        let source = SocketAddr::from(([10, 0, 0, 1], 5000));
        self.input(Input::Packet { now, leg: 0, source, bytes });
    }

    fn state(&mut self) -> impl PartialEq + std::fmt::Debug + use<> {
        let flows: Vec<String> = self.relay.flows().map(|flow| format!("{flow:?}")).collect();
        let said = std::mem::take(&mut self.said);
        (said, self.due, self.relay.totals(), self.relay.bytes_held(), flows)
    }
}

/// Feeds the same packets to a relay with the short ways and to one without.
fn compare(seed: u64, config: &Config, step: u64) -> Result<(), TestCaseError> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut sides = [false, true].map(|long_only| Side::new(config.clone(), long_only));
    let mut sources = [Source::new(true, 1), Source::new(false, 2), Source::new(false, 3), Source::ts(4)];
    let mut now = crate::clock::now();
    for _ in 0..2500 {
        let pause = if rng.random_ratio(1, 300) { 200_000 } else { rng.random_range(0..2 * step) };
        now += Duration::from_micros(pause);
        let source = rng.random_range(0..sources.len());
        if let Some(datagram) = sources[source].arrives(&mut rng) {
            let timely = rng.random_ratio(3, 4);
            sides.iter_mut().for_each(|side| side.packet(now, &datagram, timely));
        }
        let [short, long] = &mut sides;
        prop_assert_eq!(short.state(), long.state());
    }
    Ok(())
}

/// Packets beyond the window wait behind later ones, and are overdue once those have left.
#[test]
fn what_was_under_probation_is_overdue_first() -> Result<(), TestCaseError> {
    let config = Config { bytes_max: 300_000, window_max: 64, ..Config::default() };
    compare(9_542_735_376_500_786_396, &config, 20)
}

/// The age of a repeated number decides whether it is a copy or a restart. It depends on the head
/// before the waiting packets leave.
#[test]
fn a_filled_gap_leaves_the_same_ages() -> Result<(), TestCaseError> {
    let config = Config { bytes_max: 300_000, fec: Fec::Off, ..Config::default() };
    compare(13_796_600_288_984_481_219, &config, 300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn both_ways_say_the_same(
        seed in any::<u64>(),
        hold in prop_oneof![Just(Hold::default()), (1u64..80).prop_map(|ms| Hold::Fixed(Duration::from_millis(ms)))],
        bytes_max in prop_oneof![Just(20_000), Just(300_000), Just(64 << 20)],
        window_max in prop_oneof![Just(64), Just(8192)],
        step in prop_oneof![Just(20), Just(300), Just(5000)],
        fec in prop_oneof![Just(Fec::Off), Just(Fec::St2022)],
    ) {
        compare(seed, &Config { hold, bytes_max, window_max, fec, ..Config::default() }, step)?;
    }
}
