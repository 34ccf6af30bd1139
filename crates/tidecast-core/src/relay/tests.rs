//! The core's rules one by one, tested through inputs and outputs.

use std::{net::SocketAddr, time::Duration};

use super::*;
use tidecast_wire::{
    fec::matrix::{Encoder, Shape},
    native::{self, Kind, Repr},
    rtp,
};

const MS: Duration = Duration::from_millis(1);
const START: Duration = Duration::ZERO;

/// A relay, its clock and its outputs.
struct Core {
    relay: Relay,
    start: Instant,
    out: Vec<Output>,
    due: Option<Instant>,
}

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn fixed(format: &str, hold: Duration) -> Config {
    Config { format: format.parse().unwrap(), hold: Hold::Fixed(hold), ..Config::default() }
}

impl Core {
    fn new(config: Config) -> Core {
        Core { relay: Relay::new(config), start: crate::clock::now(), out: Vec::new(), due: None }
    }

    fn native(hold: Duration) -> Core {
        Core::new(fixed("native", hold))
    }

    fn input(&mut self, input: Input) -> &mut Core {
        self.relay.handle_input(input);
        loop {
            match self.relay.poll_output() {
                Output::Timeout(due) => break self.due = due,
                output => self.out.push(output),
            }
        }
        let (counters, held) = (self.relay.totals(), self.relay.held() as u64);
        assert_eq!(
            counters.media_received + counters.recovered(),
            counters.delivered + counters.discarded() + held
        );
        self
    }

    fn packet_from(&mut self, at: Duration, leg: u8, source: SocketAddr, bytes: &[u8]) -> &mut Core {
        let now = self.start + at;
        self.input(Input::Packet { now, leg, source, bytes: bytes.into() })
    }

    fn packet(&mut self, at: Duration, bytes: &[u8]) -> &mut Core {
        self.packet_from(at, 0, from(1), bytes)
    }

    /// Data packets of stream 1.
    fn data(&mut self, at: Duration, session: u32, numbers: impl IntoIterator<Item = u64>) -> &mut Core {
        for number in numbers {
            self.packet(at, &native(Kind::Data, 1, session, number, &number.to_be_bytes()));
        }
        self
    }

    fn timeout(&mut self, at: Duration) -> &mut Core {
        let now = self.start + at;
        self.input(Input::Timeout { now })
    }

    /// Short form of the outputs since the last call.
    fn said(&mut self) -> String {
        self.out.retain(|output| !matches!(output, Output::Carries { .. }));
        let words = self.out.drain(..).map(|output| match output {
            Output::Deliver(Delivery { seq, span: 1, how: How::Received, .. }) => format!("{seq}"),
            Output::Deliver(Delivery { seq, span, how: How::Received, .. }) => format!("{seq}+{span}"),
            Output::Deliver(Delivery { seq, how, .. }) => format!("{seq}:{how:?}"),
            Output::Control(Delivery { seq, .. }) => format!("control {seq}"),
            Output::Lost { from, count, .. } => format!("-{from}+{count}"),
            Output::GapClosed { waited, .. } => format!("waited {}", waited.as_millis()),
            Output::SessionStarted { flow, succeeds: None, .. } => format!("start {}", flow.0),
            Output::SessionStarted { flow, succeeds: Some(old), .. } => {
                format!("start {} for {}", flow.0, old.0)
            }
            Output::Transmit { to, .. } => format!("to {to}"),
            Output::Succeeded { flow, succeeds } => format!("{} for {}", flow.0, succeeds.0),
            Output::Unnumbered { flow } => format!("unnumbered {}", flow.0),
            Output::Collision { first, other, .. } => format!("{first} not {other}"),
            Output::FlowEnded { flow } => format!("end {}", flow.0),
            Output::Report { bytes, .. } => format!("report of {} bytes", bytes.len()),
            Output::Timeout(_) | Output::Carries { .. } => unreachable!("not kept"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Time of its next deadline, since the start.
    fn due(&self) -> Option<Duration> {
        self.due.map(|due| due - self.start)
    }
}

fn native(kind: Kind, stream: u32, session: u32, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Repr { kind, flags: 0, stream, session, sequence, timestamp: 0, payload }.emit(&mut out);
    out
}

fn retransmission(session: u32, sequence: u64) -> Vec<u8> {
    let (mut out, payload) = (Vec::new(), sequence.to_be_bytes());
    let (kind, flags) = (Kind::Data, native::RETRANSMISSION);
    Repr { kind, flags, stream: 1, session, sequence, timestamp: 0, payload: &payload }.emit(&mut out);
    out
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = [sequence.to_be_bytes(), [ssrc as u8; 2]].concat();
    let timestamp = u32::from(sequence) * 3600;
    rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc, payload: &payload }
        .emit(&mut out);
    out
}

#[test]
fn a_gap_delays_by_the_hold_and_no_longer() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, 0..3).data(10 * MS, 1, [4, 5]);
    assert_eq!(core.said(), "start 0 0 1 2");
    assert_eq!(core.due(), Some(60 * MS));
    core.timeout(59 * MS);
    assert_eq!(core.said(), "");
    core.timeout(60 * MS);
    assert_eq!(core.said(), "waited 50 -3+1 4 5");
    core.data(61 * MS, 1, [3, 6]);
    assert_eq!(core.said(), "6");
    let counters = core.relay.totals();
    assert_eq!((counters.late, counters.lost, counters.expected, counters.delivered), (1, 1, 7, 6));
}

#[test]
fn a_gap_that_is_filled_says_how_long_others_waited() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, [0, 2]).data(20 * MS, 1, [1]);
    assert_eq!(core.said(), "start 0 0 waited 20 1 2");
    core.data(30 * MS, 1, [4]).packet(40 * MS, &retransmission(1, 3));
    assert_eq!(core.said(), "waited 10 3:Retransmission 4");
    core.packet(41 * MS, &retransmission(1, 3)).packet(41 * MS, &retransmission(9, 3));
    assert_eq!(core.said(), "");
    let counters = core.relay.totals();
    assert_eq!((counters.recovered_retransmission, counters.repair_received, counters.reordered), (1, 3, 1));
}

