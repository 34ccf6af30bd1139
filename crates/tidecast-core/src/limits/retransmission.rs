//! Requesting retransmissions, and answering requests: bounds that keep attackers from amplifying
//! either.

use std::time::Duration;

use super::HOLD_CONFIG_MAX;

/// Maximum requests for one number, as many as librist sends. With 30 % of loss in both
/// directions, 20 requests leave one in a million of the lost packets.
pub const REQUESTS_MAX: u8 = 20;
/// Part of a round trip after which an expected answer is overdue at the latest: one superfluous
/// request costs less than a round trip that a short hold does not have.
pub(crate) const RETRY_SLACK_SHARE: u32 = 8;
/// Maximum numbers requested at once for a gap that two packets confirm: the length of a long
/// burst of losses.
pub(crate) const REQUESTS_PER_EVENT: u32 = 64;
/// Maximum numbers requested for a gap that a single packet, possibly forged, has shown. Covers
/// what a slow stream loses before its next packet comes, and leaves the budget to real losses.
pub(crate) const REQUESTS_UNPROVEN: u32 = 16;
/// Distance in numbers within which a packet confirms the one that showed a gap: next to it, or
/// behind a few that were lost as well.
pub(crate) const REQUEST_NEIGHBOURS: u64 = 16;
/// Numbers that may be requested per received packet: a link that loses 20 % in both directions
/// needs 0.4.
pub(crate) const REQUESTS_PER_PACKET: f64 = 0.5;
/// Numbers that may be requested in addition per answer: a link that loses 40 % in both directions
/// needs 2.8 requests for an answer, and a producer that does not answer is sent no more requests.
pub(crate) const REQUESTS_PER_ANSWER: f64 = 3.0;
/// Numbers that may be requested per second in any case, for slow flows.
pub(crate) const REQUESTS_PER_SECOND_MIN: f64 = 64.0;
/// Maximum datagrams with requests that one channel sends in a second: one to each of thousands of
/// producers on one group; with forged producers, about 100 kB.
pub const REQUEST_DATAGRAMS_PER_SECOND: f64 = 2000.0;
/// Maximum tracked missing numbers of one session: the loss of half a second at 2,000 packets/s.
/// More are added as these arrive.
pub(crate) const REQUESTS_TRACKED_MAX: usize = 1024;
/// Maximum separate gaps of one session: this many losses within a hold. Beyond that the oldest,
/// which are given up first anyway, are dropped.
pub(crate) const REQUEST_GAPS_MAX: usize = 256;
/// Maximum remembered requests, to measure how long their answers take: those of a hold at a usual
/// loss rate.
pub(crate) const REQUESTS_LOGGED: usize = 512;
/// Requests due within this time are sent together: less than a tick, and one datagram instead of
/// several.
pub(crate) const REQUEST_SLACK: Duration = Duration::from_millis(1);
/// Minimum wait before a missing number is requested, on a path that has not reordered: a tick, so
/// that packets read from two sockets in one turn are not requested.
pub const REQUEST_WAIT_MIN: Duration = Duration::from_millis(5);
/// Where other receivers may request the same packets, the first requests are spread over this
/// many round trips, so that the answer to one reaches the others before they send theirs.
pub(crate) const REQUEST_SPREAD_TRIPS: u32 = 3;
/// Minimum of that spread: both sides' ticks add to the round trip.
pub(crate) const REQUEST_SPREAD_MIN: Duration = Duration::from_millis(20);
/// Maximum of that spread, as a part of the hold.
pub(crate) const REQUEST_SPREAD_SHARE: u32 = 4;
/// Time to wait for an answer before a round trip was measured: a distant host on the same
/// continent.
pub(crate) const RETRY_START: Duration = Duration::from_millis(100);
/// Minimum time to wait for an answer: two ticks.
pub const RETRY_MIN: Duration = Duration::from_millis(10);
/// Maximum round trip: the longest hold. A longer time is not a measurement.
pub(crate) const ROUND_TRIP_MAX: Duration = HOLD_CONFIG_MAX;
/// Maximum RIST senders of one channel: its own, one per leg, and a few others on the same group.
pub(crate) const RIST_PEERS_MAX: usize = 16;
/// Interval of receiver reports: RIST requires at least one every 100 ms (TR-06-1), and a tick of
/// the packet thread may be added.
pub(crate) const RIST_REPORT_INTERVAL: Duration = Duration::from_millis(90);
/// A sender's report is answered at once, unless the last report to it was sent less than this
/// before.
pub(crate) const RIST_REPORT_GAP_MIN: Duration = Duration::from_millis(40);
/// Interval at which the round trip to a RIST sender is measured.
pub(crate) const RIST_ECHO_INTERVAL: Duration = Duration::from_secs(1);
/// The same interval before the first answer.
pub(crate) const RIST_ECHO_FIRST: Duration = Duration::from_millis(200);
/// Silence after which a RIST sender is forgotten: 50 of its reports are missing.
pub(crate) const RIST_PEER_IDLE: Duration = Duration::from_secs(5);
/// Requests per number for which the automatic hold leaves time: with 10 % of loss in both
/// directions, 0.1 % of the lost packets remain lost.
pub const HOLD_REQUESTS: u32 = 4;
/// Where more requests fail, the hold leaves time for more of them, until this share of the lost
/// packets remains.
pub(crate) const HOLD_REQUESTS_LEFT: f64 = 1e-3;
/// Number of requests over which the share of failed ones is averaged, approximately.
pub(crate) const REQUESTS_AVERAGED: f64 = 64.0;
/// Default time for which sent packets are kept for retransmission: the buffer of common
/// receivers.
pub const HISTORY: Duration = Duration::from_secs(1);
/// Minimum of that time: a round trip within a site.
pub const HISTORY_MIN: Duration = Duration::from_millis(10);
/// Maximum of that time: as long as any receiver's buffer, and below half of the RTP number space
/// at usual rates.
pub const HISTORY_MAX: Duration = Duration::from_secs(30);
/// Maximum packets kept: half of the RTP number space, so that a number means one packet.
pub(crate) const HISTORY_PACKETS_MAX: usize = 32_768;
/// Maximum bytes kept: 1 s at 500 Mbit/s.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;
/// Default budget for retransmissions, in percent of the media's bytes: twice the need of 10 % of
/// loss and bursts. A link that is planned for the media can carry it.
pub const RETRANSMIT_SHARE: u8 = 50;
/// Maximum budget for retransmissions: as much again as the media.
pub const RETRANSMIT_SHARE_MAX: u8 = 100;
/// Bytes that may be retransmitted at any time, however little was sent before: sensors send
/// little, and every stream has a start. A burst of 40 TS datagrams, 5 ms of a 100 Mbit/s link.
pub const RETRANSMIT_BYTES_MIN: u64 = 64 << 10;
/// Time during which a retransmitted packet is not sent again: several receivers of a group
/// request it at about the same time, and librist repeats a request after 5 ms at the earliest.
pub(crate) const RETRANSMIT_PAUSE: Duration = Duration::from_millis(4);
const _: () = assert!(HISTORY_PACKETS_MAX <= 1 << 15);
const _: () = assert!(REQUESTS_UNPROVEN <= REQUESTS_PER_EVENT);
/// Numbers of one request that are processed: an outage of 100 ms at 100 Mbit/s. A flood of
/// requests takes no more time than its datagrams. A receiver that misses more sends another.
pub const REQUEST_NUMBERS_MAX: usize = 1024;
