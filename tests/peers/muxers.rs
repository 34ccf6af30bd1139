//! Every muxer of ffmpeg and every muxer and payloader of GStreamer that creates a transport
//! stream or RTP, with default options: the sent datagrams arrive byte for byte over UDP, and
//! their payloads over HTTP.
//!
//! The installed programs are queried for their muxers. One that is neither tested here nor in a
//! list with a reason is a failure.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    thread,
};

use tidecast_wire::rtp;

use super::{
    bytes::{Paths, Payload},
    common::{Running, free_ports, group, have},
    fixture,
    pipelines::gstreamer,
};

/// Kind of the sent stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Ts,
    Rtp,
}

use Kind::{Rtp, Ts};

const VIDEO: &str = "-re -f lavfi -i testsrc2=size=320x180:rate=25:duration=2";
const AUDIO: &str = "-re -f lavfi -i sine=duration=2";

/// Muxer, codecs, and further options of ffmpeg or of its URL.
const FFMPEG: [(&str, &str, &str, &str); 21] = [
    ("mpegts", "-c:v mpeg2video -c:a mp2", "", ""),
    ("mpegts", "-c:v libx264 -preset ultrafast -g 25 -c:a aac", "", ""),
    ("mpegts", "-c:v mpeg2video -c:a mp2", "", "&pkt_size=1316"),
    ("mpegts", "-c:v mpeg2video -c:a mp2", "-mpegts_m2ts_mode 1", ""),
    ("mpegts", "-c:v mpeg2video -c:a mp2", "-muxrate 3M -pcr_period 20", ""),
    (
        "mpegts",
        "-c:v mpeg2video -c:a mp2",
        "-mpegts_flags resend_headers+pat_pmt_at_frames+system_b+initial_discontinuity+nit",
        "",
    ),
    ("mpegts", "-vn -c:a mp2", "", ""),
    ("rtp_mpegts", "-c:v mpeg2video -c:a mp2", "", ""),
    ("rtp_mpegts", "-c:v libx264 -preset ultrafast -g 25 -c:a aac", "", "&pkt_size=1316"),
    ("rtp", "-an -c:v libx264 -preset ultrafast", "", ""),
    ("rtp", "-an -c:v mpeg4", "", ""),
    ("rtp", "-an -c:v mpeg2video", "", ""),
    ("rtp", "-an -c:v h263p -s 352x288", "", ""),
    ("rtp", "-an -c:v libvpx -deadline realtime", "", ""),
    ("rtp", "-an -c:v mjpeg -pix_fmt yuvj420p -huffman default", "", ""),
    ("rtp", "-vn -c:a libopus", "", ""),
    ("rtp", "-vn -c:a aac", "", ""),
    ("rtp", "-vn -c:a mp2", "", ""),
    ("rtp", "-vn -c:a pcm_s16be", "", ""),
    ("rtp", "-vn -c:a pcm_mulaw -ar 8000", "", ""),
    ("rtp", "-vn -c:a g722 -ar 16000", "", ""),
];

const FFMPEG_LEFT_OUT: [(&str, &str); 3] = [
    ("hls", "writes files and a playlist"),
    ("rtsp", "publishes to an RTSP server, which opens the ports; its media are those of rtp"),
    ("sap", "announces streams; its media are those of rtp"),
];

const PICTURES: &str = "videotestsrc num-buffers=50 is-live=true ! video/x-raw,width=320,height=176,framerate=25/1 ! videoconvert";
const SOUND: &str = "audiotestsrc num-buffers=90 is-live=true ! audio/x-raw,rate=48000,channels=2";
const VOICE: &str =
    "audiotestsrc num-buffers=40 is-live=true samplesperbuffer=400 ! audio/x-raw,rate=8000,channels=1";

