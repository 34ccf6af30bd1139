//! config

pub mod units;
