//! RIST receivers after a lossy path: the relay's retransmissions complete their streams.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::Ordering,
};

use super::{
    common::{Running, free_port, group, have, metric, tidecast, until},
    fixture,
    lossy::{Losses, LossyPath},
    st2022::{Collector, LOCALHOST, ports},
};

/// TS packets of a datagram, and the number of datagrams: 5 s at 6 Mbit/s.
const DATAGRAM: usize = 7 * 188;
const COUNT: u64 = 2_850;
/// Number of datagrams at the start and at the end of which none is lost.
const SPARED: u64 = 200;

/// Returns a free even port whose next higher one is free, too.
fn even_port() -> u16 {
    ports().0
}

/// Starts a relay that receives TS and sends RIST. Returns it with the command that sends to it,
/// and its HTTP address.
fn relay(to: &str, film: &Path) -> (Running, Command, SocketAddr) {
    let (input, http) = (free_port(), SocketAddr::from((LOCALHOST, free_port())));
    let listen = format!("udp://@127.0.0.1:{input}");
    let relay = Running::tidecast(["relay", &listen, "--to", to, "--http", &http.to_string()]);
    let mut send = tidecast(["send", "--format", "ts", "--rate", "6M", "--file"]);
    send.arg(film).arg(format!("udp://127.0.0.1:{input}"));
    (relay, send, http)
}

/// Returns the stream, which is the expected output of a receiver: the repeated fixture. `send
/// --loop` would let its counters and clocks go on.
fn stream() -> Vec<u8> {
    let file = std::fs::read(fixture()).expect("the fixture");
    file.into_iter().cycle().take(COUNT as usize * DATAGRAM).collect()
}

/// Checks that nothing is missing after the first packet that the receiver outputs. It outputs
/// none before it has received the sender's RTCP, and a report may arrive later than the media,
/// because it takes another path.
fn assert_whole(who: &str, received: &[u8]) {
    let expected = stream();
    let head = expected.len().saturating_sub(received.len());
    let differs = received.iter().zip(&expected[head..]).position(|(a, b)| a != b);
    println!("{who}: {} bytes, {head} before the first report", received.len());
    assert!(
        head <= SPARED as usize / 2 * DATAGRAM && received.len() <= expected.len(),
        "{head} bytes missing"
    );
    assert_eq!(differs, None, "{who}: the first byte that differs");
}

/// Checks the counters of the path and of the relay.
fn assert_recovered(who: &str, path: &LossyPath, http: SocketAddr) {
    let census = path.census();
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (lost, again) = (of(&census.lost), of(&census.again));
    let requests = |result: &str| metric(http, &["tidecast_output_requests_total{", result]);
    let (resent, refused) = (requests("\"resent\""), requests("\"refused\""));
    println!(
        "{who}: {lost} lost on the way, {resent} sent again, {refused} refused, {} recent, {} gone",
        requests("\"recent\""),
        requests("\"gone\"")
    );
    assert!(lost > COUNT / 10, "only {lost} were lost");
    assert_eq!((resent, refused), (again as f64, 0.0), "the path has seen what was sent again");
    assert_eq!(metric(http, &["tidecast_output_invalid_datagrams_total{"]), 0.0);
}

/// Starts ristreceiver with a buffer of 1 s, and collects its output.
pub(super) fn librist(url: &str) -> (Running, Collector) {
    let out = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    let to = format!("udp://{}", out.local_addr().expect("bound"));
    let mut receiver = Command::new("ristreceiver");
    receiver
        .args(["-p", "0", "-b", "1000", "-S", "0", "-v", "6", "-i", url, "-o", &to])
        .stdout(Stdio::null());
    let mut receiver = Running::start(receiver);
    receiver.wait_for_line("Starting receiver protocol loop");
    (receiver, Collector::new([out]))
}

fn through_a_lossy_path(who: &str, from: IpAddr, to: IpAddr, seed: u64) {
    if !have("ristreceiver") {
        return;
    }
    let [near, far] = [from, to].map(|ip| SocketAddr::new(ip, even_port()));
    let on_loopback =
        |at: SocketAddr, option: &str| if at.ip().is_multicast() { option.to_owned() } else { String::new() };
    let (_receiver, collector) = librist(&format!("rist://@{far}{}", on_loopback(far, "?miface=lo")));
    let path = LossyPath::open(near, far, Losses::heavy(seed, SPARED, COUNT - SPARED));
    let mut film = tempfile::NamedTempFile::new().expect("a file");
    film.write_all(&stream()).expect("write");
    let to = format!("rist://{near}{}", on_loopback(near, "?if=127.0.0.1&ttl=0"));
    let (_relay, send, http) = relay(&to, film.path());
    let mut send = Running::start(send);
    assert!(send.wait().success(), "{}", send.stderr());
    until("most of the stream", || (collector.count() as u64 >= COUNT - SPARED).then_some(()));
    let received: Vec<u8> = collector.finish().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_recovered(who, &path, http);
    assert_whole(who, &received);
}

#[test]
fn ristreceiver_misses_nothing_by_unicast() {
    through_a_lossy_path("unicast", LOCALHOST.into(), LOCALHOST.into(), 41);
}

#[test]
fn ristreceiver_misses_nothing_by_multicast() {
    let [from, to]: [Ipv4Addr; 2] = [group(), group()];
    through_a_lossy_path("multicast", from.into(), to.into(), 42);
}
