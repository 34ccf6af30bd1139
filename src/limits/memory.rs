//! What things take that have no bound of their own, as measured: for the memory that a configuration may take (`config/memory`).

/// The program with its page and its threads: 20 MiB after the start, and what the allocator keeps after a busy time.
pub const PROGRAM_BYTES: usize = 64 << 20;
/// A flow with a gap: 9.5 KiB on average among 16,384 of them.
pub const FLOW_BYTES: usize = 10 << 10;
/// A connection, with a request's head of the largest size and the buffers of the HTTP library.
pub const CONNECTION_BYTES: usize = 64 << 10;
/// A page: the message that is made for it and the one that waits.
pub const PAGE_BYTES: usize = 1 << 20;
