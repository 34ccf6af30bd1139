//! Every bound of the program, with its reason. A queue, map, loop or buffer without a bound here is a bug.

use std::time::Duration;

/// Memory of one receive slot: holds any datagram of an Ethernet path (1,500) and most jumbo tunnels; larger
/// datagrams get memory of their own.
pub const SLOT_BYTES: usize = 2048;
/// The largest UDP payload over IPv4: 65,535 minus 20 (IP) minus 8 (UDP).
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Hold before anything was measured: covers usual LAN and Wi-Fi reordering.
pub const HOLD_START: Duration = Duration::from_millis(50);
/// The automatic hold never goes below this: one scheduling hiccup of the sender must not cost a packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// The automatic hold never goes above this: a player's own buffer is about that long.
pub const HOLD_MAX: Duration = Duration::from_millis(500);
/// The same where a RIST sender is asked: the buffer that RIST receivers usually have.
pub const HOLD_MAX_RIST: Duration = Duration::from_secs(1);
/// The longest hold that a configuration may name: beyond it a gap looks like an outage to every player.
pub const HOLD_CONFIG_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(SLOT_BYTES >= 1500 && SLOT_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(HOLD_MIN.as_millis() <= HOLD_START.as_millis());
const _: () = assert!(HOLD_START.as_millis() <= HOLD_MAX.as_millis());

/// A leg that brought nothing for so long is out, if it had three packets to bring meanwhile: longer than a video frame's
/// pause, and no gap waits for it any longer.
pub const LEG_OUT_MIN: Duration = Duration::from_millis(100);
/// Another leg may bring a number so long after the first one at least: a tick, since sockets are read one after the other.
pub const LEG_TURN: Duration = Duration::from_millis(5);
/// Numbers of one flow for which is known which legs brought them, at first; as many as may be there within the longest
/// hold when needed, at most the reorder window.
pub const LEG_NUMBERS_MIN: usize = 64;
/// When a leg passed a number is known to such a part of the longest hold: 2 ms of 500, in 6 KB.
pub const LEG_PROGRESS_STEPS: u32 = 256;
/// Gain of the skew that is shown for a leg: that of the interarrival jitter.
pub const SKEW_GAIN: f64 = JITTER_GAIN;
/// A leg's number that is older than what is remembered is taken for a lagging one if it is at most so many of the
/// longest hold behind the head: beyond that its producer counts anew.
pub const LEG_LAG_HOLDS: u32 = 4;

/// How long the automatic hold remembers what it needed; it falls after two of these.
pub const HOLD_FALL_WINDOW: Duration = Duration::from_secs(12);
/// A channel's jitter is the largest among the flows heard within this time.
pub const JITTER_RECENT: Duration = Duration::from_secs(10);
/// Gain of the interarrival jitter estimate (RFC 3550, A.8).
pub const JITTER_GAIN: f64 = 1.0 / 16.0;
/// The rate of a flow is measured over this long.
pub const RATE_WINDOW: Duration = Duration::from_millis(250);
/// The least distance ahead of the head that counts as reordering or loss, not as a jump: small enough that
/// a restart 400 numbers away is seen as one, large enough for a burst of losses at a low rate.
pub const REORDER_PACKETS_MIN: u64 = 64;
/// The same before a flow's rate is known.
pub const REORDER_PACKETS_START: u64 = 256;
/// The largest reorder window of one flow: 500 ms at 16,000 packets/s, 160 Mbit/s of media.
pub const REORDER_PACKETS_MAX: u64 = 8192;
/// Packets kept for one flow while its numbering awaits confirmation.
pub const CANDIDATES_MAX: usize = 64;
/// Consecutive packets with known content that count as a restart: a burst of duplicates is shorter.
pub const REPEATS_MAX: usize = 16;
/// A flow's first packets are collected this long before its first number is fixed, so that packets which
/// were swapped at the very start still go out in order.
pub const START_GRACE: Duration = Duration::from_millis(10);
/// A native session whose first number seen is below this is taken to have begun at 0.
pub const START_AT_ZERO: u64 = 64;
/// The longest that silence must last before an unconfirmed numbering is believed on a slow flow.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Flows of one channel, by default: each costs about 1 KiB, and some KiB more once it had a gap.
pub const FLOWS_MAX: usize = 16_384;
/// Memory that one channel may hold back for reordering, confirmation and FEC, by default.
pub const CHANNEL_BYTES_MAX: usize = 64 << 20;
/// As long as a channel holds back less than this, small datagrams wait in the slots that they were received into,
/// since moving them costs as much as relaying them; 128 slots, which a core's own cache still holds.
pub const LOOSE_BYTES_MAX: usize = 128 * SLOT_BYTES;
/// Last states kept of flows that ended or were forgotten, for the summary of `recv`: a few hundred bytes each.
pub const DEPARTED_MAX: usize = 4096;
/// A flow that has been silent this long is forgotten.
pub const FLOW_IDLE: Duration = Duration::from_secs(300);
/// How often idle flows are looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers that one source block may span (k times stride), and thus packets kept for recovery.
pub const FEC_SPAN_MAX: u64 = 8192;
/// Source blocks open at once in one flow: the lanes of the largest stride, twice.
pub const FEC_BLOCKS_MAX: usize = 512;
/// Packets of a new session kept until its first repair packet shows whether it has FEC at all.
pub const FEC_LEARN_PACKETS: u64 = 128;
/// The same in time, for slow flows: so many times the longest hold, after which nothing waits for a repair packet.
pub const FEC_LEARN_HOLDS: u32 = 4;
/// At least this time: a producer's first blocks may take longer than later ones.
pub const FEC_LEARN_TIME_MIN: Duration = Duration::from_secs(2);
/// After so many numbers without a repair packet, a session's packets are no longer kept for recovery.
pub const FEC_FORGET_PACKETS: u64 = 2048;

/// Multiplications to rebuild packets (`fec::rs::Codes::work`) that one packet pays for, apart from its bytes: what a
/// block of 127 takes for each packet when it lost all of them, which is the most. So a block of any shape is paid for
/// by as many packets as it has; repair packets alone, forged ones that is, buy none.
pub const FEC_WORK_PER_PACKET: u64 = 1 << 15;
/// The same for each of its bytes.
pub const FEC_WORK_PER_BYTE: u64 = 255;
/// Work saved up at most: what the largest block can take (k = 128, m = 127, 65,507 bytes); a second of one core that
/// has no vector instructions.
pub const FEC_WORK_MAX: u64 = (1 << 30) + (1 << 26);
/// Work that a session may begin with: enough for a first block of usual size that lost most of its packets.
pub const FEC_WORK_START: u64 = 1 << 25;

/// Columns (L) of an ST 2022-1 matrix: the standard's bound.
pub const ST2022_COLUMNS_MAX: u8 = 20;
/// Columns when rows are protected as well: the standard's bound.
pub const ST2022_ROW_LENGTH_MIN: u8 = 4;
/// Rows (D) of an ST 2022-1 matrix: the standard's bounds.
pub const ST2022_ROWS_MIN: u8 = 4;
/// See [`ST2022_ROWS_MIN`].
pub const ST2022_ROWS_MAX: u8 = 20;
/// RTP flows of one channel whose packets are kept for ST 2022-1, and among which a repair packet, which does not name
/// its own, is looked for. A channel has one, its predecessor, and a few that others send to the same group.
pub const ST2022_FLOWS_MAX: usize = 16;
/// Media packets of one ST 2022-1 matrix that we send: the standard's bound.
pub const ST2022_MATRIX_MAX: u16 = 100;
/// Media packets of one ST 2022-1 matrix that we understand: senders that go beyond the standard exist, and ten times
/// as many fit into a hold.
pub const ST2022_SPAN_MAX: u64 = 1024;
/// Matrices whose packets are kept: the one that is sent, the one whose columns are sent meanwhile, and one for
/// reordering.
pub const ST2022_MATRICES_KEPT: u64 = 3;
/// ST 2022-1 repair packets kept because they miss media: all rows and columns of three matrices of the standard's
/// largest sum (20 x 5 and 5 x 20), and as many again of other shapes.
pub const ST2022_REPAIRS_MAX: usize = 160;
/// Bytes XORed that each byte of a media packet pays for. Rows and columns XOR each packet twice; forged repair packets
/// alone pay for nothing. A stream of 10 Mbit/s so costs at most 80 MB of XOR a second, under 1 % of a core.
pub const ST2022_WORK_PER_BYTE: u64 = 64;
/// Work saved up at most, and what a stream begins with: all of a matrix of the largest packets, once.
pub const ST2022_WORK_MAX: u64 = ST2022_SPAN_MAX * DATAGRAM_BYTES_MAX as u64;
/// How long a packet that no later one has overtaken may still be on its way when its repair packet has come: repair
/// packets have sockets of their own and may be read first. Two ticks.
pub const ST2022_TAIL_GRACE: Duration = Duration::from_millis(10);

const _: () = assert!(REORDER_PACKETS_START <= REORDER_PACKETS_MAX && REORDER_PACKETS_MAX < 1 << 15);
/// How long protected media may pause before the repair packets of the last of them go out, a matrix that is not full
/// included: longer than the packets of a stream of 50 kbit/s are apart, and well within a usual hold.
pub const ST2022_PAUSE: Duration = Duration::from_millis(250);
const _: () = assert!(ST2022_MATRICES_KEPT * ST2022_SPAN_MAX < 1 << 14);
const _: () = assert!(FEC_FORGET_PACKETS > FEC_LEARN_PACKETS);

// Paced release (`relay::paced`).

/// The automatic delay at the start: a hold at its start, 100 ms of jitter, and a PCR interval of 40 ms.
pub const PACED_DELAY_START: Duration = Duration::from_millis(200);
/// The same beyond a longer hold.
pub const PACED_JITTER_START: Duration = Duration::from_millis(150);
/// The longest automatic delay: whoever needs more has an outage, which no delay hides.
pub const PACED_DELAY_MAX: Duration = Duration::from_secs(2);
/// The longest delay that a configuration may name: twice the longest hold's, and memory for 20 s of the stream.
pub const PACED_DELAY_CONFIG_MAX: Duration = Duration::from_secs(20);
/// What the automatic delay adds to what packets have needed: a late turn of the packet path.
pub const PACED_MARGIN: Duration = Duration::from_millis(10);
/// For so long after its start a source's delay rises at once: receivers have just begun, too.
pub const PACED_YOUNG: Duration = Duration::from_secs(5);
/// After that it rises by so much per time: 1 ms a second, which no decoder hears.
pub const PACED_SLEW: f64 = 1e-3;
/// What packets needed is looked at in windows of this length; what two in a row needed counts.
pub const PACED_NEED_WINDOW: Duration = Duration::from_secs(10);
/// A packet may leave so much before its time: timers are about as exact, and one too early by less would only be
/// set again.
pub const PACED_SLACK: Duration = Duration::from_micros(50);
/// A packet that comes so much after its time is late.
pub const PACED_LATE: Duration = Duration::from_millis(1);
/// A source's clock that is so far off both its own rate and ours has jumped. Beyond any jitter, below the lead of a
/// splice.
pub const PACED_JUMP: Duration = Duration::from_millis(500);
/// Packets of one time stamp are spread over no more than this: a picture at 10 a second.
pub const PACED_SPREAD_MAX: Duration = Duration::from_millis(100);
/// A clock that stands still for so long while packets come is none (ISO/IEC 13818-1 asks for a PCR every 100 ms).
pub const PACED_CLOCK_SILENT: Duration = Duration::from_secs(2);
/// The clock rate of a dynamic RTP payload type is measured over this long: with 40 ms of jitter to 1.6 %,
pub const RATE_GUESS_TIME: Duration = Duration::from_millis(2500);
/// and not before: senders begin with a burst.
pub const RATE_GUESS_AFTER: Duration = Duration::from_millis(500);
/// Smoothed arrivals that are further off begin anew: not a steady rate.
pub const SMOOTH_OFF_MAX: Duration = Duration::from_millis(250);
/// Pictures sent before one that is shown first: H.264's and H.265's largest picture buffer.
pub const PICTURES_REORDERED_MAX: usize = 16;
/// The smallest transit time is looked for in windows of at least this length,
pub const CLOCK_WINDOW: Duration = Duration::from_secs(1);
/// and so many packets, so that a fast one is likely among them,
pub const CLOCK_WINDOW_SAMPLES: u32 = 16;
/// but no longer than this.
pub const CLOCK_WINDOW_MAX: Duration = Duration::from_secs(16);
/// The drift is fitted to so many windows if they agree within microseconds,
pub const CLOCK_FIT_MIN: f64 = 32.0;
/// and to as many more as they scatter, in milliseconds, up to so many: minutes, in which temperatures hardly change.
pub const CLOCK_FIT_MAX: f64 = 256.0;
/// The largest drift between two clocks that is followed: ten times that of a bad quartz.
pub const CLOCK_DRIFT_MAX: f64 = 1e-3;
/// How fast an error of the phase is made good at most: decoders follow that.
pub const CLOCK_PULL_MAX: f64 = 5e-4;
/// When all packets of a window come so much earlier than before, the delay makes one step; less is made good slowly.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);

const _: () = assert!(HOLD_CONFIG_MAX.as_millis() < PACED_DELAY_CONFIG_MAX.as_millis());
const _: () = assert!(PACED_DELAY_START.as_millis() <= PACED_DELAY_MAX.as_millis());
// Asking for packets again.

/// Requests for one number at most: RIST's usual bound (TR-06-1); what 10 % of loss in both directions leaves after
/// seven is one in 100,000 of what was lost.
pub const REQUESTS_MAX: u8 = 7;
/// Requested numbers that one packet, which may be forged, can draw; as long as a long burst of losses.
pub const REQUESTS_PER_EVENT: u32 = 64;
/// A packet so near to the one that showed a gap vouches for it: beside it, or behind a few that were lost as well.
pub const REQUEST_NEIGHBOURS: u64 = 16;
/// Numbers requested for each packet that comes: a link that loses 20 % in both directions needs 0.4.
pub const REQUESTS_PER_PACKET: f64 = 0.5;
/// Numbers requested per second at least, for slow flows.
pub const REQUESTS_PER_SECOND_MIN: f64 = 64.0;
/// Datagrams with requests that one channel sends in a second: with thousands of producers on one group one from each,
/// and with made-up ones some 100 kB.
pub const REQUEST_DATAGRAMS_PER_SECOND: f64 = 2000.0;
/// Numbers of one session on the list: what half a second at 2,000 packets/s loses; more follow as these come.
pub const REQUESTS_TRACKED_MAX: usize = 1024;
/// Gaps of one session that are kept apart: as many losses within a hold; the oldest are then given up first anyway.
pub const REQUEST_GAPS_MAX: usize = 256;
/// Requests remembered to measure how long their answers take: those of a hold at a usual rate of losses.
pub const REQUESTS_LOGGED: usize = 512;
/// Requests due within this time go out together: less than a tick, and one datagram instead of several.
pub const REQUEST_SLACK: Duration = Duration::from_millis(1);
/// A missing number is waited for at least so long before it is asked for, on a path that has not reordered: a tick, so
/// that packets read from two sockets in one turn are not asked for.
pub const REQUEST_WAIT_MIN: Duration = Duration::from_millis(5);
/// Where others may ask for the same, the first requests are spread over so many round trips, so that the answer to
/// one reaches the others before they ask.
pub const REQUEST_SPREAD_TRIPS: u32 = 3;
/// And over at least this time: ticks here and there are part of the way.
pub const REQUEST_SPREAD_MIN: Duration = Duration::from_millis(20);
/// And over at most this part of the hold.
pub const REQUEST_SPREAD_SHARE: u32 = 4;
/// How long an answer is waited for before a round trip was measured: far away on one continent.
pub const RETRY_START: Duration = Duration::from_millis(100);
/// How long an answer is waited for at least: two ticks.
pub const RETRY_MIN: Duration = Duration::from_millis(10);
/// What takes longer than the longest hold is no round trip.
pub const ROUND_TRIP_MAX: Duration = HOLD_CONFIG_MAX;
/// RIST senders of one channel: its own, its legs', and a few that others send to the same group.
pub const RIST_PEERS_MAX: usize = 16;
/// RIST receivers report at least every 100 ms (TR-06-1); a tick of the packet path may come on top.
pub const RIST_REPORT_INTERVAL: Duration = Duration::from_millis(90);
/// A sender's own report is answered at once, unless it was reported to so shortly before.
pub const RIST_REPORT_GAP_MIN: Duration = Duration::from_millis(40);
/// How often the round trip to a RIST sender is measured.
pub const RIST_ECHO_INTERVAL: Duration = Duration::from_secs(1);
/// The same before the first answer.
pub const RIST_ECHO_FIRST: Duration = Duration::from_millis(200);
/// A RIST sender that was silent for so long is gone: 50 of its reports are missing.
pub const RIST_PEER_IDLE: Duration = Duration::from_secs(5);
/// The automatic hold leaves time for so many requests: 10 % of loss in both directions leave 0.1 % of what was lost.
pub const HOLD_REQUESTS: u32 = 4;

// Wire formats and codes.

/// Ranges of one native NACK: the format's bound; 644 bytes, so that a NACK is one small datagram.
pub const NACK_RANGES_MAX: usize = 64;
/// Bytes of a custom layout's stream id, all its parts joined: a UUID and as much again, while it stays cheap to
/// copy and to hash.
pub const CUSTOM_ID_BYTES_MAX: usize = 32;
/// Bytes of a text that a custom layout matches: any protocol's magic is shorter.
pub const CUSTOM_TEXT_BYTES_MAX: usize = 64;
/// `match` parts, and `id` parts, of a custom layout: each costs time for every datagram.
pub const CUSTOM_PARTS_MAX: usize = 8;
/// Reed-Solomon codes kept ready: a block's own, and those of blocks that were closed early.
pub const FEC_CODES_MAX: usize = 8;

/// Gaps remembered per session, so that the automatic hold learns from packets that came too late.
pub const SKIPPED_REMEMBERED: usize = 32;
/// Numbers that one datagram may take (`step`): a datagram has no room for more messages than it has bytes.
pub const SPAN_NUMBERS_MAX: u64 = DATAGRAM_BYTES_MAX as u64;
/// Numbers remembered per flow to recognise a rebuild that was not needed.
pub const REBUILT_REMEMBERED: usize = 256;
/// Numbers above this are refused: no producer counts so far, and arithmetic on them stays exact.
pub const NUMBER_MAX: u64 = 1 << 62;
/// Datagrams kept for reuse by the core between two calls of its owner.
pub const SPENT_MAX: usize = 256;

// Sockets.

/// Datagrams per `recvmmsg`: at 64 the call's own cost is a few ns a packet, and more gains nothing.
pub const RECEIVE_BATCH: usize = 64;
/// Messages per `sendmmsg`: likewise; the kernel would take 1,024.
pub const SEND_BATCH: usize = 64;
/// Receive buffer asked for per leg, as the kernel charges it: a 1,316-byte media packet is charged 2,304 bytes,
/// so this holds 1,820 of them, which is 200 ms at 96 Mbit/s: longer than a busy machine keeps a thread waiting.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Send buffer asked for per output: 450 media packets, a tick of 5 ms at 900 Mbit/s; what does not fit is dropped.
pub const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Send buffer that an output must have when it shares a socket: 28 media packets, a tick of 5 ms at 60 Mbit/s. Where
/// the system's limit is the usual 416 KiB, six outputs share a socket.
pub const SEND_BUFFER_SHARE: usize = 64 << 10;
/// Outputs that share a socket at most: one `sendmmsg` then reaches all of them.
pub const SOCKET_OUTPUTS_MAX: usize = 64;
/// Datagrams of one size that are sent to one target at once, by default. Longer bursts cost less CPU, but overflow
/// the small buffers of switches and Wi-Fi.
pub const BURST: u64 = 7;
/// The longest burst: the segments that UDP_SEGMENT takes on older kernels (UDP_MAX_SEGMENTS).
pub const BURST_MAX: u64 = 64;
/// Lost numbers that an RTP output leaves out of its own numbers at most: one less than the jump that receivers take for
/// another stream (MAX_DROPOUT of RFC 3550, A.1).
pub const RTP_GAP_MAX: u64 = 2_999;
/// For how long a path that refused a burst gets single datagrams: its route, and with it the MTU, may change.
pub const BURST_RETRY: Duration = Duration::from_secs(60);
/// How often a leg looks whether its interface came, went or was made anew. With 1 s it is back within 2 s.
pub const LEG_CHECK: Duration = Duration::from_secs(1);
/// The age at which the list of interfaces is read again: a few readings a second, however many sockets ask.
pub const INTERFACES_AGE_MAX: Duration = Duration::from_millis(250);
/// How often an output that cannot send is opened again.
pub const OUTPUT_RETRY: Duration = Duration::from_secs(1);
/// How often an output to a group or with an interface looks whether that interface or its address has changed.
pub const OUTPUT_CHECK: Duration = Duration::from_secs(5);
/// The shortest time between two log lines about the same trouble of one leg or output.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

// Models of a bad link.

/// Datagrams that one modelled link holds back: at 1316 bytes about 86 MB, and more than six seconds of
/// 10,000 packets a second. What comes on top is dropped and counted, as a router's full queue would.
pub const LINK_PACKETS_MAX: usize = 65_536;
/// The largest reorder distance of a modelled link: far beyond any reorder window, far below what it can hold.
pub const LINK_DISTANCE_MAX: u32 = 10_000;
/// The largest delay and jitter of a modelled link, so that adding them to any clock reading cannot overflow.
pub const LINK_DELAY_MAX: Duration = Duration::from_secs(60);
/// A modelled link waits this long for the later packets that a reordered one has to let pass; when none
/// comes, the input has paused and the packet goes on.
pub const LINK_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!((LINK_DISTANCE_MAX as usize) < LINK_PACKETS_MAX);

// The `impair` command.

/// Flows that are counted one by one; the others are counted together. Four times the largest group we know of.
pub const IMPAIR_FLOWS_MAX: usize = 4096;
/// Batches received before what is due is sent: 4,096 datagrams, a millisecond or two of work.
pub const IMPAIR_BATCHES_MAX: usize = 64;
/// How long a request to stop may go unnoticed.
pub const IMPAIR_STOP_CHECK: Duration = Duration::from_millis(50);
/// How long delayed datagrams may still come out in their time after a request to stop; then all come at once.
pub const IMPAIR_DRAIN_MAX: Duration = Duration::from_secs(1);

// Chunks for HTTP and what else is not UDP.

/// Bytes of a chunk, if it has more than one packet: 100 ms at 80 Mbit/s; a faster stream has earlier ones.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// How long payloads are collected for a chunk, by default: at 8 Mbit/s it then has 15 packets, and writing to a client
/// costs a tenth of writing each packet.
pub const CHUNK: Duration = Duration::from_millis(20);
/// The longest such time: a player that joins would see nothing for so long.
pub const CHUNK_MAX: Duration = Duration::from_secs(1);
/// A chunk may leave this part of its time early, with others that are due: a turn for each channel's chunk alone
/// would double the turns of the packet path.
pub const CHUNK_SLACK: u32 = 8;
/// The same in time: less than a usual tick, or every chunk would leave a tick early.
pub const CHUNK_EARLY_MAX: Duration = Duration::from_millis(2);
/// Bytes of a tap's chunks that wait for those who write them to the clients: 16 s at 8 Mbit/s, 0.3 s at 400; whoever
/// is later than that does not run at all.
pub const TAP_BYTES_MAX: usize = 16 << 20;
/// Flows of one channel that are read one by one at the same time. What carries more than one flow does not count.
pub const TAPS_MAX: usize = 1024;

// Recordings (`egress/record`, `commands/send/capture`).

/// Bytes of a recording's file, by default: opens at once in Wireshark; 20 s at 40 Mbit/s.
pub const RECORDING_BYTES: u64 = 100_000_000;
/// The smallest such size: the largest packet must fit.
pub const RECORDING_BYTES_MIN: u64 = 100_000;
/// The largest such size: a day at 90 Mbit/s.
pub const RECORDING_BYTES_MAX: u64 = 1_000_000_000_000;
/// Files of a channel that are kept, by default: a gigabyte.
pub const RECORDING_FILES: usize = 10;
/// Files of a channel at most: a folder is listed whenever one begins.
pub const RECORDING_FILES_MAX: usize = 100_000;
/// What was recorded is on the disk after so long: a crash loses at most a second, time for the writing included.
pub const RECORDING_FLUSH: Duration = Duration::from_millis(500);
/// Bytes that are written at once, if the time has not come before: a few writes per second at a high rate.
pub const RECORDING_WRITE_BYTES: usize = 1 << 20;
/// Bytes that wait for a slow disk: 13 s at 40 Mbit/s; disks that are busy with others take seconds at times.
pub const RECORDING_QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long the end of a recording may take, on a disk that is slow: longer than other ends, since what is not written is
/// lost.
pub const RECORDING_DRAIN_MAX: Duration = Duration::from_secs(5);
/// Bytes of one capture's block when it is played: more than the largest packet with the longest comments.
pub const CAPTURE_BLOCK_BYTES_MAX: usize = 16 << 20;
/// Bytes of a capture that are read at once.
pub const CAPTURE_READ_BYTES: usize = 256 << 10;
/// Streams of a capture that a message lists.
pub const CAPTURE_STREAMS_SHOWN: usize = 10;

// UDP subscribers on request (`subscribe`).

/// How long a cookie is good for: a round trip over any link, and a few attempts.
pub const COOKIE_VALID: Duration = Duration::from_secs(15);
/// How long a key makes cookies; those of the key before are good for longer than any cookie is.
pub const COOKIE_KEY_LIFE: Duration = Duration::from_secs(60);
const _: () = assert!(COOKIE_KEY_LIFE.as_secs() > COOKIE_VALID.as_secs());
/// Answers per second to those who do not subscribe (yet): a tenth of a core, and twice the flood under which newcomers
/// are still to be served.
pub const UDP_ANSWERS_PER_SECOND: u32 = 20_000;
/// How long a stream comes without a renewal, by default.
pub const UDP_LEASE: Duration = Duration::from_secs(30);
/// The shortest lease: each renewal is a packet, and seconds are the unit of the messages.
pub const UDP_LEASE_MIN: Duration = Duration::from_secs(3);
/// The longest lease: whoever has vanished gets the stream for so long.
pub const UDP_LEASE_MAX: Duration = Duration::from_secs(3600);
/// Renewals within a lease: two may be lost.
pub const UDP_RENEWALS: u32 = 3;
/// How long a subscriber waits for an answer.
pub const UDP_ASK_AGAIN: Duration = Duration::from_secs(1);
/// Subscribers at the same time, by default: each costs as much as an output.
pub const UDP_CLIENTS: u64 = 100;
/// Subscribers at most.
pub const UDP_CLIENTS_MAX: u64 = 10_000;
/// Bytes of a token: what a request has room for.
pub const UDP_TOKEN_BYTES_MAX: usize = 128;
/// Requests that are read before the streams have their turn.
pub const UDP_REQUESTS_AT_ONCE: usize = 64;
/// Bytes of receive buffer for requests: a burst of 10,000 of them.
pub const UDP_REQUEST_BUFFER: usize = 8 << 20;
/// How often leases are looked at.
pub const UDP_LEASE_CHECK: Duration = Duration::from_millis(500);

// The packet path.

/// How long deadlines wait for what is still in the sockets: a few turns, and less than the shortest usual hold.
pub const BACKLOG_MAX: Duration = Duration::from_millis(10);
/// Batches received from one leg before the others have their turn.
pub const LEG_BATCHES: usize = 16;
/// Free receive slots kept by one packet thread: 8 MiB, two full batches of 64 legs.
pub const POOL_SLOTS: usize = 4096;
/// Events taken from epoll at once: all legs of a large configuration, so that a tick asks once.
pub const EPOLL_EVENTS: usize = 1024;
/// Under load a packet thread sleeps at least so long, or a tick if that is shorter: what is due within a millisecond
/// goes out together.
pub const WAKE_MIN: Duration = Duration::from_millis(1);
/// More packets than this within one tick are worth a tick's wait.
pub const TICK_PACKETS: usize = 2;

// What a configuration may ask for, and what it gets when it does not ask (`config`).

/// The default tick: batches of a busy stream, and a delay that no player notices.
pub const TICK: Duration = Duration::from_millis(5);
/// The longest tick: a receive buffer of usual size lasts about that long at 500 Mbit/s.
pub const TICK_MAX: Duration = Duration::from_millis(100);
/// Threads on the packet path: no host has more cores to give to one relay.
pub const THREADS_MAX: u64 = 64;
/// Channels per process: each needs sockets, and a process has 1,024 to 65,536 file descriptors.
pub const CHANNELS_MAX: usize = 4096;
/// Legs per channel: a leg's number is a byte in the core, and two paths are the usual case.
pub const LEGS_MAX: usize = 32;
/// UDP outputs per channel: every packet is sent to each of them in turn.
pub const OUTPUTS_MAX: usize = 1024;
/// Bytes of a channel's name: a path segment, a metric label, a column of a table.
pub const CHANNEL_NAME_BYTES_MAX: usize = 64;

/// Flows per channel that a configuration may name: their table alone is then about a gigabyte.
pub const FLOWS_CONFIG_MAX: u64 = 1_000_000;
/// Memory per channel at least: a few datagrams of the largest size must fit.
pub const CHANNEL_BYTES_CONFIG_MIN: usize = 1 << 20;
/// Memory per channel at most: 10 s of hold at 50 Gbit/s.
pub const CHANNEL_BYTES_CONFIG_MAX: usize = 64 << 30;
/// The smallest window that a configuration may name: less would take usual reordering for a jump.
pub const WINDOW_CONFIG_MIN: u64 = REORDER_PACKETS_MIN;
/// The largest window that a configuration may name: the ring takes a slot per number.
pub const WINDOW_CONFIG_MAX: u64 = 65_536;
/// The shortest time after which a silent flow may be forgotten: above every usual hold.
pub const FLOW_IDLE_MIN: Duration = Duration::from_secs(1);
/// The longest such time: a sensor with one reading a day is kept.
pub const FLOW_IDLE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long a player's flow may be silent before another one takes over, by default.
pub const FAILOVER: Duration = Duration::from_secs(1);
/// The shortest such time: shorter ones would flap between flows at every late packet.
pub const FAILOVER_MIN: Duration = Duration::from_millis(50);
/// The longest such time: by then every viewer has left.
pub const FAILOVER_MAX: Duration = Duration::from_secs(60);
/// The smallest receive buffer worth asking for: one datagram of the largest size.
pub const RECEIVE_BUFFER_MIN: usize = 64 << 10;
/// The largest receive buffer: the kernel keeps its size in a signed 32-bit number and doubles it.
pub const RECEIVE_BUFFER_MAX: usize = (1 << 30) - 1;

/// HTTP clients at the same time, by default.
pub const CLIENTS: u64 = 1000;
/// HTTP clients at most: each needs a file descriptor.
pub const CLIENTS_MAX: u64 = 100_000;
/// How long a group stays joined after its last client left: a player that reconnects finds it there.
pub const LINGER: Duration = Duration::from_secs(5);
/// The longest such time: a group costs its bandwidth even if nobody watches.
pub const LINGER_MAX: Duration = Duration::from_secs(3600);
/// How long a client may take to send its request's head, by default.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest such time: a round trip over a bad mobile link.
pub const HEADER_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest such time: half-open clients hold their place for so long.
pub const HEADER_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How long a client is kept while its stream is silent, by default: longer than a producer's pause.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// The shortest such time.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest such time: a sensor with one reading a day keeps its clients.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long a client may be behind the stream without catching up, by default: no player's buffer lasts longer.
pub const LAG_MAX: Duration = Duration::from_secs(10);
/// The shortest such time: a mobile client's change of cells takes longer than less.
pub const LAG_MAX_MIN: Duration = Duration::from_millis(500);
/// The longest such time: a player that was paused over a break.
pub const LAG_MAX_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(LEGS_MAX <= 256);
const _: () = assert!(HISTORY_PACKETS_MAX <= 1 << 15);
const _: () = assert!(LEGS_MAX <= 32, "the core keeps a bit for each");
const _: () = assert!(CHANNEL_BYTES_CONFIG_MIN >= 2 * DATAGRAM_BYTES_MAX);
const _: () = assert!(CHANNEL_BYTES_MAX <= CHANNEL_BYTES_CONFIG_MAX);
const _: () = assert!(REORDER_PACKETS_MAX <= WINDOW_CONFIG_MAX);
const _: () = assert!(TICK.as_millis() <= TICK_MAX.as_millis());
const _: () = assert!(CHUNK_EARLY_MAX.as_millis() < TICK.as_millis());

// The sending side.

/// How much of a stall a paced source catches up at once: a sleeping laptop must not send an hour of video as one
/// burst, a scheduling hiccup must not slow a stream for good.
pub const PACE_CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// The longest believable time between two PCRs (ISO 13818-1 asks for 100 ms); a longer one is a discontinuity.
pub const PCR_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Transport packets that may wait for the next PCR: 2 s at 100 Mbit/s, 25 MB.
pub const PCR_LOOKAHEAD_PACKETS_MAX: usize = 133_000;
/// How long a producer may be silent before a heartbeat says that it lives, and how often it then does.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the end of a session is said: one lost datagram must not hide it.
pub const END_REPEATS: usize = 3;
/// How long a packet waits for its source block to fill before the block is closed early.
pub const BLOCK_CLOSE_AFTER: Duration = Duration::from_millis(40);
/// The same for a file or a pipe that `send` paces: its blocks do fill, and closing them before would multiply the
/// repair packets; but no receiver waits longer than its hold.
pub const BLOCK_CLOSE_AFTER_PACED: Duration = HOLD_MAX;
/// Native streams with open source blocks on outputs with FEC: four times the largest sensor group that we know of.
pub const PROTECTED_FLOWS_MAX: usize = 4096;
/// Packets in the open blocks of all of them: 86 MB of media packets; fewer streams where blocks are large.
pub const PROTECTED_PACKETS_MAX: usize = 65_536;
/// Blocks of 64 KiB that `send` reads ahead from a pipe: smooths a slow reader, and is no memory to speak of.
pub const SEND_PIPE_BLOCKS_MAX: usize = 8;

// Retransmission, the sending side.

/// How long what was sent is kept for those who ask for it again, by default: the buffer of common receivers.
pub const HISTORY: Duration = Duration::from_secs(1);
/// The shortest such time: a round trip within a site.
pub const HISTORY_MIN: Duration = Duration::from_millis(10);
/// The longest such time: as long as any receiver's buffer, and below half of what RTP can number at usual rates.
pub const HISTORY_MAX: Duration = Duration::from_secs(30);
/// Packets kept at most: half of the numbers of RTP, so that a number means one packet.
pub const HISTORY_PACKETS_MAX: usize = 32_768;
/// Bytes kept at most: 1 s at 500 Mbit/s.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;
/// What retransmissions may use on top of the media, in percent of its bytes, by default: twice 10 % of loss and
/// bursts, and a link that is planned for the media does not break down.
pub const RETRANSMIT_SHARE: u8 = 50;
/// The largest such share: as much again as the media.
pub const RETRANSMIT_SHARE_MAX: u8 = 100;
/// Bytes that may be sent again at any time, however little was sent before: sensors send little, and all streams
/// have a beginning. A burst of 40 TS datagrams, 5 ms of a 100 Mbit/s link.
pub const RETRANSMIT_BYTES_MIN: u64 = 64 << 10;
/// How long nobody gets the same packet again: several receivers of a group ask for it at about the same time, and
/// librist asks again after 5 ms at the earliest.
pub const RETRANSMIT_PAUSE: Duration = Duration::from_millis(4);
/// Numbers of one request that are looked at: an outage of 100 ms at 100 Mbit/s, and a flood costs no more time
/// than its datagrams do. Whoever misses more asks again.
pub const REQUEST_NUMBERS_MAX: usize = 1024;

/// How often a RIST sender reports: TR-06-1 asks for every 100 ms at least, and a tick may pass before it goes out.
pub const RTCP_INTERVAL: Duration = Duration::from_millis(80);

/// Bytes of a native request that are read: the largest NACK has 672.
pub const REQUEST_BYTES_MAX: usize = 2048;
/// How long a producer waits at its end for another request, if there were any: a round trip of most networks.
pub const LINGER_REQUESTS: Duration = Duration::from_millis(200);

// HTTP and channels on demand.

/// Threads that write to clients and answer requests: each writes some 20 Gbit/s, and more of them only steal small
/// tasks from each other.
pub const RUNTIME_THREADS_MAX: usize = 4;

/// Groups joined on demand at the same time: each is a socket, a membership and a stream's bandwidth.
pub const ON_DEMAND_MAX: usize = 1024;
/// Groups on demand that get series of their own in the metrics, over the life of the process; the others share
/// one. About 25 series each, so Prometheus sees at most some thousands of them.
pub const ON_DEMAND_SERIES_MAX: usize = 256;
/// Connections beyond the streaming clients: scrapes, states, and requests that are refused.
pub const CONNECTIONS_EXTRA: usize = 64;
/// A client that does not take the answer to a request for so long is cut off.
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes of a stream that wait for a client that is behind, beyond what the kernel holds for it: 8 s at 8 Mbit/s, 1.6 s
/// at 40 Mbit/s. Clients of one stream that are behind share them.
pub const CLIENT_BACKLOG_BYTES_MAX: usize = 8 << 20;
/// What a waiting chunk counts beyond its payload: small ones have their own cost.
pub const CHUNK_COST_BYTES: usize = 128;
/// Clients that one task writes to: some milliseconds of writing, and more clients spread over the cores.
pub const FEEDER_CLIENTS_MAX: usize = 256;
/// Bytes of what a client's program calls itself that are kept: browsers' are about this long.
pub const AGENT_BYTES_MAX: usize = 160;
/// Bytes that a client may send after its request: nothing of it is read by anybody.
pub const CLIENT_CHATTER_BYTES_MAX: usize = REQUEST_HEAD_BYTES_MAX;
/// Bytes of a request's head: any URL of ours and a browser's cookies for localhost.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes of a flow's key in `?flow=`: an IPv6 address with port and zone, or 32 bytes as hexadecimal digits.
pub const FLOW_KEY_BYTES_MAX: usize = 128;
/// What a client is told to wait when there is no room: some of those who watch will have left.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long no connection is accepted after the process ran out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Flows listed per channel in the state as JSON, by default: a page shows so many.
pub const STATE_FLOWS: usize = 100;
/// Flows listed per channel at most: about 10 MB of JSON, made on the packet path.
pub const STATE_FLOWS_MAX: usize = 10_000;
/// How often the histograms' samples are folded into their buckets when nobody scrapes.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Keep-alives within the time after which the service manager (systemd, `WatchdogSec=`) gives up: sd_watchdog_enabled(3)
/// asks for two, and a third forgives one that came late.
pub const WATCHDOG_SHARE: u32 = 3;
/// How long the end may take: what is held back goes out, clients get their last bytes. Whoever presses Ctrl-C
/// expects the prompt within two seconds, and some commands have more to end than this.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// PIDs of one transport stream that are checked for continuity: a multiplex of many programmes; a stream for players
/// has under twenty.
pub const TS_PIDS_MAX: usize = 256;

/// Programmes of one transport stream whose tables are read for players: a multiplex that is sent whole has about ten.
pub const TS_PROGRAMS_MAX: usize = 16;
/// Bytes of a picture that are searched for what it is: parameter sets and supplemental information before its first
/// slice are some hundred bytes, captions a few thousand.
pub const KEY_SCAN_BYTES_MAX: usize = 16 << 10;
/// Bytes of a stream that are kept for players that begin, by default: 2 s between key frames at 32 Mbit/s, 8 s at 8.
pub const START_BYTES: usize = 8 << 20;
/// The most that may be kept of each stream.
pub const START_BYTES_MAX: usize = 256 << 20;
/// Bytes of a chunk that nobody reads yet and that is kept for players that begin: what is kept too much of the picture
/// before.
pub const START_CHUNK_BYTES: usize = 64 << 10;
/// A stream that was silent for so long begins for a player with what comes next: what came before is no picture of
/// the present.
pub const START_STALE: Duration = Duration::from_secs(10);
/// How often groups are announced: whoever opens a player's list sees them within a few seconds. RFC 2974 section 3.1
/// allows 4,000 bit/s for all announcements of a scope, ten of these.
pub const SAP_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of an announcement (RFC 2974 section 8 asks for at most 1 kB).
pub const SAP_PACKET_BYTES_MAX: usize = 1000;
/// The TTL in the description of a group that is sent with a TTL that is not known: within a site.
pub const SDP_TTL: u8 = 127;
/// How long a picture of a stream serves all who ask.
pub const SNAPSHOT_AGE: Duration = Duration::from_secs(1);
/// Pictures that are made at once: each costs up to a core for some tenths of a second.
pub const SNAPSHOTS_MAX: usize = 2;
/// How long one may take, and wait for its turn: a picture of 8K on a busy machine.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a stream that are searched for its key frame: one of 4K at a high quality.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a picture.
pub const SNAPSHOT_JPEG_BYTES_MAX: u64 = 16 << 20;
/// Pixels of a picture: 8K. What claims more is damage.
pub const SNAPSHOT_PIXELS_MAX: usize = 8192 * 4320;
/// How often a key frame that is still coming is looked for, and how long after each other.
pub const SNAPSHOT_TRIES: usize = 8;
/// See [`SNAPSHOT_TRIES`].
pub const SNAPSHOT_WAIT: Duration = Duration::from_millis(100);
/// A player may stay behind by so many times what it was given at its beginning: it reads at the pace of the film, and
/// the pictures that follow may be larger.
pub const START_LEAD: usize = 2;

// What the page shows (`observe`, `egress/http`).

/// How often the channels are looked at: what the page moves by, and no cost beside any stream.
pub const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);
/// A channel that is seen for the first time and not older than this has begun since the last look, or nearly so.
pub const OBSERVE_YOUNG: Duration = Duration::from_secs(2);
/// Samples of a channel that are kept: ten minutes, so that whoever comes after a disturbance still sees it.
pub const HISTORY_SAMPLES: usize = 600;
/// Channels whose samples are all kept, about 40 KB each; those that come on top keep a minute.
pub const HISTORY_CHANNELS_MAX: usize = 512;
/// Samples that a channel's state is judged by: a minute, which is also the strip in its row.
pub const RECENT_SAMPLES: usize = 60;
/// The silence after which a channel counts as silent, unless its packets come less often than that.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);
/// A channel is silent when it has missed so many packets of its usual rate: ten, as a flow is.
pub const SILENT_PACKETS: f64 = 10.0;
/// Events that are kept, a few hundred bytes each: a bad hour of some channels.
pub const EVENTS_MAX: usize = 1000;
/// Events of one kind and channel that come within this time of each other are one event that goes on.
pub const EVENT_MERGE: Duration = Duration::from_secs(30);
/// Pages that are served at the same time: each costs some 100 KB/s at most.
pub const PAGES_MAX: usize = 32;
/// Rows of a table in one answer, by default: more than a screen shows.
pub const TABLE_ROWS: usize = 100;
/// Rows of a table in one answer at most: all flows of a large group, as CSV.
pub const TABLE_ROWS_MAX: usize = 10_000;
/// Rows that a page may ask for each second: a screen of them, and what is scrolled to next.
pub const PAGE_ROWS_MAX: usize = 200;
/// Clients that a page shows of a channel; all of them are in the API.
pub const PAGE_CLIENTS_MAX: usize = 20;
/// Bytes of a search text: longer than any name.
pub const SEARCH_BYTES_MAX: usize = 128;
/// Bytes of a flow's last payload that a page gets: a reading; of longer ones the beginning.
pub const VALUE_BYTES_MAX: usize = 512;
/// How long after its first answer a page gets the flows' first readings: they come while it draws.
pub const VALUES_FIRST: Duration = Duration::from_millis(250);
/// Channels that are looked into at once to find out what they carry.
pub const LOOKS_MAX: usize = 8;
/// How long such a look waits for a packet.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// How many ticks pass before the next look into a channel whose packets told nothing.
pub const LOOK_TICKS: u64 = 10;

