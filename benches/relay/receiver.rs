//! Counting receivers: one thread with one epoll, one socket per target, every datagram identified
//! by its number. Of each datagram only the head is copied, and the sockets are read at intervals
//! of some milliseconds, so that counting costs little compared with the measured program.

use std::{
    io,
    net::SocketAddrV4,
    ops::Range,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::{
    packet::{self, Format},
    socket,
    sys::{self, Slots},
};

/// How long datagrams accumulate in the sockets; their buffers hold many more.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes copied of a datagram: all headers, and the number after them.
const HEAD_BYTES: usize = 64;
const BATCH: usize = 64;
const EVENTS: usize = 64;

/// Counters of one target for the numbers that count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Datagrams, counting each number once.
    pub(crate) received: u64,
    /// Datagrams whose number had been received before.
    pub(crate) duplicates: u64,
    /// Datagrams that arrived after one with a higher number.
    pub(crate) reordered: u64,
    /// Datagrams dropped by the receiver's own socket, which is not the relay's fault.
    pub(crate) dropped_here: u64,
    highest: Option<u64>,
    seen: Vec<u64>,
}

impl Tally {
    fn count(&mut self, offset: u64) {
        let (word, bit) = ((offset / 64) as usize, 1 << (offset % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1024, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.received += 1;
        match self.highest {
            Some(highest) if offset < highest => self.reordered += 1,
            _ => self.highest = Some(offset),
        }
    }
}

/// State shared by the thread and its owner.
struct Shared {
    stop: AtomicBool,
    /// Number of targets that received anything.
    reached: AtomicUsize,
    /// The first number that counts, per stream.
    floors: Vec<AtomicU64>,
}

/// Running receivers.
pub(crate) struct Receivers {
    /// Their addresses, `fan_out` for each stream in turn.
    pub(crate) addresses: Vec<SocketAddrV4>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<Vec<Tally>>>>,
}

impl Receivers {
    /// Opens `fan_out` sockets for each of `streams`. Nothing is counted before
    /// [`Receivers::count_from`].
    pub(crate) fn start(streams: usize, fan_out: usize, format: Format) -> io::Result<Receivers> {
        let floors = (0..streams).map(|_| AtomicU64::new(u64::MAX)).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), reached: AtomicUsize::new(0), floors });
        let opened: io::Result<Vec<_>> = (0..streams * fan_out).map(|_| socket::receiver()).collect();
        let (sockets, addresses): (Vec<_>, Vec<_>) = opened?.into_iter().unzip();
        let counter = Counter::new(sockets, fan_out, format.number(), shared.clone())?;
        let thread = thread::Builder::new().name("receivers".into()).spawn(move || counter.run())?;
        Ok(Receivers { addresses, shared, thread: Some(thread) })
    }

    /// Returns whether every target received something.
    pub(crate) fn all_reached(&self) -> bool {
        self.shared.reached.load(Relaxed) == self.addresses.len()
    }

    /// Returns the number of targets that received something.
    pub(crate) fn reached(&self) -> usize {
        self.shared.reached.load(Relaxed)
    }

    /// Starts to count at these numbers, one per stream.
    pub(crate) fn count_from(&self, numbers: &[u64]) {
        for (floor, number) in self.shared.floors.iter().zip(numbers) {
            floor.store(*number, Relaxed);
        }
    }

    /// Reads what is still in the sockets, and returns the counters of each target.
    pub(crate) fn stop(mut self) -> io::Result<Vec<Tally>> {
        self.shared.stop.store(true, Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().map_err(|_| io::Error::other("the receivers' thread panicked"))?
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
    }
}

/// The thread's own state.
struct Counter {
    sockets: Vec<Socket>,
    tallies: Vec<Tally>,
    reached: Vec<bool>,
    /// Drops of each socket before counting started.
    drops_before: Option<Vec<u32>>,
    fan_out: usize,
    number: Range<usize>,
    epoll: Epoll,
    slots: Slots,
    shared: Arc<Shared>,
}

impl Counter {
    fn new(
        sockets: Vec<Socket>,
        fan_out: usize,
        number: Range<usize>,
        shared: Arc<Shared>,
    ) -> io::Result<Counter> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (i, socket) in sockets.iter().enumerate() {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, i as u64))?;
        }
        let count = sockets.len();
        Ok(Counter {
            sockets,
            tallies: vec![Tally::default(); count],
            reached: vec![false; count],
            drops_before: None,
            fan_out,
            number,
            epoll,
            slots: Slots::new(BATCH, HEAD_BYTES),
            shared,
        })
    }

    fn run(mut self) -> io::Result<Vec<Tally>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.shared.stop.load(Relaxed) {
            let count = self.wait(&mut events)?;
            for event in &events[..count] {
                self.drain(event.data() as usize)?;
            }
            self.note_drops();
            if count < EVENTS {
                thread::sleep(PAUSE);
            }
        }
        for target in 0..self.sockets.len() {
            self.drain(target)?;
        }
        self.add_drops();
        Ok(self.tallies)
    }

    fn wait(&self, events: &mut [EpollEvent]) -> io::Result<usize> {
        match self.epoll.wait(events, EpollTimeout::from(50_u16)) {
            Err(nix::errno::Errno::EINTR) => Ok(0),
            result => Ok(result?),
        }
    }

    fn drain(&mut self, target: usize) -> io::Result<()> {
        let floor = self.shared.floors[target / self.fan_out].load(Relaxed);
        // Limited, because at a rate that the receivers cannot follow, the other sockets must also
        // be read.
        for _ in 0..64 {
            let count = self.slots.receive(self.sockets[target].as_fd(), 0..BATCH)?;
            if count > 0 && !self.reached[target] {
                self.reached[target] = true;
                self.shared.reached.fetch_add(1, Relaxed);
            }
            for slot in 0..count {
                let number = packet::number(self.slots.bytes(slot), self.number.clone());
                if let Some(offset) = number.and_then(|number| number.checked_sub(floor)) {
                    self.tallies[target].count(offset);
                }
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    fn all_drops(&self) -> Vec<u32> {
        self.sockets.iter().map(|socket| sys::drops(socket.as_fd())).collect()
    }

    /// Records the drops before counting started.
    fn note_drops(&mut self) {
        if self.drops_before.is_none() && self.shared.floors[0].load(Relaxed) != u64::MAX {
            self.drops_before = Some(self.all_drops());
        }
    }

    fn add_drops(&mut self) {
        let Some(before) = self.drops_before.take() else { return };
        let now = self.all_drops();
        for ((tally, now), before) in self.tallies.iter_mut().zip(now).zip(before) {
            tally.dropped_here = u64::from(now.wrapping_sub(before));
        }
    }
}
