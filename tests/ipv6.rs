//! IPv6 on several links at once: a leg receives only from its interface, and zones work. Each
//! test has two separate network namespaces, connected by two veth pairs. Needs root; without it a
//! message says that the tests are skipped.

use tidecast_testkit::common;

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use common::{
    PATIENCE, Running, get,
    namespace::{inside, run, within},
    native, until,
};
use nix::net::if_::if_nametoindex;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// A source address that exists on both links, so that it does not distinguish them.
const SOURCE: &str = "fd77:9::1";
/// Link-local addresses of the two ends of each link.
const NEAR: &str = "fe80::77:1";
const FAR: &str = "fe80::77:2";

/// The two namespaces, deleted at the end; `near0` and `far0` are one link, `near1` and `far1`
/// another.
struct Links {
    near: String,
    far: String,
    folder: tempfile::TempDir,
}

impl Links {
    fn new() -> Links {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("tidecast6-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("folder");
        let links = Links { near: format!("{id}-near"), far: format!("{id}-far"), folder };
        let Links { near, far, .. } = &links;
        for name in [near, far] {
            run("ip", &["netns", "add", name]);
            run("ip", &["-n", name, "link", "set", "lo", "up"]);
        }
        for link in 0..2 {
            let [one, other] = ["near", "far"].map(|side| format!("{side}{link}"));
            let pair =
                ["link", "add", &one, "netns", near, "type", "veth", "peer", "name", &other, "netns", far];
            run("ip", &pair);
            for (namespace, interface, own) in [(near, &one, NEAR), (far, &other, FAR)] {
                let host = if namespace == near { 1 } else { 2 };
                let mut addresses = vec![format!("{own}/64"), format!("fd77:{link}::{host}/64")];
                addresses.extend((namespace == near).then(|| format!("{SOURCE}/128")));
                for address in addresses {
                    run("ip", &["-n", namespace, "addr", "add", &address, "dev", interface, "nodad"]);
                }
                run("ip", &["-n", namespace, "link", "set", interface, "up"]);
            }
        }
        for (namespace, interface) in [(near, "near0"), (near, "near1"), (far, "far0"), (far, "far1")] {
            until("IPv6", || {
                let shown = run("ip", &["-n", namespace, "-6", "addr", "show", "dev", interface]);
                (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
            });
        }
        links
    }

    /// Starts `tidecast ARGS` in the relay's namespace, and waits until it is ready.
    fn start(&self, args: &[&str]) -> Running {
        let mut running = Running::start(within(&self.far, env!("CARGO_BIN_EXE_tidecast"), args));
        running.wait_for_line("tidecast: ready");
        running
    }

    /// Starts `serve` with this configuration and this HTTP address.
    fn serve(&self, http: &str, config: &str) -> Running {
        let file = self.folder.path().join("tidecast.toml");
        std::fs::write(&file, format!("[http]\n{http}\n{config}")).expect("write");
        self.start(&["serve", "-c", file.to_str().expect("text")])
    }

    /// Returns a socket of the producer whose multicast is sent on this link, from the address
    /// that both links have.
    fn sender(&self, link: u32) -> UdpSocket {
        inside(&self.near, || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("socket");
            let index = if_nametoindex(&*format!("near{link}")).expect("interface");
            socket.set_multicast_if_v6(index).expect("interface");
            socket
                .bind(&format!("[{SOURCE}]:0").parse::<SocketAddr>().expect("address").into())
                .expect("bind");
            socket.into()
        })
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn channel(name: &str, input: &str, more: &str) -> String {
    format!("[[channel]]\nname = \"{name}\"\ninput = {input}\n{more}\n")
}

/// Returns the channel with this name from the state.
fn state<'a>(all: &'a Value, name: &str) -> &'a Value {
    let channels = all["channels"].as_array().expect("channels");
    channels.iter().find(|channel| channel["name"] == name).expect("the channel")
}

fn numbered(number: u16, byte: u8) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[byte]].concat()
}

