//! The FEC codes, pure: shards in, shards out. `producer` encodes, `relay` recovers; `wire`
//! defines the contents of shards. [`rs`] is the interface; `code` solves its equations, `galois`
//! has the field's arithmetic, and `simd` its inner loop.

mod code;
mod galois;
pub mod matrix;
pub mod native;
pub mod rs;
mod simd;
