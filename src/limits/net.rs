//! Sockets and the packet path: what one turn takes, so that no leg and no output keeps the others
//! waiting.

use std::time::Duration;

/// Send buffer that an output must have when it shares a socket: 28 media packets, a tick of 5 ms
/// at 60 Mbit/s. Where the system's limit is the usual 416 KiB, six outputs share a socket.
pub const SEND_BUFFER_SHARE: usize = 64 << 10;
/// Outputs that share a socket at most: one `sendmmsg` then reaches all of them.
pub const SOCKET_OUTPUTS_MAX: usize = 64;
/// Datagrams of one size that are sent to one target at once, by default. Longer bursts cost less
/// CPU, but overflow the small buffers of switches and Wi-Fi.
pub const BURST: u64 = 7;
/// The longest burst: the segments that UDP_SEGMENT takes on older kernels (UDP_MAX_SEGMENTS).
pub const BURST_MAX: u64 = 64;
/// Lost numbers that an RTP output leaves out of its own numbers at most: one less than the jump
/// that receivers take for another stream (MAX_DROPOUT of RFC 3550, A.1).
pub const RTP_GAP_MAX: u64 = 2_999;
/// For how long a path that refused a burst gets single datagrams: its route, and with it the MTU,
/// may change.
pub const BURST_RETRY: Duration = Duration::from_secs(60);
/// How often an output that cannot send is opened again.
pub const OUTPUT_RETRY: Duration = Duration::from_secs(1);
/// How often an output to a group or with an interface looks whether that interface or its address
/// has changed.
pub const OUTPUT_CHECK: Duration = Duration::from_secs(5);
/// How long deadlines wait for what is still in the sockets: a few turns, and less than the
/// shortest usual hold.
pub const BACKLOG_MAX: Duration = Duration::from_millis(10);
/// Batches received from one leg before the others have their turn.
pub const LEG_BATCHES: usize = 16;
/// Events taken from epoll at once: all legs of a large configuration, so that a tick asks once.
pub const EPOLL_EVENTS: usize = 1024;
/// Under load a packet thread sleeps at least so long, or a tick if that is shorter: what is due
/// within a millisecond goes out together.
pub const WAKE_MIN: Duration = Duration::from_millis(1);
/// More packets than this within one tick are worth a tick's wait.
pub const TICK_PACKETS: usize = 2;
/// Warnings about single flows that a channel logs each; later ones share the usual interval of its
/// messages.
pub const FLOWS_WARNED_MAX: u32 = 64;
/// How long a packet thread answers questions in one turn: a twentieth of the usual tick.
pub const SURVEY_SLICE: Duration = Duration::from_micros(250);
/// After a slice of answering it does so many times as long nothing of the kind: questions cost it
/// a sixteenth of its time at most, however many there are.
pub const SURVEY_REST: u32 = 15;
/// Flows looked at between two looks at the clock.
pub const SURVEY_FLOWS: usize = 16;
/// How long a packet thread may do in one turn what it is told, such as to start channels: then the
/// sockets are read again.
pub const COMMANDS_SLICE: Duration = Duration::from_millis(1);
/// How long whoever asks how a channel stands waits for a packet thread that does not answer.
pub const SURVEY_PATIENCE: Duration = Duration::from_secs(5);
/// Between two surveys of all channels. All who ask meanwhile get the next one: it is never older
/// than their question.
pub const SURVEY_INTERVAL: Duration = Duration::from_millis(100);
/// Between two surveys of more flows than a page shows.
pub const SURVEY_INTERVAL_LARGE: Duration = Duration::from_secs(1);
/// How long an answer is kept that nobody may get any more: with all flows of many channels it is
/// large.
pub const SURVEY_KEPT: Duration = Duration::from_secs(3);
/// How often memberships are reported where nobody asks, as an example: switches forget a port
/// after 260 s (RFC 3376, section 8.4).
pub const REJOIN: Duration = Duration::from_secs(60);
/// The shortest such time: a report costs every host of the group's network a packet.
pub const REJOIN_MIN: Duration = Duration::from_secs(5);
/// The longest such time: beyond it no switch remembers.
pub const REJOIN_MAX: Duration = Duration::from_secs(3600);
