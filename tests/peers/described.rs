//! RTP that carries no transport stream: ffmpeg, GStreamer and VLC play it from the relay's own
//! description, and a camera's sound is synchronous with its picture.
//!
//! VLC plays only the static payload types, from the address: Debian builds it without live555,
//! which reads descriptions.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    common::{Running, free_ports, get, have, metric, until},
    pipelines::gstreamer,
    players::{ALONE, Vlc, open_to_all},
};

/// Senders of sound: name, encoder options of ffmpeg, and the channel's description.
const SOUNDS: [(&str, &str, &str); 4] = [
    ("l16", "-ac 2 -ar 44100 -c:a pcm_s16be", ""),
    ("pcmu", "-ac 1 -ar 8000 -c:a pcm_mulaw", ""),
    ("l24", "-ac 2 -ar 48000 -c:a pcm_s24be", "rtpmap = \"97 L24/48000/2\""),
    ("opus", "-ac 2 -ar 48000 -c:a libopus", "rtpmap = \"97 opus/48000/2\""),
];

fn ffmpeg(arguments: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner"]).args(arguments.split_whitespace()).stdout(Stdio::null());
    ffmpeg
}

/// Starts a camera: a white picture and a tone for a fifth of each second, on two ports; it writes
/// its description.
fn camera(video: u16, audio: u16, file: &Path) -> Running {
    let mut camera = ffmpeg("-v error -re -f lavfi -i");
    camera.arg("color=black:s=320x240:r=25,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.2)'");
    camera.args(["-re", "-f", "lavfi", "-i"]);
    camera.arg("aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(6283*t),0)':s=48000");
    camera.args("-map 0:v -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -f rtp".split(' '));
    camera.arg(format!("rtp://127.0.0.1:{video}"));
    camera.args("-map 1:a -c:a libopus -f rtp".split(' ')).arg(format!("rtp://127.0.0.1:{audio}"));
    camera.arg("-sdp_file").arg(file).stdout(Stdio::null());
    let running = Running::start(camera);
    until("the camera's description", || {
        fs::read_to_string(file).ok().filter(|text| text.contains("a=rtpmap:97")).map(|_| ())
    });
    running
}

fn channel(name: &str, input: u16, output: u16, more: &str) -> String {
    format!(
        "[[channel]]\nname = {name:?}\ninput = \"rtp://@127.0.0.1:{input}\"\n\
         output = \"rtp://127.0.0.1:{output}\"\n{more}\n"
    )
}

fn serve(folder: &Path, channels: &str) -> (Running, SocketAddr) {
    let file = folder.join("relay.toml");
    fs::write(&file, format!("[http]\nlisten = \"127.0.0.1:0\"\n{channels}")).expect("write");
    let mut relay = Running::tidecast(["serve", "-c", file.to_str().expect("text")]);
    let http = relay.http();
    (relay, http)
}

fn until_delivered(http: SocketAddr, name: &str) {
    until(&format!("packets of {name}"), || {
        let channel = format!("channel=\"{name}\"");
        (metric(http, &["tidecast_packets_delivered_total", &channel]) >= 10.0).then_some(())
    });
}

/// Decodes some seconds of a description with ffmpeg. Returns its log.
fn decode(url: &str, level: &str, rest: &str) -> String {
    let output =
        ffmpeg(&format!("-v {level} -protocol_whitelist http,tcp,udp,rtp -i {url} {rest} -f null -"))
            .output()
            .expect("ffmpeg");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{url}: {said}");
    said
}

