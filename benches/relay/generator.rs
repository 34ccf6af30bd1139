//! The paced generator: a thread that wakes every millisecond and sends the datagrams of all
//! streams that are due in one `sendmmsg`.

use std::{
    io,
    net::SocketAddrV4,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tidecast_net::clock;

use crate::{
    packet::{Format, Maker},
    socket,
    sys::{Burst, Sender, Slots},
};

/// Interval at which it wakes.
const TURN: Duration = Duration::from_millis(1);
/// Maximum delay that is made up for: after a longer one, the missed datagrams would form a burst
/// that does not occur in networks.
const LATE_MAX: Duration = Duration::from_millis(50);
/// Datagrams per `sendmmsg`.
const BATCH: usize = 256;

/// The traffic to send.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// One group per stream.
    pub(crate) groups: Vec<SocketAddrV4>,
    /// Format of the datagrams.
    pub(crate) format: Format,
    /// Datagrams per second and stream.
    pub(crate) rate: f64,
    /// Content of a film; not used by other formats.
    pub(crate) film: Vec<u8>,
}

/// State shared by the thread and its owner.
struct Shared {
    stop: AtomicBool,
    /// Number of datagrams sent per stream, which is also the next number of each.
    sent: Vec<AtomicU64>,
    /// Maximum delay of a turn so far, in nanoseconds.
    late: AtomicU64,
}

/// A running generator.
pub(crate) struct Generator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Generator {
    /// Starts to send.
    pub(crate) fn start(plan: Plan) -> io::Result<Generator> {
        let sent = plan.groups.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), sent, late: AtomicU64::new(0) });
        let line = Line::new(plan, shared.clone())?;
        let thread = thread::Builder::new().name("generator".into()).spawn(move || line.run())?;
        Ok(Generator { shared, thread: Some(thread) })
    }

    /// Returns the datagrams sent so far, per stream.
    pub(crate) fn sent(&self) -> Vec<u64> {
        self.shared.sent.iter().map(|sent| sent.load(Relaxed)).collect()
    }

    /// Returns the maximum delay of a turn since the last call: after a delay, the missed
    /// datagrams are sent in one burst.
    pub(crate) fn take_lateness(&self) -> Duration {
        Duration::from_nanos(self.shared.late.swap(0, Relaxed))
    }

    /// Stops, and returns the total number of datagrams per stream.
    pub(crate) fn stop(mut self) -> Vec<u64> {
        self.halt();
        self.sent()
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has already been printed
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The thread's own state.
struct Line {
    plan: Plan,
    shared: Arc<Shared>,
    socket: socket2::Socket,
    sender: Sender,
    slots: Slots,
    bursts: Vec<Burst>,
    makers: Vec<Maker>,
    next: Vec<u64>,
}

impl Line {
    fn new(plan: Plan, shared: Arc<Shared>) -> io::Result<Line> {
        let makers =
            (0..plan.groups.len() as u32).map(|stream| Maker::new(plan.format, stream, &plan.film)).collect();
        Ok(Line {
            socket: socket::sender()?,
            sender: Sender::new(&plan.groups),
            slots: Slots::new(BATCH, plan.format.len().next_multiple_of(64)),
            bursts: Vec::new(),
            makers,
            next: vec![0; plan.groups.len()],
            plan,
            shared,
        })
    }

    fn run(mut self) {
        let mut start = clock::now();
        let mut due = start;
        while !self.shared.stop.load(Relaxed) {
            let now = clock::now();
            let late = now.saturating_duration_since(due);
            self.shared.late.fetch_max(late.as_nanos() as u64, Relaxed);
            start += late.saturating_sub(LATE_MAX);
            self.send_due(now - start);
            // The next turn is after the time of the last one, even if sending took longer than a
            // turn.
            due = next_turn(start, now);
            thread::sleep(due.saturating_duration_since(clock::now()));
        }
    }

    /// Sends the datagrams of each stream that are due. The streams are out of phase, as in a
    /// network.
    fn send_due(&mut self, elapsed: Duration) {
        let streams = self.plan.groups.len();
        for stream in 0..streams {
            let phase = stream as f64 / streams as f64;
            let due = (elapsed.as_secs_f64() * self.plan.rate + phase) as u64;
            while self.next[stream] < due {
                self.push(stream);
            }
        }
        self.flush();
    }

    fn push(&mut self, stream: usize) {
        let slot = self.bursts.len();
        let datagram = self.makers[stream].make(self.next[stream]);
        self.slots.fill(slot, datagram.len()).copy_from_slice(datagram);
        self.next[stream] += 1;
        self.bursts.push(Burst { slots: slot..slot + 1, targets: stream..stream + 1 });
        if self.bursts.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.bursts.is_empty() {
            return;
        }
        self.sender.send(self.socket.as_fd(), &self.slots, &self.bursts);
        self.bursts.clear();
        for (sent, next) in self.shared.sent.iter().zip(&self.next) {
            sent.store(*next, Relaxed);
        }
    }
}

/// Returns the time of the next whole turn after `now`.
fn next_turn(start: Instant, now: Instant) -> Instant {
    let turns = (now - start).as_nanos() / TURN.as_nanos() + 1;
    start + TURN * turns as u32
}
