//! Reads capture files, pcapng (draft-ietf-opsawg-pcapng) and pcap (draft-ietf-opsawg-pcap), and
//! extracts the UDP datagrams.
//!
//! Used by the commands that take a file: `send` plays the datagrams, `probe` analyses them. The
//! contents of datagrams are not parsed here.

use std::{fs::File, io, net::IpAddr, net::SocketAddr, path::Path, time::Duration};

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader, traits::PcapNGPacketBlock,
    traits::PcapReaderIterator,
};

use crate::limits::{CAPTURE_BLOCK_BYTES_MAX, CAPTURE_READ_BYTES};

/// Bytes before the IP packet in Linux's "cooked" captures, version 1, and the offset of the
/// protocol field.
const SLL: (usize, usize) = (16, 14);
/// The same in version 2.
const SLL2: (usize, usize) = (20, 0);
/// Bytes before the IP packet on BSD's loopback interface.
const LOOPBACK_BYTES: usize = 4;
/// Link types of OpenBSD's loopback, and of raw IP as some systems number it (pcap-linktype(7)).
const LINKTYPE_LOOP: i32 = 108;
const LINKTYPES_RAW: [i32; 3] = [12, 14, 101];

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It starts with other data.
    #[error("is no capture, expected pcapng or pcap")]
    Foreign {
        /// What was found.
        what: &'static str,
    },
    /// The last packet is incomplete.
    #[error("is cut short after packet {packets}, expected {what} there")]
    Cut {
        /// Count of complete packets.
        packets: u64,
        /// What is missing.
        what: &'static str,
    },
    /// Invalid data for the format.
    #[error("makes no sense after packet {packets}: {what}")]
    Corrupt {
        /// Count of valid packets before it.
        packets: u64,
        /// What was found.
        what: String,
    },
    /// Packets of an unknown link type.
    #[error(
        "packet {packet} is of link type {linktype}, expected Ethernet (1), Linux cooked (113, 276), raw IP (101, 228, \
         229) or loopback (0, 108)"
    )]
    Linktype {
        /// Number of the packet, from 1.
        packet: u64,
        /// The link type (pcap-linktype(7)).
        linktype: i32,
    },
}

/// A datagram of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// When it was captured, since the Unix epoch.
    pub at: Duration,
    /// `false` if the file gives no time; then `at` is the time of the previous packet.
    pub timed: bool,
    /// Sender.
    pub source: SocketAddr,
    /// Destination.
    pub destination: SocketAddr,
    /// Data after the UDP header.
    pub payload: Vec<u8>,
}

/// Format of an interface's packets.
#[derive(Debug, Clone, Copy)]
struct Interface {
    linktype: Linktype,
    /// Units per second.
    resolution: u64,
    /// Seconds to add.
    offset: i64,
}

/// An open capture.
pub struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    packets: u64,
    last: Duration,
    /// Count of packets so far that are fragments of a larger one.
    pub fragments: u64,
    /// Count of packets so far that were not captured whole.
    pub partial: u64,
}

/// A captured packet, including its link-layer headers.
struct Frame {
    at: Duration,
    timed: bool,
    linktype: Linktype,
    /// Empty if it was not captured whole.
    bytes: Vec<u8>,
}

/// Meaning of a block of the file.
enum Step {
    Frame(Frame),
    Other,
    More,
    End,
}

impl Capture {
    /// Opens a file and reads its start.
    ///
    /// # Errors
    /// It cannot be read, or is not a capture.
    pub fn open(path: &Path) -> Result<Capture, CaptureError> {
        let file = File::open(path)?;
        let reader = create_reader(CAPTURE_READ_BYTES, file).map_err(|error| match error {
            PcapError::ReadError => CaptureError::Io(io::Error::other("cannot be read")),
            PcapError::Incomplete(_) => CaptureError::Cut { packets: 0, what: "the rest of the header" },
            PcapError::Eof => CaptureError::Foreign { what: "it is empty" },
            _ => CaptureError::Foreign { what: "unknown header" },
        })?;
        Ok(Capture {
            reader,
            interfaces: Vec::new(),
            packets: 0,
            last: Duration::ZERO,
            fragments: 0,
            partial: 0,
        })
    }