#[test]
fn a_leg_receives_from_its_interface_alone() {
    if !common::is_root() {
        return;
    }
    let links = Links::new();
    let seq = "format = \"seq=u16be@0\"";
    let quoted = |url: &str| format!("\"{url}\"");
    let mut config = String::new();
    for link in 0..2 {
        let plain = quoted(&format!("udp://@[ff15::77:1]:5000?if=far{link}"));
        let one_source = quoted(&format!("udp://{SOURCE}@[ff35::77:1]:5000?if=far{link}"));
        let protected = quoted(&format!("rtp://@[ff15::77:2]:5000?if=far{link}"));
        let asking = quoted(&format!("rist://@[ff15::77:4]:5000?if=far{link}"));
        config += &channel(&format!("plain{link}"), &plain, seq);
        config += &channel(&format!("source{link}"), &one_source, seq);
        config += &channel(&format!("fec{link}"), &protected, "fec = \"st2022-1\"");
        config += &channel(&format!("rist{link}"), &asking, "");
    }
    let both = "[\"udp://@[ff15::77:3]:5000?if=far0\", \"udp://@[ff15::77:3]:5000?if=far1\"]";
    config += &channel("both", both, "format = \"seq=u16be@0,id=u8@2\"");
    let mut relay =
        links.serve("listen = \"127.0.0.1:0\"\ninterface = \"far1\"\nallow = \"ff15::/16\"", &config);
    let http = relay.http();
    let all = || -> Value {
        let (status, _, text) = inside(&links.far, || get(http, "/api/v1/streams"));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    };
    // A group on demand, and `recv` and `probe` of groups that another program has joined on the
    // other link.
    let mut client = inside(&links.far, || {
        let mut client = TcpStream::connect(http).expect("connect");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        write!(client, "GET /udp/[ff15::77:1]:5000 HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        client
    });
    until("the group on demand", || {
        let all = all();
        (all["channels"].as_array().map(Vec::len) == Some(10)).then_some(())
    });
    let mut recv = links.start(&["recv", "udp://@[ff15::77:1%far1]:5000", "--format", "raw", "--json"]);

    let senders = [0, 1].map(|link| links.sender(link));
    let to = |group: &str, port: u16| SocketAddr::from((group.parse::<Ipv6Addr>().expect("group"), port));
    for number in 0..100u16 {
        for (link, sender) in senders.iter().enumerate() {
            let datagram = numbered(number + 1000 * link as u16, link as u8);
            for group in ["ff15::77:1", "ff35::77:1"] {
                sender.send_to(&datagram, to(group, 5000)).expect("send");
            }
            // The first link loses every tenth packet.
            if link == 1 || number % 10 != 5 {
                sender.send_to(&numbered(number, 9), to("ff15::77:3", 5000)).expect("send");
            }
        }
        // Beside the media of the second link arrive datagrams that are neither repair packets nor
        // RTCP.
        for (group, port) in [("ff15::77:2", 5002), ("ff15::77:4", 5001)] {
            senders[1].send_to(b"rubbish", to(group, port)).expect("send");
        }
        thread::sleep(Duration::from_millis(3));
    }
    // A leg's missing numbers count once the maximum hold is over.
    for number in 100..400u16 {
        for sender in &senders {
            sender.send_to(&numbered(number, 9), to("ff15::77:3", 5000)).expect("send");
        }
        thread::sleep(Duration::from_millis(3));
    }
    let count = |all: &Value, name: &str, counter: &str| {
        state(all, name)["counters"][counter].as_u64().expect("a counter")
    };
    let sent = [("plain0", 100), ("plain1", 100), ("source0", 100), ("source1", 100), ("both", 790)];
    let all = until("all that was sent", || {
        let all = all();
        sent.iter().all(|(name, sent)| count(&all, name, "media_received") >= *sent).then_some(all)
    });
    for name in ["plain0", "plain1", "source0", "source1"] {
        let figures = ["media_received", "delivered", "lost", "rejected"].map(|one| count(&all, name, one));
        assert_eq!(figures, [100, 100, 0, 0], "{name}: {}", state(&all, name)["counters"]);
    }
    let both = state(&all, "both");
    let leg = |leg: usize, counter: &str| both["legs"][leg][counter].as_u64().expect("a counter");
    let figures = [leg(0, "media"), leg(0, "missed"), leg(1, "media"), leg(1, "missed")];
    assert_eq!(figures, [390, 10, 400, 0], "{both}");
    for (name, refused) in [("fec0", 0), ("fec1", 100), ("rist0", 0), ("rist1", 100)] {
        let rejects = state(&all, name)["rejects"].as_object().expect("a map");
        let sum: u64 = rejects.values().filter_map(Value::as_u64).sum();
        assert_eq!(sum, refused, "{name}: {rejects:?}");
    }

    let mut body: Vec<u8> = Vec::new();
    let end_of_head = |body: &[u8]| body.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    while end_of_head(&body).is_none_or(|head| body.len() < head + 300) {
        let mut some = [0; 4096];
        let read = client.read(&mut some).expect("read");
        assert!(read > 0, "the stream has ended");
        body.extend(&some[..read]);
    }
    let head = end_of_head(&body).expect("a head");
    assert!(body[head..].chunks_exact(3).all(|datagram| datagram[2] == 1), "on demand: {:?}", &body[head..]);
    let said = recv.stop();
    let json = said.lines().find(|line| line.starts_with('{')).expect("a summary");
    let summary: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(summary["received"], 100, "{said}");
    relay.stop();
}

#[test]
fn probe_counts_what_comes_on_its_interface_alone() {
    if !common::is_root() {
        return;
    }
    let links = Links::new();
    let _other = links.start(&["recv", "udp://@[ff15::77:1]:5000?if=far0"]);
    let args = ["probe", "udp://@[ff15::77:1%far1]:5000", "--format", "raw", "--for", "3s", "--json"];
    let probe = within(&links.far, env!("CARGO_BIN_EXE_tidecast"), &args)
        .stdout(std::process::Stdio::piped())
        .spawn();
    let probe = probe.expect("probe");
    until("the membership", || {
        let groups = run("ip", &["-n", &links.far, "maddr", "show", "dev", "far1"]);
        groups.contains("ff15::77:1").then_some(())
    });
    let senders = [0, 1].map(|link| links.sender(link));
    let group = SocketAddr::from(("ff15::77:1".parse::<Ipv6Addr>().expect("group"), 5000));
    for _ in 0..50 {
        senders[0].send_to(b"wrong", group).expect("send");
        senders[1].send_to(b"right!", group).expect("send");
    }
    let Output { stdout, .. } = probe.wait_with_output().expect("probe");
    let report: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert_eq!((&report["packets"], &report["bytes"]), (&50.into(), &300.into()), "{report}");
}

#[test]
fn zones_and_alternative_names_are_known_everywhere() {
    if !common::is_root() {
        return;
    }
    let links = Links::new();
    let alternative = "uplink-to-the-house-behind"; // longer than a first name may be
    run("ip", &["-n", &links.far, "link", "property", "add", "dev", "far0", "altname", alternative]);
    let link_local = |side: &str, port: u16| {
        let index = if_nametoindex(&*format!("{side}0")).expect("interface");
        let address = if side == "near" { FAR } else { NEAR };
        SocketAddrV6::new(address.parse().expect("address"), port, 0, index)
    };
    let output = inside(&links.near, || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("socket");
        let index = if_nametoindex("near0").expect("interface");
        socket
            .bind(&SocketAddrV6::new("ff02::77:2".parse().expect("group"), 6000, 0, index).into())
            .expect("bind");
        socket.join_multicast_v6(&"ff02::77:2".parse().expect("group"), index).expect("join");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        UdpSocket::from(socket)
    });
    let config = [
        format!("[tcp]\nlisten = \"[{FAR}%far0]:9000\"\n[udp]\nlisten = \"[{FAR}%{alternative}]:4023\""),
        channel("group", "\"udp://@[ff02::77:1%far0]:5000\"", "output = \"udp://[ff02::77:2%far0]:6000\""),
        channel(
            "host",
            &format!("\"udp://@[{FAR}%{alternative}]:5001\""),
            &format!("output = \"udp://[{NEAR}%far0]:6001?if={FAR}%far0\""),
        ),
        channel("altname", &format!("\"udp://@[ff15::77:9]:5000?if={alternative}\""), ""),
        channel("source", &format!("\"udp://{NEAR}%far0@[ff32::77:9]:5000\""), ""),
    ];
    let mut relay = links.serve(&format!("listen = \"[{FAR}%far0]:0\""), &config.join("\n"));
    let http = relay.http();
    let ask = |path: &str| inside(&links.near, || get(link_local("near", http.port()).into(), path));
    assert_eq!(ask("/readyz").0, 200, "{}", relay.stderr());
    let (sender, host) = inside(&links.near, || {
        let socket = || UdpSocket::bind("[::]:0").expect("bind");
        let sender = socket();
        let own =
            SocketAddrV6::new(NEAR.parse().expect("address"), 6001, 0, if_nametoindex("near0").expect("it"));
        let host = UdpSocket::bind(own).expect("bind");
        host.set_read_timeout(Some(PATIENCE)).expect("timeout");
        (sender, host)
    });
    let index = inside(&links.near, || if_nametoindex("near0").expect("interface"));
    let at = |text: &str, port| SocketAddrV6::new(text.parse().expect("address"), port, 0, index);
    let mut bytes = [0; 100];
    for (to, by) in [(at("ff02::77:1", 5000), &output), (at(FAR, 5001), &host)] {
        sender.send_to(b"hello", to).expect("send");
        let length = by.recv(&mut bytes).expect("it comes out");
        assert_eq!(&bytes[..length], b"hello", "{to}");
    }
    // The producer's side, and a subscriber's.
    let relay_udp = format!("tidecast://[{FAR}%near0]:4023/altname");
    let args = ["recv", &relay_udp, "--count", "5"];
    let mut recv = Running::start(within(&links.near, env!("CARGO_BIN_EXE_tidecast"), &args));
    recv.wait_for_line("tidecast: ready");
    let group = "udp://[ff15::77:9%near0]:5000";
    let send = ["send", "--to", group, "--sensor", "1", "--count", "20", "--interval", "5ms"];
    let mut send = Running::start(within(&links.near, env!("CARGO_BIN_EXE_tidecast"), &send));
    assert!(send.wait().success() && recv.wait().success(), "{}{}", send.stderr(), recv.stderr());
    let one_source = inside(&links.near, || UdpSocket::bind(at(NEAR, 0)).expect("bind"));
    one_source.send_to(&native(1, 1, 0, b"one"), at("ff32::77:9", 5000)).expect("send");
    until("the packet of the one source", || {
        let all: Value = serde_json::from_str(&ask("/api/v1/streams").2).expect("JSON");
        (state(&all, "source")["counters"]["media_received"] == 1).then_some(())
    });
    let tcp = inside(&links.near, || TcpStream::connect(link_local("near", 9000)));
    tcp.expect("the listener for programs");
    relay.stop();
}

