//! The command against sockets on loopback: checks that the requested datagrams arrive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::thread;

use clap::Parser;

use super::reader::Step;
use super::*;
use tidecast_core::limits::RETRANSMIT_BYTES_MIN;
use tidecast_testkit::ts::stream;
use tidecast_wire::native::{Kind, NackRepr, Packet, Repair, Repr};
use tidecast_wire::{rtp, ts};

fn args(words: &[&str]) -> cli::Send {
    let words = ["tidecast", "send"].iter().chain(words);
    match cli::Cli::try_parse_from(words).expect("a good command line").command {
        cli::Command::Send(args) => args,
        other => panic!("expected send, got {other:?}"),
    }
}

/// A receiving socket, and the URL of its address.
fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    // Large enough for everything that a test sends, since it is read afterwards.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("set the buffer");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a time-out");
    let url = format!("udp://{}", socket.local_addr().expect("bound"));
    (socket, url)
}

fn receive(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut datagram = vec![0; 65_536];
    std::iter::from_fn(|| socket.recv(&mut datagram).ok().map(|len| datagram[..len].to_vec())).collect()
}

fn go(words: &[&str]) -> Result<Link, Failure> {
    send(&args(words), Stop::pair().0)
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("write");
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("a path in UTF-8")
}

#[test]
fn packets_of_192_and_204_bytes_and_leading_junk_are_sent_as_packets_alone() {
    let packets = stream(0, 3, ts::Pcr::HZ / 100, 7);
    for unit in ts::packets::Unit::ALL {
        for lead in [0, 3, 3_000] {
            let mut bytes = vec![0xee; lead];
            unit.wrap(&packets, [1, 2, 3, 4], &mut bytes);
            let (film, (socket, url)) = (file(&bytes), receiver());
            let sent = go(&["--file", path(&film), "--format", "ts", &url]).expect("sent");
            assert_eq!(sent.data, packets.len().div_ceil(7) as u64, "{unit:?} behind {lead}");
            assert!(receive(&socket).concat() == packets.concat(), "{unit:?} behind {lead}");
            // At a rate, and repeatedly.
            let twice = (2 * packets.len()).to_string();
            let args =
                ["--file", path(&film), "--loop", "--rate", "100M", "--size", "188", "--count", &twice, &url];
            go(&args).expect("sent");
            assert_goes_on(&receive(&socket).concat(), &packets);
        }
    }
}

#[test]
fn the_format_suits_output_data_and_options() {
    use SendFormat::{Native, Raw, Rtp, Ts};
    let good: [(&[&str], Option<bool>, SendFormat); 9] = [
        (&["--file", "x", "udp://10.0.0.7:5000"], Some(false), Native),
        (&["--file", "x", "udp://10.0.0.7:5000"], Some(true), Ts),
        (&["--file", "x", "rtp://10.0.0.7:5000"], Some(true), Rtp),
        (&["--file", "x", "--fec", "10,2", "udp://10.0.0.7:5000"], Some(true), Native),
        (&["--file", "x", "--format", "raw", "udp://10.0.0.7:5000"], Some(true), Raw),
        (&["--file", "x", "udp://10.0.0.7:5000?payload=1"], Some(false), Raw),
        (&["--file", "x", "udp://10.0.0.7:5000?payload=1"], Some(true), Ts),
        (&["--sensor", "3", "--to", "udp://10.0.0.7:5000"], None, Native),
        (&["--sensor", "3", "--stream", "9", "rtp://10.0.0.7:5000"], None, Rtp),
    ];
    for (words, transport_stream, expected) in good {
        assert_eq!(choose(&args(words), transport_stream).expect("good"), expected, "{words:?}");
    }
    let bad: [(&[&str], &str); 8] = [
        (
            &["--file", "x", "--fec", "10,2", "rtp://10.0.0.7:5000"],
            "--fec: expected the format native, got rtp",
        ),
        (&["--sensor", "1", "--fec", "10,2", "--format", "raw", "10.0.0.7:5000"], "native, got raw"),
        (&["--sensor", "1", "--format", "ts", "10.0.0.7:5000"], "no transport stream"),
        (&["--sensor", "1", "--session", "7", "--format", "raw", "10.0.0.7:5000"], "--session"),
        (&["--file", "x", "--stream", "7", "--format", "ts", "10.0.0.7:5000"], "--stream"),
        (&["--file", "x", "--format", "native", "udp://10.0.0.7:5000?payload=1"], "payload=1"),
        (&["--file", "-", "--loop", "10.0.0.7:5000"], "--loop: standard input"),
        (&["--file", "/dev/null", "--loop", "10.0.0.7:5000"], "--loop: /dev/null"),
    ];
    for (words, part) in bad {
        let error = go(words).expect_err("contradictory");
        assert!(error.exit_code() == 2 && error.to_string().contains(part), "{words:?}: {error}");
    }
}

