//! Stream ids of custom formats.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::limits::CUSTOM_ID_BYTES_MAX;

/// The part of the sender's address that belongs to the id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sender {
    /// None: the fields alone identify streams.
    #[default]
    Any,
    /// The IP address.
    Host,
    /// The IP address and the port.
    Port,
}

impl Sender {
    /// Maximum bytes in an id.
    pub(super) fn len_max(self) -> usize {
        match self {
            Sender::Any => 0,
            Sender::Host => 16,
            Sender::Port => 18,
        }
    }
}

/// Identifies the stream of a datagram: part of the sender's address, and the parts of the
/// layout's `id`, concatenated; numbers big-endian, in the width of their type.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Id {
    len: u8,
    /// Count of bytes of the sender's address.
    sender: u8,
    bytes: [u8; CUSTOM_ID_BYTES_MAX],
}

impl Id {
    /// The bytes, at most `CUSTOM_ID_BYTES_MAX`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends a part; the layout has checked that all parts fit, so nothing is cut off.
    pub(super) fn push(&mut self, part: &[u8]) {
        let free = &mut self.bytes[usize::from(self.len)..];
        let len = part.len().min(free.len());
        free[..len].copy_from_slice(&part[..len]);
        self.len += len as u8;
    }

    /// The id, preceded by the sender's address.
    pub(super) fn of(&self, sender: Sender, source: SocketAddr) -> Id {
        if sender == Sender::Any {
            return *self;
        }
        let mut id = Id::default();
        match source.ip().to_canonical() {
            IpAddr::V4(ip) => id.push(&ip.octets()),
            IpAddr::V6(ip) => id.push(&ip.octets()),
        }
        if sender == Sender::Port {
            id.push(&source.port().to_be_bytes());
        }
        id.sender = id.len;
        id.push(self.as_bytes());
        id
    }
}

impl fmt::Display for Id {
    /// Prints the fields in hexadecimal, after the sender's address: `01be`, `192.0.2.1/0102`,
    /// `192.0.2.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sender, fields) = self.as_bytes().split_at(usize::from(self.sender).min(self.len.into()));
        if let Some((ip, port)) = sender.split_first_chunk::<16>() {
            write_sender(f, Ipv6Addr::from(*ip).into(), port)?;
        } else if let Some((ip, port)) = sender.split_first_chunk::<4>() {
            write_sender(f, Ipv4Addr::from(*ip).into(), port)?;
        }
        if !sender.is_empty() && !fields.is_empty() {
            f.write_str("/")?;
        }
        fields.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn write_sender(f: &mut fmt::Formatter<'_>, ip: IpAddr, port: &[u8]) -> fmt::Result {
    match port {
        [high, low] => write!(f, "{}", SocketAddr::new(ip, u16::from_be_bytes([*high, *low]))),
        _ => write!(f, "{ip}"),
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}
