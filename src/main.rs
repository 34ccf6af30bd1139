//! The `tidecast` binary: parse, validate, build, run, drain.

fn main() {}
