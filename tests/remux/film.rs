//! The film: H.264 with B frames and AAC in a transport stream of constant bit rate, created by
//! ffmpeg, with the services of a broadcast added ([`super::extras`]).
//!
//! All pictures and audio frames of it differ, so that each is identified by its content in any
//! output.

use std::{collections::HashSet, fs, ops::Range, path::Path, process::Command};

use tidecast_wire::ts;

use super::{decode, decode::Decoded, extras};

/// Bits per second, null packets included.
pub const RATE: f64 = 2.2e6;
/// Pictures per second.
pub const PICTURES: usize = 25;
/// Pictures from one key frame to the next: 2 s.
pub const GOP: usize = 50;
/// Seconds of film.
pub const SECONDS: usize = 16;
/// Seconds at either end in which nothing is lost: relays and decoders start and end there.
pub const MARGIN: usize = 3;
/// TS packets of a datagram.
const PACKETS: usize = 7;

/// A film, and a decoder's output for it.
#[derive(Debug)]
pub struct Film {
    pub bytes: Vec<u8>,
    pub decoded: Decoded,
}

impl Film {
    /// Creates it; its files are stored in `folder`.
    pub fn make(folder: &Path) -> Film {
        let file = folder.join("encoded.ts");
        let status = encoder(&file).status().expect("ffmpeg");
        assert!(status.success(), "ffmpeg makes no film: {status}");
        let bytes = extras::add(&fs::read(&file).expect("the film"));
        let decoded = decode::decode(&bytes, folder, "film");
        assert!(decoded.complaints.is_empty(), "the film is damaged: {:?}", decoded.complaints);
        assert_eq!(decoded.video.len(), SECONDS * PICTURES);
        for frames in [&decoded.video, &decoded.audio] {
            let contents: HashSet<&str> = frames.iter().map(|frame| frame.content.as_str()).collect();
            assert_eq!(contents.len(), frames.len(), "two frames are alike");
        }
        Film { bytes, decoded }
    }

    /// Returns the datagrams as sent.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(PACKETS * ts::PACKET)
    }

    /// Returns the datagrams that may be lost.
    pub fn losable(&self) -> Range<usize> {
        let count = self.datagrams().count();
        count * MARGIN / SECONDS..count * (SECONDS - MARGIN) / SECONDS
    }
}

fn encoder(to: &Path) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    let pictures = format!("testsrc2=size=640x360:rate={PICTURES},noise=alls=12:allf=t:all_seed=7");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &pictures]);
    let noise = "anoisesrc=color=pink:seed=7:amplitude=0.3:sample_rate=48000";
    ffmpeg.args(["-f", "lavfi", "-i", noise, "-t", &SECONDS.to_string()]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-sc_threshold", "0"]);
    ffmpeg.args(["-g", &GOP.to_string(), "-keyint_min", &GOP.to_string(), "-pix_fmt", "yuv420p"]);
    ffmpeg.args(["-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "750k", "-x264-params", "threads=1"]);
    // Without noise substitution, for which a decoder uses random values, so that no two runs
    // would be equal.
    ffmpeg.args(["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-aac_pns", "0"]);
    ffmpeg.args(["-muxrate", &RATE.to_string(), "-pcr_period", "30", "-f", "mpegts"]).arg(to);
    ffmpeg
}
