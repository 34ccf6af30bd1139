//! The shape of native FEC in text form: `10,2` or `20,4,4`. `producer` makes source blocks of it,
//! and `rs` has the code.

use std::{fmt, str::FromStr};

/// The shape of native FEC: how many repair packets protect how many media packets, and how blocks
/// are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fec {
    k: u8,
    m: u8,
    stride: u8,
}

/// An invalid shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FecError {
    /// Out of range.
    #[error("FEC {k},{m},{stride}: expected K, M and STRIDE of at least 1, and K + M of at most 255")]
    Shape {
        /// Media packets of a block.
        k: u64,
        /// Repair packets of a block.
        m: u64,
        /// Interleaved blocks.
        stride: u64,
    },
    /// Text that is not a shape.
    #[error(
        "expected K,M or K,M,STRIDE such as 10,2 or 20,4,4: data packets, repair packets (together at most 255), \
         stride (from 1)"
    )]
    Text,
}

impl Fec {
    /// `m` repair packets for each `k` media packets, with `stride` interleaved blocks (1: none).
    ///
    /// # Errors
    /// [`FecError::Shape`] if one is 0, the stride exceeds 255, or `k + m` exceeds 255.
    pub fn new(k: u64, m: u64, stride: u64) -> Result<Fec, FecError> {
        let shape = FecError::Shape { k, m, stride };
        let byte = |n: u64| u8::try_from(n).ok().filter(|n| *n > 0);
        match (byte(k), byte(m), byte(stride)) {
            (Some(k), Some(m), Some(stride)) if k.checked_add(m).is_some() => Ok(Fec { k, m, stride }),
            _ => Err(shape),
        }
    }

    /// Media packets of a full block.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// Repair packets of a block.
    pub fn m(&self) -> u8 {
        self.m
    }

    /// Interleaved blocks.
    pub fn stride(&self) -> u8 {
        self.stride
    }
}

impl FromStr for Fec {
    type Err = FecError;

    /// `K,M` or `K,M,STRIDE`.
    fn from_str(text: &str) -> Result<Fec, FecError> {
        let numbers: Option<Vec<u64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        let (k, m, stride) = match numbers.as_deref() {
            Some(&[k, m]) => (k, m, 1),
            Some(&[k, m, stride]) => (k, m, stride),
            _ => return Err(FecError::Text),
        };
        Fec::new(k, m, stride).map_err(|_| FecError::Text)
    }
}

impl fmt::Display for Fec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stride {
            1 => write!(f, "{},{}", self.k, self.m),
            stride => write!(f, "{},{},{stride}", self.k, self.m),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shapes_that_the_code_has_are_accepted() {
        for (k, m, stride) in [(1, 1, 1), (10, 2, 1), (251, 4, 1), (20, 4, 255)] {
            let fec = Fec::new(k, m, stride).expect("a good shape");
            assert_eq!((fec.k().into(), fec.m().into(), fec.stride().into()), (k, m, stride));
        }
        for (k, m, stride) in [(0, 2, 1), (10, 0, 1), (252, 4, 1), (300, 1, 1), (10, 2, 0), (10, 2, 256)] {
            let error = Fec::new(k, m, stride).expect_err("no such shape");
            assert_eq!(error, FecError::Shape { k, m, stride });
            assert!(error.to_string().starts_with(&format!("FEC {k},{m},{stride}: expected")), "{error}");
        }
    }

    #[test]
    fn shapes_as_people_write_them() {
        let shape = |k, m, stride| Fec::new(k, m, stride);
        for (text, fec, again) in [
            ("10,2", shape(10, 2, 1), "10,2"),
            ("20, 4, 4", shape(20, 4, 4), "20,4,4"),
            ("200,55", shape(200, 55, 1), "200,55"),
            ("7,1,1", shape(7, 1, 1), "7,1"),
        ] {
            assert_eq!(text.parse(), fec, "{text}");
            assert_eq!(fec.map(|fec| fec.to_string()).as_deref(), Ok(again));
        }
        for text in ["", "10", "0,2", "10,0", "10,2,0", "200,56", "256,1", "10,2,1,1", "a,b", "-1,2"] {
            assert_eq!(text.parse::<Fec>(), Err(FecError::Text), "{text}");
        }
    }
}
