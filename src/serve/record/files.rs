//! The files of a recording: named by channel and time, with a maximum size and a maximum number.
//!
//! Blocks come from [`super::packet`]. Only whole blocks are written, so that a file that ends
//! early can be read. [`super::folder`] lists the existing files.

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
    /// Start of each file.
    head: Vec<u8>,
    open: Option<Open>,
    /// Files of this run that still exist, oldest first. They are deleted after all others,
    /// regardless of their names.
    own: Vec<PathBuf>,
    /// Time of the last packet.
    last: Duration,
    /// Whole blocks that are not written yet, and their counters.
    buffer: Vec<u8>,
    waiting: Share,
    written: Share,
}

/// The file that is being written.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// Its length in bytes.
    length: u64,
    /// Whether some bytes may not be on the disk yet.
    dirty: bool,
}

/// Count of packets, and of the bytes of their datagrams.
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

    /// Creates the folder, so that an error shows before the first packet.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let folder = &self.recording.folder;
        fs::create_dir_all(folder).map_err(|error| named(&error, "cannot make the folder", folder))
    }

    /// Checks whether there is room for the next file, counting the files that would be deleted
    /// for it.
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

    /// Writes everything to the disk.
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

    /// Writes the blocks to the file. If that fails, the file is cut after the last whole block,
    /// or deleted if it has none.
    fn write(&mut self) -> io::Result<()> {
        self.replace_removed()?;
        let Some(open) = self.open.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        if let Err(error) = open.file.write_all(&self.buffer) {
            // The first error is more informative than an error here.
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

    /// Starts the next file at once if this one was deleted: data written to a deleted file would
    /// be lost.
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

    /// Whether all blocks are written.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.packets == 0
    }

    /// Packets and datagram bytes written since the last call.
    pub(super) fn take_written(&mut self) -> (u64, u64) {
        let Share { packets, bytes } = std::mem::take(&mut self.written);
        (packets, bytes)
    }

    /// Drops pending blocks; returns the count of their packets.
    pub(super) fn discard(&mut self) -> u64 {
        (self.open, self.buffer) = (None, Vec::new());
        std::mem::take(&mut self.waiting).packets
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        named(error, "cannot write in", &self.recording.folder)
    }

    /// Starts a new file, and deletes surplus ones.
    fn next(&mut self, at: Duration) -> io::Result<()> {
        self.open = None;
        self.prepare()?;
        let folder = &self.recording.folder;
        let files = folder::known(folder, &self.channel)?;
        // Sorts after existing files of the same time, so that names keep the order even if the
        // first of them is deleted.
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

    /// The files in the order of deletion: those of earlier runs by name, then those of this run
    /// in order of creation. The clock may have been wrong in earlier runs, or be wrong now.
    fn in_order(&self, mut files: Vec<Known>) -> Vec<Known> {
        files.sort_by_key(|known| {
            self.own.iter().position(|own| *own == known.path).map_or(0, |place| place + 1)
        });
        files
    }

    /// Deletes files to make room for one more.
    fn prune(&self, files: &[Known]) -> io::Result<()> {
        let surplus = (files.len() + 1).saturating_sub(self.recording.keep);
        for Known { path, .. } in &files[..surplus] {
            fs::remove_file(path).map_err(|error| named(&error, "cannot remove", path))?;
        }
        Ok(())
    }
}
