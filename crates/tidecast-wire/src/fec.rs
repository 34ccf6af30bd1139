//! The codes, pure: shards in, shards out. `producer` encodes, `relay` rebuilds; what a shard means
//! is `wire`'s business. [`rs`] is what others use; `code` solves its equations, `galois` has the
//! field's arithmetic, and `simd` its inner loop.

mod code;
mod galois;
pub mod matrix;
pub mod native;
pub mod rs;
mod simd;
