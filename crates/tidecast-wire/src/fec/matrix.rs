//! The code of SMPTE ST 2022-1: media packets in a matrix of D rows by L columns, and the XOR of
//! each column, and optionally of each row, as repair packets.
//!
//! It uses shards, their layout in `wire::st2022`, and numbers, but no time. `producer` passes
//! media packets to an [`Encoder`]; `relay` passes arrivals to a [`Decoder`] and decides when a
//! recovered packet is needed.

use crate::{
    limits::{
        ST2022_COLUMNS_MAX, ST2022_MATRIX_MAX, ST2022_ROW_LENGTH_MIN, ST2022_ROWS_MAX, ST2022_ROWS_MIN,
    },
    st2022::{Axis, Fields, Shard},
};

mod decode;
mod encode;
mod outlook;
mod window;

pub use decode::{Decoder, News, Refused};
pub use encode::{Datagram, Encoder, Taken};

/// A matrix that ST 2022-1 does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// L is out of range.
    #[error("{actual} columns, expected {min} to {max}{}", if *.rows { " with row FEC" } else { "" })]
    Columns {
        /// The requested columns.
        actual: u8,
        /// Minimum.
        min: u8,
        /// Maximum.
        max: u8,
        /// Whether rows are protected, too.
        rows: bool,
    },
    /// D is out of range.
    #[error("{actual} rows, expected {min} to {max}")]
    Rows {
        /// The requested rows.
        actual: u8,
        /// Minimum.
        min: u8,
        /// Maximum.
        max: u8,
    },
    /// Too many packets.
    #[error("{columns} columns by {rows} rows are {} packets, expected at most {max}", u16::from(*.columns) * u16::from(*.rows))]
    Matrix {
        /// The requested columns.
        columns: u8,
        /// The requested rows.
        rows: u8,
        /// Maximum packets.
        max: u16,
    },
}

/// The matrix of an encoder, within the standard's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    columns: u8,
    rows: u8,
    row_fec: bool,
}

impl Shape {
    /// `columns` is L, the packets of a row; `rows` is D, the packets of a column. Columns are
    /// always protected, rows if `row_fec`.
    ///
    /// # Errors
    /// L not 1 to 20, or 4 to 20 when rows are protected; D not 4 to 20; more than 100 packets in
    /// all.
    pub fn new(columns: u8, rows: u8, row_fec: bool) -> Result<Shape, ShapeError> {
        let (min, max) = (if row_fec { ST2022_ROW_LENGTH_MIN } else { 1 }, ST2022_COLUMNS_MAX);
        if !(min..=max).contains(&columns) {
            return Err(ShapeError::Columns { actual: columns, min, max, rows: row_fec });
        }
        if !(ST2022_ROWS_MIN..=ST2022_ROWS_MAX).contains(&rows) {
            return Err(ShapeError::Rows { actual: rows, min: ST2022_ROWS_MIN, max: ST2022_ROWS_MAX });
        }
        if u16::from(columns) * u16::from(rows) > ST2022_MATRIX_MAX {
            return Err(ShapeError::Matrix { columns, rows, max: ST2022_MATRIX_MAX });
        }
        Ok(Shape { columns, rows, row_fec })
    }

    /// L: the packets of a row.
    pub fn columns(&self) -> u8 {
        self.columns
    }

    /// D: the packets of a column.
    pub fn rows(&self) -> u8 {
        self.rows
    }

    /// Whether rows are protected, too.
    pub fn row_fec(&self) -> bool {
        self.row_fec
    }

    /// Media packets of one matrix.
    pub fn packets(&self) -> usize {
        usize::from(self.columns) * usize::from(self.rows)
    }
}

/// One shard, or the XOR of several; shorter ones count as padded with zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// XOR of the fields.
    pub fields: Fields,
    /// XOR of the bodies, as long as the longest.
    pub body: Vec<u8>,
}

impl Sum {
    /// Adds a shard; adding it twice removes it.
    pub fn add(&mut self, shard: Shard<'_>) {
        self.fields ^= shard.fields;
        let (common, more) = shard.body.split_at(shard.body.len().min(self.body.len()));
        xor(&mut self.body, common);
        self.body.extend_from_slice(more);
    }

    /// The same, borrowed.
    pub fn shard(&self) -> Shard<'_> {
        Shard { fields: self.fields, body: &self.body }
    }

    /// Clears the sum, but keeps the memory.
    fn clear(&mut self) {
        self.fields = Fields::default();
        self.body.clear();
    }
}

impl From<Shard<'_>> for Sum {
    fn from(shard: Shard<'_>) -> Sum {
        Sum { fields: shard.fields, body: shard.body.to_vec() }
    }
}

/// XORs `from` into the start of `into`. The compiler vectorizes this loop.
fn xor(into: &mut [u8], from: &[u8]) {
    for (sum, byte) in into.iter_mut().zip(from) {
        *sum ^= byte;
    }
}
