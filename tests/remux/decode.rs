//! The output of ffmpeg's decoder for a transport stream: each picture and each audio frame with
//! its timestamp and a checksum of its content, and the decoder's error messages.

use std::{fs, path::Path, process::Command};

/// A decoded picture, or the samples of an audio frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Presentation time in ticks of 90 kHz.
    pub pts: i64,
    /// MD5 of the content.
    pub content: String,
}

/// The decoded frames of a stream.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// In the order of presentation.
    pub video: Vec<Frame>,
    pub audio: Vec<Frame>,
    /// The decoder's error lines.
    pub complaints: Vec<String>,
}

/// Decodes the first video and the first audio stream. Uses one thread, because the replacements
/// for damaged parts would otherwise depend on the progress of other threads.
pub fn decode(stream: &[u8], folder: &Path, name: &str) -> Decoded {
    let file = |kind: &str| folder.join(format!("{name}.{kind}"));
    fs::write(file("ts"), stream).expect("write");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "repeat+error", "-y", "-threads", "1", "-copyts", "-i"]).arg(file("ts"));
    for (stream, kind) in [("0:v:0", "video"), ("0:a:0", "audio")] {
        ffmpeg.args(["-map", stream, "-fps_mode", "passthrough", "-enc_time_base", "1:90000"]);
        ffmpeg.args(["-f", "framemd5"]).arg(file(kind));
    }
    let output = ffmpeg.output().expect("ffmpeg");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} cannot be decoded: {said}");
    let frames = |kind| frames(&fs::read_to_string(file(kind)).expect("check sums"));
    Decoded {
        video: frames("video"),
        audio: frames("audio"),
        complaints: said.lines().map(str::to_owned).collect(),
    }
}

/// Parses the lines of ffmpeg's `framemd5`: stream, decoding and presentation time, duration,
/// size, MD5.
fn frames(text: &str) -> Vec<Frame> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let frame = |line: &str| {
        let mut words = line.split(',').map(str::trim);
        let pts = words.nth(2)?.parse().ok()?;
        Some(Frame { pts, content: words.nth(2)?.to_owned() })
    };
    lines.map(|line| frame(line).unwrap_or_else(|| panic!("not a line of framemd5: {line}"))).collect()
}
