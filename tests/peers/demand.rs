//! SMPTE ST 2022-1 without a configured channel, for groups on demand and for `recv`. In each
//! matrix but the first, a column's packet and a row's packet are missing, and both recover all.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use tidecast_wire::{
    fec::matrix::{Encoder, Shape},
    rtp,
    st2022::Axis,
};

use super::{
    common::{PATIENCE, Running, free_port, group, sender, tidecast},
    st2022::media,
};

const COLUMNS: u8 = 5;
const ROWS: u8 = 5;
const MATRIX: u64 = COLUMNS as u64 * ROWS as u64;
const COUNT: u64 = 8 * MATRIX;

fn is_lost(number: u64) -> bool {
    number >= MATRIX && [7, 13].contains(&(number % MATRIX))
}

#[test]
fn groups_on_demand_and_recv_rebuild_what_is_lost() {
    let (group, port) = (group(), free_port().min(65_000) & !1);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("relay.toml");
    let text = "[http]\nlisten = \"127.0.0.1:0\"\ninterface = \"127.0.0.1\"\nfec = \"st2022-1\"\n";
    fs::write(&config, text).expect("write");
    let mut relay = Running::tidecast(["serve".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let mut client = TcpStream::connect(relay.http()).expect("connect");
    client.set_read_timeout(Some(PATIENCE)).expect("time-out");
    write!(client, "GET /rtp/{group}:{port} HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let input = format!("rtp://@{group}:{port}?if=127.0.0.1");
    let file = folder.path().join("received");
    let mut recv = Running::start(tidecast([
        "recv",
        &input,
        "--fec",
        "st2022-1",
        "-o",
        file.to_str().expect("a name"),
        "--count",
        &COUNT.to_string(),
    ]));
    recv.wait_for_line("ready");

    let socket = sender();
    let mut encoder = Encoder::new(Shape::new(COLUMNS, ROWS, true).expect("a matrix"), 1, 1);
    let (mut repairs, mut payloads) = (Vec::new(), Vec::new());
    // One more matrix, with which the last repair packets are sent.
    for number in 0..COUNT + MATRIX {
        let packet = media(number);
        if number < COUNT {
            payloads.extend_from_slice(rtp::Packet::parse(&packet).expect("RTP").payload());
        }
        encoder.media(&packet, &mut repairs);
        if !is_lost(number) {
            socket.send_to(&packet, (group, port)).expect("send");
        }
        for repair in repairs.drain(..) {
            let above = if repair.axis == Axis::Column { 2 } else { 4 };
            socket.send_to(&repair.bytes, (group, port + above)).expect("send");
        }
        if number % MATRIX == MATRIX - 1 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    let mut body = vec![0; payloads.len()];
    client.read_exact(&mut body).expect("all of it");
    assert!(body == payloads, "over HTTP something is missing");
    assert!(recv.wait().success(), "{}", recv.stderr());
    assert!(fs::read(&file).expect("the file") == payloads, "recv: {}", recv.stderr());
}

#[test]
fn recv_says_what_fec_needs() {
    for (arguments, expected) in [
        (&["udp://@239.255.9.9:5000", "--format", "native"][..], "expected --format rtp, not native"),
        (&["rtp://@239.255.9.9:65532"][..], "expected a port up to 65531"),
    ] {
        let output = tidecast([&["recv", "--fec", "st2022-1"][..], arguments].concat()).output().expect("it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}
