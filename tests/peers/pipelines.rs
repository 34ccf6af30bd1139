//! Starts ffmpeg and GStreamer with ST 2022-1: pipelines that protect a stream, and one that
//! recovers losses.

use std::process::{Command, Stdio};

use super::{common::Running, fixture};

/// Caps for RTP that GStreamer receives.
pub(super) const CAPS: &str = "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T";

/// Sends the fixture at its rate to this port, and the repair packets to higher ports.
pub(super) fn ffmpeg_protects(port: u16, columns: u8, rows: u8) -> Running {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-re", "-i"]).arg(fixture());
    ffmpeg.args(["-c", "copy", "-f", "rtp_mpegts", "-fec", &format!("prompeg=l={columns}:d={rows}")]);
    ffmpeg.arg(format!("rtp://127.0.0.1:{port}?pkt_size=1316")).stdout(Stdio::null());
    Running::start(ffmpeg)
}

pub(super) fn gstreamer(pipeline: &str) -> Running {
    let mut gstreamer = Command::new("gst-launch-1.0");
    gstreamer.arg("-q").args(pipeline.split_whitespace()).stdout(Stdio::null());
    Running::start(gstreamer)
}

/// Returns the part of a pipeline that sends to a local port.
fn sink(port: u16) -> String {
    format!("queue ! udpsink host=127.0.0.1 port={port} sync=false async=false")
}

/// Sends the packets received on `input` to this port, and the repair packets to higher ports.
pub(super) fn gstreamer_protects(input: u16, port: u16, columns: u8, rows: u8) -> Running {
    gstreamer(&format!(
        "udpsrc address=127.0.0.1 port={input} {CAPS} ! rtpst2022-1-fecenc name=fec columns={columns} \
         rows={rows} fec.src ! {} fec.fec_0 ! {} fec.fec_1 ! {}",
        sink(port),
        sink(port + 2),
        sink(port + 4)
    ))
}

/// Recovers the stream on the ports for media, columns and rows, and sends it to `output`.
pub(super) fn gstreamer_recovers([media, columns, rows]: [u16; 3], output: u16) -> Running {
    gstreamer(&format!(
        "rtpst2022-1-fecdec name=fec fec.src ! {} \
         udpsrc address=127.0.0.1 port={media} {CAPS} ! queue ! fec.sink \
         udpsrc address=127.0.0.1 port={columns} {CAPS} ! queue ! fec.fec_0 \
         udpsrc address=127.0.0.1 port={rows} {CAPS} ! queue ! fec.fec_1",
        sink(output)
    ))
}
