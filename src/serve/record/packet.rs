//! pcapng blocks (draft-ietf-opsawg-pcapng) of records: each packet with generated IP and UDP
//! headers from its known addresses, and a comment if numbers are missing before it. Blocks go to
//! [`super::files`].

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use etherparse::PacketBuilder;
use pcap_parser::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, Linktype, OptionCode, PcapNGOption, SectionHeaderBlock,
    ToVec,
};

use super::nanoseconds;
use crate::channel::tap::{Event, FlowName, Info, Record};
use tidecast_core::relay::How;

/// Time to live in the generated headers; the real one is unknown.
const TTL: u8 = 64;
/// Times are counted in units of 10^-9 s.
const RESOLUTION: u8 = 9;
/// Maximum comment in bytes; many gaps before one packet need not be listed.
const COMMENT_BYTES_MAX: usize = 400;

/// The capture interface named in the file.
#[derive(Debug)]
pub(super) struct Link {
    channel: String,
    to: SocketAddr,
    /// Text for the comment of the next packet.
    notes: String,
}

impl Link {
    pub(super) fn new(channel: &str, to: SocketAddr) -> Link {
        Link { channel: channel.to_owned(), to, notes: String::new() }
    }

    /// Start of each file.
    pub(super) fn head(&self) -> Vec<u8> {
        let application = concat!("tidecast ", env!("CARGO_PKG_VERSION"));
        let mut section = SectionHeaderBlock {
            block_type: 0,
            block_len1: 0,
            bom: 0,
            major_version: 1,
            minor_version: 0,
            section_len: -1, // not known
            options: vec![option(OptionCode::ShbUserAppl, application)],
            block_len2: 0,
        };
        let description = self.to.to_string();
        let mut interface = InterfaceDescriptionBlock {
            block_type: 0,
            block_len1: 0,
            linktype: Linktype::RAW,
            reserved: 0,
            snaplen: 0, // no limit
            options: vec![
                option(OptionCode::IfName, &self.channel),
                option(OptionCode::IfDescription, &description),
            ],
            block_len2: 0,
            if_tsresol: RESOLUTION,
            if_tsoffset: 0,
        };
        let written = section.to_vec().and_then(|head| Ok([head, interface.to_vec()?].concat()));
        written.unwrap_or_default() // writing to a Vec cannot fail
    }

    /// Adds text to the next packet's comment.
    pub(super) fn note(&mut self, record: &Record) {
        let flow = &record.flow.key;
        let note = match record.event {
            Event::Lost { from, count: 1 } => format!("flow {flow}: lost {from}"),
            Event::Lost { from, count } => {
                format!("flow {flow}: lost {count}, {from} to {}", from + count.saturating_sub(1))
            }
            Event::Started => format!("flow {flow}: begins"),
            Event::Ended => format!("flow {flow}: ended"),
            Event::Packet(_) => return,
        };
        if self.notes.len() + note.len() < COMMENT_BYTES_MAX {
            let separator = if self.notes.is_empty() { "" } else { "; " };
            self.notes += separator;
            self.notes += &note;
        }
    }

    /// Notes that `count` packets before the next one were not recorded.
    pub(super) fn missed(&mut self, count: u64) {
        let note = format!("{count} packets before this one were not recorded");
        self.notes = if self.notes.is_empty() { note } else { format!("{note}; {}", self.notes) };
    }

    /// Drops the text.
    pub(super) fn forget(&mut self) {
        self.notes.clear();
    }

    /// A packet's block. `None`: it is too long for IP.
    pub(super) fn packet(&mut self, flow: &Arc<FlowName>, info: &Info, datagram: &[u8]) -> Option<Vec<u8>> {
        let bytes = wrapped(flow.source, self.to, datagram)?;
        let how = match info.how {
            How::Received => None,
            How::Fec => Some("rebuilt by FEC"),
            How::Retransmission => Some("sent again by its producer"),
        };
        let mut notes = std::mem::take(&mut self.notes);
        if let Some(how) = how {
            notes = if notes.is_empty() { how.to_owned() } else { format!("{notes}; {how}") };
        }
        let options = if notes.is_empty() { Vec::new() } else { vec![option(OptionCode::Comment, &notes)] };
        let (time, length) = (nanoseconds(info.arrived), bytes.len() as u32); // below 2^17
        let mut block = EnhancedPacketBlock {
            block_type: 0,
            block_len1: 0,
            if_id: 0,
            ts_high: (time >> 32) as u32,
            ts_low: time as u32,
            caplen: length,
            origlen: length,
            data: &bytes,
            options,
            block_len2: 0,
        };
        block.to_vec().ok()
    }
}

fn option(code: OptionCode, text: &str) -> PcapNGOption<'_> {
    let len = text.len() as u16; // names and comments are far shorter
    PcapNGOption { code, len, value: Cow::Borrowed(text.as_bytes()) }
}

/// The datagram with IP and UDP headers. `None`: it is too long for them.
fn wrapped(from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
    let builder = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (from, to) => PacketBuilder::ipv6(v6(from), v6(to), TTL),
    };
    let builder = builder.udp(from.port(), to.port());
    let mut bytes = Vec::with_capacity(builder.size(datagram.len()));
    builder.write(&mut bytes, datagram).ok().map(|()| bytes)
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => [0; 16],
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}
