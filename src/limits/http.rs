//! HTTP and channels on demand: what a client may take, and for how long.

use std::time::Duration;

/// HTTP clients at the same time, by default.
pub const CLIENTS: u64 = 1000;
/// HTTP clients at most: each needs a file descriptor.
pub const CLIENTS_MAX: u64 = 100_000;
/// How long a group stays joined after its last client left: a player that reconnects finds it
/// there.
pub const LINGER: Duration = Duration::from_secs(5);
/// The longest such time: a group costs its bandwidth even if nobody watches.
pub const LINGER_MAX: Duration = Duration::from_secs(3600);
/// How long a client may take to send its request's head, by default.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest such time: a round trip over a bad mobile link.
pub const HEADER_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest such time: half-open clients hold their place for so long.
pub const HEADER_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How long a client is kept while its stream is silent, by default: longer than a producer's
/// pause.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// The shortest such time.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest such time: a sensor with one reading a day keeps its clients.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long a client may be behind the stream without catching up, by default: no player's buffer
/// lasts longer.
pub const LAG_MAX: Duration = Duration::from_secs(10);
/// The shortest such time: a mobile client's change of cells takes longer than less.
pub const LAG_MAX_MIN: Duration = Duration::from_millis(500);
/// The longest such time: a player that was paused over a break.
pub const LAG_MAX_MAX: Duration = Duration::from_secs(3600);
/// Groups joined on demand at the same time: each is a socket, a membership and a stream's
/// bandwidth.
pub const ON_DEMAND_MAX: usize = 1024;
/// Groups on demand that get series of their own in the metrics, over the life of the process; the
/// others share one. About 25 series each, so Prometheus sees at most some thousands of them.
pub const ON_DEMAND_SERIES_MAX: usize = 256;
/// Connections beyond the streaming clients: scrapes, states, and requests that are refused.
pub const CONNECTIONS_EXTRA: usize = 64;
/// A client that does not take the answer to a request for so long is cut off.
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes of a stream that wait for a client that is behind, beyond what the kernel holds for it: 8
/// s at 8 Mbit/s, 1.6 s at 40 Mbit/s. Clients of one stream that are behind share them.
pub const CLIENT_BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Clients that one task writes to: some milliseconds of writing, and more clients spread over the
/// cores.
pub const FEEDER_CLIENTS_MAX: usize = 256;
/// Bytes of what a client's program calls itself that are kept: browsers' are about this long.
pub const AGENT_BYTES_MAX: usize = 160;
/// Bytes that a client may send after its request: nothing of it is read by anybody.
pub const CLIENT_CHATTER_BYTES_MAX: usize = REQUEST_HEAD_BYTES_MAX;
/// How long a stream may be silent whose client has closed its side: it may listen, and it may be
/// gone, which shows when something is written to it.
pub const HALF_CLOSED_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's head: any URL of ours and a browser's cookies for localhost.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes of a flow's key in `?flow=`: an IPv6 address with port and zone, or 32 bytes as
/// hexadecimal digits.
pub const FLOW_KEY_BYTES_MAX: usize = 128;
/// How long a browser remembers that a page of another site may ask: it asks again with the first
/// request after that.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// What a client is told to wait when there is no room: some of those who watch will have left.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long no connection is accepted after the process ran out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of answers that wait for clients to read them, over all clients: some of the longest ones.
/// Beyond it clients are told to come again.
pub const ANSWERS_BYTES_MAX: usize = 64 << 20;
/// Answers of fewer bytes do not count: of one per connection there are not many.
pub const ANSWER_SMALL_BYTES: u64 = 16 << 10;
/// Answers that are made at the same time: each takes some times its length while it is made.
pub const ANSWERS_MADE_MAX: usize = 4;
/// Flows listed per channel in the state as JSON, by default: a page shows so many.
pub const STATE_FLOWS: usize = 100;
/// Flows listed per channel at most: about 10 MB of JSON.
pub const STATE_FLOWS_MAX: usize = 10_000;
/// Answers with the state of all channels that are kept for those who ask the same at the same
/// time.
pub const STATE_BODIES_MAX: usize = 4;
/// How long the connection that has the last descriptor may take for its request, which comes along
/// with it: others wait.
pub const RESERVE_HEAD_PATIENCE: Duration = Duration::from_millis(100);
/// How long it may take for its answer.
pub const RESERVE_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of its request that are read.
pub const RESERVE_HEAD_BYTES_MAX: usize = 4 << 10;
