//! A client's bounded queue, and the socket behind it: of players over HTTP (`http`) as of programs
//! (`push`).
//!
//! What comes for a client is written to its socket at once; only what the socket does not take
//! waits here, and the client's own task writes that when it can ([`ClientQueue::catch_up`]). What
//! becomes of a client that is behind is its
//! [`Policy`]'s: a player skips whole chunks, a program gets the missed ranges and the newest
//! values.

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
    /// All that it was to get has ended, or it asked for the end, and it has got all of it.
    Done,
    /// The client has gone.
    Gone,
    /// It took nothing, or did not catch up, for too long.
    Behind,
    /// Nothing came for it for too long.
    Silent,
}

/// What one kind of client has beside its queue.
pub(super) trait Policy: Sized {
    /// What waits for the client.
    type Item: Queued + fmt::Debug;

    /// Why a client ends that has acknowledged nothing for so long that the kernel gives the
    /// connection up.
    const UNACKNOWLEDGED: End;

    /// Lets an answer to what the client has sent wait, where it belongs among the other items.
    fn say(state: &mut State<Self>, bytes: Vec<u8>);

    /// Counts an item that the client has got; `backlog`: what still waits.
    fn sent(&mut self, item: &Self::Item, backlog: &Backlog<Self::Item>);

    /// Counts an item that was waiting when the connection ended.
    fn cut(&mut self, item: &Self::Item);
}

/// A client's queue; see the module.
#[derive(Debug)]
pub(super) struct ClientQueue<P: Policy> {
    /// Without one, somebody else writes what waits.
    stream: Option<TcpStream>,
    state: Mutex<State<P>>,
    /// Something waits, or has ended.
    attention: Notify,
    /// An answer has been written.
    answered: Notify,
}

/// What is behind the lock of a queue.
#[derive(Debug)]
pub(super) struct State<P: Policy> {
    pub(super) backlog: Backlog<P::Item>,
    pub(super) policy: P,
    /// Nothing more comes: the client is served to the end of what waits.
    pub(super) ended: bool,
    /// The client wants nothing more: what comes is not for it.
    pub(super) closed: bool,
}

/// How far an attempt to write came.
enum Progress {
    /// The socket took some of what waits.
    Moved,
    /// The socket is full.
    Full,
    /// Nothing waits.
    Empty { ended: bool },
}

impl<P: Policy> ClientQueue<P> {
    /// A queue for a socket, or without one for those who write by themselves.
    pub(super) fn with(stream: Option<TcpStream>, policy: P) -> ClientQueue<P> {
        let state = State { backlog: Backlog::default(), policy, ended: false, closed: false };
        let (attention, answered) = (Notify::new(), Notify::new());
        ClientQueue { stream, state: Mutex::new(state), attention, answered }
    }

    /// What waits, and for whom.
    pub(super) fn state(&self) -> MutexGuard<'_, State<P>> {
        // Nothing here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a queue that nobody else has yet.
    pub(super) fn state_mut(&mut self) -> &mut State<P> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Wakes the client's task: something waits, or has ended.
    pub(super) fn wake(&self) {
        self.attention.notify_one();
    }

    /// Returns when the client's task has something to do.
    pub(super) async fn woken(&self) {
        self.attention.notified().await;
    }

    /// Memory of what waits, in bytes.
    pub(super) fn waiting(&self) -> usize {
        self.state().backlog.cost()
    }

    /// Whether the client has taken everything.
    pub(super) fn is_clear(&self) -> bool {
        self.state().backlog.is_empty()
    }

    /// Sends an answer to what the client has sent.
    pub(super) fn say(&self, bytes: Vec<u8>) {
        P::say(&mut self.state(), bytes);
        self.wake();
    }

    /// Returns when no answer waits. Nothing is read from the client before, so that it cannot ask
    /// faster than it takes the answers.
    pub(super) async fn answered(&self) {
        while self.state().backlog.answers() > 0 {
            self.answered.notified().await;
        }
    }

    /// Nothing more comes: the client gets what waits.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.wake();
    }

    /// The client wants nothing more: it gets what waits, and nothing that comes now.
    pub(super) fn close(&self) {
        let mut state = self.state();
        (state.ended, state.closed) = (true, true);
        drop(state);
        self.wake();
    }

    /// Counts an item that has gone to the client.
    pub(super) fn took(&self, state: &mut State<P>, item: &P::Item) {
        state.policy.sent(item, &state.backlog);
        if item.is_answer() {
            self.answered.notify_one();
        }
    }

    /// Writes what waits until nothing does. Answers whether everything has ended. `left`: how long
    /// the client may go on if it has taken nothing since the second instant, at the first.
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
            // Whether it is over is looked up again when this time is.
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

/// What an error of the socket means for the client.
fn end_of<P: Policy>(error: &io::Error) -> End {
    if error.kind() == ErrorKind::TimedOut { P::UNACKNOWLEDGED } else { End::Gone }
}

impl<P: Policy> Drop for ClientQueue<P> {
    /// What waited when the connection ended was not sent.
    fn drop(&mut self) {
        let State { backlog, policy, .. } = self.state_mut();
        while let Some(item) = backlog.pop() {
            policy.cut(&item);
        }
    }
}
