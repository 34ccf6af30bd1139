//! HTTP and channels on demand: bounds and time-outs of clients.

use std::time::Duration;

/// Default maximum of concurrent HTTP clients.
pub const CLIENTS: u64 = 1000;
/// Maximum of concurrent HTTP clients in a configuration: each needs a file descriptor.
pub const CLIENTS_MAX: u64 = 100_000;
/// Default time for which a group stays joined after its last client left: a player that
/// reconnects finds it running.
pub const LINGER: Duration = Duration::from_secs(5);
/// Maximum of that time: a group takes bandwidth even without viewers.
pub const LINGER_MAX: Duration = Duration::from_secs(3600);
/// Default time for a client to send its request's head.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Minimum of that time: a round trip over a bad mobile link.
pub const HEADER_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Maximum of that time: half-open clients hold a place that long.
pub const HEADER_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Default time for which a client is kept while its stream is silent: longer than a producer's
/// pause.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Minimum of that time.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Maximum of that time: a sensor with one reading a day keeps its clients.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Default time for which a client may be behind the stream without catching up: no player's
/// buffer lasts longer.
pub const LAG_MAX: Duration = Duration::from_secs(10);
/// Minimum of that time: a mobile client's change of cells takes longer than less.
pub const LAG_MAX_MIN: Duration = Duration::from_millis(500);
/// Maximum of that time: a player that was paused for a break.
pub const LAG_MAX_MAX: Duration = Duration::from_secs(3600);
/// Maximum groups joined on demand at the same time: each takes a socket, a membership and a
/// stream's bandwidth.
pub const ON_DEMAND_MAX: usize = 1024;
/// Maximum groups on demand with separate series in the metrics, over the life of the process; all
/// others share one. A group has about 25 series, so Prometheus stores at most some thousands.
pub const ON_DEMAND_SERIES_MAX: usize = 256;
/// Connections in addition to the streaming clients: scrapes, state requests, and requests that
/// are refused.
pub const CONNECTIONS_EXTRA: usize = 64;
/// Time after which a client that does not take the answer to a request is disconnected.
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);
/// Maximum backlog of a slow client, in addition to the kernel's buffer: 8 s at 8 Mbit/s, 1.6 s at
/// 40 Mbit/s. Slow clients of one stream share these bytes.
pub const CLIENT_BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Maximum clients that one task writes to: some milliseconds of writing; more clients are spread
/// over the cores.
pub const FEEDER_CLIENTS_MAX: usize = 256;
/// Maximum stored bytes of a client's User-Agent: browsers send about this much.
pub const AGENT_BYTES_MAX: usize = 160;
/// Maximum bytes that a client may send after its request; they are ignored.
pub const CLIENT_CHATTER_BYTES_MAX: usize = REQUEST_HEAD_BYTES_MAX;
/// Maximum silence of a stream whose client has closed its side: the client may listen, or be
/// gone, which shows when something is written to it.
pub const HALF_CLOSED_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Maximum bytes of a request's head: any of our URLs, and a browser's cookies for localhost.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 << 10;
/// Maximum bytes of a flow's key in `?flow=`: an IPv6 address with port and zone, or 32 bytes as
/// hexadecimal digits.
pub const FLOW_KEY_BYTES_MAX: usize = 128;
/// Time for which a browser remembers that a page of another site is allowed; then it asks again
/// with the next request.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// Time that a client is asked to wait when there is no room: by then some clients will have left.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Pause in accepting connections after the process ran out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Maximum bytes of answers that clients have not read yet, over all clients: some of the longest
/// ones. Beyond that clients are asked to retry.
pub const ANSWERS_BYTES_MAX: usize = 64 << 20;
/// Answers below this size are not counted: with one per connection they stay small.
pub const ANSWER_SMALL_BYTES: u64 = 16 << 10;
/// Maximum answers generated at the same time: each takes several times its length meanwhile.
pub const ANSWERS_MADE_MAX: usize = 4;
/// Default number of flows per channel in the state as JSON: as many as a page shows.
pub const STATE_FLOWS: usize = 100;
/// Maximum flows per channel in the state as JSON: about 10 MB.
pub const STATE_FLOWS_MAX: usize = 10_000;
/// Maximum stored answers with the state of all channels, for identical requests at the same time.
pub const STATE_BODIES_MAX: usize = 4;
/// Time for the connection with the reserved descriptor to send its request, which should arrive
/// immediately: others wait.
pub const RESERVE_HEAD_PATIENCE: Duration = Duration::from_millis(100);
/// Time for that connection to take its answer.
pub const RESERVE_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum bytes read from its request.
pub const RESERVE_HEAD_BYTES_MAX: usize = 4 << 10;
