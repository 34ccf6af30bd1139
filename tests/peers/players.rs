//! VLC, ffmpeg and GStreamer decode the relay's streams, over HTTP, UDP and RTP, and log no error.
//!
//! All players of a run start before the sender and play the same film at the same time. A UDP
//! player is ready once it has bound its port, which /proc/net/udp shows; HTTP clients are counted
//! by the relay.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    FRAMES, Sent,
    common::{Running, free_port, group, have, is_root, until, until_clients},
};

/// Minimum number of pictures that a player must have decoded.
const ENOUGH: usize = FRAMES - 10;
/// The same for VLC, which reads in large pieces: when a stream stops, it waits for the rest of
/// the last piece.
const ENOUGH_FOR_VLC: usize = FRAMES - 30;

/// Only one run at a time, because late pictures depend on the machine's load.
pub(super) static ALONE: Mutex<()> = Mutex::new(());

/// The source that a player opens.
#[derive(Clone, Debug)]
enum Source {
    Http(SocketAddr),
    /// MPEG-TS over UDP, unicast.
    Udp(u16),
    /// The same from a group.
    Group(Ipv4Addr, u16),
    /// MPEG-TS in RTP, unicast, to an even port (RTCP has the next).
    Rtp(u16),
}

impl Source {
    /// An even port with a free neighbour.
    fn rtp() -> Source {
        let port = until("an even port", || {
            let port = free_port();
            let neighbour = UdpSocket::bind((Ipv4Addr::LOCALHOST, port | 1));
            (port.is_multiple_of(2) && neighbour.is_ok()).then_some(port)
        });
        Source::Rtp(port)
    }

    /// Returns the relay's output for it, or `None` for HTTP. `payload`: the option that extracts
    /// the transport stream from RTP.
    fn output(&self, payload: &str) -> Option<String> {
        match self {
            Source::Http(_) => None,
            Source::Udp(port) => Some(format!("udp://127.0.0.1:{port}?{payload}")),
            Source::Group(group, port) => Some(format!("udp://{group}:{port}?ttl=0&if=127.0.0.1&{payload}")),
            Source::Rtp(port) => Some(format!("rtp://127.0.0.1:{port}")),
        }
    }

    fn until_listening(&self, players: usize) {
        if let Source::Udp(port) | Source::Group(_, port) | Source::Rtp(port) = self {
            until(&format!("{players} players on port {port}"), || {
                (listeners(*port) == players).then_some(())
            });
        }
        if let Source::Group(group, _) = self {
            until(&format!("{players} members of {group}"), || (members(*group) >= players).then_some(()));
        }
    }
}

/// Returns the number of sockets bound to a UDP port.
fn listeners(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/udp").expect("/proc");
    let local = format!(":{port:04X}");
    table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|a| a.ends_with(&local))).count()
}

/// Returns the number of sockets that have joined a group.
fn members(group: Ipv4Addr) -> usize {
    let table = fs::read_to_string("/proc/net/igmp").expect("/proc");
    let name = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    let lines = table.lines().filter_map(|line| line.trim().strip_prefix(&name)?.split_whitespace().next());
    lines.filter_map(|users| users.parse::<usize>().ok()).sum()
}

/// A running player.
trait Player {
    /// Waits until it has decoded the film, ends it, and returns the number of pictures and its
    /// error messages.
    fn finish(&mut self) -> (usize, String);
}

/// ffmpeg, which ends by itself after [`ENOUGH`] pictures.
struct Ffmpeg {
    running: Running,
    progress: Option<JoinHandle<usize>>,
}

impl Ffmpeg {
    fn start(source: &Source, folder: &Path) -> Ffmpeg {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-progress", "pipe:1"]);
        match source {
            Source::Http(http) => ffmpeg.args(["-i", &format!("http://{http}/streams/main")]),
            Source::Udp(port) => ffmpeg.args(["-i", &format!("udp://127.0.0.1:{port}")]),
            Source::Group(group, port) => {
                ffmpeg.args(["-i", &format!("udp://{group}:{port}?localaddr=127.0.0.1&reuse=1")])
            }
            Source::Rtp(port) => {
                let sdp = folder.join(format!("{port}.sdp"));
                fs::write(&sdp, session_description(*port)).expect("write");
                ffmpeg.args(["-protocol_whitelist", "file,udp,rtp", "-i"]).arg(sdp)
            }
        };
        ffmpeg.args(["-map", "0:v", "-map", "0:a", "-frames:v", &ENOUGH.to_string(), "-frames:a", "200"]);
        ffmpeg.args(["-f", "null", "-"]).stdout(Stdio::piped());
        let mut running = Running::start(ffmpeg);
        let progress = running.child.stdout.take().expect("piped");
        let frames = move || {
            let lines = BufReader::new(progress).lines().map_while(Result::ok);
            let frames = lines.filter_map(|line| line.strip_prefix("frame=")?.trim().parse().ok());
            frames.max().unwrap_or(0)
        };
        Ffmpeg { running, progress: Some(thread::spawn(frames)) }
    }
}

