//! Values indexed by number, from a base on: a ring as long as each packet takes one number. If
//! packets take many numbers, most places are empty, so a sorted map is used: memory then depends
//! on packets, not on numbers.

use std::{collections::BTreeMap, mem};

/// A value that may be empty.
pub(super) trait Place: Default {
    /// Whether it is empty.
    fn is_empty(&self) -> bool;
}

/// Values from a base on. The owner keeps the base and passes it to each call.
#[derive(Debug)]
pub(super) enum Places<T> {
    /// Indexed by number; the length is a power of two, or zero at first.
    Ring(Vec<T>),
    /// The values that are not empty.
    Sorted(BTreeMap<u64, T>),
}

impl<T: Place> Places<T> {
    pub(super) fn new() -> Places<T> {
        Places::Ring(Vec::new())
    }

    /// Switches to the sorted map, since packets take several numbers.
    pub(super) fn sort(&mut self, base: u64) {
        let Places::Ring(ring) = self else { return };
        let mask = ring.len().wrapping_sub(1);
        let numbers = base..base + ring.len() as u64;
        let values = numbers.map(|number| (number, mem::take(&mut ring[number as usize & mask])));
        *self = Places::Sorted(values.filter(|(_, value)| !value.is_empty()).collect());
    }

    #[inline]
    pub(super) fn is_sorted(&self) -> bool {
        matches!(self, Places::Sorted(_))
    }

    /// Capacity of the ring, or number of sorted values.
    pub(super) fn len(&self) -> usize {
        match self {
            Places::Ring(ring) => ring.len(),
            Places::Sorted(sorted) => sorted.len(),
        }
    }

    /// Memory beyond that of `usual` values, in bytes.
    pub(super) fn bytes(&self, usual: usize) -> usize {
        let (count, size) = match self {
            Places::Ring(ring) => (ring.len(), size_of::<T>()),
            Places::Sorted(sorted) => (sorted.len(), size_of::<(u64, T)>()),
        };
        count.saturating_sub(usual) * size
    }

    /// Drops all values and frees the memory.
    pub(super) fn clear(&mut self) {
        match self {
            Places::Ring(ring) => *ring = Vec::new(),
            Places::Sorted(sorted) => sorted.clear(),
        }
    }

    /// Drops all values and keeps the memory.
    pub(super) fn empty(&mut self) {
        match self {
            Places::Ring(ring) => ring.fill_with(T::default),
            Places::Sorted(sorted) => sorted.clear(),
        }
    }

    /// Makes room for `numbers` numbers (a power of two) from the base on.
    pub(super) fn reserve(&mut self, base: u64, numbers: usize) {
        let Places::Ring(ring) = self else { return };
        if numbers <= ring.len() {
            return;
        }
        let mut larger: Vec<T> = Vec::new();
        larger.resize_with(numbers, T::default);
        for number in base..base + ring.len() as u64 {
            let index = number as usize & (ring.len() - 1);
            larger[number as usize & (numbers - 1)] = mem::take(&mut ring[index]);
        }
        *ring = larger;
    }

    /// The value at a number; `None` if there is none, or if it is beyond a ring's room.
    #[inline(always)]
    pub(super) fn get(&self, base: u64, number: u64) -> Option<&T> {
        match self {
            Places::Ring(ring) => (number >= base && number - base < ring.len() as u64)
                .then(|| &ring[number as usize & (ring.len() - 1)]),
            Places::Sorted(sorted) => sorted.get(&number).filter(|_| number >= base),
        }
    }

    /// Mutable access to the value at a number within the room.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self {
            Places::Ring(ring) => {
                let index = number as usize & ring.len().wrapping_sub(1);
                ring.get_mut(index).filter(|value| !value.is_empty())
            }
            Places::Sorted(sorted) => sorted.get_mut(&number),
        }
    }

    /// Sets the value at a number within the room.
    #[inline(always)]
    pub(super) fn put(&mut self, number: u64, value: T) {
        match self {
            Places::Ring(ring) => {
                let index = number as usize & (ring.len() - 1);
                ring[index] = value;
            }
            Places::Sorted(sorted) => _ = sorted.insert(number, value),
        }
    }

    /// Removes the value at a number within the room.
    #[inline(always)]
    pub(super) fn take(&mut self, number: u64) -> T {
        match self {
            Places::Ring(ring) => {
                let index = number as usize & (ring.len() - 1);
                mem::take(&mut ring[index])
            }
            Places::Sorted(sorted) => sorted.remove(&number).unwrap_or_default(),
        }
    }

    /// The first number from `from` on and below `to` that has a value.
    pub(super) fn first(&self, base: u64, from: u64, to: u64) -> Option<u64> {
        match self {
            Places::Ring(ring) => {
                let to = to.min(base + ring.len() as u64);
                (from.max(base)..to).find(|number| !ring[*number as usize & (ring.len() - 1)].is_empty())
            }
            Places::Sorted(sorted) if from < to => sorted.range(from..to).next().map(|(number, _)| *number),
            Places::Sorted(_) => None,
        }
    }

    /// The last number below `to` that has a value, in a sorted map.
    pub(super) fn last_sorted(&self, to: u64) -> Option<(u64, &T)> {
        match self {
            Places::Ring(_) => None,
            Places::Sorted(sorted) => sorted.range(..to).next_back().map(|(number, value)| (*number, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Place for u32 {
        fn is_empty(&self) -> bool {
            *self == 0
        }
    }

    proptest! {
        /// Ring and sorted map behave alike, also after a ring was converted.
        #[test]
        fn a_ring_and_sorted_values_agree(
            steps in prop::collection::vec((0_u64..100, 0_u32..4, any::<bool>()), 1..200),
            change in 0_usize..200,
        ) {
            let (mut ring, mut sorted, mut both) = (Places::new(), Places::new(), Places::new());
            sorted.sort(0);
            let mut base = 0;
            for (step, (offset, value, advance)) in steps.into_iter().enumerate() {
                if step == change {
                    both.sort(base);
                }
                if advance {
                    for places in [&mut ring, &mut sorted, &mut both] {
                        while let Some(number) = places.first(base, base, base + offset) {
                            places.take(number);
                        }
                    }
                    base += offset;
                }
                let number = base + offset;
                for places in [&mut ring, &mut sorted, &mut both] {
                    places.reserve(base, 128);
                    if value > 0 {
                        places.put(number, value);
                    } else {
                        places.take(number);
                    }
                }
                for number in base..base + 128 {
                    let value = |places: &Places<u32>| places.get(base, number).copied().unwrap_or(0);
                    let first = |places: &Places<u32>| places.first(base, number, base + 100);
                    prop_assert_eq!((value(&ring), first(&ring)), (value(&sorted), first(&sorted)));
                    prop_assert_eq!((value(&ring), first(&ring)), (value(&both), first(&both)));
                }
            }
        }
    }
}
