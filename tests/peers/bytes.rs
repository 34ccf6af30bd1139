//! The packets that ffmpeg and `tidecast send` send arrive byte for byte at every kind of output.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Sent,
    common::{Running, free_port, group, have, joined, tidecast, until, until_clients},
    fixture,
};

/// Collects the datagrams of a socket.
struct Collector {
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn new(socket: UdpSocket) -> Collector {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("time-out");
        let (datagrams, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (into, asked) = (datagrams.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut memory = vec![0; 65_536];
            while !asked.load(Ordering::Relaxed) {
                if let Ok(len) = socket.recv(&mut memory) {
                    into.lock().expect("no panic").push(memory[..len].to_vec());
                }
            }
        });
        Collector { datagrams, stop, thread: Some(thread) }
    }

    fn count(&self, which: impl Fn(&[u8]) -> bool) -> usize {
        self.datagrams.lock().expect("no panic").iter().filter(|datagram| which(datagram)).count()
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("no panic");
        std::mem::take(&mut *self.datagrams.lock().expect("no panic"))
    }
}

/// A relay with one output of each kind, and all their receivers.
pub(super) struct Paths {
    relay: Running,
    http: SocketAddr,
    /// Joined to the relay's own input, for comparison with what was sent.
    direct: Collector,
    unicast: Collector,
    multicast: Collector,
    /// HTTP clients, and the files that they write.
    clients: Vec<(Running, PathBuf)>,
    folder: tempfile::TempDir,
}

impl Paths {
    pub(super) fn open(scheme: &str, from: (Ipv4Addr, u16)) -> Paths {
        Paths::open_as(scheme, from, &[])
    }

    /// Opens the same with more arguments.
    pub(super) fn open_as(scheme: &str, from: (Ipv4Addr, u16), more: &[&str]) -> Paths {
        let to = (group(), free_port());
        let unicast = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let direct = Collector::new(joined(from.0, from.1));
        let multicast = Collector::new(joined(to.0, to.1));
        let input = format!("{scheme}://@{}:{}?if=127.0.0.1", from.0, from.1);
        let target = format!("udp://{}", unicast.local_addr().expect("bound"));
        let group = format!("udp://{}:{}?ttl=0&if=127.0.0.1", to.0, to.1);
        let http_address = http.to_string();
        let arguments = ["relay", &input, "--to", &target, &group, "--http", &http_address];
        let relay = Running::tidecast(arguments.iter().chain(more));
        let folder = tempfile::tempdir().expect("a folder");
        let unicast = Collector::new(unicast);
        let mut paths = Paths { relay, http, direct, unicast, multicast, clients: Vec::new(), folder };
        paths.curl();
        paths
    }

    /// Adds an HTTP client; returns when the relay serves it.
    fn curl(&mut self) {
        let file = self.folder.path().join(self.clients.len().to_string());
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "-o"]).arg(&file).arg(format!("http://{}/streams/main?start=live", self.http));
        self.clients.push((Running::start(curl), file));
        until_clients(self.http, self.clients.len() as u64);
    }

    /// Waits until all media packets have been forwarded, ends the relay, and compares the
    /// received data with the sent data. Returns the payloads, and the data of each HTTP client.
    pub(super) fn compare(mut self, payload: Payload) -> (Vec<u8>, Vec<Vec<u8>>) {
        until("every media packet at every output", || {
            let sent = self.direct.count(|datagram| payload(datagram).is_some());
            let everywhere = self.unicast.count(|_| true) == sent && self.multicast.count(|_| true) == sent;
            (sent > 0 && everywhere).then_some(())
        });
        let summary = self.relay.stop();
        let mut served = Vec::new();
        for (curl, file) in &mut self.clients {
            assert!(curl.wait().success(), "curl: {}", curl.stderr());
            served.push(fs::read(file).expect("what curl has written"));
        }
        let mut sent = self.direct.finish();
        sent.retain(|datagram| payload(datagram).is_some());
        assert!(
            self.unicast.finish() == sent,
            "the unicast target has something else than was sent: {summary}"
        );
        assert!(self.multicast.finish() == sent, "the multicast target has something else: {summary}");
        let payloads = sent.iter().filter_map(|datagram| payload(datagram)).flatten().copied().collect();
        (payloads, served)
    }
}

/// Returns the payload of a media packet; `None` for other packets, which the relay does not
/// forward.
pub(super) type Payload = fn(&[u8]) -> Option<&[u8]>;

/// The payload of RTP without options, as ffmpeg and `tidecast send` make it.
fn rtp_payload(datagram: &[u8]) -> Option<&[u8]> {
    assert_eq!(datagram[..2], [0x80, 33], "a plain RTP header with the payload type of MPEG-TS");
    Some(&datagram[12..])
}

/// Returns the payload of a native data packet; repair and control datagrams have none for a
/// player.
fn native_payload(datagram: &[u8]) -> Option<&[u8]> {
    assert_eq!(datagram[..2], *b"TC");
    (datagram[2] == 0x10).then(|| &datagram[28..datagram.len() - 4])
}

fn what_ffmpeg_sends(sent: Sent, payload: Payload) {
    if !have("ffmpeg") || !have("curl") {
        return;
    }
    let from = (group(), free_port());
    let mut paths = Paths::open(sent.scheme(), from);
    let sender = sent.start(from.0, from.1);
    until("the middle of the film", || (paths.direct.count(|_| true) > 100).then_some(()));
    paths.curl();
    Sent::finish(sender);
    let (payloads, served) = paths.compare(payload);
    assert!(payloads.len() > 300_000 && payloads.iter().step_by(188).all(|byte| *byte == 0x47));
    let [whole, rest] = &served[..] else { panic!("two clients") };
    assert!(*whole == payloads, "HTTP has {} bytes, sent were {}", whole.len(), payloads.len());
    let joined = rest.len() > 10_000 && rest.len() < whole.len() && rest[0] == 0x47;
    assert!(joined && whole.ends_with(rest), "a late client has the rest from a packet on: {}", rest.len());
}

#[test]
fn rtp_of_ffmpeg_arrives_byte_for_byte() {
    what_ffmpeg_sends(Sent::Rtp, rtp_payload);
}

#[test]
fn a_transport_stream_of_ffmpeg_arrives_byte_for_byte() {
    what_ffmpeg_sends(Sent::Ts, |datagram| Some(datagram));
}

#[test]
fn a_file_sent_arrives_as_the_file_in_every_format() {
    if !have("curl") {
        return;
    }
    let file = fs::read(fixture()).expect("the fixture");
    let formats: [(&str, &[&str], Payload); 3] = [
        // At the pace of its own clock; the others are faster.
        ("rtp", &[], rtp_payload),
        ("udp", &["--format", "ts", "--rate", "4M"], |datagram| Some(datagram)),
        ("udp", &["--format", "native", "--fec", "10,2", "--rate", "4M"], native_payload),
    ];
    for (scheme, options, payload) in formats {
        let from = (group(), free_port());
        let paths = Paths::open(scheme, from);
        let mut send = tidecast(["send", "--file"]);
        send.arg(fixture()).args(options).arg(format!("{scheme}://{}:{}?ttl=0&if=127.0.0.1", from.0, from.1));
        let mut send = Running::start(send);
        assert!(send.wait().success(), "{}", send.stderr());
        let (payloads, served) = paths.compare(payload);
        assert!(payloads == file, "{scheme} {options:?}: sent {} bytes of {}", payloads.len(), file.len());
        assert!(served == [file.clone()], "{scheme} {options:?}: HTTP has {} bytes", served[0].len());
    }
}