#[test]
fn sensors_are_streams_of_their_own_each_numbered_from_0() {
    let (socket, url) = receiver();
    let words = ["--sensor", "20", "--interval", "40ms", "--count", "100", "--stream", "500", "--to", &url];
    let start = clock::now();
    let link = go(&words).expect("sends");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(190),
        "5 readings each take 4 intervals and most of one: {elapsed:?}"
    );
    assert_eq!(link.data, 100);
    let mut streams: BTreeMap<u32, Vec<(Kind, u64)>> = BTreeMap::new();
    for datagram in receive(&socket) {
        let packet = Packet::parse(&datagram).expect("a native datagram");
        streams.entry(packet.stream()).or_default().push((packet.kind(), packet.sequence()));
        if packet.kind() == Kind::Data {
            let json: serde_json::Value = serde_json::from_slice(packet.payload()).expect("JSON");
            assert_eq!(json["n"], packet.sequence());
            let name = json["sensor"].as_str().expect("a name");
            assert!(name.ends_with(&format!("-{}", packet.stream() - 500)), "{name}");
        }
    }
    assert_eq!(streams.keys().copied().collect::<Vec<_>>(), (500..520).collect::<Vec<_>>());
    for (stream, packets) in streams {
        let end = (Kind::End, 5);
        let expected: Vec<_> = (0..5).map(|n| (Kind::Data, n)).chain([end, end, end]).collect();
        assert_eq!(packets, expected, "stream {stream}");
    }
}

#[test]
fn a_thousand_sensors_keep_their_rate_from_one_thread() {
    let (_socket, url) = receiver();
    let start = clock::now();
    let link = go(&["--sensor", "1000", "--interval", "100ms", "--for", "1s", &url]).expect("sends");
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
    assert!((9_000..=10_001).contains(&link.data), "{} readings in a second", link.data);
}

#[test]
fn slow_sensors_send_heartbeats_and_close_their_blocks() {
    let (socket, url) = receiver();
    go(&["--sensor", "1", "--interval", "5s", "--fec", "10,2", "--for", "2300ms", &url]).expect("sends");
    let datagrams = receive(&socket);
    let packets: Vec<_> = datagrams.iter().map(|d| Packet::parse(d).expect("a native datagram")).collect();
    let kinds: Vec<_> = packets.iter().map(|p| (p.kind(), p.sequence())).collect();
    let (repair, heartbeat, end) = ((Kind::Repair, 0), (Kind::Heartbeat, 1), (Kind::End, 1));
    assert_eq!(kinds, [(Kind::Data, 0), repair, repair, heartbeat, heartbeat, end, end, end]);
    assert_eq!(Repair::parse(packets[1].payload()).expect("a repair packet").k(), 1);
}

