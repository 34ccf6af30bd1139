//! The code of the native format: systematic Reed-Solomon over GF(2^8), polynomial 0x11D, a
//! Vandermonde matrix times the inverse of its top square, like the crate reed-solomon-erasure.
//!
//! It handles shards only. `producer` passes a block's source shards to [`Codes::encode`]; `relay`
//! passes the received shards of a block to [`Codes::missing`].

use super::{code::Code, simd::Isa};
use crate::limits::FEC_CODES_MAX;

/// Why a block cannot be encoded or rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RsError {
    /// No code has this shape.
    #[error("{k} data and {m} repair shards, expected at least 1 each and at most 255 together")]
    Shape {
        /// Data shards.
        k: usize,
        /// Repair shards.
        m: usize,
    },
    /// The number of shards does not match the shape.
    #[error("{actual} shards, expected {expected}")]
    Count {
        /// Shards of the shape.
        expected: usize,
        /// Shards given.
        actual: usize,
    },
    /// Shards of different lengths, or empty ones.
    #[error("shard of {actual} bytes, expected {expected}, as the block's first one, and not 0")]
    Length {
        /// Bytes of the first shard.
        expected: usize,
        /// Bytes of the other one.
        actual: usize,
    },
    /// Fewer than k shards: the block cannot be recovered yet.
    #[error("{actual} shards are there, expected at least {expected}")]
    TooFew {
        /// Shards needed, k.
        expected: usize,
        /// Shards given.
        actual: usize,
    },
}

/// Cache of codes by shape.
#[derive(Debug, Default)]
pub struct Codes {
    /// Least recently used first.
    ready: Vec<Code>,
}

impl Codes {
    /// Creates an empty cache.
    pub fn new() -> Codes {
        Codes::default()
    }

    /// Computes the `m` repair shards of `k` data shards of equal length; the vectors of `parity`
    /// are resized.
    ///
    /// # Errors
    /// A shape that no code has, other numbers of shards, or different or zero lengths; `parity`
    /// stays as it is.
    pub fn encode(
        &mut self,
        k: usize,
        m: usize,
        data: &[&[u8]],
        parity: &mut [Vec<u8>],
    ) -> Result<(), RsError> {
        check_shape(k, m)?;
        check_count(k, data.len())?;
        check_count(m, parity.len())?;
        equal_length(data.iter().map(|shard| shard.len()))?;
        self.code(k, m).encode(Isa::best(), data, parity);
        Ok(())
    }

    /// Recovers the missing ones of the first `k` of `k + m` shards, if at least `k` are present.
    /// Missing repair shards stay missing.
    ///
    /// # Errors
    /// An invalid shape, a wrong number of shards, different or zero lengths, or too few shards;
    /// then `shards` is unchanged.
    pub fn rebuild(&mut self, k: usize, m: usize, shards: &mut [Option<Vec<u8>>]) -> Result<(), RsError> {
        check_shape(k, m)?;
        check_count(k + m, shards.len())?;
        check_enough(k, shards.iter().flatten().count())?;
        equal_length(shards.iter().flatten().map(Vec::len))?;
        let slices: Vec<Option<&[u8]>> = shards.iter().map(Option::as_deref).collect();
        let (data, parity) = slices.split_at(k);
        let missing = self.missing(k, m, data, parity)?;
        shards.iter_mut().filter(|shard| shard.is_none()).zip(missing).for_each(|(s, m)| *s = Some(m));
        Ok(())
    }

    /// Computes the missing ones of `k` data shards, in order, if at least `k` of these and of `m`
    /// repair shards are present. A data shard that is shorter than the repair shards counts as
    /// padded with zeros.
    ///
    /// # Errors
    /// An invalid shape, wrong numbers of shards, too few of them, repair shards of different or
    /// zero lengths, or a data shard that is longer than they are.
    pub fn missing(
        &mut self,
        k: usize,
        m: usize,
        data: &[Option<&[u8]>],
        parity: &[Option<&[u8]>],
    ) -> Result<Vec<Vec<u8>>, RsError> {
        check_shape(k, m)?;
        check_count(k, data.len())?;
        check_count(m, parity.len())?;
        let present = data.iter().flatten().count();
        check_enough(k, present + parity.iter().flatten().count())?;
        if present == k {
            return Ok(Vec::new());
        }
        let expected = equal_length(parity.iter().flatten().map(|shard| shard.len()))?;
        match data.iter().flatten().map(|shard| shard.len()).find(|&actual| actual > expected) {
            Some(actual) => Err(RsError::Length { expected, actual }),
            None => Ok(self.code(k, m).missing(Isa::best(), data, parity)),
        }
    }

