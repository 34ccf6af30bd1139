//! Answers to NACKs: sent native datagrams are kept for a while and retransmitted on request.
//!
//! [`Answers`] is pure. [`Answering`] has a thread that waits for requests on the sending socket:
//! it answers them independently of the program's other work, and retransmissions do not disturb
//! the pace of sending.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{MsgFlags, recv},
    },
};

use super::socket::Sender;
use tidecast_core::history::{Answer, History, Requests, Settings};
use tidecast_core::limits::REQUEST_NUMBERS_MAX;
use tidecast_net::clock;
use tidecast_wire::{
    limits::REQUEST_BYTES_MAX,
    native::{self, Kind, Nack, Packet, RETRANSMISSION, Repr},
    seal::{Key as SealKey, Sealer},
};

/// How long a producer waits at its end for another request, if there were any: the round-trip
/// time of most networks.
const LINGER_REQUESTS: Duration = Duration::from_millis(200);

/// Stream and sequence number.
type Key = (u32, u64);

/// Sent datagrams of one session of a producer, and the answers to requests for them.
#[derive(Debug)]
pub(crate) struct Answers {
    session: u32,
    history: History<Key>,
    /// The key that requests must be sealed with.
    seal: Option<SealKey>,
    malformed: u64,
    foreign: u64,
}

impl Answers {
    /// Creates a history without datagrams.
    pub(crate) fn new(session: u32, settings: Settings) -> Answers {
        Answers { session, history: History::new(settings), seal: None, malformed: 0, foreign: 0 }
    }

    /// Keeps a sent datagram if it is a data packet: no other type has its own sequence number.
    pub(crate) fn keep(&mut self, now: Instant, datagram: &[u8]) {
        if let Some((stream, number)) = native::data_number(datagram) {
            self.history.keep(now, (stream, number), datagram.to_vec());
        }
    }

    /// Handles a datagram received on the sending socket. Appends the datagrams to retransmit to
    /// `again`.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8], again: &mut Vec<Vec<u8>>) {
        match Packet::parse(datagram) {
            Ok(packet)
                if packet.kind() == Kind::Nack
                    && packet.session() == self.session
                    && self.is_sealed(&packet, datagram) =>
            {
                // The payload was checked together with the packet.
                if let Ok(nack) = Nack::parse(packet.payload()) {
                    self.answer(now, packet.stream(), &nack, again);
                }
            }
            Ok(_) | Err(native::NativeError::Magic { .. } | native::NativeError::Version { .. }) => {
                self.foreign += 1
            }
            Err(_) => self.malformed += 1,
        }
    }

    /// Whether a request is from one who has the key, if there is one.
    fn is_sealed(&self, packet: &Packet<'_>, datagram: &[u8]) -> bool {
        let Some(key) = &self.seal else { return true };
        // Others could have everything sent twice; requests are so rare that nothing is kept for
        // them.
        Sealer::new(key, packet.stream(), self.session, false)
            .is_ok_and(|sealer| sealer.knows(packet, datagram))
    }

    fn answer(&mut self, now: Instant, stream: u32, nack: &Nack<'_>, again: &mut Vec<Vec<u8>>) {
        let mut left = REQUEST_NUMBERS_MAX;
        for (first, count) in nack.iter() {
            let looked_at = left.min(count.into());
            for number in (0..looked_at as u64).filter_map(|i| first.checked_add(i)) {
                if let Answer::Again(datagram) = self.history.ask(now, (stream, number))
                    && let Ok(sent) = Packet::parse(datagram)
                {
                    let mut out = Vec::with_capacity(datagram.len());
                    let flags = sent.flags() | RETRANSMISSION;
                    Repr { flags, ..sent.repr() }.emit(&mut out);
                    again.push(out);
                }
            }
            left -= looked_at;
            self.history.refuse(u64::from(count) - looked_at as u64);
        }
    }

    /// Returns the counters of requests and of their results.
    pub(crate) fn requests(&self) -> Requests {
        Requests { numbers: *self.history.counters(), malformed: self.malformed, foreign: self.foreign }
    }
}

/// Answers the requests received on a [`Sender`]'s socket, in its own thread, until it is dropped.
///
/// A [`Producer`](crate::Producer) has one. A program that creates native datagrams in another way
/// calls [`Answering::keep`] with each datagram before sending it.
///
/// ```
/// use std::time::Instant;
/// use tidecast_producer::{Answering, History, Sender};
///
/// let sender = Sender::open(&"udp://127.0.0.1:7000".parse()?)?;
/// let answering = Answering::start(&sender, 1, History::default())?;
/// let datagram = [0; 32]; // stands for a native datagram of session 1
/// answering.keep(Instant::now(), &datagram);
/// sender.send(&datagram)?;
/// answering.linger(); // returns at once, because there was no request
/// assert_eq!(answering.requests().numbers.requested, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Answering {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    answers: Mutex<Answers>,
    age_max: Duration,
    stop: AtomicBool,
    waker: EventFd,
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        // A panic in the other thread would be a bug; the data is consistent after every call.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answering {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread or a descriptor for it could not be created.
    pub fn start(sender: &Sender, session: u32, settings: Settings) -> io::Result<Answering> {
        let shared = Arc::new(Shared {
            answers: Mutex::new(Answers::new(session, settings)),
            age_max: settings.age_max,
            stop: AtomicBool::new(false),
            waker: EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        });
        let (sender, theirs) = (sender.try_clone()?, shared.clone());
        let thread =
            thread::Builder::new().name("answers".to_owned()).spawn(move || run(&sender, &theirs))?;
        Ok(Answering { shared, thread: Some(thread) })
    }

    /// Answers only requests that are sealed with this key.
    #[cfg(feature = "seal")]
    pub fn require(&self, key: SealKey) {
        self.shared.answers().seal = Some(key);
    }

    /// Keeps a sent datagram.
    pub fn keep(&self, now: Instant, datagram: &[u8]) {
        self.shared.answers().keep(now, datagram);
    }

    /// Returns the counters of requests and of their results.
    pub fn requests(&self) -> Requests {
        self.shared.answers().requests()
    }

    /// Waits at the end of a session while receivers still request packets. Returns at once if
    /// there was never a request: then either no packet was lost, or no receiver sends requests.
    pub fn linger(&self) {
        let (end, mut known) = (clock::now() + self.shared.age_max, Requests::default());
        loop {
            let requests = self.requests();
            if requests.numbers.requested == known.numbers.requested || clock::now() >= end {
                return;
            }
            known = requests;
            thread::sleep(LINGER_REQUESTS);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The counter cannot overflow: it is written once.
        let _ = self.shared.waker.write(1);
        if let Some(thread) = self.thread.take() {
            // The thread returns no value; a panic was reported already.
            let _ = thread.join();
        }
    }
}

fn run(sender: &Sender, shared: &Shared) {
    let mut memory = vec![0; REQUEST_BYTES_MAX];
    let mut again = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut waits = [
            PollFd::new(sender.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.waker.as_fd(), PollFlags::POLLIN),
        ];
        // An error means an interruption by a signal, or an invalid descriptor, which would be a
        // bug; either shows at the receive below.
        let _ = poll(&mut waits, PollTimeout::NONE);
        let Ok(len) = recv(sender.as_fd().as_raw_fd(), &mut memory, MsgFlags::MSG_DONTWAIT) else { continue };
        shared.answers().handle(clock::now(), &memory[..len], &mut again);
        for datagram in again.drain(..) {
            // A receiver that does not get it sends another request.
            let _ = sender.send(&datagram);
        }
    }
}

#[cfg(test)]
mod tests;
