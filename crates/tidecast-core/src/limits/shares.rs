//! What one host may have of what all hosts use (`shares`).

/// The share of one IPv4 address or IPv6 /64, in percent, by default: four hosts that take all they
/// can get still leave nobody out before them.
pub const SHARE_PERCENT: u64 = 25;
