//! The core: how long a gap is waited for, how far numbers may jump, and what one channel may hold.

use std::time::Duration;

use super::{PACED_DELAY_CONFIG_MAX, SLOT_BYTES};

/// Hold before anything was measured: covers usual LAN and Wi-Fi reordering.
pub const HOLD_START: Duration = Duration::from_millis(50);
/// The automatic hold never goes below this: one scheduling hiccup of the sender must not cost a
/// packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// The automatic hold never goes above this: a player's own buffer is about that long.
pub const HOLD_MAX: Duration = Duration::from_millis(500);
/// The same where a RIST sender is asked: the buffer that RIST receivers usually have.
pub(crate) const HOLD_MAX_RIST: Duration = Duration::from_secs(1);
/// For so long after its beginning a flow that may be recovered keeps the longest hold: the first
/// matrices, blocks and round trips are measured by then.
pub(crate) const HOLD_SETTLE: Duration = Duration::from_secs(3);
/// The longest hold that a configuration may name: beyond it a gap looks like an outage to every
/// player.
pub const HOLD_CONFIG_MAX: Duration = Duration::from_secs(10);
/// A leg that brought nothing for so long is out, if it had three packets to bring meanwhile:
/// longer than a video frame's pause, and no gap waits for it any longer.
pub(crate) const LEG_OUT_MIN: Duration = Duration::from_millis(100);
/// Another leg may bring a number so long after the first one at least: a tick, since sockets are
/// read one after the other.
pub(crate) const LEG_TURN: Duration = Duration::from_millis(5);
/// Numbers of one flow for which is known which legs brought them, at first; as many as may be
/// there within the longest hold when needed, at most the reorder window.
pub(crate) const LEG_NUMBERS_MIN: usize = 64;
/// When a leg passed a number is known to such a part of the longest hold: 2 ms of 500, in 6 KB.
pub(crate) const LEG_PROGRESS_STEPS: u32 = 256;
/// Gain of the skew that is shown for a leg: that of the interarrival jitter.
pub(crate) const SKEW_GAIN: f64 = JITTER_GAIN;
/// A leg's number that is older than what is remembered is taken for a lagging one if it is at most
/// so many of the longest hold behind the head: beyond that its producer counts anew.
pub(crate) const LEG_LAG_HOLDS: u32 = 4;
/// How long the automatic hold remembers what it needed; it falls after two of these.
pub(crate) const HOLD_FALL_WINDOW: Duration = Duration::from_secs(12);
/// Gain of the interarrival jitter estimate (RFC 3550, A.8).
pub(crate) const JITTER_GAIN: f64 = 1.0 / 16.0;
/// A sender's clock that is off by so many seconds from one packet to the next was set, or has
/// wrapped.
pub(crate) const JITTER_CLOCK_STEP: f64 = 10.0;
/// Payload types of one flow whose clocks are measured: voice, noise, events, video and their
/// redundancy.
pub(crate) const PAYLOAD_TYPES_MEASURED: usize = 8;
/// A measured clock rate is one of those in use if it is at most so much off it, errors included:
/// 88.2 and 90 kHz are 2 % apart.
pub(crate) const RATE_OFF_MAX: f64 = 0.0095;
/// So many standard errors of the measured rate count as its error.
pub(crate) const RATE_STANDARD_ERRORS: f64 = 3.0;
/// Fewer packets tell no rate.
pub(crate) const RATE_PACKETS_MIN: u32 = 16;
/// The rate of a flow is measured over this long.
pub(crate) const RATE_WINDOW: Duration = Duration::from_millis(250);
/// The least distance ahead of the head that counts as reordering or loss, not as a jump: small
/// enough that a restart 400 packets away is seen as one, large enough for a burst of losses at a
/// low rate. In numbers it is as many times as large as a packet takes, like all bounds in packets.
pub const REORDER_PACKETS_MIN: u64 = 64;
/// The same before a flow's rate is known.
pub(crate) const REORDER_PACKETS_START: u64 = 256;
/// The largest reorder window of one flow: 500 ms at 16,000 packets/s, 160 Mbit/s of media.
pub const REORDER_PACKETS_MAX: u64 = 8192;
/// Packets kept for one flow while its numbering awaits confirmation.
pub(crate) const CANDIDATES_MAX: usize = 64;
/// Consecutive packets with known content that count as a restart: a burst of duplicates is
/// shorter.
pub const REPEATS_MAX: usize = 16;
/// A number that comes again with the same content after more than this is a restart, not a network
/// that delivers twice: duplicates come within milliseconds, and a path that is longer by half a
/// second is a leg's (which may take as long as the longest hold).
pub(crate) const REPEAT_AGE: Duration = Duration::from_millis(500);
/// Ages of numbers are known in steps of a quarter of that time, so that so many marks reach beyond
/// it.
pub(crate) const AGE_MARKS: usize = 6;
/// The longest pause of a flow is forgotten by this part with each measurement of its rate: half of
/// it in six seconds.
pub(crate) const GAP_FALL: u32 = 32;
/// So many packets in a row that have the number of the last one, and other content, show a number
/// that never changes.
pub(crate) const STANDING_MIN: usize = 3;
/// The same of packets that are so rare that each one seems to be a restart.
pub(crate) const STANDING_SESSIONS_MIN: u8 = 2;
/// Senders beside the one whose packets are taken that a flow remembers: the other paths of a
/// stream, and who has its id by mistake.
pub(crate) const SOURCES_MAX: usize = 8;
/// Packets of them that wait for what they are: as many as those of another numbering.
pub(crate) const SOURCES_PENDING_MAX: usize = CANDIDATES_MAX;
/// So many packets that agree with the numbering in force show another path of the same producer.
pub(crate) const SOURCE_AGREEMENTS: u8 = 2;
/// Packets in a row from another path of a producer, after which that is where its packets come
/// from: requests go there.
pub(crate) const SOURCE_ROW: u32 = 16;
/// Packets of a flow that begins to send, kept while it is not clear whether the flow that a player
/// follows stops.
pub(crate) const TRIAL_PACKETS_MAX: usize = 512;
/// Flows of a channel of which that is judged at the same time; further ones begin as flows of
/// their own.
pub(crate) const TRIALS_MAX: usize = 16;
/// Ports of one host that one transport stream is known to come from.
pub(crate) const FLOW_PORTS_MAX: usize = 16;
/// A flow's first packets are collected this long before its first number is fixed, so that packets
/// which were swapped at the very start still go out in order.
pub(crate) const START_GRACE: Duration = Duration::from_millis(10);
/// A native session whose first number seen is below this is taken to have begun at 0.
pub const START_AT_ZERO: u64 = 64;
/// A space of as many numbers is wide: no producer goes round it, and one that restarts does not
/// land a little ahead.
pub const WIDE_SPACE: u64 = 1 << 32;
/// Numbers that one jump may lose: at a thousand million a second they take 18 minutes, so that
/// beyond it a producer restarts, and counters of 64 bits never overflow.
pub const JUMP_NUMBERS_MAX: u64 = 1 << 40;
/// Times at which the kernel dropped datagrams that are remembered, to know how many a jump of the
/// numbers has lost.
pub(crate) const DROPS_REMEMBERED: usize = 64;
/// Control datagrams of a custom format that wait for the numbers before them: heartbeats come once
/// a second.
pub(crate) const CONTROLS_HELD_MAX: usize = 8;
/// Datagrams without a number that are remembered where a channel has several legs, to know the
/// copies of other legs: what comes within the hold of announcements and polls, which come a few
/// per second and sender.
pub(crate) const CONTROLS_COMPARED_MAX: usize = 256;
/// Packets that come within the hold where a flow is fast: there, one that nothing follows is
/// conspicuous.
pub(crate) const PACE_PACKETS: f64 = 4.0;
/// Packets between a late one and one that stands alone above it, up to which the one shows how
/// late the other is.
pub(crate) const LATENESS_NEIGHBOURS: u64 = 16;
/// How many times as fast as measured a producer may be between two packets, by jitter.
pub(crate) const PACE_FACTOR: f64 = 2.0;
/// The longest that silence must last before an unconfirmed numbering is believed on a slow flow,
/// and before a packet that stands alone far ahead is believed on a fast one.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Flows of one channel, by default: each costs about 1 KiB, and some KiB more once it had a gap.
pub const FLOWS_MAX: usize = 16_384;
/// A flow that was silent for so long, and longer than it was heard, makes room in a full table: a
/// made-up one of two packets holds its place no longer.
pub(crate) const FLOW_REST: Duration = Duration::from_secs(10);
/// Flows that are looked at to make room for one: a flood of made-up ones costs no more for each.
pub(crate) const FLOWS_LOOK: usize = 64;
/// Memory that one channel may hold back for reordering, confirmation and FEC, by default.
pub const CHANNEL_BYTES_MAX: usize = 64 << 20;
/// As long as a channel holds back less than this, small datagrams wait in the slots that they were
/// received into, since moving them costs as much as relaying them; 128 slots, which a core's own
/// cache still holds.
pub(crate) const LOOSE_BYTES_MAX: usize = 128 * SLOT_BYTES;
/// Last states kept of flows that ended or were forgotten, for the summary of `recv`: a few hundred
/// bytes each.
pub(crate) const DEPARTED_MAX: usize = 4096;
/// A flow that has been silent this long is forgotten.
pub const FLOW_IDLE: Duration = Duration::from_secs(300);
/// How often idle flows are looked for.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Packets in a row that are no TS after which an RTP flow no longer carries a transport stream:
/// FEC and keep-alives do not come alone for so long.
pub(crate) const FOREIGN_RUN: u32 = 100;
/// The longest pause in such a row: keep-alives are seconds apart (RFC 6263 section 6).
pub(crate) const FOREIGN_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Numbers of foreign packets that are remembered until the media have passed them: keep-alives of
/// a quarter of an hour.
pub(crate) const FOREIGN_NUMBERS_MAX: usize = 64;
/// Foreign payload types of one flow whose numbering is remembered: FEC, comfort noise,
/// keep-alives, one more.
pub(crate) const FOREIGN_TYPES_MAX: usize = 4;
/// Gaps remembered per session, so that the automatic hold learns from packets that came too late.
pub(crate) const SKIPPED_REMEMBERED: usize = 32;
/// Numbers remembered per flow to recognise a rebuild that was not needed.
pub(crate) const REBUILT_REMEMBERED: usize = 256;
/// Datagrams kept for reuse by the core between two calls of its owner.
pub(crate) const SPENT_MAX: usize = 256;
const _: () = assert!(HOLD_MIN.as_millis() <= HOLD_START.as_millis());
const _: () = assert!(HOLD_START.as_millis() <= HOLD_MAX.as_millis());
const _: () = assert!(HOLD_SETTLE.as_millis() < HOLD_FALL_WINDOW.as_millis());
const _: () = assert!(REORDER_PACKETS_START <= REORDER_PACKETS_MAX && REORDER_PACKETS_MAX < 1 << 15);
const _: () = assert!(HOLD_CONFIG_MAX.as_millis() < PACED_DELAY_CONFIG_MAX.as_millis());
