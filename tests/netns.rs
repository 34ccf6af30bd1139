//! Tests that are not possible on `lo`: source-specific groups, IPv6 multicast, many groups, an
//! interface that is deleted and created again, real loss, and a path that accepts no
//! bursts. Each test has two separate network namespaces, connected by a veth pair; the producer
//! is in one, the relay in the other. Needs root; without it a message says that the tests are
//! skipped.

use tidecast_testkit::common;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use common::{
    PATIENCE, Running,
    namespace::{inside, run, within},
    native, now,
    stamped::Collector,
};
use socket2::{Domain, Socket, Type};

/// The producer's addresses, and the relay's.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NEAR_TOO: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The two namespaces; deleted at the end, also of a test that panics. Their interfaces are `near`
/// and `far`.
struct Net {
    near: String,
    far: String,
}

impl Net {
    fn new() -> Net {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("tidecast-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Net { near: format!("{id}-near"), far: format!("{id}-far") };
        for name in [&net.near, &net.far] {
            run("ip", &["netns", "add", name]);
            run("ip", &["-n", name, "link", "set", "lo", "up"]);
            // Without the second during which a new IPv6 address must not be used.
            for scope in ["all", "default"] {
                let file = format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad");
                run("ip", &["netns", "exec", name, "sh", "-c", &format!("echo 0 > {file}")]);
            }
        }
        net.connect();
        net.wait_for_ipv6();
        net
    }

    /// Waits for IPv6: an interface that has come up sends and receives IPv6 only slightly later.
    fn wait_for_ipv6(&self) {
        let start = now();
        for (namespace, interface) in [(&self.near, "near"), (&self.far, "far")] {
            let addresses = || run("ip", &["-n", namespace, "-6", "addr", "show", "dev", interface]);
            while !addresses().contains("fe80:") || addresses().contains("tentative") {
                assert!(start.elapsed() < PATIENCE, "no IPv6:\n{}", addresses());
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Creates the veth pair.
    fn connect(&self) {
        let Net { near, far } = self;
        let pair =
            ["link", "add", "near", "netns", near, "type", "veth", "peer", "name", "far", "netns", far];
        run("ip", &pair);
        let addresses = [
            (near, "near", format!("{NEAR}/24")),
            (near, "near", format!("{NEAR_TOO}/24")),
            (near, "near", "fd77::1/64".to_owned()),
            (far, "far", format!("{FAR}/24")),
            (far, "far", "fd77::2/64".to_owned()),
        ];
        for (namespace, interface, address) in &addresses {
            let mut args = vec!["-n", namespace, "addr", "add", address, "dev", interface];
            args.extend(address.contains(':').then_some("nodad"));
            run("ip", &args);
        }
        for (namespace, interface) in [(near, "near"), (far, "far")] {
            run("ip", &["-n", namespace, "link", "set", interface, "up"]);
        }
    }

    /// Starts `tidecast ARGS` in the relay's namespace, and waits until it is ready.
    fn start(&self, args: &[&str]) -> Running {
        let mut running = Running::start(within(&self.far, env!("CARGO_BIN_EXE_tidecast"), args));
        running.wait_for_line("tidecast: ready");
        running
    }

    /// Returns a socket of the producer that sends to groups from one of its addresses.
    fn sender(&self, from: Ipv4Addr) -> UdpSocket {
        inside(&self.near, || {
            let socket = UdpSocket::bind((from, 0)).expect("bind");
            socket2::SockRef::from(&socket).set_multicast_if_v4(&from).expect("interface");
            socket
        })
    }

    /// Returns the receiver of the relay's unicast output, on the same host.
    fn output(&self) -> Collector {
        inside(&self.far, Collector::unicast)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            let deleted = Command::new("ip").args(["netns", "del", name]).status();
            if !deleted.is_ok_and(|status| status.success()) {
                eprintln!("cannot delete the network namespace {name}");
            }
        }
    }
}

/// Returns the received datagrams, as text.
fn texts(output: Collector) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    output.finish().into_iter().map(|datagram| text(datagram.bytes)).collect()
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n}")).collect()
}

#[test]
fn a_source_specific_group_takes_the_wanted_source_only() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    let (group, port) = (Ipv4Addr::new(232, 1, 1, 1), 5000);
    let output = net.output();
    let (input, to) = (format!("udp://{NEAR}@{group}:{port}?if=far"), format!("udp://{}", output.addr));
    let mut relay = net.start(&["relay", &input, "--to", &to]);
    // A receiver without a source filter receives both senders.
    let any = inside(&net.far, || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("socket");
        socket.set_reuse_address(true).expect("reuse");
        socket.bind(&SocketAddr::from((group, port)).into()).expect("bind");
        socket.join_multicast_v4(&group, &FAR).expect("join");
        Collector::new(socket.into())
    });
    let senders = [(net.sender(NEAR), "wanted"), (net.sender(NEAR_TOO), "other")];
    for n in 0..100 {
        for (sender, name) in &senders {
            sender.send_to(format!("{name} {n}").as_bytes(), (group, port)).expect("send");
        }
    }
    assert!(any.wait_for(200, PATIENCE), "{} of 200 were on the wire", any.count());
    output.wait_for(100, PATIENCE);
    let said = relay.stop();
    assert_eq!(texts(output), numbered("wanted", 100), "{said}");
}

