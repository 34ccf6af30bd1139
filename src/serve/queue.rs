//! A client's bounded queue, and the socket behind it, for players over HTTP (`http`) and programs
//! (`push`).
//!
//! Data for a client is written to its socket at once. What the socket does not take waits here,
//! and the client's own task writes it when it can ([`ClientQueue::catch_up`]). The [`Policy`]
//! decides what a slow client gets: a player skips whole chunks, a program gets the missed ranges
//! and the newest values.

mod backlog;

use std::{
    fmt,
    io::{self, ErrorKind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidecast_net::clock;
use tokio::{net::TcpStream, sync::Notify, time::timeout};

pub(super) use backlog::{Backlog, Queued, write};

/// Why serving a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything for the client has ended, or the client asked for the end, and it has received
    /// all of it.
    Done,
    /// The client has gone.
    Gone,
    /// It took no data, or did not catch up, for too long.
    Behind,
    /// No data came for it for too long.
    Silent,
    /// An operator has disconnected it.
    Disconnected,
}

/// Differences between the kinds of clients.
pub(super) trait Policy: Sized {
    /// An item in the queue.
    type Item: Queued + fmt::Debug;

    /// Reason for the end of a client whose connection the kernel gives up, because it has not
    /// acknowledged anything for too long.
    const UNACKNOWLEDGED: End;

    /// Queues an answer to the client, in its place among the other items.
    fn say(state: &mut State<Self>, bytes: Vec<u8>);

    /// Counts an item that was sent; `backlog`: the remaining items.
    fn sent(&mut self, item: &Self::Item, backlog: &Backlog<Self::Item>);

    /// Counts an item that was still queued when the connection ended.
    fn cut(&mut self, item: &Self::Item);
}

/// A client's queue; see the module documentation.
#[derive(Debug)]
pub(super) struct ClientQueue<P: Policy> {
    /// `None` if other code writes the queue's contents.
    stream: Option<TcpStream>,
    state: Mutex<State<P>>,
    /// Signals that the queue has contents, or has ended.
    attention: Notify,
    /// Signals that an answer was written.
    answered: Notify,
}

/// State protected by the lock of a queue.
#[derive(Debug)]
pub(super) struct State<P: Policy> {
    pub(super) backlog: Backlog<P::Item>,
    pub(super) policy: P,
    /// Nothing more comes: the client gets the remaining items.
    pub(super) ended: bool,
    /// The client needs nothing more: further items are discarded.
    pub(super) closed: bool,
}

/// Result of an attempt to write.
enum Progress {
    /// The socket took some of the contents.
    Moved,
    /// The socket is full.
    Full,
    /// The queue is empty.
    Empty { ended: bool },
}

impl<P: Policy> ClientQueue<P> {
    /// A queue for a socket, or without one if other code writes its contents.
    pub(super) fn with(stream: Option<TcpStream>, policy: P) -> ClientQueue<P> {
        let state = State { backlog: Backlog::default(), policy, ended: false, closed: false };
        let (attention, answered) = (Notify::new(), Notify::new());
        ClientQueue { stream, state: Mutex::new(state), attention, answered }
    }

    /// Locks the state.
    pub(super) fn state(&self) -> MutexGuard<'_, State<P>> {
        // No code panics while the state is inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// State of a queue that is not shared yet.
    pub(super) fn state_mut(&mut self) -> &mut State<P> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket.
    ///
    /// # Errors
    /// The queue has none.
    pub(super) fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Wakes the client's task: the queue has contents, or has ended.
    pub(super) fn wake(&self) {
        self.attention.notify_one();
    }

    /// Returns when the client's task has something to do.
    pub(super) async fn woken(&self) {
        self.attention.notified().await;
    }

    /// Memory of the queued items, in bytes.
    pub(super) fn waiting(&self) -> usize {
        self.state().backlog.cost()
    }

    /// Whether the client has taken everything.
    pub(super) fn is_clear(&self) -> bool {
        self.state().backlog.is_empty()
    }

    /// Queues an answer to the client.
    pub(super) fn say(&self, bytes: Vec<u8>) {
        P::say(&mut self.state(), bytes);
        self.wake();
    }

    /// Returns when no answer is queued. Until then nothing is read from the client, so that it
    /// cannot ask faster than it takes the answers.
    pub(super) async fn answered(&self) {
        while self.state().backlog.answers() > 0 {
            self.answered.notified().await;
        }
    }

    /// Ends the queue: the client gets the remaining items.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.wake();
    }

    /// Closes the queue: the client gets the remaining items, and further ones are discarded.
    pub(super) fn close(&self) {
        let mut state = self.state();
        (state.ended, state.closed) = (true, true);
        drop(state);
        self.wake();
    }

    /// Counts an item that was sent to the client.
    pub(super) fn took(&self, state: &mut State<P>, item: &P::Item) {
        state.policy.sent(item, &state.backlog);
        if item.is_answer() {
            self.answered.notify_one();
        }
    }

    /// Writes until the queue is empty. Returns whether everything has ended.
    /// `left(state, now, since)`: how long the client may continue at `now`, if it has taken
    /// nothing since `since`.
    pub(super) async fn catch_up(
        &self,
        left: impl Fn(&State<P>, Instant, Instant) -> Result<Duration, End>,
    ) -> Result<bool, End> {
        let stream = self.stream().map_err(|_| End::Gone)?;
        let mut moved = clock::now();
        loop {
            let progress = self.write_some(stream).map_err(|error| end_of::<P>(&error))?;
            if let Progress::Empty { ended } = progress {
                return Ok(ended);
            }
            let now = clock::now();
            if let Progress::Moved = progress {
                moved = now;
            }
            let left = left(&self.state(), now, moved)?;
            // After this time it is checked again whether the client has had long enough.
            if let Ok(Err(error)) = timeout(left, stream.writable()).await {
                return Err(end_of::<P>(&error));
            }
        }
    }

    fn write_some(&self, stream: &TcpStream) -> io::Result<Progress> {
        let mut state = self.state();
        if state.backlog.is_empty() {
            return Ok(Progress::Empty { ended: state.ended });
        }
        match state.backlog.write(stream) {
            Ok(sent) => {
                if let Some(item) = sent {
                    self.took(&mut state, &item);
                }
                Ok(Progress::Moved)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Full),
            Err(error) => Err(error),
        }
    }
}

/// Meaning of a socket error for the client.
fn end_of<P: Policy>(error: &io::Error) -> End {
    if error.kind() == ErrorKind::TimedOut { P::UNACKNOWLEDGED } else { End::Gone }
}

impl<P: Policy> Drop for ClientQueue<P> {
    /// Counts the remaining items as not sent.
    fn drop(&mut self) {
        let State { backlog, policy, .. } = self.state_mut();
        while let Some(item) = backlog.pop() {
            policy.cut(&item);
        }
    }
}
