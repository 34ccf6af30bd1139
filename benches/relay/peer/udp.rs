//! The options with which packaged programs forward datagrams from a group on loopback, unchanged.

use std::{net::SocketAddrV4, process::Command};

use crate::{bare::Stream, packet::MEDIA_BYTES};

/// Bytes of a media datagram, for programs that need the size: RTP header and payload.
const DATAGRAM_BYTES: usize = 12 + MEDIA_BYTES;

/// Forwards one group to one target.
pub(super) fn socat(stream: &Stream, to: SocketAddrV4) -> Command {
    let (ip, port) = (stream.group.ip(), stream.group.port());
    let mut command = Command::new("socat");
    command
        .arg("-u")
        .arg(format!("UDP4-RECV:{port},bind={ip},ip-add-membership={ip}:127.0.0.1,reuseaddr,rcvbuf=4194304"));
    command.arg(format!("UDP4-SENDTO:{to}"));
    command
}

/// Forwards one group to one target; `-u` and `-U` keep the RTP headers.
pub(super) fn multicat(stream: &Stream, to: SocketAddrV4) -> Command {
    let mut command = Command::new("multicat");
    command.args(["-u", "-U"]).arg(format!("@{}/ifaddr=127.0.0.1", stream.group)).arg(to.to_string());
    command
}

/// Forwards one group to all of its targets. The stream is treated as data, not demultiplexed:
/// that is the cheapest mode, and the only one that keeps the datagrams unchanged.
pub(super) fn ffmpeg(stream: &Stream) -> Command {
    let size = DATAGRAM_BYTES;
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "error", "-fflags", "nobuffer", "-probesize", "32"]);
    command.args(["-f", "data", "-raw_packet_size", &size.to_string(), "-i"]);
    command.arg(format!(
        "udp://{}?localaddr=127.0.0.1&reuse=1&pkt_size={size}&buffer_size=4194304",
        stream.group
    ));
    for to in &stream.targets {
        command.args(["-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data"]);
        command.arg(format!("udp://{to}?pkt_size={size}"));
    }
    command
}

/// Forwards all groups, each to all of its targets.
pub(super) fn gstreamer(streams: &[Stream]) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q");
    for stream in streams {
        let clients: Vec<String> = stream.targets.iter().map(ToString::to_string).collect();
        command.args(["udpsrc", &format!("address={}", stream.group.ip())]);
        command.args([&format!("port={}", stream.group.port()), "multicast-iface=lo", "buffer-size=4194304"]);
        command.args(["!", "multiudpsink", &format!("clients={}", clients.join(","))]);
        command.args(["sync=false", "async=false", "buffer-size=4194304"]);
    }
    command
}
