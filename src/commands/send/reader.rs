//! Input of `send`: a file, repeatedly if requested, or a pipe that may be slow.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use anyhow::{Context, bail};

use super::progress::Extent;
use super::{Failure, Stop, usage};
use crate::cli::Source;
use crate::limits::SEND_PIPE_BLOCKS_MAX;
use tidecast_wire::ts;

/// Bytes of one read.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes needed to recognize the data: two transport packets.
const START_BYTES: usize = 2 * ts::PACKET;
/// Maximum bytes before the first packet of a transport stream: the head of a recorder's file, or
/// part of a packet.
const START_BYTES_MAX: usize = BLOCK_BYTES;

/// Result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// The file starts again.
    Lap,
    /// The end of the input.
    End,
    /// No data yet: the reading thread wakes this one.
    Pending,
}

/// An open input.
#[derive(Debug)]
pub(super) struct Reader {
    name: String,
    origin: Origin,
    /// Bytes that were examined but not passed on yet.
    start: Vec<u8>,
}

/// Source of the bytes.
#[derive(Debug)]
pub(super) enum Origin {
    File {
        file: File,
        repeat: bool,
        /// Bytes read in this lap: an emptied file must not be read forever.
        lap: u64,
    },
    /// A reading thread, because a pipe and the clock cannot be waited for together.
    Pipe { blocks: Receiver<io::Result<Vec<u8>>> },
}

impl Reader {
    /// Opens a file or standard input.
    pub(super) fn open(source: Source<'_>, repeat: bool) -> Result<Reader, Failure> {
        let (name, origin) = match source {
            Source::File(path) | Source::Capture(path) => {
                (path.display().to_string(), open_file(path, repeat)?)
            }
            Source::Stdin | Source::Sensors(_) => ("standard input".to_owned(), pipe(io::stdin())?),
        };
        Ok(Reader::of(&name, origin))
    }

    pub(super) fn of(name: &str, origin: Origin) -> Reader {
        Reader { name: name.to_owned(), origin, start: Vec::new() }
    }

    /// Name of the input, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How much there is to read.
    pub(super) fn extent(&self) -> Extent {
        let size = match &self.origin {
            Origin::File { file, .. } => file.metadata().map_or(0, |file| file.len()),
            Origin::Pipe { .. } => 0,
        };
        if size > 0 { Extent::Bytes(size) } else { Extent::Unknown }
    }

    /// The first bytes, which are passed on later: enough to recognize the data, or all bytes
    /// before a signal. On a pipe it does not wait for more than [`START_BYTES`].
    pub(super) fn start(&mut self, stop: &Stop) -> anyhow::Result<&[u8]> {
        let mut start = Vec::new();
        while start.len() < START_BYTES_MAX && !stop.is_set() {
            let enough = start.len() >= START_BYTES;
            if enough && ts::packets::begin(&start).is_some() {
                break;
            }
            match self.read()? {
                Step::Bytes(bytes) => start.extend(bytes),
                Step::Pending if enough => break,
                Step::Pending => stop.sleep(None),
                Step::Lap | Step::End => break,
            }
        }
        if start.is_empty() && !stop.is_set() {
            bail!("{} is empty, expected something to send", self.name);
        }
        if let Origin::File { file, lap, .. } = &mut self.origin {
            // A short file may have started its second lap.
            file.seek(io::SeekFrom::Start(start.len() as u64)).context("cannot seek")?;
            *lap = start.len() as u64;
        }
        self.start = start;
        Ok(&self.start)
    }

    /// Reads more.
    pub(super) fn read(&mut self) -> anyhow::Result<Step> {
        if !self.start.is_empty() {
            return Ok(Step::Bytes(std::mem::take(&mut self.start)));
        }
        let step = match &mut self.origin {
            Origin::File { file, repeat, lap } => read_file(file, *repeat, lap),
            Origin::Pipe { blocks } => match blocks.try_recv() {
                Ok(Ok(block)) => Ok(Step::Bytes(block)),
                Ok(Err(error)) => Err(error),
                Err(TryRecvError::Empty) => Ok(Step::Pending),
                Err(TryRecvError::Disconnected) => Ok(Step::End),
            },
        };
        step.with_context(|| format!("cannot read {}", self.name))
    }
}

fn open_file(path: &Path, repeat: bool) -> Result<Origin, Failure> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let kind = file.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    if kind.is_file() || kind.is_dir() {
        // Reading a directory fails with a clear error message.
        return Ok(Origin::File { file, repeat, lap: 0 });
    }
    if repeat {
        let name = path.display();
        return Err(usage(format!("--loop: {name} cannot be read again, expected a file")));
    }
    Ok(pipe(file)?)
}

fn read_file(file: &mut File, repeat: bool, lap: &mut u64) -> io::Result<Step> {
    let mut block = vec![0; BLOCK_BYTES];
    let read = file.read(&mut block)?;
    block.truncate(read);
    *lap += read as u64;
    if read > 0 {
        return Ok(Step::Bytes(block));
    }
    if !repeat || *lap == 0 {
        return Ok(Step::End);
    }
    *lap = 0;
    file.rewind()?;
    Ok(Step::Lap)
}

/// Reads on a separate thread that wakes this one.
pub(super) fn pipe(input: impl Read + Send + 'static) -> anyhow::Result<Origin> {
    let (sender, blocks) = sync_channel(SEND_PIPE_BLOCKS_MAX);
    let consumer = thread::current();
    thread::Builder::new()
        .name("input".into())
        .spawn(move || {
            read_pipe(input, &sender, &consumer);
            // The consumer detects the end by the dropped sender.
            drop(sender);
            consumer.unpark();
        })
        .context("cannot start a thread")?;
    Ok(Origin::Pipe { blocks })
}

fn read_pipe(mut input: impl Read, blocks: &SyncSender<io::Result<Vec<u8>>>, consumer: &thread::Thread) {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let result = match input.read(&mut block) {
            Ok(0) => return,
            Ok(read) => Ok(block[..read].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        // The receiver is gone when the run is over.
        if blocks.send(result).is_err() || failed {
            return;
        }
        consumer.unpark();
    }
}
