//! Adds repair packets to native datagrams of other senders, for the next hop of a relay.
//!
//! Pure. Data packets come from the packet path in the order of their numbers; the repair packets
//! are sent with them. Each stream has its own source blocks, and a gap in its numbers ends them,
//! since the numbers of a block are consecutive.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, Mutex},
    time::Instant,
};

use foldhash::quality::RandomState;

use super::{block::Blocks, encode::Encoder};
use crate::limits::{BLOCK_CLOSE_AFTER, BLOCK_CLOSE_AFTER_PACED, PROTECTED_FLOWS_MAX, PROTECTED_PACKETS_MAX};
use tidecast_wire::{
    fec::{native::Fec, rs::Codes},
    native::{Kind, Packet, RepairRepr, Repr, SourceShard, TAG},
    seal::{Keyring, SessionKeys},
};

/// Result of adding a data packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was added to a block.
    Added,
    /// Its repair packets would be too long for a datagram.
    TooLong,
    /// Too many streams have open blocks.
    TooManyFlows,
}

/// Makes the repair packets of native streams, all with the same block shape.
#[derive(Debug)]
pub struct Protector {
    fec: Fec,
    codes: Arc<Mutex<Codes>>,
    flows_max: usize,
    flows: HashMap<u32, ProtectedFlow, RandomState>,
    /// Timers for the blocks: one entry for each stream with open ones.
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Keys of sealed streams, whose repair packets are sealed as well.
    keyring: Option<Arc<Keyring>>,
    memory: Vec<u8>,
}

/// One stream.
#[derive(Debug)]
struct ProtectedFlow {
    session: u32,
    /// Number that continues the open blocks.
    next: u64,
    last: Instant,
    scheduled: bool,
    /// Those of the latest packet, if it is sealed.
    keys: Option<SessionKeys>,
    blocks: Blocks,
}

impl ProtectedFlow {
    /// When open blocks are closed although they are not full: when the stream pauses, like a slow
    /// sensor after each reading, or when a receiver would not wait any longer.
    fn deadline(&self) -> Option<Instant> {
        let oldest = self.blocks.oldest()?;
        Some((self.last + BLOCK_CLOSE_AFTER).min(oldest + BLOCK_CLOSE_AFTER_PACED))
    }

    fn close(&mut self, stream: u32, memory: &mut Vec<u8>, mut out: impl FnMut(&[u8])) {
        let (session, keys) = (self.session, self.keys.as_ref());
        self.blocks.close_all(|first, repair| emit(stream, session, keys, first, repair, memory, &mut out));
    }

    /// Uses the key that the packet is sealed with.
    fn follow_key(&mut self, packet: &Packet<'_>, keyring: Option<&Keyring>) {
        let id = packet.key_id();
        if self.session != packet.session() || self.keys.as_ref().map(SessionKeys::id) != id {
            let keys = |id| keyring?.session(id, packet.stream(), packet.session());
            self.keys = id.and_then(keys);
        }
    }
}

fn emit(
    stream: u32,
    session: u32,
    keys: Option<&SessionKeys>,
    sequence: u64,
    repair: &RepairRepr<'_>,
    memory: &mut Vec<u8>,
    mut out: impl FnMut(&[u8]),
) {
    memory.clear();
    repair.emit(memory);
    let mut datagram = Vec::new();
    let (kind, flags, timestamp) = (Kind::Repair, 0, 0);
    let repr = Repr { kind, flags, stream, session, sequence, timestamp, payload: memory };
    match keys {
        Some(keys) => keys.seal(&repr, false, &mut datagram),
        None => repr.emit(&mut datagram),
    }
    out(&datagram);
}

impl Protector {
    /// Creates a protector with this block shape.
    pub fn new(fec: Fec) -> Protector {
        let packets = usize::from(fec.k()) * usize::from(fec.stride());
        Protector {
            fec,
            codes: Arc::default(),
            flows_max: (PROTECTED_PACKETS_MAX / packets).clamp(1, PROTECTED_FLOWS_MAX),
            flows: HashMap::default(),
            timers: BinaryHeap::new(),
            keyring: None,
            memory: Vec::new(),
        }
    }

    /// Seals the repair packets of sealed streams with the same keys.
    pub fn sealed(self, keyring: Option<Arc<Keyring>>) -> Protector {
        Protector { keyring, ..self }
    }

    /// Exchanges the keys.
    pub fn rekey(&mut self, keyring: Arc<Keyring>) {
        for (stream, flow) in &mut self.flows {
            let id = flow.keys.as_ref().map(SessionKeys::id);
            flow.keys = id.and_then(|id| keyring.session(id, *stream, flow.session));
        }
        self.keyring = Some(keyring);
    }

