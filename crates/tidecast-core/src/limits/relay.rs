//! The core: hold, plausible jumps of numbers, and memory of one channel.

use std::time::Duration;

use super::{PACED_DELAY_CONFIG_MAX, SLOT_BYTES};

/// Hold before any measurement: covers usual LAN and Wi-Fi reordering.
pub const HOLD_START: Duration = Duration::from_millis(50);
/// Minimum of the automatic hold: one scheduling hiccup of the sender must not cost a packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// Maximum of the automatic hold: a player's own buffer is about that long.
pub const HOLD_MAX: Duration = Duration::from_millis(500);
/// Maximum of the automatic hold for RIST: the buffer that RIST receivers usually have.
pub(crate) const HOLD_MAX_RIST: Duration = Duration::from_secs(1);
/// Time after its start during which a flow with recovery keeps the maximum hold: the first
/// matrices, blocks and round trips are measured by then.
pub(crate) const HOLD_SETTLE: Duration = Duration::from_secs(3);
/// Maximum hold in a configuration: beyond it a gap looks like an outage to every player.
pub const HOLD_CONFIG_MAX: Duration = Duration::from_secs(10);
/// Minimum silence after which a leg is down, if three packets were due on it meanwhile: longer
/// than the pause between video frames. Gaps no longer wait for it.
pub(crate) const LEG_OUT_MIN: Duration = Duration::from_millis(100);
/// Minimum lag between legs that is always allowed: a tick, since sockets are read one after the
/// other.
pub(crate) const LEG_TURN: Duration = Duration::from_millis(5);
/// Initial numbers of one flow for which it is recorded which legs carried them. It grows to the
/// numbers within the longest hold, at most the reorder window.
pub(crate) const LEG_NUMBERS_MIN: usize = 64;
/// Resolution at which a leg's progress is recorded, as a part of the longest hold: 2 ms of 500,
/// in 6 KB.
pub(crate) const LEG_PROGRESS_STEPS: u32 = 256;
/// Gain of the displayed skew of a leg: that of the interarrival jitter.
pub(crate) const SKEW_GAIN: f64 = JITTER_GAIN;
/// Distance behind the head, in longest holds, up to which an unknown old number counts as a leg's
/// lag: beyond that its producer has restarted its numbering.
pub(crate) const LEG_LAG_HOLDS: u32 = 4;
/// Window in which the automatic hold remembers its needs; it falls after two of them.
pub(crate) const HOLD_FALL_WINDOW: Duration = Duration::from_secs(12);
/// Gain of the interarrival jitter estimate (RFC 3550, A.8).
pub(crate) const JITTER_GAIN: f64 = 1.0 / 16.0;
/// Step of a sender's clock between two packets, in seconds, beyond which it was set or has
/// wrapped.
pub(crate) const JITTER_CLOCK_STEP: f64 = 10.0;
/// Maximum payload types of one flow whose clocks are measured: voice, comfort noise, events,
/// video and their redundancy.
pub(crate) const PAYLOAD_TYPES_MEASURED: usize = 8;
/// Maximum deviation at which a measured clock rate counts as a usual one, including its error:
/// 88.2 and 90 kHz are 2 % apart.
pub(crate) const RATE_OFF_MAX: f64 = 0.0095;
/// Standard errors that count as the error of a measured rate.
pub(crate) const RATE_STANDARD_ERRORS: f64 = 3.0;
/// Minimum packets for a measurement of the rate.
pub(crate) const RATE_PACKETS_MIN: u32 = 16;
/// Time over which the packet rate of a flow is measured.
pub(crate) const RATE_WINDOW: Duration = Duration::from_millis(250);
/// Minimum distance above the head that counts as reordering or loss and not as a jump: small
/// enough that a restart 400 packets away is detected, large enough for a burst of losses at a low
/// rate. Like all bounds in packets, it is multiplied by the count of numbers per packet.
pub const REORDER_PACKETS_MIN: u64 = 64;
/// The same distance before a flow's rate is known.
pub(crate) const REORDER_PACKETS_START: u64 = 256;
/// Maximum reorder window of one flow: 500 ms at 16,000 packets/s, 160 Mbit/s of media.
pub const REORDER_PACKETS_MAX: u64 = 8192;
/// Maximum packets kept for one flow while its numbering awaits confirmation.
pub(crate) const CANDIDATES_MAX: usize = 64;
/// Consecutive packets with known content that count as a restart: a burst of duplicates is
/// shorter.
pub const REPEATS_MAX: usize = 16;
/// Age beyond which a repeated number with the same content is a restart and not a duplicate of
/// the network: duplicates come within milliseconds. A path that is longer by half a second
/// belongs to another leg (which may take as long as the longest hold).
pub(crate) const REPEAT_AGE: Duration = Duration::from_millis(500);
/// Maximum gaps that are remembered of a sealed session and leg, so that the numbers in them are
/// still let in: a burst of losses is one gap, and a hold rarely has as many. 16 KiB.
pub(crate) const SEALED_GAPS_MAX: usize = 1024;
/// Maximum repair packets that are remembered of a sealed session, to let each in once: blocks of a
/// hold, even those of a fast stream. 32 KiB.
pub(crate) const SEALED_REPAIRS_MAX: usize = 1024;
/// Numbers below the first one of a sealed session that are let in, because others may have
/// overtaken them: as many as the smallest reorder window.
pub(crate) const SEALED_START_NUMBERS: u64 = REORDER_PACKETS_START;
/// Number of marks from which the age of numbers is determined. They are a quarter of
/// [`REPEAT_AGE`] apart, so together they reach beyond it.
pub(crate) const AGE_MARKS: usize = 6;
/// Part by which the longest pause of a flow is reduced at each measurement of its rate: by half
/// in six seconds.
pub(crate) const GAP_FALL: u32 = 32;
/// Consecutive packets with the same number and differing content that show a number that never
/// changes.
pub(crate) const STANDING_MIN: usize = 3;
/// The same for packets so rare that each one seems to be a restart.
pub(crate) const STANDING_SESSIONS_MIN: u8 = 2;
/// Maximum other source addresses that a flow remembers: further paths of the stream, and senders
/// that use its id by mistake.
pub(crate) const SOURCES_MAX: usize = 8;
/// Maximum waiting packets from other source addresses: as many as of another numbering.
pub(crate) const SOURCES_PENDING_MAX: usize = CANDIDATES_MAX;
/// Packets that agree with the current numbering, after which their sender counts as another path
/// of the same producer.
pub(crate) const SOURCE_AGREEMENTS: u8 = 2;
/// Consecutive packets from another path of a producer, after which its address replaces the
/// previous one, also for requests.
pub(crate) const SOURCE_ROW: u32 = 16;
/// Maximum packets held of a flow on trial, while it is not clear whether the followed flow has
/// stopped.
pub(crate) const TRIAL_PACKETS_MAX: usize = 512;
/// Maximum flows of a channel on trial at the same time; further ones start as independent flows.
pub(crate) const TRIALS_MAX: usize = 16;
/// Maximum ports of one host that a transport stream may come from.
pub(crate) const FLOW_PORTS_MAX: usize = 16;
/// Time for which a flow's first packets are collected before its first number is fixed, so that
/// packets swapped at the very start are still delivered in order.
pub(crate) const START_GRACE: Duration = Duration::from_millis(10);
/// A native session whose first number is below this is assumed to have started at 0.
pub const START_AT_ZERO: u64 = 64;
/// Size from which a number space is wide: no producer wraps it, and a restart does not land
/// slightly ahead.
pub const WIDE_SPACE: u64 = 1 << 32;
/// Maximum numbers that one jump may lose: at 10^9 per second they take 18 minutes. A larger jump
/// is a restart, and 64-bit counters never overflow.
pub const JUMP_NUMBERS_MAX: u64 = 1 << 40;
/// Maximum remembered kernel drops, to know how many packets a jump of the numbers has lost.
pub(crate) const DROPS_REMEMBERED: usize = 64;
/// Maximum control datagrams of a custom format that wait for the numbers before them: heartbeats
/// come once a second.
pub(crate) const CONTROLS_HELD_MAX: usize = 8;
/// Maximum remembered datagrams without a number, in a channel with several legs, to recognize
/// copies: those that come within the hold, at a few announcements and polls per second and
/// sender.
pub(crate) const CONTROLS_COMPARED_MAX: usize = 256;
/// Packets within the hold from which on a flow counts as fast: there, a packet that no other one
/// follows is conspicuous.
pub(crate) const PACE_PACKETS: f64 = 4.0;
/// Distance in packets up to which an isolated packet shows how late a lower one is.
pub(crate) const LATENESS_NEIGHBOURS: u64 = 16;
/// Factor by which a producer may exceed its measured rate between two packets, due to jitter.
pub(crate) const PACE_FACTOR: f64 = 2.0;
/// Maximum silence before an unconfirmed numbering is believed on a slow flow, and before an
/// isolated packet far ahead is believed on a fast one.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Default maximum of flows in one channel: each takes about 1 KiB, and some KiB more after a gap.
pub const FLOWS_MAX: usize = 16_384;
/// Minimum silence after which a flow, if silent for longer than it was active, makes room in a
/// full table: a forged flow of two packets does not hold its place any longer.
pub(crate) const FLOW_REST: Duration = Duration::from_secs(10);
/// Maximum flows examined to make room for one, so that a flood of forged flows has a fixed cost
/// per flow.
pub(crate) const FLOWS_LOOK: usize = 64;
/// Default memory that one channel may hold back for reordering, confirmation and FEC.
pub const CHANNEL_BYTES_MAX: usize = 64 << 20;
/// Memory up to which small datagrams wait in the slots that they were received into, since
/// copying them costs as much as relaying them: 128 slots, which fit into a CPU core's own cache.
pub(crate) const LOOSE_BYTES_MAX: usize = 128 * SLOT_BYTES;
/// Maximum final states kept of flows that ended or were removed, for the summary of `recv`: a few
/// hundred bytes each.
pub(crate) const DEPARTED_MAX: usize = 4096;
/// Silence after which a flow is removed.
pub const FLOW_IDLE: Duration = Duration::from_secs(300);
/// Interval of the search for idle flows.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Consecutive packets that are not TS, after which an RTP flow no longer carries a transport
/// stream: FEC and keep-alives do not come alone for that long.
pub(crate) const FOREIGN_RUN: u32 = 100;
/// Maximum pause in such a run: keep-alives are seconds apart (RFC 6263 section 6).
pub(crate) const FOREIGN_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Maximum remembered numbers of foreign packets that the media have not passed yet: keep-alives
/// of a quarter of an hour.
pub(crate) const FOREIGN_NUMBERS_MAX: usize = 64;
/// Maximum foreign payload types of one flow whose numbering is remembered: FEC, comfort noise,
/// keep-alives, one more.
pub(crate) const FOREIGN_TYPES_MAX: usize = 4;
/// Maximum remembered gaps per session, so that the automatic hold learns from packets that came
/// too late.
pub(crate) const SKIPPED_REMEMBERED: usize = 32;
/// Maximum remembered numbers per flow, to recognise a recovery that was not needed.
pub(crate) const RECOVERED_REMEMBERED: usize = 256;
/// Maximum datagrams kept by the core for reuse between two calls of its owner.
pub(crate) const SPENT_MAX: usize = 256;
const _: () = assert!(HOLD_MIN.as_millis() <= HOLD_START.as_millis());
const _: () = assert!(HOLD_START.as_millis() <= HOLD_MAX.as_millis());
const _: () = assert!(HOLD_SETTLE.as_millis() < HOLD_FALL_WINDOW.as_millis());
const _: () = assert!(REORDER_PACKETS_START <= REORDER_PACKETS_MAX && REORDER_PACKETS_MAX < 1 << 15);
const _: () = assert!(HOLD_CONFIG_MAX.as_millis() < PACED_DELAY_CONFIG_MAX.as_millis());
