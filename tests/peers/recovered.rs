//! SMPTE ST 2022-1 through the relay itself: streams that ffmpeg and GStreamer protect are output
//! as sent, although some of the media never arrives.

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

use super::{
    common::{Running, free_port, group, have, sender, until},
    pipelines::{ffmpeg_protects, gstreamer_protects, gstreamer_recovers},
    st2022::{Collector, LOCALHOST, free_ports, media, output, ports, until_ready},
};

/// Forwards the datagrams of the sockets for media, columns and rows, except for some of the
/// media.
pub(super) struct Lossy {
    /// The media as received, including dropped packets.
    media: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Lossy {
    /// Forwards to the same offsets above the port `to`. `lost` selects media packets by their
    /// position in the stream.
    pub(super) fn new(
        [media, columns, rows, _rtcp]: [UdpSocket; 4],
        to: (Ipv4Addr, u16),
        lost: fn(usize) -> bool,
    ) -> Lossy {
        let (sent, stop) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<AtomicBool>::default());
        let start = |(socket, offset): (UdpSocket, u16)| {
            let (sent, stop, out) = (sent.clone(), stop.clone(), sender());
            let to = SocketAddr::from((to.0, to.1 + offset));
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("time-out");
            thread::spawn(move || {
                let mut memory = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(len) = socket.recv(&mut memory) else { continue };
                    let mut is_lost = false;
                    if offset == 0 {
                        let mut sent = sent.lock().expect("no panic");
                        is_lost = lost(sent.len());
                        sent.push(memory[..len].to_vec());
                    }
                    if !is_lost {
                        out.send_to(&memory[..len], to).expect("send");
                    }
                }
            })
        };
        let threads = [(media, 0), (columns, 2), (rows, 4)].map(start).into();
        Lossy { media: sent, stop, threads }
    }

    pub(super) fn count(&self) -> usize {
        self.media.lock().expect("no panic").len()
    }

    pub(super) fn finish(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        std::mem::take(&mut *self.media.lock().expect("no panic"))
    }
}

/// Selects never two of one row of five; then a burst as long as that row, which only columns
/// recover. None at the end, whose repair packets are not sent.
fn lost(place: usize) -> bool {
    match place {
        10..50 | 100..200 => place % 7 == 3,
        70..75 => true,
        _ => false,
    }
}

/// Starts a relay that recovers the stream of `input`, and sends it to this port.
fn recovering(input: &str, fec: &str, hold: &str, output: u16) -> Running {
    let to = format!("udp://127.0.0.1:{output}");
    Running::tidecast(["relay", input, "--fec", fec, "--hold", hold, "--to", &to])
}

/// Waits until the relay has sent everything, and compares.
fn all_comes_out(mut relay: Running, lossy: Lossy, output: Collector) {
    until("every media packet", || (output.count() >= lossy.count()).then_some(()));
    let summary = relay.stop();
    let sent = lossy.finish();
    let dropped = (0..sent.len()).filter(|place| lost(*place)).count();
    assert!(sent.len() > 230 && dropped > 20, "{} sent, {dropped} dropped", sent.len());
    let received: Vec<Vec<u8>> = output.finish().into_iter().map(|(_, bytes)| bytes).collect();
    assert!(received == sent, "not what was sent: {summary}");
    let counted = |name: &str| -> usize {
        let value = summary.split(&format!("{name} ")).nth(1).and_then(|rest| rest.split([',', '\n']).next());
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name}: {summary}"))
    };
    assert_eq!((counted("delivered"), counted("lost")), (sent.len(), 0), "{summary}");
    // A repair packet may overtake its media by more than the hold; the original is then a
    // duplicate.
    assert_eq!(counted("recovered") - counted("duplicates"), dropped, "{summary}");
    println!("{} sent, {dropped} dropped and recovered", sent.len());
}

