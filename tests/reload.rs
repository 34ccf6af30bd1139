//! A configuration that is read again (SIGHUP) while the relay runs: what differs is applied, and
//! what does not is not touched.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use common::{PATIENCE, Running, binary, free_port, get, group, metric, native, sender, until};
use tidecast_testkit::common;
use tidecast_wire::subscribe::TokenDigest;

/// A relay whose configuration is written anew.
struct Relay {
    running: Running,
    file: PathBuf,
    http: SocketAddr,
    tcp: SocketAddr,
    udp: SocketAddr,
    head: String,
    reloads: usize,
    _folder: tempfile::TempDir,
}

const DONE: &str = "the configuration was read again: ";

impl Relay {
    fn start(config: &str) -> Relay {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("relay.toml");
        let (http, tcp, udp) = (free_port(), free_port(), free_port());
        let head = format!(
            "[http]\nlisten = \"127.0.0.1:{http}\"\n[tcp]\nlisten = \"127.0.0.1:{tcp}\"\n\
             [udp]\nlisten = \"127.0.0.1:{udp}\"\n"
        );
        fs::write(&file, format!("{head}{config}")).expect("a file");
        // A service has no terminal; with one, SIGHUP means that it was closed.
        let mut command = Command::new("setsid");
        command.arg(binary()).arg("serve").arg(&file);
        let mut running = Running::start(command);
        running.wait_for_line("tidecast: ready");
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (http, tcp, udp) = (local(http), local(tcp), local(udp));
        Relay { running, file, http, tcp, udp, head, reloads: 0, _folder: folder }
    }

    /// Writes the channels anew and has them read; returns what the relay says about it.
    fn reload(&mut self, config: &str) -> String {
        let head = self.head.clone();
        self.reload_all(&format!("{head}{config}"), DONE)
    }

    /// The same for a whole file, until a line with `done`.
    fn reload_all(&mut self, text: &str, done: &str) -> String {
        fs::write(&self.file, text).expect("a file");
        self.running.signal("HUP");
        self.reloads += 1;
        until("the new configuration", || {
            let log = self.running.stderr();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("the configuration ")).collect();
            let last = lines.get(self.reloads - 1)?;
            assert!(last.contains(done), "{log}");
            last.split_once(done).map(|(_, what)| what.to_owned())
        })
    }
}

fn channel(name: &str, (group, port): (Ipv4Addr, u16), more: &str) -> String {
    format!("[[channel]]\nname = \"{name}\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n{more}\n")
}

/// Sends readings, numbered from 0, until it is stopped.
struct Producer {
    stop: Arc<AtomicBool>,
    sent: JoinHandle<u64>,
}

impl Producer {
    fn start(to: (Ipv4Addr, u16)) -> Producer {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let sent = thread::spawn(move || {
            let socket = sender();
            for number in 0.. {
                if ends.load(Relaxed) || number > 60_000 {
                    return number;
                }
                let reading = format!("{{\"n\":{number}}}\n");
                socket.send_to(&native(7, 99, number, reading.as_bytes()), to).expect("send");
                thread::sleep(Duration::from_millis(2));
            }
            unreachable!()
        });
        Producer { stop, sent }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.sent.join().expect("no panic")
    }
}

/// The numbers behind `mark` in the lines that come after `request`, until the end.
fn numbers(at: SocketAddr, request: String, mark: &'static str) -> JoinHandle<Vec<u64>> {
    let mut stream = TcpStream::connect(at).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(request.as_bytes()).expect("write");
    thread::spawn(move || {
        let number = |line: String| {
            let rest = line.split_once(mark)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        BufReader::new(stream).lines().map_while(Result::ok).filter_map(number).collect()
    })
}

/// Count of sockets that are members of a group on `lo`, by the kernel.
fn members(group: Ipv4Addr) -> u32 {
    let table = fs::read_to_string("/proc/net/igmp").expect("the kernel's table");
    let mut device = "";
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with(char::is_whitespace) {
            device = words[1];
        } else if device == "lo" && u32::from_str_radix(words[0], 16) == Ok(group.to_bits().swap_bytes()) {
            return words[1].parse().expect("a count");
        }
    }
    0
}

#[test]
fn what_does_not_differ_misses_nothing() {
    let (kept, other) = ((group(), free_port()), (group(), free_port()));
    let both = |more: &str| channel("kept", kept, "") + &channel("other", other, more);
    let mut relay = Relay::start(&both(""));
    let host = relay.http;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let clients = [
        numbers(relay.http, get("/streams/kept"), "{\"n\":"),
        numbers(relay.http, get("/sse/kept"), "\"seq\":"),
        numbers(relay.tcp, "SUBSCRIBE kept format=lines\n".to_owned(), "\"seq\":"),
    ];
    let mut subscriber = Command::new(binary());
    subscriber.args(["recv", &format!("tidecast://{}/kept", relay.udp), "--json"]);
    let mut subscriber = Running::start(subscriber);
    until("the clients", || {
        (metric(relay.http, &["tidecast_subscribers{", "channel=\"kept\""]) >= 4.0).then_some(())
    });
    let producer = Producer::start(kept);
    for round in 0..20 {
        let (config, expected) = match round % 4 {
            0 => (both("hold = \"80ms\""), "changed other"),
            1 => (channel("kept", kept, ""), "removed other"),
            2 => (both("output = \"udp://127.0.0.1:9\""), "added other"),
            _ => (both(""), "changed other"),
        };
        assert_eq!(relay.reload(&config), expected, "round {round}");
        assert_eq!(members(kept.0), 1, "round {round}");
        assert_eq!(members(other.0), u32::from(round % 4 != 1), "round {round}");
    }
    let sent = producer.stop();
    assert!(sent > 100, "{sent}");
    until("the last packet", || {
        (metric(relay.http, &["tidecast_packets_delivered_total{", "channel=\"kept\""]) >= sent as f64)
            .then_some(())
    });
    let summary = subscriber.stop();
    assert!(summary.contains("\"lost\":0"), "{summary}");
    relay.running.stop();
    for client in clients {
        let numbers = client.join().expect("no panic");
        // The last values of a new subscriber come first, and may be of before.
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert_eq!((numbers.first(), numbers.last()), (Some(&0), Some(&(sent - 1))));
    }
}