#[test]
fn ipv6_groups_come_in_and_go_out() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    let [group_in, group_out] = ["ff15::77:1", "ff15::77:2"].map(|text| text.parse::<Ipv6Addr>().unwrap());
    let index = |name: &str| nix::net::if_::if_nametoindex(name).expect("interface");
    let (sender, output) = inside(&net.near, || {
        let socket = || Socket::new(Domain::IPV6, Type::DGRAM, None).expect("socket");
        let (sender, output) = (socket(), socket());
        sender.set_multicast_if_v6(index("near")).expect("interface");
        output.bind(&SocketAddr::from((group_out, 6000)).into()).expect("bind");
        output.join_multicast_v6(&group_out, index("near")).expect("join");
        (UdpSocket::from(sender), Collector::new(output.into()))
    });
    let [input, to] = [(group_in, 5000), (group_out, 6000)];
    let input = format!("udp://@[{}]:{}?if=far", input.0, input.1);
    let to = format!("udp://[{}]:{}?if=far", to.0, to.1);
    let mut relay = net.start(&["relay", &input, "--to", &to]);
    let datagrams: Vec<Vec<u8>> =
        (0..100).map(|n| native(1, 1, n, format!("reading {n}").as_bytes())).collect();
    for pair in datagrams.chunks(2) {
        for datagram in pair.iter().rev() {
            sender.send_to(datagram, (group_in, 5000)).expect("send");
        }
    }
    output.wait_for(100, PATIENCE);
    let said = relay.stop();
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|datagram| datagram.bytes).collect();
    assert!(received == datagrams, "{} of 100 came, or in another order\n{said}", received.len());
}

/// Parses a SAP packet (RFC 2974): whether it is a deletion, its id, its IPv6 origin and its
/// description.
fn announcement(packet: &[u8]) -> (bool, [u8; 2], Ipv6Addr, String) {
    let (version, of_ipv6, deletion) = (0x20, 0x10, 0x04);
    assert_eq!(packet[0] & !deletion, version | of_ipv6, "{packet:02x?}");
    assert_eq!(packet[1], 0, "no authentication");
    let origin: [u8; 16] = packet[4..20].try_into().expect("16 bytes");
    let text = packet[20..].strip_prefix(b"application/sdp\0").expect("the payload's type");
    let text = String::from_utf8(text.to_vec()).expect("UTF-8");
    (packet[0] & deletion != 0, [packet[2], packet[3]], origin.into(), text)
}

