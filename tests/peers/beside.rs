//! Other packets beside a transport stream in RTP (FEC, keep-alives) reach no player and no output
//! of payloads, and a transport stream that is split at any position is sent as RTP with whole
//! packets.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use tidecast_wire::{rtp, ts};

use super::{
    common::{Running, free_port, free_ports, group, have, metric, sender, until, until_clients},
    fixture,
    st2022::{LOCALHOST, output},
};

fn packet(payload_type: u8, ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let timestamp = u32::from(sequence) * 900;
    rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc, payload }.emit(&mut out);
    out
}

/// Sends the film with the packets that `beside` creates, before the first datagram and each fifth
/// one; its arguments are the number of the next media packet, and how many packets it has
/// created. `foreign`: how many foreign packets are counted for each.
fn is_the_film(name: &str, one_row: bool, beside: impl Fn(u16, u16) -> Vec<u8>, foreign: f64) {
    let (from, http) = ((group(), free_ports(6)), SocketAddr::from((LOCALHOST, free_port())));
    let (to, collector) = output();
    let mut relay = Running::tidecast([
        "relay",
        &format!("rtp://@{}:{}?if=127.0.0.1", from.0, from.1),
        "--to",
        &format!("udp://127.0.0.1:{to}?payload=1"),
        "--http",
        &http.to_string(),
    ]);
    let mut client = TcpStream::connect(http).expect("connect");
    client.write_all(b"GET /streams/main?start=live HTTP/1.0\r\n\r\n").expect("write");
    until_clients(http, 1);
    let film = fs::read(fixture()).expect("the fixture");
    let datagrams: Vec<&[u8]> = film.chunks(7 * ts::PACKET).collect();
    let (socket, mut number) = (sender(), 1000);
    for (place, datagram) in datagrams.iter().enumerate() {
        if place % 5 == 0 {
            socket.send_to(&beside(number, (place / 5) as u16), from).expect("send");
            number += u16::from(one_row);
        }
        socket.send_to(&packet(33, 7, number, datagram), from).expect("send");
        number += 1;
        thread::sleep(Duration::from_millis(2));
    }
    until("the film", || (collector.count() == datagrams.len()).then_some(()));
    assert_eq!(metric(http, &["tidecast_packets_lost_total"]), 0.0, "{name}");
    let counted = metric(http, &["tidecast_packets_discarded_total", "reason=\"foreign\""]);
    assert_eq!(counted, foreign * datagrams.len().div_ceil(5) as f64, "{name}");
    relay.stop();
    let received: Vec<Vec<u8>> = collector.finish().into_iter().map(|(_, bytes)| bytes).collect();
    assert!(received == datagrams, "{name}: {} datagrams", received.len());
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    let start = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer[start..] == film, "{name}: {} bytes over HTTP", answer.len() - start);
}

#[test]
fn fec_on_the_port_of_the_media_reaches_no_player() {
    let fec = [0xde; 1320];
    is_the_film("another SSRC", false, |_, place| packet(97, 9, place, &fec), 0.0);
    is_the_film("numbers of its own", false, |_, place| packet(97, 7, 50_000 + place, &fec), 1.0);
    is_the_film("one row of numbers", true, |number, _| packet(127, 7, number, &fec), 1.0);
}

#[test]
fn keep_alives_make_no_empty_datagrams_and_are_no_losses() {
    is_the_film("empty", true, |number, _| packet(33, 7, number, &[]), 1.0);
    is_the_film("of 19 bytes", true, |number, _| packet(33, 7, number, &[0; 19]), 1.0);
    is_the_film("of another type", true, |number, _| packet(20, 7, number, &[]), 1.0);
}

#[test]
fn a_stream_that_ffmpeg_cuts_anywhere_leaves_as_rtp_of_whole_packets() {
    if !have("ffmpeg") {
        return;
    }
    let film = fs::read(fixture()).expect("the fixture");
    let from = (group(), free_port());
    let (to, collector) = output();
    let input = format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1);
    let mut relay = Running::tidecast(["relay", &input, "--to", &format!("rtp://127.0.0.1:{to}")]);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-re", "-i"]).arg(fixture());
    let url = format!("udp://{}:{}?localaddr=127.0.0.1&ttl=0", from.0, from.1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    // the same bytes into a file
    let both = format!("[f=mpegts]{url}|[f=mpegts]{}", file.path().display());
    ffmpeg.args(["-c", "copy", "-map", "0", "-f", "tee", &both]);
    let mut ffmpeg = Running::start(ffmpeg);
    assert!(ffmpeg.wait().success(), "{}", ffmpeg.stderr());
    let sent = fs::read(file.path()).expect("what ffmpeg has sent");
    assert!(sent.len() > film.len() / 2);
    let packets = sent.len() / ts::PACKET;
    until("the film", || (collector.count() >= packets.div_ceil(7)).then_some(()));
    relay.stop();
    let received = collector.finish();
    let payloads: Vec<&[u8]> =
        received.iter().map(|(_, bytes)| rtp::Packet::parse(bytes).expect("RTP").payload()).collect();
    assert!(payloads.iter().all(|payload| ts::looks_like(payload) && payload.len() <= 7 * ts::PACKET));
    assert!(payloads.concat() == sent, "{} bytes of {}", payloads.concat().len(), sent.len());
}
