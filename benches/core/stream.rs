//! A stream of datagrams and the relay that receives it. The datagrams are created outside of the
//! timed part, in buffers that are reused as on the packet path, so that neither page faults nor
//! the allocator are measured.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tidecast_core::limits::POOL_SLOTS;
use tidecast_core::{
    buffer::{Buffer, Pool},
    relay::{Config, Delivery, Input, Output, Relay},
};
use tidecast_net::{clock, limits::RECEIVE_BATCH};
use tidecast_wire::{
    Format, native, rtp,
    seal::{Key, Keyring, Sealer},
};

/// Packets between two clock readings: one full receive.
pub(crate) const BATCH: usize = RECEIVE_BATCH;
/// Packets before the timed part: more than recovery needs to learn its parameters, and more than
/// the first measurements of the rate.
const WARM_UP: usize = 8192;
/// Time between two packets: 10,000 packets/s.
const INTERVAL: Duration = Duration::from_micros(100);
/// The flow of the cases that have one, and the session of all.
const FLOW: u32 = 1;
const SESSION: u32 = 2;
const SEED: u64 = 0x7469_6465;

/// The datagrams' format.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Native.
    Native,
    /// Native, each with a tag that is checked.
    Sealed,
    /// The same, and the payload is decrypted.
    Encrypted,
    /// RTP.
    Rtp,
}

impl Kind {
    fn emit(self, flow: u32, number: u64, payload: &[u8], sealer: Option<&Sealer>, out: &mut Vec<u8>) {
        out.clear();
        let timestamp = number * INTERVAL.as_micros() as u64 + 1;
        let (kind, sequence) = (native::Kind::Data, number);
        let native =
            native::Repr { kind, flags: 0, stream: flow, session: SESSION, sequence, timestamp, payload };
        match (self, sealer) {
            (Kind::Rtp, _) => rtp::Repr {
                marker: false,
                payload_type: rtp::PAYLOAD_TYPE_TS,
                sequence: number as u16,
                timestamp: number as u32 * 9,
                ssrc: flow,
                payload,
            }
            .emit(out),
            (_, Some(sealer)) => sealer.seal(&native, out),
            (_, None) => native.emit(out),
        }
    }

    /// What seals the only flow, and the keys of the relay.
    fn seal(self) -> Option<(Sealer, Arc<Keyring>)> {
        let encrypt = match self {
            Kind::Sealed => false,
            Kind::Encrypted => true,
            Kind::Native | Kind::Rtp => return None,
        };
        let key: Key = format!("1:{}", "5a".repeat(32)).parse().expect("a key");
        let sealer = Sealer::new(&key, FLOW, SESSION, encrypt).expect("a key of all streams");
        Some((sealer, Arc::new(Keyring::new(vec![key]).expect("one key"))))
    }
}

/// Order and frequency in which numbers arrive.
#[derive(Clone, Copy)]
pub(crate) enum Path {
    /// As sent.
    InOrder,
    /// 5 % arrive after up to this many later ones.
    Late(u64),
    /// 1 % never arrive.
    Lost,
    /// Each arrives twice.
    Twice,
    /// This many flows alternately.
    Flows(u32),
}

/// One case to measure.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The format.
    pub(crate) kind: Kind,
    /// Bytes of a datagram.
    pub(crate) size: usize,
    /// Disturbance on the path.
    pub(crate) path: Path,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Native => "native, ",
            Kind::Sealed => "sealed, ",
            Kind::Encrypted => "encrypted, ",
            Kind::Rtp => "RTP, ",
        })?;
        match self.path {
            Path::InOrder => write!(f, "in order"),
            Path::Late(max) => write!(f, "5% late by up to {max}"),
            Path::Lost => write!(f, "1% lost"),
            Path::Twice => write!(f, "all twice"),
            Path::Flows(flows) => write!(f, "{flows} flows"),
        }
    }
}

/// Flows and numbers in the order of their arrival.
struct Arrivals {
    path: Path,
    rng: Pcg64,
    next: u64,
    late: BinaryHeap<Reverse<(u64, u64)>>,
    again: Option<(u32, u64)>,
}

impl Arrivals {
    fn new(path: Path) -> Arrivals {
        Arrivals { path, rng: Pcg64::seed_from_u64(SEED), next: 0, late: BinaryHeap::new(), again: None }
    }

