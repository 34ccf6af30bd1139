//! Recordings: a channel's packets as they were delivered, with the times of their arrival, in pcapng files.
//!
//! A task takes records from the channel's tap and queues them, bounded in bytes, for a thread that may wait for a disk
//! (`files`); `packet` makes blocks of them. Nothing here can hold up the channel: what finds no room, and what comes
//! after the disk has failed, is counted.

mod files;
mod packet;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::error;

use super::tap::{Batch, Event, Piece, TapReader};
use crate::{
    address::Recording,
    clock,
    limits::{RECORDING_FLUSH, RECORDING_QUEUE_BYTES_MAX},
    net::state::OutputState,
};
use files::Files;
use packet::Link;

/// A running recording.
#[derive(Debug)]
pub struct Recorder {
    address: String,
    counts: Arc<Counts>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Packets that came while the disk was too far behind.
    lag: AtomicU64,
    /// Packets that could not be written any more.
    stopped: AtomicU64,
    /// Packets too long for the headers of their address family.
    too_big: AtomicU64,
    fault: Mutex<Option<String>>,
    /// Bytes between the task and the thread.
    queued: AtomicUsize,
}

impl Recorder {
    /// Records what this reader brings, as if it had been sent to `to`. Must be called within a tokio runtime.
    ///
    /// Whatever cannot be written is a [`OutputState::fault`], and no reason not to relay.
    pub fn start(recording: &Recording, channel: &str, to: SocketAddr, reader: TapReader<Batch>) -> Recorder {
        let counts = Arc::<Counts>::default();
        let (ends, ended) = oneshot::channel();
        let recorder = Recorder {
            address: recording.to_string(),
            counts: counts.clone(),
            ended: Mutex::new(Some(ended)),
        };
        let (sender, batches) = mpsc::channel();
        let writer = Writer {
            channel: channel.to_owned(),
            files: Files::new(recording, channel),
            link: Link::new(channel, to),
            counts: counts.clone(),
        };
        let spawned = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            writer.run(&batches);
            drop(ends);
        });
        if let Err(error) = spawned {
            recorder.counts.fail(channel, &recorder.address, &error);
        }
        tokio::spawn(feed(reader, sender, counts));
        recorder
    }

    /// What was recorded so far.
    pub fn state(&self) -> OutputState {
        let Counts { packets, bytes, lag, stopped, too_big, fault, .. } = &*self.counts;
        let dropped = [("lag", lag), ("stopped", stopped), ("too_big", too_big)];
        OutputState {
            address: self.address.clone(),
            packets: packets.load(Relaxed),
            bytes: bytes.load(Relaxed),
            dropped: BTreeMap::from(dropped.map(|(reason, count)| (reason, count.load(Relaxed)))),
            fault: fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..OutputState::default()
        }
    }

    /// Waits until all is written, after the channel's end.
    pub async fn ended(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            let _ = ended.await; // the sender is dropped at the end
        }
    }
}

impl Counts {
    /// Says once why nothing is recorded any more.
    fn fail(&self, channel: &str, address: &str, error: &io::Error) {
        let reason = format!("{error}: the recording has stopped");
        error!(channel, "{address}: {reason}");
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// Queues what the tap brings, as far as there is room.
async fn feed(mut reader: TapReader<Batch>, sender: Sender<Arc<Batch>>, counts: Arc<Counts>) {
    let mut next = reader.number();
    while let Some(batch) = reader.next().await {
        counts.lag.fetch_add(batch.first().saturating_sub(next), Relaxed);
        next = batch.end();
        let (bytes, packets) = (batch.bytes(), u64::from(batch.packets()));
        if counts.queued.load(Relaxed) + bytes > RECORDING_QUEUE_BYTES_MAX {
            counts.lag.fetch_add(packets, Relaxed);
            continue;
        }
        counts.queued.fetch_add(bytes, Relaxed);
        if sender.send(batch).is_err() {
            // There is no thread.
            counts.queued.fetch_sub(bytes, Relaxed);
            counts.stopped.fetch_add(packets, Relaxed);
        }
    }
}

/// The thread that may wait for the disk.
struct Writer {
    channel: String,
    files: Files,
    link: Link,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, batches: &Receiver<Arc<Batch>>) {
        if let Err(error) = self.record(batches) {
            self.counts.stopped.fetch_add(self.files.discard(), Relaxed);
            self.counts.fail(&self.channel, &self.files.address(), &error);
            while let Ok(batch) = batches.recv() {
                self.counts.queued.fetch_sub(batch.bytes(), Relaxed);
                self.counts.stopped.fetch_add(batch.packets().into(), Relaxed);
            }
        }
    }

    /// Writes until the tap's end.
    fn record(&mut self, batches: &Receiver<Arc<Batch>>) -> io::Result<()> {
        self.files.prepare()?;
        let mut flushed = clock::now();
        loop {
            let next = batches.recv_timeout(RECORDING_FLUSH.saturating_sub(clock::now() - flushed));
            let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
            let written = next.map_or(Ok(()), |batch| {
                let written = self.batch(&batch);
                self.counts.queued.fetch_sub(batch.bytes(), Relaxed);
                written
            });
            let due = clock::now().saturating_duration_since(flushed) >= RECORDING_FLUSH;
            if due || ended {
                flushed = clock::now();
                self.files.flush()?;
            }
            self.count();
            written?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Counts what is in the file by now.
    fn count(&mut self) {
        let (packets, bytes) = self.files.take_written();
        self.counts.packets.fetch_add(packets, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
    }

    /// Records a batch; what is left of it after a failure counts as not written.
    fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        let mut left = u64::from(batch.packets());
        for record in batch.records() {
            let Event::Packet(info) = &record.event else {
                self.link.note(record);
                continue;
            };
            left -= 1;
            let Some(block) = self.link.packet(&record.flow, info, batch.datagram(info)) else {
                self.counts.too_big.fetch_add(1, Relaxed);
                continue;
            };
            let bytes = batch.datagram(info).len();
            if let Err(error) = self.files.push(&self.link, info.arrived, &block, bytes) {
                self.counts.stopped.fetch_add(left, Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The time since the Unix epoch as a recording counts it.
fn nanoseconds(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) // until the year 2554
}

#[cfg(test)]
mod tests;
