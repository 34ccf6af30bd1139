//! The subjects of the comparison: no relay at all, tidecast, and the remuxers as their users run
//! them.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use super::{capture::Capture, sender::Place};
use crate::common::{self, Running};

/// Debian's `nobody`: VLC refuses to run as root.
const NOBODY: u32 = 65_534;
/// Path of the stream on HTTP servers.
const PATH: &str = "/streams/main";

/// A subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The receiver joins the sender's group.
    Nobody,
    Tidecast,
    TidecastHttp,
    /// tidecast with RTP and repair packets.
    TidecastFec,
    Ffmpeg,
    FfmpegRtp,
    /// ffmpeg with the option to keep all streams. It then holds back more than the film has after
    /// the last datagram that may be lost.
    FfmpegAll,
    Gstreamer,
    Vlc,
    VlcRtp,
    VlcHttp,
}

impl Subject {
    pub const ALL: [Subject; 11] = [
        Subject::Nobody,
        Subject::Tidecast,
        Subject::TidecastHttp,
        Subject::TidecastFec,
        Subject::Ffmpeg,
        Subject::FfmpegRtp,
        Subject::FfmpegAll,
        Subject::Gstreamer,
        Subject::Vlc,
        Subject::VlcRtp,
        Subject::VlcHttp,
    ];

    /// Returns its name in tables: its kind, its input, its output.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Nobody => "no relay",
            Subject::Tidecast => "tidecast, UDP to UDP",
            Subject::TidecastHttp => "tidecast, UDP to HTTP",
            Subject::TidecastFec => "tidecast, RTP with FEC to UDP",
            Subject::Ffmpeg => "ffmpeg, UDP to UDP",
            Subject::FfmpegRtp => "ffmpeg, RTP to UDP",
            Subject::FfmpegAll => "ffmpeg -map 0, UDP to UDP",
            Subject::Gstreamer => "GStreamer, UDP to UDP",
            Subject::Vlc => "VLC, UDP to UDP",
            Subject::VlcRtp => "VLC, RTP to UDP",
            Subject::VlcHttp => "VLC, UDP to HTTP",
        }
    }

    /// Returns the program that must be installed.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Subject::Nobody | Subject::Tidecast | Subject::TidecastHttp | Subject::TidecastFec => None,
            Subject::Ffmpeg | Subject::FfmpegRtp | Subject::FfmpegAll => Some("ffmpeg"),
            Subject::Gstreamer => Some("gst-launch-1.0"),
            Subject::Vlc | Subject::VlcRtp | Subject::VlcHttp => Some("cvlc"),
        }
    }

    /// Returns whether losses are recovered, so that the whole film is output.
    pub fn recovers(self) -> bool {
        self == Subject::TidecastFec
    }

    /// Returns whether enough is output before the film ends to measure the damage of a loss.
    pub fn keeps_up(self) -> bool {
        self != Subject::FfmpegAll
    }

    /// Returns the port of the sender on which it listens.
    pub fn listens(self, place: Place) -> u16 {
        match self {
            Subject::TidecastFec | Subject::FfmpegRtp | Subject::VlcRtp => place.rtp.port(),
            _ => place.ts.port(),
        }
    }

    /// Starts it, and the receiver of its output.
    pub fn start(self, place: Place, folder: &Path) -> (Capture, Option<Running>) {
        if self == Subject::Nobody {
            return (Capture::udp(common::joined(*place.ts.ip(), place.ts.port())), None);
        }
        if let Subject::TidecastHttp | Subject::VlcHttp = self {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, common::free_port()));
            let running = Running::start(self.command(place, server, folder));
            return (Capture::http(server, PATH), Some(running));
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        // A relay that has analysed the film for seconds sends all of it at once.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20);
        let to = socket.local_addr().expect("bound");
        (Capture::udp(socket), Some(Running::start(self.command(place, to, folder))))
    }

    /// Returns its command. `to`: its destination, or its server address.
    fn command(self, place: Place, to: SocketAddr, folder: &Path) -> Command {
        let (ts, rtp) = (place.ts, place.rtp);
        let (from, of_rtp) = (format!("udp://@{ts}?if=127.0.0.1"), format!("rtp://@{rtp}?if=127.0.0.1"));
        let mut command = match self {
            Subject::Nobody => unreachable!("nobody runs nothing"),
            Subject::Tidecast => common::tidecast(["relay", &from, "--to", &format!("udp://{to}")]),
            Subject::TidecastHttp => common::tidecast(["relay", &from, "--http", &to.to_string()]),
            Subject::TidecastFec => {
                let to = format!("udp://{to}?payload=1");
                common::tidecast(["relay", &of_rtp, "--fec", "st2022-1", "--to", &to])
            }
            Subject::Ffmpeg => ffmpeg(&format!("udp://{ts}?localaddr=127.0.0.1&reuse=1"), &[], to),
            Subject::FfmpegRtp => ffmpeg(&format!("rtp://{rtp}?localaddr=127.0.0.1&reuse=1"), &[], to),
            Subject::FfmpegAll => {
                ffmpeg(&format!("udp://{ts}?localaddr=127.0.0.1&reuse=1"), &["-map", "0"], to)
            }
            Subject::Gstreamer => gstreamer(place, to),
            Subject::Vlc => vlc(&format!("udp://@{ts}"), &format!("access=udp,mux=ts,dst={to}"), folder),
            Subject::VlcRtp => vlc(&format!("rtp://@{rtp}"), &format!("access=udp,mux=ts,dst={to}"), folder),
            Subject::VlcHttp => {
                vlc(&format!("udp://@{ts}"), &format!("access=http,mux=ts,dst={to}{PATH}"), folder)
            }
        };
        command.stdout(Stdio::null());
        command
    }
}

/// Returns whether a program is on the PATH.
pub fn installed(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn ffmpeg(from: &str, streams: &[&str], to: SocketAddr) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "warning", "-i", from]);
    command.args(streams).args(["-c", "copy", "-f", "mpegts", &format!("udp://{to}?pkt_size=1316")]);
    command
}

/// Returns GStreamer's pipeline, which must list the streams by their kinds: otherwise it would
/// take only the first stream.
fn gstreamer(place: Place, to: SocketAddr) -> Command {
    let (group, port) = (place.ts.ip(), place.ts.port());
    let pipeline = format!(
        "udpsrc address={group} port={port} multicast-iface=lo caps=video/mpegts,systemstream=true,packetsize=188 ! \
         tsdemux name=d mpegtsmux name=m alignment=7 ! udpsink host={} port={} sync=false \
         d. ! video/x-h264 ! h264parse ! queue ! m. d. ! audio/mpeg ! aacparse ! queue ! m.",
        to.ip(),
        to.port()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    command
}

fn vlc(from: &str, to: &str, folder: &Path) -> Command {
    let mut command = Command::new("cvlc");
    command.args(["-I", "dummy", "--no-dbus", "--miface", "lo", from]);
    command.args(["--sout", &format!("#std{{{to}}}"), "--sout-keep"]);
    command.env("HOME", folder).current_dir(folder);
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