#[test]
fn a_packet_that_was_only_late_was_asked_for_in_vain() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, [0, 2]).packet(10 * MS, &retransmission(1, 1)).packet(11 * MS, &retransmission(1, 1));
    assert_eq!(core.relay.totals().recovered_spurious, 0, "nothing says that the original is not lost");
    core.data(12 * MS, 1, [1, 3, 1]);
    let counters = core.relay.totals();
    assert_eq!((counters.recovered_retransmission, counters.recovered_spurious), (1, 1));
}

#[test]
fn a_datagram_that_waits_for_its_format_counts_once() {
    let mut core = Core::new(fixed("auto", 50 * MS));
    core.packet(START, &rtp(7, 100));
    assert_eq!((core.relay.held(), core.relay.legs()[0].media), (1, 1), "the next one shows the format");
    for number in 101..104 {
        core.packet(MS * u32::from(number - 100), &rtp(7, number));
    }
    assert_eq!((core.relay.legs()[0].media, core.relay.totals().media_received), (4, 4));
}

#[test]
fn a_number_that_stays_the_same_is_believed_after_three_packets() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, [0, 1]);
    let again = |content: &[u8]| native(Kind::Data, 1, 1, 1, content);
    core.said();
    core.packet(MS, &again(b"a")).packet(2 * MS, &again(b"b"));
    assert_eq!(core.said(), "", "two may be damaged");
    core.packet(3 * MS, &again(b"c"));
    assert_eq!(core.said(), "unnumbered 0 2 3 4");
}

#[test]
fn the_buffers_of_dropped_packets_are_used_again() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, [0, 1, 2, 2, 2]);
    assert_eq!((core.relay.spent.len(), core.relay.totals().duplicate), (2, 2));
    core.packet(START, b"foreign").packet_from(START, 0, from(2), &retransmission(1, 1));
    assert_eq!((core.relay.spent.len(), core.relay.totals().foreign), (4, 1));
    core.relay.reclaim(&mut crate::buffer::Pool::new(8));
    assert!(core.relay.spent.is_empty());
}

/// The gap is filled on the short way; the packet behind it had come on the long one.
#[test]
fn what_waited_behind_a_filled_gap_is_delivered_as_what_it_is() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, 0..200).data(MS, 1, [202]);
    core.said();
    core.packet(2 * MS, &retransmission(1, 201));
    core.data(3 * MS, 1, [200]);
    assert_eq!(core.said(), "waited 2 200 201:Retransmission 202");
    assert_eq!(core.relay.totals().recovered_retransmission, 1);
}

/// A keep-alive takes a number, but must not reach players.
#[test]
fn a_keep_alive_that_waited_behind_a_filled_gap_is_no_media() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    let packet = |sequence: u16, payload: &[u8]| {
        let (mut out, timestamp) = (Vec::new(), u32::from(sequence) * 3600);
        rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc: 1, payload }.emit(&mut out);
        out
    };
    let media = [[0x47; 188]; 7].concat();
    for number in (100..120).chain([121]) {
        core.packet(MS * number.into(), &packet(number, &media));
    }
    core.said();
    core.packet(122 * MS, &packet(122, &[0; 4])).packet(123 * MS, &packet(120, &media));
    let m = 1 << 16;
    assert_eq!(core.said(), format!("waited 2 {} {}", m + 120, m + 121));
    core.packet(124 * MS, &packet(123, &media));
    assert_eq!(core.said(), format!("{}", m + 123));
    assert_eq!((core.relay.totals().foreign, core.relay.totals().lost), (1, 0));
}

#[test]
fn a_new_session_waits_for_a_second_packet_and_lets_the_old_one_out_first() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, 0..3).data(MS, 1, [4]).data(2 * MS, 2, [0]);
    assert_eq!(core.said(), "start 0 0 1 2");
    core.data(3 * MS, 2, [1]);
    assert_eq!(core.said(), "", "the old one may go on");
    core.timeout(52 * MS);
    assert_eq!(core.said(), "waited 51 -3+1 4 start 0 0 1");
    core.data(53 * MS, 1, [3]).data(53 * MS, 2, [2]);
    assert_eq!((core.said(), core.relay.totals().late), ("2".into(), 1));
}