/// Returns a session description, from which ffmpeg knows the RTP stream before its first packet:
/// with rtp://, it would use that packet to detect the format, and not play it.
fn session_description(port: u16) -> String {
    format!(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n\
         m=video {port} RTP/AVP 33\na=rtpmap:33 MP2T/90000\n"
    )
}

impl Player for Ffmpeg {
    fn finish(&mut self) -> (usize, String) {
        let status = self.running.wait();
        let frames = self.progress.take().expect("once").join().expect("no panic");
        let failed = if status.success() { String::new() } else { format!("{status}\n") };
        (frames, failed + &self.running.stderr())
    }
}

/// GStreamer, which writes each picture as 16 by 16 grey pixels, so that the file's length shows
/// their number.
struct Gstreamer {
    running: Running,
    pictures: PathBuf,
    output: Option<JoinHandle<String>>,
}

impl Gstreamer {
    const PICTURE: usize = 16 * 16;

    fn start(source: &Source, folder: &Path) -> Gstreamer {
        let pictures = folder.join(format!("gstreamer-{}", free_port()));
        let ts = "caps=video/mpegts,systemstream=true,packetsize=188";
        let rtp = "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33";
        let from = match source {
            Source::Http(http) => format!("souphttpsrc location=http://{http}/streams/main is-live=true"),
            Source::Udp(port) => format!("udpsrc address=127.0.0.1 port={port} {ts}"),
            Source::Group(group, port) => {
                format!("udpsrc address={group} port={port} multicast-iface=lo {ts}")
            }
            Source::Rtp(port) => {
                format!("udpsrc address=127.0.0.1 port={port} {rtp} ! rtpjitterbuffer ! rtpmp2tdepay")
            }
        };
        let pipeline = format!(
            "{from} ! decodebin name=d \
             d. ! video/x-raw ! videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=16,height=16 ! \
             filesink buffer-mode=unbuffered location={} \
             d. ! audio/x-raw ! fakesink",
            pictures.display()
        );
        let mut gstreamer = Command::new("gst-launch-1.0");
        gstreamer.arg("-e").args(pipeline.split_whitespace()).env("GST_DEBUG", "1").stdout(Stdio::piped());
        let mut running = Running::start(gstreamer);
        let mut stdout = running.child.stdout.take().expect("piped");
        let output = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("text");
            text
        });
        Gstreamer { running, pictures, output: Some(output) }
    }

    fn frames(&self) -> usize {
        fs::metadata(&self.pictures).map_or(0, |file| file.len() as usize / Self::PICTURE)
    }
}

impl Player for Gstreamer {
    fn finish(&mut self) -> (usize, String) {
        // The stream has ended, but its last bytes may still be in transit: a truncated picture
        // would be an error.
        until("pictures of GStreamer", || {
            let before = self.frames();
            thread::sleep(Duration::from_millis(500));
            (before >= ENOUGH && self.frames() == before).then_some(())
        });
        self.running.signal("INT");
        let status = self.running.wait();
        let output = self.output.take().expect("once").join().expect("no panic") + &self.running.stderr();
        let bad = |line: &&str| ["ERROR", "WARN", "CRITICAL"].iter().any(|word| line.contains(word));
        let complaints = output.lines().filter(bad).map(|line| format!("{line}\n")).collect::<String>();
        let failed = if status.success() { String::new() } else { format!("{status}\n{output}") };
        (self.frames(), failed + &complaints)
    }
}

/// VLC, which plays to a dummy screen and loudspeaker, and is controlled over its remote control
/// interface.
pub(super) struct Vlc {
    running: Running,
    remote: SocketAddr,
}