    /// Multiplications in [`Codes::missing`] for `missing` shards of `len` bytes: `k` for each of
    /// their bytes, `k + missing` for each pair of them to solve the equations, and `k + m` for
    /// each data shard to create the code.
    pub fn work(k: usize, m: usize, missing: usize, len: usize) -> u64 {
        let [k, m, missing, len] = [k, m, missing, len].map(|n| n as u64);
        k * (k + m) + missing * missing * (k + missing) + missing * k * len
    }

    /// The code of this shape, created if it is not cached; the least recently used one makes
    /// room.
    fn code(&mut self, k: usize, m: usize) -> &Code {
        let found = self.ready.iter().position(|code| (code.k, code.m) == (k, m));
        let code = match found {
            Some(at) => self.ready.remove(at),
            None => Code::new(k, m),
        };
        if self.ready.len() >= FEC_CODES_MAX {
            self.ready.remove(0);
        }
        self.ready.push(code);
        self.ready.last().expect("was just pushed")
    }
}

fn check_shape(k: usize, m: usize) -> Result<(), RsError> {
    let valid = k >= 1 && m >= 1 && k.saturating_add(m) <= 255;
    if valid { Ok(()) } else { Err(RsError::Shape { k, m }) }
}

fn check_count(expected: usize, actual: usize) -> Result<(), RsError> {
    if expected == actual { Ok(()) } else { Err(RsError::Count { expected, actual }) }
}

fn check_enough(expected: usize, actual: usize) -> Result<(), RsError> {
    if actual >= expected { Ok(()) } else { Err(RsError::TooFew { expected, actual }) }
}

