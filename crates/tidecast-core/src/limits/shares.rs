//! Share of one host in the places that all hosts use (`shares`).

/// Default share of one IPv4 address or IPv6 /64, in percent: four hosts that take as much as they
/// can get still leave room for others.
pub const SHARE_PERCENT: u64 = 25;
