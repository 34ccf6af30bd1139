//! What protects a stream.

use std::fmt;

/// Repair packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// None.
    None,
    /// Native: `m` repair packets for each `k` media packets, taken `stride` apart.
    Native { k: u64, m: u64, stride: u64 },
    /// SMPTE ST 2022-1: columns, and rows if so said.
    St2022 { columns: u8, rows: u8, row_fec: bool },
}

/// Everything that protects a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Repair packets, on every leg.
    pub code: Code,
    /// Paths that carry the same packets (SMPTE ST 2022-7).
    pub legs: u8,
}

impl Protection {
    /// Nothing but the order.
    pub const NONE: Protection = Protection { code: Code::None, legs: 1 };

    /// Native FEC.
    pub const fn native(k: u64, m: u64, stride: u64) -> Protection {
        Protection { code: Code::Native { k, m, stride }, legs: 1 }
    }

    /// ST 2022-1 with rows and columns.
    pub const fn matrix(columns: u8, rows: u8) -> Protection {
        Protection { code: Code::St2022 { columns, rows, row_fec: true }, legs: 1 }
    }

    /// ST 2022-1 with columns alone.
    pub const fn columns(columns: u8, rows: u8) -> Protection {
        Protection { code: Code::St2022 { columns, rows, row_fec: false }, legs: 1 }
    }

    /// The same on two paths.
    pub const fn twice(self) -> Protection {
        Protection { legs: 2, ..self }
    }

    /// Media packets after which the code begins anew.
    pub fn group(&self) -> u64 {
        match self.code {
            Code::None => 1,
            Code::Native { k, stride, .. } => k * stride,
            Code::St2022 { columns, rows, .. } => u64::from(columns) * u64::from(rows),
        }
    }

    /// What is sent beyond the media, as a share of it, in packets.
    pub fn overhead(&self) -> f64 {
        let repair = match self.code {
            Code::None => 0.0,
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
        match (self.legs, self.code) {
            (1, Code::None) => return f.write_str("nothing"),
            (1, _) => {}
            (_, Code::None) => return f.write_str("two legs"),
            _ => f.write_str("two legs, ")?,
        }
        match self.code {
            Code::None => Ok(()),
            Code::Native { k, m, stride: 1 } => write!(f, "native {k},{m}"),
            Code::Native { k, m, stride } => write!(f, "native {k},{m},{stride}"),
            Code::St2022 { columns, rows, row_fec: true } => write!(f, "ST 2022-1 {columns}x{rows}"),
            Code::St2022 { columns, rows, .. } => write!(f, "ST 2022-1 {columns}x{rows}, columns alone"),
        }
    }
}
