//! Clients that read what they requested, and record when each packet arrives.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tidecast_core::subscriber::{Heard, Subscriber};
use tidecast_net::clock;
use tidecast_wire::native;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UdpSocket},
    runtime::Runtime,
};

use crate::rig::{CLIENTS, PAYLOAD, Times};

/// The transports, with their names in `tidecast_subscribers`.
pub(crate) const TRANSPORTS: [(&str, &str); 6] = [
    ("HTTP", "http"),
    ("TCP", "tcp"),
    ("WebSocket", "websocket"),
    ("server-sent events", "sse"),
    ("Socket.IO", "socketio"),
    ("UDP on request", "udp"),
];

/// One client, and when it received each packet.
pub(crate) struct Client {
    pub(crate) transport: &'static str,
    number: usize,
    pub(crate) came: Arc<Times>,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} over {}", self.number, self.transport)
    }
}

/// All clients, on separate threads.
pub(crate) struct Honest {
    runtime: Runtime,
    start: Instant,
    pub(crate) clients: Vec<Client>,
}

/// Records the packets of one client.
#[derive(Clone)]
struct Notes {
    start: Instant,
    came: Arc<Times>,
}

impl Notes {
    fn packet(&self, number: u64) {
        self.came.note(number, self.start.elapsed().as_micros() as u64);
    }
}

impl Honest {
    pub(crate) fn new(start: Instant) -> Honest {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Honest { runtime: runtime.expect("a runtime"), start, clients: Vec::new() }
    }

    fn client(&mut self, transport: &'static str, number: usize) -> Notes {
        let came = Arc::new(Times::new());
        self.clients.push(Client { transport, number, came: came.clone() });
        Notes { start: self.start, came }
    }

    /// Adds a receiver of the relay's UDP output. Returns its address.
    pub(crate) fn output(&mut self) -> SocketAddr {
        let notes = self.client("UDP output", 0);
        let _runtime = self.runtime.enter();
        let socket = udp();
        let address = socket.local_addr().expect("an address");
        self.runtime.spawn(async move {
            let mut bytes = [0; 2048];
            while let Ok(length) = socket.recv(&mut bytes).await {
                datagram(&notes, &bytes[..length]);
            }
        });
        address
    }

    /// Connects this many clients of each transport to the stream.
    pub(crate) fn connect(&mut self, http: SocketAddr, tcp: SocketAddr, udp: SocketAddr) {
        for number in 0..CLIENTS {
            for (transport, label) in TRANSPORTS {
                let notes = self.client(transport, number);
                match label {
                    "http" => self.runtime.spawn(raw(http, notes)),
                    "tcp" => self.runtime.spawn(frames(tcp, notes)),
                    "websocket" => self.runtime.spawn(websocket(http, notes)),
                    "sse" => self.runtime.spawn(events(http, notes)),
                    "socketio" => self.runtime.spawn(socketio(http, notes)),
                    _ => self.runtime.spawn(on_request(udp, notes)),
                };
            }
        }
    }
}

fn udp() -> UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20); // as large as the system allows
    socket.set_nonblocking(true).expect("nonblocking");
    UdpSocket::from_std(socket).expect("a socket")
}

fn datagram(notes: &Notes, bytes: &[u8]) {
    if let Ok(packet) = native::Packet::parse(bytes) {
        notes.packet(packet.sequence());
    }
}

/// Sends a request and reads the head of the response.
async fn ask(http: SocketAddr, path: &str, more: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(http).await.expect("connect");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).await.expect("a head") > 0, "{path}: it ends");
        assert!(!line.starts_with("HTTP/1.1 4") && !line.starts_with("HTTP/1.1 5"), "{path}: {line}");
    }
    stream
}

/// Reads consecutive payloads; the first one is complete.
async fn raw(http: SocketAddr, notes: Notes) {
    let mut stream = ask(http, "/streams/feed", "").await;
    let mut payload = vec![0; PAYLOAD];
    while stream.read_exact(&mut payload).await.is_ok() {
        notes.packet(u64::from_be_bytes(payload[..8].try_into().expect("eight")));
    }
}