// Programs and browsers (`egress/push`, `egress/tcp`).

/// Bytes of the last values of one channel's flows: 16,384 readings of 512 bytes.
pub const LAST_VALUES_BYTES_MAX: usize = 8 << 20;
/// Bytes that wait for one client of a stream's messages; beyond it, it is told what it missed. 1 s at 8 Mbit/s.
pub const PUSH_QUEUE_BYTES_MAX: usize = 1 << 20;
/// How old the oldest of them may be: a mobile client's change of cells, or a page that is busy, takes seconds; after a
/// longer pause a reading that is new is worth more than all that are old.
pub const PUSH_QUEUE_AGE_MAX: Duration = Duration::from_secs(5);
/// Bytes of them that the kernel takes before it sends them: what it has is beyond recall, and old after a pause. Enough
/// for 100 ms at 20 Mbit/s, or a long-distance connection's window at usual rates.
pub const PUSH_UNSENT_BYTES_MAX: u32 = 256 << 10;
/// A client that takes nothing for so long is cut off: whoever only paused is told what it missed.
pub const PUSH_STALL_MAX: Duration = Duration::from_secs(60);
/// How often a silent connection is used, so that proxies keep it and a vanished client is noticed.
pub const PUSH_KEEPALIVE: Duration = Duration::from_secs(15);
/// Subscribers that may come to one stream at the same moment; more of them wait for their turn.
pub const PUSH_JOINS_MAX: usize = 64;
/// The longest `every=`: a reading a day.
pub const EVERY_MAX: Duration = Duration::from_secs(86_400);
/// Streams that one connection may subscribe to at the same time.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Bytes that a WebSocket client may send in one message: nothing of it is read by anybody.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a line of a TCP client: a command, a name, a flow's key.
pub const TCP_LINE_BYTES_MAX: usize = 1024;
/// How long a TCP client may take to subscribe to something.
pub const TCP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// TCP clients at the same time, by default.
pub const TCP_CLIENTS: u64 = 1000;
/// Origins whose pages may subscribe: a site has some.
pub const ORIGINS_MAX: usize = 64;
/// Messages that wait in a Socket.IO connection for its socket, beyond those in its outlet: a chunk of most streams.
pub const SOCKETIO_BUFFER: usize = 128;
/// Bytes that a Socket.IO client may send in one message: a name and some options.
pub const SOCKETIO_MESSAGE_BYTES_MAX: u64 = 4 << 10;
/// How long a Socket.IO connection whose buffer is full is left alone.
pub const SOCKETIO_PAUSE: Duration = Duration::from_millis(10);
// The probe.

