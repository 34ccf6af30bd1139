//! Native streams over a lossy hop between two relays: the first one adds repair packets, and the
//! output of the second one is exactly the received packets, and those of recoverable blocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use tidecast_wire::native::{Kind, Packet, Repair};

use super::{
    common::{Running, free_port, group, native, sender, tidecast, until},
    st2022::{Collector, port},
};

/// Stream and number of a data packet.
type Number = (u32, u64);

/// Packets on a link: data packets, and the repair packets of each block with the numbers that it
/// protects.
#[derive(Default)]
struct Seen {
    media: BTreeMap<Number, Vec<u8>>,
    blocks: BTreeMap<Number, (Vec<Number>, BTreeSet<usize>)>,
}

impl Seen {
    fn of(datagrams: impl IntoIterator<Item = (u8, Vec<u8>)>) -> Seen {
        let mut seen = Seen::default();
        for (_, bytes) in datagrams {
            let packet = Packet::parse(&bytes).expect("native");
            let at = (packet.stream(), packet.sequence());
            if packet.kind() == Kind::Data {
                assert!(seen.media.insert(at, bytes).is_none(), "{at:?} twice");
                continue;
            }
            let repair = Repair::parse(packet.payload()).expect("a repair packet");
            let numbers = (0..repair.k() as u64).map(|i| (at.0, at.1 + i * repair.stride())).collect();
            let block = seen.blocks.entry(at).or_insert((numbers, BTreeSet::new()));
            assert!(block.1.insert(repair.index()), "repair packet {} of {at:?} twice", repair.index());
        }
        seen
    }

    /// Returns the packets of blocks whose losses are within their capability.
    fn recoverable(&self) -> BTreeSet<Number> {
        let mut all: BTreeSet<Number> = self.media.keys().copied().collect();
        for (numbers, repairs) in self.blocks.values() {
            let arrived = numbers.iter().filter(|number| self.media.contains_key(number)).count();
            if arrived + repairs.len() >= numbers.len() {
                all.extend(numbers);
            }
        }
        all
    }
}

/// How long the second relay waits for repair packets: the packets that are released at once after
/// waiting in vain fit into a socket's buffer, as long as the streams do not all lose the same
/// numbers.
const HOLD: Duration = Duration::from_millis(300);
const STREAMS: u32 = 3;
const PACKETS: u64 = 500;

/// Returns whether the producers' own link loses this number, which cannot be recovered: these
/// numbers end the blocks before them.
fn lost_before((stream, number): Number) -> bool {
    (number + 27 * u64::from(stream)) % 83 == 50
}

fn payload(stream: u32, number: u64) -> Vec<u8> {
    (0..20 + number % 300 + u64::from(stream)).map(|i| ((i * number) >> 2) as u8).collect()
}

fn bridge(fec: &str, loss: &[&str]) {
    let (from, near, far) = ((group(), free_port()), free_port(), free_port());
    let ((clear, clear_socket), (lossy, lossy_socket), (output, output_socket)) = (port(), port(), port());
    let [clear_side, lossy_side, output_side] =
        [clear_socket, lossy_socket, output_socket].map(|socket| Collector::new([socket]));
    let to = format!("udp://127.0.0.1:{output}");
    let mut second =
        Running::tidecast(["relay", &format!("udp://@127.0.0.1:{far}"), "--hold", "300ms", "--to", &to]);
    let mut impair = tidecast(["impair", &format!("udp://@127.0.0.1:{near}")]);
    for port in [far, lossy] {
        impair.args(["--to", &format!("udp://127.0.0.1:{port}")]);
    }
    impair.args(loss);
    let mut impair = Running::start(impair);
    impair.wait_for_line("tidecast: ready");
    let input = format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1);
    let outputs = [near, clear].map(|port| format!("udp://127.0.0.1:{port}?fec=rs:{fec}"));
    let mut first = Running::tidecast(["relay", &input, "--hold", "20ms", "--to", &outputs[0], &outputs[1]]);

    let socket = sender();
    for number in 0..PACKETS {
        for stream in (1..=STREAMS).filter(|stream| !lost_before((*stream, number))) {
            let packet = native(stream, 9, number, &payload(stream, number));
            socket.send_to(&packet, from).expect("send");
        }
        thread::sleep(Duration::from_millis(3));
    }
    let numbers = (1..=STREAMS).flat_map(|stream| (0..PACKETS).map(move |number| (stream, number)));
    let sent = numbers.filter(|number| !lost_before(*number)).count();
    until("all from the first relay", || (clear_side.count() > sent).then_some(()));
    let sent_on = Seen::of(clear_side.finish());
    first.stop();
    let arrived = Seen::of(lossy_side.finish());
    let expected = arrived.recoverable();
    // Permanently lost packets delay the rest for the hold of the second relay.
    until("the second relay", || {
        let before = output_side.count();
        thread::sleep(2 * HOLD);
        (before > 0 && output_side.count() == before).then_some(())
    });
    let received = output_side.finish();
    let summary = second.stop();
    impair.stop();

    assert_eq!(sent_on.media.len(), sent);
    let protected: BTreeSet<Number> =
        sent_on.blocks.values().flat_map(|(numbers, _)| numbers.clone()).collect();
    assert!(protected.iter().eq(sent_on.media.keys()), "each packet is in a block, and none that was lost");
    let mut last = BTreeMap::new();
    for (_, bytes) in &received {
        let packet = Packet::parse(bytes).expect("native");
        let (stream, number) = (packet.stream(), packet.sequence());
        assert_eq!(packet.payload(), payload(stream, number));
        assert_eq!(sent_on.media.get(&(stream, number)), Some(bytes), "{stream} {number}");
        assert!(last.insert(stream, number).is_none_or(|last| last < number), "{stream} {number}: order");
    }
    let came: BTreeSet<Number> = Seen::of(received).media.into_keys().collect();
    let dropped = sent_on.media.len() - arrived.media.len();
    println!("{fec}: {} sent, {dropped} dropped, {} left: {summary}", sent, sent - came.len());
    let missing: Vec<_> = expected.difference(&came).collect();
    let beyond: Vec<_> = came.difference(&expected).collect();
    assert!(
        missing.is_empty() && beyond.is_empty(),
        "missing {missing:?}, more than possible {beyond:?}: {summary}"
    );
    assert!(dropped > 20 && came.len() > arrived.media.len(), "nothing to recover: {summary}");
}

#[test]
fn a_relay_protects_native_streams_for_the_next_hop() {
    bridge("10,2", &["--loss", "5%", "--seed", "5"]);
}

#[test]
fn a_relay_interleaves_blocks_against_bursts() {
    bridge("10,3,4", &["--loss", "4%", "--burst", "6", "--seed", "7"]);
}
