//! Counts the pictures and audio frames that are not as sent, identified by their content,
//! whatever their timestamps are.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    Decoded, Film, Frame,
    film::{MARGIN, SECONDS},
};

/// The damage in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Pictures of the film that were not output as sent.
    pub pictures: usize,
    /// Those of them that have no replacement in the output, so that the previous picture stays
    /// visible.
    pub missing: usize,
    /// AAC frames that were not output as sent.
    pub audio: usize,
    /// Number of the decoder's error lines.
    pub complaints: usize,
}

impl Damage {
    /// Counts from half a second before the first possible loss until two seconds after the last,
    /// when a key frame has arrived: the start and end of a relay do not count as damage.
    pub fn of(film: &Film, out: &Decoded) -> Damage {
        let (pictures, missing) = differing(&film.decoded.video, &out.video);
        let (audio, _) = differing(&film.decoded.audio, &out.audio);
        Damage { pictures, missing, audio, complaints: out.complaints.len() }
    }
}

fn window(count: usize) -> Range<usize> {
    count * (2 * MARGIN - 1) / (2 * SECONDS)..count * (SECONDS - 1) / SECONDS
}

/// Returns how many differ, and how many of these are missing.
pub fn differing(sent: &[Frame], out: &[Frame]) -> (usize, usize) {
    let places: HashMap<&str, usize> = out.iter().enumerate().map(|(n, f)| (f.content.as_str(), n)).collect();
    let window = window(sent.len());
    let whole: Vec<(usize, usize)> =
        window.clone().filter_map(|n| Some((n, *places.get(sent[n].content.as_str())?))).collect();
    let (Some(first), Some(last)) = (whole.first(), whole.last()) else {
        return (window.len(), window.len());
    };
    // Frames between two unchanged ones that have no replacement are missing.
    let missing = (last.0 - first.0).saturating_sub(last.1.saturating_sub(first.1));
    (window.len() - whole.len(), missing)
}

/// Returns by how much the timestamps of unchanged frames were shifted, in ticks of 90 kHz; each
/// value once.
pub fn moved(sent: &[Frame], out: &[Frame]) -> HashSet<i64> {
    let times: HashMap<&str, i64> = sent.iter().map(|frame| (frame.content.as_str(), frame.pts)).collect();
    out.iter().filter_map(|frame| Some(frame.pts - times.get(frame.content.as_str())?)).collect()
}
