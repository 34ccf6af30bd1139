//! Reads the captures of fixtures/.
#![allow(dead_code, unreachable_pub)] // each test crate uses a part of it

/// The UDP payloads of a capture with their destination ports, in order. Classic little-endian pcap of Ethernet
/// frames with IPv4 without options, which is what fixtures/make writes.
pub fn capture(name: &str) -> Vec<(u16, Vec<u8>)> {
    const UDP_PAYLOAD: usize = 14 + 20 + 8;
    let bytes = std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let u16_be = |bytes: &[u8], at: usize| u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
    let u32_le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((u32_le(0), u32_le(20)), (0xA1B2_C3D4, 1), "classic pcap, Ethernet");
    let (mut at, mut datagrams) = (24, Vec::new());
    while at < bytes.len() {
        let (captured, original) = (u32_le(at + 8), u32_le(at + 12));
        assert_eq!(captured, original, "whole frames");
        let frame = &bytes[at + 16..at + 16 + captured as usize];
        assert_eq!(
            (u16_be(frame, 12), frame[14], frame[23]),
            (0x0800, 0x45, 17),
            "IPv4 without options, UDP"
        );
        let end = 14 + usize::from(u16_be(frame, 16));
        datagrams.push((u16_be(frame, 36), frame[UDP_PAYLOAD..end].to_vec()));
        at += 16 + captured as usize;
    }
    datagrams
}

/// What was sent to one port of a capture.
pub fn to_port(name: &str, port: u16) -> Vec<Vec<u8>> {
    capture(name).into_iter().filter(|(to, _)| *to == port).map(|(_, bytes)| bytes).collect()
}

/// When each datagram of a capture was sent, in the same order.
pub fn times(name: &str) -> Vec<std::time::Duration> {
    let bytes = std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let u32_le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut times) = (24, Vec::new());
    while at < bytes.len() {
        times.push(std::time::Duration::new(u64::from(u32_le(at)), u32_le(at + 4) * 1000));
        at += 16 + u32_le(at + 8) as usize;
    }
    times
}
