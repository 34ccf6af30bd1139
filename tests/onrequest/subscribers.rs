//! A subscriber that proves its address gets the stream; one that does not gets almost nothing,
//! and disturbs no other.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tidecast_wire::{
    native::{Kind, Packet},
    subscribe::{ANSWER_BYTES, Answer, Ask, Refusal, Request, Verdict},
};

use crate::{
    common::{Running, metric, native, now, sender, tidecast, until},
    relay, socket,
};

fn request(ask: Ask, cookie: [u8; 16], name: &str) -> Vec<u8> {
    Request { ask, nonce: [7; 8], cookie, name, proof: b"" }.emit()
}

/// Returns all datagrams that arrive until the timeout.
fn heard(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut bytes = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec())).collect()
}

/// Sends a request, and returns the cookie.
fn cookie(socket: &UdpSocket, relay: SocketAddr) -> [u8; 16] {
    until("a cookie", || {
        socket.send_to(&request(Ask::Cookie, [0; 16], "cam"), relay).expect("send");
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).ok()?;
        let answer = Answer::parse(&bytes[..length])?;
        (answer.verdict == Verdict::Cookie).then_some(answer.cookie)
    })
}

/// Subscribes. Returns the cookie, which renews the lease.
fn subscribe(socket: &UdpSocket, relay: SocketAddr) -> [u8; 16] {
    let cookie = cookie(socket, relay);
    until("the grant", || {
        socket.send_to(&request(Ask::Subscribe, cookie, "cam"), relay).expect("send");
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).ok()?;
        let answer = Answer::parse(&bytes[..length])?;
        matches!(answer.verdict, Verdict::Granted { .. }).then_some(())
    });
    cookie
}

/// Waits until the relay has this many subscribers, because the stream starts slightly after the
/// grant.
fn until_subscribers(http: SocketAddr, count: f64) {
    until("the subscribers", || (subscribers(http) == count).then_some(()));
}

/// Returns the number of requests with this result.
fn requests(http: SocketAddr, result: &str) -> f64 {
    metric(http, &["tidecast_udp_requests_total{", &format!("\"{result}\"")])
}

fn subscribers(http: SocketAddr) -> f64 {
    metric(http, &["tidecast_subscribers{", "transport=\"udp\""])
}

/// Bytes of a reading: small, so that a receive buffer of usual size lasts for a second.
const PAYLOAD: usize = 100;

/// A stream of native datagrams, one per two milliseconds, until it is stopped. Returns their
/// number.
struct Stream {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Stream {
    fn start(group: Ipv4Addr, port: u16) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let socket = sender();
            let mut number = 0;
            while !stopped.load(Relaxed) {
                socket.send_to(&native(7, 99, number, &[7; PAYLOAD]), (group, port)).expect("send");
                number += 1;
                thread::sleep(Duration::from_millis(2));
            }
            number
        });
        Stream { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("no panic")
    }
}

#[test]
fn an_address_that_never_answers_gets_no_more_than_was_sent_in_its_name() {
    let (mut running, group, port, udp) = relay(&[]);
    let stream = Stream::start(group, port);
    // Datagrams that a forger might send in its name: requests, forged cookies, a cookie of
    // another address, noise.
    let victim = socket();
    let other = cookie(&socket(), udp);
    let mut sent = 0;
    for n in 0..50_u8 {
        for bytes in [
            request(Ask::Cookie, [0; 16], "cam"),
            request(Ask::Cookie, [0; 16], "nothing"),
            request(Ask::Subscribe, [n; 16], "cam"),
            request(Ask::Subscribe, other, "cam"),
            request(Ask::Leave, other, "cam"),
            request(Ask::Cookie, [0; 16], "cam")[..63].to_vec(),
            vec![n; 10],
        ] {
            sent += victim.send_to(&bytes, udp).expect("send");
        }
    }
    let heard = heard(&victim);
    let got: usize = heard.iter().map(Vec::len).sum();
    assert!(heard.len() >= 150 && got <= sent, "{} answers, {got} bytes for {sent}", heard.len());
    assert!(heard.iter().all(|bytes| bytes.len() == ANSWER_BYTES && Answer::parse(bytes).is_some()));
    assert_eq!(subscribers(running.http()), 0.0);
    for (result, count) in [
        ("granted", 0.0),
        ("refused_no_stream", 50.0),
        ("refused_cookie", 100.0),
        ("stray", 50.0),
        ("malformed", 100.0),
        ("throttled", 0.0),
    ] {
        assert_eq!(requests(running.http(), result), count, "{result}");
    }
    assert!(requests(running.http(), "cookie") >= 51.0);
    stream.end();
    running.stop();
}

