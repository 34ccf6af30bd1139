//! The native format's code: systematic Reed-Solomon over GF(2^8), polynomial 0x11D, a Vandermonde matrix times the
//! inverse of its top square, as the crate reed-solomon-erasure makes it.
//!
//! Knows shards only. `producer` gives it a block's source shards to [`Codes::encode`]; `relay` gives it what arrived
//! of a block to [`Codes::rebuild`].

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::limits::{FEC_CODES_MAX, FEC_INVERSES_BYTES_MAX};

/// Why a block cannot be encoded or rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No code has such a shape.
    #[error("{k} data and {m} repair shards, expected at least 1 each and at most 255 together")]
    Shape {
        /// Data shards.
        k: usize,
        /// Repair shards.
        m: usize,
    },
    /// Another number of shards than the shape says.
    #[error("{actual} shards, expected {expected}")]
    Count {
        /// Shards of the shape.
        expected: usize,
        /// Shards that were given.
        actual: usize,
    },
    /// Shards of different lengths, or empty ones.
    #[error("shard of {actual} bytes, expected {expected}, as the block's first one, and not 0")]
    Length {
        /// Bytes of the first shard that is there.
        expected: usize,
        /// Bytes of another one.
        actual: usize,
    },
    /// Fewer than k shards: nothing can be rebuilt yet.
    #[error("{actual} shards are there, expected at least {expected}")]
    TooFew {
        /// Shards that are needed, k.
        expected: usize,
        /// Shards that are there.
        actual: usize,
    },
}

/// Codes by their shape, the last used ones kept ready: making one inverts a matrix.
#[derive(Debug, Default)]
pub struct Codes {
    /// The last used one is the last.
    ready: Vec<Code>,
}

#[derive(Debug)]
struct Code {
    k: usize,
    m: usize,
    code: ReedSolomon,
    /// Rebuilds since the code was made: at most so many inverted matrices of k * k bytes does it remember.
    rebuilds: usize,
}

impl Codes {
    /// No codes yet.
    pub fn new() -> Codes {
        Codes::default()
    }

    /// Computes the `m` repair shards of `k` data shards of equal length; the vectors of `parity` are resized.
    ///
    /// # Errors
    /// A shape that no code has, other numbers of shards, or different or zero lengths; `parity` stays as it is.
    pub fn encode(
        &mut self,
        k: usize,
        m: usize,
        data: &[&[u8]],
        parity: &mut [Vec<u8>],
    ) -> Result<(), Error> {
        check_shape(k, m)?;
        check_count(k, data.len())?;
        check_count(m, parity.len())?;
        let len = equal_length(data.iter().map(|shard| shard.len()))?;
        for shard in parity.iter_mut() {
            shard.clear();
            shard.resize(len, 0);
        }
        self.code(k, m)?.code.encode_sep(data, parity).map_err(|_| Error::Shape { k, m })
    }

    /// Fills in the missing ones of the first `k` of `k + m` shards, when at least `k` are there. Missing repair
    /// shards stay missing.
    ///
    /// # Errors
    /// A shape that no code has, another number of shards, different or zero lengths, or too few of them; `shards`
    /// stays as it is.
    pub fn rebuild(&mut self, k: usize, m: usize, shards: &mut [Option<Vec<u8>>]) -> Result<(), Error> {
        check_shape(k, m)?;
        check_count(k + m, shards.len())?;
        let present = shards.iter().flatten().count();
        if present < k {
            return Err(Error::TooFew { expected: k, actual: present });
        }
        equal_length(shards.iter().flatten().map(Vec::len))?;
        if shards[..k].iter().all(Option::is_some) {
            return Ok(());
        }
        let code = self.code(k, m)?;
        code.rebuilds += 1;
        code.code.reconstruct_data(shards).map_err(|_| Error::Shape { k, m })
    }

    /// The code of this shape, made when it is not ready; the one that was not used for longest makes room.
    fn code(&mut self, k: usize, m: usize) -> Result<&mut Code, Error> {
        let found = self.ready.iter().position(|code| (code.k, code.m) == (k, m));
        let code = match found.map(|at| self.ready.remove(at)) {
            Some(code) if code.inverses_bytes() <= FEC_INVERSES_BYTES_MAX => code,
            _ => Code::new(k, m)?,
        };
        if self.ready.len() >= FEC_CODES_MAX {
            self.ready.remove(0);
        }
        self.ready.push(code);
        Ok(self.ready.last_mut().expect("was just pushed"))
    }
}

impl Code {
    /// Inverted matrices that the library remembers at most.
    const INVERSES_MAX: usize = 254;

    fn new(k: usize, m: usize) -> Result<Code, Error> {
        let code = ReedSolomon::new(k, m).map_err(|_| Error::Shape { k, m })?;
        Ok(Code { k, m, code, rebuilds: 0 })
    }

    /// Memory of the inverted matrices at most: one per pattern of missing shards, of which each rebuild may have
    /// been a new one.
    fn inverses_bytes(&self) -> usize {
        self.rebuilds.min(Self::INVERSES_MAX) * self.k * self.k
    }
}

fn check_shape(k: usize, m: usize) -> Result<(), Error> {
    let valid = k >= 1 && m >= 1 && k.saturating_add(m) <= 255;
    if valid { Ok(()) } else { Err(Error::Shape { k, m }) }
}

fn check_count(expected: usize, actual: usize) -> Result<(), Error> {
    if expected == actual { Ok(()) } else { Err(Error::Count { expected, actual }) }
}

/// The length that all of them have, which is not 0.
fn equal_length(mut lengths: impl Iterator<Item = usize>) -> Result<usize, Error> {
    let expected = lengths.next().unwrap_or(0);
    if expected == 0 {
        return Err(Error::Length { expected: 1, actual: 0 });
    }
    match lengths.find(|&actual| actual != expected) {
        Some(actual) => Err(Error::Length { expected, actual }),
        None => Ok(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(k: usize, len: usize) -> Vec<Vec<u8>> {
        (0..k).map(|i| (0..len).map(|j| (i * 31 + j * 7 + i * j) as u8).collect()).collect()
    }

    fn encoded(codes: &mut Codes, m: usize, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut parity = vec![Vec::new(); m];
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        codes.encode(data.len(), m, &slices, &mut parity).unwrap();
        parity
    }

    #[test]
    fn any_k_of_all_shards_rebuild_the_data() {
        let mut codes = Codes::new();
        let (k, m) = (5, 3);
        let data = data(k, 17);
        let all: Vec<Vec<u8>> = data.iter().cloned().chain(encoded(&mut codes, m, &data)).collect();
        for kept in (0u32..1 << (k + m)).filter(|kept| kept.count_ones() as usize >= k) {
            let mut shards: Vec<_> = all
                .iter()
                .enumerate()
                .map(|(i, shard)| (kept >> i & 1 == 1).then(|| shard.clone()))
                .collect();
            codes.rebuild(k, m, &mut shards).unwrap();
            for (rebuilt, original) in shards.iter().zip(&data) {
                assert_eq!(rebuilt.as_ref(), Some(original), "kept {kept:08b}");
            }
        }
    }
}
