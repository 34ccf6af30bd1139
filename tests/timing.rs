//! When payloads reach an HTTP client: soon, without a long silence after a loss, and still after
//! a pause.
//!
//! All times are the kernel's: of the client's TCP segments, and of the same datagrams at a socket
//! that has joined the group beside the relay. So a late thread of the test has no effect; since
//! the machine can also delay the relay, a delay counts only if it is too long every time.

#[path = "timing/disturbed.rs"]
mod disturbed;
#[path = "timing/paced.rs"]
mod paced;
#[path = "timing/tick.rs"]
mod tick;

use std::{
    io::{IoSliceMut, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use common::{PATIENCE, Running, joined, native, now, sender, stamped::Collector};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use tidecast_net::clock;
use tidecast_testkit::{clocks, common};

const TRIES: usize = 3;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client of a stream whose payloads are lines.
struct Client {
    /// Lines with the kernel's timestamp of their last segment.
    lines: Arc<Mutex<Vec<(Duration, String)>>>,
    ended: Arc<AtomicBool>,
    stream: TcpStream,
    reader: Option<JoinHandle<()>>,
}

impl Client {
    fn connect(http: SocketAddr, path: &str) -> Client {
        let mut stream = TcpStream::connect(http).expect("connect");
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true).expect("time stamps");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("write");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.") && head[8..].starts_with(" 200 "), "{path}: {head}");
        assert!(!head.to_ascii_lowercase().contains("chunked"), "{head}");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let reader = {
            let (stream, lines, ended) = (stream.try_clone().expect("clone"), lines.clone(), ended.clone());
            thread::spawn(move || {
                read_lines(&stream, &lines);
                ended.store(true, Ordering::Relaxed);
            })
        };
        Client { lines, ended, stream, reader: Some(reader) }
    }

    fn count(&self) -> usize {
        self.lines.lock().expect("no panic").len()
    }

    fn wait_for(&self, count: usize) {
        let start = now();
        while self.count() < count && start.elapsed() < PATIENCE {
            thread::sleep(ms(2));
        }
    }

    fn is_connected(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    /// Closes the connection. Returns all lines so far.
    fn finish(mut self) -> Vec<(Duration, String)> {
        let _ = self.stream.shutdown(std::net::Shutdown::Both); // it may have ended already
        self.reader.take().expect("once").join().expect("no panic");
        std::mem::take(&mut self.lines.lock().expect("no panic"))
    }
}

fn read_lines(stream: &TcpStream, lines: &Mutex<Vec<(Duration, String)>>) {
    let mut open = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message =
            match recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty()) {
                Ok(message) if message.bytes > 0 => message,
                _ => return,
            };
        let stamp = message.cmsgs().expect("whole control messages").find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        // The kernel may not provide timestamps for the very first segments.
        let (stamp, count) = (stamp.unwrap_or_else(clock::unix), message.bytes);
        for byte in &bytes[..count] {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&open).into_owned();
                lines.lock().expect("no panic").push((stamp, line));
                open.clear();
            } else {
                open.push(*byte);
            }
        }
    }
}

/// A relay of one group with an HTTP server, a socket that has joined the group beside it, and a
/// client of the stream.
struct Setup {
    relay: Running,
    beside: Collector,
    client: Client,
    group: (Ipv4Addr, u16),
}

impl Setup {
    /// Creates a setup with a named stream of `relay`.
    fn named(options: &[&str]) -> Setup {
        let group = (common::group(), common::free_port());
        let input = format!("udp://@{}:{}?if=127.0.0.1", group.0, group.1);
        let args = ["relay", &input, "--name", "readings", "--http", "127.0.0.1:0"];
        Setup::new(args.iter().chain(options), group, "/streams/readings")
    }

    /// Creates a setup with a group on demand of `serve`.
    fn on_demand() -> Setup {
        let group = (common::group(), common::free_port());
        let args = ["serve", "--http", "127.0.0.1:0", "--if", "127.0.0.1"];
        Setup::new(args.iter(), group, &format!("/udp/{}:{}", group.0, group.1))
    }

