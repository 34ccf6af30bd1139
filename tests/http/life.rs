//! From the start to the end of the program.

use super::*;

#[test]
fn what_cannot_start_says_why_in_one_line_and_exits_with_its_code() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken.local_addr().expect("address").to_string();
    let folder = tempfile::tempdir().expect("folder");
    let file = |text: &str| {
        let file = folder.path().join(format!("{}.toml", text.len()));
        std::fs::write(&file, text).expect("write");
        file.to_str().expect("text").to_owned()
    };
    let fast = file("[[channel]]\nname = \"a\"\ninput = \"udp://@239.1.1.1:5000\"\nhold = \"fast\"");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["serve", "-c", &fast], 78, "hold = \"fast\""),
        (&["serve", "-c", "/no/such.toml"], 78, "cannot be read"),
        (&["serve", "--allow", "10.0.0.0/8"], 2, "--allow \"10.0.0.0/8\": expected multicast groups"),
        (&["relay", "udp://@239.1.1.1:0", "--to", "udp://127.0.0.1:6000"], 2, "expected 1 to 65535"),
        (&["serve", "--http", &taken], 1, " has this port, expected a free one"),
        (
            &["relay", "udp://@239.1.1.1:5000?if=127.0.0.1", "--http", &taken],
            1,
            " has this port, expected a free one",
        ),
        (&["serve", "--http", "192.0.2.1:8080"], 1, "cannot listen on 192.0.2.1:8080"),
    ];
    for (args, code, part) in cases {
        let output = tidecast(args).output().expect("start");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(part)), (Some(code), true), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_signal_ends_it_with_the_clients_served_to_the_last_byte() {
    let (group, port) = (group(), free_port());
    let mut relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    producer.send(0, b"first");
    assert_eq!(client.read(5), b"first");
    // The previous packet is missing, so this one is held when the signal arrives.
    producer.send(2, b"last");
    thread::sleep(Duration::from_millis(20));
    let start = now();
    relay.running.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(client.body(), "last");
    assert_eq!(memberships(group), 0);
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let next = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let mut command = tidecast(["serve", "--http", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let mut running = Running::start(command);
    assert_eq!(next(), "READY=1");
    running.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    assert!(running.wait().success());
}

#[test]
fn relay_ends_with_a_summary() {
    let (group, port, target) = (group(), free_port(), free_port());
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, target)).expect("bind");
    receiver.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let output = format!("udp://127.0.0.1:{target}?payload=1");
    let mut relay = Running::tidecast(["relay", &input, "--to", &output, "--name", "cam", "--hold", "40ms"]);
    assert!(relay.stderr().contains("tidecast: ready: 1 channel\n"), "{}", relay.stderr());
    let producer = Producer::new(group, port);
    for n in [0u64, 1, 3, 2, 2, 4, 6, 7] {
        producer.send(n, &[n as u8]);
    }
    for n in [0u8, 1, 2, 3, 4, 6, 7] {
        let mut bytes = [0; 8];
        let length = receiver.recv(&mut bytes).expect("a packet");
        assert_eq!(bytes[..length], [n]);
    }
    let summary = "tidecast: cam: received 8, delivered 7, lost 1, recovered 0, reordered 1, duplicates 1\n";
    let stderr = relay.stop();
    assert!(stderr.contains(summary), "{stderr}");
}
