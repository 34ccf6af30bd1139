//! A lossy path between two programs that use RTP with RTCP on the next higher port: media goes
//! one way and is lost at random and in bursts, RTCP goes both ways and is lost at random if
//! configured. Both can be delayed.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::now;

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Maximum number of delayed datagrams in one direction.
const UNDER_WAY: usize = 4096;
/// Time until a thread notices that it is to end.
const GLANCE: Duration = Duration::from_millis(20);

/// Losses of media packets: each at random with the same probability, and `burst` consecutive ones
/// in every `period`, from the packet with the index `first` until `last` (retransmissions do not
/// count, but can be lost, too). A receiver cannot detect losses before the first packet that it
/// received, or losses at the end after which nothing follows.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    pub seed: u64,
    pub chance: f64,
    pub burst: u64,
    pub period: u64,
    pub first: u64,
    pub last: u64,
    /// Probability that an RTCP datagram is lost, in each direction.
    pub control: f64,
    /// Delay of a datagram, in each direction.
    pub delay: Duration,
}

impl Losses {
    /// Returns losses of 10 % at random, and of 20 consecutive packets in every 400.
    pub fn heavy(seed: u64, first: u64, last: u64) -> Losses {
        let (control, delay) = (0.0, Duration::ZERO);
        Losses { seed, chance: 0.1, burst: 20, period: 400, first, last, control, delay }
    }

    /// Returns random losses with this probability, also of RTCP, on a path with this round-trip
    /// time.
    pub fn both_ways(seed: u64, chance: f64, round_trip: Duration, first: u64, last: u64) -> Losses {
        let delay = round_trip / 2;
        Losses { seed, chance, burst: 0, period: 0, first, last, control: chance, delay }
    }

    /// Returns a function that decides for each RTCP datagram whether it is lost.
    fn judge_control(self, direction: u64) -> impl FnMut() -> bool + Send {
        let mut random = Pcg32::seed_from_u64(self.seed ^ direction);
        move || random.random::<f64>() < self.control
    }

    /// Returns a function that decides for each packet whether it is lost; its argument is whether
    /// the packet is a retransmission.
    fn judge(self) -> impl FnMut(bool) -> bool + Send {
        let (mut random, mut count, mut originals) = (Pcg32::seed_from_u64(self.seed), 0, 0);
        move |again| {
            count += 1;
            originals += u64::from(!again);
            let in_burst = self.period > 0 && count % self.period >= self.period - self.burst;
            // drawn for every packet, so that the bursts do not shift the other decisions
            let unlucky = random.random::<f64>() < self.chance;
            (self.first + 1..=self.last).contains(&originals) && (unlucky || in_burst)
        }
    }
}

/// Counters of the packets that passed.
#[derive(Debug, Default)]
pub struct Census {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
    /// Retransmitted media packets (by the SSRC's lowest bit), including lost ones.
    pub again: AtomicU64,
    /// RTCP datagrams from the sender, and to it.
    pub reports: AtomicU64,
    pub requests: AtomicU64,
}

/// Sends a datagram at once, or after its delay.
struct Outlet {
    socket: UdpSocket,
    later: Option<SyncSender<(Instant, Vec<u8>, SocketAddr)>>,
    delay: Duration,
}

impl Outlet {
    /// The thread that sends delayed datagrams ends with the outlet.
    fn new(socket: UdpSocket, delay: Duration) -> Outlet {
        let later = (!delay.is_zero()).then(|| {
            let (later, due) = sync_channel::<(Instant, Vec<u8>, SocketAddr)>(UNDER_WAY);
            let socket = socket.try_clone().expect("clone");
            thread::spawn(move || {
                for (at, bytes, to) in due {
                    thread::sleep(at.saturating_duration_since(now()));
                    let _ = socket.send_to(&bytes, to);
                }
            });
            later
        });
        Outlet { socket, later, delay }
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) {
        match &self.later {
            // the receiver may not be listening yet
            None => _ = self.socket.send_to(bytes, to),
            Some(later) => {
                later.try_send((now() + self.delay, bytes.to_vec(), to)).expect("room on the path")
            }
        }
    }
}

/// Handles a datagram received on a socket, with its sender.
type Each = Box<dyn FnMut(&[u8], SocketAddr) + Send>;

