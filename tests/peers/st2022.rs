//! SMPTE ST 2022-1 with ffmpeg and GStreamer: streams that they protect are recovered, tidecast's
//! repair packets equal theirs byte for byte, and GStreamer recovers with tidecast's.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tidecast_wire::{
    fec::matrix::{Encoder, Shape},
    rtp,
    st2022::Axis,
};

use super::{
    common::{free_port, have, until},
    pipelines::{ffmpeg_protects, gstreamer_protects, gstreamer_recovers},
    protected::Protected,
};

pub(super) const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Opens sockets on a free even port for media, and on its additional ports: + 1 RTCP, + 2
/// columns, + 4 rows.
pub(super) fn ports() -> (u16, [UdpSocket; 4]) {
    let port = free_ports();
    let bind = |offset| UdpSocket::bind((LOCALHOST, port + offset)).expect("bind");
    (port, [bind(0), bind(2), bind(4), bind(1)])
}

/// Returns such ports, unbound, for other programs.
pub(super) fn free_ports() -> u16 {
    super::common::free_ports(5)
}

/// Returns a free port, bound.
pub(super) fn port() -> (u16, UdpSocket) {
    let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    (socket.local_addr().expect("address").port(), socket)
}

/// Returns a free port, and a collector of the datagrams to it.
pub(super) fn output() -> (u16, Collector) {
    let (port, socket) = port();
    (port, Collector::new([socket]))
}

/// Received datagrams, each with the index of its socket.
pub(super) type Received = Vec<(u8, Vec<u8>)>;

