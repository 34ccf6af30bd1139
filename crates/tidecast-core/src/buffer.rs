//! The bytes of one datagram, with exactly one owner at a time.
//!
//! `net` receives into a buffer's memory, the buffer *moves* through the core to the outputs, and
//! returns to the [`Pool`]: no copy, no reference count and no allocation per packet.

use std::{fmt, ops::Deref};

use crate::limits::SLOT_BYTES;

/// Owned bytes of one datagram. `Deref`s to the datagram; the memory behind it may be larger.
#[derive(Default)]
pub struct Buffer {
    memory: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// A buffer with [`SLOT_BYTES`] of memory and length 0.
    pub fn slot() -> Buffer {
        Buffer { memory: vec![0; SLOT_BYTES].into_boxed_slice(), len: 0 }
    }

    /// All of the memory, to receive into; call [`Buffer::set_len`] afterwards.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Sets the datagram's length; at most the memory's size (a longer one is cut to it).
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.memory.len());
    }

    /// The datagram, and `room` bytes of the memory behind it. The capacity must suffice.
    pub(crate) fn split_behind(&mut self, room: usize) -> (&[u8], &mut [u8]) {
        let (datagram, rest) = self.memory.split_at_mut(self.len);
        (datagram, &mut rest[..room])
    }

    /// A copy in memory with this much room behind the datagram.
    pub(crate) fn with_room(&self, room: usize) -> Buffer {
        let mut memory = vec![0; self.len + room].into_boxed_slice();
        memory[..self.len].copy_from_slice(self);
        Buffer { memory, len: self.len }
    }

    /// Bytes of memory behind the buffer, which is what limits count.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        let len = bytes.len();
        Buffer { memory: bytes.into_boxed_slice(), len }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Buffer {
        Buffer::from(bytes.to_vec())
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

/// Buffers to receive into. Bounded: surplus buffers are freed.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Buffer>,
    max: usize,
}

impl Pool {
    /// A pool that keeps at most `max` free buffers.
    pub fn new(max: usize) -> Pool {
        Pool { free: Vec::with_capacity(max.min(64)), max }
    }

    /// A buffer with [`SLOT_BYTES`] of memory.
    pub fn get(&mut self) -> Buffer {
        self.free.pop().unwrap_or_else(Buffer::slot)
    }

    /// Returns a buffer. A buffer of another size is freed.
    pub fn put(&mut self, mut buffer: Buffer) {
        if buffer.capacity() == SLOT_BYTES && self.free.len() < self.max {
            buffer.len = 0;
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_reuses_slots_and_frees_others() {
        let mut pool = Pool::new(1);
        let mut a = pool.get();
        a.memory_mut()[..3].copy_from_slice(b"abc");
        a.set_len(3);
        assert_eq!(&*a, b"abc");
        pool.put(a);
        pool.put(Buffer::slot());
        pool.put(Buffer::from(vec![1, 2, 3]));
        assert_eq!(pool.free.len(), 1);
        assert_eq!(pool.get().len(), 0);
    }
}