#[test]
fn an_interface_that_is_down_is_said_to_be_down() {
    if !common::is_root() {
        return;
    }
    let links = Links::new();
    let config = channel("a", "\"udp://@[ff15::77:1]:5000?if=far0\"", "")
        + &channel("b", "\"udp://@239.77.1.1:5000?if=far1\"", "");
    let mut relay = links.serve("listen = \"127.0.0.1:0\"", &config);
    let http = relay.http();
    let ask = |path: &str| inside(&links.far, || get(http, path));
    assert_eq!(ask("/readyz").0, 200);
    run("ip", &["-n", &links.far, "link", "set", "far0", "down"]);
    run("ip", &["-n", &links.near, "link", "set", "near1", "down"]);
    let (_, _, text) = until("both to be told", || {
        let answer = ask("/readyz");
        (answer.0 == 503 && answer.2.lines().count() == 2).then_some(answer)
    });
    assert!(text.contains("far0 is down: nothing comes until `ip link set far0 up`"), "{text}");
    assert!(text.contains("far1 is down (no carrier)"), "{text}");
    let health = until("the verdict", || {
        let all: Value = serde_json::from_str(&ask("/api/v1/channels").2).expect("JSON");
        let reason = state(&all, "a")["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("far0 is down").then_some(reason)
    });
    assert!(health.contains("far0"), "{health}");
    assert!(ask("/api/v1/events").2.contains("far0 is down"));
    assert!(
        ask("/metrics").2.lines().any(|line| line.starts_with("tidecast_leg_down") && line.ends_with(" 1"))
    );
    let file = links.folder.path().join("tidecast.toml");
    let mut check =
        within(&links.far, env!("CARGO_BIN_EXE_tidecast"), &["check", "-c", file.to_str().expect("text")]);
    let Output { stdout, .. } = check.output().expect("check");
    let said = String::from_utf8_lossy(&stdout);
    assert!(said.contains("far0 is down") && said.contains("far1 is down"), "{said}");
    run("ip", &["-n", &links.far, "link", "set", "far0", "up"]);
    run("ip", &["-n", &links.near, "link", "set", "near1", "up"]);
    until("both to be up", || (ask("/readyz").0 == 200).then_some(()));
    let said = relay.stop();
    assert!(said.contains("far0 is up again") && said.contains("far1 is up again"), "{said}");
}
