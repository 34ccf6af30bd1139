//! Tests that the real program reports when received datagrams are not forwarded: in the verdict,
//! the events, the log and `/readyz`, with the likely reason and what to do; and `recv` by its
//! exit code.

use tidecast_testkit::common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use common::{Running, free_port, get, group, native, sender, tidecast, until};
use serde_json::Value;

/// A datagram of seven null packets of a transport stream.
fn transport_stream() -> Vec<u8> {
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    packet.repeat(7)
}

fn reason(http: SocketAddr, name: &str) -> Option<String> {
    let (status, _, body) = get(http, "/api/v1/channels");
    assert_eq!(status, 200, "{body}");
    let all: Value = serde_json::from_str(&body).expect("JSON");
    let channel = all["channels"].as_array()?.iter().find(|channel| channel["name"] == name)?;
    (channel["health"] == "degraded").then(|| channel["reason"].as_str().expect("text").to_owned())
}

#[test]
fn a_player_that_asks_for_rtp_where_plain_ts_comes_is_told_of_everywhere() {
    let (group, port) = (group(), free_port());
    let mut relay = Running::tidecast(["serve", "--http", "127.0.0.1:0", "--if", "127.0.0.1"]);
    let http = relay.http();
    let mut player = TcpStream::connect(http).expect("connect");
    write!(player, "GET /rtp/{group}:{port} HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("write");
    let mut head = [0; 12];
    player.read_exact(&mut head).expect("the answer's head");
    let (socket, name) = (sender(), format!("rtp-{group}-{port}"));
    let datagram = transport_stream();
    let text = until("both reasons", || {
        for _ in 0..10 {
            socket.send_to(&datagram, (group, port)).expect("send");
        }
        std::thread::sleep(Duration::from_millis(100));
        reason(http, &name).filter(|text| text.contains("1 player gets nothing"))
    });
    let remedy = format!(
        "this is TS without RTP, and /rtp/{group}:{port} is for RTP alone: ask for /udp/{group}:{port}"
    );
    assert!(text.contains("is passed on") && text.contains(&remedy), "{text}");
    let (status, _, ready) = get(http, "/readyz");
    assert_eq!(status, 200, "others are served well: {ready}");
    assert!(
        ready.starts_with("ready\n") && ready.contains(&format!("{name}: ")) && ready.contains(&remedy),
        "{ready}"
    );
    let events = get(http, "/api/v1/events").2;
    assert!(events.contains("of no use (mostly: format)") && events.contains("TS without RTP"), "{events}");
    assert!(events.contains("1 player gets nothing"), "{events}");
    until("it to clear", || reason(http, &name).is_none().then_some(()));
    let said = relay.stop();
    let warnings: Vec<&str> =
        said.lines().filter(|line| line.contains("WARN") && line.contains("is passed on")).collect();
    assert!(
        (1..=2).contains(&warnings.len()) && warnings[0].contains(&remedy),
        "once, not each second:\n{said}"
    );
}

#[test]
fn the_log_says_it_also_without_http() {
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let to = format!("udp://127.0.0.1:{}", free_port());
    let mut relay = Running::tidecast(["relay", &input, "--format", "native", "--to", &to]);
    let socket = sender();
    let rtp = [&[0x80, 33, 0, 1][..], &[7; 200]].concat();
    until("the log", || {
        socket.send_to(&rtp, (group, port)).expect("send");
        std::thread::sleep(Duration::from_millis(50));
        let said = relay.stderr();
        let remedy = "these are RTP packets, and the channel's format says native: set format = \"rtp\"";
        said.lines().any(|line| line.contains("WARN") && line.contains(remedy)).then_some(())
    });
    relay.stop();
}

#[test]
fn two_senders_with_one_id_are_both_named() {
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    // NetFlow 9 without the address, which the profile includes
    let layout = "seq=u32be@12,id=u32be@16";
    let mut relay = Running::tidecast(["relay", &input, "--format", layout, "--http", "127.0.0.1:0"]);
    let http = relay.http();
    let routers = [1, 2].map(|host| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
        let address = std::net::Ipv4Addr::new(127, 0, 0, host);
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("bind");
        socket.set_multicast_if_v4(&address).expect("interface");
        std::net::UdpSocket::from(socket)
    });
    let export = |number: u32| {
        let words = [9 << 16 | 1, 1000, 1_700_000_000, number, 0, 256 << 16 | 8, 7];
        words.map(u32::to_be_bytes).concat()
    };
    let mut number = 0;
    let text = until("the reason", || {
        for (router, first) in routers.iter().zip([5000, 900_000]) {
            router.send_to(&export(first + number), (group, port)).expect("send");
        }
        number += 1;
        std::thread::sleep(Duration::from_millis(10));
        if number % 50 > 0 {
            None
        } else {
            reason(http, "main").filter(|text| text.contains("two addresses"))
        }
    });
    for router in &routers {
        let address = router.local_addr().expect("address").to_string();
        assert!(text.contains("the same id comes from two addresses") && text.contains(&address), "{text}");
    }
    assert!(get(http, "/readyz").2.contains("the same id comes from two addresses"));
    relay.stop();
}

#[test]
fn recv_that_received_nothing_fails_and_says_why() {
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let output = tidecast(["recv", &input, "--for", "300ms"]).output().expect("recv");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nothing came from udp://@") && said.contains("`tidecast probe` says why"),
        "{said}"
    );

    let mut recv = Running::tidecast(["recv", &input, "--format", "native"]);
    let socket = sender();
    for _ in 0..20 {
        socket.send_to(&transport_stream(), (group, port)).expect("send");
    }
    std::thread::sleep(Duration::from_millis(200)); // queued datagrams are read before the group is left
    recv.signal("INT");
    assert_eq!(recv.wait().code(), Some(1), "{}", recv.stderr());
    let said = recv.stderr();
    assert!(said.contains("none of the 20 datagrams") && said.contains("this is TS without RTP"), "{said}");

    let mut recv = Running::tidecast(["recv", &input, "--count", "1"]);
    socket.send_to(&native(1, 1, 0, b"one"), (group, port)).expect("send");
    assert!(recv.wait().success(), "{}", recv.stderr());
}
