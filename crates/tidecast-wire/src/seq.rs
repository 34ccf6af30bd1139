//! Sequence numbers: truncated on the wire, extended to a `u64` that never wraps inside.
//!
//! A wire number has no order (0 follows 65535), so it never implements `Ord`; `relay` extends it
//! on entry, relative to the highest number that the flow has accepted so far.

/// Consecutive sequence numbers, such as those that one packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// First number.
    pub first: u64,
    /// Count of numbers.
    pub count: u64,
}

/// A space of sequence numbers: `0..modulus`, which wraps; or all of `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space {
    /// 0: the whole `u64`, which never wraps.
    modulus: u64,
}

impl Space {
    /// Minimum number space in which reordering can be detected: a window of one packet.
    pub const MODULUS_MIN: u64 = 4;
    /// RTP's 16 bits (RFC 3550 section 5.1).
    pub const RTP: Space = Space { modulus: 1 << 16 };
    /// 64 bits: never wraps.
    pub const FULL: Space = Space { modulus: 0 };

    /// Numbers `0..modulus`; `None` below [`Space::MODULUS_MIN`].
    pub const fn new(modulus: u64) -> Option<Space> {
        if modulus < Space::MODULUS_MIN { None } else { Some(Space { modulus }) }
    }

    /// Count of numbers; `None` for [`Space::FULL`].
    pub const fn modulus(&self) -> Option<u64> {
        if self.modulus == 0 { None } else { Some(self.modulus) }
    }

    /// The extended number congruent to `wire` that is nearest to `reference`. Exactly half of the
    /// space away counts as forwards. If that would be below 0 or above `u64::MAX`, the nearest
    /// one within the range.
    #[inline(always)]
    pub fn extend(&self, reference: u64, wire: u64) -> u64 {
        let modulus = self.modulus;
        if modulus == 0 {
            return wire;
        }
        let forwards = self.distance(reference, wire);
        let backwards = modulus - forwards;
        if forwards <= backwards || reference < backwards {
            reference.checked_add(forwards).unwrap_or_else(|| reference - backwards)
        } else {
            reference - backwards
        }
    }

    /// Steps forwards from `reference` to `wire`, in `0..modulus`.
    pub fn distance(&self, reference: u64, wire: u64) -> u64 {
        let modulus = self.modulus;
        if modulus.is_power_of_two() {
            return wire.wrapping_sub(reference) & (modulus - 1);
        }
        let (from, to) = (reference % modulus, wire % modulus);
        if to >= from { to - from } else { modulus - (from - to) }
    }

    /// Maximum reorder window in the space: under half of it, less a ninth of the space, so that a
    /// packet slightly later than the window is recognized as late, and not as one far ahead. 8
    /// bits: 100; 4 bits: 7.
    pub const fn window_max(&self) -> u64 {
        if self.modulus == 0 {
            return u64::MAX / 2;
        }
        let under_half = (self.modulus - 1) / 2;
        let with_margin = self.modulus / 2 - self.modulus / 9;
        if under_half < with_margin { under_half } else { with_margin }
    }

