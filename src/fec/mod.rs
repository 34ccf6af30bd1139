//! The codes, pure: shards in, shards out. `producer` encodes, `relay` rebuilds; what a shard means is `wire`'s
//! business.

pub mod rs;
