//! Messages that are sent in parts: all parts carry the message's number, their index and the
//! count of parts. Each part gets its own number: the parts of a message are consecutive, and
//! those of the next message follow.

use std::collections::VecDeque;

use crate::{
    limits::{PARTS_MESSAGES_MAX, SCALE_START},
    seq::Space,
};

#[derive(Clone, Copy, Debug)]
struct Message {
    /// Number of its first part.
    first: u64,
    parts: u64,
}

/// The latest messages of a stream.
#[derive(Debug)]
pub(super) struct Parts {
    space: Space,
    /// Extended number of the first one.
    oldest: u64,
    /// Messages from that one on, without gaps.
    messages: VecDeque<Message>,
    /// Another numbering that contradicts this one.
    other: Option<Box<Parts>>,
}

impl Parts {
    pub(super) fn new(space: Space) -> Parts {
        Parts { space, oldest: 0, messages: VecDeque::new(), other: None }
    }

    /// The number of a part. `None` if its message was assumed to have fewer parts.
    pub(super) fn place(&mut self, wire: u64, index: u64, count: u64) -> Option<u64> {
        let count = count.max(index.saturating_add(1)).min(u64::from(u32::MAX));
        let Some((newest, last)) = self.newest() else {
            self.begin(wire, SCALE_START, count);
            return Some(SCALE_START + index);
        };
        let number = self.space.extend(newest, wire);
        if number < self.oldest || number > newest + PARTS_MESSAGES_MAX {
            return Some(self.elsewhere(number, (newest, last), wire, index, count));
        }
        self.other = None;
        if number > newest {
            self.append(number - newest - 1, last, count);
        }
        let message = self.messages.get((number - self.oldest) as usize)?;
        (index < message.parts).then(|| message.first + index)
    }

    fn newest(&self) -> Option<(u64, Message)> {
        let last = self.messages.back()?;
        Some((self.oldest + self.messages.len() as u64 - 1, *last))
    }

    fn begin(&mut self, wire: u64, first: u64, parts: u64) {
        // One whole number space higher, so that earlier numbers stay above 0.
        self.oldest = self.space.modulus().unwrap_or(0) + wire;
        self.messages = [Message { first, parts }].into();
        self.other = None;
    }

    /// Adds the next message, after some missing ones, which are assumed to be as long as their
    /// neighbours.
    fn append(&mut self, missing: u64, last: Message, count: u64) {
        let each = if last.parts == count { count } else { 1 };
        let mut first = last.first + last.parts;
        for _ in 0..missing {
            self.messages.push_back(Message { first, parts: each });
            first += each;
        }
        self.messages.push_back(Message { first, parts: count });
        while self.messages.len() as u64 > PARTS_MESSAGES_MAX {
            self.messages.pop_front();
            self.oldest += 1;
        }
    }

    /// A distant message. The numbering restarts there when a second datagram agrees.
    fn elsewhere(
        &mut self,
        number: u64,
        (newest, last): (u64, Message),
        wire: u64,
        index: u64,
        count: u64,
    ) -> u64 {
        if let Some(mut other) = self.other.take()
            && let Some((reference, _)) = other.newest()
            && other.space.extend(reference, wire).abs_diff(reference) <= PARTS_MESSAGES_MAX
            && let Some(placed) = other.place(wire, index, count)
        {
            *self = *other;
            return placed;
        }
        // Ahead, the messages in between are missing; behind, the producer has restarted.
        let first = if number > newest {
            last.first + last.parts + (number - newest - 1)
        } else {
            let front = self.messages.front().map_or(last.first, |front| front.first);
            front
                .saturating_sub((self.oldest - number).saturating_add(PARTS_MESSAGES_MAX))
                .saturating_sub(count)
        };
        let mut other = Parts::new(self.space);
        other.begin(wire, first, count);
        self.other = Some(Box::new(other));
        first + index
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn parts() -> Parts {
        Parts::new(Space::new(1 << 16).unwrap())
    }

    /// Numbers from the first one on.
    fn placed(parts: &mut Parts, datagrams: &[(u64, u64, u64)]) -> Vec<Option<i64>> {
        let place = |&(wire, index, count): &(u64, u64, u64)| parts.place(wire, index, count);
        datagrams
            .iter()
            .map(place)
            .map(|number| number.map(|number| number as i64 - SCALE_START as i64))
            .collect()
    }

    #[test]
    fn parts_and_messages_follow_each_other() {
        let row = [(65_535, 0, 1), (0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 2), (1, 1, 2), (2, 0, 1)];
        assert_eq!(placed(&mut parts(), &row), (0..7).map(Some).collect::<Vec<_>>());
        // late, duplicate, and in any order
        let row = [(0, 0, 3), (1, 1, 2), (0, 2, 3), (1, 0, 2), (0, 1, 3), (0, 1, 3)];
        assert_eq!(placed(&mut parts(), &row), [0, 4, 2, 3, 1, 1].map(Some));
    }

    #[test]
    fn missing_messages_count_as_their_neighbours_or_one() {
        assert_eq!(placed(&mut parts(), &[(5, 3, 4), (8, 0, 4), (7, 2, 4)]), [3, 12, 10].map(Some));
        let row = [(5, 0, 1), (8, 0, 4), (7, 0, 3), (7, 1, 3), (6, 0, 1)];
        assert_eq!(placed(&mut parts(), &row), [Some(0), Some(3), Some(2), None, Some(1)]);
    }

    #[test]
    fn one_far_off_moves_nothing_and_two_do() {
        let mut parts = parts();
        assert_eq!(placed(&mut parts, &[(9000, 0, 2), (9000, 1, 2)]), [0, 1].map(Some));
        assert_eq!(placed(&mut parts, &[(20_000, 1, 2)]), [Some(2 + 10_999 + 1)]);
        assert_eq!(placed(&mut parts, &[(9001, 0, 2)]), [Some(2)]);
        let back = placed(&mut parts, &[(0, 0, 1), (1, 0, 1), (2, 0, 2), (2, 1, 2)]);
        let first = back[0].unwrap();
        assert!(first < -9000);
        assert_eq!(back, [first, first + 1, first + 2, first + 3].map(Some));
    }

    proptest! {
        #[test]
        fn anything_is_placed_without_a_panic(
            datagrams in vec((any::<u16>(), 0u64..1 << 24, 0u64..1 << 24), 0..200),
            near in any::<bool>(),
        ) {
            let mut parts = parts();
            for (wire, index, count) in datagrams {
                parts.place(u64::from(if near { wire % 3000 } else { wire }), index, count);
                prop_assert!(parts.messages.len() as u64 <= PARTS_MESSAGES_MAX);
            }
        }
    }
}