#[test]
fn a_session_that_goes_on_is_kept_and_one_that_was_given_up_is_taken_back() {
    let mut core = Core::native(50 * MS);
    for n in 0..100_u32 {
        core.data(5 * MS * n, 1, [u64::from(n)]);
        if n == 60 {
            core.data(5 * MS * n + MS, 2, [0, 1]);
        }
    }
    let text = core.said();
    assert!(text.starts_with("start 0 0 1 2 3") && text.ends_with("97 98 99"), "{text}");
    assert_eq!(text.matches("start").count(), 1, "{text}");
    // A pause, in which a session of another producer is believed.
    core.data(700 * MS, 3, [0]).data(701 * MS, 3, [1]).timeout(800 * MS);
    assert_eq!(core.said(), "start 0 0 1");
    core.data(801 * MS, 1, [100]).data(806 * MS, 1, [101]).timeout(900 * MS);
    assert_eq!(core.said(), "start 0 100 101");
    let counters = core.relay.totals();
    assert_eq!((counters.lost, counters.late, counters.rejected), (0, 0, 2), "{counters:?}");
}

#[test]
fn a_native_session_begins_at_zero_but_a_flow_where_it_is_met() {
    let mut core = Core::native(50 * MS);
    core.data(START, 1, [7, 8]).timeout(10 * MS);
    assert_eq!(core.said(), "start 0 7 8");
    core.data(20 * MS, 2, [2, 3]).timeout(70 * MS);
    assert_eq!(core.said(), "start 0 waited 50 -0+2 2 3");
}

#[test]
fn a_new_ssrc_of_the_same_source_succeeds_the_old_one() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    for n in 0..5 {
        core.packet(10 * MS * u32::from(n), &rtp(1, 65_534_u16.wrapping_add(n)));
    }
    core.said();
    for n in 0..3 {
        core.packet(MS * (50 + 10 * u32::from(n)), &rtp(2, 100 + n));
    }
    core.timeout(140 * MS);
    let m = 1 << 16;
    assert_eq!(core.said(), format!("start 1 for 0 {} {} {}", m + 100, m + 101, m + 102));
    // Also from another port, and back again.
    core.packet_from(150 * MS, 0, from(2), &rtp(3, 5)).timeout(260 * MS);
    assert_eq!(core.said(), format!("start 2 for 1 {}", m + 5));
    core.packet(270 * MS, &rtp(2, 103)).timeout(350 * MS);
    assert_eq!(core.said(), format!("1 for 2 {}", m + 103));
}

/// RFC 3550, section 8.2: the first address with an SSRC is kept, and packets from the other are
/// counted.
#[test]
fn two_addresses_with_one_id_collide_until_one_is_silent() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    for n in 0..100_u32 {
        core.packet_from(5 * MS * n, 0, from(1), &rtp(1, n as u16));
        core.packet_from(5 * MS * n + MS, 0, from(2), &rtp(1, 5000 + n as u16));
    }
    let text = core.said();
    assert_eq!(text.matches("start").count(), 1, "{text}");
    assert!(text.contains("10.0.0.1:1 not 10.0.0.1:2"), "{text}");
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.rejected), (100, 0, 100), "{counters:?}");
    assert_eq!(core.relay.reject_reasons().get("collision"), Some(&100));
    let collision = core.relay.flows().next().unwrap().collision.unwrap();
    assert_eq!((collision.first, collision.other, collision.packets), (from(1), from(2), 100));
    for n in 100..200_u32 {
        core.packet_from(5 * MS * n + 200 * MS, 0, from(2), &rtp(1, 5000 + n as u16));
    }
    core.timeout(2000 * MS);
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.rejected), (200, 0, 100), "{counters:?}");
}

#[test]
fn what_a_new_address_sends_before_the_old_one_is_silent_is_not_lost() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    for n in 0..100_u16 {
        core.packet_from(5 * MS * n.into(), 0, from(1), &rtp(1, n));
    }
    for n in 100..200_u16 {
        core.packet_from(5 * MS * n.into(), 0, from(2), &rtp(1, 5000 + n));
        if n == 100 {
            assert_eq!(core.relay.held(), 1, "the old address may go on");
        }
    }
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.rejected), (200, 0, 0), "{counters:?}");
}

/// A producer on two paths into the group; one of them ends.
#[test]
fn a_flow_moves_to_its_other_path_when_that_alone_brings_packets() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    let mut moved = None;
    for n in 0..120_u16 {
        if n < 100 {
            core.packet_from(5 * MS * n.into(), 0, from(1), &rtp(1, n));
        }
        core.packet_from(5 * MS * n.into() + MS, 0, from(2), &rtp(1, n));
        let source = core.relay.flows().next().map(|flow| flow.source);
        moved = moved.or((source == Some(from(2))).then_some(n));
    }
    assert!(moved.is_some_and(|number| number >= 110), "not by a few losses: {moved:?}");
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.rejected), (120, 0, 0), "{counters:?}");
}

/// Another flow has meanwhile taken the slot of the flow that a new one was to succeed.
#[test]
fn a_predecessor_that_is_gone_is_not_mistaken_for_who_took_its_place() {
    let config = Config { flow_idle: 1500 * MS, ..fixed("rtp", 50 * MS) };
    let mut core = Core::new(config);
    core.packet(START, &rtp(1, 10)).packet(MS, &rtp(1, 11)).timeout(1100 * MS);
    core.packet(1490 * MS, &rtp(2, 500)).timeout(2000 * MS).timeout(2600 * MS);
    core.packet_from(2700 * MS, 0, from(9), &rtp(7, 1)).timeout(2750 * MS);
    core.said();
    core.packet(2800 * MS, &rtp(2, 501)).packet(2801 * MS, &rtp(2, 502));
    for n in 2..6 {
        core.packet_from(2700 * MS + 40 * MS * n, 0, from(9), &rtp(7, n as u16));
    }
    core.timeout(2900 * MS);
    assert!(!core.said().contains("for"));
}

