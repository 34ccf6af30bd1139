//! A receiver like an AES67 device: GStreamer with a buffer of 2 ms, after a relay of L24 in
//! packets of 1 ms. A packet that arrives too late for its time is missing in the output, which
//! follows the sink's clock.
//!
//! `TIDECAST_AES67_SECONDS=600 cargo test --test peers aes67 -- --nocapture` is the long form, for
//! an idle machine.

use std::{fs, path::PathBuf, thread, time::Duration};

use tidecast_wire::rtp;

use super::{
    common::{self, Running, have, now, sender},
    pipelines::gstreamer,
};

/// Samples of one packet: 1 ms at 48 kHz, two channels of 24 bits.
const SAMPLES: u64 = 48;
const FRAME: usize = 6;
/// Number of attempts: on a busy machine the receiver itself may be late, so a failure counts only
/// if it occurs each time.
const TRIES: usize = 5;

/// Plays the stream on a port of this host into a file.
struct Receiver {
    running: Running,
    file: PathBuf,
}

impl Receiver {
    fn start(address: &str, port: u16) -> Receiver {
        let file = std::env::temp_dir().join(format!("tidecast-aes67-{}.raw", common::free_port()));
        let caps =
            "caps=application/x-rtp,media=audio,clock-rate=48000,encoding-name=L24,channels=2,payload=98";
        let running = gstreamer(&format!(
            "udpsrc address={address} port={port} multicast-iface=lo buffer-size=1000000 {caps} ! \
             rtpjitterbuffer latency=2 mode=slave ! rtpL24depay ! \
             filesink sync=true max-lateness=0 processing-deadline=0 buffer-mode=unbuffered location={}",
            file.display()
        ));
        Receiver { running, file }
    }

    /// Returns the number of packets that it has played.
    fn finish(mut self) -> u64 {
        self.running.stop();
        let played = fs::read(&self.file).expect("what it played");
        fs::remove_file(&self.file).expect("remove");
        let packets = played.len() / FRAME / SAMPLES as usize;
        packets as u64
    }
}

/// Returns the packets missing at a receiver beside the relay and at one after it.
fn missed(options: &[&str], seconds: u64) -> (u64, u64) {
    let (group, port, to) = (common::group(), common::free_port(), common::free_port());
    let input = format!("rtp://@{group}:{port}?if=127.0.0.1");
    let to = (to, format!("rtp://127.0.0.1:{to}"));
    let args = ["relay", &input, "--to", &to.1, "--rtpmap", "98 L24/48000/2", "--http", "127.0.0.1:0"];
    let mut relay = Running::tidecast(args.iter().chain(options));
    relay.http();
    let beside = Receiver::start(&group.to_string(), port);
    let behind = Receiver::start("127.0.0.1", to.0);
    thread::sleep(Duration::from_secs(2));
    let (socket, start, count) = (sender(), now(), seconds * 1000);
    for number in 0..count {
        thread::sleep(Duration::from_millis(number).saturating_sub(start.elapsed()));
        let payload = &number.to_be_bytes().repeat(SAMPLES as usize * FRAME / 8)[..];
        let (sequence, timestamp) = (number as u16, (number * SAMPLES) as u32);
        let mut datagram = Vec::new();
        rtp::Repr { marker: false, payload_type: 98, sequence, timestamp, ssrc: 9, payload }
            .emit(&mut datagram);
        socket.send_to(&datagram, (group, port)).expect("send");
    }
    thread::sleep(Duration::from_secs(1));
    let missed = (count.saturating_sub(beside.finish()), count.saturating_sub(behind.finish()));
    println!("{options:?}, {seconds} s: missed {} beside the relay, {} behind it", missed.0, missed.1);
    let said = relay.stop();
    assert!(!said.contains("error"), "{said}");
    missed
}

fn has_no_underrun(options: &[&str]) {
    if !have("gst-launch-1.0") {
        return;
    }
    let seconds =
        std::env::var("TIDECAST_AES67_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut all = Vec::new();
    while all.len() < TRIES {
        let (beside, behind) = missed(options, seconds);
        // The receiver's own thread is late from time to time; the test of ten minutes is for a
        // machine on which it is not.
        let machine = if seconds < 60 { seconds * 1000 / 200 } else { 0 };
        if behind <= beside + machine {
            return;
        }
        all.push((beside, behind));
    }
    panic!("{options:?}: missed beside the relay and behind it: {all:?}");
}

#[test]
fn aes67_has_no_underrun_at_tick_0() {
    has_no_underrun(&["--tick", "0"]);
}

#[test]
fn aes67_has_no_underrun_with_paced_release() {
    has_no_underrun(&["--tick", "0", "--release", "paced", "--release-delay", "50ms", "--hold", "20ms"]);
}
