//! Decoding order of pictures. RTP timestamps of video are display times; they jump back and
//! forth where a picture is sent before others that are displayed first. Sorted, they are
//! plausible sending times.

use crate::limits::PICTURES_REORDERED_MAX;

/// Sorts the times of pictures, as deep as they have been seen to jump.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Number of pictures that are sent before one that is displayed first; learnt from the
    /// stream.
    depth: usize,
    /// The latest times, sorted.
    sorted: Vec<i64>,
    /// The latest times in order of arrival, to learn the depth.
    latest: Vec<i64>,
}

impl Order {
    /// Time of the next picture. `true` if the depth has just grown, so that times do not continue
    /// smoothly.
    pub(super) fn next(&mut self, time: i64) -> (i64, bool) {
        let later = self.latest.iter().filter(|before| **before > time).count();
        if self.latest.len() >= PICTURES_REORDERED_MAX {
            self.latest.remove(0);
        }
        self.latest.push(time);
        let learnt = later > self.depth;
        self.depth = self.depth.max(later);
        let place = self.sorted.partition_point(|before| *before <= time);
        self.sorted.insert(place, time);
        while self.sorted.len() > self.depth + 1 {
            self.sorted.remove(0);
        }
        (self.sorted[0], learnt)
    }

    /// The clock has jumped.
    pub(super) fn forget(&mut self) {
        self.sorted.clear();
        self.latest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_in_order_keep_their_times() {
        let mut order = Order::default();
        for time in 0..100 {
            assert_eq!(order.next(time * 3600), (time * 3600, false));
        }
    }

    #[test]
    fn pictures_out_of_order_are_sorted_after_the_first_ones() {
        // I P B B P B B: display order 0 3 1 2 6 4 5.
        let mut order = Order::default();
        let shown: Vec<i64> = (0..20).flat_map(|group| [3, 1, 2].map(|place| group * 3 + place)).collect();
        let times: Vec<(i64, bool)> = shown.iter().map(|time| order.next(*time)).collect();
        assert!(times[1].1 && times[2..].iter().all(|(_, learnt)| !learnt));
        assert!(times[2..].windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{times:?}");
    }

    #[test]
    fn it_is_bounded() {
        let mut order = Order::default();
        for time in 0..1000 {
            order.next(-time);
            assert!(order.sorted.len() <= PICTURES_REORDERED_MAX + 1);
        }
    }
}
