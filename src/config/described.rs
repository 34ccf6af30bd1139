//! The description of a channel's RTP content, from the keys `sdp` and `rtpmap`.

use std::path::{Path, PathBuf};

use super::Leg;
use tidecast_wire::limits::SDP_BYTES_MAX;
use tidecast_wire::{
    rtp::{PayloadTypes, payload_types::Rtpmap},
    sdp::{Media, Session},
};

/// The description of a channel's RTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// File from which it was read; channels with the same file carry the streams of one session.
    pub file: Option<PathBuf>,
    /// Lines of the session description that apply to the whole session.
    pub lines: Vec<String>,
    /// The channel's streams; never empty.
    pub media: Vec<Media>,
}

impl Described {
    /// Returns the meanings of its payload types.
    pub fn payload_types(&self) -> PayloadTypes {
        self.media.iter().flat_map(|media| media.rtpmaps.iter().cloned()).collect()
    }

    /// Creates a description from encodings only, in the order of preference.
    pub(super) fn of_rtpmaps(maps: &[Rtpmap]) -> Described {
        Described { media: Media::of(maps), ..Described::default() }
    }

    /// Reads a session description file and selects the streams that arrive on a port of the legs.
    /// If the file describes a single stream, its port need not match. A relative path is relative
    /// to `base`.
    pub(super) fn read(path: &str, base: Option<&Path>, legs: &[Leg]) -> Result<Described, String> {
        let path = base.map_or_else(|| PathBuf::from(path), |base| base.join(path));
        let expected = "expected a file with a session description (RFC 8866)";
        let length = std::fs::metadata(&path)
            .map_err(|error| format!("{} cannot be read: {error}, {expected}", path.display()))?;
        if !length.is_file() || length.len() > SDP_BYTES_MAX as u64 {
            let what = if length.is_file() { "is too long" } else { "is no file" };
            return Err(format!("{} {what}, {expected} of at most {SDP_BYTES_MAX} bytes", path.display()));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{} cannot be read: {error}, {expected}", path.display()))?;
        let session = Session::parse(&text).map_err(|error| error.to_string())?;
        let media = of_legs(&session.media, legs)?;
        let file = Some(path.canonicalize().unwrap_or(path));
        Ok(Described { file, lines: session.lines, media })
    }
}

/// Returns the streams that arrive on these legs.
fn of_legs(all: &[Media], legs: &[Leg]) -> Result<Vec<Media>, String> {
    if let [media] = all {
        return Ok(vec![media.clone()]);
    }
    let comes_to = |media: &Media, leg: &Leg| {
        let group = leg.address.group;
        let other =
            |address: std::net::IpAddr| address.is_multicast() && group.is_multicast() && address != group;
        leg.address.port == media.port && !media.address.is_some_and(other)
    };
    let mut found: Vec<Media> = Vec::new();
    for media in all.iter().filter(|media| legs.iter().any(|leg| comes_to(media, leg))) {
        // Two paths of one stream are described twice (RFC 7104).
        let again = |known: &Media| {
            (&known.kind, &known.payload_types, &known.lines)
                == (&media.kind, &media.payload_types, &media.lines)
        };
        if !found.iter().any(again) {
            found.push(media.clone());
        }
    }
    if found.is_empty() && !legs.is_empty() {
        let described: Vec<String> = all
            .iter()
            .map(|media| match media.address {
                Some(address) => format!("{} on {address} port {}", media.kind, media.port),
                None => format!("{} on port {}", media.kind, media.port),
            })
            .collect();
        let inputs: Vec<String> = legs.iter().map(|leg| leg.address.to_string()).collect();
        return Err(format!(
            "describes {}, expected one of them on the port of an input ({})",
            described.join(", "),
            inputs.join(", ")
        ));
    }
    Ok(found)
}