/// Packets that take several numbers, including overlapping ones.
/// Repair packets of ST 2022-1 do not name their stream.
#[test]
fn a_repair_packet_on_its_own_port_rebuilds_what_the_rtp_stream_lost() {
    let mut core = Core::new(Config { fec: Fec::St2022, ..fixed("rtp", 50 * MS) });
    let (mut encoder, mut repairs) = (Encoder::new(Shape::new(4, 4, true).unwrap(), 0, 0), Vec::new());
    for sequence in 0..4 {
        encoder.media(&rtp(1, sequence), &mut repairs);
        if sequence != 2 {
            core.packet(10 * MS * u32::from(sequence), &rtp(1, sequence));
        }
    }
    for repair in repairs {
        let now = core.start + 40 * MS;
        core.input(Input::Repair { now, leg: 0, source: from(3), bytes: repair.bytes.into() });
    }
    core.timeout(60 * MS);
    let m = 1 << 16;
    assert_eq!(core.said(), format!("start 0 {m} {} waited 30 {}:Fec {}", m + 1, m + 2, m + 3));
    let matrix = core.relay.flows().next().unwrap().fec_matrix;
    assert_eq!(matrix, None, "a row does not show the matrix");
}

fn of_type(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rtp::Repr { marker: false, payload_type, sequence, timestamp: 0, ssrc: 1, payload }.emit(&mut out);
    out
}

/// Packets of another payload type whose numbers the media use as well.
#[test]
fn what_counts_for_itself_beside_a_transport_stream_hides_no_loss() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    for number in (0..10).filter(|number| *number != 6) {
        let at = 10 * MS * u32::from(number);
        core.packet(at, &of_type(33, number, &[0x47; 188]));
        core.packet(at, &of_type(96, number + 1, &[1; 20]));
    }
    core.timeout(200 * MS);
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.foreign), (9, 1, 9));
}

#[test]
fn keep_alives_of_any_length_stay_out_of_a_transport_stream() {
    let mut core = Core::new(fixed("rtp", 50 * MS));
    for length in 0..188_u16 {
        let at = MS * u32::from(length);
        core.packet(at, &of_type(33, 2 * length, &[0x47; 188]));
        core.packet(at, &of_type(33, 2 * length + 1, &vec![1; length.into()]));
    }
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.foreign), (188, 0, 188));
}

#[test]
fn spans_move_the_head_and_what_reaches_beyond_is_kept() {
    let mut core = Core::new(fixed("seq=u32be@0,step=u16be@4,id=u8@6", 50 * MS));
    let packet = |first: u32, span: u16| {
        [&first.to_be_bytes()[..], &span.to_be_bytes(), &[1], &first.to_le_bytes()].concat()
    };
    let m = 1_u64 << 32;
    core.packet(START, &packet(0, 5)).timeout(10 * MS);
    assert_eq!(core.said(), format!("start 0 {m}+5"));
    // 7..9, 8..12 and 9..10 wait; 5..8 overlaps the start of the first two.
    core.packet(20 * MS, &packet(7, 2)).packet(20 * MS, &packet(8, 4)).packet(20 * MS, &packet(9, 1));
    core.packet(21 * MS, &packet(5, 3));
    assert_eq!(core.said(), format!("waited 1 {}+3 {}+4", m + 5, m + 8));
    core.packet(22 * MS, &packet(12, 1)).packet(23 * MS, &packet(11, 4)).timeout(100 * MS);
    assert_eq!(core.said(), format!("{} {}+2", m + 12, m + 13));
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.duplicate, counters.expected), (5, 2, 15));
    // Control datagrams take no number: a heartbeat and an end of session.
    core.packet(30 * MS, &packet(15, 0)).packet(30 * MS, &packet(15, 65_535));
    let control = format!("control {0} control {0}", m + 15);
    assert_eq!((core.relay.totals().control_received, core.said()), (2, control));
}

#[test]
fn the_rest_of_a_packet_that_another_one_overlaps_follows_it() {
    let mut core = Core::new(fixed("seq=u32be@0,step=u16be@4,id=u8@6", 50 * MS));
    let packet = |first: u32, span: u16| [&first.to_be_bytes()[..], &span.to_be_bytes(), &[1]].concat();
    core.packet(START, &packet(0, 5)).timeout(10 * MS);
    core.packet(20 * MS, &packet(7, 3)).said();
    core.packet(21 * MS, &packet(5, 3));
    let m = 1_u64 << 32;
    assert_eq!(core.said(), format!("waited 1 {}+3 {}+2", m + 5, m + 8));
    assert_eq!(core.relay.held(), 0);
}

