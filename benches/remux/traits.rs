//! How a relay changes a transport stream when nothing is lost: which streams and tables remain,
//! how often the PCR occurs, the delay, and the changes of timestamps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tidecast_wire::ts::{PACKET, Pcr, pcr, psi};

use crate::remux::{Captured, Decoded, Delivered, Film, Frame, damage::moved, extras};

/// Traits of one stream after a relay.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    /// Time from the first datagram sent to the first byte received, in s.
    pub(crate) first_byte: f64,
    /// How much later pictures start to arrive than without a relay, in s: the median.
    pub(crate) delay: f64,
    /// Bytes out for each byte in.
    pub(crate) bytes: f64,
    /// The share of null packets.
    pub(crate) nulls: f64,
    /// The services of the film besides video and audio that remain, by name.
    pub(crate) services: Vec<&'static str>,
    /// The PIDs of video and audio.
    pub(crate) pids: (u16, u16),
    /// Interval between two PCR values, in ms: the median and the maximum, by the PCR itself.
    pub(crate) pcr_interval: (f64, f64),
    /// Difference between PCR and arrival times, from the 1st to the 99th percentile, in ms.
    pub(crate) pcr_jitter: f64,
    /// Change of the distances between pictures' timestamps, in ms.
    pub(crate) moved: f64,
}

/// The services of the film, in the order of the tables.
pub(crate) const SERVICES: [&str; 6] = ["teletext", "subtitles", "SCTE-35", "EIT", "TDT", "SDT"];

/// Positions in a stream.
#[derive(Debug, Default)]
struct Map {
    packets: BTreeMap<u16, usize>,
    streams: BTreeMap<u16, u8>,
    /// Value and position of each PCR.
    clock: Vec<(u64, usize)>,
    /// PES packets.
    units: Vec<Unit>,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    pid: u16,
    pts: u64,
    /// The first byte of its data.
    first: u8,
    place: usize,
}

impl Traits {
    /// Returns the traits of an undamaged output; `direct`: the output without a relay.
    pub(crate) fn of(film: &Film, one: &Delivered, decoded: &Decoded, direct: &Delivered) -> Traits {
        let map = Map::of(&one.captured.bytes);
        let total: usize = map.packets.values().sum();
        let pid = |kinds: &[u8]| {
            map.streams.iter().find(|(_, kind)| kinds.contains(kind)).map_or(0, |(pid, _)| *pid)
        };
        let video = pid(&[0x1b]);
        let share = |count: usize| count as f64 / total.max(1) as f64;
        Traits {
            first_byte: one.first_byte.map_or(f64::NAN, |time| time.as_secs_f64()),
            delay: delay(film, (one, &map, video), decoded, direct),
            bytes: one.captured.bytes.len() as f64 / film.bytes.len() as f64,
            nulls: share(map.packets.get(&0x1fff).copied().unwrap_or(0)),
            services: map.services(),
            pids: (video, pid(&[0x0f, 0x11])),
            pcr_interval: map.intervals(),
            pcr_jitter: map.jitter(&one.captured),
            moved: spread(moved(&film.decoded.video, &decoded.video)),
        }
    }
}

impl Map {
    fn of(bytes: &[u8]) -> Map {
        let mut map = Map::default();
        let mut sections: HashMap<u16, psi::Sections> = HashMap::from([(psi::PID_PAT, Default::default())]);
        for (n, packet) in bytes.as_chunks::<PACKET>().0.iter().enumerate() {
            let pid = extras::pid(packet);
            *map.packets.entry(pid).or_default() += 1;
            let mut tables = Vec::new();
            if let Some(of_pid) = sections.get_mut(&pid) {
                of_pid.take(packet, |section| {
                    match section.table() {
                        psi::TABLE_PAT => tables.extend(section.programs().map(|(_, pid)| pid)),
                        psi::TABLE_PMT => {
                            map.streams.extend(section.streams().map(|one| (one.pid, one.kind)))
                        }
                        _ => {}
                    }
                    false
                });
            }
            for pid in tables {
                sections.entry(pid).or_default();
            }
            map.clock.extend(pcr(packet).map(|pcr| (pcr.ticks, n * PACKET)));
            map.units.extend(unit(packet, n * PACKET));
        }
        map
    }