/// The common length of all shards, which is not 0.
fn equal_length(mut lengths: impl Iterator<Item = usize>) -> Result<usize, RsError> {
    let expected = lengths.next().unwrap_or(0);
    if expected == 0 {
        return Err(RsError::Length { expected: 1, actual: 0 });
    }
    match lengths.find(|&actual| actual != expected) {
        Some(actual) => Err(RsError::Length { expected, actual }),
        None => Ok(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(k: usize, len: usize) -> Vec<Vec<u8>> {
        (0..k).map(|i| (0..len).map(|j| (i * 31 + j * 7 + i * j) as u8).collect()).collect()
    }

    fn encoded(codes: &mut Codes, m: usize, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut parity = vec![Vec::new(); m];
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        codes.encode(data.len(), m, &slices, &mut parity).unwrap();
        parity
    }

    /// The repair shards as a second implementation computes them: carry-less multiplication modulo
    /// 0x11D, the matrix row r, column c of which is r^c, times the inverse of its top square.
    #[test]
    fn golden_repair_shards() {
        let hex = |shard: &Vec<u8>| shard.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut codes = Codes::new();
        let parity: Vec<_> = encoded(&mut codes, 3, &data(5, 17)).iter().map(hex).collect();
        assert_eq!(
            parity,
            [
                "76a7b3bf29f0cc1806dafe32ce504c5531",
                "85c7ccd1b88fd42c304893a3640a61833c",
                "f3e7edf3fd4c2e45ae2df734fee1833ffd",
            ]
        );
        let data: Vec<_> = (0..20u8).map(|i| vec![i, 255 - i, i.wrapping_mul(i)]).collect();
        let parity: Vec<_> = encoded(&mut codes, 4, &data).iter().map(hex).collect();
        assert_eq!(parity, ["14eb16", "15ea4d", "16e972", "17e835"]);
    }

    #[test]
    fn any_k_of_all_shards_rebuild_the_data() {
        let mut codes = Codes::new();
        for (k, m) in [(1, 1), (1, 4), (5, 3), (8, 1)] {
            let data = data(k, 17);
            let all: Vec<Vec<u8>> = data.iter().cloned().chain(encoded(&mut codes, m, &data)).collect();
            for kept in (0u32..1 << (k + m)).filter(|kept| kept.count_ones() as usize >= k) {
                let received: Vec<_> =
                    (0..k + m).map(|i| (kept >> i & 1 == 1).then(|| all[i].clone())).collect();
                let mut shards = received.clone();
                codes.rebuild(k, m, &mut shards).unwrap();
                assert!(
                    shards[..k]
                        .iter()
                        .zip(&data)
                        .all(|(rebuilt, original)| rebuilt.as_ref() == Some(original))
                );
                assert_eq!(shards[k..], received[k..], "repair shards stay as they are");
            }
        }
    }

    #[test]
    fn blocks_that_cannot_be() {
        let mut codes = Codes::new();
        let shard = [1u8, 2];
        let mut parity = [vec![9], vec![9]];
        for (k, m) in [(0, 2), (2, 0), (254, 2), (usize::MAX, 1), (usize::MAX, usize::MAX)] {
            assert_eq!(codes.encode(k, m, &[&shard], &mut parity), Err(RsError::Shape { k, m }));
            assert_eq!(codes.rebuild(k, m, &mut [None]), Err(RsError::Shape { k, m }));
        }
        let mut encode = |k, data: &[&[u8]]| codes.encode(k, 2, data, &mut parity);
        assert_eq!(encode(2, &[&shard]), Err(RsError::Count { expected: 2, actual: 1 }));
        assert_eq!(encode(2, &[&shard, &[1]]), Err(RsError::Length { expected: 2, actual: 1 }));
        assert_eq!(encode(2, &[&[], &[]]), Err(RsError::Length { expected: 1, actual: 0 }));
        let count = RsError::Count { expected: 1, actual: 2 };
        assert_eq!(codes.encode(2, 1, &[&shard, &shard], &mut parity), Err(count));
        assert_eq!(parity, [[9], [9]], "untouched");
    }

    #[test]
    fn blocks_that_cannot_be_rebuilt_stay_as_they_are() {
        let mut codes = Codes::new();
        let one = Some(vec![1, 2]);
        for (received, expected) in [
            (vec![one.clone(), None, None, None], RsError::TooFew { expected: 2, actual: 1 }),
            (vec![None, None, None, None], RsError::TooFew { expected: 2, actual: 0 }),
            (vec![one.clone(), None, one.clone()], RsError::Count { expected: 4, actual: 3 }),
            (vec![one.clone(), None, None, Some(vec![1])], RsError::Length { expected: 2, actual: 1 }),
            (vec![Some(vec![]), None, None, Some(vec![])], RsError::Length { expected: 1, actual: 0 }),
        ] {
            let mut shards = received.clone();
            assert_eq!(codes.rebuild(2, 2, &mut shards), Err(expected));
            assert_eq!(shards, received);
        }
    }

    #[test]
    fn data_shards_may_be_shorter_than_repair_shards_and_not_longer() {
        let mut codes = Codes::new();
        let padded = [vec![1, 2, 3], vec![4, 5, 0], vec![6, 0, 0]];
        let parity = encoded(&mut codes, 2, &padded);
        let parity = [None, Some(&parity[1][..])];
        let mut missing = |data: [Option<&[u8]>; 3]| codes.missing(3, 2, &data, &parity);
        assert_eq!(missing([None, Some(&[4, 5]), Some(&[6])]), Ok(vec![vec![1, 2, 3]]));
        assert_eq!(missing([Some(&[1, 2, 3]), Some(&[4, 5]), None]), Ok(vec![vec![6, 0, 0]]));
        assert_eq!(missing([Some(&[1, 2, 3]), Some(&[4, 5]), Some(&[6])]), Ok(vec![]));
        let long = Err(RsError::Length { expected: 3, actual: 4 });
        assert_eq!(missing([Some(&[1, 2, 3, 4]), Some(&[4, 5]), None]), long);
        assert_eq!(missing([None, None, Some(&[6])]), Err(RsError::TooFew { expected: 3, actual: 2 }));
        let count = Err(RsError::Count { expected: 4, actual: 3 });
        assert_eq!(codes.missing(4, 2, &[None; 3], &parity), count);
    }

    #[test]
    fn few_codes_are_kept_and_the_last_used_ones() {
        let mut codes = Codes::new();
        for k in 1..100 {
            encoded(&mut codes, 2, &data(k, 4));
            encoded(&mut codes, 2, &data(1, 4));
            assert!(codes.ready.len() <= FEC_CODES_MAX);
        }
        let shapes: Vec<_> = codes.ready.iter().map(|code| code.k).collect();
        assert_eq!(shapes, [93, 94, 95, 96, 97, 98, 99, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn random_losses_up_to_m_are_rebuilt_and_more_are_not(
            (k, m) in (1usize..60, 1usize..12),
            len in 1usize..400,
            seed in any::<u64>(),
            order in Just((0..72).collect::<Vec<usize>>()).prop_shuffle(),
            lost in any::<prop::sample::Index>(),
        ) {
            let mut codes = Codes::new();
            let byte = |i: usize, j: usize| (seed.wrapping_mul((i * 400 + j) as u64 | 1) >> 40) as u8;
            let data: Vec<Vec<u8>> = (0..k).map(|i| (0..len).map(|j| byte(i, j)).collect()).collect();
            let parity = encoded(&mut codes, m, &data);
            let mut shards: Vec<_> = data.iter().chain(&parity).cloned().map(Some).collect();
            let lost = lost.index((m + 2).min(k + m));
            order.iter().filter(|at| **at < k + m).take(lost).for_each(|at| shards[*at] = None);
            let result = codes.rebuild(k, m, &mut shards);
            if lost <= m {
                prop_assert_eq!(result, Ok(()));
                let rebuilt: Vec<_> = shards[..k].iter().map(|shard| shard.clone().unwrap()).collect();
                prop_assert_eq!(rebuilt, data);
            } else {
                prop_assert_eq!(result, Err(RsError::TooFew { expected: k, actual: k + m - lost }));
            }
        }
    }
}