    /// Adds a data packet that is being sent; passes repair packets to send after it to `out`.
    pub fn media(&mut self, now: Instant, packet: &Packet<'_>, mut out: impl FnMut(&[u8])) -> Taken {
        let Repr { stream, session, sequence, flags, timestamp, payload, .. } = packet.repr();
        let tag = packet.key_id().map_or(0, |_| TAG);
        if payload.len() + tag > Encoder::PAYLOAD_BYTES_MAX_FEC {
            return Taken::TooLong;
        }
        if !self.flows.contains_key(&stream) && !self.admit(stream, session, sequence, now) {
            return Taken::TooManyFlows;
        }
        let Protector { flows, timers, memory, keyring, .. } = self;
        let Some(flow) = flows.get_mut(&stream) else { return Taken::TooManyFlows };
        if (flow.session, flow.next) != (session, sequence) {
            flow.close(stream, memory, &mut out);
        }
        flow.follow_key(packet, keyring.as_deref());
        flow.session = session;
        (flow.next, flow.last) = (sequence + 1, now);
        let source = SourceShard { flags, timestamp, payload };
        let keys = flow.keys.as_ref();
        let repair =
            |first, repair: &RepairRepr<'_>| emit(stream, session, keys, first, repair, memory, &mut out);
        flow.blocks.push(now, sequence, &source, repair);
        if let Some(at) = flow.deadline().filter(|_| !flow.scheduled) {
            flow.scheduled = true;
            timers.push(Reverse((at, stream)));
        }
        Taken::Added
    }

    /// Makes room for one more stream, if necessary from one without open blocks, which loses
    /// nothing.
    fn admit(&mut self, stream: u32, session: u32, next: u64, now: Instant) -> bool {
        let mut blocks = None;
        if self.flows.len() >= self.flows_max {
            let idle = self.flows.iter().find(|(_, flow)| !flow.scheduled).map(|(stream, _)| *stream);
            let Some(idle) = idle else { return false };
            blocks = self.flows.remove(&idle).map(|flow| flow.blocks);
        }
        let blocks = blocks.unwrap_or_else(|| Blocks::new(self.fec, Arc::clone(&self.codes)));
        let (scheduled, keys) = (false, None);
        self.flows.insert(stream, ProtectedFlow { session, next, last: now, scheduled, keys, blocks });
        true
    }

    /// When to call [`Protector::poll`].
    pub fn due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Closes the blocks that have waited long enough.
    pub fn poll(&mut self, now: Instant, mut out: impl FnMut(&[u8])) {
        while self.due().is_some_and(|at| at <= now) {
            let Some(Reverse((_, stream))) = self.timers.pop() else { return };
            let Some(flow) = self.flows.get_mut(&stream) else { continue };
            if flow.deadline().is_some_and(|at| at <= now) {
                flow.close(stream, &mut self.memory, &mut out);
            }
            let deadline = flow.deadline();
            flow.scheduled = deadline.is_some();
            self.timers.extend(deadline.map(|at| Reverse((at, stream))));
        }
    }

