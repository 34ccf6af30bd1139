//! Guesses the layout of datagrams of an unknown format: a profile whose sequence numbers fit, or
//! the position of a counter.

use std::{cmp::Reverse, collections::HashMap, net::SocketAddr};

use crate::limits::{PROBE_SAMPLE_BYTES, PROBE_SAMPLES};
use tidecast_wire::{
    Datagram, Format,
    custom::{Id, Layout, Scale, Scaled},
};

/// Minimum number of datagrams for a guess.
const ENOUGH: usize = 8;
/// Minimum share of increments by one, in percent, for a field to be taken for a counter.
const STEADY: usize = 80;
/// Number of bytes, from the start, in which a counter is searched.
const COUNTER_BYTES: usize = 48;

/// One stream of a layout that is being tried.
struct Stream {
    scale: Option<Scale>,
    /// The last sequence number, and how many numbers its packet took.
    last: Option<(u64, u64)>,
}

/// The first datagrams.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: Vec<(SocketAddr, Vec<u8>)>,
}

impl Samples {
    /// Adds a datagram, up to a maximum number.
    pub(super) fn push(&mut self, source: SocketAddr, bytes: &[u8]) {
        if self.kept.len() < PROBE_SAMPLES {
            self.kept.push((source, bytes[..bytes.len().min(PROBE_SAMPLE_BYTES)].to_vec()));
        }
    }

    /// Returns the `--format` that would number them: a profile's name, or a layout.
    pub(super) fn guess(&self) -> Option<String> {
        if self.kept.len() < ENOUGH {
            return None;
        }
        // profiles that check more bytes are tried first; one that is only a counter would fit the
        // others, too
        let strength = |name: &str| name.parse::<Layout>().map_or(0, |layout| layout.strength());
        let mut names: Vec<&str> = Layout::profiles().iter().map(|(name, _)| *name).collect();
        names.sort_by_cached_key(|name| Reverse(strength(name)));
        let mut names = names.into_iter().map(str::to_owned);
        names.find(|name| self.fits(name)).or_else(|| self.counter())
    }

    fn counter(&self) -> Option<String> {
        // wide fields are tried first, because the low byte of a wide counter is also a counter;
        // big-endian before little-endian
        let kinds = [("u32be", 4), ("u32le", 4), ("u16be", 2), ("u16le", 2), ("u8", 1)];
        let places = kinds.iter().flat_map(|kind| (0..=COUNTER_BYTES - kind.1).map(move |at| (*kind, at)));
        let mut plausible =
            places.filter(|((kind, width), at)| self.begins_low(*at, *width, kind.ends_with("le")));
        plausible
            .find_map(|((kind, _), at)| Some(format!("seq={kind}@{at}")).filter(|layout| self.fits(layout)))
    }

    /// Returns whether the high bytes that never change are 0: otherwise they do not belong to a
    /// counter.
    fn begins_low(&self, at: usize, width: usize, little_endian: bool) -> bool {
        let byte = |sample: &[u8], i: usize| {
            sample.get(if little_endian { at + width - 1 - i } else { at + i }).copied()
        };
        for i in 0..width {
            let mut values = self.kept.iter().map(|(_, sample)| byte(sample, i));
            let first = values.next().flatten();
            if !values.all(|value| value == first) {
                return true; // this byte changes, so the lower ones do, too
            }
            if first != Some(0) {
                return false;
            }
        }
        false
    }

    /// Returns whether nearly all datagrams have the number of the previous one of their stream
    /// plus one.
    fn fits(&self, layout: &str) -> bool {
        let Ok(format) = layout.parse::<Format>() else { return false };
        let mut streams: HashMap<(SocketAddr, Option<Id>), Stream> = HashMap::new();
        let (mut steps, mut good) = (0, 0);
        for (source, bytes) in &self.kept {
            let Ok(Datagram::Custom(packet)) = tidecast_wire::parse(&format, bytes) else { return false };
            if !packet.numbered() {
                continue;
            }
            let Stream { scale, last } = streams
                .entry((*source, packet.id(*source)))
                .or_insert_with(|| Stream { scale: Scale::of(&packet), last: None });
            let (number, step) = match scale.as_mut().map(|scale| scale.place(&packet)) {
                None => (packet.number(), packet.step()),
                Some(Scaled::Numbers { number, step, .. }) => (number, step),
                Some(Scaled::Unknown) => {
                    *last = None;
                    continue;
                }
            };
            if let Some(before) = last.replace((number, step)) {
                steps += 1;
                let modulus = packet.space().modulus().unwrap_or(0);
                good += usize::from(follows(before, number, modulus));
            }
        }
        steps >= ENOUGH - 2 && good * 100 >= steps * STEADY
    }
}

/// Returns whether the number follows that of the previous packet, which takes as many numbers as
/// it states.
fn follows((before, step): (u64, u64), number: u64, modulus: u64) -> bool {
    let ahead = number.wrapping_sub(before);
    let ahead = if modulus > 0 { ahead.wrapping_add(modulus) % modulus } else { ahead };
    ahead == step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(make: impl Fn(u32) -> Vec<u8>) -> Option<String> {
        let mut samples = Samples::default();
        (0..100).for_each(|i| samples.push(([10, 0, 0, 1], 5000).into(), &make(i)));
        samples.guess()
    }

    #[test]
    fn profiles_are_recognised() {
        let mavlink = |i: u32| vec![0xfd, 9, 0, 0, i as u8, 1, 1, 0, 0, 0, 42];
        assert_eq!(guess(mavlink).as_deref(), Some("mavlink"));
        let artnet =
            |i: u32| [b"Art-Net\0", &[0, 0x50, 0, 14, (i % 255 + 1) as u8, 0, 0, 0, 2, 0][..]].concat();
        assert_eq!(guess(artnet).as_deref(), Some("artnet"));
    }

    #[test]
    fn a_counter_is_found_where_it_stands() {
        let counter = |i: u32| [&[7, 7, 7, 9, 9][..], &(i + 65_500).to_be_bytes(), b"xyz"].concat();
        assert_eq!(guess(counter).as_deref(), Some("seq=u32be@5"));
        let little =
            |i: u32| [&[1, 2][..], &((i + 250) as u16).to_le_bytes(), &[(i * 77 % 251) as u8; 9]].concat();
        assert_eq!(guess(little).as_deref(), Some("seq=u16le@2"));
    }

    #[test]
    fn noise_and_constant_bytes_are_none() {
        assert_eq!(guess(|i| (0..40u32).map(|j| ((i * 7919 + j * 104_729) >> 3) as u8).collect()), None);
        assert_eq!(guess(|_| vec![5; 40]), None);
        assert_eq!(Samples::default().guess(), None);
    }
}
