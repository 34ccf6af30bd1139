//! Real senders and real players around the relay: the packets that ffmpeg sends arrive byte for
//! byte, and VLC, ffmpeg and GStreamer play them without errors. `docs/players.md` has the same
//! commands for users.

mod aes67;
mod beside;
mod bytes;
mod demand;
mod described;
mod hops;
mod muxers;
mod pipelines;
mod players;
mod recovered;
#[path = "../remux/mod.rs"]
mod remux;
mod remuxed;
mod rist;
mod rist_out;
mod sources;
mod st2022;
mod start;
mod urls;
mod wrapped;

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
};

use common::Running;
use tidecast_testkit::{common, lossy, protected};

/// Number of pictures in the fixture.
const FRAMES: usize = 150;

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/test.ts"))
}

/// How ffmpeg sends the fixture.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    /// MPEG-TS in RTP, payload type 33.
    Rtp,
    /// MPEG-TS alone, seven packets per datagram.
    Ts,
}

impl Sent {
    fn scheme(self) -> &'static str {
        match self {
            Sent::Rtp => "rtp",
            Sent::Ts => "udp",
        }
    }

    /// Returns the relay's input.
    fn input(self, group: Ipv4Addr, port: u16) -> String {
        format!("{}://@{group}:{port}?if=127.0.0.1", self.scheme())
    }

    /// Starts ffmpeg, at the pace of a live encoder.
    fn start(self, group: Ipv4Addr, port: u16) -> Running {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-re", "-i"]).arg(fixture());
        ffmpeg.args(["-c", "copy", "-f"]).stdout(Stdio::null());
        let url = format!("{}://{group}:{port}?pkt_size=1316&localaddr=127.0.0.1&ttl=0", self.scheme());
        match self {
            Sent::Rtp => ffmpeg.args(["rtp_mpegts", &url]),
            Sent::Ts => ffmpeg.args(["mpegts", "-muxrate", "600k", &url]),
        };
        Running::start(ffmpeg)
    }

    /// Waits until ffmpeg has sent everything; it must succeed without errors.
    fn finish(mut sender: Running) {
        let status = sender.wait();
        assert!(status.success() && sender.stderr().is_empty(), "ffmpeg: {status}\n{}", sender.stderr());
    }
}
