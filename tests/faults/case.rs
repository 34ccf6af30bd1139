//! The datagrams to send and the expected output: formats, faults, and the script of each
//! combination. The same seed leads to the same script.

use std::fmt;

use tidecast_wire::{native, rtp};

pub(super) const PACKETS: u64 = 1000;
const SEED: u64 = 0x7c15_9e37;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Rtp,
    Native,
    /// `seq=u16be@2`, one flow per sender.
    Custom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Swaps,
    Late(u64),
    Duplicates,
    Loss,
    /// The numbers continue elsewhere in the same session.
    Jump(i64),
    ToZero,
    /// A new session id or SSRC, whose numbers start at this one.
    NewRun(u64),
    /// One forged packet, with its distance from the current numbers.
    Forged(i64),
}

pub(super) const FAULTS: [Fault; 14] = [
    Fault::None,
    Fault::Swaps,
    Fault::Late(8),
    Fault::Late(40),
    Fault::Duplicates,
    Fault::Loss,
    Fault::Jump(30_000),
    Fault::Jump(-400),
    Fault::ToZero,
    Fault::NewRun(0),
    // The new numbers wrap (in formats in which they do) while they are new.
    Fault::NewRun(65_530),
    Fault::Forged(2000),
    Fault::Forged(-2000),
    Fault::Forged(20_000),
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) wire: Wire,
    pub(super) fault: Fault,
    pub(super) tick: &'static str,
    /// The first number.
    pub(super) start: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { wire, fault, tick, start } = self;
        write!(f, "{wire:?}, {fault:?}, tick {tick}, numbers from {start}, seed {SEED:#x}")
    }
}

/// The datagrams that a case sends, and the expected output: datagrams and payloads.
#[derive(Default)]
pub(super) struct Script {
    pub(super) steps: Vec<Vec<u8>>,
    pub(super) expected: Vec<Vec<u8>>,
    pub(super) payloads: Vec<u8>,
    pub(super) dropped: u64,
    pub(super) duplicates: u64,
    pub(super) forged: u64,
}

impl Case {
    /// Returns the run (session or SSRC) and the number of a packet.
    fn number(&self, id: u64) -> (u32, u64) {
        let half = PACKETS / 2;
        match self.fault {
            Fault::Jump(by) if id >= half => (1, (self.start + id).wrapping_add_signed(by)),
            Fault::ToZero if id >= half => (1, id - half),
            Fault::NewRun(first) if id >= half => (2, first + id - half),
            _ => (1, self.start + id),
        }
    }

    /// Returns the scheme and the format of the input.
    pub(super) fn input(&self) -> (&'static str, &'static str) {
        match self.wire {
            Wire::Rtp => ("rtp", "rtp"),
            Wire::Native => ("udp", "auto"),
            Wire::Custom => ("udp", "seq=u16be@2"),
        }
    }

    fn payload(id: u64) -> Vec<u8> {
        let length = 20 + id * 7 % 200;
        (0..length).map(|at| (id >> (8 * (at % 4))) as u8).collect()
    }

    fn datagram(&self, (run, number): (u32, u64), id: u64) -> Vec<u8> {
        let (payload, mut out) = (Case::payload(id), Vec::new());
        match self.wire {
            Wire::Rtp => rtp::Repr {
                marker: false,
                payload_type: 96,
                sequence: number as u16,
                timestamp: (id as u32).wrapping_mul(180),
                ssrc: 0xabcd_0000 + run,
                payload: &payload,
            }
            .emit(&mut out),
            Wire::Native => native::Repr {
                kind: native::Kind::Data,
                flags: 0,
                stream: 7,
                session: run,
                sequence: number,
                timestamp: 1_700_000_000_000_000 + id * 2000,
                payload: &payload,
            }
            .emit(&mut out),
            Wire::Custom => {
                out.extend_from_slice(&[0x01, 0x02]);
                out.extend_from_slice(&(number as u16).to_be_bytes());
                out.extend_from_slice(&payload);
            }
        }
        out
    }

    pub(super) fn script(&self) -> Script {
        let mut script = Script::default();
        // Each datagram with its position: twice its index, plus an odd offset for those in
        // between.
        let mut steps = Vec::new();
        let mut random = SEED;
        for id in 0..PACKETS {
            let datagram = self.datagram(self.number(id), id);
            let inner = (20..PACKETS - 110).contains(&id);
            let mut place = 2 * id;
            match self.fault {
                Fault::Swaps if inner && id % 10 == 0 => place += 3,
                Fault::Late(by) if inner && id % (2 * by + 7) == 0 => place += 2 * by + 1,
                Fault::Duplicates if inner => {
                    for (every, later) in [(20, 0), (33, 1), (50, 10), (90, 60)] {
                        if id % every == 7 {
                            steps.push((2 * (id + later) + 1, datagram.clone()));
                            script.duplicates += 1;
                        }
                    }
                }
                Fault::Loss => {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    if inner && (random >> 33).is_multiple_of(100) {
                        script.dropped += 1;
                        continue;
                    }
                }
                Fault::Forged(by) if id == PACKETS / 2 => {
                    let (run, number) = self.number(id);
                    let forged = (run, number.wrapping_add_signed(by));
                    steps.push((2 * id + 1, self.datagram(forged, 1 << 30)));
                    script.forged = 1;
                }
                _ => {}
            }
            script.payloads.extend(match self.wire {
                Wire::Custom => datagram.clone(),
                _ => Case::payload(id),
            });
            script.expected.push(datagram.clone());
            steps.push((place, datagram));
        }
        steps.sort_by_key(|(place, _)| *place);
        script.steps = steps.into_iter().map(|(_, datagram)| datagram).collect();
        script
    }
}

impl Script {
    /// Compares the summary of `recv` with the script.
    pub(super) fn compare(&self, said: &str) -> Result<(), String> {
        let json = said.lines().find(|line| line.starts_with('{')).ok_or("no summary")?;
        let summary: serde_json::Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        for (key, expected) in [
            ("kernel_drops", 0), // first: it would explain the others
            ("received", self.steps.len() as u64),
            ("delivered", self.expected.len() as u64),
            ("lost", self.dropped),
            ("duplicates", self.duplicates),
            ("rejected", self.forged),
            ("late", 0),
            ("corrupt", 0),
            ("foreign", 0),
        ] {
            if summary[key] != expected {
                return Err(format!("recv counted {key} {}, expected {expected}", summary[key]));
            }
        }
        Ok(())
    }

    /// Returns how the output datagrams differ from the expected ones.
    pub(super) fn difference(&self, received: &[&[u8]]) -> Option<String> {
        let expected = &self.expected;
        let at = received.iter().zip(expected).position(|(received, expected)| received != expected);
        let at = at.or((received.len() != expected.len()).then_some(received.len().min(expected.len())))?;
        let place = |bytes: &[u8]| expected.iter().position(|expected| expected == bytes);
        let came = received[at..].iter().take(12).map(|bytes| place(bytes));
        let came: Vec<String> = came.map(|id| id.map_or("?".to_owned(), |id| id.to_string())).collect();
        let missing = expected.iter().filter(|expected| !received.contains(&expected.as_slice())).count();
        Some(format!(
            "{} datagrams came, expected {}, {missing} are missing; packet {at} should have come, but [{}] came",
            received.len(),
            expected.len(),
            came.join(", "),
        ))
    }
}