#[test]
fn a_wrong_file_changes_nothing_and_says_why() {
    let at = (group(), free_port());
    let mut relay = Relay::start(&channel("cam", at, ""));
    let wrong = "[[channel]]\nname = \"cam\"\nhold = \"fast\"\n";
    let why = relay.reload_all(wrong, "the configuration is wrong, so nothing has changed: ");
    assert!(why.contains("channel[0].hold = \"fast\"") && why.contains("channel[0].input"), "{why}");
    assert_eq!((get(relay.http, "/healthz").0, members(at.0)), (200, 1));
    fs::remove_file(&relay.file).expect("the file");
    relay.running.signal("HUP");
    relay.running.wait_for_line("cannot be read: No such file");
    relay.reloads += 1;
    assert_eq!(relay.reload(&channel("cam", at, "")), "nothing is new");
    // What needs a start of its own is told.
    let head = relay.head.replace("[tcp]", "threads = 2\n[tcp]").replace("threads = 2\n", "");
    let all = format!("tick = \"10ms\"\n{head}{}", channel("cam", at, "tick = \"5ms\""));
    let what = relay.reload_all(&all, DONE);
    assert_eq!(what, "tick counts at the next start");
}

#[test]
fn a_channel_that_is_taken_out_ends_and_its_counters_stay() {
    let (at, other) = ((group(), free_port()), (group(), free_port()));
    let mut relay = Relay::start(&(channel("a", at, "") + &channel("b", other, "")));
    let host = relay.http;
    let reader = numbers(relay.http, format!("GET /streams/a HTTP/1.1\r\nhost: {host}\r\n\r\n"), "{\"n\":");
    until("the client", || (metric(host, &["tidecast_subscribers{", "channel=\"a\""]) >= 1.0).then_some(()));
    let producer = Producer::start(at);
    let delivered = || metric(host, &["tidecast_packets_delivered_total{", "channel=\"a\""]);
    until("packets", || (delivered() > 20.0).then_some(()));
    let sent = producer.stop();
    until("all packets", || (delivered() >= sent as f64).then_some(()));
    assert_eq!(relay.reload(&channel("b", other, "")), "removed a");
    assert_eq!(reader.join().expect("no panic").len() as u64, sent, "the stream ends after its last packet");
    assert_eq!((get(host, "/streams/a").0, members(at.0)), (404, 0));
    assert_eq!(delivered(), sent as f64);
    assert_eq!(metric(host, &["tidecast_subscribers{", "channel=\"a\""]), 0.0);
    assert_eq!(relay.reload(&(channel("a", at, "") + &channel("b", other, ""))), "added a");
    let names = get(host, "/playlist.m3u").2;
    let place = |name: &str| names.find(&format!("/streams/{name}\n")).expect(name);
    assert!(place("a") < place("b"), "in the file's order: {names}");
}

#[test]
fn a_revoked_token_ends_what_it_has_opened() {
    let at = (group(), free_port());
    let token = |name: &str| {
        let digest = hex::encode(TokenDigest::of(name).0);
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n")
    };
    let all = token("stays") + &token("goes") + &channel("cam", at, "");
    let mut relay = Relay::start(&all);
    let host = relay.http;
    let stream = |token: &str| format!("GET /streams/cam?token={token} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let stays = numbers(host, stream("stays"), "{\"n\":");
    let goes = [
        numbers(host, stream("goes"), "{\"n\":"),
        numbers(relay.tcp, "AUTH goes\nSUBSCRIBE cam format=lines\n".to_owned(), "\"seq\":"),
    ];
    let mut idle = TcpStream::connect(relay.tcp).expect("connect");
    idle.write_all(b"AUTH goes\nLIST\n").expect("write");
    let mut idle = BufReader::new(idle);
    let mut lines = String::new();
    for _ in 0..2 {
        idle.read_line(&mut lines).expect("an answer");
    }
    assert!(lines.starts_with("OK {\"user\":\"goes\"}\nOK [{"), "{lines}");
    let producer = Producer::start(at);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(relay.reload(&(token("stays") + &channel("cam", at, ""))), "new rules of access");
    for client in goes {
        assert!(!client.join().expect("it has ended").is_empty(), "it had its stream before");
    }
    idle.get_mut().write_all(b"SUBSCRIBE cam\n").expect("write");
    let mut line = String::new();
    idle.read_line(&mut line).expect("an answer");
    assert_eq!(line, "ERR this needs the role watch: expected AUTH token first\n");
    assert_eq!(get(host, "/streams/cam?token=goes").0, 401);
    let sent = producer.stop();
    thread::sleep(Duration::from_millis(200));
    relay.running.stop();
    let numbers = stays.join().expect("no panic");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(sent - 1)));
}