/// Records the number of a packet in a frame.
fn of_frame(notes: &Notes, frame: &[u8]) {
    if let ([0, ..], Some(number)) = (frame, frame.get(8..16)) {
        notes.packet(u64::from_be_bytes(number.try_into().expect("eight")));
    }
}

/// Records the number of a packet in JSON.
fn of_json(notes: &Notes, text: &str) {
    let number = text.split_once("\"seq\":").and_then(|(_, rest)| rest.split(',').next());
    if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
        notes.packet(number);
    }
}

async fn frames(tcp: SocketAddr, notes: Notes) {
    let mut stream = BufReader::with_capacity(64 << 10, TcpStream::connect(tcp).await.expect("connect"));
    stream.write_all(b"SUBSCRIBE feed\n").await.expect("write");
    let mut answer = String::new();
    stream.read_line(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("OK"), "{answer}");
    let mut frame = Vec::new();
    while let Ok(length) = stream.read_u32().await {
        frame.resize(length as usize, 0);
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        of_frame(&notes, &frame);
    }
}

async fn events(http: SocketAddr, notes: Notes) {
    let mut stream = ask(http, "/sse/feed", "Accept: text/event-stream\r\n").await;
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        of_json(&notes, &line);
        line.clear();
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads one frame of a server (RFC 6455, section 5.2). Returns its opcode.
async fn message(stream: &mut BufReader<TcpStream>, payload: &mut Vec<u8>) -> Option<u8> {
    let [first, second] = [stream.read_u8().await.ok()?, stream.read_u8().await.ok()?];
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        short => short.into(),
    };
    payload.resize(length as usize, 0);
    stream.read_exact(payload).await.ok()?;
    Some(first & 0x0f)
}

/// Sends a frame, masked with zeros.
async fn say(stream: &mut BufReader<TcpStream>, opcode: u8, payload: &[u8]) {
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await.expect("write");
}

async fn websocket(http: SocketAddr, notes: Notes) {
    let mut stream = ask(http, "/ws/feed", UPGRADE).await;
    let mut payload = Vec::new();
    while let Some(opcode) = message(&mut stream, &mut payload).await {
        match opcode {
            9 => say(&mut stream, 10, &payload).await,
            _ => of_frame(&notes, &payload),
        }
    }
}

async fn socketio(http: SocketAddr, notes: Notes) {
    let mut stream = ask(http, "/socket.io/?EIO=4&transport=websocket", UPGRADE).await;
    let mut payload = Vec::new();
    while let Some(opcode) = message(&mut stream, &mut payload).await {
        match (opcode, payload.first()) {
            (9, _) => say(&mut stream, 10, &payload).await,
            (_, Some(b'0')) => say(&mut stream, 1, b"40").await,
            (_, Some(b'2')) => say(&mut stream, 1, b"3").await,
            (_, Some(b'4')) if payload.starts_with(b"40") => {
                say(&mut stream, 1, br#"42["subscribe",{"stream":"feed"}]"#).await;
            }
            _ => of_json(&notes, &String::from_utf8_lossy(&payload)),
        }
    }
}

async fn on_request(relay: SocketAddr, notes: Notes) {
    let socket = udp();
    socket.connect(relay).await.expect("connect");
    let mut subscriber = Subscriber::new("feed", "", clock::now(), Box::new(rand::random));
    let mut bytes = [0; 2048];
    loop {
        if let Some(request) = subscriber.poll(clock::now()) {
            let _ = socket.send(&request).await; // a lost request is sent again
        }
        let wait = subscriber.due().saturating_duration_since(clock::now()).min(Duration::from_secs(1));
        if let Ok(Ok(length)) = tokio::time::timeout(wait, socket.recv(&mut bytes)).await
            && subscriber.handle(clock::now(), &bytes[..length]) == Heard::Stream
        {
            datagram(&notes, &bytes[..length]);
        }
    }
}