    /// Maximum reorder window in packets that take `step` numbers each; at least one.
    pub const fn packets_max(&self, step: u64) -> u64 {
        if step == 1 {
            return self.window_max();
        }
        let packets = if self.modulus / step >= Space::MODULUS_MIN {
            Space { modulus: self.modulus / step }.window_max()
        } else {
            self.window_max() / step
        };
        if packets == 0 { 1 } else { packets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows() {
        assert_eq!(Space::new(1 << 8).unwrap().window_max(), 100);
        assert_eq!(Space::new(1 << 4).unwrap().window_max(), 7);
        assert_eq!(Space::new(255).unwrap().window_max(), 99);
        assert_eq!(Space::RTP.window_max(), 25_487);
        assert_eq!(Space::new(4).unwrap().window_max(), 1);
        assert_eq!(Space::new(3), None);
        for modulus in 4..2000 {
            let space = Space::new(modulus).unwrap();
            let window = space.window_max();
            assert!(window >= 1 && 2 * window < modulus, "{modulus}: {window}");
            for step in 1..=window {
                let times = Space::new(modulus * step).unwrap();
                assert_eq!((space.packets_max(1), times.packets_max(step)), (window, window));
                let packets = space.packets_max(step);
                assert!(packets >= 1 && 2 * packets * step < modulus, "{modulus}, {step}: {packets}");
            }
        }
        assert_eq!(Space::FULL.packets_max(100), u64::MAX / 200);
    }

    #[test]
    fn rtp_across_the_wrap() {
        assert_eq!(Space::RTP.extend(65_535, 0), 65_536);
        assert_eq!(Space::RTP.extend(65_536, 65_535), 65_535);
        assert_eq!(Space::RTP.extend(5, 65_530), 65_530, "below 0 there is nothing");
        assert_eq!(Space::RTP.extend(65_536 + 5, 65_530), 65_530);
        assert_eq!(Space::FULL.extend(7, u64::MAX), u64::MAX);
        assert_eq!(Space::RTP.extend(u64::MAX, 0), u64::MAX - 65_535, "above the top there is nothing");
    }

    /// The definition, in numbers without wraps and limits.
    fn model(modulus: u64, reference: u64, wire: u64) -> u64 {
        let (m, r, w) = (i128::from(modulus), i128::from(reference), i128::from(wire));
        let below = r - (r - w).rem_euclid(m);
        let candidates = [below - m, below, below + m];
        let possible = candidates.into_iter().filter(|c| u64::try_from(*c).is_ok());
        // of two equally near ones, the later one counts
        possible.min_by_key(|c| ((c - r).abs(), -c)).unwrap() as u64
    }

    #[test]
    fn small_spaces_follow_the_model_everywhere() {
        for modulus in [4, 5, 7, 15, 16, 100, 255, 256, 257] {
            let space = Space::new(modulus).unwrap();
            let low = 0..3 * modulus;
            let high = u64::MAX - 3 * modulus..=u64::MAX;
            for reference in low.chain(high) {
                for wire in 0..modulus {
                    let extended = space.extend(reference, wire);
                    assert_eq!(extended, model(modulus, reference, wire), "{modulus}: {wire} at {reference}");
                    assert_eq!(extended % modulus, wire);
                }
            }
        }
    }

    #[test]
    fn sixteen_bits_follow_the_model_in_every_phase() {
        let window = Space::RTP.window_max() as i64;
        let half = 32_768;
        for phase in 0..1u64 << 16 {
            for distance in [0, 1, 2, 8, 400, 3000, window, half - 1, half, half + 1] {
                for reference in [phase, 3 * (1 << 16) + phase, u64::MAX - phase] {
                    for offset in [distance, -distance] {
                        let wire = reference.wrapping_add_signed(offset) & 0xffff;
                        let extended = Space::RTP.extend(reference, wire);
                        assert_eq!(extended, model(1 << 16, reference, wire), "{wire} at {reference}");
                        if let Some(expected) = reference.checked_add_signed(offset)
                            && distance < half
                        {
                            assert_eq!(extended, expected, "{offset} from {reference}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_in_order_never_wraps() {
        for modulus in [16u64, 255, 256, 65_536] {
            let space = Space::new(modulus).unwrap();
            let mut reference = modulus;
            for next in modulus..modulus + 200_000 {
                reference = space.extend(reference, next % modulus);
                assert_eq!(reference, next);
            }
        }
    }

    proptest! {
        #[test]
        fn any_space_follows_the_model(
            modulus in prop_oneof![4..=u64::MAX, (2u32..64).prop_map(|bits| 1 << bits), 4u64..100_000],
            reference in any::<u64>(),
            wire in any::<u64>(),
        ) {
            let space = Space::new(modulus).unwrap();
            let expected = model(modulus, reference, wire % modulus);
            prop_assert_eq!(space.extend(reference, wire), expected);
            prop_assert_eq!(space.modulus(), Some(modulus));
            prop_assert!(space.window_max() < modulus.div_ceil(2));
        }

        #[test]
        fn all_of_64_bits_is_itself(reference in any::<u64>(), wire in any::<u64>()) {
            prop_assert_eq!(Space::FULL.extend(reference, wire), wire);
        }
    }
}