#[test]
fn a_subscriber_that_vanishes_is_forgotten_after_its_lease() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("relay.toml");
    let (group, port, udp) = (crate::group(), crate::free_port(), crate::free_port());
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[udp]\nlisten = \"127.0.0.1:{udp}\"\nlease = \"3s\"\n[[channel]]\n\
         name = \"cam\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n"
    );
    std::fs::write(&config, text).expect("write");
    let mut running = Running::tidecast(["serve", "-c", config.to_str().expect("UTF-8")]);
    let (http, udp) = (running.http(), SocketAddr::from((Ipv4Addr::LOCALHOST, udp)));
    let stream = Stream::start(group, port);
    let (stays, vanishes) = (socket(), socket());
    let cookie = subscribe(&stays, udp);
    subscribe(&vanishes, udp);
    until_subscribers(http, 2.0);
    let start = now();
    let gone = until("one of them to be forgotten", || {
        stays.send_to(&request(Ask::Subscribe, cookie, "cam"), udp).expect("send");
        (subscribers(http) == 1.0).then(|| start.elapsed())
    });
    assert!(gone >= Duration::from_secs(2), "{gone:?}");
    // Datagrams may still wait in its socket; after them nothing arrives.
    heard_up_to_now(&vanishes);
    assert_eq!(heard(&vanishes), Vec::<Vec<u8>>::new());
    assert!(!heard_up_to_now(&stays).is_empty());
    stays.send_to(&request(Ask::Leave, cookie, "cam"), udp).expect("send");
    until_subscribers(http, 0.0);
    assert_eq!((requests(http, "granted"), requests(http, "left")), (2.0, 1.0));
    assert!(requests(http, "renewed") >= 1.0);
    stream.end();
    running.stop();
}

/// Reads the datagrams that wait in a socket.
fn heard_up_to_now(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).expect("nonblocking");
    let heard = heard(socket);
    socket.set_nonblocking(false).expect("blocking");
    heard
}

/// Sends requests from forged addresses: sockets on many addresses of loopback, which do not read
/// the responses.
fn flood(relay: SocketAddr, per_second: u32, stop: &AtomicBool) -> u64 {
    let sockets: Vec<UdpSocket> = (0..100_u8)
        .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 66, n, 1 + n), 0)).expect("an address of loopback"))
        .collect();
    let requests =
        [request(Ask::Cookie, [0; 16], "cam"), request(Ask::Subscribe, [5; 16], "cam"), vec![b't'; 64]];
    let (start, mut sent) = (now(), 0_u64);
    while !stop.load(Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        while sent < due {
            let socket = &sockets[sent as usize % sockets.len()];
            let _ = socket.send_to(&requests[sent as usize % 3], relay); // a full buffer is like a lost packet
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

#[test]
fn ten_thousand_made_up_requests_per_second_change_nothing_for_the_others() {
    let (mut running, group, port, udp) = relay(&[]);
    let http = running.http();
    let before = socket();
    let renewal = subscribe(&before, udp);
    until_subscribers(http, 1.0);
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sent, numbers, late) = thread::scope(|scope| {
        scope.spawn(|| requests.store(flood(udp, 10_000, &stop), Relaxed));
        let stream = Stream::start(group, port);
        let reader = scope.spawn(|| numbers_until_silent(&before));
        thread::sleep(Duration::from_secs(1));
        // A client that subscribes during the flood also gets the stream.
        let newcomer = socket();
        subscribe(&newcomer, udp);
        before.send_to(&request(Ask::Subscribe, renewal, "cam"), udp).expect("send");
        let late = scope.spawn(move || numbers_until_silent(&newcomer));
        thread::sleep(Duration::from_secs(2));
        let sent = stream.end();
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Relaxed);
        (sent, reader.join().expect("no panic"), late.join().expect("no panic"))
    });
    assert!(requests.load(Relaxed) > 10_000, "{requests:?} requests");
    assert_eq!(numbers.len() as u64, sent, "every packet, to the one that was there before");
    assert_eq!(numbers, (0..sent).collect());
    let first = *late.first().expect("the newcomer got the stream");
    assert_eq!(late, (first..sent).collect(), "and without a gap");
    assert_eq!(metric(http, &["tidecast_subscribers{", "\"udp\""]), 2.0);
    assert_eq!(metric(http, &["tidecast_output_dropped_packets_total{", "\"udp\""]), 0.0);
    running.stop();
}

