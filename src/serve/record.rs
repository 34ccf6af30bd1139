//! Recordings: a channel's packets as they were delivered, with their arrival times, in pcapng
//! files.
//!
//! A task takes records from the channel's tap and queues them, bounded in bytes, for a thread
//! that may wait for a disk (`files`); `packet` makes file blocks of them. A recording never
//! delays the channel: packets without room, or after a disk error, are counted. A stopped
//! recording is tried again, and notes what it missed.

mod files;
mod folder;
mod packet;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::{error, info};

use crate::{
    channel::{
        state::OutputState,
        tap::{Batch, Event, FlowName, Info, Piece, TapReader},
    },
    config,
    limits::{RECORDING_FLUSH, RECORDING_QUEUE_BYTES_MAX, RECORDING_RETRY},
    registry::{self, ExternalOutput, Registry},
};
use files::Files;
pub use folder::{Room, nearest};
use packet::Link;
use tidecast_net::{address::Recording, clock};

/// Starts the recordings of a running channel, and lists them among its outputs. Must be called
/// within a tokio runtime.
///
/// # Errors
/// The registry does not know the channel, or its packet thread has ended.
pub async fn start_all(
    registry: &Registry,
    channel: &config::Channel,
) -> Result<Vec<Arc<Recorder>>, registry::RegistryError> {
    let mut recorders = Vec::new();
    let Some(to) = channel.legs.first().map(|leg| leg.address.socket_addr()) else {
        return Ok(recorders);
    };
    for recording in &channel.recordings {
        let reader = registry.with_channel(&channel.name, |channel, _| channel.packet_tap()).await?;
        let recorder = Arc::new(Recorder::start(recording, &channel.name, to, reader));
        registry.show_output(&channel.name, recorder.clone())?;
        recorders.push(recorder);
    }
    Ok(recorders)
}

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
    /// Packets dropped because the disk was too slow.
    lag: AtomicU64,
    /// Packets that could not be written.
    stopped: AtomicU64,
    /// Packets too long for the headers of their address family.
    too_big: AtomicU64,
    fault: Mutex<Option<String>>,
    /// Bytes queued between the task and the thread.
    queued: AtomicUsize,
}

impl Recorder {
    /// Records the packets of this reader, as if they had been sent to `to`. Must be called within
    /// a tokio runtime.
    ///
    /// A write error is reported as [`OutputState::fault`]; it does not stop the relay.
    pub fn start(recording: &Recording, channel: &str, to: SocketAddr, reader: TapReader<Batch>) -> Recorder {
        let counts = Arc::<Counts>::default();
        let (ends, ended) = oneshot::channel();
        let recorder = Recorder {
            address: recording.to_string(),
            counts: counts.clone(),
            ended: Mutex::new(Some(ended)),
        };
        let (sender, batches) = mpsc::channel();
        let link = Link::new(channel, to);
        let writer = Writer {
            channel: channel.to_owned(),
            files: Files::new(recording, channel, link.head()),
            link,
            counts: counts.clone(),
            next: reader.number(),
            missed: Missed::default(),
            stopped: false,
        };
        let spawned = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            writer.run(&batches);
            drop(ends);
        });
        if let Err(error) = spawned {
            let reason = stopped(&error);
            error!(channel, "{}: {reason}", recorder.address);
            recorder.counts.set_fault(Some(reason));
        }
        tokio::spawn(feed(reader, sender, counts));
        recorder
    }

    /// Waits until everything is written, after the channel's end.
    pub async fn ended(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            let _ = ended.await; // an error means that the sender was dropped, which is the end
        }
    }
}

impl ExternalOutput for Recorder {
    fn state(&self) -> OutputState {
        let Counts { packets, bytes, lag, stopped, too_big, .. } = &*self.counts;
        let dropped = [("lag", lag), ("stopped", stopped), ("too_big", too_big)];
        OutputState {
            address: self.address.clone(),
            packets: packets.load(Relaxed),
            bytes: bytes.load(Relaxed),
            dropped: BTreeMap::from(dropped.map(|(reason, count)| (reason, count.load(Relaxed)))),
            fault: self.counts.fault().clone(),
            ..OutputState::default()
        }
    }
}

impl Counts {
    /// Sets the reason why nothing is recorded.
    fn set_fault(&self, fault: Option<String>) {
        *self.fault() = fault;
    }

    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner) // assigned whole, so it is consistent
    }
}

fn stopped(error: &io::Error) -> String {
    format!("{error}: the recording has stopped")
}

