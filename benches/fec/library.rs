//! The library reed-solomon-erasure as a competitor: built for any CPU in the benchmark itself,
//! for Haswell in the program in `haswell/`.

use std::hint::black_box;

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::blocks::{Coder, data};

/// A block, and the code for its parameters.
pub(crate) struct Library {
    code: ReedSolomon,
    data: Vec<Vec<u8>>,
    parity: Vec<Vec<u8>>,
    /// The data shards and the repair shards.
    shards: Vec<Option<Vec<u8>>>,
}

impl Library {
    /// Creates a block with supported parameters.
    pub(crate) fn new(k: usize, m: usize) -> Library {
        let (code, data) = (ReedSolomon::new(k, m).expect("a shape"), data(k));
        let mut parity = vec![vec![0; data[0].len()]; m];
        code.encode_sep(&data, &mut parity).expect("equal shards");
        let shards = data.iter().chain(&parity).cloned().map(Some).collect();
        Library { code, data, parity, shards }
    }
}

impl Coder for Library {
    fn encode(&mut self) {
        self.code.encode_sep(&self.data, black_box(&mut self.parity)).expect("equal shards");
    }

    fn rebuild(&mut self, lost: &[usize]) {
        let taken: Vec<_> = lost.iter().map(|at| self.shards[*at].take()).collect();
        self.code.reconstruct_data(black_box(&mut self.shards)).expect("enough shards");
        for (at, shard) in lost.iter().zip(taken) {
            self.shards[*at] = shard;
        }
    }
}