#[test]
fn numbers_and_spans_beyond_all_sense_are_rejected() {
    let mut core = Core::new(fixed("seq=u64be@0,step=u64be@8", 50 * MS));
    for (number, span) in
        [(u64::MAX, 1), (1 << 62, 1), (0, u64::MAX - 1), (5, 1 << 40), (u64::MAX, u64::MAX - 1)]
    {
        core.packet(START, &[u64::to_be_bytes(number), u64::to_be_bytes(span)].concat());
    }
    assert_eq!((core.relay.totals().rejected, core.relay.flow_count()), (5, 0));
    // The largest number space does not wrap.
    let mut core = Core::new(fixed("seq=u64be@0,wrap=0..0xfffffffffffffffe", 50 * MS));
    core.packet(START, &((1_u64 << 62) - 1).to_be_bytes()).timeout(20 * MS);
    assert_eq!(core.said(), format!("start 0 {}", (1_u64 << 62) - 1));
}

/// Number 0 of Art-Net means none. A flow that starts with such packets still wraps at the right
/// number.
#[test]
fn a_flow_that_begins_without_numbers_knows_its_space() {
    let mut core = Core::new(fixed("artnet", 50 * MS));
    let packet = |number: u8| {
        let mut out = b"Art-Net\0\0\x50\0\x0e\0\0\x01\0".to_vec();
        out[12] = number;
        out
    };
    core.packet(START, &packet(0)).packet(MS, &packet(0));
    for n in 0..600_u32 {
        core.packet(MS * (20 + 20 * n), &packet((n % 255 + 1) as u8));
    }
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.rejected), (602, 0, 0), "{counters:?}");
}

/// Datagrams of kinds without a number are sent on in their place and do not count as packets.
#[test]
fn what_has_no_number_keeps_its_place_and_counts_as_control() {
    let mut core = Core::new(fixed("match=u8@0=1,seq=u16be@1,id=src | match=u8@0=2,pass", 50 * MS));
    let (data, other) = (|n: u16| [&[1][..], &n.to_be_bytes()].concat(), [2, 7]);
    core.packet(START, &other).packet(MS, &data(5)).packet(MS, &data(6)).timeout(40 * MS);
    let m = 1_u64 << 16;
    assert_eq!(core.said(), format!("start 0 control 0 start 0 {} {}", m + 5, m + 6));
    core.packet(60 * MS, &other).packet(61 * MS, &data(8)).packet(62 * MS, &other).packet(63 * MS, &data(9));
    assert_eq!(core.said(), format!("control {}", m + 7));
    core.packet(64 * MS, &data(7));
    assert_eq!(core.said(), format!("waited 3 {} {} control {} {}", m + 7, m + 8, m + 9, m + 9));
    let counters = core.relay.totals();
    assert_eq!((counters.control_received, counters.media_received, counters.lost), (3, 5, 0));
}

#[test]
fn legs_bring_what_has_no_number_once() {
    let mut core = Core::new(Config { legs: 2, ..fixed("seq=u16be@1,match=u8@0=1 | pass", 50 * MS) });
    for at in [START, 20 * MS, 90 * MS] {
        for (leg, port) in [(0, 1), (1, 2)] {
            core.packet_from(at + 5 * MS * u32::from(leg), leg, from(port), &[2, 7]);
            core.packet_from(at + 6 * MS * u32::from(leg), leg, from(port), &[2, 8]);
        }
    }
    let controls = core.out.iter().filter(|output| matches!(output, Output::Control(_))).count();
    assert_eq!((controls, core.relay.totals().control_received), (6, 12));
}

#[test]
fn each_heartbeat_goes_on_once_although_two_legs_carry_it() {
    let mut core = Core::new(Config { legs: 2, ..fixed("seq=u16be@1,step=u8@0,id=u8@3", 50 * MS) });
    let data = |n: u8| [1, 0, n, 9];
    for (leg, port) in [(0, 1), (1, 2)] {
        core.packet_from(START, leg, from(port), &data(4)).packet_from(MS, leg, from(port), &data(5));
    }
    let mut heartbeat = |at: u32, leg: u8, text: &[u8]| {
        core.said();
        let bytes = [&[0, 0, 6, 9][..], text].concat();
        !core.packet_from(at * MS, leg, from(u16::from(leg) + 1), &bytes).said().is_empty()
    };
    assert!(heartbeat(10, 0, b""));
    assert!(!heartbeat(11, 1, b""), "a copy");
    assert!(heartbeat(20, 0, b""), "the next one, with the same content");
    assert!(!heartbeat(21, 1, b""), "its copy");
    assert!(heartbeat(30, 1, b"other"), "this leg leads");
    assert!(!heartbeat(31, 0, b"other"));
    assert!(heartbeat(81, 0, b"other"), "the copy would have come within the hold");
}

/// A datagram with messages of two streams belongs to the first one; the numbers of the second are
/// not a gap.
#[test]
fn mixed_bundles_leave_no_gap_in_any_stream() {
    let mut core = Core::new(fixed("mavlink1", 50 * MS));
    let message = |component: u8, number: u8| [0xfe, 1, number, 1, component, 0, 9, 0, 0];
    for n in 0..200_u32 {
        let (at, number) = (MS * 10 * n, n as u8);
        match n {
            // lost permanently, in both streams
            100 => {}
            _ if n % 3 == 1 => {
                let bundle = [
                    message(1, number),
                    message(2, number.wrapping_mul(2)),
                    message(2, number.wrapping_mul(2).wrapping_add(1)),
                ];
                core.packet(at, &bundle.concat());
            }
            _ => {
                core.packet(at, &message(1, number));
                core.packet(
                    at,
                    &[message(2, number.wrapping_mul(2)), message(2, number.wrapping_mul(2).wrapping_add(1))]
                        .concat(),
                );
            }
        }
    }
    core.timeout(3 * Duration::from_secs(1));
    let counters = core.relay.totals();
    assert_eq!((counters.lost, counters.rejected, counters.sessions), (3, 0, 2), "{counters:?}");
    assert_eq!((counters.delivered, counters.media_received, core.relay.held()), (199 + 133, 199 + 133, 0));
}