/// Queues the packets of the tap, as far as there is room.
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
            // The thread has ended.
            counts.queued.fetch_sub(bytes, Relaxed);
            counts.stopped.fetch_add(packets, Relaxed);
        }
    }
}

/// State of the thread that may wait for the disk.
struct Writer {
    channel: String,
    files: Files,
    link: Link,
    counts: Arc<Counts>,
    /// Number of the channel's next packet.
    next: u64,
    missed: Missed,
    /// Whether the stop was logged.
    stopped: bool,
}

/// Packets that are not in any file.
#[derive(Debug, Default)]
struct Missed {
    /// Not yet noted in a comment.
    fresh: u64,
    /// Noted in a comment that may not have been written yet.
    noted: u64,
}

impl Writer {
    /// Records until the tap's end, with retries after errors.
    fn run(mut self, batches: &Receiver<Arc<Batch>>) {
        while let Err(error) = self.record(batches) {
            self.give_up(&error);
            if !self.pause(batches) {
                return;
            }
        }
    }

    /// Writes until the tap's end or an error.
    fn record(&mut self, batches: &Receiver<Arc<Batch>>) -> io::Result<()> {
        self.files.prepare()?;
        if self.stopped {
            self.files.has_room()?;
            self.counts.set_fault(None);
        }
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
            let written = written.and_then(|()| if due || ended { self.files.flush() } else { Ok(()) });
            if due {
                flushed = clock::now();
            }
            self.count();
            written?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Logs the error once, and counts pending packets as missed.
    fn give_up(&mut self, error: &io::Error) {
        let lost = self.files.discard();
        self.counts.stopped.fetch_add(lost, Relaxed);
        self.missed.fresh += lost + std::mem::take(&mut self.missed.noted);
        self.link.forget();
        let reason = stopped(error);
        if !std::mem::replace(&mut self.stopped, true) {
            let address = self.files.address();
            error!(
                channel = self.channel,
                "{address}: {reason}; it is tried again every {RECORDING_RETRY:?}"
            );
        } else if self.counts.fault().is_some() && error.kind() == io::ErrorKind::StorageFull {
            return; // the earlier fault says more
        }
        self.counts.set_fault(Some(reason));
    }

    /// Waits a while before a retry, and discards packets meanwhile. `false` at the tap's end.
    fn pause(&mut self, batches: &Receiver<Arc<Batch>>) -> bool {
        let until = clock::now() + RECORDING_RETRY;
        loop {
            match batches.recv_timeout(until.saturating_duration_since(clock::now())) {
                Ok(batch) => {
                    self.counts.queued.fetch_sub(batch.bytes(), Relaxed);
                    self.follow(&batch);
                    self.miss(batch.packets().into());
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Counts the packets that are in the file.
    fn count(&mut self) {
        let (packets, bytes) = self.files.take_written();
        self.counts.packets.fetch_add(packets, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
        if packets == 0 || !self.files.is_written() {
            return;
        }
        let missed = std::mem::take(&mut self.missed.noted);
        if std::mem::take(&mut self.stopped) {
            let address = self.files.address();
            info!(channel = self.channel, "{address}: the recording goes on; {missed} packets are missing");
        }
    }

    /// Records a batch; after an error, its remaining packets count as not written.
    fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.follow(batch);
        let mut left = u64::from(batch.packets());
        for record in batch.records() {
            let Event::Packet(info) = &record.event else {
                self.link.note(record);
                continue;
            };
            left -= 1;
            if let Err(error) = self.packet(&record.flow, info, batch.datagram(info)) {
                self.miss(left);
                return Err(error);
            }
        }
        Ok(())
    }

    fn packet(&mut self, flow: &Arc<FlowName>, info: &Info, datagram: &[u8]) -> io::Result<()> {
        let missed = std::mem::take(&mut self.missed.fresh);
        if missed > 0 {
            self.link.missed(missed);
            self.missed.noted += missed;
        }
        let Some(block) = self.link.packet(flow, info, datagram) else {
            self.counts.too_big.fetch_add(1, Relaxed);
            return Ok(());
        };
        self.files.push(info.arrived, &block, datagram.len())
    }

    /// Detects packets that were dropped before this thread.
    fn follow(&mut self, batch: &Batch) {
        self.missed.fresh += batch.first().saturating_sub(self.next);
        self.next = batch.end();
    }

    fn miss(&mut self, packets: u64) {
        self.counts.stopped.fetch_add(packets, Relaxed);
        self.missed.fresh += packets;
    }
}

/// Time since the Unix epoch in the unit of a recording.
fn nanoseconds(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) // until the year 2554
}

#[cfg(test)]
mod tests;