impl Vlc {
    fn start(source: &Source, folder: &Path) -> Vlc {
        let url = match source {
            Source::Http(http) => format!("http://{http}/streams/main"),
            Source::Udp(port) => format!("udp://@127.0.0.1:{port}"),
            Source::Group(group, port) => format!("udp://@{group}:{port}"),
            Source::Rtp(port) => format!("rtp://@127.0.0.1:{port}"),
        };
        Vlc::open(&url, folder, &[])
    }

    /// Opens a URL in VLC, with additional options.
    pub(super) fn open(url: &str, folder: &Path, options: &[&str]) -> Vlc {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut vlc = Command::new("cvlc");
        vlc.args(["-I", "rc", "--rc-host", &remote.to_string(), "--verbose", "1", "--no-dbus"]);
        vlc.args(["--no-video-title-show", "--no-drop-late-frames", "--no-skip-frames"]);
        vlc.args(["--vout", "vdummy", "--aout", "adummy", "--miface", "lo"]);
        vlc.args(options).arg(url);
        vlc.env("HOME", folder).current_dir(folder).stdout(Stdio::null());
        if is_root() {
            vlc.uid(65_534).gid(65_534); // VLC refuses to run as root
        }
        Vlc { running: Running::start(vlc), remote }
    }

    /// Returns the response to one command.
    fn ask(&self, command: &str, end: &str) -> Option<String> {
        let mut remote = TcpStream::connect(self.remote).ok()?;
        remote.set_read_timeout(Some(Duration::from_secs(5))).expect("time-out");
        remote.write_all(command.as_bytes()).ok()?;
        let (mut answer, mut memory) = (String::new(), [0; 4096]);
        while !answer.contains(end) {
            let len = remote.read(&mut memory).ok().filter(|len| *len > 0)?;
            answer.push_str(&String::from_utf8_lossy(&memory[..len]));
        }
        Some(answer)
    }

    /// Returns its statistics. VLC updates them only when something happens, such as playing at
    /// normal speed; its queue of such commands is short.
    fn statistics(&self) -> Option<String> {
        thread::sleep(Duration::from_millis(500));
        self.ask("normal\nstats\n", "end of statistical info")
    }

    /// Returns the number of decoded pictures: VLC 3 counts each when it leaves the decoder, and
    /// again when it is queued for display. The number of displayed ones depends on when the
    /// display started, so it is not used.
    fn decoded(statistics: &str) -> usize {
        statistic(statistics, "video decoded").div_ceil(2)
    }

    /// Waits until it has decoded this many pictures.
    pub(super) fn until_pictures(&self, count: usize) {
        until(&format!("{count} pictures of VLC"), || {
            self.statistics().filter(|text| text.contains("video decoded") && Vlc::decoded(text) >= count)
        });
    }

    /// Waits until it has decoded this many audio blocks.
    pub(super) fn until_sounds(&self, count: usize) {
        until(&format!("{count} sounds of VLC"), || {
            self.statistics()
                .filter(|text| text.contains("audio decoded") && statistic(text, "audio decoded") >= count)
        });
    }

    /// Starts playback; repeats the command while VLC is too busy to respond.
    pub(super) fn play(&self) {
        until("VLC to play", || self.ask("play\nstats\n", "end of statistical info"));
    }

    /// Returns its messages about damage so far.
    pub(super) fn complaints(&self) -> String {
        let lines = self.running.stderr();
        lines.lines().filter(|line| Vlc::is_complaint(line)).map(|line| format!("{line}\n")).collect()
    }

    /// Returns whether its playlist has an item of this name.
    pub(super) fn listed(&self, name: &str) -> bool {
        let list = self.ask("playlist\n", "End of playlist").unwrap_or_default();
        list.lines().any(|line| line.contains(" - ") && line.contains(name))
    }

    /// Waits until its playlist has an item of this name.
    pub(super) fn until_listed(&self, name: &str) {
        until(&format!("{name} in VLC's list"), || self.listed(name).then_some(()));
    }

    /// Returns whether such a line means that data did not arrive or could not be decoded.
    /// Messages about the missing desktop, or about a picture that this machine was too slow to
    /// show, do not count.
    fn is_complaint(line: &str) -> bool {
        let of_the_desktop = line.contains("no suitable interface module") || line.contains("globalhotkeys");
        let damage = ["discontinuity", "lost", "corrupt", "damaged", "malformed", "out of sync"];
        line.contains(" error") && !of_the_desktop
            || line.contains(" warning") && damage.iter().any(|word| line.contains(word))
    }
}

