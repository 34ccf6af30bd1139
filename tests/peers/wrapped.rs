//! A transport stream that is received without RTP is sent on RTP outputs as RTP: every byte of it
//! is output by GStreamer's depayloader and by another relay, also when packets are lost on the
//! path and recovered by FEC.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use tidecast_wire::{rtp, ts};

use super::{
    common::{Running, free_port, group, have, metric, sender, until, until_clients},
    fixture,
    pipelines::{CAPS, gstreamer, gstreamer_recovers},
    recovered::Lossy,
    st2022::{LOCALHOST, free_ports, output, port, ports},
};

/// Returns the film, as datagrams of seven TS packets.
fn film() -> Vec<Vec<u8>> {
    let bytes = fs::read(fixture()).expect("the fixture");
    bytes.chunks(7 * ts::PACKET).map(<[u8]>::to_vec).collect()
}

/// Sends the film without RTP, faster than it plays.
fn send(to: (Ipv4Addr, u16)) {
    let socket = sender();
    for datagram in film() {
        socket.send_to(&datagram, to).expect("send");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a relay of the group's transport stream to these outputs.
fn relay(from: (Ipv4Addr, u16), outputs: &[String]) -> Running {
    let input = format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1);
    let arguments = ["relay".to_owned(), input, "--to".to_owned()];
    Running::tidecast(arguments.iter().chain(outputs))
}

#[test]
fn each_datagram_is_one_rtp_packet_and_all_outputs_send_the_same() {
    let from = (group(), free_port());
    let ((one, first), (other, second)) = (output(), output());
    let outputs = [one, other].map(|port| format!("rtp://127.0.0.1:{port}"));
    let collectors = [first, second];
    let mut relay = relay(from, &outputs);
    send(from);
    let count = film().len();
    until("all packets", || collectors.iter().all(|collector| collector.count() == count).then_some(()));
    relay.stop();
    let [one, other] = collectors.map(|collector| collector.finish());
    assert!(one == other, "two paths of one stream");
    let packets: Vec<rtp::Packet<'_>> =
        one.iter().map(|(_, bytes)| rtp::Packet::parse(bytes).expect("RTP")).collect();
    let payloads: Vec<&[u8]> = packets.iter().map(rtp::Packet::payload).collect();
    assert!(payloads == film(), "not what was sent");
    for pair in packets.windows(2) {
        assert_eq!((pair[1].ssrc(), pair[1].payload_type(), pair[1].marker()), (pair[0].ssrc(), 33, false));
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert!(pair[1].timestamp().wrapping_sub(pair[0].timestamp()) < 90_000, "a clock of 90 kHz");
    }
}

/// Losses before the relay also appear as gaps in the RTP numbers.
#[test]
fn a_native_transport_stream_keeps_its_gaps() {
    let from = (group(), free_port());
    let (to, collector) = output();
    let mut relay = relay(from, &[format!("rtp://127.0.0.1:{to}")]);
    let socket = sender();
    let film = film();
    let lost = |number: usize| number % 10 == 3 || (40..45).contains(&number);
    for (number, payload) in film.iter().enumerate().take(100).filter(|(number, _)| !lost(*number)) {
        let packet = super::common::native(5, 9, number as u64, payload);
        socket.send_to(&packet, from).expect("send");
        thread::sleep(Duration::from_millis(1));
    }
    let kept: Vec<usize> = (0..100).filter(|number| !lost(*number)).collect();
    until("all packets", || (collector.count() == kept.len()).then_some(()));
    relay.stop();
    let packets = collector.finish();
    let packets: Vec<_> = packets.iter().map(|(_, bytes)| rtp::Packet::parse(bytes).expect("RTP")).collect();
    let numbers: Vec<usize> =
        packets.iter().map(|packet| packet.sequence().wrapping_sub(packets[0].sequence()).into()).collect();
    assert_eq!(numbers, kept);
    assert!(packets.iter().zip(&kept).all(|(packet, number)| packet.payload() == film[*number]));
}

/// A stream other than a transport stream is refused, and this is reported.
#[test]
fn readings_are_not_sent_as_rtp_and_a_warning_says_so() {
    let (from, http) = ((group(), free_port()), SocketAddr::from((LOCALHOST, free_port())));
    let (to, socket) = port();
    let input = format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1);
    let mut relay = Running::tidecast([
        "relay",
        &input,
        "--to",
        &format!("rtp://127.0.0.1:{to}"),
        "--http",
        &http.to_string(),
    ]);
    for number in 0..5 {
        sender().send_to(&super::common::native(5, 9, number, b"21.5"), from).expect("send");
    }
    until("the counter", || (metric(http, &["reason=\"not_rtp\""]) == 5.0).then_some(()));
    let warning = relay.wait_for_line("neither RTP nor MPEG-TS");
    assert!(warning.contains(&format!("rtp://127.0.0.1:{to}")) && warning.contains("udp://"), "{warning}");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("time-out");
    assert!(socket.recv(&mut [0; 100]).is_err());
    relay.stop();
}

