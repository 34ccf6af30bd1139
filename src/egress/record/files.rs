//! The files of a recording: named by channel and time, followed by the next at a certain size, so many kept.
//!
//! Blocks come from [`super::packet`]. Only whole blocks are written, so that a file that ends early can be read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::packet::Link;
use crate::{address::Recording, limits::RECORDING_WRITE_BYTES};

/// What every file's name ends with.
const EXTENSION: &str = ".pcapng";
/// Bytes of a file's time: 20261120T165135.123Z.
const TIME_BYTES: usize = 20;

/// The files of one channel in one folder.
#[derive(Debug)]
pub(super) struct Files {
    recording: Recording,
    channel: String,
    open: Option<Open>,
    /// Whole blocks that are not written yet, and what they hold.
    buffer: Vec<u8>,
    waiting: Share,
    written: Share,
}

/// The file that is written.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// Bytes of it.
    length: u64,
}

/// Packets and the bytes of their datagrams.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    packets: u64,
    bytes: u64,
}

impl Files {
    pub(super) fn new(recording: &Recording, channel: &str) -> Files {
        Files {
            recording: recording.clone(),
            channel: channel.to_owned(),
            open: None,
            buffer: Vec::new(),
            waiting: Share::default(),
            written: Share::default(),
        }
    }

    pub(super) fn address(&self) -> String {
        self.recording.to_string()
    }

    /// Makes the folder, so that a wrong one is known before the first packet.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let folder = &self.recording.folder;
        fs::create_dir_all(folder).map_err(|error| named(&error, "cannot make the folder", folder))
    }

    /// Adds a packet's block, in the next file if this one would become too long.
    pub(super) fn push(&mut self, link: &Link, at: Duration, block: &[u8], bytes: usize) -> io::Result<()> {
        let length = self.open.as_ref().map(|open| open.length + self.buffer.len() as u64);
        if length.is_none_or(|length| length + block.len() as u64 > self.recording.rotate) {
            if let Err(error) = self.flush().and_then(|()| self.next(at)) {
                self.waiting.packets += 1;
                return Err(error);
            }
            self.buffer = link.head();
        }
        self.buffer.extend_from_slice(block);
        self.waiting.packets += 1;
        self.waiting.bytes += bytes as u64;
        if self.buffer.len() >= RECORDING_WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Puts everything on the disk.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let empty = self.buffer.is_empty();
        self.write()?;
        match &self.open {
            Some(open) if !empty => open.file.sync_data().map_err(|error| self.failed(&error)),
            _ => Ok(()),
        }
    }

    /// Hands the blocks to the system. When that fails, the file is cut behind the last whole block; one without any goes.
    fn write(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.file.write_all(&self.buffer) {
            // The error before says more than one of these would.
            let _ =
                if open.length > 0 { open.file.set_len(open.length) } else { fs::remove_file(&open.path) };
            return Err(self.failed(&error));
        }
        open.length += self.buffer.len() as u64;
        self.buffer.clear();
        let waiting = std::mem::take(&mut self.waiting);
        self.written.packets += waiting.packets;
        self.written.bytes += waiting.bytes;
        Ok(())
    }

    /// Packets, and bytes of datagrams, that were written since this was asked last.
    pub(super) fn take_written(&mut self) -> (u64, u64) {
        let Share { packets, bytes } = std::mem::take(&mut self.written);
        (packets, bytes)
    }

    /// Gives up; returns how many packets were not written.
    pub(super) fn discard(&mut self) -> u64 {
        (self.open, self.buffer) = (None, Vec::new());
        std::mem::take(&mut self.waiting).packets
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        named(error, "cannot write in", &self.recording.folder)
    }

    /// Begins a file that does not exist yet, and removes those that are too many.
    fn next(&mut self, at: Duration) -> io::Result<()> {
        self.open = None;
        let mut files = self.existing()?;
        files.sort();
        let stem = format!("{}-{}", self.channel, time(at));
        // Behind those of the same time, so that names tell the order even if the first of them goes.
        let same = files.iter().rfind(|((of, _), _)| *of == time(at));
        let count = same.map_or(0, |((_, count), _)| count + 1);
        self.prune(files)?;
        for count in count.. {
            let again = if count == 0 { String::new() } else { format!("_{count}") };
            let path = self.recording.folder.join(format!("{stem}{again}{EXTENSION}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    self.open = Some(Open { file, path, length: 0 });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(&error, "cannot make", &path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Leaves room for one more.
    fn prune(&self, files: Vec<((String, u32), PathBuf)>) -> io::Result<()> {
        let surplus = (files.len() + 1).saturating_sub(self.recording.keep);
        for (_, path) in files.into_iter().take(surplus) {
            fs::remove_file(&path).map_err(|error| named(&error, "cannot remove", &path))?;
        }
        Ok(())
    }

    /// The channel's files, each behind what sorts it.
    fn existing(&self) -> io::Result<Vec<((String, u32), PathBuf)>> {
        let folder = &self.recording.folder;
        let entries =
            fs::read_dir(folder).map_err(|error| named(&error, "cannot read the folder", folder))?;
        let known = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((place(path.file_name()?.to_str()?, &self.channel)?, path))
        });
        Ok(known.collect())
    }
}

/// When a channel's file was begun, and the how manieth of that time it is. `None`: the name is not one of ours.
fn place(name: &str, channel: &str) -> Option<(String, u32)> {
    let rest = name.strip_prefix(channel)?.strip_prefix('-')?.strip_suffix(EXTENSION)?;
    let (time, again) = rest.split_at_checked(TIME_BYTES)?;
    let shape = time.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if !shape.eq(*b"00000000T000000.000Z") {
        return None;
    }
    let count = match again.strip_prefix('_') {
        Some(count) => count.parse().ok()?,
        None if again.is_empty() => 0,
        None => return None,
    };
    Some((time.to_owned(), count))
}

/// `20261120T165135.123Z`
fn time(at: Duration) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + at).to_string().replace(['-', ':'], "")
}

fn named(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_channels_own_files_count() {
        let at = Duration::from_millis(1_795_193_495_123);
        assert_eq!(time(at), "20261120T165135.123Z");
        let of = |name| place(name, "cam").map(|(_, count)| count);
        assert_eq!(of("cam-20261120T165135.123Z.pcapng"), Some(0));
        assert_eq!(of("cam-20261120T165135.123Z_12.pcapng"), Some(12));
        for other in [
            "cam-2-20261120T165135.123Z.pcapng",
            "cam-20261120T165135.123Z.pcap",
            "cam-20261120T165135.123Zx.pcapng",
            "cam-20261120T165135.123Z_.pcapng",
            "cam-holiday.pcapng",
            "camera-20261120T165135.123Z.pcapng",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
