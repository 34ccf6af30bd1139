//! The files of a recording: named by channel and time, followed by the next at a certain size, so
//! many kept.
//!
//! Blocks come from [`super::packet`]. Only whole blocks are written, so that a file that ends
//! early can be read. What is in the folder, [`super::folder`] says.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::Duration,
};

use super::folder::{self, Known, Room, named};
use crate::limits::{RECORDING_ROOM, RECORDING_WRITE_BYTES};
use tidecast_net::address::Recording;

/// The files of one channel in one folder.
#[derive(Debug)]
pub(super) struct Files {
    recording: Recording,
    channel: String,
    /// What each file begins with.
    head: Vec<u8>,
    open: Option<Open>,
    /// The files that this run has made and that are still there, in that order: whatever their
    /// names say, they go last.
    own: Vec<PathBuf>,
    /// The time of the last packet.
    last: Duration,
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
    /// Whether some of them may not be on the disk yet.
    dirty: bool,
}

/// Packets and the bytes of their datagrams.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    packets: u64,
    bytes: u64,
}

impl Files {
    pub(super) fn new(recording: &Recording, channel: &str, head: Vec<u8>) -> Files {
        Files {
            recording: recording.clone(),
            channel: channel.to_owned(),
            head,
            open: None,
            own: Vec::new(),
            last: Duration::ZERO,
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

    /// Whether the next file has room: the disk's, and that of those which would go for it.
    pub(super) fn has_room(&self) -> io::Result<()> {
        let Recording { folder, rotate, keep, .. } = &self.recording;
        let known = self.in_order(folder::known(folder, &self.channel)?);
        let goes = known.len().saturating_sub(keep - 1);
        let free = Room::free(folder)? + folder::bytes(&known[..goes]);
        let wanted = RECORDING_ROOM.min(*rotate);
        if free >= wanted {
            return Ok(());
        }
        let text = format!("{wanted} bytes of room are wanted, and there are {free}");
        Err(named(&io::Error::new(io::ErrorKind::StorageFull, text), "cannot go on in", folder))
    }

    /// Adds a packet's block, in the next file if this one would become too long.
    pub(super) fn push(&mut self, at: Duration, block: &[u8], bytes: usize) -> io::Result<()> {
        self.last = at;
        let length = self.open.as_ref().map(|open| open.length + self.buffer.len() as u64);
        if length.is_none_or(|length| length + block.len() as u64 > self.recording.rotate) {
            if let Err(error) = self.flush().and_then(|()| self.next(at)) {
                self.waiting.packets += 1;
                return Err(error);
            }
            self.buffer.clone_from(&self.head);
        }
        self.buffer.extend_from_slice(block);
        self.waiting.packets += 1;
        self.waiting.bytes += bytes as u64;
        if self.buffer.len() >= RECORDING_WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Puts everything on the disk.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        match self.open.as_mut().filter(|open| open.dirty) {
            Some(open) => {
                open.dirty = false;
                open.file.sync_data().map_err(|error| self.failed(&error))
            }
            None => Ok(()),
        }
    }

    /// Hands the blocks to the system. When that fails, the file is cut behind the last whole
    /// block; one without any goes.
    fn write(&mut self) -> io::Result<()> {
        self.replace_removed()?;
        let Some(open) = self.open.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        if let Err(error) = open.file.write_all(&self.buffer) {
            // The error before says more than one of these would.
            let _ =
                if open.length > 0 { open.file.set_len(open.length) } else { fs::remove_file(&open.path) };
            return Err(self.failed(&error));
        }
        open.length += self.buffer.len() as u64;
        open.dirty = true;
        self.buffer.clear();
        let waiting = std::mem::take(&mut self.waiting);
        self.written.packets += waiting.packets;
        self.written.bytes += waiting.bytes;
        Ok(())
    }

    /// A file that somebody has removed is followed by the next at once: nobody would find what is
    /// written to it.
    fn replace_removed(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_ref().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        let about = open.file.metadata().map_err(|error| self.failed(&error))?;
        if about.nlink() > 0 {
            return Ok(());
        }
        if open.length > 0 {
            self.buffer.splice(..0, self.head.iter().copied());
        }
        self.next(self.last)
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.packets == 0
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
        self.prepare()?;
        let folder = &self.recording.folder;
        let files = folder::known(folder, &self.channel)?;
        // Behind those of the same time, so that names tell the order even if the first of them
        // goes.
        let count =
            files.iter().rfind(|known| known.time == folder::time(at)).map_or(0, |known| known.count + 1);
        let files = self.in_order(files);
        self.own.retain(|own| files.iter().any(|known| known.path == *own));
        self.prune(&files)?;
        for count in count.. {
            let path = folder.join(folder::name(&self.channel, at, count));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    self.own.push(path.clone());
                    self.open = Some(Open { file, path, length: 0, dirty: false });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(&error, "cannot make", &path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The files in the order in which they go: those of earlier runs by their names, then those of
    /// this run as it made them. The clock may have been wrong when the others were made, or be
    /// wrong now.
    fn in_order(&self, mut files: Vec<Known>) -> Vec<Known> {
        files.sort_by_key(|known| {
            self.own.iter().position(|own| *own == known.path).map_or(0, |place| place + 1)
        });
        files
    }

    /// Leaves room for one more.
    fn prune(&self, files: &[Known]) -> io::Result<()> {
        let surplus = (files.len() + 1).saturating_sub(self.recording.keep);
        for Known { path, .. } in &files[..surplus] {
            fs::remove_file(path).map_err(|error| named(&error, "cannot remove", path))?;
        }
        Ok(())
    }
}
