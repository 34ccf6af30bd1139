//! One measurement over HTTP: the subject, the generator, clients; a window of steady traffic, and
//! its cost.

use std::{fs, io, net::SocketAddrV4, path::Path, thread, time::Duration};

use serde::Serialize;
use tidecast_net::clock;

use crate::{
    bare::Stream,
    clients::{Clients, Request},
    film,
    generator::{Generator, Plan},
    packet::{Format, MEDIA_BYTES},
    peer::HttpPeer,
    process::Processes,
    relay::Relay,
    run::fresh_group,
    socket::{LOOPBACK, free_tcp_port},
    subject::Subject,
};

const CONNECT_WAIT: Duration = Duration::from_secs(10);
const BEGIN_WAIT: Duration = Duration::from_secs(10);
/// Time until all clients have received the start of the stream, and buffers have reached their
/// final size.
const SETTLE: Duration = Duration::from_millis(1200);
const DRAIN: Duration = Duration::from_millis(400);

/// The measured server.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// The relay, fed with numbered RTP.
    Relay(Relay),
    /// The relay, fed with the same film as the peers.
    RelayOfFilm(Relay),
    /// A packaged program, fed with a film.
    Peer(HttpPeer),
}

impl Server {
    fn format(&self) -> Format {
        match self {
            Server::Relay(_) => Format::Rtp,
            Server::RelayOfFilm(_) | Server::Peer(_) => Format::Film,
        }
    }
}

/// How clients request a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// A player's HTTP stream.
    Http,
    /// Binary WebSocket messages.
    WebSocket,
}

/// The served streams, and the number of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLoad {
    /// Number of channels.
    pub(crate) streams: usize,
    /// Clients of each.
    pub(crate) clients: usize,
    /// Bits per second of each channel.
    pub(crate) bits: f64,
    /// How clients request the streams.
    pub(crate) over: Over,
}

/// Results of one window.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct HttpSample {
    /// Processor time of the subject, all threads.
    pub(crate) cpu_ns: u64,
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Bytes that should have been delivered, over all clients.
    pub(crate) expected: u64,
    /// Bytes delivered.
    pub(crate) bytes: u64,
    /// Packets that are missing at the first client.
    pub(crate) gaps: u64,
    /// Resident memory at the end.
    pub(crate) resident: u64,
}

impl HttpSample {
    /// Returns the processor time, in ms per second, for each Gbit/s delivered.
    pub(crate) fn ms_per_gbit(&self) -> f64 {
        self.cpu_ns as f64 / 1e6 / (self.bytes as f64 * 8.0 / 1e9)
    }

    /// Returns the missing bytes, in percent: data in buffers at either end of the window counts
    /// as noise.
    pub(crate) fn missing(&self) -> f64 {
        100.0 * (1.0 - self.bytes as f64 / self.expected.max(1) as f64)
    }
}

/// A server whose channels are fed, without clients at first.
pub(crate) struct Served {
    /// The server.
    pub(crate) processes: Processes,
    /// The generator of its input.
    pub(crate) generator: Generator,
    /// One address per process, for as many clients as it can have.
    addresses: Vec<SocketAddrV4>,
    load: HttpLoad,
    numbered: bool,
}

impl Served {
    /// Starts it.
    pub(crate) fn start(server: &Server, load: HttpLoad, folder: &Path) -> io::Result<Served> {
        let groups: Vec<SocketAddrV4> = (0..load.streams).map(|_| fresh_group()).collect();
        let streams: Vec<Stream> =
            groups.iter().map(|group| Stream { group: *group, targets: Vec::new() }).collect();
        let (processes, addresses) = match server {
            Server::Relay(relay) | Server::RelayOfFilm(relay) => start_relay(relay, &streams, folder)?,
            Server::Peer(peer) => start_peer(*peer, &streams[0], load.clients, folder)?,
        };
        let (rate, format) = (load.bits / 8.0 / MEDIA_BYTES as f64, server.format());
        let film = if format == Format::Film { fs::read(film::file(folder)?)? } else { Vec::new() };
        let generator = Generator::start(Plan { groups, format, rate, film })?;
        Ok(Served { processes, generator, addresses, load, numbered: format == Format::Rtp })
    }