/// Parts of messages, lost and out of order.
#[test]
fn parts_of_messages_are_numbered_one_by_one() {
    let mut core = Core::new(fixed("edi", 50 * MS));
    let fragment = |number: u16, index: u8| {
        [&b"PF"[..], &number.to_be_bytes(), &[0, 0, index, 0, 0, 3, 0, 4, 0, 0], &[index; 4]].concat()
    };
    for n in 0..50_u16 {
        let order = if n % 2 == 0 { [0, 1, 2] } else { [1, 0, 2] };
        for index in order.into_iter().filter(|index| (n, *index) != (20, 1) && n != 30) {
            core.packet(MS * 24 * u32::from(n), &fragment(n.wrapping_sub(25), index));
        }
    }
    core.timeout(3 * Duration::from_secs(1));
    let counters = core.relay.totals();
    assert_eq!((counters.lost, counters.delivered, counters.expected), (4, 146, 150), "{counters:?}");
    assert_eq!((counters.rejected, counters.sessions, core.relay.held()), (0, 1, 0));
}

#[test]
fn paced_packets_leave_with_the_spacing_of_their_source() {
    let release = Release::Paced(Delay::Fixed(200 * MS));
    let mut core = Core::new(Config { release, ..fixed("rtp", 50 * MS) });
    let mut left = Vec::new();
    for at in 0..400_u32 {
        match at {
            0 => core.packet(START, &rtp(1, 0)),
            40 => core.packet(40 * MS, &rtp(1, 1)),
            105 => core.packet(105 * MS, &rtp(1, 2)),
            _ => core.timeout(at * MS),
        };
        let delivered = |output| match output {
            Output::Deliver(delivery) => Some((delivery.seq, at)),
            _ => None,
        };
        left.extend(core.out.drain(..).filter_map(delivered));
    }
    let m = 1 << 16;
    assert_eq!(left, [(m, 200), (m + 1, 240), (m + 2, 280)]);
}

#[test]
fn legs_bring_each_packet_once_and_a_lagging_one_starts_nothing() {
    let mut core = Core::new(Config { legs: 2, ..fixed("rtp", 50 * MS) });
    // 1,000 packets a second; the second leg is 40 ms behind, and alone for a while.
    for n in 0..3000_u32 {
        if !(1000..1200).contains(&n) {
            core.packet_from(MS * n, 0, from(1), &rtp(1, n as u16));
        }
        if n >= 40 {
            core.packet_from(MS * n, 1, from(1), &rtp(1, (n - 40) as u16));
        }
    }
    core.timeout(4000 * MS);
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.sessions), (3000, 0, 1), "{counters:?}");
    assert_eq!((counters.rejected, counters.late), (0, 0), "{counters:?}");
    let legs = core.relay.legs();
    assert_eq!((legs[0].media, legs[1].media), (2800, 2960));
    assert_eq!((legs[0].first, legs[0].missed), (2800, 200));
    assert_eq!((legs[1].first, legs[1].missed), (200, 40), "its last 40 would come later");
    core.relay.begin_census(0, core.start);
    let census = core.relay.go_on_with_census(usize::MAX, &mut |_| {}).unwrap();
    let skews = [0, 1].map(|leg| census.skews[leg].map(|skew| skew.as_millis()));
    assert_eq!(skews, [Some(0), Some(40)]);
}

#[test]
fn memory_is_bounded_and_nothing_is_left_uncounted() {
    for bytes_max in [0, 100, 1000, 30_000] {
        let mut core = Core::new(Config { bytes_max, ..fixed("native", 500 * MS) });
        for n in 0..400_u64 {
            // Every third is missing; the payload is 100 bytes.
            if n % 3 != 1 {
                core.packet(MS * n as u32, &native(Kind::Data, 1, 1, n, &[n as u8; 100]));
            }
            assert!(core.relay.bytes_held() <= bytes_max, "{} of {bytes_max}", core.relay.bytes_held());
        }
        core.relay.finish(core.start + 500 * MS);
        assert_eq!((core.relay.bytes_held(), core.relay.held(), core.relay.flow_count()), (0, 0, 0));
        let counters = core.relay.totals();
        assert_eq!((counters.delivered, counters.lost, counters.discarded()), (267, 133, 0), "{counters:?}");
    }
}

#[test]
fn what_is_known_of_legs_is_forgotten_before_memory_runs_out() {
    for bytes_max in [0, 10_000] {
        let mut core = Core::new(Config { legs: 2, bytes_max, ..fixed("native", 500 * MS) });
        for n in 0..2000_u64 {
            let bytes = native(Kind::Data, 1, 1, n, b"x");
            core.packet_from(MS / 10 * n as u32, 0, from(1), &bytes);
            assert!(core.relay.bytes_held() <= bytes_max, "{} of {bytes_max}", core.relay.bytes_held());
        }
        assert_eq!(core.relay.totals().delivered, 2000);
    }
}

