//! Programs and browsers (`serve/push`, `serve/tcp`): clients that stop reading, and what they may
//! send.

use std::time::Duration;

use tidecast_core::limits::FLOWS_MAX;

/// Bytes of the last values of one channel's flows: 16,384 readings of 512 bytes.
pub const LAST_VALUES_BYTES_MAX: usize = 8 << 20;
/// Bytes that wait for one client of a stream's messages; beyond it, it is told what it missed. 1 s
/// at 8 Mbit/s.
pub const PUSH_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the last values, or of what a client missed, that are made for it at a time; the next
/// ones when it has taken them. As many as a fast client takes in some milliseconds.
pub const PUSH_PIECE_BYTES: usize = 64 << 10;
/// Bytes of messages that are handed to the clients at a time: what cannot be dropped in part.
pub const PUSH_CHUNK_BYTES_MAX: usize = 256 << 10;
/// Flows of which a client may have missed something that it was not told of yet, over all its
/// streams: about 1 MiB of notes. One that misses more is cut off.
pub const MISSED_FLOWS_MAX: usize = 16_384;
const _: () = assert!(MISSED_FLOWS_MAX >= FLOWS_MAX);
/// How old the oldest of them may be: a mobile client's change of cells, or a page that is busy,
/// takes seconds; after a longer pause a reading that is new is worth more than all that are old.
pub const PUSH_QUEUE_AGE_MAX: Duration = Duration::from_secs(5);
/// Bytes of them that the kernel takes before it sends them: what it has is beyond recall, and old
/// after a pause. Enough for 100 ms at 20 Mbit/s, or a long-distance connection's window at usual
/// rates.
pub const PUSH_UNSENT_BYTES_MAX: u32 = 256 << 10;
/// A client that takes nothing for so long is cut off: whoever only paused is told what it missed.
pub const PUSH_STALL_MAX: Duration = Duration::from_secs(60);
/// How long the events of server-sent events are kept for a client that comes back: a browser waits
/// some seconds, and a mobile one changes its cell meanwhile.
pub const SSE_KEPT: Duration = Duration::from_secs(30);
/// Bytes of them, for those who asked for the same of one stream: half of what may wait for a
/// client.
pub const SSE_KEPT_BYTES_MAX: usize = PUSH_QUEUE_BYTES_MAX / 2;
/// Kinds of subscriptions to one stream of which events are kept although nobody has them: whoever
/// asks for many things one after the other costs no more.
pub const SSE_KEPT_CLASSES_MAX: usize = 8;
/// How often a silent connection is used, so that proxies keep it and a vanished client is noticed.
pub const PUSH_KEEPALIVE: Duration = Duration::from_secs(15);
/// A client that leaves so many pings in a row without any answer is gone.
pub const PONGS_MISSED_MAX: u32 = 2;
/// A client whose host acknowledges nothing for so long is gone, as after two pings.
pub const CLIENT_GONE_MAX: Duration = Duration::from_secs(PUSH_KEEPALIVE.as_secs() * PONGS_MISSED_MAX as u64);
/// Bytes from a client that the kernel keeps while nothing is read: some heads of requests. By
/// itself it keeps up to 6 MB.
pub const CLIENT_UNREAD_BYTES_MAX: usize = 64 << 10;
/// How long a connection that ends is read from, so that its last bytes arrive.
pub const PARTING_MAX: Duration = Duration::from_secs(1);
/// Subscribers that may come to one stream at the same moment; more of them wait for their turn.
pub const PUSH_JOINS_MAX: usize = 64;
/// The longest `every=`: a reading a day.
pub const EVERY_MAX: Duration = Duration::from_secs(86_400);
/// Streams that one connection may subscribe to at the same time.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Bytes that a WebSocket client may send in one message: nothing of it is read by anybody.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Messages of a WebSocket client that are read in a row; nothing of them means anything, and
/// answering pings takes time from others.
pub const WEBSOCKET_MESSAGES_AT_ONCE: u32 = 16;
/// How long nothing is read after so many: 4,000 messages per second are more than any client
/// needs.
pub const WEBSOCKET_PAUSE: Duration = Duration::from_millis(4);
/// Bytes of a line of a TCP client: a command, a name, a flow's key.
pub const TCP_LINE_BYTES_MAX: usize = 1024;
/// How long a TCP client may take to subscribe to something.
pub const TCP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// TCP clients at the same time, by default.
pub const TCP_CLIENTS: u64 = 1000;
/// Messages that wait in a Socket.IO connection for its socket, beyond those in its queue: at most
/// 1 MiB of the longest datagrams as base64.
pub const SOCKETIO_BUFFER: usize = 12;
const _: () = assert!(SOCKETIO_BUFFER * (64 << 10) * 4 / 3 <= PUSH_QUEUE_BYTES_MAX);
/// Bytes that a Socket.IO client may send in one message: a name and some options.
pub const SOCKETIO_MESSAGE_BYTES_MAX: u64 = 4 << 10;
/// How long a Socket.IO connection whose buffer is full is left alone at first: one that takes what
/// comes goes on with 12,000 messages per second.
pub const SOCKETIO_PAUSE_MIN: Duration = Duration::from_millis(1);
/// How long it is left alone later: a thousand clients that take nothing cost some percent of a
/// core.
pub const SOCKETIO_PAUSE_MAX: Duration = Duration::from_millis(64);