#[test]
fn any_file_goes_out_at_its_rate() {
    let (socket, url) = receiver();
    let bytes: Vec<u8> = (0..10_050u32).map(|n| n as u8).collect();
    let file = file(&bytes);
    let start = clock::now();
    let words = ["--file", path(&file), "--rate", "50pps", "--size", "1000", "--format", "raw", &url];
    let link = go(&words).expect("sends");
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(199)..Duration::from_millis(400)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(link.data, 11);
    let datagrams = receive(&socket);
    assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), [[1000; 10].as_slice(), &[50]].concat());
    assert_eq!(datagrams.concat(), bytes);
}

#[test]
fn the_blocks_of_a_paced_file_fill() {
    let (socket, url) = receiver();
    let file = file(&[7; 4500]);
    let words = ["--file", path(&file), "--rate", "100pps", "--size", "100", "--fec", "20,2", &url];
    assert_eq!(go(&words).expect("sends").repairs, 6);
    let datagrams = receive(&socket);
    let packets = datagrams.iter().map(|d| Packet::parse(d).expect("a native datagram"));
    let repairs = packets.filter(|p| p.kind() == Kind::Repair);
    let blocks = repairs.map(|p| (p.sequence(), Repair::parse(p.payload()).expect("a repair packet").k()));
    assert_eq!(blocks.collect::<Vec<_>>(), [(0, 20), (0, 20), (20, 20), (20, 20), (40, 5), (40, 5)]);
}

#[test]
fn a_transport_stream_goes_out_by_its_clock_as_rtp() {
    let (socket, url) = receiver();
    // 30 intervals of 10 ms, 14 packets each.
    let film = stream(5, 30, 270_000, 14).concat();
    let file = file(&film);
    let url = url.replace("udp://", "rtp://");
    let start = clock::now();
    let link = go(&["--file", path(&file), "--stream", "0xC0FFEE", &url]).expect("sends");
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(299)..Duration::from_millis(500)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(link.data, 61);
    let datagrams = receive(&socket);
    let packets: Vec<_> = datagrams.iter().map(|d| rtp::Packet::parse(d).expect("RTP")).collect();
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        assert!((449..=451).contains(&step), "5 ms at 90 kHz: {step}");
    }
    assert!(packets.iter().all(|p| (p.payload_type(), p.ssrc()) == (33, 0x00C0_FFEE)));
    let payload: Vec<u8> = packets.iter().flat_map(|p| p.payload().to_vec()).collect();
    assert_eq!(payload, film);
}

#[test]
fn a_looped_transport_stream_goes_on_until_the_count() {
    let (socket, url) = receiver();
    let film = stream(0, 2, 27_000, 7);
    let file = file(&film.concat());
    go(&["--file", path(&file), "--loop", "--count", "40", &url]).expect("sends");
    let datagrams = receive(&socket);
    assert_eq!(datagrams.len(), 40);
    assert!(datagrams.iter().all(|d| ts::looks_like(d) && d.len() == 1316));
    assert_goes_on(&datagrams.concat(), &film);
}

/// Checks that the repeated film is sent with all its bytes, while the clock continues.
fn assert_goes_on(sent: &[u8], film: &[[u8; ts::PACKET]]) {
    const CLOCK_END: usize = 12;
    let (sent, rest) = sent.as_chunks::<{ ts::PACKET }>();
    assert!(rest.is_empty() && sent.len() > film.len() && sent.starts_with(film), "{} packets", sent.len());
    for (number, (packet, expected)) in sent.iter().zip(film.iter().cycle()).enumerate() {
        assert!(packet[CLOCK_END..] == expected[CLOCK_END..], "packet {number}: {packet:02x?}");
    }
    let clock: Vec<u64> = sent.iter().filter_map(|packet| Some(ts::pcr(packet)?.ticks)).collect();
    assert!(clock.windows(2).all(|pair| pair[1] - pair[0] == clock[1] - clock[0]), "{clock:?}");
}