    /// Connects `count` clients to each channel, and waits until all receive something.
    pub(crate) fn connect(&mut self, count: usize) -> io::Result<Clients> {
        let places = (0..self.load.streams).flat_map(|stream| (0..count).map(move |client| (stream, client)));
        let request = |(stream, client): (usize, usize)| Request {
            server: self.addresses[client % self.addresses.len()],
            path: match self.load.over {
                Over::Http => format!("/streams/s{stream}"),
                Over::WebSocket => format!("/ws/s{stream}"),
            },
            websocket: self.load.over == Over::WebSocket,
        };
        let requests: Vec<Request> = places.map(request).collect();
        // The heads of messages are between the payloads.
        let numbered = self.numbered && self.load.over == Over::Http;
        let mut clients = Clients::start(&requests, numbered)?;
        let deadline = clock::now() + BEGIN_WAIT;
        while !clients.all_begun() {
            clients.check()?;
            self.processes.check()?;
            if clock::now() > deadline {
                let text = format!("only {} of {} clients get anything", clients.begun(), requests.len());
                return Err(io::Error::other(text));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(clients)
    }
}

fn start_relay(
    relay: &Relay,
    streams: &[Stream],
    folder: &Path,
) -> io::Result<(Processes, Vec<SocketAddrV4>)> {
    let address = SocketAddrV4::new(LOOPBACK, free_tcp_port()?);
    let subject = Subject::Relay(Relay { http: Some(address), ..relay.clone() });
    let mut processes = subject.start(streams, folder)?;
    await_server(address, &mut processes)?;
    Ok((processes, vec![address]))
}

/// Starts as many processes as the clients need. Nothing is requested from them before the clients
/// connect, because some serve only the first.
fn start_peer(
    peer: HttpPeer,
    stream: &Stream,
    clients: usize,
    folder: &Path,
) -> io::Result<(Processes, Vec<SocketAddrV4>)> {
    let count = clients.div_ceil(peer.clients_per_process());
    let addresses: Vec<SocketAddrV4> =
        (0..count).map(|_| Ok(SocketAddrV4::new(LOOPBACK, free_tcp_port()?))).collect::<io::Result<_>>()?;
    let commands = addresses.iter().map(|address| peer.command(stream, *address, folder)).collect();
    Ok((Processes::start(commands, &folder.join(format!("{peer:?}-http.log")))?, addresses))
}

/// Measures `server` under `load` for `window`.
///
/// # Errors
/// The server ended, or did not serve every client.
pub(crate) fn run(
    server: &Server,
    load: HttpLoad,
    window: Duration,
    folder: &Path,
) -> io::Result<HttpSample> {
    let mut served = Served::start(server, load, folder)?;
    let mut clients = served.connect(load.clients)?;
    thread::sleep(SETTLE);
    let (sent, bytes, gaps) = (served.generator.sent(), clients.bytes(), clients.gaps());
    let (cpu, start) = (served.processes.cpu()?, clock::now());
    thread::sleep(window);
    let Served { mut processes, generator, .. } = served;
    let last = generator.stop();
    let seconds = (clock::now() - start).as_secs_f64();
    thread::sleep(DRAIN);
    clients.check()?;
    processes.check()?;
    let packets: u64 = last.iter().zip(&sent).map(|(last, first)| last - first).sum();
    Ok(HttpSample {
        cpu_ns: (processes.cpu()? - cpu).as_nanos() as u64,
        seconds,
        expected: packets * load.clients as u64 * MEDIA_BYTES as u64,
        bytes: clients.bytes() - bytes,
        gaps: clients.gaps() - gaps,
        resident: processes.resident()?,
    })
}

/// Waits until the server listens on the address.
fn await_server(server: SocketAddrV4, processes: &mut Processes) -> io::Result<()> {
    let deadline = clock::now() + CONNECT_WAIT;
    loop {
        match std::net::TcpStream::connect(server) {
            Ok(_) => return Ok(()),
            Err(error) if clock::now() > deadline => return Err(error),
            Err(_) => processes.check()?,
        }
        thread::sleep(Duration::from_millis(2));
    }
}
