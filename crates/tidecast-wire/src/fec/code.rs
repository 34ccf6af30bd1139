//! Arithmetic of one code: repair shards from data shards, and lost data shards from both.
//!
//! The library reed-solomon-erasure defines the code, and the tests compare every result with it.
//! The library computes the parity rows of its generator by inverting a k x k matrix, which takes
//! milliseconds for large blocks; here they come from the corresponding polynomials. `rs`
//! validates the input; `galois` has the field's arithmetic, and `simd` multiplies whole shards.

use super::{
    galois::{div, mul},
    simd::Isa,
};

/// The code with `k` data and `m` repair shards; each repair shard is a sum over the data shards.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) k: usize,
    pub(super) m: usize,
    /// For each data shard, its factor in each repair shard.
    factors: Vec<Vec<u8>>,
}

impl Code {
    /// The code of a valid shape.
    ///
    /// Byte by byte, data shard c is the value at c of a polynomial of degree below k, and repair
    /// shard r its value at k + r. So the factors are Lagrange's: for c in r, the product of (k +
    /// r - j) / (c - j) over all j below k except c.
    pub(super) fn new(k: usize, m: usize) -> Code {
        let product =
            |of: usize| (0..k).filter(|j| *j != of).fold(1, |product, j| mul(product, (of ^ j) as u8));
        let dividends: Vec<u8> = (k..k + m).map(product).collect();
        let factors = |column: usize| {
            let divisor = product(column);
            let factor = |(row, dividend): (usize, &u8)| div(*dividend, mul(divisor, (row ^ column) as u8));
            (k..).zip(&dividends).map(factor).collect()
        };
        Code { k, m, factors: (0..k).map(factors).collect() }
    }

    /// Computes the repair shards; the vectors of `parity` are resized to the data shards' length.
    pub(super) fn encode(&self, isa: Isa, data: &[&[u8]], parity: &mut [Vec<u8>]) {
        for shard in parity.iter_mut() {
            shard.clear();
            shard.resize(data[0].len(), 0);
        }
        for (factors, shard) in self.factors.iter().zip(data) {
            isa.add_products(factors, shard, parity);
        }
    }

    /// The missing data shards, in order, given at least as many repair shards. Data shards that
    /// are shorter than the repair shards count as padded with zeros.
    pub(super) fn missing(&self, isa: Isa, data: &[Option<&[u8]>], parity: &[Option<&[u8]>]) -> Vec<Vec<u8>> {
        let missing: Vec<usize> = (0..self.k).filter(|&at| data[at].is_none()).collect();
        let used: Vec<(usize, &[u8])> =
            (0..self.m).filter_map(|at| Some((at, parity[at]?))).take(missing.len()).collect();
        let equations = self.solve(isa, &missing, &used.iter().map(|(row, _)| *row).collect::<Vec<_>>());
        let mut rebuilt = vec![vec![0; used.first().map_or(0, |(_, shard)| shard.len())]; missing.len()];
        let repair = used.iter().map(|(_, shard)| Some(*shard));
        for (at, shard) in data.iter().copied().chain(repair).enumerate() {
            if let Some(shard) = shard {
                let factors: Vec<u8> = equations.iter().map(|equation| equation[at]).collect();
                isa.add_products(&factors, shard, &mut rebuilt);
            }
        }
        rebuilt
    }

