//! UDP outputs against real sockets on loopback.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use super::*;
use crate::limits::{BURST, BURST_RETRY, OUTPUT_CHECK, OUTPUT_RETRY, SOCKET_OUTPUTS_MAX, ST2022_PAUSE};
use tidecast_net::{clock, limits::RECEIVE_BUFFER_BYTES, multicast::Subscription};
use tidecast_testkit::sockets::{free_port, group, input, payloads, receive};
use tidecast_wire::{
    limits::DATAGRAM_BYTES_MAX,
    st2022::{Axis, Repair},
};

/// Outputs with the resources for sending.
struct Bench {
    outputs: UdpOutputs,
    batch: SendBatch,
    interfaces: Interfaces,
    opened: Instant,
}

impl Bench {
    fn new(urls: &[String]) -> Bench {
        let now = clock::now();
        let mut interfaces = Interfaces::read(now);
        let outputs = urls.iter().map(|url| url.parse().unwrap()).collect();
        let outputs = UdpOutputs::new(outputs, None, BURST as usize, now, &mut interfaces);
        Bench { outputs, batch: SendBatch::new(), interfaces, opened: now }
    }

    fn send(&mut self, now: Instant, packets: &[&[u8]]) {
        let datagrams = packets.iter().map(|packet| Datagram::plain(packet));
        self.outputs.send(now, &mut self.batch, &mut self.interfaces, datagrams);
    }

    fn bursts<'a>(packets: &[&'a [u8]]) -> Bursts<'a> {
        let mut bursts = Bursts::new(BURST as usize);
        packets.iter().for_each(|packet| bursts.push(packet));
        bursts
    }

    fn counters(&self) -> Vec<Counters> {
        self.outputs.iter().map(|(output, _)| *output.counters()).collect()
    }

    fn fault(&self) -> Option<&SocketError> {
        self.outputs.iter().next().unwrap().1
    }

    fn group(&mut self) -> &mut UdpSocketGroup {
        &mut self.outputs.groups[0].1
    }
}

fn subscription(group: Ipv4Addr, port: u16) -> Subscription {
    let interfaces = Interfaces::read(clock::now());
    Subscription::open(&input("", group, port), RECEIVE_BUFFER_BYTES, &interfaces).unwrap()
}

fn receivers(count: usize) -> (Vec<UdpSocket>, Vec<String>) {
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let urls = sockets.iter().map(|socket| format!("udp://{}", socket.local_addr().unwrap())).collect();
    (sockets, urls)
}

/// Sockets for media, columns and rows.
fn protected_receivers() -> (u16, [UdpSocket; 3]) {
    loop {
        let port = free_port();
        let bind = |offset| UdpSocket::bind((Ipv4Addr::LOCALHOST, port.checked_add(offset)?)).ok();
        if let (Some(media), Some(columns), Some(rows)) = (bind(0), bind(2), bind(4)) {
            return (port, [media, columns, rows]);
        }
    }
}

fn media(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 33];
    packet.extend(number.to_be_bytes());
    packet.extend([0, 0, 0, 9, 1, 2, 3, 4, number as u8]);
    packet
}