#[test]
fn players_take_the_description_of_what_is_no_transport_stream() {
    if !have("ffmpeg") || !have("gst-launch-1.0") || !have("cvlc") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().expect("folder");
    open_to_all(folder.path());
    let (input, output) = (free_ports(12), free_ports(12));
    let _camera = camera(input + 8, input + 10, &folder.path().join("camera.sdp"));
    let sounds: Vec<(&str, &str, &str, u16)> = SOUNDS
        .iter()
        .zip((0..8).step_by(2))
        .map(|((name, how, more), port)| (*name, *how, *more, port))
        .collect();
    let mut channels: String =
        sounds.iter().map(|(name, _, more, port)| channel(name, input + port, output + port, more)).collect();
    for (name, port) in [("video", 8), ("audio", 10)] {
        channels += &channel(name, input + port, output + port, "sdp = \"camera.sdp\"");
    }
    let (_relay, http) = serve(folder.path(), &channels);
    let senders = sounds.iter().map(|(_, how, _, port)| {
        Running::start(ffmpeg(&format!(
            "-v error -re -f lavfi -i sine=440 {how} -f rtp rtp://127.0.0.1:{}",
            input + port
        )))
    });
    let _senders: Vec<Running> = senders.collect();
    for name in ["l16", "pcmu", "l24", "opus", "video", "audio"] {
        until_delivered(http, name);
    }
    let described = get(http, "/streams/video.sdp").2;
    for line in
        [" RTP/AVP 96\r\n", "a=fmtp:96 packetization-mode=1", " RTP/AVP 97\r\n", "a=rtpmap:97 opus/48000/2"]
    {
        assert!(described.contains(line), "{line}: {described}");
    }
    for name in ["l16", "pcmu", "l24", "opus"] {
        let url = format!("http://{http}/streams/{name}.sdp");
        assert_eq!(decode(&url, "error", "-t 1"), "", "{name}");
        let mut player = gstreamer(&format!(
            "souphttpsrc location={url} ! sdpdemux ! decodebin ! audio/x-raw ! fakesink num-buffers=50"
        ));
        let status = player.wait();
        assert!(status.success() && player.stderr().is_empty(), "{name}: {status} {}", player.stderr());
    }
    // The first pictures refer to a key frame that was sent before.
    decode(&format!("http://{http}/streams/video.sdp"), "fatal", "-map 0:v -map 0:a -t 2");
    let mut player = gstreamer(&format!(
        "souphttpsrc location=http://{http}/streams/video.sdp ! sdpdemux name=s \
         s. ! application/x-rtp,media=video ! decodebin ! video/x-raw ! fakesink num-buffers=50 \
         s. ! application/x-rtp,media=audio ! decodebin ! audio/x-raw ! fakesink num-buffers=50"
    ));
    let status = player.wait();
    assert!(status.success() && player.stderr().is_empty(), "{status} {}", player.stderr());
    for port in [output, output + 2] {
        let vlc = Vlc::open(&format!("rtp://@127.0.0.1:{port}"), folder.path(), &[]);
        vlc.until_sounds(50);
        assert_eq!(vlc.complaints(), "");
    }
}

/// Returns when each flash and each tone started, by the player's timestamps, within their second.
fn begins(log: &str, word: &str) -> Vec<f64> {
    let times = log.split(word).skip(1).filter_map(|rest| {
        let digits: String =
            rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        digits.parse::<f64>().ok()
    });
    times.collect()
}

/// Returns how much later the sound is than the picture of the same moment, in seconds, after some
/// time.
fn sound_behind(rtcp: &str) -> f64 {
    let folder = tempfile::tempdir().expect("folder");
    let (input, output) = (free_ports(4), free_ports(4));
    let _camera = camera(input, input + 2, &folder.path().join("camera.sdp"));
    let said = "sdp = \"camera.sdp\"";
    let late = format!("{said}\nrelease = \"paced\"\nrelease_delay = \"700ms\"");
    let channels = channel("video", input, output, said) + &channel("audio", input + 2, output + 2, &late);
    let channels = channels.replace(&format!(":{output}\""), &format!(":{output}{rtcp}\""));
    let channels = channels.replace(&format!(":{}\"", output + 2), &format!(":{}{rtcp}\"", output + 2));
    let (_relay, http) = serve(folder.path(), &channels);
    until_delivered(http, "video");
    until_delivered(http, "audio");
    let filters = "-t 14 -map 0:v -vf scale=8:8,format=gray,blackdetect=d=0.1:pix_th=0.3 \
                   -map 0:a -af silencedetect=noise=-30dB:d=0.3";
    let log = decode(&format!("http://{http}/streams/video.sdp"), "info", filters);
    let (flashes, tones) = (begins(&log, "black_end:"), begins(&log, "silence_end:"));
    // From the last whole seconds: reports are sent every five seconds, and the last pieces are
    // incomplete.
    let tone = tones.iter().rfind(|tone| **tone < 13.0).expect("tones");
    let flash =
        flashes.iter().min_by(|a, b| (*a - tone).abs().total_cmp(&(*b - tone).abs())).expect("flashes");
    tone - flash
}

#[test]
fn the_sound_of_a_camera_is_in_step_by_its_rtcp() {
    if !have("ffmpeg") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let with = sound_behind("");
    assert!(with.abs() < 0.1, "{with} s");
    let without = sound_behind("?rtcp=off");
    assert!(without.abs() > 0.15, "the sound comes 700 ms later, and nothing else says so: {without} s");
}