    /// Closes all blocks at the end.
    pub fn finish(&mut self, mut out: impl FnMut(&[u8])) {
        self.timers.clear();
        for (stream, flow) in &mut self.flows {
            flow.scheduled = false;
            flow.close(*stream, &mut self.memory, &mut out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidecast_wire::seal::{Key, Sealer};

    use super::*;
    use crate::clock;
    use tidecast_wire::native::Repair;

    fn data(stream: u32, session: u32, sequence: u64) -> Vec<u8> {
        let payload = vec![sequence as u8; 10 + sequence as usize % 7];
        let mut bytes = Vec::new();
        let (kind, flags, timestamp) = (Kind::Data, 0, 1000 + sequence);
        Repr { kind, flags, stream, session, sequence, timestamp, payload: &payload }.emit(&mut bytes);
        bytes
    }

    /// Stream, session, first number, k, index and stride of a repair packet.
    type Shape = (u32, u32, u64, usize, usize, u64);

    fn shape(bytes: &[u8]) -> Shape {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!(packet.kind(), Kind::Repair);
        let repair = Repair::parse(packet.payload()).unwrap();
        let (k, index, stride) = (repair.k(), repair.index(), repair.stride());
        (packet.stream(), packet.session(), packet.sequence(), k, index, stride)
    }

    struct Bench {
        protector: Protector,
        now: Instant,
        out: Vec<Shape>,
    }

    impl Bench {
        fn new(fec: &str) -> Bench {
            Bench { protector: Protector::new(fec.parse().unwrap()), now: clock::now(), out: Vec::new() }
        }

        fn send(&mut self, stream: u32, session: u32, sequence: u64) -> Taken {
            let bytes = data(stream, session, sequence);
            let packet = Packet::parse(&bytes).unwrap();
            let out = &mut self.out;
            self.protector.media(self.now, &packet, |bytes| out.push(shape(bytes)))
        }

        fn poll(&mut self) -> Vec<Shape> {
            let out = &mut self.out;
            self.protector.poll(self.now, |bytes| out.push(shape(bytes)));
            std::mem::take(out)
        }
    }

    #[test]
    fn full_blocks_have_their_repair_packets_at_once() {
        let mut bench = Bench::new("4,2");
        (7..16).for_each(|number| assert_eq!(bench.send(1, 9, number), Taken::Added));
        let block = |first, index| (1, 9, first, 4, index, 1);
        assert_eq!(bench.out, [block(7, 0), block(7, 1), block(11, 0), block(11, 1)]);
    }

    #[test]
    fn a_gap_and_a_new_session_close_the_blocks_before_them() {
        let mut bench = Bench::new("4,1,2");
        for (session, number) in [(9, 0), (9, 1), (9, 2), (9, 5), (9, 6), (8, 0), (8, 1)] {
            bench.send(1, session, number);
        }
        bench.protector.finish(|bytes| bench.out.push(shape(bytes)));
        let expected = [
            (1, 9, 0, 2, 0, 2),
            (1, 9, 1, 1, 0, 2),
            (1, 9, 5, 1, 0, 2),
            (1, 9, 6, 1, 0, 2),
            (1, 8, 0, 1, 0, 2),
            (1, 8, 1, 1, 0, 2),
        ];
        assert_eq!(bench.out, expected);
        assert_eq!(bench.protector.due(), None);
    }

    #[test]
    fn a_pause_closes_a_block_and_a_slow_stream_fills_it_for_as_long_as_is_waited_for() {
        let mut bench = Bench::new("20,1");
        let start = bench.now;
        bench.send(1, 9, 0);
        bench.send(2, 9, 0);
        assert_eq!(bench.protector.due(), Some(start + BLOCK_CLOSE_AFTER));
        bench.now = start + BLOCK_CLOSE_AFTER - Duration::from_millis(1);
        bench.send(1, 9, 1);
        assert_eq!(bench.poll(), []);
        bench.now = start + BLOCK_CLOSE_AFTER;
        assert_eq!(bench.poll(), [(2, 9, 0, 1, 0, 1)]);
        let mut number = 2;
        while bench.now < start + BLOCK_CLOSE_AFTER_PACED {
            bench.send(1, 9, number);
            number += 1;
            bench.now += Duration::from_millis(33);
            let closed = bench.poll();
            assert_eq!(closed.is_empty(), bench.now < start + BLOCK_CLOSE_AFTER_PACED, "{closed:?}");
            assert!(closed.iter().all(|block| *block == (1, 9, 0, number as usize, 0, 1)), "{closed:?}");
        }
        assert_eq!(bench.protector.due(), None);
    }

    #[test]
    fn streams_are_bounded_by_those_with_open_blocks() {
        let mut bench = Bench::new("128,1,128");
        let max = bench.protector.flows_max;
        assert_eq!(max, PROTECTED_PACKETS_MAX / (128 * 128));
        for stream in 0..max as u32 {
            assert_eq!(bench.send(stream, 9, 0), Taken::Added);
        }
        assert_eq!(bench.send(99, 9, 0), Taken::TooManyFlows);
        assert_eq!(bench.send(0, 9, 1), Taken::Added, "those there are not pushed out");
        bench.now += BLOCK_CLOSE_AFTER_PACED;
        assert_eq!(bench.poll().len(), max + 1);
        assert_eq!(bench.send(99, 9, 1), Taken::Added);
        assert_eq!(bench.protector.flows.len(), max);
    }

    #[test]
    fn repair_packets_of_a_sealed_stream_are_sealed_with_its_key() {
        let keys: Vec<Key> = (1..3).map(|id| format!("{id}:{}", "ab".repeat(32)).parse().unwrap()).collect();
        let keyring = Arc::new(Keyring::new(keys.clone()).unwrap());
        let mut protector = Protector::new(Fec::new(2, 1, 1).unwrap()).sealed(Some(keyring.clone()));
        let mut repairs = Vec::new();
        for number in 0..8 {
            // The producer changes its key, and later its session.
            let (key, session) = [(0, 5), (0, 5), (1, 5), (1, 6)][number / 2];
            let sealer = Sealer::new(&keys[key], 7, session, true).unwrap();
            let mut datagram = Vec::new();
            let (kind, flags, sequence, timestamp) = (Kind::Data, 0, number as u64, 1);
            let repr = Repr { kind, flags, stream: 7, session, sequence, timestamp, payload: b"x" };
            sealer.seal(&repr, &mut datagram);
            let packet = Packet::parse(&datagram).unwrap();
            protector.media(clock::now(), &packet, |repair| repairs.push(repair.to_vec()));
        }
        let opened = |datagram: &Vec<u8>| {
            let packet = Packet::parse(datagram).unwrap();
            let keys = keyring.session(packet.key_id().unwrap(), 7, packet.session()).unwrap();
            assert!(keys.open(&packet, datagram, &mut []));
            (packet.key_id().unwrap(), packet.session(), packet.sequence())
        };
        assert_eq!(
            repairs.iter().map(opened).collect::<Vec<_>>(),
            [(1, 5, 0), (1, 5, 2), (2, 5, 4), (2, 6, 6)]
        );
    }
}