    /// The next UDP datagram, in the order of the file. Other packets are skipped.
    ///
    /// # Errors
    /// The file is damaged or ends early. After a packet with an unknown link type
    /// ([`CaptureError::Linktype`]), reading can continue.
    pub fn next_datagram(&mut self) -> Result<Option<Datagram>, CaptureError> {
        loop {
            match self.step()? {
                Step::Frame(frame) => {
                    if let Some(datagram) = self.datagram(&frame)? {
                        return Ok(Some(datagram));
                    }
                }
                Step::Other => {}
                Step::More => self.refill()?,
                Step::End => return Ok(None),
            }
        }
    }

    fn refill(&mut self) -> Result<(), CaptureError> {
        let before = self.reader.data().len();
        self.reader.refill().map_err(|_| CaptureError::Io(io::Error::other("cannot be read")))?;
        if self.reader.data().len() > before || self.reader.reader_exhausted() {
            return Ok(());
        }
        // The buffer is full, and the block is not complete.
        let size = 2 * before.max(CAPTURE_READ_BYTES);
        if size > CAPTURE_BLOCK_BYTES_MAX || !self.reader.grow(size) {
            let what = format!("a block of more than {before} bytes");
            return Err(CaptureError::Corrupt { packets: self.packets, what });
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, CaptureError> {
        let (packets, exhausted) = (self.packets, self.reader.reader_exhausted());
        if exhausted && self.reader.data().is_empty() {
            return Ok(Step::End);
        }
        let (size, step) = match self.reader.next() {
            Ok((size, block)) => (size, read(&block, &mut self.interfaces, self.last, packets)?),
            Err(PcapError::Eof) => return Ok(Step::End),
            Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) if !exhausted => {
                return Ok(Step::More);
            }
            Err(PcapError::UnexpectedEof | PcapError::Incomplete(_) | PcapError::BufferTooSmall) => {
                return Err(CaptureError::Cut { packets, what: "the rest of a packet" });
            }
            Err(error) => {
                let what = match error {
                    PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind) => {
                        format!("no block of the format ({kind:?})")
                    }
                    _ => "no block of the format".to_owned(),
                };
                return Err(CaptureError::Corrupt { packets, what });
            }
        };
        self.reader.consume(size);
        if let Step::Frame(frame) = &step {
            self.packets += 1;
            self.last = frame.at;
            if frame.bytes.is_empty() {
                self.partial += 1;
                return Ok(Step::Other);
            }
        }
        Ok(step)
    }

    /// The UDP datagram in a packet, if it is one.
    fn datagram(&mut self, frame: &Frame) -> Result<Option<Datagram>, CaptureError> {
        let Some(sliced) = sliced(frame.linktype, &frame.bytes) else {
            return Err(CaptureError::Linktype { packet: self.packets, linktype: frame.linktype.0 });
        };
        // A packet that cannot be parsed is not a UDP datagram.
        let Some(packet) = sliced else { return Ok(None) };
        let (source, destination, fragment): (IpAddr, IpAddr, bool) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload().fragmented)
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload().fragmented)
            }
            _ => return Ok(None),
        };
        self.fragments += u64::from(fragment);
        let Some(TransportSlice::Udp(udp)) = packet.transport.filter(|_| !fragment) else { return Ok(None) };
        Ok(Some(Datagram {
            at: frame.at,
            timed: frame.timed,
            source: SocketAddr::new(source, udp.source_port()),
            destination: SocketAddr::new(destination, udp.destination_port()),
            payload: udp.payload().to_vec(),
        }))
    }
}

