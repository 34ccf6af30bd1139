//! The ring in which a decoder keeps the state of each number.

use std::{mem, ops::Range};

use super::Sum;

/// State of a number.
#[derive(Debug)]
pub(super) enum Content {
    Original(Sum),
    Rebuilt(Sum),
    /// Two contents came: one of them is forged, so neither is used.
    Disputed,
    Hopeless,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    content: Content,
}

/// A range of numbers not longer than the capacity; the owner makes sure of that.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// A power of two, or empty.
    slots: Vec<Option<Slot>>,
    bytes: usize,
}

impl Window {
    /// Bytes of the shards kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the slots beyond the first `usual`.
    pub(super) fn overhead(&self, usual: usize) -> usize {
        self.slots.len().saturating_sub(usual) * size_of::<Option<Slot>>()
    }

    fn index(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Content> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[self.index(number)].as_ref();
        slot.filter(|slot| slot.number == number).map(|slot| &slot.content)
    }

    /// The shard of a number, if it came or was recovered.
    pub(super) fn sum(&self, number: u64) -> Option<&Sum> {
        match self.get(number)? {
            Content::Original(sum) | Content::Rebuilt(sum) => Some(sum),
            Content::Disputed | Content::Hopeless => None,
        }
    }

    /// Replaces the state of a number within the capacity.
    pub(super) fn put(&mut self, number: u64, content: Content) {
        let index = self.index(number);
        self.free(index);
        if let Content::Original(sum) | Content::Rebuilt(sum) = &content {
            self.bytes += sum.body.len();
        }
        self.slots[index] = Some(Slot { number, content });
    }

    fn free(&mut self, index: usize) {
        let old = self.slots[index].take().map(|slot| slot.content);
        if let Some(Content::Original(sum) | Content::Rebuilt(sum)) = old {
            self.bytes -= sum.body.len();
        }
    }

    /// Removes these numbers, which must be the lowest ones.
    pub(super) fn forget(&mut self, numbers: Range<u64>) {
        for number in numbers.take(self.slots.len()) {
            let index = self.index(number);
            self.free(index);
        }
    }

    /// Makes room for this many numbers; never shrinks.
    pub(super) fn reserve(&mut self, numbers: u64) {
        let capacity = numbers.next_power_of_two() as usize;
        if capacity <= self.slots.len() {
            return;
        }
        let old = mem::take(&mut self.slots);
        self.slots.resize_with(capacity, || None);
        for slot in old.into_iter().flatten() {
            let index = self.index(slot.number);
            self.slots[index] = Some(slot);
        }
    }
}
