//! HTTP clients: one thread with one epoll that reads all connections and counts bytes. Only the
//! first client examines the data; the kernel discards that of the others.

use std::{
    io::{self, Read, Write},
    net::{SocketAddrV4, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use tidecast_net::clock;

use crate::{
    packet::{self, MEDIA_BYTES, NUMBER_IN_PAYLOAD},
    sys,
};

/// How long data accumulates in the sockets.
const PAUSE: Duration = Duration::from_millis(10);
const EVENTS: usize = 256;
/// Maximum bytes discarded per call.
const DISCARD_MAX: usize = 4 << 20;
const CONNECT_WAIT: Duration = Duration::from_secs(8);
/// Maximum length of a response's head.
const HEAD_MAX: usize = 16 << 10;

/// The request of one client.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The server.
    pub(crate) server: SocketAddrV4,
    /// The path to GET.
    pub(crate) path: String,
    /// Whether to use a WebSocket, whose messages are counted with their heads.
    pub(crate) websocket: bool,
}

/// Headers that request a WebSocket; the key is that of RFC 6455, section 1.3.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// State shared by the thread and its owner.
struct Shared {
    stop: AtomicBool,
    /// Bytes of bodies, over all clients.
    bytes: AtomicU64,
    /// Clients whose body has started.
    begun: AtomicUsize,
    /// Packets that are missing at the first client.
    gaps: AtomicU64,
}

/// Running clients.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    count: usize,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Clients {
    /// Connects all clients. With `numbered`, the first one checks that no number is missing.
    pub(crate) fn start(requests: &[Request], numbered: bool) -> io::Result<Clients> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            begun: AtomicUsize::new(0),
            gaps: AtomicU64::new(0),
        });
        let clients: io::Result<Vec<Client>> = requests.iter().map(Client::connect).collect();
        let mut clients = clients?;
        if let Some(first) = clients.first_mut().filter(|_| numbered) {
            first.checker = Some(Checker::default());
        }
        let reader = Reader { clients, shared: shared.clone() };
        let thread = thread::Builder::new().name("clients".into()).spawn(move || reader.run())?;
        Ok(Clients { shared, count: requests.len(), thread: Some(thread) })
    }

    /// Returns whether every client's body has started.
    pub(crate) fn all_begun(&self) -> bool {
        self.shared.begun.load(Relaxed) == self.count
    }

    /// Returns the number of clients whose body has started.
    pub(crate) fn begun(&self) -> usize {
        self.shared.begun.load(Relaxed)
    }

    /// Returns the bytes of bodies so far, over all clients.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    /// Returns the packets that are missing at the first client so far.
    pub(crate) fn gaps(&self) -> u64 {
        self.shared.gaps.load(Relaxed)
    }

    /// Fails if a client stopped because of an error.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => thread.join().map_err(|_| io::Error::other("the clients' thread panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its errors are reported by `check`
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// The head received so far; `None` once the body has started.
    head: Option<Vec<u8>>,
    checker: Option<Checker>,
}

impl Client {
    /// Sends the request as HTTP/1.0, so that the body contains only the stream.
    fn connect(request: &Request) -> io::Result<Client> {
        let mut stream = connect(request.server)?;
        let (version, more) = if request.websocket { ("1.1", UPGRADE) } else { ("1.0", "") };
        let Request { path, server, .. } = request;
        write!(stream, "GET {path} HTTP/{version}\r\nHost: {server}\r\n{more}\r\n")?;
        stream.set_nonblocking(true)?;
        Ok(Client { stream, head: Some(Vec::new()), checker: None })
    }

    /// Reads the available data. Returns how many bytes of it belong to the body.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        if self.head.is_some() {
            return self.read_head(scratch);
        }
        let Some(checker) = &mut self.checker else {
            return match sys::discard(self.stream.as_fd(), DISCARD_MAX)? {
                Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count.unwrap_or(0)),
            };
        };
        let count = read_some(&mut self.stream, scratch)?;
        checker.take(&scratch[..count]);
        Ok(count)
    }

    fn read_head(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let count = read_some(&mut self.stream, scratch)?;
        let mut head = self.head.take().unwrap_or_default();
        head.extend_from_slice(&scratch[..count]);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
            self.head = Some(head);
            return Ok(0);
        };
        let status = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
        if !(status.contains(" 200 ") || status.contains(" 101 ")) || head.len() > HEAD_MAX + scratch.len() {
            return Err(io::Error::other(format!("the server answered {status:?}")));
        }
        let body = &head[end + 4..];
        if let Some(checker) = &mut self.checker {
            checker.take(body);
        }
        Ok(body.len())
    }
}

/// Tries to connect for some seconds: a server that was just started may not listen yet.
fn connect(server: SocketAddrV4) -> io::Result<TcpStream> {
    let deadline = clock::now() + CONNECT_WAIT;
    loop {
        match TcpStream::connect(server) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && clock::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Reads once; returns 0 if no data is available. The end of the stream is an error, because these
/// streams have none.
fn read_some(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
    match stream.read(scratch) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Checks the numbers of a stream of payloads.
#[derive(Default)]
struct Checker {
    pending: Vec<u8>,
    next: Option<u64>,
    gaps: u64,
}

impl Checker {
    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() / MEDIA_BYTES * MEDIA_BYTES;
        for payload in self.pending[..whole].chunks_exact(MEDIA_BYTES) {
            let number = packet::number(payload, NUMBER_IN_PAYLOAD).unwrap_or_default();
            let expected = self.next.unwrap_or(number);
            self.gaps += number.abs_diff(expected);
            self.next = Some(number + 1);
        }
        self.pending.drain(..whole);
    }
}

struct Reader {
    clients: Vec<Client>,
    shared: Arc<Shared>,
}

impl Reader {
    fn run(mut self) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (i, client) in self.clients.iter().enumerate() {
            epoll.add(&client.stream, EpollEvent::new(EpollFlags::EPOLLIN, i as u64))?;
        }
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut scratch = vec![0; 256 << 10];
        while !self.shared.stop.load(Relaxed) {
            let count = match epoll.wait(&mut events, EpollTimeout::from(50_u16)) {
                Err(nix::errno::Errno::EINTR) => continue,
                count => count?,
            };
            for event in &events[..count] {
                self.read(event.data() as usize, &mut scratch)?;
            }
            if count < EVENTS {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    fn read(&mut self, client: usize, scratch: &mut [u8]) -> io::Result<()> {
        let client = &mut self.clients[client];
        let waiting = client.head.is_some();
        let count = client.read(scratch)?;
        if waiting && client.head.is_none() {
            self.shared.begun.fetch_add(1, Relaxed);
        }
        self.shared.bytes.fetch_add(count as u64, Relaxed);
        if let Some(checker) = &client.checker {
            self.shared.gaps.store(checker.gaps, Relaxed);
        }
        Ok(())
    }
}