/// Parses the packet in a frame. `None` for unknown link types, `Some(None)` if it is not an IP
/// packet.
fn sliced(linktype: Linktype, bytes: &[u8]) -> Option<Option<SlicedPacket<'_>>> {
    let cooked = |(head, protocol): (usize, usize)| {
        let kind = u16::from_be_bytes([*bytes.get(protocol)?, *bytes.get(protocol + 1)?]);
        SlicedPacket::from_ether_type(EtherType(kind), bytes.get(head..)?).ok()
    };
    match linktype {
        Linktype::ETHERNET => Some(SlicedPacket::from_ethernet(bytes).ok()),
        Linktype::LINUX_SLL => Some(cooked(SLL)),
        Linktype::LINUX_SLL2 => Some(cooked(SLL2)),
        Linktype::IPV4 | Linktype::IPV6 => Some(SlicedPacket::from_ip(bytes).ok()),
        Linktype::NULL | Linktype(LINKTYPE_LOOP) => {
            Some(bytes.get(LOOPBACK_BYTES..).and_then(|ip| SlicedPacket::from_ip(ip).ok()))
        }
        Linktype(raw) if LINKTYPES_RAW.contains(&raw) => Some(SlicedPacket::from_ip(bytes).ok()),
        _ => None,
    }
}

/// Reads a block. A packet that was not captured whole gets no bytes.
fn read(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    last: Duration,
    packets: u64,
) -> Result<Step, CaptureError> {
    let interface = |interfaces: &[Interface], id: u32| {
        let found = interfaces.get(id as usize).copied();
        let what = || format!("a packet of interface {id}, which the file does not describe");
        found.ok_or_else(|| CaptureError::Corrupt { packets, what: what() })
    };
    let whole = |data: &[u8], captured: u32, original: u32| {
        let data = data.get(..captured as usize).filter(|_| captured >= original);
        data.map(<[u8]>::to_vec).unwrap_or_default()
    };
    Ok(match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            // The upper bits give the length of the frames' checksums.
            let linktype = Linktype(header.network.0 & 0xFFFF);
            interfaces.push(Interface { linktype, resolution, offset: 0 });
            Step::Other
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interface(interfaces, 0)?;
            let fraction = time(packet.ts_usec.into(), interface.resolution, 0);
            let at = Duration::from_secs(packet.ts_sec.into()) + fraction;
            let bytes = whole(packet.data, packet.caplen, packet.origlen);
            Step::Frame(Frame { at, timed: true, linktype: interface.linktype, bytes })
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            Step::Other
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            interfaces.push(Interface {
                linktype: description.linktype,
                resolution: resolution(description.if_tsresol),
                offset: description.if_tsoffset,
            });
            Step::Other
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interface(interfaces, packet.if_id)?;
            let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let at = time(units, interface.resolution, interface.offset);
            let bytes = whole(packet.packet_data(), packet.caplen, packet.origlen);
            Step::Frame(Frame { at, timed: true, linktype: interface.linktype, bytes })
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let data = packet.packet_data();
            let captured = data.len() as u32; // it came from 32 bits
            let (interface, bytes) = (interface(interfaces, 0)?, whole(data, captured, packet.orig_len()));
            Step::Frame(Frame { at: last, timed: false, linktype: interface.linktype, bytes })
        }
        PcapBlockOwned::NG(_) => Step::Other,
    })
}

/// `if_tsresol`: units per second as a power of ten, or of two if the highest bit is set.
fn resolution(code: u8) -> u64 {
    let power = u32::from(code & 0x7F);
    let units = if code & 0x80 == 0 { 10_u64.checked_pow(power) } else { 1_u64.checked_shl(power) };
    units.unwrap_or(u64::MAX)
}

/// Valid until the year 2554. A file may contain any time, and callers add to it, so larger ones
/// are limited.
fn time(units: u64, resolution: u64, offset: i64) -> Duration {
    const NANOSECONDS: u128 = 1_000_000_000;
    const MAX: Duration = Duration::from_nanos(u64::MAX);
    let nanoseconds = u128::from(units) * NANOSECONDS / u128::from(resolution);
    let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    let shift = Duration::from_secs(offset.unsigned_abs());
    if offset < 0 { time.saturating_sub(shift) } else { time.saturating_add(shift).min(MAX) }
}

#[cfg(test)]
mod tests;
