//! The codes, pure: shards in, shards out. `producer` encodes, `relay` rebuilds; what a shard means is `wire`'s
//! business. [`rs`] is what others use; `code` is its arithmetic, `simd` the arithmetic's inner loop.

mod code;
pub mod native;
pub mod rs;
mod simd;
pub mod st2022;
