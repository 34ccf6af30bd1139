//! The protection of a stream against losses.

use std::{fmt, time::Duration};

/// Repair packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No FEC, RTP.
    None,
    /// No FEC, native datagrams.
    Plain,
    /// Native: `m` repair packets for each `k` media packets, taken `stride` apart.
    Native { k: u64, m: u64, stride: u64 },
    /// SMPTE ST 2022-1: columns, and rows if `row_fec` is set.
    St2022 { columns: u8, rows: u8, row_fec: bool },
}

/// All means that protect a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// FEC, on every leg.
    pub code: Code,
    /// Number of paths that carry the same packets (SMPTE ST 2022-7).
    pub legs: u8,
    /// Round-trip time after which the producer's retransmissions arrive, if it answers requests;
    /// links lose requests and retransmissions like all other packets.
    pub round_trip: Option<Duration>,
}

impl Protection {
    /// No protection; packets are only reordered.
    pub const NONE: Protection = Protection { code: Code::None, legs: 1, round_trip: None };

    /// Native FEC.
    pub const fn native(k: u64, m: u64, stride: u64) -> Protection {
        Protection { code: Code::Native { k, m, stride }, ..Protection::NONE }
    }

    /// Native datagrams with retransmission on request.
    pub const fn again(round_trip: Duration) -> Protection {
        Protection { code: Code::Plain, round_trip: Some(round_trip), ..Protection::NONE }
    }

    /// ST 2022-1 with rows and columns.
    pub const fn matrix(columns: u8, rows: u8) -> Protection {
        Protection { code: Code::St2022 { columns, rows, row_fec: true }, ..Protection::NONE }
    }

    /// ST 2022-1 with columns only.
    pub const fn columns(columns: u8, rows: u8) -> Protection {
        Protection { code: Code::St2022 { columns, rows, row_fec: false }, ..Protection::NONE }
    }

    /// The same on two paths.
    pub const fn twice(self) -> Protection {
        Protection { legs: 2, ..self }
    }

    /// Returns the number of media packets after which the code repeats.
    pub fn group(&self) -> u64 {
        match self.code {
            Code::None | Code::Plain => 1,
            Code::Native { k, stride, .. } => k * stride,
            Code::St2022 { columns, rows, .. } => u64::from(columns) * u64::from(rows),
        }
    }

    /// Returns the number of packets that are always sent in addition to the media, as a share of
    /// it.
    pub fn overhead(&self) -> f64 {
        let repair = match self.code {
            Code::None | Code::Plain => 0.0,
            Code::Native { k, m, .. } => m as f64 / k as f64,
            Code::St2022 { columns, rows, row_fec } => {
                let row = if row_fec { 1.0 / f64::from(columns) } else { 0.0 };
                1.0 / f64::from(rows) + row
            }
        };
        f64::from(self.legs) * (1.0 + repair) - 1.0
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(round_trip) = self.round_trip {
            return write!(f, "asking again, {} ms", round_trip.as_millis());
        }
        match (self.legs, self.code) {
            (1, Code::None | Code::Plain) => return f.write_str("nothing"),
            (1, _) => {}
            (_, Code::None | Code::Plain) => return f.write_str("two legs"),
            _ => f.write_str("two legs, ")?,
        }
        match self.code {
            Code::None | Code::Plain => Ok(()),
            Code::Native { k, m, stride: 1 } => write!(f, "native {k},{m}"),
            Code::Native { k, m, stride } => write!(f, "native {k},{m},{stride}"),
            Code::St2022 { columns, rows, row_fec: true } => write!(f, "ST 2022-1 {columns}x{rows}"),
            Code::St2022 { columns, rows, .. } => write!(f, "ST 2022-1 {columns}x{rows}, columns alone"),
        }
    }
}
