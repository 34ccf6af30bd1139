//! Detection of formats: ffmpeg's default output, which is split at arbitrary positions, arrives
//! byte for byte, and `probe` names it.

use std::{process::Command, thread, time::Duration};

use super::{
    bytes::Paths,
    common::{Running, free_port, group, have, tidecast},
    fixture,
};

/// Starts ffmpeg's transport stream over UDP without any option: datagrams of 1,472 bytes, which
/// are not whole packets.
fn ffmpeg(group: std::net::Ipv4Addr, port: u16) -> Running {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-re", "-i"]).arg(fixture());
    ffmpeg.args(["-c", "copy", "-f", "mpegts", &format!("udp://{group}:{port}?localaddr=127.0.0.1&ttl=0")]);
    Running::start(ffmpeg)
}

#[test]
fn a_transport_stream_that_ffmpeg_cuts_anywhere_arrives_as_it_was_sent() {
    if !have("ffmpeg") || !have("curl") {
        return;
    }
    for format in ["auto", "ts"] {
        let from = (group(), free_port());
        let paths = Paths::open_as("udp", from, &["--format", format]);
        let input = format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1);
        let probe = thread::spawn(move || {
            tidecast(["probe", &input, "--for", "4s", "--format", format]).output().expect("probe starts")
        });
        thread::sleep(Duration::from_millis(500));
        let mut sender = ffmpeg(from.0, from.1);
        assert!(sender.wait().success(), "{}", sender.stderr());
        let (payloads, served) = paths.compare(|datagram| Some(datagram));
        assert!(served.iter().all(|served| *served == payloads), "{format}: HTTP has something else");
        let said = probe.join().expect("no panic").stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("MPEG-TS without RTP") && said.contains("1 flow"), "{said}");
    }
}