/// Waits until the film's end is in the file, and compares.
fn is_the_film(file: &Path) {
    let film = film().concat();
    let bytes =
        until("the end of the film", || fs::read(file).ok().filter(|bytes| bytes.len() >= film.len()));
    assert!(film == bytes, "{} bytes that are not the film", bytes.len());
}

#[test]
fn gstreamer_takes_the_identical_stream_out_of_our_rtp() {
    if !have("gst-launch-1.0") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (file, from) = (folder.path().join("film.ts"), (group(), free_port()));
    let to = free_port();
    let _relay = relay(from, &[format!("rtp://127.0.0.1:{to}")]);
    let _gstreamer = gstreamer(&format!(
        "udpsrc address=127.0.0.1 port={to} {CAPS} ! rtpjitterbuffer latency=500 ! rtpmp2tdepay ! \
         filesink buffer-mode=unbuffered location={}",
        file.display()
    ));
    until("GStreamer's socket", || UdpSocket::bind((LOCALHOST, to)).is_err().then_some(()));
    thread::sleep(Duration::from_millis(500)); // bound, and soon running
    send(from);
    is_the_film(&file);
}

/// Selects two of a row, which columns recover, and single ones, which rows do.
fn lost(place: usize) -> bool {
    place > 60 && (place % 25 == 3 || place % 50 == 4)
}

/// GStreamer does not know tidecast's SSRC, so packets that it recovers have none: numbers and
/// payloads are compared.
#[test]
fn gstreamer_brings_back_what_is_lost_of_our_rtp() {
    if !have("gst-launch-1.0") {
        return;
    }
    let from = (group(), free_port());
    let to = free_ports();
    let (output, collector) = output();
    let (media, sockets) = ports();
    let lossy = Lossy::new(sockets, (LOCALHOST, to), lost);
    let _relay = relay(from, &[format!("rtp://127.0.0.1:{media}?fec=st2022-1:5,5")]);
    let _gstreamer = gstreamer_recovers([to, to + 2, to + 4], output);
    until("GStreamer's socket", || UdpSocket::bind((LOCALHOST, to)).is_err().then_some(()));
    thread::sleep(Duration::from_millis(500)); // bound, and soon running
    send(from);
    let film = film();
    until("all packets", || (lossy.count() == film.len()).then_some(()));
    let received = collector.finish();
    let packets: Vec<_> = received.iter().map(|(_, bytes)| rtp::Packet::parse(bytes).expect("RTP")).collect();
    let first = packets[0].sequence();
    let of_number =
        |packet: &rtp::Packet<'_>| (packet.sequence().wrapping_sub(first), packet.payload().to_vec());
    let came: BTreeMap<u16, Vec<u8>> = packets.iter().map(of_number).collect();
    assert!(came.into_values().eq(film), "not the film");
}

/// Selects losses, and some of the very last packets, which only repair packets of an incomplete
/// matrix recover.
fn lost_at_the_end_too(place: usize) -> bool {
    let length = fs::metadata(fixture()).expect("the fixture").len() as usize;
    let count = length.div_ceil(7 * ts::PACKET);
    lost(place) || (count - 3..count - 1).contains(&place)
}

#[test]
fn two_relays_bridge_a_lossy_link_for_a_transport_stream() {
    let (from, http) = ((group(), free_port()), SocketAddr::from((LOCALHOST, free_port())));
    let to = free_ports();
    let (media, sockets) = ports();
    let mut far = Running::tidecast([
        "relay",
        &format!("rtp://@127.0.0.1:{to}"),
        "--fec",
        "auto",
        "--hold",
        "1s",
        "--http",
        &http.to_string(),
    ]);
    let lossy = Lossy::new(sockets, (LOCALHOST, to), lost_at_the_end_too);
    let _near = relay(from, &[format!("rtp://127.0.0.1:{media}?fec=st2022-1:5,5")]);
    let mut client = TcpStream::connect(http).expect("connect");
    std::io::Write::write_all(&mut client, b"GET /streams/main HTTP/1.0\r\n\r\n").expect("write");
    until_clients(http, 1);
    send(from);
    let film = film();
    until("all packets", || {
        (metric(http, &["tidecast_packets_delivered_total"]) == film.len() as f64).then_some(())
    });
    let dropped = (0..film.len()).filter(|place| lost_at_the_end_too(*place)).count();
    assert_eq!(lossy.finish().len(), film.len());
    assert!(dropped > 15, "{dropped} dropped");
    // A repair packet may overtake its media by more than the hold; the original is then a
    // duplicate.
    let recovered = metric(http, &["tidecast_packets_recovered_total", "by=\"fec\""]);
    let duplicates = metric(http, &["tidecast_packets_discarded_total", "reason=\"duplicate\""]);
    assert_eq!(recovered - duplicates, dropped as f64);
    assert_eq!(metric(http, &["tidecast_packets_lost_total"]), 0.0);
    far.stop();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    let start = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer[start..] == film.concat(), "{} bytes, not the film", answer.len() - start);
}
