//! A packet thread that was stopped for longer than the hold: waiting packets on several ports are
//! handled as if it had not been stopped.

use std::net::UdpSocket;

use super::*;
use crate::limits::FAILOVER;
use tidecast_core::relay::{self, Fec, Hold};
use tidecast_net::limits::RECEIVE_BUFFER_BYTES;
use tidecast_testkit::sockets::{free_port, group, sender, to};
use tidecast_wire::{
    fec::matrix::{Encoder, Shape},
    rtp,
    st2022::Axis,
};

pub(super) const NAME: &str = "stalled";
/// Much longer than the time to send a burst.
const HOLD: Duration = Duration::from_millis(250);
/// Bursts that come while the thread is stopped, and the interval between them: three holds in
/// all.
const BURSTS: u64 = 6;
const PAUSE: Duration = Duration::from_millis(125);
/// Media packets of one matrix.
const MATRIX: u64 = 25;

/// The state of a packet thread, run on the test's thread, with one channel.
pub(super) struct Stalled {
    pub(super) path: Path,
    /// Kept because the thread ends without it.
    pub(super) commands: mpsc::Sender<Command>,
}

impl Stalled {
    pub(super) fn new(inputs: &[String], fec: Fec) -> Stalled {
        Stalled::with("rtp", inputs, fec)
    }

    pub(super) fn with(format: &str, inputs: &[String], fec: Fec) -> Stalled {
        let (commands, receiver) = mpsc::channel();
        let waker = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).unwrap();
        let mut path = Path::new(PathSettings::default(), receiver, Arc::new(waker)).unwrap();
        let spec = ChannelSpec {
            name: NAME.to_owned(),
            inputs: inputs.iter().map(|input| input.parse().unwrap()).collect(),
            reports: Vec::new(),
            relay: relay::Config {
                format: format.parse().unwrap(),
                fec,
                hold: Hold::Fixed(HOLD),
                ..relay::Config::default()
            },
            retransmission: relay::Retransmission::Off,
            outputs: Vec::new(),
            rejoin: None,
            receive_buffer: RECEIVE_BUFFER_BYTES,
            failover: FAILOVER,
            tick: None,
            on_demand: false,
            gap_wait: ::metrics::Histogram::noop(),
            sink: None,
        };
        assert_eq!(path.add(spec, ClockPair::read()).unwrap().waiting, [""; 0]);
        Stalled { path, commands }
    }

    /// Runs turns of one instant until the sockets are empty. Returns their number.
    pub(super) fn goes_on(&mut self) -> usize {
        let mut events = vec![EpollEvent::empty(); EPOLL_EVENTS];
        let (clocks, mut turns) = (ClockPair::read(), 0);
        loop {
            let count = self.path.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap();
            turns += 1;
            if !self.path.turn(&events[..count], clocks).unwrap() {
                return turns;
            }
        }
    }

    pub(super) fn end(mut self) -> ChannelState {
        self.path.remove(NAME, ClockPair::read(), 1).unwrap()
    }
}

fn media(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let (sequence, timestamp) = (number as u16, number as u32 * 90);
    rtp::Repr {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp,
        ssrc: 7,
        payload: &number.to_be_bytes(),
    }
    .emit(&mut out);
    out
}

/// One packet of each row is lost after the start of the stall.
fn is_lost(number: u64, per_burst: u64) -> bool {
    number >= per_burst && number % 5 == 2
}

/// Sends bursts of `matrices` protected matrices. The first burst is taken at once; then the
/// thread is stopped. Returns the turns that it took afterwards, and the final state.
fn protected(matrices: u64) -> (usize, ChannelState) {
    let (group, port, socket) = (group(), free_port() & !7, sender([127, 0, 0, 1].into()));
    let mut stalled = Stalled::new(&[format!("rtp://@{group}:{port}?if=127.0.0.1")], Fec::St2022);
    let mut encoder = Encoder::new(Shape::new(5, 5, true).unwrap(), 7, 9);
    let (mut repairs, per_burst) = (Vec::new(), matrices * MATRIX);
    for burst in 0..=BURSTS {
        for number in burst * per_burst..(burst + 1) * per_burst {
            let packet = media(number);
            if !is_lost(number, per_burst) {
                socket.send_to(&packet, to(group, port)).unwrap();
            }
            encoder.media(&packet, &mut repairs);
            for repair in repairs.drain(..) {
                let above = if repair.axis == Axis::Column { 2 } else { 4 };
                socket.send_to(&repair.bytes, to(group, port + above)).unwrap();
            }
        }
        if burst == 0 {
            stalled.goes_on();
        }
        thread::sleep(PAUSE);
    }
    (stalled.goes_on(), stalled.end())
}

#[test]
fn repair_packets_that_waited_with_the_media_fill_its_gaps() {
    let (_, state) = protected(1);
    let counters = &state.counters;
    let packets = (BURSTS + 1) * MATRIX;
    assert_eq!((counters.delivered, counters.lost), (packets, 0), "{counters:?}");
    assert_eq!(counters.recovered_fec, BURSTS * MATRIX / 5, "{counters:?}");
}

/// More packets wait than one turn takes from a port, sent over such a long time that the first
/// ones are older than the hold.
#[test]
fn what_several_turns_take_is_in_order_too() {
    let matrices = 20;
    let (turns, state) = protected(matrices);
    if state.legs[0].kernel_drops > 0 {
        // The test needs a larger receive buffer than this system grants.
        return eprintln!("SKIPPED: the kernel dropped {} datagrams", state.legs[0].kernel_drops);
    }
    assert!(turns > 2, "{turns} turns");
    let (counters, packets) = (&state.counters, (BURSTS + 1) * matrices * MATRIX);
    assert_eq!((counters.delivered, counters.lost), (packets, 0), "{counters:?}");
    assert_eq!(counters.recovered_fec, BURSTS * matrices * MATRIX / 5, "{counters:?}");
}

#[test]
fn what_waited_on_a_second_leg_fills_the_gaps_of_the_first() {
    let (groups, port) = ([group(), group()], free_port());
    let inputs = groups.map(|group| format!("rtp://@{group}:{port}?if=127.0.0.1"));
    let mut stalled = Stalled::new(&inputs, Fec::Off);
    let sockets: [UdpSocket; 2] = [(); 2].map(|()| sender([127, 0, 0, 1].into()));
    for burst in 0..=BURSTS {
        for number in burst * MATRIX..(burst + 1) * MATRIX {
            for leg in [0, 1] {
                if leg == 1 || !is_lost(number, MATRIX) {
                    sockets[leg].send_to(&media(number), to(groups[leg], port)).unwrap();
                }
            }
        }
        if burst == 0 {
            stalled.goes_on();
        }
        thread::sleep(PAUSE);
    }
    stalled.goes_on();
    let state = stalled.end();
    let (counters, packets) = (&state.counters, (BURSTS + 1) * MATRIX);
    assert_eq!((counters.delivered, counters.lost), (packets, 0), "{counters:?}");
    assert_eq!(state.legs[1].counters.first, BURSTS * MATRIX / 5, "{counters:?}");
}