    fn new<'a>(args: impl Iterator<Item = &'a &'a str>, group: (Ipv4Addr, u16), path: &str) -> Setup {
        let mut relay = Running::tidecast(args);
        let http = relay.http();
        let beside = Collector::new(joined(group.0, group.1));
        Setup { client: Client::connect(http, path), beside, relay, group }
    }

    /// Sends readings at an interval, except those of `lost`.
    fn send(&self, numbers: std::ops::Range<u64>, interval: Duration, lost: &[u64]) {
        let (socket, start) = (sender(), now());
        for (turn, number) in numbers.enumerate() {
            thread::sleep((interval * turn as u32).saturating_sub(start.elapsed()));
            if !lost.contains(&number) {
                let datagram = native(1, 1, number, format!("reading {number}\n").as_bytes());
                socket.send_to(&datagram, self.group).expect("send");
            }
        }
    }
}

fn readings(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.map(|number| format!("reading {number}")).collect()
}

fn texts(lines: &[(Duration, String)]) -> Vec<String> {
    lines.iter().map(|(_, line)| line.clone()).collect()
}

/// Calls `attempt` until it returns a duration below the limit.
fn at_most(bound: Duration, what: &str, attempt: impl Fn() -> Duration) {
    let mut measured = Vec::new();
    while measured.len() < TRIES {
        let longest = attempt();
        println!("{what}: {longest:?}");
        if longest < bound {
            return;
        }
        measured.push(longest);
    }
    panic!("{what}: {measured:?}, expected below {bound:?}");
}

#[test]
fn one_loss_at_50_packets_a_second_silences_no_longer_than_the_hold() {
    let (hold, interval) = (ms(100), ms(20));
    at_most(hold + 2 * interval + ms(20), "longest silence at 50 packets/s with one lost", || {
        let mut setup = Setup::named(&["--hold", "100ms"]);
        setup.send(0..150, interval, &[75]);
        setup.client.wait_for(149);
        let lines = setup.client.finish();
        assert_eq!(texts(&lines), readings((0..150).filter(|n| *n != 75)), "{}", setup.relay.stop());
        setup.beside.finish();
        lines.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).max().expect("pairs")
    });
}

/// Returns the longest time from a datagram's arrival at the host to that of its payload at the
/// client.
fn longest_delay(setup: impl FnOnce() -> Setup) -> Duration {
    let mut setup = setup();
    setup.send(0..30, ms(100), &[]);
    setup.client.wait_for(30);
    let lines = setup.client.finish();
    let said = setup.relay.stop();
    let sent = setup.beside.finish();
    assert_eq!(texts(&lines), readings(0..30), "{said}");
    assert_eq!(sent.len(), 30);
    let delays = lines.iter().zip(&sent).map(|((came, _), sent)| came.saturating_sub(sent.stamp));
    delays.max().expect("thirty")
}

#[test]
fn at_10_packets_a_second_each_payload_is_there_within_20_ms() {
    at_most(ms(20), "longest delay of a named stream at 10 packets/s", || {
        longest_delay(|| Setup::named(&[]))
    });
}

#[test]
fn so_it_is_for_a_group_on_demand() {
    at_most(ms(20), "longest delay of a group on demand at 10 packets/s", || longest_delay(Setup::on_demand));
}

#[test]
fn a_client_stays_through_a_pause_and_gets_the_rest() {
    let pause = std::env::var("TIDECAST_PAUSE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let setups = [Setup::named(&[]), Setup::on_demand()];
    setups.iter().for_each(|setup| setup.send(0..20, ms(10), &[]));
    thread::sleep(Duration::from_secs(pause));
    for setup in &setups {
        assert!(setup.client.is_connected(), "cut off in the pause\n{}", setup.relay.stderr());
        setup.send(20..40, ms(10), &[]);
    }
    for mut setup in setups {
        setup.client.wait_for(40);
        assert!(setup.client.is_connected());
        let lines = setup.client.finish();
        assert_eq!(texts(&lines), readings(0..40), "{}", setup.relay.stop());
    }
}