#[test]
fn an_ipv6_group_is_announced_in_its_scope_and_taken_back() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    let (announced, interface) = ("ff05::2:7ffe".parse::<Ipv6Addr>().expect("a group"), "near");
    let heard = inside(&net.near, || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("socket");
        let index = nix::net::if_::if_nametoindex(interface).expect("interface");
        socket.bind(&SocketAddr::from((announced, 9875)).into()).expect("bind");
        socket.join_multicast_v6(&announced, index).expect("join");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        UdpSocket::from(socket)
    });
    let next = || {
        let mut bytes = [0; 2048];
        let (length, from) = heard.recv_from(&mut bytes).expect("a packet in time");
        (announcement(&bytes[..length]), from.ip())
    };
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("sap.toml");
    let text = "[http]\nlisten = \"off\"\n[[channel]]\nname = \"film\"\ninput = \"udp://@239.77.4.1:5000?if=far\"\nformat = \"ts\"\n\
                output = \"rtp://[ff15::77:3]:6000?if=far\"\nsap = true\n";
    std::fs::write(&file, text).expect("write");
    let mut serve = net.start(&["serve", "-c", file.to_str().expect("text")]);
    let (first, from) = next();
    let (deletion, id, origin, text) = &first;
    assert!(!deletion && *id != [0, 0] && from == std::net::IpAddr::from(*origin), "{first:?} from {from}");
    for line in ["s=film", "c=IN IP6 ff15::77:3", "m=video 6000 RTP/AVP 33", "o=- "] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no {line} in {text}");
    }
    assert!(text.contains(&format!(" IN IP6 {origin}\r\n")), "{text}");
    let said = serve.stop();
    // The same packet may come again, if it was due, followed by the deletion.
    let last = std::iter::repeat_with(|| next().0).find(|packet| *packet != first).expect("endless");
    assert_eq!(last, (true, *id, *origin, text.clone()), "{said}");
}

#[test]
fn one_process_receives_fifty_groups() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    let groups: Vec<Ipv4Addr> = (1..=50).map(|n| Ipv4Addr::new(239, 77, 1, n)).collect();
    let output = net.output();
    let channel = |group: &Ipv4Addr| {
        format!(
            "[[channel]]\nname = \"{group}\"\ninput = \"udp://@{group}:5000?if=far\"\noutput = \"udp://{}\"\n",
            output.addr
        )
    };
    let config: String = groups.iter().map(channel).collect();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("fifty.toml");
    std::fs::write(&file, format!("[http]\nlisten = \"off\"\n{config}")).expect("write");
    let mut serve = net.start(&["serve", "-c", file.to_str().expect("text")]);
    let joined = || {
        let igmp = run("ip", &["netns", "exec", &net.far, "cat", "/proc/net/igmp"]);
        let hex = |group: &Ipv4Addr| format!("{:08X}", u32::from_ne_bytes(group.octets()));
        groups.iter().filter(|group| igmp.contains(&hex(group))).count()
    };
    assert_eq!(joined(), 50);
    let sender = net.sender(NEAR);
    for n in 0..10 {
        for group in &groups {
            sender.send_to(format!("{group} {n}").as_bytes(), (*group, 5000)).expect("send");
        }
    }
    output.wait_for(500, PATIENCE);
    let said = serve.stop();
    assert_eq!(joined(), 0, "{said}");
    let mut received = texts(output);
    received.sort_by_key(|text| text.split(' ').next().and_then(|group| group.parse::<Ipv4Addr>().ok()));
    let expected: Vec<String> = groups.iter().flat_map(|group| numbered(&group.to_string(), 10)).collect();
    assert_eq!(received, expected, "{said}");
}

#[test]
fn a_group_is_joined_again_when_its_interface_is_made_again() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    let (group, port) = (Ipv4Addr::new(239, 77, 2, 1), 5000);
    let output = net.output();
    let (input, to) = (format!("udp://@{group}:{port}?if=far"), format!("udp://{}", output.addr));
    let mut relay = net.start(&["relay", &input, "--to", &to]);
    let send = |count: usize, name: &str| {
        let sender = net.sender(NEAR);
        for text in numbered(name, count) {
            sender.send_to(text.as_bytes(), (group, port)).expect("send");
        }
    };
    send(10, "before");
    assert!(output.wait_for(10, PATIENCE), "{}", relay.stderr());

    for round in 0..2 {
        run("ip", &["-n", &net.far, "link", "del", "far"]);
        // Both with and without enough time for the relay to notice that the interface is gone.
        thread::sleep(Duration::from_millis(1500 * round));
        net.connect();
        let (start, had) = (now(), output.count());
        while output.count() == had {
            send(1, "while it comes back");
            assert!(start.elapsed() < Duration::from_secs(3), "round {round}, not back:\n{}", relay.stderr());
            thread::sleep(Duration::from_millis(20));
        }
        println!("round {round}: back after {:?}", start.elapsed());
    }
    send(10, "after");
    let last = || output.with(|all| all.last().is_some_and(|datagram| datagram.bytes == b"after 9"));
    let start = now();
    while !last() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let said = relay.stop();
    let received = texts(output);
    assert!(received.starts_with(&numbered("before", 10)), "{received:?}\n{said}");
    assert!(received.ends_with(&numbered("after", 10)), "{received:?}\n{said}");
}

