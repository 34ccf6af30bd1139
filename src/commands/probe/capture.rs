//! Reads a capture file (pcap or pcapng) for `probe`: UDP datagrams with their times, senders and destinations.

use std::{
    collections::HashMap,
    fs::File,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError,
    pcapng::{EnhancedPacketBlock, InterfaceDescriptionBlock},
    traits::PcapNGPacketBlock,
};

use crate::limits::{CAPTURE_BUFFER_BYTES, CAPTURE_DESTINATIONS_MAX};

/// One datagram of a capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Captured<'a> {
    /// Since the Unix epoch.
    pub(super) at: Duration,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) payload: &'a [u8],
}

/// What a packet of an interface is, and how its time stamps count.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Units per second.
    resolution: u64,
    /// Seconds.
    offset: i64,
}

/// Hands each UDP datagram on, in the order of the file. Packets that are not UDP, are cut short or are fragments of a larger
/// datagram are left out; how many.
///
/// # Errors
/// The file cannot be read, or is no capture, or is damaged.
pub(super) fn read(path: &Path, mut each: impl FnMut(Captured<'_>)) -> anyhow::Result<u64> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut reader = match pcap_parser::create_reader(CAPTURE_BUFFER_BYTES, file) {
        Ok(reader) => reader,
        Err(error) => bail!("{name}: not a capture file (expected pcap or pcapng): {}", words(&error)),
    };
    let mut interfaces = Vec::new();
    let mut left_out = 0;
    loop {
        let exhausted = reader.reader_exhausted();
        match reader.next() {
            Ok((offset, block)) => {
                left_out += u64::from(!hand_on(&block, &mut interfaces, &mut each));
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return Ok(left_out),
            Err(PcapError::Incomplete(_)) if exhausted => {
                tracing::warn!("{name} ends in the middle of a packet");
                return Ok(left_out);
            }
            Err(PcapError::Incomplete(_)) => match reader.refill() {
                Ok(()) => {}
                Err(error) => bail!("{name}: {}", words(&error)),
            },
            Err(error) => bail!("{name}: damaged: {}", words(&error)),
        }
    }
}

fn words<I>(error: &PcapError<I>) -> &'static str {
    match error {
        PcapError::Eof => "it is empty",
        PcapError::BufferTooSmall => "a block is larger than 1 MiB",
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => "it ends too early",
        PcapError::ReadError => "it cannot be read",
        PcapError::HeaderNotRecognized => "unknown header",
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "a block makes no sense",
    }
}

/// False: a packet that was left out.
fn hand_on(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    each: &mut impl FnMut(Captured<'_>),
) -> bool {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            interfaces.push(Interface { link: header.network, resolution, offset: 0 });
            true
        }
        PcapBlockOwned::Legacy(packet) => interfaces.first().is_some_and(|interface| {
            let fraction = u64::from(packet.ts_usec) * 1_000_000_000 / interface.resolution;
            let at = Duration::from_secs(packet.ts_sec.into()) + Duration::from_nanos(fraction);
            packet.caplen == packet.origlen && datagram(interface.link, at, packet.data, each)
        }),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            true
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            interfaces.push(Interface::of(description));
            true
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            interfaces.get(packet.if_id as usize).is_some_and(|interface| interface.enhanced(packet, each))
        }
        // without a time stamp it says nothing about rates, so a simple packet is left out
        PcapBlockOwned::NG(Block::SimplePacket(_)) => false,
        PcapBlockOwned::NG(_) => true,
    }
}

impl Interface {
    fn of(description: &InterfaceDescriptionBlock<'_>) -> Interface {
        Interface {
            link: description.linktype,
            resolution: description.ts_resolution().unwrap_or(1_000_000).max(1),
            offset: description.ts_offset(),
        }
    }

    fn enhanced(&self, packet: &EnhancedPacketBlock<'_>, each: &mut impl FnMut(Captured<'_>)) -> bool {
        let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
        let nanos = u128::from(stamp % self.resolution) * 1_000_000_000 / u128::from(self.resolution);
        let seconds = (stamp / self.resolution).saturating_add_signed(self.offset);
        let at = Duration::new(seconds, nanos as u32); // below a second
        packet.caplen == packet.origlen && datagram(self.link, at, packet.packet_data(), each)
    }
}

fn datagram(link: Linktype, at: Duration, frame: &[u8], each: &mut impl FnMut(Captured<'_>)) -> bool {
    let sliced = match link {
        Linktype::ETHERNET => SlicedPacket::from_ethernet(frame),
        Linktype::LINUX_SLL => SlicedPacket::from_linux_sll(frame),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => SlicedPacket::from_ip(frame),
        _ => return false,
    };
    let Ok(SlicedPacket { net: Some(net), transport: Some(TransportSlice::Udp(udp)), .. }) = sliced else {
        return false;
    };
    let (from, to): (IpAddr, IpAddr) = match &net {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return false,
    };
    each(Captured {
        at,
        source: (from, udp.source_port()).into(),
        destination: (to, udp.destination_port()).into(),
        payload: udp.payload(),
    });
    true
}

/// Where most datagrams go that are neither repair packets nor RTCP of a neighbouring port; and all destinations with their counts.
pub(super) fn destinations(path: &Path) -> anyhow::Result<Vec<(SocketAddr, u64)>> {
    let mut counts: HashMap<SocketAddr, u64> = HashMap::new();
    read(path, |datagram| {
        if counts.len() < CAPTURE_DESTINATIONS_MAX || counts.contains_key(&datagram.destination) {
            *counts.entry(datagram.destination).or_default() += 1;
        }
    })?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(destination, count)| (std::cmp::Reverse(*count), *destination));
    Ok(counts)
}
