//! Sockets and packet path: bounds of one turn, so that no leg and no output keeps the others
//! waiting.

use std::time::Duration;

/// Send buffer per output that shares a socket: 28 media packets, a tick of 5 ms at 60 Mbit/s.
/// With the usual system limit of 416 KiB, six outputs share a socket.
pub const SEND_BUFFER_SHARE: usize = 64 << 10;
/// Maximum outputs that share a socket: one `sendmmsg` then reaches all of them.
pub const SOCKET_OUTPUTS_MAX: usize = 64;
/// Default maximum of datagrams of one size sent to one target at once. Longer bursts take less
/// CPU, but overflow the small buffers of switches and Wi-Fi.
pub const BURST: u64 = 7;
/// Maximum burst: the segments that UDP_SEGMENT accepts on older kernels (UDP_MAX_SEGMENTS).
pub const BURST_MAX: u64 = 64;
/// Maximum lost numbers that an RTP output skips in its own numbers: one less than the jump that
/// receivers take for another stream (MAX_DROPOUT of RFC 3550, A.1).
pub const RTP_GAP_MAX: u64 = 2_999;
/// Time for which a path that refused a burst gets single datagrams: its route, and with it the
/// MTU, may change.
pub const BURST_RETRY: Duration = Duration::from_secs(60);
/// Interval at which an output without a socket tries to open one.
pub const OUTPUT_RETRY: Duration = Duration::from_secs(1);
/// Interval at which an output to a group or with an interface checks whether that interface or
/// its address has changed.
pub const OUTPUT_CHECK: Duration = Duration::from_secs(5);
/// Time for which deadlines wait for datagrams that are still in the sockets: a few turns, and
/// less than the shortest usual hold.
pub const BACKLOG_MAX: Duration = Duration::from_millis(10);
/// Maximum batches received from one leg before it is the turn of the others.
pub const LEG_BATCHES: usize = 16;
/// Maximum events taken from epoll at once: all legs of a large configuration, so that a tick
/// needs one call.
pub const EPOLL_EVENTS: usize = 1024;
/// Minimum sleep of a packet thread under load, or a tick if that is shorter: everything due
/// within a millisecond is sent together.
pub const WAKE_MIN: Duration = Duration::from_millis(1);
/// Packets within one tick above which the thread sleeps for a tick.
pub const TICK_PACKETS: usize = 2;
/// Warnings about single flows that a channel logs individually; later ones share the usual rate
/// limit of its messages.
pub const FLOWS_WARNED_MAX: u32 = 64;
/// Maximum time per turn that a packet thread spends on surveys: a twentieth of the usual tick.
pub const SURVEY_SLICE: Duration = Duration::from_micros(250);
/// Rest after a slice of a survey, in multiples of its duration: surveys take at most a sixteenth
/// of the thread's time, however many are requested.
pub const SURVEY_REST: u32 = 15;
/// Flows surveyed between two readings of the clock.
pub const SURVEY_FLOWS: usize = 16;
/// Maximum time per turn that a packet thread spends on commands, such as to start channels; then
/// the sockets are read again.
pub const COMMANDS_SLICE: Duration = Duration::from_millis(1);
/// Time that a request for states waits for a packet thread that does not answer.
pub const SURVEY_PATIENCE: Duration = Duration::from_secs(5);
/// Minimum interval between surveys of all channels. All requests meanwhile get the next one, so
/// it is never older than a request.
pub const SURVEY_INTERVAL: Duration = Duration::from_millis(100);
/// Minimum interval between surveys of more flows than a page shows.
pub const SURVEY_INTERVAL_LARGE: Duration = Duration::from_secs(1);
/// Time for which an answer is kept after its last use: with all flows of many channels it is
/// large.
pub const SURVEY_KEPT: Duration = Duration::from_secs(3);
/// Example interval for membership reports without a querier: switches forget a port after 260 s
/// (RFC 3376, section 8.4).
pub const REJOIN: Duration = Duration::from_secs(60);
/// Minimum of that interval: every host of the group's network receives each report.
pub const REJOIN_MIN: Duration = Duration::from_secs(5);
/// Maximum of that interval: by then every switch has forgotten the port.
pub const REJOIN_MAX: Duration = Duration::from_secs(3600);
