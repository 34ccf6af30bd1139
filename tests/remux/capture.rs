//! Stores the output of a relay, with the time of each piece.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tidecast_net::clock;

/// Interval at which a capture checks whether to end, and at which an HTTP client tries to
/// connect.
const PAUSE: Duration = Duration::from_millis(50);

/// The received bytes.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pub bytes: Vec<u8>,
    /// The position in the bytes at which each piece starts, and the time of its arrival.
    pub arrivals: Vec<(usize, Instant)>,
}

impl Captured {
    fn add(&mut self, bytes: &[u8]) {
        self.arrivals.push((self.bytes.len(), clock::now()));
        self.bytes.extend(bytes);
    }

    /// Returns when the byte at this position arrived.
    pub fn arrival(&self, place: usize) -> Option<Instant> {
        let after = self.arrivals.partition_point(|(begin, _)| *begin <= place);
        Some(self.arrivals.get(after.checked_sub(1)?)?.1)
    }
}

/// A thread that receives.
#[derive(Debug)]
pub struct Capture {
    captured: Arc<Mutex<Captured>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The socket's address; `None` for HTTP.
    pub address: Option<SocketAddr>,
}

impl Capture {
    /// Captures the datagrams of a socket.
    pub fn udp(socket: UdpSocket) -> Capture {
        socket.set_read_timeout(Some(PAUSE)).expect("time-out");
        let address = socket.local_addr().expect("bound");
        Capture::start(Some(address), move |captured, stop| {
            let mut memory = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(len) = socket.recv(&mut memory) {
                    captured.lock().expect("no panic").add(&memory[..len]);
                }
            }
        })
    }

    /// Captures the body of an HTTP response; tries until the server responds.
    pub fn http(server: SocketAddr, path: &'static str) -> Capture {
        Capture::start(None, move |captured, stop| {
            while !stop.load(Ordering::Relaxed) {
                match TcpStream::connect(server) {
                    Ok(stream) => return drop(body(stream, path, captured, stop)),
                    Err(_) => thread::sleep(PAUSE), // the server does not listen yet
                }
            }
        })
    }

    fn start(
        address: Option<SocketAddr>,
        receive: impl FnOnce(&Mutex<Captured>, &AtomicBool) + Send + 'static,
    ) -> Capture {
        let (captured, stop) = (Arc::<Mutex<Captured>>::default(), Arc::<AtomicBool>::default());
        let (into, asked) = (captured.clone(), stop.clone());
        let thread = thread::spawn(move || receive(&into, &asked));
        Capture { captured, stop, thread: Some(thread), address }
    }

    /// Returns when the last data arrived.
    pub fn last(&self) -> Option<Instant> {
        self.captured.lock().expect("no panic").arrivals.last().map(|(_, when)| *when)
    }

    /// Returns what has been received.
    pub fn finish(mut self) -> Captured {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("no panic");
        std::mem::take(&mut *self.captured.lock().expect("no panic"))
    }
}

/// Reads until the server closes, or the capture is stopped.
fn body(mut stream: TcpStream, path: &str, captured: &Mutex<Captured>, stop: &AtomicBool) -> io::Result<()> {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    stream.set_read_timeout(Some(PAUSE))?;
    let (mut head, mut memory) = (Vec::new(), vec![0; 65_536]);
    while !stop.load(Ordering::Relaxed) {
        let len = match stream.read(&mut memory) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut bytes = &memory[..len];
        if !head.ends_with(b"\r\n\r\n") {
            let ends = |n: &usize| [&head[..], &bytes[..*n]].concat().ends_with(b"\r\n\r\n");
            let end = (1..=len).find(ends).unwrap_or(len);
            head.extend(&bytes[..end]);
            bytes = &bytes[end..];
        }
        if !bytes.is_empty() {
            captured.lock().expect("no panic").add(bytes);
        }
    }
    Ok(())
}