#[test]
fn flows_that_never_sent_twice_make_room_and_others_do_not() {
    let mut core = Core::new(Config { flows_max: 2, flows_share: 100, ..fixed("native", 50 * MS) });
    let data = |stream, number| native(Kind::Data, stream, 1, number, b"x");
    core.packet(START, &data(1, 0)).packet(MS, &data(2, 0)).packet(2 * MS, &data(2, 1));
    assert_eq!(core.said(), "start 0 0 start 1 0 1");
    core.packet(3 * MS, &data(3, 0));
    assert_eq!(core.said(), "end 0 start 0 0");
    core.packet(4 * MS, &data(3, 1)).packet(5 * MS, &data(4, 0));
    assert_eq!((core.said(), core.relay.totals().rejected), ("1".into(), 1));
    assert_eq!(core.relay.flow_count(), 2);
}

fn host(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 5000))
}

/// Sends datagrams of `count` streams from `first` on, each with `numbers` numbers.
fn streams(core: &mut Core, at: Duration, source: SocketAddr, first: u32, count: u32, numbers: u64) {
    for stream in first..first + count {
        for number in 0..numbers {
            core.packet_from(at, 0, source, &native(Kind::Data, stream, 1, number, b"x"));
        }
    }
}

/// Forged streams of one host, each confirmed, in rapid succession: a new sensor of another host
/// is still served.
#[test]
fn flows_of_one_host_shut_no_other_host_out() {
    let mut core = Core::new(Config { flows_max: 256, ..fixed("native", 50 * MS) });
    streams(&mut core, START, host(1), 0, 300, 2);
    assert_eq!(core.relay.flow_count(), 256, "nobody else needs the rest");
    assert_eq!(core.relay.flows_refused(), FlowsRefused { full: 0, share: 2 * 44 });
    core.said();
    streams(&mut core, MS, host(2), 1000, 64, 2);
    assert_eq!((core.relay.flow_count(), core.relay.flows_refused().full), (256, 0));
    streams(&mut core, MS, host(1), 2000, 10, 2);
    // All flows that are not lent stay, and so does the other host's.
    let before = core.relay.totals().delivered;
    for stream in 0..192 {
        core.packet_from(2 * MS, 0, host(1), &native(Kind::Data, stream, 1, 2, b"x"));
    }
    for stream in 1000..1064 {
        core.packet_from(2 * MS, 0, host(2), &native(Kind::Data, stream, 1, 2, b"x"));
    }
    assert_eq!(core.relay.totals().delivered - before, 192 + 64);
}

/// A host beyond its share pushes out its own flows of one packet, and no others.
#[test]
fn newcomers_make_room_first_for_their_own_host() {
    let mut core = Core::new(Config { flows_max: 16, ..fixed("native", 50 * MS) });
    streams(&mut core, START, host(9), 1000, 1, 1);
    streams(&mut core, MS, host(1), 0, 100, 1);
    assert_eq!(core.relay.flow_count(), 16);
    core.said();
    core.packet_from(2 * MS, 0, host(9), &native(Kind::Data, 1000, 1, 1, b"x"));
    assert_eq!(core.said(), "1", "it was not forgotten");
    // Hosts within their share push out flows of the one beyond.
    for last in 20..30 {
        streams(&mut core, 3 * MS, host(last), 2000 + u32::from(last), 1, 2);
    }
    assert_eq!((core.relay.flow_count(), core.relay.flows_refused().full), (16, 0));
    core.said();
    core.packet_from(4 * MS, 0, host(9), &native(Kind::Data, 1000, 1, 2, b"x"));
    assert_eq!(core.said(), "2");
}

/// Sender addresses are forged as well: each flow has two packets, and occupies its place for
/// seconds, not minutes.
#[test]
fn flows_that_fell_silent_at_once_make_room_and_slow_sensors_do_not() {
    let mut core = Core::new(Config { flows_max: 16, ..fixed("native", 50 * MS) });
    // A sensor that reports every 20 s.
    for number in 0..4 {
        core.packet_from(20_000 * MS * number as u32, 0, host(1), &native(Kind::Data, 1, 1, number, b"x"));
    }
    for last in 100..115 {
        streams(&mut core, 60_000 * MS, host(last), u32::from(last), 1, 2);
    }
    streams(&mut core, 61_000 * MS, host(2), 2, 1, 2);
    assert_eq!(core.relay.flows_refused(), FlowsRefused { full: 2, share: 0 });
    core.said();
    streams(&mut core, 71_000 * MS, host(2), 2, 1, 2);
    core.packet_from(80_000 * MS, 0, host(1), &native(Kind::Data, 1, 1, 4, b"x"));
    let said = core.said();
    assert!(said.starts_with("end ") && said.ends_with(" 0 1 4"), "{said}");
    assert_eq!(core.relay.flows_refused().full, 2);
}

