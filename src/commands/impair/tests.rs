//! The whole link over real sockets on `lo`.

use std::{
    net::UdpSocket,
    sync::{Arc, mpsc},
    thread,
};

use super::*;

/// A receiver on a free port of `lo`, which takes datagrams until none has come for 2 s, and its
/// address as an output.
fn receiver() -> (thread::JoinHandle<Vec<Vec<u8>>>, Output) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let output = format!("udp://{}", socket.local_addr().unwrap()).parse().unwrap();
    let take = move || {
        let mut memory = vec![0; 65_536];
        std::iter::from_fn(|| socket.recv(&mut memory).ok().map(|len| memory[..len].to_vec())).collect()
    };
    (thread::spawn(take), output)
}

/// A free UDP port of `lo`.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs the link in a thread, and sends it the `datagrams` once it is ready.
fn passed(options: Options, datagrams: &[Vec<u8>]) -> Report {
    let target = options.input.socket_addr();
    let (ready, is_ready) = mpsc::channel();
    let link = thread::spawn(move || {
        run(&options, &AtomicBool::new(false), &Gauge::default(), move || ready.send(()).unwrap()).unwrap()
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    sender.set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).unwrap();
    for datagram in datagrams {
        sender.send_to(datagram, &target.into()).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    link.join().unwrap()
}

fn options(input: &str, outputs: Vec<Output>, impairments: Impairments, count: u64) -> Options {
    Options {
        input: input.parse().unwrap(),
        outputs,
        impairments,
        seed: 7,
        duration: Some(Duration::from_secs(20)),
        count: Some(count),
    }
}

#[test]
fn datagrams_pass_unchanged_to_every_output_and_the_report_is_what_happened() {
    let [(first, to_first), (second, to_second)] = [receiver(), receiver()];
    let impairments = Impairments {
        loss: 0.1,
        reorder: 0.1,
        distance: 4,
        duplicate: 0.1,
        delay: Duration::from_millis(5),
        ..Impairments::default()
    };
    let input = format!("udp://@239.255.84.68:{}?if=127.0.0.1", free_port());
    let sizes = [0, 1, 100, 1316, 1472, 20_000, 65_507];
    let sent: Vec<Vec<u8>> = (0..500_usize)
        .map(|i| {
            let mut datagram = vec![i as u8; if i < sizes.len() { sizes[i] } else { 64 }];
            datagram.iter_mut().zip((i as u32).to_be_bytes()).for_each(|(byte, number)| *byte = number);
            datagram
        })
        .collect();
    let report = passed(options(&input, vec![to_first, to_second], impairments, 500), &sent);
    let out = first.join().unwrap();
    assert!(out == second.join().unwrap(), "both outputs get the same in the same order");
    let done = report.done;
    assert_eq!((done.received, done.forwarded), (500, out.len() as u64));
    assert!(done.dropped > 20 && done.duplicated > 20 && done.reordered > 20, "{report}");

    // Only sent datagrams, each as often as reported.
    let mut copies = std::collections::HashMap::new();
    out.iter().for_each(|bytes| *copies.entry(bytes).or_insert(0_u64) += 1);
    assert!(sent.iter().filter(|bytes| copies.contains_key(bytes)).count() as u64 == 500 - done.dropped);
    assert_eq!(copies.len() as u64, 500 - done.dropped);
    assert_eq!(copies.values().filter(|count| **count == 2).count() as u64, done.duplicated);

    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["dropped_media"], done.dropped);
    assert_eq!(json["reordered_media"], done.reordered, "there is one flow");
    assert_eq!(json["outputs"][1]["packets"], done.forwarded);
    assert_eq!((report.kernel_drops, report.too_long), (0, 0));
}

/// Sockets on an even port of `lo` and on the one above.
fn pair() -> [UdpSocket; 2] {
    let bound = |port| UdpSocket::bind(("127.0.0.1", port)).ok();
    let mut pairs = std::iter::repeat_with(|| free_port() & !1).filter_map(|port| {
        let pair = [bound(port)?, bound(port + 1)?];
        pair.iter().for_each(|socket| socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap());
        Some(pair)
    });
    pairs.next().unwrap()
}

/// Receives one datagram; returns the port that it came from.
fn take(socket: &UdpSocket, expected: &[u8]) -> std::net::SocketAddr {
    let mut memory = [0; 100];
    let (len, from) = socket.recv_from(&mut memory).unwrap();
    assert_eq!(&memory[..len], expected);
    from
}

#[test]
fn what_receivers_answer_goes_back_and_rtcp_goes_beside_the_media() {
    let [media, rtcp] = pair();
    let near = pair()[0].local_addr().unwrap().port();
    let output = format!("rist://{}?share=20", media.local_addr().unwrap());
    let impairments = Impairments { loss: 0.5, ..Impairments::default() };
    let input = format!("rist://@127.0.0.1:{near}");
    let options = options(&input, vec![output.parse().unwrap()], impairments, 100);
    let (ready, is_ready) = mpsc::channel();
    let link = thread::spawn(move || {
        run(&options, &AtomicBool::new(false), &Gauge::default(), move || ready.send(()).unwrap()).unwrap()
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();

    // The last sender gets the answers, from the port that it has sent to.
    let [earlier, sender] = pair();
    earlier.send_to(b"report", ("127.0.0.1", near + 1)).unwrap();
    take(&rtcp, b"report");
    for i in 0..20_u8 {
        sender.send_to(&[i], ("127.0.0.1", near + 1)).unwrap();
        let from = take(&rtcp, &[i]);
        rtcp.send_to(&[i, 1], from).unwrap();
        assert_eq!(take(&sender, &[i, 1]).port(), near + 1);
    }
    let send = |count| {
        for _ in 0..count {
            sender.send_to(b"media", ("127.0.0.1", near)).unwrap();
        }
    };
    send(50);
    let from = take(&media, b"media");
    media.send_to(b"again", from).unwrap();
    assert_eq!(take(&sender, b"again").port(), near);
    send(50);

    let report = link.join().unwrap();
    assert_eq!((report.done.received, report.rtcp, report.returned), (100, 21, 21), "{report}");
    assert!((20..80).contains(&report.done.dropped), "{report}");
    assert_eq!(report.outputs[0].output, output, "as it was typed");
    assert!(report.to_string().contains("21 came back from receivers"), "{report}");
}

#[test]
fn stopping_drains_what_waits() {
    let (received, output) = receiver();
    let impairments = Impairments { delay: Duration::from_millis(400), ..Impairments::default() };
    let port = free_port();
    let options =
        Options { count: None, ..options(&format!("udp://@127.0.0.1:{port}"), vec![output], impairments, 0) };
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, is_ready) = mpsc::channel();
    let link = thread::spawn({
        let stop = stop.clone();
        move || run(&options, &stop, &Gauge::default(), move || ready.send(()).unwrap()).unwrap()
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..50_u8 {
        sender.send_to(&[i], ("127.0.0.1", port)).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let report = link.join().unwrap();
    assert_eq!((report.done.received, report.done.forwarded), (50, 50));
    assert!(report.seconds > 0.39 && report.seconds < 1.5, "{} s", report.seconds);
    assert_eq!(received.join().unwrap(), (0..50).map(|i| vec![i]).collect::<Vec<_>>());
}

#[test]
fn what_cannot_work_is_refused() {
    let refusal = |input: &str, output: &str, impairments: Impairments| {
        let options = options(input, vec![output.parse().unwrap()], impairments, 1);
        let unready = || panic!("ready");
        run(&options, &AtomicBool::new(false), &Gauge::default(), unready).unwrap_err().to_string()
    };
    let (good, none) = ("udp://@239.255.84.69:7001?if=127.0.0.1", Impairments::default());
    let text = refusal(good, "udp://127.0.0.1:7001", Impairments { loss: 2.0, ..none });
    assert_eq!(text, "loss is 2, expected a share from 0 to 1 (0 % to 100 %)");
    let text = refusal(good, "udp://239.255.84.69:7001?if=127.0.0.1", none);
    assert!(text.starts_with("udp://239.255.84.69:7001?if=127.0.0.1 is the input too"), "{text}");
    let text = refusal("udp://@239.255.84.69:7001?if=nonesuch0", "udp://127.0.0.1:7001", none);
    assert!(text.contains("no network interface named \"nonesuch0\""), "{text}");
    let text = refusal("rist://@127.0.0.1:7000", "rtp://127.0.0.1:7002", none);
    assert!(text.ends_with("expected rist:// at both ends or at none"), "{text}");
    let text = refusal(good, "udp://239.255.84.70:7001?if=nonesuch0", none);
    assert!(text.contains("no network interface named \"nonesuch0\""), "{text}");
}

#[test]
fn the_text_names_what_is_lost_elsewhere() {
    let mut report = Report {
        input: "udp://@239.1.1.1:5000".to_owned(),
        seed: 7,
        seconds: 1.25,
        done: tidecast_link::Done { received: 10, forwarded: 9, dropped: 1, ..Default::default() },
        kinds: Default::default(),
        rtcp: 0,
        returned: 0,
        kernel_drops: 0,
        too_long: 0,
        outputs: Vec::new(),
        flows: Vec::new(),
    };
    let text = report.to_string();
    assert!(text.starts_with("udp://@239.1.1.1:5000: 1.2 s, seed 7\n"), "{text}");
    assert!(!text.contains("lost before"), "{text}");
    report.kernel_drops = 3;
    assert!(report.to_string().contains("3 besides: lost before the link"), "{report}");
}