#[test]
fn fec_rebuilds_what_a_filter_really_drops() {
    if !common::is_root() || !common::have("nft") {
        return;
    }
    let net = Net::new();
    let (group, port, count) = (Ipv4Addr::new(239, 77, 3, 1), 5000, 2000);
    let rules = format!(
        "table inet loss {{
            counter all_of_it {{ }}
            counter dropped {{ }}
            chain in {{
                type filter hook prerouting priority 0;
                udp dport {port} counter name all_of_it
                udp dport {port} numgen random mod 100 < 5 counter name dropped drop
            }}
        }}"
    );
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("loss.nft");
    std::fs::write(&file, rules).expect("write");
    run("ip", &["netns", "exec", &net.far, "nft", "-f", file.to_str().expect("text")]);
    let counter = |name: &str| -> u64 {
        let text = run("ip", &["netns", "exec", &net.far, "nft", "list", "counter", "inet", "loss", name]);
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).expect("a count")
    };

    let input = format!("udp://@{group}:{port}?if=far");
    let mut recv = net.start(&["recv", &input, "--json"]);
    let (to, count_text) = (format!("udp://{group}:{port}?if=near"), count.to_string());
    let send =
        ["send", "--to", &to, "--sensor", "1", "--interval", "2ms", "--fec", "10,4", "--count", &count_text];
    let mut send = Running::start(within(&net.near, env!("CARGO_BIN_EXE_tidecast"), &send));
    assert!(send.wait().success(), "{}", send.stderr());
    thread::sleep(Duration::from_millis(500)); // the hold of the last block
    let said = recv.stop();
    let json = said.lines().find(|line| line.starts_with('{')).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let figure = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"));
    let (sent, dropped) = (counter("all_of_it"), counter("dropped"));
    println!("{sent} datagrams, {dropped} dropped, {said}");
    assert_eq!(figure("kernel_drops"), 0);
    assert!(dropped > sent / 50, "only {dropped} of {sent} were dropped");
    assert_eq!(figure("received") + figure("repair") + figure("control"), sent - dropped, "{said}");
    // Residual loss of a block of 14 at 5 %: sum over j > 4 of C(14,j) 0.05^j 0.95^(14-j) j/14,
    // 1.5e-4.
    assert!(figure("lost") <= 8, "{said}");
    // The first packets may be lost, which cannot be detected.
    assert!(figure("delivered") + figure("lost") + 3 >= count, "{said}");
    assert!(figure("recovered") >= count / 40, "{said}");
    assert_eq!(
        figure("delivered"),
        figure("received") + figure("recovered") - figure("duplicates"),
        "{said}"
    );
}

#[test]
fn bursts_that_a_path_does_not_take_go_one_by_one() {
    if !common::is_root() {
        return;
    }
    let net = Net::new();
    // The datagrams are larger than this MTU; the kernel does not fragment the segments of a
    // burst, but it does fragment a single datagram.
    run("ip", &["-n", &net.far, "link", "set", "far", "mtu", "1000"]);
    let output = inside(&net.near, || Collector::new(UdpSocket::bind((NEAR, 0)).expect("bind")));
    let (group, port) = (common::group(), common::free_port());
    let (input, to) = (format!("udp://@{group}:{port}?if=lo"), format!("udp://{}", output.addr));
    let mut relay = net.start(&["relay", &input, "--format", "native", "--to", &to]);
    let sender = inside(&net.far, common::sender);
    let sent: Vec<Vec<u8>> = (0..500).map(|number| native(1, 1, number, &[number as u8; 1284])).collect();
    for burst in sent.chunks(50) {
        for datagram in burst {
            sender.send_to(datagram, (group, port)).expect("sent");
        }
        thread::sleep(Duration::from_millis(20));
    }
    output.wait_for(sent.len(), PATIENCE);
    let said = relay.stop();
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|datagram| datagram.bytes).collect();
    assert!(received == sent, "{} of {} came\n{said}", received.len(), sent.len());
}

