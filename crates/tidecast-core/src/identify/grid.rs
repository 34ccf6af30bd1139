//! Finds the sync bytes of a transport stream that is cut into datagrams at any place: 188 bytes
//! apart, 192 with a timestamp before each packet (M2TS), 204 with parity behind each (DVB-ASI).

use super::look::Header;
use crate::limits::IDENTIFY_SYNCS;
use tidecast_wire::ts::{PACKET, SYNC};

const SIZES: [usize; 3] = [PACKET, 192, 204];
/// Bytes before the sync byte of a packet with a timestamp.
const STAMP: usize = 4;
/// Possible positions of a sync byte, over all sizes.
const PLACES: usize = SIZES[0] + SIZES[1] + SIZES[2];

/// How a datagram fits a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Sync bytes are where they should be.
    Stands,
    /// It is too short to contain one.
    Between,
    /// Sync bytes are missing.
    Off,
}

/// Positions of the sync bytes in the next datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    size: u16,
    /// Offset of the first sync byte in the next datagram.
    next: u16,
}

impl Default for Grid {
    fn default() -> Grid {
        Grid { size: PACKET as u16, next: 0 }
    }
}

impl Grid {
    /// Checks whether a datagram continues the stream. If it does, the grid moves on to the next
    /// datagram.
    #[inline]
    pub(super) fn follows(&mut self, bytes: &[u8]) -> Place {
        let place = match bytes.get(usize::from(self.next)) {
            Some(&SYNC) => Place::Stands,
            None => Place::Between,
            Some(_) if self.mostly(bytes) => Place::Stands,
            Some(_) => return Place::Off,
        };
        self.pass(bytes.len());
        place
    }

    /// Moves past a datagram.
    #[inline]
    pub(super) fn pass(&mut self, len: usize) {
        let (size, next) = (usize::from(self.size), usize::from(self.next));
        self.next = match len.checked_sub(next) {
            None => (next - len) as u16,
            Some(behind) => match behind % size {
                0 => 0,
                rest => (size - rest) as u16,
            },
        };
    }

    /// Whether at least half of the sync bytes are present: the others are damaged.
    #[cold]
    fn mostly(&self, bytes: &[u8]) -> bool {
        let syncs = bytes.iter().skip(self.next.into()).step_by(self.size.into());
        let (all, there) =
            syncs.fold((0, 0), |(all, there), byte| (all + 1, there + usize::from(*byte == SYNC)));
        there > 0 && 2 * there >= all
    }

    /// The grid of a datagram with two or more sync bytes, moved past it, and the count of sync
    /// bytes. `header`: the datagram may also be an RTP packet; TS packets that fill its payload
    /// belong to RTP.
    pub(super) fn find(bytes: &[u8], header: Option<&Header>) -> Option<(Grid, usize)> {
        let mut best: Option<(Grid, usize)> = None;
        let first = &bytes[..bytes.len().min(SIZES[2])];
        for (at, _) in first.iter().enumerate().filter(|(_, byte)| **byte == SYNC) {
            for size in SIZES.into_iter().filter(|size| at < *size) {
                let syncs = bytes[at..].iter().step_by(size);
                let count = syncs.len();
                if count >= 2
                    && !header.is_some_and(|header| in_payload(header, bytes.len(), at, size))
                    && best.is_none_or(|(_, most)| count > most)
                    && syncs.into_iter().all(|byte| *byte == SYNC)
                    && !repeats(&bytes[at + 1..], size)
                {
                    let mut grid = Grid { size: size as u16, next: at as u16 };
                    grid.pass(bytes.len());
                    best = Some((grid, count));
                }
            }
        }
        best
    }

    /// The grid of a datagram that is one whole packet.
    pub(super) fn single(bytes: &[u8]) -> Option<Grid> {
        let size = SIZES.into_iter().find(|size| bytes.len() == *size)?;
        let at = if size == PACKET + STAMP { STAMP } else { 0 };
        let mut grid = Grid { size: size as u16, next: at as u16 };
        (grid.follows(bytes) == Place::Stands).then_some(grid)
    }
}

/// Whether the bytes after the sync bytes have the same value: then the datagram is padding, not a
/// stream.
fn repeats(behind: &[u8], size: usize) -> bool {
    behind.iter().step_by(size).all(|byte| *byte == SYNC)
}

/// Whether packets of this size, with the first sync byte at `at`, fill the payload of an RTP
/// packet.
fn in_payload(header: &Header, len: usize, at: usize, size: usize) -> bool {
    let whole = len > header.start && (len - header.start).is_multiple_of(size);
    whole && (at == header.start || at == header.start + STAMP)
}

