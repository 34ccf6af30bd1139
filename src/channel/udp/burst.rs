//! Cuts the datagrams of a tick into bursts: neighbours of one size, which the kernel takes as one
//! message and splits (UDP_SEGMENT). Pure; [`super::socket_group`] sends them.

use std::io::IoSlice;

use tidecast_wire::limits::DATAGRAM_BYTES_MAX;

/// Neighbouring datagrams that can be sent as one message: all of one size, except that the last
/// may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Burst {
    /// Index of the first datagram.
    pub(super) first: usize,
    /// Count of datagrams.
    pub(super) count: usize,
    /// Size of all but the last.
    pub(super) segment: usize,
    bytes: usize,
}

impl Burst {
    /// Whether a datagram of `len` bytes may be added. After a shorter one, none may; an empty one
    /// is always alone.
    fn takes(&self, len: usize, max: usize) -> bool {
        self.count < max
            && self.bytes == self.count * self.segment
            && (1..=self.segment).contains(&len)
            && self.bytes + len <= DATAGRAM_BYTES_MAX
    }
}

/// The datagrams of a tick in order, cut into bursts.
#[derive(Debug)]
pub(super) struct Bursts<'a> {
    parts: Vec<IoSlice<'a>>,
    list: Vec<Burst>,
    /// For each datagram, the bytes up to its end.
    sums: Vec<usize>,
    max: usize,
}

impl<'a> Bursts<'a> {
    /// Creates an empty list; at most `max` datagrams form a burst.
    pub(super) fn new(max: usize) -> Bursts<'a> {
        Bursts { parts: Vec::new(), list: Vec::new(), sums: vec![0], max }
    }

    /// Adds a datagram.
    pub(super) fn push(&mut self, datagram: &'a [u8]) {
        let len = datagram.len();
        match self.list.last_mut() {
            Some(burst) if burst.takes(len, self.max) => {
                burst.count += 1;
                burst.bytes += len;
            }
            _ => self.list.push(Burst { first: self.parts.len(), count: 1, segment: len, bytes: len }),
        }
        self.parts.push(IoSlice::new(datagram));
        self.sums.push(self.bytes() + len);
    }

    /// The bursts, in order.
    pub(super) fn list(&self) -> &[Burst] {
        &self.list
    }

    /// `count` datagrams from index `first` on.
    pub(super) fn parts(&self, first: usize, count: usize) -> &[IoSlice<'a>] {
        &self.parts[first..first + count]
    }

    /// Bytes of `count` datagrams from index `first` on.
    pub(super) fn bytes_of(&self, first: usize, count: usize) -> usize {
        self.sums[first + count] - self.sums[first]
    }

    /// Number of datagrams.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    fn bytes(&self) -> usize {
        self.sums.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bursts(datagrams: &[Vec<u8>], max: usize) -> Bursts<'_> {
        let mut bursts = Bursts::new(max);
        datagrams.iter().for_each(|datagram| bursts.push(datagram));
        bursts
    }

    fn counts(sizes: &[usize], max: usize) -> Vec<usize> {
        let datagrams: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0; *size]).collect();
        bursts(&datagrams, max).list().iter().map(|burst| burst.count).collect()
    }

    #[test]
    fn equal_sizes_go_together_and_a_shorter_one_ends_it() {
        assert_eq!(counts(&[1316; 16], 7), [7, 7, 2]);
        assert_eq!(counts(&[1316; 3], 1), [1, 1, 1]);
        assert_eq!(counts(&[9, 9, 5, 9, 9, 10, 3, 3], 7), [3, 2, 2, 1]);
        assert_eq!(counts(&[0, 0, 4, 0], 7), [1, 1, 1, 1]);
        assert_eq!(counts(&[30_000; 4], 7), [2, 2]);
        assert_eq!(counts(&[], 7), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_datagram_is_in_one_burst_in_its_place(
            sizes in prop::collection::vec(prop_oneof![Just(1316usize), Just(200), 0usize..3000, Just(65_507)], 0..60),
            max in 1usize..65,
        ) {
            let datagrams: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
            let bursts = bursts(&datagrams, max);
            let mut next = 0;
            for burst in bursts.list() {
                prop_assert_eq!(burst.first, next);
                prop_assert!(burst.count >= 1 && burst.count <= max);
                let (last, others) = sizes[next..next + burst.count].split_last().unwrap();
                prop_assert!(others.iter().all(|size| *size == burst.segment));
                prop_assert!(*last <= burst.segment && (burst.count == 1 || *last > 0));
                let bytes: usize = sizes[next..next + burst.count].iter().sum();
                prop_assert!(bytes <= DATAGRAM_BYTES_MAX);
                prop_assert_eq!(bursts.bytes_of(next, burst.count), bytes);
                next += burst.count;
            }
            prop_assert_eq!(next, sizes.len());
            prop_assert_eq!(bursts.len(), sizes.len());
        }
    }
}