/// Returns a value of VLC's statistics.
fn statistic(statistics: &str, name: &str) -> usize {
    let line = statistics.lines().find(|line| line.contains(name)).expect("the line");
    line.split_once(':').and_then(|(_, value)| value.trim().parse().ok()).expect("a number")
}

impl Player for Vlc {
    fn finish(&mut self) -> (usize, String) {
        let statistics = until("pictures of VLC", || {
            self.statistics().filter(|text| Vlc::decoded(text) >= ENOUGH_FOR_VLC)
        });
        let faults = ["demux corrupted", "discontinuities", "frames lost", "buffers lost"];
        let mut complaints = String::new();
        if faults.iter().any(|name| statistic(&statistics, name) > 0) {
            complaints.push_str(&statistics);
        }
        // It is killed at the end, because its messages while closing are not about the stream.
        let stderr = self.running.stderr();
        complaints
            .extend(stderr.lines().filter(|line| Vlc::is_complaint(line)).map(|line| format!("{line}\n")));
        (Vlc::decoded(&statistics), complaints)
    }
}

/// Makes a folder accessible to VLC, which does not run as root and needs a home folder.
pub(super) fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("permissions");
}

type Start = fn(&Source, &Path) -> Box<dyn Player>;
const PLAYERS: [(&str, Start); 3] = [
    ("ffmpeg", |source, folder| Box::new(Ffmpeg::start(source, folder))),
    ("GStreamer", |source, folder| Box::new(Gstreamer::start(source, folder))),
    ("VLC", |source, folder| Box::new(Vlc::start(source, folder))),
];

/// Relays a stream of ffmpeg; each of the players plays each of the sources.
fn play(sent: Sent, payload: &str, sources: impl Fn(SocketAddr) -> Vec<Vec<Source>>) {
    if !["ffmpeg", "gst-launch-1.0", "cvlc"].iter().all(|program| have(program)) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().expect("a folder");
    open_to_all(folder.path());
    let (from, http) = ((group(), free_port()), SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let sources = sources(http);
    let mut outputs: Vec<String> =
        sources.iter().flatten().filter_map(|source| source.output(payload)).collect();
    outputs.dedup();
    let mut arguments =
        vec!["relay".to_owned(), sent.input(from.0, from.1), "--http".into(), http.to_string()];
    arguments.push("--to".into());
    arguments.extend(outputs);
    let mut relay = Running::tidecast(arguments);

    let mut players = Vec::new();
    for of_one_kind in &sources {
        for ((name, start), source) in PLAYERS.iter().zip(of_one_kind) {
            players.push((format!("{name} of {source:?}"), start(source, folder.path())));
        }
    }
    let shared = |source: &&Source| matches!(source, Source::Group(..));
    for of_one_kind in &sources {
        let players = of_one_kind.iter().filter(shared).count().max(1);
        of_one_kind.iter().for_each(|source| source.until_listening(players));
    }
    until_clients(http, sources.iter().flatten().filter(|s| matches!(s, Source::Http(_))).count() as u64);
    Sent::finish(sent.start(from.0, from.1));

    for (name, player) in &mut players {
        let (frames, complaints) = player.finish();
        assert!(complaints.is_empty(), "{name} complains:\n{complaints}");
        let plausible = if name.starts_with("VLC") { ENOUGH_FOR_VLC } else { ENOUGH }..=FRAMES;
        assert!(plausible.contains(&frames), "{name} has decoded {frames} pictures of {FRAMES}");
    }
    let summary = relay.stop();
    assert!(summary.contains("lost 0,"), "{summary}");
}

#[test]
fn players_decode_rtp_over_http_udp_and_rtp() {
    play(Sent::Rtp, "payload=1", |http| {
        vec![
            vec![Source::Http(http); 3],
            (0..3).map(|_| Source::Udp(free_port())).collect(),
            (0..3).map(|_| Source::rtp()).collect(),
        ]
    });
}

#[test]
fn players_decode_a_plain_transport_stream_over_http_multicast_and_rtp() {
    play(Sent::Ts, "", |http| {
        vec![
            vec![Source::Http(http); 3],
            vec![Source::Group(group(), free_port()); 3],
            (0..3).map(|_| Source::rtp()).collect(),
        ]
    });
}