    /// Returns the services. Tables have fixed PIDs; a stream is present if the program map lists
    /// it with its type and there are packets.
    fn services(&self) -> Vec<&'static str> {
        let comes = |pid: u16| self.packets.contains_key(&pid);
        let private = |data: std::ops::Range<u8>| {
            self.units
                .iter()
                .any(|unit| self.streams.get(&unit.pid) == Some(&6) && data.contains(&unit.first))
        };
        let there = [
            private(0x10..0x20),
            private(0x20..0x21),
            self.streams.iter().any(|(pid, kind)| *kind == 0x86 && comes(*pid)),
            comes(extras::EIT),
            comes(extras::TDT),
            comes(0x11),
        ];
        SERVICES.into_iter().zip(there).filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    /// Returns the median and the maximum of the increments.
    fn intervals(&self) -> (f64, f64) {
        let steps = self.clock.windows(2).map(|pair| (pair[1].0 + Pcr::WRAP - pair[0].0) % Pcr::WRAP);
        let forward = steps.filter(|ticks| *ticks < Pcr::WRAP / 2);
        let mut steps: Vec<f64> = forward.map(|ticks| ticks as f64 / 27_000.0).collect();
        steps.sort_by(f64::total_cmp);
        (steps.get(steps.len() / 2).copied().unwrap_or(f64::NAN), steps.last().copied().unwrap_or(f64::NAN))
    }

    /// Returns the jitter in the second half, because data that is held back at first arrives all
    /// at once.
    fn jitter(&self, captured: &Captured) -> f64 {
        let clock = &self.clock[self.clock.len() / 2..];
        let Some((first, place)) = clock.first() else { return f64::NAN };
        let start = captured.arrival(*place).expect("it came");
        let late = |(ticks, place): &(u64, usize)| {
            let due = ((ticks + Pcr::WRAP - first) % Pcr::WRAP) as f64 / Pcr::HZ as f64;
            captured.arrival(*place).map(|when| since(when, start) - due)
        };
        let mut late: Vec<f64> = clock.iter().filter_map(late).collect();
        late.sort_by(f64::total_cmp);
        1000.0 * (late[(late.len() - 1) * 99 / 100] - late[late.len() / 100])
    }
}

fn since(when: Instant, start: Instant) -> f64 {
    when.saturating_duration_since(start).as_secs_f64()
}

/// Returns the PES packet with a timestamp that starts here.
fn unit(packet: &[u8; PACKET], place: usize) -> Option<Unit> {
    let skip = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
    let pes = packet.get(skip..)?;
    let begins = packet[1] & 0x40 != 0 && pes.starts_with(&[0, 0, 1]) && pes.get(7)? & 0x80 != 0;
    let [a, b, c, d, e] = *pes.get(9..)?.first_chunk::<5>()?;
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    let pts = (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1;
    let first = *pes.get(9 + usize::from(pes[8]))?;
    begins.then_some(Unit { pid: extras::pid(packet), pts, first, place })
}

/// Returns when each picture of the film starts to arrive, by its content.
fn arrivals<'a>(
    captured: &Captured,
    map: &Map,
    video: u16,
    pictures: &'a [Frame],
) -> HashMap<&'a str, Instant> {
    let units = map.units.iter().filter(|unit| unit.pid == video);
    let places: HashMap<u64, usize> = units.map(|unit| (unit.pts, unit.place)).collect();
    let time = |frame: &'a Frame| {
        let pts = frame.pts.rem_euclid(1 << 33) as u64;
        Some((frame.content.as_str(), captured.arrival(*places.get(&pts)?)?))
    };
    pictures.iter().filter_map(time).collect()
}

fn delay(
    film: &Film,
    (one, map, video): (&Delivered, &Map, u16),
    decoded: &Decoded,
    direct: &Delivered,
) -> f64 {
    let sent_map = Map::of(&direct.captured.bytes);
    let sent = arrivals(&direct.captured, &sent_map, 0x100, &film.decoded.video);
    let came = arrivals(&one.captured, map, video, &decoded.video);
    let later = |(content, when): (&&str, &Instant)| Some((*when, *sent.get(content)?));
    let apart = |(came, sent): (Instant, Instant)| {
        let back = sent.saturating_duration_since(came);
        if back > Duration::ZERO { -back.as_secs_f64() } else { since(came, sent) }
    };
    let mut delays: Vec<f64> = came.iter().filter_map(later).map(apart).collect();
    delays.sort_by(f64::total_cmp);
    delays.get(delays.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(moved: impl IntoIterator<Item = i64>) -> f64 {
    let moved: BTreeSet<i64> = moved.into_iter().collect();
    match (moved.first(), moved.last()) {
        (Some(least), Some(most)) => (most - least) as f64 / 90.0,
        _ => f64::NAN,
    }
}
