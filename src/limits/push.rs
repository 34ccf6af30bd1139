//! Programs and browsers (`serve/push`, `serve/tcp`): clients that stop reading, and bounds on
//! what they send.

use std::time::Duration;

use tidecast_core::limits::FLOWS_MAX;

/// Maximum bytes of the last values of one channel's flows: 16,384 readings of 512 bytes.
pub const LAST_VALUES_BYTES_MAX: usize = 8 << 20;
/// Maximum backlog of messages for one client; beyond that it gets the missed numbers instead. 1 s
/// at 8 Mbit/s.
pub const PUSH_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the last values, or of missed numbers, that are made for a client at a time; the next
/// piece follows when it has taken them. As many as a fast client takes in some milliseconds.
pub const PUSH_PIECE_BYTES: usize = 64 << 10;
/// Maximum bytes of messages in one chunk, which cannot be dropped in part.
pub const PUSH_CHUNK_BYTES_MAX: usize = 256 << 10;
/// Maximum flows with missed numbers that have not been reported to a client yet, over all its
/// streams: about 1 MiB. A client that misses more is disconnected.
pub const MISSED_FLOWS_MAX: usize = 16_384;
const _: () = assert!(MISSED_FLOWS_MAX >= FLOWS_MAX);
/// Maximum age of the oldest queued message: a mobile client's change of cells, or a busy page,
/// takes seconds; after a longer pause a new reading is worth more than all old ones.
pub const PUSH_QUEUE_AGE_MAX: Duration = Duration::from_secs(5);
/// Maximum unsent bytes of messages in the kernel's buffer: they cannot be withdrawn, and are old
/// after a pause. Enough for 100 ms at 20 Mbit/s, or a long-distance connection's window at usual
/// rates.
pub const PUSH_UNSENT_BYTES_MAX: u32 = 256 << 10;
/// Time after which a client that takes nothing is disconnected. After a shorter pause it gets the
/// missed numbers.
pub const PUSH_STALL_MAX: Duration = Duration::from_secs(60);
/// Time for which events are kept for a client of server-sent events that reconnects: a browser
/// waits some seconds, and a mobile one may change its cell meanwhile.
pub const SSE_KEPT: Duration = Duration::from_secs(30);
/// Maximum bytes of these events per class of a stream: half of the maximum backlog of a client.
pub const SSE_KEPT_BYTES_MAX: usize = PUSH_QUEUE_BYTES_MAX / 2;
/// Maximum classes of one stream whose events are kept without members, so that a client with many
/// different requests does not take more memory.
pub const SSE_KEPT_CLASSES_MAX: usize = 8;
/// Interval of keep-alives on a silent connection, so that proxies keep it and a vanished client
/// is detected.
pub const PUSH_KEEPALIVE: Duration = Duration::from_secs(15);
/// Consecutive pings without an answer after which a client is gone.
pub const PONGS_MISSED_MAX: u32 = 2;
/// Time after which a client whose host acknowledges nothing is gone: that of two pings.
pub const CLIENT_GONE_MAX: Duration = Duration::from_secs(PUSH_KEEPALIVE.as_secs() * PONGS_MISSED_MAX as u64);
/// Maximum bytes from a client in the kernel's buffer while nothing is read: some request heads.
/// The default is up to 6 MB.
pub const CLIENT_UNREAD_BYTES_MAX: usize = 64 << 10;
/// Time for which an ending connection is still read, so that its last bytes arrive.
pub const PARTING_MAX: Duration = Duration::from_secs(1);
/// Maximum subscribers that may join a stream at the same moment; further ones wait.
pub const PUSH_JOINS_MAX: usize = 64;
/// Maximum `every=`: a reading a day.
pub const EVERY_MAX: Duration = Duration::from_secs(86_400);
/// Maximum streams that one connection may subscribe to at the same time.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Maximum bytes of a WebSocket client's message; its contents are ignored.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Messages of a WebSocket client that are read in a row; their contents are ignored, and
/// answering pings takes time from others.
pub const WEBSOCKET_MESSAGES_AT_ONCE: u32 = 16;
/// Pause in reading after these messages: 4,000 messages per second are more than any client
/// needs.
pub const WEBSOCKET_PAUSE: Duration = Duration::from_millis(4);
/// Maximum bytes of a TCP client's line: a command, a name, a flow's key.
pub const TCP_LINE_BYTES_MAX: usize = 1024;
/// Time for a TCP client to subscribe to something.
pub const TCP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Default maximum of concurrent TCP clients.
pub const TCP_CLIENTS: u64 = 1000;
/// Maximum messages in a Socket.IO connection's buffer, in addition to those in its queue: at most
/// 1 MiB of the longest datagrams as base64.
pub const SOCKETIO_BUFFER: usize = 12;
const _: () = assert!(SOCKETIO_BUFFER * (64 << 10) * 4 / 3 <= PUSH_QUEUE_BYTES_MAX);
/// Maximum bytes of a Socket.IO client's message: a name and some options.
pub const SOCKETIO_MESSAGE_BYTES_MAX: u64 = 4 << 10;
/// Initial pause before a full Socket.IO buffer is tried again: a client that keeps up gets 12,000
/// messages per second.
pub const SOCKETIO_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Maximum of that pause: a thousand clients that take nothing cost some percent of a core.
pub const SOCKETIO_PAUSE_MAX: Duration = Duration::from_millis(64);