#[test]
fn what_ffmpeg_protects_comes_out_as_it_was_sent() {
    if !have("ffmpeg") {
        return;
    }
    let (group, to) = (group(), free_ports());
    let (output, collector) = output();
    // At about 50 packets per second, two matrices take a second.
    let relay = recovering(&format!("rtp://@{group}:{to}?if=127.0.0.1"), "auto", "3s", output);
    let (from, sockets) = ports();
    let lossy = Lossy::new(sockets, (group, to), lost);
    let mut ffmpeg = ffmpeg_protects(from, 5, 5);
    assert!(ffmpeg.wait().success(), "{}", ffmpeg.stderr());
    all_comes_out(relay, lossy, collector);
}

#[test]
fn what_gstreamer_protects_comes_out_as_it_was_sent() {
    if !have("gst-launch-1.0") {
        return;
    }
    let input = free_port();
    let to = free_ports();
    let (output, collector) = output();
    let relay = recovering(&format!("rtp://@127.0.0.1:{to}"), "st2022-1", "1s", output);
    let (from, sockets) = ports();
    let lossy = Lossy::new(sockets, (LOCALHOST, to), lost);
    let _gstreamer = gstreamer_protects(input, from, 5, 5);
    let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bind");
    let target = (LOCALHOST, input).into();
    let first = until_ready(&socket, target, &collector, |_| {});
    for number in first..first + 300 {
        socket.send_to(&media(number), target).expect("send");
        thread::sleep(Duration::from_millis(2));
    }
    all_comes_out(relay, lossy, collector);
}

/// Starts a relay of a test's media to `to` with repair packets, over a lossy link. Returns both,
/// and a function that sends.
fn protected_by_a_relay(to: u16, lost: fn(usize) -> bool) -> (Running, Lossy, impl Fn(u64)) {
    let (group, input) = (group(), free_port());
    let (from, sockets) = ports();
    let lossy = Lossy::new(sockets, (LOCALHOST, to), lost);
    let relay = Running::tidecast([
        "relay",
        &format!("rtp://@{group}:{input}?if=127.0.0.1"),
        "--to",
        &format!("rtp://127.0.0.1:{from}?fec=st2022-1:5,5"),
    ]);
    let socket = sender();
    let send = move |number| {
        socket.send_to(&media(number), (group, input)).expect("send");
        thread::sleep(Duration::from_millis(2));
    };
    (relay, lossy, send)
}

#[test]
fn what_a_relay_protects_another_one_brings_back() {
    let to = free_ports();
    let (output, collector) = output();
    let second = recovering(&format!("rtp://@127.0.0.1:{to}"), "st2022-1", "1s", output);
    let (_first, lossy, send) = protected_by_a_relay(to, lost);
    (1..=300).for_each(&send);
    until("the first relay", || (lossy.count() == 300).then_some(()));
    all_comes_out(second, lossy, collector);
}

#[test]
fn what_a_relay_protects_gstreamer_brings_back() {
    if !have("gst-launch-1.0") {
        return;
    }
    let to = free_ports();
    let (output, collector) = output();
    let lost = |place| place % 7 == 3;
    let (_relay, lossy, send) = protected_by_a_relay(to, lost);
    let _gstreamer = gstreamer_recovers([to, to + 2, to + 4], output);
    // GStreamer takes a while to start; losses before it is ready do not count.
    let mut ready = 1;
    until("the pipeline", || {
        send(ready);
        ready += 1;
        (collector.count() > 0).then_some(())
    });
    let first = ready;
    (first..first + 300).for_each(&send);
    until("the relay", || (lossy.count() as u64 == first + 299).then_some(()));
    let came: BTreeSet<Vec<u8>> = collector.finish().into_iter().map(|(_, bytes)| bytes).collect();
    let sent = lossy.finish();
    let protected = usize::try_from(first).expect("few") + 25..sent.len() - 50;
    let missing: Vec<usize> = protected.clone().filter(|place| !came.contains(&sent[*place])).collect();
    let dropped = protected.filter(|place| lost(*place)).count();
    assert!(missing.is_empty() && dropped > 20, "{missing:?} of {dropped} did not come back");
    let sent: BTreeSet<Vec<u8>> = sent.into_iter().collect();
    assert_eq!(came.difference(&sent).count(), 0, "and nothing that was not sent");
}