    fn take(&mut self) -> (u32, u64) {
        if let Some(again) = self.again.take() {
            return again;
        }
        loop {
            if let Some(Reverse((due, number))) = self.late.peek().copied()
                && due < self.next
            {
                self.late.pop();
                return (FLOW, number);
            }
            let number = self.next;
            self.next += 1;
            match self.path {
                Path::InOrder => return (FLOW, number),
                Path::Flows(flows) => return ((number % u64::from(flows)) as u32, number / u64::from(flows)),
                Path::Lost if self.rng.random_ratio(1, 100) => {}
                Path::Lost => return (FLOW, number),
                Path::Late(max) if self.rng.random_ratio(5, 100) => {
                    self.late.push(Reverse((number + self.rng.random_range(1..=max), number)));
                }
                Path::Late(_) => return (FLOW, number),
                Path::Twice => {
                    self.again = Some((FLOW, number));
                    return (FLOW, number);
                }
            }
        }
    }
}

/// A relay in the middle of a stream, and its input.
pub(crate) struct Bench {
    kind: Kind,
    payload: Vec<u8>,
    sealer: Option<Sealer>,
    arrivals: Arrivals,
    relay: Relay,
    pool: Pool,
    now: Instant,
    due: Option<Instant>,
    batch: VecDeque<(Instant, Buffer)>,
    delivered: Vec<Delivery>,
    scratch: Vec<u8>,
}

impl Bench {
    /// Creates a relay that has already processed its first packets.
    pub(crate) fn new(Case { kind, size, path }: Case) -> Bench {
        let payload = vec![0x47; size - Bench::overhead(kind)];
        let (sealer, seal) = kind.seal().unzip();
        let format = if sealer.is_some() { Format::Native } else { Format::Auto };
        let mut bench = Bench {
            kind,
            payload,
            sealer,
            arrivals: Arrivals::new(path),
            relay: Relay::new(Config { format, seal, ..Config::default() }),
            pool: Pool::new(POOL_SLOTS),
            now: clock::now(),
            due: None,
            batch: VecDeque::with_capacity(BATCH),
            delivered: Vec::with_capacity(8 * BATCH),
            scratch: Vec::new(),
        };
        let warm_up = if let Path::Flows(flows) = path { 300 * flows as usize } else { WARM_UP };
        for _ in 0..warm_up.div_ceil(BATCH) {
            bench.round();
        }
        bench
    }

    fn overhead(kind: Kind) -> usize {
        match kind {
            Kind::Native => native::HEADER + native::TRAILER,
            Kind::Sealed | Kind::Encrypted => native::HEADER + native::TAG + native::TRAILER,
            Kind::Rtp => rtp::HEADER,
        }
    }

    /// Feeds one batch through the relay. Returns the time that this took.
    pub(crate) fn round(&mut self) -> Duration {
        self.fill();
        let begun = clock::now();
        self.run();
        let taken = clock::now().saturating_duration_since(begun);
        for delivery in self.delivered.drain(..) {
            self.pool.put(delivery.packet.bytes);
        }
        self.relay.reclaim(&mut self.pool);
        taken
    }

    fn fill(&mut self) {
        for _ in 0..BATCH {
            let (flow, number) = self.arrivals.take();
            self.kind.emit(flow, number, &self.payload, self.sealer.as_ref(), &mut self.scratch);
            let mut buffer = self.pool.get();
            buffer.memory_mut()[..self.scratch.len()].copy_from_slice(&self.scratch);
            buffer.set_len(self.scratch.len());
            self.now += INTERVAL;
            self.batch.push_back((self.now, buffer));
        }
    }

    /// Does the same as the packet path after one receive.
    fn run(&mut self) {
        let source = SocketAddr::from(([127, 0, 0, 1], 5000));
        for (now, bytes) in self.batch.drain(..) {
            self.relay.handle_input(Input::Packet { now, leg: 0, source, bytes });
        }
        self.collect();
        if self.due.is_some_and(|at| at <= self.now) {
            self.relay.handle_input(Input::Timeout { now: self.now });
            self.collect();
        }
    }

    fn collect(&mut self) {
        loop {
            match self.relay.poll_output() {
                Output::Deliver(delivery) => self.delivered.push(delivery),
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
                output => drop(black_box(output)),
            }
        }
    }
}
