//! What is not as it was sent: pictures and audio frames, told by their content, whatever their
//! time stamps became.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    Decoded, Film, Frame,
    film::{MARGIN, SECONDS},
};

/// What one run cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Pictures of the film that did not come out as they were sent.
    pub pictures: usize,
    /// Those of them in whose place nothing came out, so that the one before stands still.
    pub missing: usize,
    /// Frames of AAC that did not come out as they were sent.
    pub audio: usize,
    /// Lines of the decoder about errors.
    pub complaints: usize,
}

impl Damage {
    /// Counts from half a second before anything may be lost until two seconds after, when a key
    /// frame has come: how a relay begins and ends is no damage.
    pub fn of(film: &Film, out: &Decoded) -> Damage {
        let (pictures, missing) = differing(&film.decoded.video, &out.video);
        let (audio, _) = differing(&film.decoded.audio, &out.audio);
        Damage { pictures, missing, audio, complaints: out.complaints.len() }
    }
}

fn window(count: usize) -> Range<usize> {
    count * (2 * MARGIN - 1) / (2 * SECONDS)..count * (SECONDS - 1) / SECONDS
}

/// How many differ, and how many of these are not there at all.
pub fn differing(sent: &[Frame], out: &[Frame]) -> (usize, usize) {
    let places: HashMap<&str, usize> = out.iter().enumerate().map(|(n, f)| (f.content.as_str(), n)).collect();
    let window = window(sent.len());
    let whole: Vec<(usize, usize)> =
        window.clone().filter_map(|n| Some((n, *places.get(sent[n].content.as_str())?))).collect();
    let (Some(first), Some(last)) = (whole.first(), whole.last()) else {
        return (window.len(), window.len());
    };
    // Between two that are whole, what is not in the place of another is missing.
    let missing = (last.0 - first.0).saturating_sub(last.1.saturating_sub(first.1));
    (window.len() - whole.len(), missing)
}

/// By how much the time stamps of what is as it was sent moved, in ticks of 90 kHz; each value
/// once.
pub fn moved(sent: &[Frame], out: &[Frame]) -> HashSet<i64> {
    let times: HashMap<&str, i64> = sent.iter().map(|frame| (frame.content.as_str(), frame.pts)).collect();
    out.iter().filter_map(|frame| Some(frame.pts - times.get(frame.content.as_str())?)).collect()
}
