//! Tests of surveys while packets arrive: a turn runs one slice, and a keep-alive is answered only
//! after the sockets were read.

use super::{
    stall_tests::{NAME, Stalled},
    *,
};
use tidecast_core::relay::{self, Fec, PacketFormat};
use tidecast_testkit::sockets::{free_port, group, sender, to};
use tidecast_wire::native::{Kind, Repr};

fn first_of(stream: u32) -> Vec<u8> {
    let repr =
        Repr { kind: Kind::Data, flags: 0, stream, session: 1, sequence: 0, timestamp: 1, payload: b"x" };
    let mut out = Vec::new();
    repr.emit(&mut out);
    out
}

fn ask(stalled: &mut Stalled, flows_max: usize) -> oneshot::Receiver<Vec<ChannelState>> {
    let (reply, answer) = oneshot::channel();
    stalled.commands.send(Command::Survey(Survey::new(None, flows_max, reply))).unwrap();
    stalled.path.waker.write(1).unwrap();
    answer
}

#[test]
fn a_turn_looks_at_no_more_than_a_slice_of_many_flows() {
    let address = format!("udp://@{}:{}?if=127.0.0.1", group(), free_port());
    let mut stalled = Stalled::with("native", std::slice::from_ref(&address), Fec::Off);
    let flows = relay::Config::default().flows_max;
    let datagrams: Vec<Buffer> = (0..flows as u32).map(|stream| first_of(stream).as_slice().into()).collect();
    stalled.path.inject(NAME, ([127, 0, 0, 1], 9).into(), datagrams, clock::now());
    stalled.goes_on();
    let (mut plain, mut whole) = (ask(&mut stalled, 0), ask(&mut stalled, usize::MAX));
    let mut turns = 0;
    let (plain, whole) = loop {
        stalled.goes_on();
        turns += 1;
        // The surveys are answered in order; the second waits for the first.
        if let Ok(whole) = whole.try_recv() {
            break (plain.try_recv().unwrap(), whole);
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert!(turns > 4, "{turns} turns for {flows} flows");
    assert_eq!((plain[0].flow_count, plain[0].flows.len()), (flows, 0));
    assert_eq!((whole[0].flow_count, whole[0].flows.len()), (flows, flows));
    assert_eq!(whole[0].counters.media_received, flows as u64);
    assert_eq!(plain[0].first_format, Some(PacketFormat::Native));
}

#[test]
fn who_does_not_wait_any_more_is_not_answered() {
    let address = format!("udp://@{}:{}?if=127.0.0.1", group(), free_port());
    let mut stalled = Stalled::new(&[address], Fec::Off);
    drop(ask(&mut stalled, 0));
    let mut kept = ask(&mut stalled, 0);
    let kept = loop {
        stalled.goes_on();
        if let Ok(kept) = kept.try_recv() {
            break kept;
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(kept.len(), 1);
    assert_eq!(stalled.path.surveys.due(), None);
}

#[test]
fn a_keep_alive_follows_from_a_turn_that_read_its_sockets() {
    let (group, port) = (group(), free_port());
    let mut stalled = Stalled::with("native", &[format!("udp://@{group}:{port}?if=127.0.0.1")], Fec::Off);
    let (reply, mut answer) = oneshot::channel();
    stalled.commands.send(Command::Answer(reply)).unwrap();
    sender([127, 0, 0, 1].into()).send_to(&first_of(7), to(group, port)).unwrap();
    // A turn in which only the keep-alive request is ready, and no socket.
    let asked = [EpollEvent::new(EpollFlags::EPOLLIN, WAKER)];
    let goes_on = stalled.path.turn(&asked, ClockPair::read());
    assert_eq!((goes_on, answer.try_recv().ok()), (Some(true), None));
    stalled.goes_on();
    assert_eq!(answer.try_recv(), Ok(()));
    assert_eq!(stalled.end().counters.media_received, 1);
}
