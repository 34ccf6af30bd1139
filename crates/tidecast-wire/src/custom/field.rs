//! Fields of a datagram: numbers, texts, bytes of an id, and values computed from them.

/// An unsigned integer in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) offset: usize,
    /// Bytes, 1 to 8.
    pub(super) width: usize,
    pub(super) little_endian: bool,
    /// Not 0. The value is shifted right so that the mask's lowest bit becomes bit 0.
    pub(super) mask: u64,
}

impl Field {
    pub(super) fn end(&self) -> usize {
        self.offset + self.width
    }

    /// Maximum value.
    pub(super) fn max(&self) -> u64 {
        self.mask >> self.mask.trailing_zeros()
    }

    pub(super) fn read(&self, bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.get(self.offset..self.end())?;
        let shift_in = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let value = if self.little_endian {
            bytes.iter().rev().fold(0, shift_in)
        } else {
            bytes.iter().fold(0, shift_in)
        };
        Some((value & self.mask) >> self.mask.trailing_zeros())
    }
}

/// Condition for a kind of datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// From the first value to the last.
    Number(Field, u64, u64),
    Text(usize, String),
}

impl Match {
    pub(super) fn end(&self) -> usize {
        match self {
            Match::Number(field, ..) => field.end(),
            Match::Text(offset, text) => offset + text.len(),
        }
    }

    /// `None` if the datagram is too short.
    pub(super) fn holds(&self, bytes: &[u8]) -> Option<bool> {
        match self {
            Match::Number(field, low, high) => Some((*low..=*high).contains(&field.read(bytes)?)),
            Match::Text(offset, text) => Some(bytes.get(*offset..self.end())? == text.as_bytes()),
        }
    }

    /// Count of bits that it fixes.
    pub(super) fn bits(&self) -> usize {
        match self {
            Match::Number(field, low, high) => {
                let free = u64::BITS - (high - low).leading_zeros();
                field.mask.count_ones().saturating_sub(free) as usize
            }
            Match::Text(_, text) => 8 * text.len(),
        }
    }
}

/// A part of the stream's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdPart {
    Number(Field),
    Bytes { offset: usize, len: usize },
}

impl IdPart {
    pub(super) fn len(&self) -> usize {
        match self {
            IdPart::Number(field) => field.width,
            IdPart::Bytes { len, .. } => *len,
        }
    }

    pub(super) fn end(&self) -> usize {
        match self {
            IdPart::Number(field) => field.end(),
            IdPart::Bytes { offset, len } => offset + len,
        }
    }
}

/// A constant number, or one in the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Constant(u64),
    Field(Field),
}

impl Value {
    pub(super) fn field(&self) -> Option<Field> {
        if let Value::Field(field) = self { Some(*field) } else { None }
    }

    pub(super) fn read(&self, bytes: &[u8]) -> Option<u64> {
        match self {
            Value::Constant(value) => Some(*value),
            Value::Field(field) => field.read(bytes),
        }
    }
}

/// Unit of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    /// `None` beyond 64 bits.
    pub(super) fn to_micros(self, value: u64) -> Option<u64> {
        match self {
            Unit::Seconds => value.checked_mul(1_000_000),
            Unit::Milliseconds => value.checked_mul(1_000),
            Unit::Microseconds => Some(value),
            Unit::Nanoseconds => Some(value / 1_000),
        }
    }
}

/// A length field of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) field: Field,
    /// Bytes that it does not include.
    pub(super) more: u64,
    /// It is rounded up to a multiple of this.
    pub(super) unit: u64,
}

impl Length {
    /// `None` if the bytes are too short, or if it exceeds the address space.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<usize> {
        let length = self.field.read(bytes)?.checked_add(self.more)?;
        usize::try_from(length.checked_next_multiple_of(self.unit)?).ok()
    }
}

/// How many numbers a datagram takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A constant.
    Constant(u64),
    /// The value of a field.
    Field(Field),
    /// Computed from a field, or from the datagram's length.
    Computed { of: Option<Field>, less: u64, divisor: u64, up: bool },
    /// The count of data records in an IPFIX message: see [`super::Scale`].
    Records,
}

impl Step {
    pub(super) fn field(&self) -> Option<Field> {
        match self {
            Step::Constant(_) | Step::Records => None,
            Step::Field(field) => Some(*field),
            Step::Computed { of, .. } => *of,
        }
    }

    /// Default value that marks the end of a session.
    pub(super) fn end(&self) -> Option<u64> {
        if let Step::Field(field) = self { Some(field.max()) } else { None }
    }

    /// `None` if the datagram is too short.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<u64> {
        match self {
            Step::Constant(step) => Some(*step),
            Step::Records => Some(1),
            Step::Field(field) => field.read(bytes),
            Step::Computed { of, less, divisor, up } => {
                let value = of.map_or(Some(bytes.len() as u64), |field| field.read(bytes))?;
                let rest = value.saturating_sub(*less);
                Some(if *up { rest.div_ceil(*divisor) } else { rest / divisor })
            }
        }
    }
}