    /// For each missing data shard, its factors of the other data shards and, from index k on, of
    /// the repair shards used.
    ///
    /// Each of these repair shards is an equation: the sum of the products of all data shards and
    /// of itself is zero. As many equations as missing shards are solved, however large k is. No
    /// rows are swapped: each square submatrix of the parity rows is regular, otherwise the code
    /// could not recover every loss that it can, so no pivot is zero.
    fn solve(&self, isa: Isa, missing: &[usize], used: &[usize]) -> Vec<Vec<u8>> {
        let equation = |(turn, &row): (usize, &usize)| {
            let itself = (0..used.len()).map(|other| u8::from(other == turn));
            self.factors.iter().map(|factors| factors[row]).chain(itself).collect()
        };
        let mut equations: Vec<Vec<u8>> = used.iter().enumerate().map(equation).collect();
        for (turn, &at) in missing.iter().enumerate() {
            let divisor = equations[turn][at];
            equations[turn].iter_mut().for_each(|factor| *factor = div(*factor, divisor));
            let factors: Vec<u8> = equations.iter().map(|equation| equation[at]).collect();
            let (before, rest) = equations.split_at_mut(turn);
            let Some((equation, after)) = rest.split_first_mut() else { break };
            isa.add_products(&factors[..turn], equation, before);
            isa.add_products(&factors[turn + 1..], equation, after);
        }
        equations
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::*;

    type Shards = Vec<Option<Vec<u8>>>;

    /// The result of the library: the repair shards, the received shards, and those with the data
    /// recovered.
    fn by_the_library(
        (k, m): (usize, usize),
        data: &[&[u8]],
        lose: impl FnOnce(&mut [Option<Vec<u8>>]),
    ) -> (Vec<Vec<u8>>, Shards, Shards) {
        let library = ReedSolomon::new(k, m).unwrap();
        let mut parity = vec![vec![0; data[0].len()]; m];
        library.encode_sep(data, &mut parity).unwrap();
        let mut received: Vec<_> =
            data.iter().map(|shard| shard.to_vec()).chain(parity.clone()).map(Some).collect();
        lose(&mut received);
        let mut rebuilt = received.clone();
        library.reconstruct_data(&mut rebuilt).unwrap();
        (parity, received, rebuilt)
    }

    fn check(k: usize, m: usize, len: usize, noise: &[u8], lost: &[Index], damaged: Option<Index>) {
        // the shards start at odd offsets of one buffer
        let data: Vec<&[u8]> = (0..k).map(|at| &noise[(at * 37 + 1) % 97..][..len]).collect();
        let lose = |shards: &mut [Option<Vec<u8>>]| {
            if let Some(Some(shard)) = damaged.map(|damaged| damaged.get_mut(shards)) {
                shard[len / 2] ^= 1;
            }
            lost.iter().take(m).for_each(|lost| *lost.get_mut(shards) = None);
        };
        let (parity, received, rebuilt) = by_the_library((k, m), &data, lose);
        let lost: Vec<Vec<u8>> =
            (0..k).filter(|&at| received[at].is_none()).filter_map(|at| rebuilt[at].clone()).collect();
        let code = Code::new(k, m);
        for isa in Isa::all() {
            let mut encoded = vec![vec![9; 3]; m];
            code.encode(isa, &data, &mut encoded);
            assert!(encoded == parity, "{isa:?}: repair shards of ({k}, {m}), {len} bytes");
            let received: Vec<_> = received.iter().map(Option::as_deref).collect();
            let missing = code.missing(isa, &received[..k], &received[k..]);
            assert!(missing == lost, "{isa:?}: rebuilt shards of ({k}, {m}), {len} bytes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
        /// Damaged shards give the same result, too.
        #[test]
        fn the_library_computes_the_same(
            (k, m) in (1usize..60, 1usize..24),
            len in prop_oneof![1usize..70, 1usize..1500],
            noise in prop::collection::vec(any::<u8>(), 1600),
            lost in prop::collection::vec(any::<Index>(), 0..24),
            damaged in prop::option::of(any::<Index>()),
        ) {
            check(k, m, len, &noise, &lost, damaged);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn the_library_computes_the_same_of_large_blocks(
            (k, m) in (1usize..=254).prop_flat_map(|k| (Just(k), 1..=255 - k)),
            noise in prop::collection::vec(any::<u8>(), 200),
            lost in prop::collection::vec(any::<Index>(), 254),
        ) {
            check(k, m, 40, &noise, &lost, None);
        }
    }

    /// The code is linear, and a repair shard does not depend on their number: data shards that
    /// are the rows of a unit matrix reveal all factors of all shapes with `k` data shards. The
    /// library takes seconds for large ones, so only some of those are tested.
    #[test]
    fn the_factors_of_all_shapes_are_those_of_the_library() {
        for k in (1..=64).chain((80..=254).step_by(29)) {
            let m = 255 - k;
            let unit: Vec<Vec<u8>> =
                (0..k).map(|row| (0..k).map(|column| u8::from(row == column)).collect()).collect();
            let mut factors = vec![vec![0; k]; m];
            ReedSolomon::new(k, m).unwrap().encode_sep(&unit, &mut factors).unwrap();
            let code = Code::new(k, m);
            for (at, of_shard) in code.factors.iter().enumerate() {
                assert!(of_shard.iter().eq(factors.iter().map(|row| &row[at])), "({k}, {m}), shard {at}");
            }
        }
    }

    #[test]
    fn shorter_data_shards_count_as_padded() {
        let code = Code::new(5, 3);
        let data: Vec<Vec<u8>> = (0..5u8).map(|at| vec![at + 1; 20 + 9 * usize::from(at)]).collect();
        let padded: Vec<Vec<u8>> =
            data.iter().map(|shard| shard.iter().copied().chain([0; 56]).take(56).collect()).collect();
        let slices: Vec<&[u8]> = padded.iter().map(Vec::as_slice).collect();
        let mut parity = vec![Vec::new(); 3];
        code.encode(Isa::best(), &slices, &mut parity);
        let mut received: Vec<Option<&[u8]>> = data.iter().map(|shard| Some(&shard[..])).collect();
        (received[1], received[4]) = (None, None);
        let parity = [None, Some(&parity[1][..]), Some(&parity[2][..])];
        assert_eq!(code.missing(Isa::best(), &received, &parity), [&padded[1][..], &padded[4]]);
    }
}