/// The start of a pipeline, its rest, and the kind of stream that its muxers send.
const GSTREAMER: [(&str, &str, Kind); 28] = [
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux alignment=7", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux m2ts-mode=true alignment=7", Ts),
    (SOUND, "audioconvert ! avenc_ac3 ! ac3parse ! atscmux", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! avmux_mpegts", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux ! tsparse set-timestamps=true", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux ! tsparse alignment=7", Ts),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux ! rtpmp2tpay", Rtp),
    (PICTURES, "mpeg2enc ! mpegvideoparse ! mpegtsmux alignment=7 ! rtpmp2tpay", Rtp),
    (PICTURES, "avenc_h263p ! rtph263ppay", Rtp),
    (PICTURES, "vp8enc deadline=1 ! rtpvp8pay", Rtp),
    (PICTURES, "video/x-raw,format=I420 ! jpegenc ! rtpjpegpay", Rtp),
    (PICTURES, "theoraenc ! rtptheorapay", Rtp),
    (PICTURES, "videoscale ! video/x-raw,width=96,height=48,format=UYVY ! rtpvrawpay", Rtp),
    ("filesrc location=FILM", "tsdemux ! h264parse ! rtph264pay", Rtp),
    (SOUND, "opusenc ! rtpopuspay", Rtp),
    (SOUND, "audioconvert ! audio/x-raw,format=S16BE ! rtpL16pay", Rtp),
    (SOUND, "audioconvert ! audio/x-raw,format=S24BE ! rtpL24pay", Rtp),
    (SOUND, "lamemp3enc ! mpegaudioparse ! rtpmpapay", Rtp),
    (SOUND, "audioconvert ! avenc_aac ! aacparse ! rtpmp4apay", Rtp),
    (SOUND, "audioconvert ! avenc_aac ! aacparse ! rtpmp4gpay", Rtp),
    (SOUND, "audioconvert ! avenc_ac3 ! ac3parse ! rtpac3pay", Rtp),
    (SOUND, "audioconvert ! vorbisenc ! rtpvorbispay", Rtp),
    (SOUND, "sbcenc ! rtpsbcpay", Rtp),
    (VOICE, "mulawenc ! rtppcmupay", Rtp),
    (VOICE, "alawenc ! rtppcmapay", Rtp),
    (VOICE, "gsmenc ! rtpgsmpay", Rtp),
    (VOICE, "speexenc ! rtpspeexpay", Rtp),
];

const NO_ENCODER: &str = "Debian has no encoder for it";
const SLOW: &str = "its encoder is too slow for a test; its packets are those of other video";
const LIKE_OTHERS: &str = "its packets are those of the audio formats above with another payload";

const GSTREAMER_LEFT_OUT: [(&str, &str); 29] = [
    ("rtpL8pay", LIKE_OTHERS),
    ("rtpamrpay", NO_ENCODER),
    ("rtpasfpay", "sends a file format that is no stream"),
    ("rtpbvpay", NO_ENCODER),
    ("rtpceltpay", NO_ENCODER),
    ("rtpdvpay", "takes DV alone, 29 Mbit/s"),
    ("rtpg722pay", LIKE_OTHERS),
    ("rtpg723pay", NO_ENCODER),
    ("rtpg726pay", LIKE_OTHERS),
    ("rtpg729pay", NO_ENCODER),
    ("rtpgstpay", "sends GStreamer's own buffers"),
    ("rtph261pay", "its packets are those of rtph263ppay"),
    ("rtph263pay", "its packets are those of rtph263ppay"),
    ("rtph265pay", SLOW),
    ("rtpilbcpay", NO_ENCODER),
    ("rtpisacpay", NO_ENCODER),
    ("rtpj2kpay", SLOW),
    ("rtpklvpay", "takes metadata alone"),
    ("rtpldacpay", NO_ENCODER),
    ("rtpredpay", "wraps what others made"),
    ("rtpsirenpay", NO_ENCODER),
    ("rtpstreampay", "frames RTP for TCP"),
    ("rtpsv3vpay", NO_ENCODER),
    ("rtpvp9pay", SLOW),
    ("rtpav1pay", SLOW),
    ("rtpmp4vpay", "stalls behind GStreamer's encoder for it; ffmpeg sends the same format above"),
    ("rtpmpvpay", "no encoder of GStreamer links to it; ffmpeg sends the same format above"),
    ("rtpqcelppay", NO_ENCODER),
    ("rtph266pay", NO_ENCODER),
];

fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().expect("it starts");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn all_are_known(installed: BTreeSet<String>, sent: &BTreeSet<&str>, left_out: &[(&str, &str)]) {
    assert!(installed.len() > 3, "{installed:?}");
    let known = |name: &str| sent.contains(name) || left_out.iter().any(|(other, _)| *other == name);
    let new: Vec<&String> = installed.iter().filter(|name| !known(name)).collect();
    assert!(new.is_empty(), "neither sent here nor left out with a reason: {new:?}");
}

