//! Parses bytes to checked views, and emits them. It handles bytes only: no sockets, no clock, no
//! state between datagrams (except [`ts::Continuity`] and [`custom::Scale`], which their owners
//! keep).
//!
//! A datagram comes from `net` as bytes; [`parse`] checks all of it once and returns for `relay` a
//! [`Datagram`], whose accessors cannot panic. Otherwise it returns a [`Reject`]: *corrupt* (the
//! datagram claims the format but is damaged) or *foreign* (it is something else), with a
//! [`Reason`] for counters and logs.

use std::{fmt, str::FromStr, sync::Arc};

pub mod custom;
pub mod fec;
pub mod limits;
mod looks;
pub mod native;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod seal;
pub mod seq;
pub mod st2022;
pub mod step;
#[cfg(feature = "subscribe")]
pub mod subscribe;
pub mod ts;

pub use looks::Looks;

/// How a channel's datagrams are numbered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Identified per source by `identify`; [`parse`], which sees one datagram, decides by its
    /// first byte.
    #[default]
    Auto,
    /// The native datagram, version 1.
    Native,
    /// RTP (RFC 3550).
    Rtp,
    /// MPEG-TS packets without RTP: not numbered, checked by their continuity counters.
    Ts,
    /// Not numbered: passed on in order of arrival.
    Raw,
    /// Any other numbered datagram.
    Custom(Arc<custom::Layout>),
}

/// One datagram, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// See [`native`].
    Native(native::Packet<'a>),
    /// See [`rtp`].
    Rtp(rtp::Packet<'a>),
    /// See [`ts`].
    Ts(ts::Packet<'a>),
    /// See [`custom`].
    Custom(custom::Packet<'a>),
    /// The whole datagram, not numbered.
    Raw(&'a [u8]),
}

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// It claims the expected format, but is damaged.
    Corrupt(Reason),
    /// It has another format, version or kind.
    Foreign(Reason),
}

impl Reject {
    /// The exact reason.
    pub fn reason(&self) -> Reason {
        match self {
            Reject::Corrupt(reason) | Reject::Foreign(reason) => *reason,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self {
            Reject::Corrupt(_) => "corrupt",
            Reject::Foreign(_) => "foreign",
        };
        write!(f, "{class}: {}", self.reason().as_str())
    }
}

/// Reason why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// An empty datagram.
    Empty,
    /// Shorter than its header, or than a field that its format reads.
    Truncated,
    /// The checksum does not fit the bytes.
    Checksum,
    /// RTP padding of zero length, or longer than the packet.
    Padding,
    /// A repair packet whose fields contradict each other.
    Repair,
    /// A native NACK whose length is not that of a list of ranges.
    Nack,
    /// A native datagram of an unsupported version.
    Version,
    /// A native datagram of a reserved kind, or FEC for RTP of an unsupported kind.
    Kind,
    /// RTCP on the port of the media.
    Rtcp,
    /// Another format than the configured one.
    Format,
    /// A `match` of the configured layout does not hold.
    Match,
}

impl Reason {
    /// A short, stable name for logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::Truncated => "truncated",
            Reason::Checksum => "checksum",
            Reason::Padding => "padding",
            Reason::Repair => "repair",
            Reason::Nack => "nack",
            Reason::Version => "version",
            Reason::Kind => "kind",
            Reason::Rtcp => "rtcp",
            Reason::Format => "format",
            Reason::Match => "match",
        }
    }
}

/// Checks one datagram against a format. A native datagram with a wrong checksum is corrupt, even
/// if its first bytes identified the format.
#[inline]
pub fn parse<'a>(format: &Format, bytes: &'a [u8]) -> Result<Datagram<'a>, Reject> {
    if bytes.is_empty() {
        return Err(Reject::Corrupt(Reason::Empty));
    }
    match format {
        Format::Auto => parse_auto(bytes),
        Format::Native => parse_native(bytes),
        Format::Rtp => parse_rtp(bytes),
        Format::Ts => ts::Packet::parse(bytes).map(Datagram::Ts).ok_or(Reject::Foreign(Reason::Format)),
        Format::Raw => Ok(Datagram::Raw(bytes)),
        Format::Custom(layout) => layout.read(bytes).map(Datagram::Custom),
    }
}

