//! Streams of ffmpeg and GStreamer, captured in fixtures/.

use tidecast_wire::st2022::Axis;

use crate::{capture::capture, protected::Protected};

/// RTP timestamp of the repair packet itself: ffmpeg uses the first protected packet's, GStreamer
/// the latest.
const TIMESTAMP: std::ops::Range<usize> = 4..8;

/// Media on port 5004, columns on 5006, rows on 5008.
fn protected(name: &str) -> Protected {
    let streams = capture(name).into_iter().filter(|(port, _)| matches!(port, 5004 | 5006 | 5008));
    Protected { datagrams: streams.map(|(port, bytes)| (((port - 5004) / 2) as u8, bytes)).collect() }
}

#[test]
fn ffmpeg_5_by_5() {
    let sent = protected("ffmpeg-rtp-fec.pcap");
    assert!(sent.each_comes_back() >= 90);
    sent.we_send_the_same(5, 5, TIMESTAMP);
}

/// Many sizes, markers, numbers that wrap inside a matrix, and repair packets that arrive long
/// before their media.
#[test]
fn gstreamer_10_by_4() {
    let sent = protected("gstreamer-rtp-fec.pcap");
    let sizes: std::collections::BTreeSet<usize> = sent.media().map(Vec::len).collect();
    assert!(sizes.len() >= 7 && sent.repairs(Axis::Column).len() >= 20, "{sizes:?}");
    assert!(sent.each_comes_back() >= 110);
    sent.we_send_the_same(10, 4, 0..0);
}