#[test]
fn repair_packets_go_to_the_ports_above_and_are_counted() {
    let (port, [receiver, columns, rows]) = protected_receivers();
    let mut bench = Bench::new(&[format!("rtp://127.0.0.1:{port}?fec=st2022-1:4,5")]);
    let packets: Vec<Vec<u8>> = (0..60).map(media).collect();
    for batch in packets.chunks(7) {
        bench.send(clock::now(), &batch.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    assert_eq!(payloads(&receive(&receiver, 60)), packets);
    // The columns of the third matrix are due during the fourth.
    for (socket, axis, count) in [(columns, Axis::Column, 8), (rows, Axis::Row, 15)] {
        let repairs = payloads(&receive(&socket, count));
        let repairs: Vec<Repair<'_>> = repairs.iter().map(|bytes| Repair::parse(bytes).unwrap()).collect();
        let bases: Vec<u16> = repairs.iter().map(Repair::base).collect();
        let expected: Vec<u16> = match axis {
            Axis::Column => vec![0, 1, 2, 3, 20, 21, 22, 23],
            Axis::Row => (0..15).map(|row| 4 * row).collect(),
        };
        assert_eq!(bases, expected);
        assert!(repairs.iter().all(|repair| repair.axis() == axis));
    }
    let packets: Vec<u64> = bench.counters().iter().map(|counters| counters.packets).collect();
    assert_eq!(packets, [60, 8, 15]);
}

/// Packets before a pause and at the end are protected: their repair packets do not wait for more
/// media.
#[test]
fn the_last_packets_before_a_pause_are_protected() {
    let (port, [_receiver, columns, rows]) = protected_receivers();
    let mut bench = Bench::new(&[format!("rtp://127.0.0.1:{port}?fec=st2022-1:4,4")]);
    let start = clock::now();
    let packets: Vec<Vec<u8>> = (0..22).map(media).collect();
    bench.send(start, &packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(bench.outputs.due(), Some(start + ST2022_PAUSE));
    let lines = |socket: &UdpSocket, count| -> Vec<(u16, u64)> {
        let repairs = payloads(&receive(socket, count));
        let line = |bytes: &Vec<u8>| Repair::parse(bytes).map(|repair| (repair.base(), repair.count()));
        repairs.iter().map(|bytes| line(bytes).unwrap()).collect()
    };
    // Of the first matrix; its last two columns are due later.
    assert_eq!(lines(&rows, 5), [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4)]);
    assert_eq!(lines(&columns, 2), [(0, 4), (1, 4)]);
    bench.outputs.poll(start + ST2022_PAUSE, &mut bench.batch, &mut bench.interfaces);
    assert_eq!(bench.outputs.due(), None);
    assert_eq!(lines(&rows, 1), [(20, 2)]);
    assert_eq!(lines(&columns, 6), [(2, 4), (3, 4), (16, 2), (17, 2), (18, 1), (19, 1)]);
    // The matrix continues, and the stream ends within it: nothing is sent twice.
    let packets: Vec<Vec<u8>> = (22..26).map(media).collect();
    bench.send(start, &packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    bench.outputs.finish(start, &mut bench.batch, &mut bench.interfaces);
    assert_eq!(lines(&rows, 2), [(20, 4), (24, 2)]);
    assert_eq!(lines(&columns, 4), [(16, 3), (17, 3), (18, 2), (19, 2)]);
    assert!(receive(&rows, 0).is_empty() && receive(&columns, 0).is_empty());
}

/// A matrix holds one stream: the one that a player follows.
#[test]
fn of_several_streams_the_followed_one_is_protected() {
    let (port, [_receiver, columns, rows]) = protected_receivers();
    let mut bench = Bench::new(&[format!("rtp://127.0.0.1:{port}?fec=st2022-1:4,4,columns")]);
    for number in 0..48 {
        let (ours, mut other) = (media(number), media(number + 9000));
        other[8] = 99;
        let other = Datagram { followed: false, ..Datagram::plain(&other) };
        let text = Datagram { rtp: Rtp::Not, ..Datagram::plain(b"no RTP at all") };
        let datagrams = [Datagram::plain(&ours), other, text];
        bench.outputs.send(clock::now(), &mut bench.batch, &mut bench.interfaces, datagrams.into_iter());
    }
    assert_eq!(receive(&columns, 8).len(), 8);
    assert!(receive(&rows, 0).is_empty());
    let counters = bench.counters();
    assert_eq!((counters.len(), counters[0].packets, counters[0].not_rtp), (2, 96, 48));
}

#[test]
fn a_unicast_target_gets_all_in_order() {
    let (receivers, urls) = receivers(1);
    let mut bench = Bench::new(&[format!("{}?ttl=3", urls[0])]);
    let packets: Vec<[u8; 2]> = (0..150u16).map(u16::to_be_bytes).collect();
    let slices: Vec<&[u8]> = packets.iter().map(|p| &p[..]).collect();
    bench.send(clock::now(), &slices);
    assert_eq!(payloads(&receive(&receivers[0], 150)), packets);
    assert_eq!(bench.counters(), [Counters { packets: 150, bytes: 300, ..Counters::default() }]);
}

#[test]
fn every_target_gets_every_size_in_order() {
    let (receivers, urls) = receivers(70);
    let mut bench = Bench::new(&urls);
    assert!(bench.outputs.groups.len() >= 2, "more than a socket takes");
    assert!(bench.outputs.groups.iter().all(|(_, group)| group.targets().len() <= SOCKET_OUTPUTS_MAX));
    let sizes = [100, 100, 100, 40, 100, 0, 0, 300, 300, 300, 300, 300, 300, 300, 300, 300, 5];
    let packets: Vec<Vec<u8>> = (0..).zip(sizes).map(|(i, size)| vec![i; size]).collect();
    let slices: Vec<&[u8]> = packets.iter().map(|p| &p[..]).collect();
    bench.send(clock::now(), &slices);
    for receiver in &receivers {
        assert_eq!(payloads(&receive(receiver, packets.len())), packets);
    }
    let bytes = sizes.iter().sum::<usize>() as u64;
    let each = Counters { packets: sizes.len() as u64, bytes, ..Counters::default() };
    assert_eq!(bench.counters(), vec![each; 70]);
}

#[test]
fn a_view_for_each_kind_of_output() {
    let (receivers, urls) = receivers(3);
    let rtp = urls[2].replace("udp://", "rtp://");
    let mut bench = Bench::new(&[urls[0].clone(), format!("{}?payload=1", urls[1]), rtp]);
    let datagram = |whole: &'static [u8], is_rtp, followed| Datagram {
        rtp: if is_rtp { Rtp::Packet(whole) } else { Rtp::Not },
        followed,
        payload: &whole[1..3],
        ..Datagram::plain(whole)
    };
    let all = [
        datagram(&b"1ab"[..], true, true),
        datagram(b"2cd", false, true),
        datagram(b"3ef", true, false),
        datagram(b"4gh", false, false),
    ];
    bench.outputs.send(clock::now(), &mut bench.batch, &mut bench.interfaces, all.iter().cloned());
    let expected: [&[&str]; 3] = [&["1ab", "2cd", "3ef", "4gh"], &["ab", "cd"], &["1ab", "3ef"]];
    for (receiver, expected) in receivers.iter().zip(expected) {
        let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(payloads(&receive(receiver, expected.len())), expected);
    }
    let not_rtp: Vec<u64> = bench.counters().iter().map(|counters| counters.not_rtp).collect();
    assert_eq!(not_rtp, [0, 0, 2]);
}

#[test]
fn a_group_gets_it_from_the_interfaces_address() {
    for interface in ["127.0.0.1", "lo"] {
        let (group, port) = (group(), free_port());
        let subscription = subscription(group, port);
        let mut bench = Bench::new(&[format!("udp://{group}:{port}?if={interface}&ttl=0")]);
        bench.send(clock::now(), &[b"tide"]);
        let received = receive(&subscription, 1);
        assert_eq!(payloads(&received), [b"tide"]);
        assert_eq!(received[0].source.ip(), Ipv4Addr::LOCALHOST);
    }
}

#[test]
fn ttl_and_loop_are_set() {
    let mut bench = Bench::new(&[format!("udp://{}:{}?if=127.0.0.1&loop=0&ttl=9", group(), free_port())]);
    let socket = bench.group().sender().unwrap().socket();
    assert!(!socket.multicast_loop_v4().unwrap());
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 9);
}

#[test]
fn one_bad_datagram_costs_no_other() {
    let (receivers, urls) = receivers(2);
    let mut bench = Bench::new(&urls);
    let long = vec![0; DATAGRAM_BYTES_MAX + 1];
    let mut packets: Vec<&[u8]> = vec![b"x"; 100];
    for bad in [0, 63, 64, 99] {
        packets[bad] = &long;
    }
    bench.send(clock::now(), &packets);
    assert!(receivers.iter().all(|receiver| receive(receiver, 96).len() == 96));
    let expected = Counters { packets: 96, bytes: 96, too_big: 4, ..Counters::default() };
    assert_eq!(bench.counters(), [expected; 2]);
    assert_eq!(expected.dropped(), 4);
}

#[test]
fn one_bad_target_costs_no_other() {
    let (receivers, urls) = receivers(3);
    // A broadcast address needs a socket with permission: EACCES.
    let bad = "udp://127.255.255.255:9".to_owned();
    let mut bench = Bench::new(&[urls[0].clone(), bad, urls[1].clone(), urls[2].clone()]);
    assert_eq!(bench.outputs.groups.len(), 1);
    bench.send(clock::now(), &[&[7; 1000][..]; 20]);
    assert!(receivers.iter().all(|receiver| receive(receiver, 20).len() == 20));
    let good = Counters { packets: 20, bytes: 20_000, ..Counters::default() };
    let lost = Counters { unreachable: 20, ..Counters::default() };
    assert_eq!(bench.counters(), [good, lost, good, good]);
}

#[test]
fn what_the_path_does_not_cut_goes_one_by_one() {
    let (receivers, urls) = receivers(2);
    let mut bench = Bench::new(&urls);
    // UDP without checksums cannot be split (EINVAL on older kernels, EIO on newer ones), but can
    // be sent.
    let socket = bench.group().sender().unwrap().socket();
    tidecast_testkit::sockets::turn_checksums_off(&socket).unwrap();
    let (now, packets) = (clock::now(), [&[1u8; 1000][..]; 10]);
    for round in 1..=2 {
        bench.send(now, &packets);
        assert!(receivers.iter().all(|receiver| receive(receiver, 10).len() == 10));
        let each = Counters { packets: 10 * round, bytes: 10_000 * round, ..Counters::default() };
        assert_eq!(bench.counters(), [each; 2]);
        let bursts = Bench::bursts(&packets);
        let takes = |now| bench.outputs.groups[0].1.targets()[0].takes(&bursts.list()[0], now);
        assert_eq!((takes(now), takes(now + BURST_RETRY)), (false, true), "it is remembered for a while");
    }
}

#[test]
fn a_target_that_nobody_listens_on_stays_usable() {
    let port = free_port();
    let mut bench = Bench::new(&[format!("udp://127.0.0.1:{port}")]);
    for _ in 0..3 {
        bench.send(clock::now(), &[b"early"]);
    }
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    bench.send(clock::now(), &[b"first"]);
    assert_eq!(payloads(&receive(&receiver, 1)), [b"first"], "not lost to an ICMP error");
}

#[test]
fn a_missing_interface_is_tried_again_once_a_second() {
    let (group, port) = (group(), free_port());
    let subscription = subscription(group, port);
    let mut bench = Bench::new(&[format!("udp://{group}:{port}?if=nosuch0")]);
    assert!(bench.fault().is_some_and(|e| e.is_retryable() && e.to_string().contains("nosuch0")));
    let opened = bench.opened;
    bench.send(opened, &[b"lost"]);
    assert_eq!(bench.counters()[0].unreachable, 1);

    bench.group().rename_interface("lo"); // as if it were there now
    bench.send(opened + OUTPUT_RETRY - Duration::from_millis(1), &[b"lost"]);
    assert_eq!((bench.counters()[0].unreachable, bench.counters()[0].packets), (2, 0));
    bench.send(opened + OUTPUT_RETRY, &[b"sent"]);
    assert!(bench.fault().is_none());
    assert_eq!(payloads(&receive(&subscription, 1)), [b"sent"]);
}

#[test]
fn a_socket_is_made_anew_when_its_interface_changed() {
    let (group, port) = (group(), free_port());
    let subscription = subscription(group, port);
    let mut bench = Bench::new(&[format!("udp://{group}:{port}?if=lo")]);
    bench.group().sender().unwrap().misplace();
    bench.send(clock::now() + OUTPUT_CHECK, &[b"new"]);
    let lo = tidecast_net::interface::find(None, Ipv4Addr::LOCALHOST.into()).unwrap();
    assert_eq!(bench.group().sender().unwrap().index(), Some(lo.index));
    assert_eq!(payloads(&receive(&subscription, 1)), [b"new"]);
}

#[test]
fn datagrams_have_the_class_of_service_of_their_output() {
    let (sockets, urls) = receivers(3);
    for socket in &sockets {
        socket2::SockRef::from(socket).set_recv_tos_v4(true).unwrap();
    }
    let urls: Vec<String> =
        urls.iter().zip(["", "?dscp=EF", "?dscp=keep"]).map(|(url, more)| format!("{url}{more}")).collect();
    let mut bench = Bench::new(&urls);
    let classes = |bench: &mut Bench| {
        bench.send(bench.opened, &[b"x"]);
        sockets.iter().map(|socket| receive(socket, 1)[0].dscp.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(classes(&mut bench), [0, 46, 0]);
    bench.outputs.keep_dscp(34);
    assert_eq!(classes(&mut bench), [0, 46, 34]);
    bench.outputs.keep_dscp(18);
    assert_eq!(classes(&mut bench), [0, 46, 18]);
}

#[test]
fn hosts_that_shared_a_full_socket_get_one_each_and_miss_nothing() {
    let (sockets, mut urls) = receivers(3);
    let (other, others) = receivers(1);
    urls.push(format!("{}?ttl=3", others[0]));
    let mut bench = Bench::new(&urls);
    assert_eq!(bench.outputs.groups.len(), 2);
    let packets: [&[u8]; 3] = [b"one", b"two", b"three"];
    let now = clock::now();
    let bursts = Bench::bursts(&packets);
    let rest = bench.group().rest(now, &bursts);
    let Bench { outputs, batch, interfaces, .. } = &mut bench;
    scatter(&mut outputs.groups, 0, Some(rest), (now, batch, interfaces, &bursts));
    assert_eq!(bench.outputs.groups.len(), 4);
    bench.send(now, &[b"four"]);
    let mut ports = std::collections::HashSet::new();
    for socket in &sockets {
        let received = receive(socket, 4);
        assert_eq!(payloads(&received), [&b"one"[..], b"two", b"three", b"four"]);
        ports.extend(received.iter().map(|received| received.source.port()));
    }
    assert_eq!(ports.len(), 3, "a socket each");
    assert_eq!(payloads(&receive(&other[0], 1)), [b"four"]);
    assert!(bench.counters().iter().take(3).all(|counters| (counters.packets, counters.dropped()) == (4, 0)));
}
