//! Reads the captures in fixtures/ in the form in which fixtures/make writes them, independently
//! of the program's own reader: classic little-endian pcap of Ethernet frames with IPv4 without
//! options.
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

/// Returns the frames of a capture with their timestamps, in order.
fn frames(name: &str) -> Vec<(Duration, Vec<u8>)> {
    let bytes =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap();
    let u32_le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((u32_le(0), u32_le(20)), (0xA1B2_C3D4, 1), "classic pcap, Ethernet");
    let (mut at, mut frames) = (24, Vec::new());
    while at < bytes.len() {
        let (captured, original) = (u32_le(at + 8), u32_le(at + 12));
        assert_eq!(captured, original, "whole frames");
        let (begin, end) = (at + 16, at + 16 + captured as usize);
        let time = Duration::new(u32_le(at).into(), u32_le(at + 4) * 1000);
        frames.push((time, bytes[begin..end].to_vec()));
        at = end;
    }
    frames
}

/// Returns the UDP payloads of a capture with their destination ports, in order.
pub fn capture(name: &str) -> Vec<(u16, Vec<u8>)> {
    const UDP_PAYLOAD: usize = 14 + 20 + 8;
    let u16_be = |bytes: &[u8], at: usize| u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
    let datagram = |(_, frame): (Duration, Vec<u8>)| {
        let head = (u16_be(&frame, 12), frame[14], frame[23]);
        assert_eq!(head, (0x0800, 0x45, 17), "IPv4 without options, UDP");
        let end = 14 + usize::from(u16_be(&frame, 16));
        (u16_be(&frame, 36), frame[UDP_PAYLOAD..end].to_vec())
    };
    frames(name).into_iter().map(datagram).collect()
}

/// A datagram of a capture, with its source.
pub struct Sent {
    pub source: SocketAddrV4,
    pub payload: Vec<u8>,
}

/// Returns all datagrams of a capture, in order.
pub fn sent(name: &str) -> Vec<Sent> {
    let sources = frames(name).into_iter().map(|(_, frame)| {
        let ip: [u8; 4] = frame[26..30].try_into().unwrap();
        SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_be_bytes([frame[34], frame[35]]))
    });
    let payloads = capture(name).into_iter().map(|(_, payload)| payload);
    sources.zip(payloads).map(|(source, payload)| Sent { source, payload }).collect()
}

/// Returns the payloads of a capture that were sent to one port.
pub fn to_port(name: &str, port: u16) -> Vec<Vec<u8>> {
    capture(name).into_iter().filter(|(to, _)| *to == port).map(|(_, bytes)| bytes).collect()
}

/// Returns the timestamp of each datagram of a capture, in the same order.
pub fn times(name: &str) -> Vec<Duration> {
    frames(name).into_iter().map(|(time, _)| time).collect()
}