/// Collects the datagrams of several sockets, in one order.
pub(super) struct Collector {
    datagrams: Arc<Mutex<Received>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Collector {
    pub(super) fn new(sockets: impl IntoIterator<Item = UdpSocket>) -> Collector {
        let (datagrams, stop) = (Arc::<Mutex<Received>>::default(), Arc::<AtomicBool>::default());
        let start = |(stream, socket): (usize, UdpSocket)| {
            let (into, asked) = (datagrams.clone(), stop.clone());
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("time-out");
            thread::spawn(move || {
                let mut memory = vec![0; 65_536];
                while !asked.load(Ordering::Relaxed) {
                    if let Ok(len) = socket.recv(&mut memory) {
                        into.lock().expect("no panic").push((stream as u8, memory[..len].to_vec()));
                    }
                }
            })
        };
        let threads = sockets.into_iter().enumerate().map(start).collect();
        Collector { datagrams, stop, threads }
    }

    pub(super) fn count(&self) -> usize {
        self.datagrams.lock().expect("no panic").len()
    }

    /// Waits until nothing has arrived for a while.
    pub(super) fn finish(self) -> Received {
        let mut before = usize::MAX;
        until("the end", || {
            thread::sleep(Duration::from_millis(200));
            let quiet = self.count() == before;
            before = self.count();
            quiet.then_some(())
        });
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        std::mem::take(&mut *self.datagrams.lock().expect("no panic"))
    }
}

fn protected(datagrams: Received) -> Protected {
    Protected { datagrams: datagrams.into_iter().filter(|(stream, _)| *stream < 3).collect() }
}

#[test]
fn ffmpegs_repair_packets_bring_back_each_packet() {
    if !have("ffmpeg") {
        return;
    }
    let shapes = [(4, 4), (5, 5), (10, 10), (20, 5)];
    let sent = shapes.map(|(columns, rows)| {
        let (port, sockets) = ports();
        let collector = Collector::new(sockets);
        (columns, rows, ffmpeg_protects(port, columns, rows), collector)
    });
    for (columns, rows, mut ffmpeg, collector) in sent {
        assert!(ffmpeg.wait().success(), "{}", ffmpeg.stderr());
        let sent = protected(collector.finish());
        let came_back = sent.each_comes_back();
        println!("ffmpeg {columns}x{rows}: {came_back} of {} protected", sent.media().count());
        assert!(came_back > 250, "{columns}x{rows}: only {came_back} protected");
        // ffmpeg's repair packets have the timestamp of the first protected packet.
        sent.we_send_the_same(columns, rows, 4..8);
    }
}

/// Returns media packets of seven sizes. GStreamer's elements require SSRC 0, and support neither
/// a CSRC list nor padding here.
pub(super) fn media(number: u64) -> Vec<u8> {
    let payload: Vec<u8> = (0..188 * (1 + number % 7)).map(|i| ((i * number) >> 3) as u8).collect();
    let (sequence, timestamp) = (number as u16, number as u32 * 900);
    let repr = rtp::Repr {
        marker: number % 9 == 4,
        payload_type: 33,
        sequence,
        timestamp,
        ssrc: 0,
        payload: &payload,
    };
    let mut packet = Vec::new();
    repr.emit(&mut packet);
    packet
}

/// The number of the first packet, which leads to a wrap within the first matrices.
const FIRST: u64 = 65_500;

/// Sends media packets until the first one has passed the pipeline. Returns the next number.
pub(super) fn until_ready(
    socket: &UdpSocket,
    to: SocketAddr,
    collector: &Collector,
    mut send: impl FnMut(u64),
) -> u64 {
    let mut next = FIRST;
    until("the pipeline", || {
        socket.send_to(&media(next), to).expect("send");
        send(next);
        next += 1;
        (collector.count() > 0).then_some(next)
    })
}

#[test]
fn gstreamers_repair_packets_bring_back_each_packet_of_seven_sizes() {
    if !have("gst-launch-1.0") {
        return;
    }
    for (columns, rows) in [(5, 5), (10, 4)] {
        let input = free_port();
        let (port, sockets) = ports();
        let collector = Collector::new(sockets);
        let _gstreamer = gstreamer_protects(input, port, columns, rows);
        let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
        let to = (LOCALHOST, input).into();
        let first = until_ready(&socket, to, &collector, |_| {});
        for number in first..first + 400 {
            socket.send_to(&media(number), to).expect("send");
            thread::sleep(Duration::from_millis(1));
        }
        let sent = protected(collector.finish());
        let came_back = sent.each_comes_back();
        println!("GStreamer {columns}x{rows}: {came_back} of {} protected", sent.media().count());
        assert!(
            came_back >= 400 - 2 * usize::from(columns) * usize::from(rows),
            "only {came_back} protected"
        );
        assert_eq!(sent.repairs(Axis::Row).len(), sent.media().count() / usize::from(columns));
        sent.we_send_the_same(columns, rows, 0..0);
    }
}

/// Selects a burst as long as a row in one matrix, two packets of one row in the next, and so on:
/// all of them are recoverable.
fn lost(number: u64, columns: u64, rows: u64) -> bool {
    let (matrix, place) = (number / (columns * rows), number % (columns * rows));
    match matrix % 4 {
        0 => false,
        1 => (columns + 1..2 * columns + 1).contains(&place),
        2 => [2, 3, columns + 3].contains(&place),
        _ => place % (columns + 1) == 0,
    }
}

#[test]
fn gstreamer_rebuilds_the_identical_stream_from_ours() {
    if !have("gst-launch-1.0") {
        return;
    }
    let (columns, rows) = (5, 5);
    let inputs = [port(), port(), port()].map(|(port, _reserved)| port);
    let (output, collector) = output();
    let [media_in, columns_in, rows_in] = inputs;
    let _gstreamer = gstreamer_recovers(inputs, output);
    let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    let to = |port| SocketAddr::from((LOCALHOST, port));
    let mut encoder = Encoder::new(Shape::new(columns, rows, true).expect("a matrix"), 1, 1);
    let mut out = Vec::new();
    let ready = until_ready(&socket, to(media_in), &collector, |number| {
        encoder.media(&media(number), &mut out);
    });
    // Matrices that were protected so far started before the pipeline did.
    out.clear();
    let per_matrix = u64::from(columns) * u64::from(rows);
    let first = FIRST + (ready - FIRST).next_multiple_of(per_matrix);
    let end = first + 16 * per_matrix;
    for number in ready..end + per_matrix {
        encoder.media(&media(number), &mut out);
        if number < first || !lost(number - first, columns.into(), rows.into()) {
            socket.send_to(&media(number), to(media_in)).expect("send");
        }
        for repair in out.drain(..).filter(|_| number >= first + per_matrix / 5) {
            let port = if repair.axis == Axis::Column { columns_in } else { rows_in };
            socket.send_to(&repair.bytes, to(port)).expect("send");
        }
        thread::sleep(Duration::from_millis(1));
    }
    let came: BTreeSet<Vec<u8>> = collector.finish().into_iter().map(|(_, bytes)| bytes).collect();
    let missing: Vec<u64> =
        (first..end).filter(|number| !came.contains(&media(*number))).map(|n| n - first).collect();
    assert!(missing.is_empty(), "GStreamer did not put out {missing:?}");
    let sent: BTreeSet<Vec<u8>> = (FIRST..end + per_matrix).map(media).collect();
    assert_eq!(came.difference(&sent).count(), 0, "and nothing that we had not sent");
}