#[inline]
fn parse_auto(bytes: &[u8]) -> Result<Datagram<'_>, Reject> {
    match bytes {
        [first, second, ..] if [*first, *second] == native::MAGIC => parse_native(bytes),
        [0x80..=0xBF, ..] => parse_rtp(bytes),
        _ => Ok(ts::Packet::parse(bytes).map_or(Datagram::Raw(bytes), Datagram::Ts)),
    }
}

#[inline]
fn parse_native(bytes: &[u8]) -> Result<Datagram<'_>, Reject> {
    Ok(Datagram::Native(native::Packet::parse(bytes)?))
}

#[inline]
fn parse_rtp(bytes: &[u8]) -> Result<Datagram<'_>, Reject> {
    Ok(Datagram::Rtp(rtp::Packet::parse(bytes)?))
}

impl From<native::NativeError> for Reject {
    fn from(error: native::NativeError) -> Reject {
        use native::NativeError as E;
        match error {
            E::Magic { .. } => Reject::Foreign(Reason::Format),
            E::Version { .. } => Reject::Foreign(Reason::Version),
            E::Kind { .. } => Reject::Foreign(Reason::Kind),
            E::Truncated { .. } => Reject::Corrupt(Reason::Truncated),
            E::Checksum { .. } => Reject::Corrupt(Reason::Checksum),
            E::Nack { .. } => Reject::Corrupt(Reason::Nack),
            E::Block { .. } | E::Index { .. } | E::Stride | E::Shard { .. } | E::Padding => {
                Reject::Corrupt(Reason::Repair)
            }
        }
    }
}

impl From<rtp::RtpError> for Reject {
    fn from(error: rtp::RtpError) -> Reject {
        match error {
            rtp::RtpError::Version { .. } => Reject::Foreign(Reason::Format),
            rtp::RtpError::Rtcp { .. } => Reject::Foreign(Reason::Rtcp),
            rtp::RtpError::Truncated { .. } => Reject::Corrupt(Reason::Truncated),
            rtp::RtpError::Padding { .. } => Reject::Corrupt(Reason::Padding),
        }
    }
}

impl From<st2022::St2022Error> for Reject {
    fn from(error: st2022::St2022Error) -> Reject {
        use st2022::St2022Error as E;
        match error {
            E::Version { .. } => Reject::Foreign(Reason::Format),
            E::Rtcp { .. } => Reject::Foreign(Reason::Rtcp),
            E::Kind { .. } => Reject::Foreign(Reason::Kind),
            E::Truncated { .. } => Reject::Corrupt(Reason::Truncated),
            E::Protects { .. } => Reject::Corrupt(Reason::Repair),
        }
    }
}

/// An invalid format in the configuration or on the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Neither a format, nor a profile, nor a layout.
    #[error(
        "format {value:?} is unknown; expected auto, native, rtp, ts, raw, a profile ({profiles}) or a layout \
         such as seq=u16be@4,id=u32be@0"
    )]
    Unknown {
        /// The text.
        value: String,
        /// Names of the profiles.
        profiles: String,
    },
    /// A layout with an invalid part.
    #[error(transparent)]
    Layout(#[from] custom::LayoutError),
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Format, FormatError> {
        match text.trim() {
            "auto" => Ok(Format::Auto),
            "native" => Ok(Format::Native),
            "rtp" => Ok(Format::Rtp),
            "ts" => Ok(Format::Ts),
            "raw" => Ok(Format::Raw),
            other if other.contains('=') || custom::is_profile(other) => {
                Ok(Format::Custom(Arc::new(other.parse()?)))
            }
            other => Err(FormatError::Unknown { value: other.into(), profiles: custom::profile_names() }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Auto => f.write_str("auto"),
            Format::Native => f.write_str("native"),
            Format::Rtp => f.write_str("rtp"),
            Format::Ts => f.write_str("ts"),
            Format::Raw => f.write_str("raw"),
            Format::Custom(layout) => layout.fmt(f),
        }
    }
}

/// `N` bytes of a fixed-size header from offset `at`, which is a constant at every call.
#[inline]
fn bytes_at<const N: usize, const HEADER: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    std::array::from_fn(|i| header[at + i])
}

#[cfg(test)]
mod tests;
