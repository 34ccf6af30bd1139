//! Players that connect in the middle of a film: the stream starts with a key frame, and they
//! report no errors. They find the film in the playlist, in its description, and in the
//! announcements.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::common::{Running, free_port, get, group, have, joined, now, tidecast, until};
use super::players::{ALONE, Vlc, open_to_all};

const PACKET: usize = 188;
/// Pictures between two key frames: 2 s.
const GROUP: usize = 50;
const VIDEO: u16 = 0x100;

/// Creates a film of 30 s with a key frame every 2 s, with this encoder.
fn film(folder: &Path, encoder: &str) -> PathBuf {
    let film = folder.join(format!("{encoder}.ts"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine", "-t", "30", "-c:v", encoder, "-pix_fmt", "yuv420p"]);
    match encoder {
        "libx264" => ffmpeg.args(["-preset", "ultrafast", "-g", "50", "-sc_threshold", "0"]),
        "libx265" => {
            let options = "log-level=none:keyint=50:min-keyint=50:scenecut=0";
            ffmpeg.args(["-preset", "ultrafast", "-x265-params", options])
        }
        _ => ffmpeg.args(["-g", "50", "-sc_threshold", "0"]),
    };
    ffmpeg.args(["-c:a", "aac", "-mpegts_start_pid", &VIDEO.to_string(), "-f", "mpegts"]).arg(&film);
    assert!(ffmpeg.status().expect("ffmpeg").success(), "{encoder}");
    film
}

fn packets(film: &[u8]) -> &[[u8; PACKET]] {
    film.as_chunks().0
}

fn pid(packet: &[u8; PACKET]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn is_indicated(packet: &[u8; PACKET]) -> bool {
    packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0
}

/// Returns where the key frames of the film start, by the indicator, which ffmpeg also sets on
/// audio.
fn key_frames(film: &[u8]) -> Vec<usize> {
    let keys = packets(film).iter().enumerate().filter(|(_, p)| pid(p) == VIDEO && is_indicated(p));
    keys.map(|(place, _)| place).collect()
}

/// Returns the same film with the indicator set only on audio.
fn without_indicator(film: &[u8]) -> Vec<u8> {
    let mut film = film.to_vec();
    for packet in film.as_chunks_mut::<PACKET>().0 {
        if pid(packet) == VIDEO && is_indicated(packet) {
            packet[5] &= !0x40;
        }
    }
    film
}

/// A relay, and the film that is sent through it.
struct Showing {
    relay: Running,
    _sender: Running,
    http: SocketAddr,
    folder: tempfile::TempDir,
}

impl Showing {
    /// Starts a showing. `more`: further lines of the channel.
    fn of(film: &Path, folder: tempfile::TempDir, more: &str) -> Showing {
        let (from, port) = (group(), free_port());
        let config = folder.path().join("relay.toml");
        let text = format!(
            "http.listen = \"127.0.0.1:0\"\n[[channel]]\nname = \"film\"\n\
             input = [\"udp://@{from}:{port}?if=127.0.0.1\"]\n{more}\n"
        );
        fs::write(&config, text).expect("write");
        let mut relay = Running::tidecast(["serve".as_ref(), "--config".as_ref(), config.as_os_str()]);
        let http = relay.http();
        let to = format!("udp://{from}:{port}?if=127.0.0.1&ttl=0");
        let film = film.to_str().expect("a name");
        let sender = Running::start(tidecast(["send", &to, "--loop", "--file", film]));
        Showing { relay, _sender: sender, http, folder }
    }

    fn of_encoder(encoder: &str, more: &str) -> Showing {
        let folder = tempfile::tempdir().expect("a folder");
        open_to_all(folder.path());
        let film = film(folder.path(), encoder);
        Showing::of(&film, folder, more)
    }

    /// Waits until this many packets of the film have arrived.
    fn until_packets(&self, count: usize) {
        until(&format!("{count} packets"), || {
            let state: serde_json::Value = serde_json::from_str(&get(self.http, "/api/v1/streams").2).ok()?;
            let bytes = state["channels"][0]["legs"][0]["bytes"].as_u64()?;
            (bytes as usize >= count * PACKET).then_some(())
        });
    }

    /// Returns the first bytes of a stream, and the time from connecting until the last of them.
    fn read(&self, query: &str, count: usize) -> (Vec<u8>, Duration) {
        let start = now();
        let mut stream = TcpStream::connect(self.http).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
        write!(stream, "GET /streams/film{query} HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let mut body = vec![0; count];
        stream.read_exact(&mut body).expect("a body");
        (body, start.elapsed())
    }
}

/// Returns the position of these bytes in the film.
fn place(film: &[u8], bytes: &[u8]) -> Option<usize> {
    packets(film).iter().position(|packet| packet[..] == bytes[..PACKET]).filter(|place| {
        let from = place * PACKET;
        film.get(from..from + bytes.len()) == Some(bytes)
    })
}

/// The stream starts with the tables and continues with the film from the last key frame, byte for
/// byte, up to the live position.
#[test]
fn a_stream_begins_with_tables_and_the_last_key_frame_of_each_codec() {
    if !have("ffmpeg") {
        return;
    }
    for (encoder, indicated) in
        [("libx264", true), ("libx264", false), ("libx265", false), ("mpeg2video", false)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let file = film(folder.path(), encoder);
        let original = fs::read(&file).expect("the film");
        let keys = key_frames(&original);
        assert_eq!(keys.len(), 30 * 25 / GROUP, "{encoder}");
        let sent = if indicated { original } else { without_indicator(&original) };
        fs::write(&file, &sent).expect("write");
        let showing = Showing::of(&file, folder, "");
        // In the middle of the second and of the third group of pictures; the read bytes extend to
        // the live position.
        for at in [(keys[1] + keys[2]) / 2, (keys[2] + keys[3]) / 2] {
            showing.until_packets(at);
            let (body, took) = showing.read("", 4 * PACKET);
            let (tables, frame) = body.split_at(2 * PACKET);
            assert_eq!(packets(tables).iter().map(pid).collect::<Vec<_>>(), [0, 0x1000], "{encoder}");
            let begins = place(&sent, frame).unwrap_or_else(|| panic!("{encoder}: not of the film"));
            assert!(keys.contains(&begins), "{encoder}: packet {begins} is none of {keys:?}");
            println!("{encoder}: the key frame at {begins} began after {took:?}");
            let (body, _) = showing.read("", (keys[2] - keys[1] + 2) * PACKET);
            let begins = place(&sent, &body[2 * PACKET..]).expect("the film without a gap");
            assert!(keys.contains(&begins), "{encoder}: packet {begins} is none of {keys:?}");
        }
        let (live, _) = showing.read("?start=live", 7 * PACKET);
        assert!(place(&sent, &live).is_some_and(|begins| !keys.contains(&begins)), "{encoder}");
    }
}

/// Forwards one connection, and reports when it was opened.
fn watched(to: SocketAddr) -> (SocketAddr, Receiver<Instant>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = listener.local_addr().expect("address");
    let (tell, told) = channel();
    thread::spawn(move || {
        let (near, _) = listener.accept().expect("accept");
        tell.send(now()).expect("somebody waits");
        let far = TcpStream::connect(to).expect("connect");
        let (mut from, mut into) = (near.try_clone().expect("clone"), far.try_clone().expect("clone"));
        thread::spawn(move || io::copy(&mut from, &mut into));
        let _ = io::copy(&mut &far, &mut &near); // until ffprobe disconnects
        let _ = far.shutdown(Shutdown::Both);
    });
    (address, told)
}

/// Returns the time from connecting until ffprobe has the first video packet, and its flags.
fn probe(http: SocketAddr) -> (String, Duration) {
    let (address, connected) = watched(http);
    let mut ffprobe = Command::new("ffprobe")
        .args(["-v", "error", "-analyzeduration", "0", "-probesize", "10000", "-select_streams", "v:0"])
        .args(["-show_entries", "packet=flags", "-of", "csv=p=0", "-read_intervals", "%+#1"])
        .arg(format!("http://{address}/streams/film"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffprobe");
    let mut line = String::new();
    BufReader::new(ffprobe.stdout.take().expect("piped")).read_line(&mut line).expect("text");
    let took = connected.recv().expect("a connection").elapsed();
    ffprobe.wait().expect("its end");
    (line, took)
}

/// The first video packet that ffprobe gets is a key frame's, at any position in the group of
/// pictures. The time from connecting is printed and not checked, because the machine is shared.
#[test]
fn ffprobe_sees_a_key_frame_first_wherever_it_comes() {
    if !have("ffprobe") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let showing = Showing::of_encoder("libx264", "");
    showing.until_packets(1000);
    let mut times = Vec::new();
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(430));
        let (flags, took) = probe(showing.http);
        assert!(flags.starts_with('K'), "{flags:?}");
        times.push(took);
    }
    times.sort();
    println!("ffprobe has its key frame after {times:?}");
}

/// ffmpeg decodes and VLC plays from the middle of the film, and no picture is missing to which
/// another refers.
#[test]
fn players_that_come_in_the_middle_have_nothing_to_complain_about() {
    if !have("ffmpeg") || !have("cvlc") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let showing = Showing::of_encoder("libx264", "");
    showing.until_packets(800);
    let url = format!("http://{}/streams/film", showing.http);
    let vlc = Vlc::open(&url, showing.folder.path(), &[]);
    let ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i", &url, "-map", "0:v", "-frames:v", "60", "-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    let complaints = String::from_utf8_lossy(&ffmpeg.stderr).into_owned();
    assert!(ffmpeg.status.success() && complaints.is_empty(), "{complaints}");
    vlc.until_pictures(60);
    let complaints = vlc.complaints();
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn vlc_opens_the_playlist_and_the_description_and_lists_what_is_announced() {
    if !have("ffmpeg") || !have("cvlc") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (out, port) = (group(), free_port() & !1);
    let more = format!("output = [\"rtp://{out}:{port}?if=127.0.0.1&ttl=0\"]\nsap = true");
    let mut showing = Showing::of_encoder("libx264", &more);
    showing.until_packets(200);
    let (http, folder) = (showing.http, showing.folder.path().to_owned());
    let (status, head, playlist) = get(http, "/playlist.m3u");
    assert!(status == 200 && head.contains("audio/x-mpegurl"), "{head}");
    let expected =
        format!("#EXTM3U\n#EXTINF:-1 tvg-id=\"film\" tvg-name=\"film\",film\nhttp://{http}/streams/film\n");
    assert_eq!(playlist, expected);
    let (status, head, sdp) = get(http, "/streams/film.sdp");
    assert!(status == 200 && head.contains("application/sdp"), "{head}");
    assert!(
        sdp.contains(&format!("c=IN IP4 {out}/0\r\n"))
            && sdp.contains(&format!("m=video {port} RTP/AVP 33\r\n"))
    );

    let playlist = Vlc::open(&format!("http://{http}/playlist.m3u"), &folder, &[]);
    let description = Vlc::open(&format!("http://{http}/streams/film.sdp"), &folder, &[]);
    let listing = Vlc::open("vlc://nop", &folder, &["--services-discovery", "sap"]);
    playlist.until_pictures(25);
    listing.until_listed("film");
    // A VLC without live555 takes the address from the description, and plays it on a second
    // request.
    until("VLC to have the description", || description.listed("film [played").then_some(()));
    description.play();
    description.until_pictures(25);

    // ffprobe opens the description too
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-protocol_whitelist", "http,tcp,udp,rtp", "-localaddr", "127.0.0.1"])
        .args(["-show_entries", "stream=codec_name", "-of", "csv=p=0"])
        .arg(format!("http://{http}/streams/film.sdp?output=0"))
        .output()
        .expect("ffprobe");
    let found = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(found.contains("h264"), "{found:?} {}", String::from_utf8_lossy(&probe.stderr));

    // At the end the announcement is withdrawn. VLC keeps it, because a withdrawal may be forged.
    let announcements = joined(Ipv4Addr::new(239, 255, 255, 255), 9875);
    showing.relay.stop();
    until("a deletion", || {
        let mut packet = [0; 2048];
        let count = announcements.recv(&mut packet).ok()?;
        let text = String::from_utf8_lossy(&packet[8..count]).into_owned();
        (packet[0] == 0x24 && text.starts_with("application/sdp\0v=0") && text.contains(&format!("{out}/0")))
            .then_some(())
    });
}

#[test]
fn a_snapshot_is_the_last_key_frame() {
    if !have("ffmpeg") {
        return;
    }
    for encoder in ["libx264", "libx265", "mpeg2video"] {
        let showing = Showing::of_encoder(encoder, "");
        showing.until_packets(400);
        let mut stream = TcpStream::connect(showing.http).expect("connect");
        let request = "GET /streams/film/snapshot.jpg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("write");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("read");
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let (head, jpeg) = answer.split_at(head);
        assert!(head.starts_with(b"HTTP/1.1 200"), "{encoder}: {}", String::from_utf8_lossy(&answer));
        let file = showing.folder.path().join("snapshot.jpg");
        fs::write(&file, jpeg).expect("write");
        let probe = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"])
            .arg(&file)
            .output()
            .expect("ffprobe");
        assert_eq!(String::from_utf8_lossy(&probe.stdout).trim(), "mjpeg,320,240", "{encoder}");
    }
    let showing = Showing::of_encoder("libx264", "");
    let (status, _, why) = get(showing.http, "/streams/nothing/snapshot.jpg");
    assert!(status == 404 && why.contains("expected film"), "{status} {why}");
}