/// Parses the reports that `tshark` printed: time, record type and group.
fn reports(lines: &str) -> Vec<(f64, u8, String)> {
    let report = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [time, kind, group] = words[..] else { return None };
        Some((time.parse().ok()?, kind.parse().ok()?, group.to_owned()))
    };
    lines.lines().filter_map(report).collect()
}

/// Without a querier: one relay that is allowed to send raw reports, and one that is not.
#[test]
fn memberships_are_reported_again_without_leaving_and_without_loss() {
    const COUNT: usize = 1400;
    if !common::is_root() || !common::have("tshark") || !common::have("setpriv") {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().expect("folder");
    let seen = folder.path().join("reports");
    let fields = ["frame.time_relative", "igmp.record_type", "igmp.maddr"];
    let mut tshark = vec!["-i", "near", "-l", "-n", "-f", "igmp", "-T", "fields"];
    tshark.extend(fields.iter().flat_map(|field| ["-e", field]));
    let mut tshark = within(&net.near, "tshark", &tshark);
    tshark.stdout(std::fs::File::create(&seen).expect("a file"));
    let mut tshark = Running::start(tshark);
    tshark.wait_for_line("Capturing on");
    let groups = ["239.77.8.1", "239.77.8.2"].map(|group| group.parse::<Ipv4Addr>().expect("a group"));
    let outputs = [net.output(), net.output()];
    let file = |place: usize| {
        let path = folder.path().join(format!("{place}.toml"));
        let text = format!(
            "[http]\nlisten = \"off\"\n[[channel]]\nname = \"c\"\nrejoin = \"5s\"\ninput = \"udp://@{}:5000?if=far\"\n\
             output = \"udp://{}\"\n",
            groups[place], outputs[place].addr
        );
        std::fs::write(&path, text).expect("write");
        path.to_str().expect("text").to_owned()
    };
    let (with, without) = (file(0), file(1));
    for path in [folder.path().to_owned(), (&without).into()] {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, all).expect("readable");
    }
    let relay = env!("CARGO_BIN_EXE_tidecast");
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", relay, "serve", "-c", &without];
    let mut relays = [
        Running::start(within(&net.far, relay, &["serve", "-c", &with])),
        Running::start(within(&net.far, "setpriv", &nobody)),
    ];
    relays.iter_mut().for_each(|relay| drop(relay.wait_for_line("tidecast: ready")));
    let producer = net.sender(NEAR);
    for number in 0..COUNT {
        for group in groups {
            let payload = format!("reading {number}");
            let datagram = common::native(7, 1, number as u64, payload.as_bytes());
            producer.send_to(&datagram, (group, 5000)).expect("send");
        }
        thread::sleep(Duration::from_millis(10));
    }
    tshark.signal("INT");
    tshark.wait();
    let reports = reports(&std::fs::read_to_string(&seen).expect("reports"));
    let of = |group: Ipv4Addr| reports.iter().filter(move |(.., to)| *to == group.to_string());
    // The kernel's own reports are sent within the first second.
    for (group, kind) in [(groups[0], 2), (groups[1], 4)] {
        let again = of(group).filter(|(time, is, _)| *time > 4.0 && *is == kind).count();
        assert!(again >= 2, "{group}: {reports:?}");
        assert!(of(group).all(|(_, kind, _)| [2, 4].contains(kind)), "nothing that leaves: {reports:?}");
    }
    let said: Vec<String> = relays.iter_mut().map(Running::stop).collect();
    let [with, without] = outputs.map(|output| output.finish().len());
    assert_eq!(with, COUNT, "{}", said[0]);
    assert!(without + 2 >= COUNT, "{without} of {COUNT}: {}", said[1]);
}
