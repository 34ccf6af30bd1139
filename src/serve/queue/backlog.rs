//! What waits for one client, in its order; of the first item a part may be written already.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use tokio::net::TcpStream;

/// What may wait for a client.
pub(in crate::serve) trait Queued {
    /// The bytes that go out: a head, which may be empty, and what follows it.
    fn parts(&self) -> [&[u8]; 2];

    /// The memory that it counts, in bytes.
    fn cost(&self) -> usize;

    /// Whether it answers something that the client has sent.
    fn is_answer(&self) -> bool;
}

/// A queue of items; see the module.
#[derive(Debug)]
pub(in crate::serve) struct Backlog<T> {
    items: VecDeque<T>,
    /// Bytes of the first one that are written already, its head included.
    written: usize,
    /// The cost of all.
    cost: usize,
    /// How many of them are answers.
    answers: usize,
}

/// Writes what the socket takes of a head and what follows it, of which so much is written already.
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
    /// Whether nothing waits.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many items wait.
    pub(in crate::serve) fn len(&self) -> usize {
        self.items.len()
    }

    /// The cost of all that waits.
    pub(in crate::serve) fn cost(&self) -> usize {
        self.cost
    }

    /// How many answers wait.
    pub(in crate::serve) fn answers(&self) -> usize {
        self.answers
    }

    /// The first item.
    pub(in crate::serve) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Lets an item wait behind all others.
    pub(in crate::serve) fn push(&mut self, item: T) {
        self.insert(self.items.len(), item);
    }

    /// Lets the first item wait, of which so many bytes are written.
    pub(in crate::serve) fn push_begun(&mut self, item: T, written: usize) {
        debug_assert!(self.is_empty());
        self.push(item);
        self.written = written;
    }

    /// Lets an answer wait before the next item that is none and not begun.
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

    /// Takes the first item, however much of it is written.
    pub(in crate::serve) fn pop(&mut self) -> Option<T> {
        let first = self.items.pop_front()?;
        self.written = 0;
        self.forget(&first);
        Some(first)
    }

    /// Writes what the socket takes of the first item; gives it if this was its end.
    pub(in crate::serve) fn write(&mut self, stream: &TcpStream) -> io::Result<Option<T>> {
        let Some(first) = self.items.front() else { return Ok(None) };
        let [head, bytes] = first.parts();
        self.written += write(stream, [head, bytes], self.written)?;
        Ok(if self.written >= head.len() + bytes.len() { self.pop() } else { None })
    }

    /// Takes the oldest item that is no answer and not begun, unless it is the newest.
    pub(in crate::serve) fn skip(&mut self) -> Option<T> {
        let mut places = self.begun()..self.items.len().saturating_sub(1);
        let place = places.find(|place| !self.items[*place].is_answer())?;
        let skipped = self.items.remove(place)?;
        self.forget(&skipped);
        Some(skipped)
    }

    /// Takes all of these items that are not begun.
    pub(in crate::serve) fn take_unsent(&mut self, these: impl FnMut(&T) -> bool) -> Vec<T> {
        let unsent = self.items.split_off(self.begun());
        let (taken, kept): (Vec<T>, Vec<T>) = unsent.into_iter().partition(these);
        self.items.extend(kept);
        taken.iter().for_each(|item| self.forget(item));
        taken
    }

    /// How many items are partly written.
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

    /// So many bytes, or an answer.
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
