//! Hand-made and damaged captures.

use std::io::Write;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

const ETHERNET: u16 = 1;
const RAW: u16 = 101;

/// An IPv4 packet with a UDP datagram.
fn packet(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [239, 1, 1, 1], 9).udp(7, port).write(&mut bytes, payload).unwrap();
    bytes
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = (12 + padded) as u32;
    let mut bytes = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    bytes.extend_from_slice(body);
    bytes.resize(8 + padded, 0);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes
}

fn section() -> Vec<u8> {
    block(0x0A0D_0D0A, &[&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xFF; 8]].concat())
}

fn interface(linktype: u16, options: &[u8]) -> Vec<u8> {
    block(1, &[&linktype.to_le_bytes()[..], &[0; 6], options].concat())
}

fn enhanced(id: u32, time: u64, bytes: &[u8], original: usize) -> Vec<u8> {
    let head = [id, (time >> 32) as u32, time as u32, bytes.len() as u32, original as u32];
    block(6, &[&head.map(u32::to_le_bytes).concat()[..], bytes].concat())
}

fn pcap(magic: u32, linktype: u32, packets: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    let head = [magic, 2 | 4 << 16, 0, 0, 65_535, linktype];
    let mut bytes = head.map(u32::to_le_bytes).concat();
    for (seconds, fraction, packet) in packets {
        let length = packet.len() as u32;
        bytes.extend([*seconds, *fraction, length, length].map(u32::to_le_bytes).concat());
        bytes.extend(packet);
    }
    bytes
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// All datagrams of a capture, and the error at which it ends.
fn all(bytes: &[u8]) -> (Vec<Datagram>, Option<CaptureError>) {
    let file = file(bytes);
    let (mut capture, mut datagrams) = match Capture::open(file.path()) {
        Ok(capture) => (capture, Vec::new()),
        Err(error) => return (Vec::new(), Some(error)),
    };
    loop {
        match capture.next_datagram() {
            Ok(Some(datagram)) => datagrams.push(datagram),
            Ok(None) => return (datagrams, None),
            Err(error) => return (datagrams, Some(error)),
        }
    }
}

fn datagram(at: Duration, port: u16, payload: &[u8]) -> Datagram {
    let source = SocketAddr::new([10, 0, 0, 1].into(), 7);
    let destination = SocketAddr::new([239, 1, 1, 1].into(), port);
    Datagram { at, timed: true, source, destination, payload: payload.to_vec() }
}

#[test]
fn pcap_of_either_resolution_is_read() {
    let packets = [(5, 7, packet(1, b"a")), (6, 0, packet(2, b""))];
    let (micro, nano) = (Duration::new(5, 7000), Duration::new(5, 7));
    for (magic, at) in [(0xA1B2_C3D4, micro), (0xA1B2_3C4D, nano)] {
        let (read, error) = all(&pcap(magic, RAW.into(), &packets));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(read, [datagram(at, 1, b"a"), datagram(Duration::from_secs(6), 2, b"")]);
    }
}

#[test]
fn interfaces_have_clocks_and_links_of_their_own() {
    let ethernet = |packet: Vec<u8>| [&[0; 12][..], &[8, 0], &packet].concat();
    let tagged = |packet: Vec<u8>| [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &packet].concat();
    let sll = |packet: Vec<u8>| [&[0; 14][..], &[8, 0], &packet].concat();
    let sll2 = |packet: Vec<u8>| [&[8, 0][..], &[0; 18], &packet].concat();
    let loopback = |packet: Vec<u8>| [&[2, 0, 0, 0][..], &packet].concat();
    let nanoseconds = [9, 0, 1, 0, 9, 0, 0, 0];
    let halves = [9, 0, 1, 0, 0x81, 0, 0, 0];
    let later = [&[14, 0, 8, 0][..], &100_i64.to_le_bytes()].concat();
    let bytes = [
        section(),
        interface(ETHERNET, &[]),
        interface(113, &nanoseconds),
        interface(276, &halves),
        interface(0, &later),
        enhanced(0, 1_000_001, &ethernet(packet(1, b"a")), 0),
        enhanced(1, 1_000_001, &sll(packet(1, b"bc")), 0),
        enhanced(2, 3, &sll2(packet(1, b"d")), 0),
        enhanced(3, 1_000_000, &loopback(packet(1, b"e")), 0),
        enhanced(0, 2, &tagged(packet(1, b"f")), 0),
    ]
    .concat();
    let (read, error) = all(&bytes);
    assert!(error.is_none(), "{error:?}");
    let times = [(1, 1000), (0, 1_000_001), (1, 500_000_000), (101, 0), (0, 2000)];
    let expected = times.map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds));
    assert_eq!(read.iter().map(|datagram| datagram.at).collect::<Vec<_>>(), expected);
    assert_eq!(
        read.iter().map(|datagram| &datagram.payload[..]).collect::<Vec<_>>(),
        [&b"a"[..], b"bc", b"d", b"e", b"f"]
    );
}

