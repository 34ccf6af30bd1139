//! Output of `recv`: a thread that writes from a bounded queue, so that a slow or stalled reader
//! delays neither the packets nor the end. Packets that do not fit are counted as not written,
//! which is not a loss in the network.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use crate::{
    channel::Sink,
    limits::{RECV_END_MAX, RECV_QUEUE_BYTES_MAX, RECV_STALL_MAX},
};
use tidecast_net::clock;

/// A writer on a separate thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Completes when enough packets are written, or on an error.
    pub(super) ended: oneshot::Receiver<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals more data, or the end of the data.
    more: Condvar,
    /// Signals progress, or the end of the thread.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes that wait.
    bytes: Vec<u8>,
    /// Count of their packets.
    packets: u64,
    /// Packets that are being written.
    writing: u64,
    /// Packets without room in the queue.
    refused: u64,
    /// Bytes written so far.
    written: u64,
    /// There is no further data.
    complete: bool,
    /// The thread has ended, possibly with an error.
    done: Option<Option<io::Error>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain numbers and bytes, so a panic cannot leave them inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Result of the output.
pub(super) struct Written {
    /// Error of the output, if any.
    pub(super) result: io::Result<()>,
    /// Packets that were not written because the reader was too slow.
    pub(super) left: u64,
}

impl Writer {
    /// Starts the thread; the sink takes up to `count` packets. Without an output they are only
    /// counted.
    pub(super) fn start(output: Option<Box<dyn Write + Send>>, count: u64) -> io::Result<(Sink, Writer)> {
        let (sender, ended) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        let mut output = output.unwrap_or_else(|| Box::new(io::sink()));
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let failure = run(&own, &mut output).and_then(|()| output.flush()).err();
            let result = failure.as_ref().map_or(Ok(()), |error| Err(copy(error)));
            let mut state = own.state();
            state.done = Some(failure);
            own.progress.notify_all();
            drop(state);
            let _ = sender.send(result); // the receiver may be gone
        })?;
        Ok((sink(shared.clone(), count), Writer { shared, ended }))
    }

    /// Ends the data, and waits as long as there is progress.
    pub(super) fn finish(self) -> Written {
        let mut state = self.shared.state();
        state.complete = true;
        self.shared.more.notify_all();
        let end = clock::now() + RECV_END_MAX;
        while state.done.is_none() && clock::now() < end {
            let before = state.written;
            let waited = self.shared.progress.wait_timeout(state, RECV_STALL_MAX);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.written == before {
                break;
            }
        }
        let left = state.refused + state.packets + state.writing;
        let result = match &state.done {
            Some(Some(error)) => Err(copy(error)),
            _ => Ok(()),
        };
        Written { result, left }
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Writes the queue until the data end.
fn run(shared: &Shared, output: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let mut state = shared.state();
        while state.bytes.is_empty() && state.packets == 0 && !state.complete {
            state = shared.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.packets == 0 {
            return Ok(());
        }
        bytes.clear();
        mem::swap(&mut bytes, &mut state.bytes);
        state.writing = mem::take(&mut state.packets);
        drop(state);
        write(shared, output, &bytes)?;
        shared.state().writing = 0;
    }
}

/// Writes all bytes, and notes the progress.
fn write(shared: &Shared, output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                shared.state().written += count as u64;
                shared.progress.notify_all();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

/// Queues the payloads of up to `count` packets.
fn sink(shared: Arc<Shared>, count: u64) -> Sink {
    let mut left = count;
    Box::new(move |delivery, followed| {
        if left == 0 || !followed {
            return;
        }
        left -= 1;
        let payload = delivery.packet.payload();
        let mut state = shared.state();
        if state.bytes.len() + payload.len() > RECV_QUEUE_BYTES_MAX {
            state.refused += 1;
        } else {
            state.bytes.extend_from_slice(payload);
            state.packets += 1;
        }
        state.complete |= left == 0;
        shared.more.notify_one();
    })
}
