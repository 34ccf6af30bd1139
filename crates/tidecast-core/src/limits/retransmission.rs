//! Asking for packets again, and answering: neither side may be made to send more than its share.

use std::time::Duration;

use super::HOLD_CONFIG_MAX;

/// Requests for one number at most, as many as librist sends: what 30 % of loss in both directions
/// leaves after 20 is one in a million of what was lost.
pub const REQUESTS_MAX: u8 = 20;
/// An answer is overdue at the latest so much of a round trip after it was expected: one request
/// too many costs less than a round trip that a short hold does not have.
pub(crate) const RETRY_SLACK_SHARE: u32 = 8;
/// Requested numbers that two packets which vouch for each other can draw at once; as long as a
/// long burst of losses.
pub(crate) const REQUESTS_PER_EVENT: u32 = 64;
/// The same of one packet, which may be forged: what a slow stream loses before its next packet
/// comes, and so few that they do not use up what real losses need.
pub(crate) const REQUESTS_UNPROVEN: u32 = 16;
/// A packet so near to the one that showed a gap vouches for it: beside it, or behind a few that
/// were lost as well.
pub(crate) const REQUEST_NEIGHBOURS: u64 = 16;
/// Numbers requested for each packet that comes: a link that loses 20 % in both directions needs
/// 0.4.
pub(crate) const REQUESTS_PER_PACKET: f64 = 0.5;
/// Numbers that each answer lets be requested besides: a link that loses 40 % in both directions
/// needs 2.8 requests for an answer, and a producer that does not answer draws no more than
/// without.
pub(crate) const REQUESTS_PER_ANSWER: f64 = 3.0;
/// Numbers requested per second at least, for slow flows.
pub(crate) const REQUESTS_PER_SECOND_MIN: f64 = 64.0;
/// Datagrams with requests that one channel sends in a second: with thousands of producers on one
/// group one from each, and with made-up ones some 100 kB.
pub const REQUEST_DATAGRAMS_PER_SECOND: f64 = 2000.0;
/// Numbers of one session on the list: what half a second at 2,000 packets/s loses; more follow as
/// these come.
pub(crate) const REQUESTS_TRACKED_MAX: usize = 1024;
/// Gaps of one session that are kept apart: as many losses within a hold; the oldest are then given
/// up first anyway.
pub(crate) const REQUEST_GAPS_MAX: usize = 256;
/// Requests remembered to measure how long their answers take: those of a hold at a usual rate of
/// losses.
pub(crate) const REQUESTS_LOGGED: usize = 512;
/// Requests due within this time go out together: less than a tick, and one datagram instead of
/// several.
pub(crate) const REQUEST_SLACK: Duration = Duration::from_millis(1);
/// A missing number is waited for at least so long before it is asked for, on a path that has not
/// reordered: a tick, so that packets read from two sockets in one turn are not asked for.
pub const REQUEST_WAIT_MIN: Duration = Duration::from_millis(5);
/// Where others may ask for the same, the first requests are spread over so many round trips, so
/// that the answer to one reaches the others before they ask.
pub(crate) const REQUEST_SPREAD_TRIPS: u32 = 3;
/// And over at least this time: ticks here and there are part of the way.
pub(crate) const REQUEST_SPREAD_MIN: Duration = Duration::from_millis(20);
/// And over at most this part of the hold.
pub(crate) const REQUEST_SPREAD_SHARE: u32 = 4;
/// How long an answer is waited for before a round trip was measured: far away on one continent.
pub(crate) const RETRY_START: Duration = Duration::from_millis(100);
/// How long an answer is waited for at least: two ticks.
pub const RETRY_MIN: Duration = Duration::from_millis(10);
/// What takes longer than the longest hold is no round trip.
pub(crate) const ROUND_TRIP_MAX: Duration = HOLD_CONFIG_MAX;
/// RIST senders of one channel: its own, its legs', and a few that others send to the same group.
pub(crate) const RIST_PEERS_MAX: usize = 16;
/// RIST receivers report at least every 100 ms (TR-06-1); a tick of the packet path may come on
/// top.
pub(crate) const RIST_REPORT_INTERVAL: Duration = Duration::from_millis(90);
/// A sender's own report is answered at once, unless it was reported to so shortly before.
pub(crate) const RIST_REPORT_GAP_MIN: Duration = Duration::from_millis(40);
/// How often the round trip to a RIST sender is measured.
pub(crate) const RIST_ECHO_INTERVAL: Duration = Duration::from_secs(1);
/// The same before the first answer.
pub(crate) const RIST_ECHO_FIRST: Duration = Duration::from_millis(200);
/// A RIST sender that was silent for so long is gone: 50 of its reports are missing.
pub(crate) const RIST_PEER_IDLE: Duration = Duration::from_secs(5);
/// The automatic hold leaves time for so many requests: 10 % of loss in both directions leave 0.1 %
/// of what was lost.
pub const HOLD_REQUESTS: u32 = 4;
/// And for more where more requests fail, so that as much is left of what was lost.
pub(crate) const HOLD_REQUESTS_LEFT: f64 = 1e-3;
/// The share of requests that fail is the average of about so many.
pub(crate) const REQUESTS_AVERAGED: f64 = 64.0;
/// How long what was sent is kept for those who ask for it again, by default: the buffer of common
/// receivers.
pub const HISTORY: Duration = Duration::from_secs(1);
/// The shortest such time: a round trip within a site.
pub const HISTORY_MIN: Duration = Duration::from_millis(10);
/// The longest such time: as long as any receiver's buffer, and below half of what RTP can number
/// at usual rates.
pub const HISTORY_MAX: Duration = Duration::from_secs(30);
/// Packets kept at most: half of the numbers of RTP, so that a number means one packet.
pub(crate) const HISTORY_PACKETS_MAX: usize = 32_768;
/// Bytes kept at most: 1 s at 500 Mbit/s.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;
/// What retransmissions may use on top of the media, in percent of its bytes, by default: twice 10
/// % of loss and bursts, and a link that is planned for the media does not break down.
pub const RETRANSMIT_SHARE: u8 = 50;
/// The largest such share: as much again as the media.
pub const RETRANSMIT_SHARE_MAX: u8 = 100;
/// Bytes that may be sent again at any time, however little was sent before: sensors send little,
/// and all streams have a beginning. A burst of 40 TS datagrams, 5 ms of a 100 Mbit/s link.
pub const RETRANSMIT_BYTES_MIN: u64 = 64 << 10;
/// How long nobody gets the same packet again: several receivers of a group ask for it at about the
/// same time, and librist asks again after 5 ms at the earliest.
pub(crate) const RETRANSMIT_PAUSE: Duration = Duration::from_millis(4);
const _: () = assert!(HISTORY_PACKETS_MAX <= 1 << 15);
const _: () = assert!(REQUESTS_UNPROVEN <= REQUESTS_PER_EVENT);
/// Numbers of one request that are looked at: an outage of 100 ms at 100 Mbit/s, and a flood costs
/// no more time than its datagrams do. A receiver that misses more asks again.
pub const REQUEST_NUMBERS_MAX: usize = 1024;