#[test]
fn every_muxer_of_ffmpeg_is_tested_or_has_a_reason() {
    if !have("ffmpeg") {
        return;
    }
    let is_ours = |line: &String| {
        let words = ["mpegts", "mpeg-ts", "rtp", "rtsp", "sap output"];
        words.iter().any(|word| line.to_lowercase().contains(word))
    };
    let muxers = lines("ffmpeg", &["-hide_banner", "-muxers"]).into_iter().filter(is_ours);
    let names = muxers.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect();
    let sent = FFMPEG.iter().map(|(muxer, ..)| *muxer).collect();
    all_are_known(names, &sent, &FFMPEG_LEFT_OUT);
}

#[test]
fn every_muxer_of_gstreamer_is_tested_or_has_a_reason() {
    if !have("gst-inspect-1.0") {
        return;
    }
    let name = |line: String| line.split(": ").nth(1).map(|name| name.trim().to_owned());
    let is_ours = |name: &String| {
        let payloader = name.starts_with("rtp") && name.ends_with("pay") && !name.ends_with("depay");
        payloader || ["mpegtsmux", "atscmux", "avmux_mpegts", "tsparse"].contains(&name.as_str())
    };
    let names = lines("gst-inspect-1.0", &[]).into_iter().filter_map(name).filter(is_ours).collect();
    let words = GSTREAMER.iter().flat_map(|(_, rest, _)| rest.split_whitespace());
    all_are_known(names, &words.collect(), &GSTREAMER_LEFT_OUT);
}

fn rtp_payload(datagram: &[u8]) -> Option<&[u8]> {
    rtp::Packet::parse(datagram).ok().map(|packet| packet.payload())
}

/// Lets `start` send to a group, and compares.
fn arrives(what: &str, kind: Kind, start: impl FnOnce(&str, u16) -> Running) {
    let (group, port) = (group(), free_ports(6));
    let paths = Paths::open(if kind == Ts { "udp" } else { "rtp" }, (group, port));
    let mut sender = start(&group.to_string(), port);
    let status = sender.wait();
    assert!(status.success(), "{what}: {status}\n{}", sender.stderr());
    let payload: Payload = if kind == Ts { |datagram| Some(datagram) } else { rtp_payload };
    let (payloads, served) = paths.compare(payload);
    assert!(payloads.len() > 2_000, "{what}: {} bytes", payloads.len());
    assert!(served == [payloads], "{what}: HTTP has {} bytes", served[0].len());
}

/// Runs all cases, several at a time.
fn at_once<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    for some in cases.chunks(3) {
        thread::scope(|scope| some.iter().for_each(|case| _ = scope.spawn(|| run(case))));
    }
}

#[test]
fn what_muxers_of_ffmpeg_send_arrives_byte_for_byte() {
    if !have("ffmpeg") || !have("curl") {
        return;
    }
    at_once(&FFMPEG, |(muxer, codecs, options, url)| {
        let what = format!("{muxer} {codecs} {options} {url}");
        let (kind, scheme) = if *muxer == "mpegts" { (Ts, "udp") } else { (Rtp, "rtp") };
        arrives(&what, kind, |group, port| {
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error"]);
            for (input, left_out) in [(VIDEO, "-vn"), (AUDIO, "-an")] {
                if !codecs.contains(left_out) {
                    ffmpeg.args(input.split(' '));
                }
            }
            let codecs = codecs.replace("-vn ", "").replace("-an ", "");
            ffmpeg.args(codecs.split_whitespace()).args(options.split_whitespace());
            ffmpeg.args(["-f", muxer, &format!("{scheme}://{group}:{port}?localaddr=127.0.0.1&ttl=0{url}")]);
            ffmpeg.stdout(Stdio::null());
            Running::start(ffmpeg)
        });
    });
}

#[test]
fn what_muxers_of_gstreamer_send_arrives_byte_for_byte() {
    if !have("gst-launch-1.0") || !have("curl") {
        return;
    }
    at_once(&GSTREAMER, |(begin, rest, kind)| {
        let begin = begin.replace("FILM", &fixture().display().to_string());
        arrives(rest, *kind, |group, port| {
            gstreamer(&format!(
                "{begin} ! {rest} ! udpsink host={group} port={port} multicast-iface=lo ttl-mc=0 auto-multicast=false"
            ))
        });
    });
}
