//! Parses the destination of a recording, `pcapng:DIR?rotate=100MB&keep=10`, into a checked
//! [`Recording`], and writes it back. A [`Target`] is an entry in a list of outputs: a UDP address
//! or a recording.

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::Output;
use crate::{
    limits::{
        RECORDING_BYTES, RECORDING_BYTES_MAX, RECORDING_BYTES_MIN, RECORDING_FILES, RECORDING_FILES_MAX,
    },
    units,
};

/// Prefix of a recording's address.
const SCHEME: &str = "pcapng:";

/// A folder into which a channel's packets are recorded, in the pcapng format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recording {
    /// The address as it was typed.
    text: String,
    /// The folder; it is created if it does not exist.
    pub folder: PathBuf,
    /// Maximum size of a file in bytes; before a file exceeds it, the next one is started.
    pub rotate: u64,
    /// Number of the channel's files to keep; when another file is started, the oldest is deleted.
    pub keep: usize,
}

/// Error for text that is not a recording; the message states the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// No folder follows `pcapng:`.
    #[error("no folder in {0:?}: expected pcapng:FOLDER, such as pcapng:/var/lib/tidecast")]
    Folder(String),
    /// The option does not exist.
    #[error("option {0:?}: expected rotate or keep, as in pcapng:/var/lib/tidecast?rotate=100MB&keep=10")]
    Option(String),
    /// The option occurs twice.
    #[error("option {0:?} is given twice, expected it once")]
    Repeated(String),
    /// The file size is not a number, or out of range.
    #[error("rotate={0:?}: expected a number of bytes from 100kB to 1TB, such as 100MB")]
    Rotate(String),
    /// The number of files is not a number, or out of range.
    #[error("keep={0:?}: expected a number of files from 1 to {RECORDING_FILES_MAX}")]
    Keep(String),
}

impl FromStr for Recording {
    type Err = RecordingError;

    fn from_str(text: &str) -> Result<Recording, RecordingError> {
        let address = text.strip_prefix(SCHEME).unwrap_or(text);
        let (folder, query) = address.split_once('?').unwrap_or((address, ""));
        if folder.is_empty() {
            return Err(RecordingError::Folder(text.to_owned()));
        }
        let (mut rotate, mut keep) = (None, None);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let repeated = match key {
                "rotate" => rotate.replace(parse_rotate(value)?).is_some(),
                "keep" => keep.replace(parse_keep(value)?).is_some(),
                _ => return Err(RecordingError::Option(key.to_owned())),
            };
            if repeated {
                return Err(RecordingError::Repeated(key.to_owned()));
            }
        }
        Ok(Recording {
            text: text.to_owned(),
            folder: Path::new(folder).to_owned(),
            rotate: rotate.unwrap_or(RECORDING_BYTES),
            keep: keep.unwrap_or(RECORDING_FILES),
        })
    }
}

fn parse_rotate(value: &str) -> Result<u64, RecordingError> {
    const RANGE: RangeInclusive<u64> = RECORDING_BYTES_MIN..=RECORDING_BYTES_MAX;
    let bytes = units::bytes(value).ok().map(|bytes| bytes as u64);
    bytes.filter(|bytes| RANGE.contains(bytes)).ok_or_else(|| RecordingError::Rotate(value.to_owned()))
}

fn parse_keep(value: &str) -> Result<usize, RecordingError> {
    let keep = super::number(value).filter(|keep| (1..=RECORDING_FILES_MAX).contains(keep));
    keep.ok_or_else(|| RecordingError::Keep(value.to_owned()))
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One of a channel's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Datagrams are sent to this output.
    Udp(Output),
    /// Packets are recorded into this folder.
    Recording(Recording),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if text.starts_with(SCHEME) {
            return text.parse().map(Target::Recording).map_err(|error: RecordingError| error.to_string());
        }
        text.parse().map(Target::Udp).map_err(|error: super::AddressError| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_have_defaults_and_options() {
        let plain: Recording = "pcapng:/var/rec".parse().unwrap();
        assert_eq!(
            (plain.folder.as_path(), plain.rotate, plain.keep),
            (Path::new("/var/rec"), 100_000_000, 10)
        );
        let full: Recording = "pcapng:rec?rotate=1GiB&keep=3".parse().unwrap();
        assert_eq!((full.folder.as_path(), full.rotate, full.keep), (Path::new("rec"), 1 << 30, 3));
        assert_eq!(full.to_string(), "pcapng:rec?rotate=1GiB&keep=3");
        assert!(matches!("pcapng:/a".parse(), Ok(Target::Recording(_))));
        assert!(matches!("10.0.0.7:6000".parse(), Ok(Target::Udp(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("pcapng:", "no folder in \"pcapng:\": expected pcapng:FOLDER"),
            ("pcapng:?keep=1", "no folder"),
            ("pcapng:/a?size=1", "option \"size\": expected rotate or keep"),
            ("pcapng:/a?keep=1&keep=2", "option \"keep\" is given twice"),
            ("pcapng:/a?rotate=99kB", "rotate=\"99kB\": expected a number of bytes from 100kB to 1TB"),
            ("pcapng:/a?rotate=1001GB", "expected a number of bytes"),
            ("pcapng:/a?rotate", "rotate=\"\": expected"),
            ("pcapng:/a?keep=0", "keep=\"0\": expected a number of files from 1 to 100000"),
            ("pcapng:/a?keep=+1", "keep=\"+1\": expected"),
            ("pcap:/a", "port \"/a\": expected 1 to 65535"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
