//! Items that wait for one client, in order; the first one may be partly written.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use tokio::net::TcpStream;

/// An item that can wait for a client.
pub(in crate::serve) trait Queued {
    /// The bytes to write: a head, which may be empty, and the rest.
    fn parts(&self) -> [&[u8]; 2];

    /// Memory that it counts as, in bytes.
    fn cost(&self) -> usize;

    /// Whether it answers something that the client has sent.
    fn is_answer(&self) -> bool;
}

/// A queue of items; see the module documentation.
#[derive(Debug)]
pub(in crate::serve) struct Backlog<T> {
    items: VecDeque<T>,
    /// Bytes of the first item that are already written, including its head.
    written: usize,
    /// Sum of the costs.
    cost: usize,
    /// Count of answers.
    answers: usize,
}

/// Writes as much of a head and its rest as the socket takes, starting at byte `written`.
pub(in crate::serve) fn write(stream: &TcpStream, parts: [&[u8]; 2], written: usize) -> io::Result<usize> {
    let [head, bytes] = parts;
    match head.get(written..) {
        Some(head) if !head.is_empty() => {
            stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)])
        }
        _ => stream.try_write(&bytes[written - head.len()..]),
    }
}

impl<T> Default for Backlog<T> {
    fn default() -> Backlog<T> {
        Backlog { items: VecDeque::new(), written: 0, cost: 0, answers: 0 }
    }
}

impl<T: Queued> Backlog<T> {
    /// Whether it is empty.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of items.
    pub(in crate::serve) fn len(&self) -> usize {
        self.items.len()
    }

    /// Sum of the costs.
    pub(in crate::serve) fn cost(&self) -> usize {
        self.cost
    }

    /// Number of answers.
    pub(in crate::serve) fn answers(&self) -> usize {
        self.answers
    }

    /// The first item.
    pub(in crate::serve) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Appends an item.
    pub(in crate::serve) fn push(&mut self, item: T) {
        self.insert(self.items.len(), item);
    }

    /// Adds the first item, of which `written` bytes are written.
    pub(in crate::serve) fn push_begun(&mut self, item: T, written: usize) {
        debug_assert!(self.is_empty());
        self.push(item);
        self.written = written;
    }

    /// Inserts an answer before the first item that is neither an answer nor partly written.
    pub(in crate::serve) fn push_answer(&mut self, answer: T) {
        let before =
            usize::from(self.written > 0 && self.items.front().is_some_and(|item| !item.is_answer()));
        self.insert((before + self.answers).min(self.items.len()), answer);
    }

    fn insert(&mut self, place: usize, item: T) {
        self.cost += item.cost();
        self.answers += usize::from(item.is_answer());
        self.items.insert(place, item);
    }

    /// Removes the first item, even if it is partly written.
    pub(in crate::serve) fn pop(&mut self) -> Option<T> {
        let first = self.items.pop_front()?;
        self.written = 0;
        self.forget(&first);
        Some(first)
    }

    /// Writes as much of the first item as the socket takes; returns the item once it is complete.
    pub(in crate::serve) fn write(&mut self, stream: &TcpStream) -> io::Result<Option<T>> {
        let Some(first) = self.items.front() else { return Ok(None) };
        let [head, bytes] = first.parts();
        self.written += write(stream, [head, bytes], self.written)?;
        Ok(if self.written >= head.len() + bytes.len() { self.pop() } else { None })
    }

    /// Removes the oldest item that is neither an answer nor partly written, unless it is the
    /// newest.
    pub(in crate::serve) fn skip(&mut self) -> Option<T> {
        let mut places = self.begun()..self.items.len().saturating_sub(1);
        let place = places.find(|place| !self.items[*place].is_answer())?;
        let skipped = self.items.remove(place)?;
        self.forget(&skipped);
        Some(skipped)
    }

    /// Removes the matching items that are not partly written.
    pub(in crate::serve) fn take_unsent(&mut self, these: impl FnMut(&T) -> bool) -> Vec<T> {
        let unsent = self.items.split_off(self.begun());
        let (taken, kept): (Vec<T>, Vec<T>) = unsent.into_iter().partition(these);
        self.items.extend(kept);
        taken.iter().for_each(|item| self.forget(item));
        taken
    }

    /// Count of partly written items: 0 or 1.
    fn begun(&self) -> usize {
        usize::from(self.written > 0).min(self.items.len())
    }

    fn forget(&mut self, item: &T) {
        self.cost -= item.cost();
        self.answers -= usize::from(item.is_answer());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An item of this many bytes, or an answer.
    #[derive(Debug, PartialEq, Eq)]
    enum Item {
        Bytes(usize),
        Answer,
    }

    use Item::{Answer, Bytes};

    impl Queued for Item {
        fn parts(&self) -> [&[u8]; 2] {
            [&[], &[]]
        }

        fn cost(&self) -> usize {
            if let Bytes(bytes) = self { *bytes } else { 0 }
        }

        fn is_answer(&self) -> bool {
            *self == Answer
        }
    }

    fn drained(mut backlog: Backlog<Item>) -> Vec<Item> {
        let items = std::iter::from_fn(|| backlog.pop()).collect();
        assert_eq!((backlog.cost(), backlog.answers()), (0, 0));
        items
    }

    #[test]
    fn answers_go_before_what_is_not_begun() {
        let mut backlog = Backlog::default();
        backlog.push_begun(Bytes(1), 1);
        backlog.push(Bytes(2));
        backlog.push_answer(Answer);
        backlog.push_answer(Answer);
        assert_eq!((backlog.cost(), backlog.answers(), backlog.len()), (3, 2, 4));
        assert_eq!(drained(backlog), [Bytes(1), Answer, Answer, Bytes(2)]);
        let mut backlog = Backlog::default();
        backlog.push(Bytes(1));
        backlog.push_answer(Answer);
        assert_eq!(drained(backlog), [Answer, Bytes(1)]);
    }

    #[test]
    fn neither_what_is_begun_nor_the_newest_is_skipped() {
        let mut backlog = Backlog::default();
        backlog.push_begun(Bytes(1), 1);
        (2..=4).for_each(|bytes| backlog.push(Bytes(bytes)));
        backlog.push_answer(Answer);
        assert_eq!([backlog.skip(), backlog.skip(), backlog.skip()], [Some(Bytes(2)), Some(Bytes(3)), None]);
        assert_eq!(drained(backlog), [Bytes(1), Answer, Bytes(4)]);
    }

    #[test]
    fn what_is_begun_is_not_taken_back() {
        let mut backlog = Backlog::default();
        backlog.push_begun(Bytes(1), 1);
        backlog.push(Answer);
        backlog.push(Bytes(2));
        assert_eq!(backlog.take_unsent(|item| !item.is_answer()), [Bytes(2)]);
        assert_eq!(drained(backlog), [Bytes(1), Answer]);
    }
}