#[test]
fn what_cannot_be_sent_is_told_in_a_line() {
    let (_socket, url) = receiver();
    let (empty, text) = (file(b""), file(&[b'x'; 1000]));
    let no_pcr = file(&[[ts::SYNC; 1].as_slice(), &[0; ts::PACKET - 1]].concat().repeat(20));
    let directory = tempfile::tempdir().expect("a directory");
    let cases: [(&[&str], &str); 7] = [
        (&["--file", "/nonesuch/film.ts", &url], "cannot open /nonesuch/film.ts: No such file"),
        (&["--file", path(&empty), &url], "is empty"),
        (&["--file", directory.path().to_str().expect("UTF-8"), &url], "Is a directory"),
        (&["--file", path(&text), &url], "give --rate"),
        (
            &["--file", path(&text), "--format", "ts", "--rate", "1M", &url],
            "0x47 every 188, 192 or 204 bytes",
        ),
        (&["--file", path(&no_pcr), &url], "give --rate"),
        (&["--sensor", "1", "udp://239.1.1.1:5000?if=nonesuch0"], "nonesuch0"),
    ];
    for (words, part) in cases {
        let error = go(words).expect_err("cannot be sent");
        let line = error.to_string();
        assert!(line.contains(part) && !line.contains('\n') && error.exit_code() == 1, "{words:?}: {line}");
    }
    let error = go(&["--sensor", "1", "--size", "65476", &url]).expect_err("too large");
    assert!(error.exit_code() == 2 && error.to_string().contains("65475"), "{error}");
}

#[test]
fn an_unreachable_target_ends_the_run() {
    // Broadcast is refused on a socket that has not enabled it.
    let error = go(&["--sensor", "1", "--count", "3", "udp://127.255.255.255:5000"]).expect_err("refused");
    let line = error.to_string();
    assert!(line.contains("cannot send to 127.255.255.255:5000: Permission denied"), "{line}");
}

#[test]
fn a_signal_ends_the_session() {
    let (socket, url) = receiver();
    let (stop, set, sender) = Stop::pair();
    let signal = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        set.store(true, Ordering::Relaxed);
        sender.unpark();
    });
    let start = clock::now();
    send(&args(&["--sensor", "1", "--interval", "1h", &url]), stop).expect("ends cleanly");
    assert!(start.elapsed() < Duration::from_millis(900), "does not wait for the next reading");
    signal.join().expect("no panic");
    let kinds: Vec<_> =
        receive(&socket).iter().map(|d| Packet::parse(d).expect("a native datagram").kind()).collect();
    assert_eq!(kinds, [Kind::Data, Kind::End, Kind::End, Kind::End]);
}

#[test]
fn a_pipe_may_be_slow_and_the_stream_stays_alive() {
    let (socket, url) = receiver();
    let (input, mut output) = std::io::pipe().expect("a pipe");
    let writer = thread::spawn(move || {
        output.write_all(&[b'a'; 500]).expect("write");
        thread::sleep(Duration::from_millis(1300));
        output.write_all(&[b'b'; 150]).expect("write");
    });
    let args = args(&["--file", "-", "--rate", "1000pps", "--size", "200", &url]);
    let reader = Reader::of("a pipe", reader::pipe(input).expect("starts"));
    send_bytes(&args, reader, Stop::pair().0).expect("sends");
    writer.join().expect("no panic");
    let datagrams = receive(&socket);
    let packets: Vec<_> = datagrams.iter().map(|d| Packet::parse(d).expect("a native datagram")).collect();
    let kinds: Vec<_> = packets.iter().map(|p| (p.kind(), p.sequence())).collect();
    let (data, end) = (Kind::Data, (Kind::End, 4));
    assert_eq!(kinds, [(data, 0), (data, 1), (Kind::Heartbeat, 2), (data, 2), (data, 3), end, end, end]);
    let payload: Vec<u8> = packets.iter().flat_map(|p| p.payload().to_vec()).collect();
    assert_eq!(payload, [[b'a'; 500].as_slice(), &[b'b'; 150]].concat());
}