/// Returns the numbers of a stream, until nothing has arrived for two seconds.
fn numbers_until_silent(socket: &UdpSocket) -> BTreeSet<u64> {
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    heard(socket)
        .iter()
        .filter_map(|bytes| Packet::parse(bytes).ok())
        .filter(|packet| packet.kind() == Kind::Data)
        .map(|packet| packet.sequence())
        .collect()
}

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

#[test]
fn refusals_say_why() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("relay.toml");
    let (group, port, udp) = (crate::group(), crate::free_port(), crate::free_port());
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[udp]\nlisten = \"127.0.0.1:{udp}\"\nclients_max = 1\n\
         [[token]]\nname = \"t\"\nsha256 = \"{SECRET}\"\n[[channel]]\nname = \"cam\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n"
    );
    std::fs::write(&config, text).expect("write");
    let mut running = Running::tidecast(["serve", "-c", config.to_str().expect("UTF-8")]);
    let recv = |url: String| {
        let output = tidecast(["recv", &url, "--for", "10s"]).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let at = format!("tidecast://127.0.0.1:{udp}");
    for (path, expected) in [
        ("/cam", "the relay expects another token (?token=...)"),
        ("/cam?token=Secret", "the relay expects another token"),
        ("/cam2?token=secret", "there is no stream of this name"),
    ] {
        let (code, text) = recv(format!("{at}{path}"));
        assert!(code == Some(1) && text.contains(expected), "{path}: {code:?} {text}");
    }
    let first = Running::tidecast(["recv", &format!("{at}/cam?token=secret")]);
    let (code, text) = recv(format!("{at}/cam?token=secret"));
    assert!(code == Some(1) && text.contains("as many subscribers as it may"), "{code:?} {text}");
    assert!(!first.stderr().contains("secret"), "a token is no output");
    running.stop();
}

#[test]
fn nobody_waits_longer_than_asked_for_a_relay_that_is_not_there() {
    let url = format!("tidecast://127.0.0.1:{}/cam", crate::free_port());
    let output = tidecast(["recv", &url, "--for", "200ms"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("no answer from 127.0.0.1:"), "{text}");
    assert!(text.contains("expected a relay that listens there"), "{text}");
}

#[test]
fn recv_gets_the_payload_and_finds_the_relay_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("out.bin");
    let (group, port, udp) = (crate::group(), crate::free_port(), crate::free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let listen = format!("127.0.0.1:{udp}");
    let words = ["relay", &input, "--udp", &listen, "--http", "127.0.0.1:0", "--name", "cam", "--tick", "0"];
    let mut first = Running::tidecast(words);
    let url = format!("tidecast://{listen}/cam");
    let mut recv = Running::tidecast(["recv", &url, "-o", file.to_str().expect("UTF-8"), "--json"]);
    let stream = Stream::start(group, port);
    let length = || std::fs::metadata(&file).map_or(0, |data| data.len());
    until("the first payloads", || (length() > 100 * PAYLOAD as u64).then_some(()));
    first.stop();
    recv.wait_for_line("has ended; asking for it again");
    let mut second = Running::tidecast(words);
    let before = length();
    until("payloads after the restart", || (length() > before + 100 * PAYLOAD as u64).then_some(()));
    stream.end();
    let text = recv.stop();
    let summary = text.lines().find(|line| line.starts_with('{')).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(summary).expect("JSON");
    assert_eq!(summary["corrupt"], 0, "{summary}");
    assert_eq!(summary["delivered"].as_u64().expect("a count") * PAYLOAD as u64, length(), "{summary}");
    let http = second.http();
    until_subscribers(http, 0.0);
    second.stop();
}

#[test]
fn a_cookie_is_no_use_to_another_address() {
    let (mut running, _, _, udp) = relay(&[]);
    let (mine, yours) = (socket(), socket());
    let cookie = cookie(&mine, udp);
    yours.send_to(&request(Ask::Subscribe, cookie, "cam"), udp).expect("send");
    let answers = heard(&yours);
    let verdicts: Vec<_> =
        answers.iter().filter_map(|bytes| Answer::parse(bytes)).map(|a| a.verdict).collect();
    assert_eq!(verdicts, [Verdict::Refused(Refusal::Cookie)]);
    running.stop();
}