#[test]
fn senders_are_told_of_either_version_of_ip_and_packets_without_a_time_as_such() {
    let mut six = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 9).udp(3, 4).write(&mut six, b"six").unwrap();
    let simple = block(3, &[&(six.len() as u32).to_le_bytes()[..], &six].concat());
    let bytes = [section(), interface(RAW, &[]), enhanced(0, 5, &packet(1, b"a"), 0), simple].concat();
    let (read, error) = all(&bytes);
    assert!(error.is_none(), "{error:?}");
    let at = Duration::from_micros(5);
    let six = Datagram {
        at,
        timed: false,
        source: SocketAddr::new([1; 16].into(), 3),
        destination: SocketAddr::new([2; 16].into(), 4),
        payload: b"six".to_vec(),
    };
    assert_eq!(read, [datagram(at, 1, b"a"), six]);
}

#[test]
fn behind_a_packet_of_an_unknown_link_a_file_is_read_on() {
    let bytes = [
        section(),
        interface(RAW, &[]),
        interface(105, &[]),
        enhanced(1, 0, &[0; 60], 60),
        enhanced(0, 1, &packet(1, b"a"), 0),
    ]
    .concat();
    let file = file(&bytes);
    let mut capture = Capture::open(file.path()).unwrap();
    assert!(matches!(capture.next_datagram(), Err(CaptureError::Linktype { packet: 1, linktype: 105 })));
    assert_eq!(capture.next_datagram().unwrap(), Some(datagram(Duration::from_micros(1), 1, b"a")));
    assert_eq!(capture.next_datagram().unwrap(), None);
}

#[test]
fn what_is_no_whole_datagram_is_counted_or_passed_over() {
    let mut fragment = packet(1, &[0; 64]);
    fragment[6] = 0x20; // more fragments
    let tcp = {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 9).tcp(1, 2, 3, 4).write(&mut bytes, b"x").unwrap();
        bytes
    };
    let whole = packet(1, b"whole");
    let bytes = [
        section(),
        interface(RAW, &[]),
        enhanced(0, 0, &whole[..30], whole.len()),
        enhanced(0, 0, &fragment, fragment.len()),
        enhanced(0, 0, &tcp, tcp.len()),
        enhanced(0, 0, b"nonsense", 8),
        enhanced(0, 0, &whole, whole.len()),
    ]
    .concat();
    let file = file(&bytes);
    let mut capture = Capture::open(file.path()).unwrap();
    assert_eq!(capture.next_datagram().unwrap(), Some(datagram(Duration::ZERO, 1, b"whole")));
    assert_eq!(capture.next_datagram().unwrap(), None);
    assert_eq!((capture.partial, capture.fragments), (1, 1));
}

#[test]
fn what_is_wrong_is_named() {
    let whole = pcap(0xA1B2_C3D4, RAW.into(), &[(1, 0, packet(1, b"a")), (2, 0, packet(1, b"b"))]);
    let (read, error) = all(&whole[..whole.len() - 1]);
    assert_eq!(read.len(), 1);
    let text = error.unwrap().to_string();
    assert_eq!(text, "is cut short after packet 1, expected the rest of a packet there");
    let (read, error) = all(b"this is no capture, and longer than any head of one, which is 24 bytes");
    assert_eq!(
        (read.len(), error.unwrap().to_string()),
        (0, "is no capture, expected pcapng or pcap".to_owned())
    );
    let (_, error) = all(b"");
    assert!(error.unwrap().to_string().starts_with("is no capture"));
    let wifi = pcap(0xA1B2_C3D4, 105, &[(1, 0, vec![0; 60])]);
    let text = all(&wifi).1.unwrap().to_string();
    assert!(text.starts_with("packet 1 is of link type 105, expected Ethernet (1)"), "{text}");
    let text = all(&[section(), enhanced(3, 0, b"", 0)].concat()).1.unwrap().to_string();
    assert!(text.contains("interface 3, which the file does not describe"), "{text}");
    let mut broken = [section(), interface(RAW, &[])].concat();
    broken.extend([6_u32, 0x7FFF_FFF0].map(u32::to_le_bytes).concat());
    broken.resize(1 << 20, 0);
    let error = all(&broken).1.unwrap();
    assert!(matches!(error, CaptureError::Cut { .. } | CaptureError::Corrupt { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Reading any file ends without a panic, and returns only datagrams that the file contains.
    #[test]
    fn damaged_captures_never_panic(place in 0_usize..400, value: u8, cut in 0_usize..400, ng: bool) {
        let whole = if ng {
            [section(), interface(RAW, &[]), enhanced(0, 1, &packet(1, b"abc"), 0), enhanced(0, 2, &packet(2, b"d"), 0)].concat()
        } else {
            pcap(0xA1B2_C3D4, RAW.into(), &[(1, 0, packet(1, b"abc")), (2, 0, packet(2, b"d"))])
        };
        let mut bytes = whole.clone();
        let length = bytes.len();
        bytes[place % length] = value;
        bytes.truncate(length - cut % length);
        prop_assert!(all(&bytes).0.len() <= 3);
    }
}

/// The commands add a capture's times to those of a clock.
#[test]
fn times_that_a_file_makes_up_can_be_added_to() {
    let far = [&[14, 0, 8, 0][..], &i64::MAX.to_le_bytes()].concat();
    let packet = packet(1, b"a");
    let (read, error) = all(&[section(), interface(RAW, &far), enhanced(0, u64::MAX, &packet, 0)].concat());
    assert!(error.is_none(), "{error:?}");
    let at = read[0].at;
    assert!(tidecast_net::clock::now().checked_add(at).is_some() && at.checked_mul(2).is_some(), "{at:?}");
}