/// The path; it ends when it is dropped.
pub struct LossyPath {
    census: Arc<Census>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl LossyPath {
    /// Opens a path from the media's address `from` to `to`, with RTCP from and to the ports
    /// above. Each is a group, joined on and sent to through loopback, or a local address. Replies
    /// go to the last sender of RTCP; a receiver may also send its RTCP to the group `to`, on the
    /// port above.
    pub fn open(from: SocketAddr, to: SocketAddr, losses: Losses) -> LossyPath {
        let (census, stop) = (Arc::<Census>::default(), Arc::<AtomicBool>::default());
        let mut threads = Vec::new();
        let mut start = |socket: UdpSocket, mut each: Each| {
            let stop = stop.clone();
            socket.set_read_timeout(Some(GLANCE)).expect("time-out");
            threads.push(thread::spawn(move || {
                let mut memory = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((len, source)) = socket.recv_from(&mut memory) {
                        each(&memory[..len], source);
                    }
                }
            }));
        };

        let (media, mut lost) = (bound(from), losses.judge());
        let out = Outlet::new(sending(), losses.delay);
        let counts = census.clone();
        start(
            media,
            Box::new(move |bytes, _| {
                let again = bytes.get(11).is_some_and(|low| low & 1 == 1);
                counts.again.fetch_add(again.into(), Ordering::Relaxed);
                if lost(again) {
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                } else {
                    counts.passed.fetch_add(1, Ordering::Relaxed);
                    out.send(bytes, to);
                }
            }),
        );

        // `near` faces the sender, `far` the receiver.
        let (near, far) = (bound(above(from)), sending());
        let sender = Arc::new(Mutex::new(None));
        let (known, counts) = (sender.clone(), census.clone());
        let forth = Outlet::new(far.try_clone().expect("clone"), losses.delay);
        let mut lost = losses.judge_control(1);
        let own = far.local_addr().expect("bound").port();
        let answers = if from.ip().is_multicast() { sending() } else { near.try_clone().expect("clone") };
        let answers = Outlet::new(answers, losses.delay);
        start(
            near,
            Box::new(move |bytes, source| {
                *known.lock().expect("no panic") = Some(source);
                counts.reports.fetch_add(1, Ordering::Relaxed);
                if !lost() {
                    forth.send(bytes, above(to));
                }
            }),
        );
        let counts = census.clone();
        let lost = Mutex::new(losses.judge_control(2));
        let back = move |bytes: &[u8], source: SocketAddr| {
            // The path's own datagrams also arrive, looped back by the group.
            if let Some(to) = *sender.lock().expect("no panic")
                && source.port() != own
            {
                counts.requests.fetch_add(1, Ordering::Relaxed);
                if !lost.lock().expect("no panic")() {
                    answers.send(bytes, to);
                }
            }
        };
        let back = Arc::new(back);
        let group = to.ip().is_multicast().then(|| bound(above(to)));
        for socket in [Some(far), group].into_iter().flatten() {
            let back = back.clone();
            start(socket, Box::new(move |bytes, source| back(bytes, source)));
        }
        LossyPath { census, stop, threads }
    }

    pub fn census(&self) -> &Census {
        &self.census
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the path's thread panicked");
        }
    }
}

fn above(media: SocketAddr) -> SocketAddr {
    SocketAddr::new(media.ip(), media.port() + 1)
}

/// Returns a socket that receives datagrams to this address.
fn bound(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("socket");
    let _ = socket.set_recv_buffer_size(1 << 20);
    socket.set_reuse_address(address.ip().is_multicast()).expect("share the group's port");
    socket.bind(&address.into()).expect("bind");
    if let IpAddr::V4(group) = address.ip()
        && group.is_multicast()
    {
        socket.join_multicast_v4(&group, &LOCALHOST).expect("join");
    }
    socket.into()
}

/// Returns a socket that sends to groups and hosts on loopback.
fn sending() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("socket");
    socket.set_multicast_if_v4(&LOCALHOST).expect("loopback");
    socket.set_multicast_ttl_v4(0).expect("TTL");
    socket.bind(&SocketAddr::from((LOCALHOST, 0)).into()).expect("bind");
    socket.into()
}