/// Flows that a probe follows one by one; what other flows send is counted in all.
pub const PROBE_FLOWS_MAX: usize = 4096;
/// Gaps of one flow that a late packet can still fill; beyond that the oldest count as lost.
pub const PROBE_GAPS_MAX: usize = 1024;
/// Numbers behind the highest within which a packet is late and not of another numbering.
pub const PROBE_WINDOW: u64 = REORDER_PACKETS_MAX;
/// Losses of one flow of which the length and the distance to the one before are kept, to simulate the like.
pub const PROBE_LOSSES_MAX: usize = 1024;
/// A gap younger than this may still be filled: it is not yet a loss.
pub const PROBE_SETTLE: Duration = HOLD_START;
/// Flows whose MPEG-TS is looked into: each may cost 256 PIDs of about 200 bytes.
pub const PROBE_TS_FLOWS_MAX: usize = 64;
/// Programmes of one transport stream that are named.
pub const PROBE_PROGRAMS_MAX: usize = 64;
/// The longest PSI section (ISO/IEC 13818-1 section 2.4.4.5: 1021 bytes after the length), with its header.
pub const PSI_SECTION_BYTES_MAX: usize = 1024;
/// A PCR shall come this often (ISO/IEC 13818-1 section 2.7.2).
pub const PCR_INTERVAL_ALLOWED: Duration = Duration::from_millis(100);
/// Shapes of FEC, and their senders, that a probe tells apart.
pub const PROBE_SHAPES_MAX: usize = 64;
/// Datagrams of unknown format that are kept to look for a counter in them,
pub const PROBE_SAMPLES: usize = 64;
/// and so many of their bytes: the number stands in every known header's first bytes.
pub const PROBE_SAMPLE_BYTES: usize = 128;
/// Packets of a simulated stream on which a suggestion must not lose one.
pub const PROBE_SIMULATED: u64 = 100_000;
/// The longest that a source block of a suggestion may take: what the automatic hold can wait for.
pub const PROBE_BLOCK_TIME_MAX: Duration = HOLD_MAX;
/// Senders whose destinations a capture file's reader counts.
pub const CAPTURE_DESTINATIONS_MAX: usize = 4096;

// What a channel has lost lately.

/// Losses kept of a channel; a page of them.
pub const LOSSES_MAX: usize = 200;
/// So many of the newest may go on; with more flows that lose at once, each loss is one of its own.
pub const LOSSES_OPEN_MAX: usize = 16;
/// Losses of a flow that follow each other sooner are told as one.
pub const LOSS_MERGE: Duration = Duration::from_secs(1);
/// The cause of a loss shows in counters so long before and after: they are read once a second, and a hold lies between.
pub const LOSS_CAUSE_AROUND: Duration = Duration::from_secs(2);