#[test]
fn idle_flows_are_forgotten_and_ended_ones_sooner() {
    let mut core = Core::new(Config { flow_idle: 5000 * MS, ..fixed("native", 50 * MS) });
    core.data(START, 1, 0..3).packet(100 * MS, &native(Kind::Data, 2, 1, 0, b""));
    core.packet(200 * MS, &native(Kind::End, 2, 1, 3, b""));
    for second in 1..4 {
        core.timeout(1000 * MS * second);
    }
    assert_eq!(core.said(), "start 0 0 1 2 start 1 0 -1+2 end 1", "two were lost at its end");
    for second in 4..8 {
        core.timeout(1000 * MS * second);
    }
    assert_eq!((core.said(), core.due()), ("end 0".into(), None));
    assert_eq!(core.relay.totals().delivered, 4);
}

#[test]
fn damaged_and_foreign_datagrams_are_counted_by_reason() {
    let mut core = Core::native(50 * MS);
    let mut damaged = native(Kind::Data, 1, 1, 0, b"reading");
    damaged[30] ^= 1;
    core.packet(START, &damaged).packet(START, b"").packet(START, &rtp(1, 1)).packet(START, &damaged[..20]);
    let counters = core.relay.totals();
    assert_eq!((counters.corrupt, counters.foreign, core.relay.flow_count()), (3, 1, 0));
    let reasons: Vec<_> = core.relay.reject_reasons().iter().map(|(reason, n)| (*reason, *n)).collect();
    assert_eq!(reasons, [("checksum", 1), ("empty", 1), ("format", 1), ("truncated", 1)]);
}

#[test]
fn time_does_not_run_backwards() {
    let mut core = Core::native(50 * MS);
    core.data(100 * MS, 1, [0, 2]).data(20 * MS, 1, [3]).timeout(149 * MS);
    assert_eq!(core.said(), "start 0 0");
    core.timeout(150 * MS);
    assert_eq!(core.said(), "waited 50 -1+1 2 3");
}

#[test]
fn a_burst_that_a_buffer_did_not_hold_is_lost_and_no_restart() {
    let (hold, mut core) = (50 * MS, Core::native(50 * MS));
    for number in 0..400 {
        core.data(number as u32 * 10 * MS, 1, [number]);
    }
    core.said();
    // 100 packets a second so far, and then 600 within a millisecond, of which these are left.
    let at = 4000 * MS;
    core.data(at, 1, [400, 401, 1000, 1001]).timeout(at + hold);
    assert_eq!(core.said(), "400 401 -402+598 1000 1001");
    let counters = core.relay.totals();
    assert_eq!((counters.sessions, counters.lost, counters.expected), (1, 598, 1002));
}

/// An attacker forges the producer's address, so only the content shows that the packets differ.
/// In a space of 16 bits a step forwards may be a restart by chance.
#[test]
fn a_jump_is_a_loss_if_as_many_packets_fit_the_silence_and_otherwise_a_restart() {
    for (jump, lost) in [(150, 150), (5000, 0), (20_000, 0)] {
        let mut core = Core::new(fixed("seq=u16be@0", 50 * MS));
        for number in 0..200_u16 {
            core.packet(10 * MS * number.into(), &number.to_be_bytes());
        }
        for after in 0..5_u16 {
            core.packet(MS * (3000 + 10 * u32::from(after)), &(200 + jump + after).to_be_bytes());
        }
        core.timeout(5000 * MS);
        let counters = core.relay.totals();
        assert_eq!((counters.lost, counters.delivered), (lost, 205), "{jump}");
    }
}

#[test]
fn a_number_that_comes_again_with_other_content_is_a_conflict() {
    let mut core = Core::native(20 * MS);
    for number in 0..100 {
        core.data(10 * MS * number as u32, 1, [number]);
        if number == 50 {
            let forged = native(Kind::Data, 1, 1, 40, b"forged");
            core.packet(10 * MS * number as u32 + MS, &forged);
            // Once more, with a packet that waits for a gap.
            core.data(10 * MS * number as u32 + 2 * MS, 1, [52]);
            let forged = native(Kind::Data, 1, 1, 52, b"forged");
            core.packet(10 * MS * number as u32 + 3 * MS, &forged);
        }
    }
    core.timeout(5000 * MS);
    core.relay.finish(core.start + 6000 * MS);
    let counters = core.relay.totals();
    assert_eq!((counters.delivered, counters.lost, counters.conflicts), (100, 0, 2), "{counters:?}");
    assert_eq!(core.relay.reject_reasons().get("conflict"), Some(&1));
}

/// An attacker who forges packets must not make the relay send more bytes to the forged address
/// than the attacker sends.
#[test]
fn native_requests_take_no_more_bytes_than_what_came() {
    let asks = vec![Asks { requests: true, ..Asks::default() }];
    let mut core = Core::new(Config { asks, ..fixed("native", 1000 * MS) });
    let (mut came, mut asked) = (0, 0);
    // Streams start, each with a gap that is never filled.
    for stream in 0..50 {
        for number in [0, 1, 18, 19] {
            let bytes = native(Kind::Data, stream, 1, number, b"");
            came += bytes.len();
            core.packet(MS * stream, &bytes);
        }
    }
    for step in 50..2000 {
        core.timeout(MS * step);
    }
    for output in core.out.drain(..) {
        if let Output::Transmit { bytes, .. } = output {
            asked += bytes.len();
        }
    }
    assert!(asked <= came, "{asked} bytes for {came}");
    assert!(asked > came / 4, "{asked} bytes for {came}: it asks as far as it may");
}