/// Whether the payload of an RTP packet consists of TS packets.
pub(super) fn fills_payload(bytes: &[u8], header: &Header) -> bool {
    let sync = |at: usize| bytes.get(at) == Some(&SYNC);
    let places = [header.start, header.start + STAMP];
    SIZES.iter().any(|size| places.iter().any(|at| sync(*at) && in_payload(header, bytes.len(), *at, *size)))
}

/// Counts sync bytes across datagrams that are too short to show a grid by themselves.
#[derive(Debug)]
pub(super) struct Syncs {
    /// For each size, the position at which the next datagram starts.
    at: [usize; 3],
    /// Consecutive sync bytes at each position.
    hits: [u8; PLACES],
}

impl Default for Syncs {
    fn default() -> Syncs {
        Syncs { at: [0; 3], hits: [0; PLACES] }
    }
}

impl Syncs {
    /// Takes a datagram; returns the grid once enough sync bytes came in a row.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Grid> {
        let (mut best, mut start) = (None, 0);
        for (at, size) in self.at.iter_mut().zip(SIZES) {
            let hits = &mut self.hits[start..start + size];
            for (i, byte) in bytes.iter().enumerate() {
                let hit = &mut hits[(*at + i) % size];
                *hit = if *byte == SYNC { hit.saturating_add(1) } else { 0 };
            }
            *at = (*at + bytes.len()) % size;
            start += size;
            let most = hits.iter().copied().enumerate().max_by_key(|(_, hits)| *hits);
            let filling = |place: usize| hits[(place + 1) % size] >= IDENTIFY_SYNCS;
            if let Some((place, hits)) =
                most.filter(|(place, hits)| *hits >= IDENTIFY_SYNCS && !filling(*place))
                && best.is_none_or(|(_, most)| hits > most)
            {
                let next = (place + size - *at) % size;
                best = Some((Grid { size: size as u16, next: next as u16 }, hits));
            }
        }
        best.map(|(grid, _)| grid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A stream of packets of this size; only its sync bytes have that value.
    fn stream(size: usize, packets: usize) -> Vec<u8> {
        let at = if size == 192 { STAMP } else { 0 };
        (0..size * packets).map(|i| if i % size == at { SYNC } else { (i * 7 % 61) as u8 }).collect()
    }

    proptest! {
        #[test]
        fn a_stream_is_found_and_followed_wherever_it_is_cut(
            size in prop::sample::select(SIZES.to_vec()),
            skip in 0usize..204,
            cuts in vec(1usize..3000, 1..30),
        ) {
            let bytes = stream(size, 120);
            let (mut rest, mut grid, mut syncs) = (&bytes[skip..], None::<Grid>, Syncs::default());
            let mut passed = 0;
            for cut in cuts {
                let Some((datagram, behind)) = rest.split_at_checked(cut) else { break };
                rest = behind;
                match &mut grid {
                    Some(grid) => prop_assert!(grid.follows(datagram) != Place::Off),
                    None => {
                        let found = Grid::find(datagram, None);
                        let chained = syncs.push(datagram);
                        if let (Some((found, _)), Some(chained)) = (found, chained) {
                            prop_assert_eq!(found, chained);
                        }
                        passed += cut;
                        grid = chained;
                        prop_assert!(grid.is_some() || passed < 5 * size, "{passed} bytes and no grid");
                    }
                }
            }
        }

        #[test]
        fn noise_has_no_grid(bytes in vec(any::<u8>(), 800..1500)) {
            prop_assert!(Grid::find(&bytes, None).is_none_or(|(_, syncs)| syncs < 4));
        }
    }

    #[test]
    fn a_damaged_sync_byte_is_passed_over_and_another_place_is_not() {
        let mut bytes = stream(188, 7);
        let mut grid = Grid::default();
        bytes[0] ^= 4;
        assert!(grid.follows(&bytes) == Place::Stands && grid == Grid::default());
        for other in [&bytes[100..], &[0; 1316], b"{}"] {
            assert!(grid.follows(other) == Place::Off && grid == Grid::default());
        }
        assert!(
            grid.follows(&bytes[188..400]) == Place::Stands && grid.follows(b"between") == Place::Between
        );
    }

    #[test]
    fn filling_is_no_stream() {
        let mut syncs = Syncs::default();
        for len in [1316, 1472, 200] {
            assert_eq!(Grid::find(&vec![SYNC; len], None), None);
            assert_eq!(syncs.push(&vec![SYNC; len]), None);
        }
    }

    #[test]
    fn packets_behind_an_rtp_header_are_rtp() {
        let at = crate::clock::now();
        for size in SIZES {
            let bytes = [&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9], &stream(size, 5)[..]].concat();
            let header = Header::read(&bytes, at);
            assert!(header.is_some() && Grid::find(&bytes, header.as_ref()).is_none(), "{size}");
            assert!(Grid::find(&bytes[..bytes.len() - 1], header.as_ref()).is_some(), "{size}");
        }
    }
}