#[test]
fn a_file_that_is_emptied_while_it_loops_ends_the_run() {
    let file = file(&[b'x'; 1000]);
    let mut reader = Reader::open(Source::File(&file.path().to_path_buf()), true).expect("opens");
    assert_eq!(reader.start(&Stop::pair().0).expect("reads"), [b'x'; 1000]);
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(reader.read().expect("reads"));
    }
    assert_eq!(steps, [Step::Bytes(vec![b'x'; 1000]), Step::Lap, Step::Bytes(vec![b'x'; 1000])]);
    fs::write(file.path(), b"").expect("truncate");
    assert_eq!(reader.read().expect("reads"), Step::Lap);
    assert_eq!(reader.read().expect("reads"), Step::End);
}

/// Requests get the share and no more, and all receivers get the stream as without requests.
#[test]
fn a_flood_of_requests_gets_its_share_and_the_stream_stays_whole() {
    const PACKETS: u64 = 300;
    let (socket, url) = receiver();
    let listener = thread::spawn(move || {
        let mut bytes = [0; 2048];
        let (mut originals, mut again) = (Vec::new(), 0);
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let packet = Packet::parse(&bytes[..len]).expect("a native datagram");
            match (packet.kind(), packet.is_retransmission()) {
                (Kind::Data, true) => again += len,
                (Kind::Data, false) => {
                    originals.push(packet.sequence());
                    let (mut payload, mut asks) = (Vec::new(), Vec::new());
                    NackRepr { ranges: &[(0, 400)] }.emit(&mut payload);
                    let (stream, session) = (packet.stream(), packet.session());
                    let (kind, sequence, timestamp) = (Kind::Nack, 0, 0);
                    Repr { kind, flags: 0, stream, session, sequence, timestamp, payload: &payload }
                        .emit(&mut asks);
                    for _ in 0..3 {
                        socket.send_to(&asks, from).expect("sends");
                    }
                    socket.send_to(&asks[..40], from).expect("sends");
                }
                _ => {}
            }
        }
        (originals, again)
    });
    let file = file(&vec![7; PACKETS as usize * 1000]);
    let words =
        ["--file", path(&file), "--rate", "1000pps", "--size", "1000", "--retransmit-share", "10", &url];
    let link = go(&words).expect("sends");
    link.linger();
    let summary = link.summary(Duration::from_secs(1));
    drop(link);
    let (originals, again) = listener.join().expect("no panic");
    assert_eq!(originals, (0..PACKETS).collect::<Vec<_>>());
    let allowed = RETRANSMIT_BYTES_MIN as usize + PACKETS as usize * 1032 / 10;
    assert!(again <= allowed && again + 2 * 1032 > allowed, "{again} bytes again, {allowed} allowed");
    let resent = again / 1032;
    assert!(summary.contains(&format!("; {resent} of ")), "{resent}: {summary}");
    // of the flood, a busy machine may drop some before they are read
    assert!(summary.contains(" beyond the share") && summary.contains(" damaged requests"), "{summary}");
}

#[test]
fn only_native_datagrams_are_kept_for_requests() {
    for (words, expected) in [
        (["--history", "2s"], "--history: expected the format native, got rtp"),
        (["--retransmit-share", "5"], "--retransmit-share: expected the format native, got rtp"),
    ] {
        let words =
            ["--sensor", "1", "rtp://127.0.0.1:5000"].iter().chain(&words).copied().collect::<Vec<_>>();
        let error = go(&words).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (socket, url) = receiver();
    let link = go(&["--sensor", "1", "--count", "1", "--history", "0", &url]).expect("sends");
    assert!(!receive(&socket).is_empty());
    assert!(!link.summary(Duration::ZERO).contains("asked"));
    let refused = cli::Cli::try_parse_from(["tidecast", "send", "--sensor", "1", "--history", "1m", &url]);
    let refused = refused.expect_err("too long").to_string();
    assert!(refused.contains("expected 0, or a duration from 10ms to 30s"), "{refused}");
}
