//! The loop of the packet path: a plain thread with its own epoll, and the handle for the rest of
//! the program.
//!
//! Under load the thread works in ticks: it sleeps for a tick and then takes all waiting
//! datagrams, since waking up for each packet costs more than all other work on it. At low rates
//! it blocks until the next packet.

use std::{
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    eventfd::{EfdFlags, EventFd},
};
use tokio::sync::oneshot;

use super::{
    Channel, ChannelSpec, Kit, PathSettings, TooManyTaps,
    alarm::Alarm,
    state::ChannelState,
    survey::{Survey, Surveys},
};
use crate::limits::{BACKLOG_MAX, COMMANDS_SLICE, EPOLL_EVENTS, TICK_PACKETS, WAKE_MIN};
use tidecast_core::buffer::Buffer;
use tidecast_net::clock::{self, ClockPair};

/// Why a packet thread could not execute a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadError {
    /// Legs cannot be opened, and waiting does not help.
    #[error("{}", troubles.join("; "))]
    Leg {
        /// Each leg's address and reason.
        troubles: Vec<String>,
    },
    /// A channel with this name exists already.
    #[error("channel {name:?} exists already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No channel has this name.
    #[error("there is no channel {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Too many different selections of one channel's flows are being read.
    #[error(transparent)]
    TooManyTaps(#[from] TooManyTaps),
    /// The packet thread has ended.
    #[error("the packet thread has ended")]
    Stopped,
}

/// Result of starting a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Legs that wait, for instance for their interface, with the reason.
    pub waiting: Vec<String>,
}

type Reply<T> = oneshot::Sender<T>;

/// A closure that runs on a channel, if the channel exists. It carries the channel for its answer.
type Question = Box<dyn FnOnce(Option<&mut Channel>, Instant) + Send>;

enum Command {
    Add(Box<ChannelSpec>, Reply<Result<Started, ThreadError>>),
    Remove(String, Reply<Result<ChannelState, ThreadError>>),
    Ask(String, Question),
    Survey(Survey),
    Inject(String, SocketAddr, Vec<Buffer>),
    Answer(Reply<()>),
    Stop(Reply<Vec<ChannelState>>),
}

/// Handle of one packet thread; the thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct PacketThread {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    /// `None` only during its drop.
    commands: Option<mpsc::Sender<Command>>,
    waker: Arc<EventFd>,
}

impl Handle {
    fn wake(&self) {
        // The counter cannot overflow: the thread resets it.
        let _ = self.waker.write(1);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.commands = None;
        self.wake();
    }
}

impl PacketThread {
    /// Starts a packet thread.
    pub fn spawn(index: usize, settings: PathSettings) -> io::Result<(PacketThread, JoinHandle<()>)> {
        let waker =
            Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (commands, receiver) = mpsc::channel();
        let path = Path::new(settings, receiver, waker.clone())?;
        let thread = thread::Builder::new().name(format!("packets-{index}")).spawn(move || {
            // After a panic of a packet thread, the relay would seem to run but not work.
            let abort = AbortOnPanic;
            path.run();
            drop(abort);
        })?;
        Ok((PacketThread { handle: Arc::new(Handle { commands: Some(commands), waker }) }, thread))
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ThreadError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.handle.commands.as_ref().ok_or(ThreadError::Stopped)?;
        commands.send(command(reply)).map_err(|_| ThreadError::Stopped)?;
        self.handle.wake();
        answer.await.map_err(|_| ThreadError::Stopped)
    }

    /// Starts a channel; returns when each leg was tried once.
    pub async fn add(&self, spec: ChannelSpec) -> Result<Started, ThreadError> {
        self.ask(|reply| Command::Add(Box::new(spec), reply)).await?
    }

    /// Ends a channel: leaves its groups, and sends packets that are held back. Returns its last
    /// state, without flows.
    pub async fn remove(&self, name: &str) -> Result<ChannelState, ThreadError> {
        self.ask(|reply| Command::Remove(name.to_owned(), reply)).await?
    }

    /// Runs `question` on a channel, on the packet thread between two turns of its loop, and
    /// returns the answer. The question must be short, because packets wait meanwhile.
    ///
    /// # Errors
    /// No channel has this name, or the packet thread has ended.
    pub async fn with_channel<T: Send + 'static>(
        &self,
        name: &str,
        question: impl FnOnce(&mut Channel, Instant) -> T + Send + 'static,
    ) -> Result<T, ThreadError> {
        let unknown = ThreadError::Unknown { name: name.to_owned() };
        let answer = self.ask(|reply: Reply<Option<T>>| {
            let question: Question = Box::new(move |channel, now| {
                // The caller may have stopped waiting.
                let _ = reply.send(channel.map(|channel| question(channel, now)));
            });
            Command::Ask(name.to_owned(), question)
        });
        answer.await?.ok_or(unknown)
    }

    /// State of one channel, with at most `flows_max` flows; `None` if no channel has this name.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub async fn state(&self, channel: &str, flows_max: usize) -> Result<Option<ChannelState>, ThreadError> {
        let states =
            self.ask(|reply| Command::Survey(Survey::new(Some(channel.to_owned()), flows_max, reply)));
        Ok(states.await?.pop())
    }

    /// States of all channels, each with at most `flows_max` flows. The thread collects them in
    /// small slices between packets: see [`SURVEY_REST`](crate::limits::SURVEY_REST).
    ///
    /// # Errors
    /// The packet thread has ended.
    pub async fn states(&self, flows_max: usize) -> Result<Vec<ChannelState>, ThreadError> {
        self.ask(|reply| Command::Survey(Survey::new(None, flows_max, reply))).await
    }

    /// Passes datagrams that came from `source` on a socket outside of the channel, as if they had
    /// come on its first leg. Drops them if the channel does not exist.
    pub fn inject(&self, channel: &str, source: SocketAddr, datagrams: Vec<Buffer>) {
        let command = Command::Inject(channel.to_owned(), source, datagrams);
        // Without a thread, the datagrams do not matter.
        let _ = self.handle.commands.as_ref().map(|commands| commands.send(command));
        self.handle.wake();
    }

    /// Returns when the thread's loop has completed a turn and has read its sockets.
    pub async fn answer(&self) -> Result<(), ThreadError> {
        self.ask(Command::Answer).await
    }

    /// Ends all channels and the thread. Returns the channels' last states.
    pub async fn stop(&self) -> Vec<ChannelState> {
        self.ask(Command::Stop).await.unwrap_or_default()
    }
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// State of the thread.
struct Path {
    /// The shortest tick of its channels.
    tick: Duration,
    /// Tick of channels without their own setting.
    usual_tick: Duration,
    commands: mpsc::Receiver<Command>,
    waker: Arc<EventFd>,
    epoll: Epoll,
    alarm: Alarm,
    /// Indexed by the upper half of an epoll token.
    channels: Vec<Option<Channel>>,
    /// When each channel has something to do without an input. A turn only handles channels that
    /// are due or have received; the others cost nothing.
    dues: Vec<Option<Instant>>,
    /// Channels with work in this turn.
    busy: Vec<usize>,
    /// Channels with waiting datagrams, including those that the last turn has kept.
    places: Vec<usize>,
    kit: Kit,
    load: Load,
    /// The time of the last turn.
    floor: Instant,
    /// Time of the first of the latest consecutive turns that left datagrams waiting.
    backlog: Option<Instant>,
    /// Requests to answer when the sockets have been read.
    awaiting: Vec<Reply<()>>,
    surveys: Surveys,
}

const WAKER: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;

fn token(channel: usize, port: usize) -> u64 {
    (channel as u64) << 32 | port as u64
}

/// Inverse of [`token`]. The tokens of the waker and the alarm are not those of a channel.
fn place_and_port(token: u64) -> (usize, usize) {
    ((token >> 32) as usize, token as u32 as usize)
}

impl Path {
    fn new(
        settings: PathSettings,
        commands: mpsc::Receiver<Command>,
        waker: Arc<EventFd>,
    ) -> io::Result<Path> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        let alarm = Alarm::new()?;
        epoll.add(&alarm, EpollEvent::new(EpollFlags::EPOLLIN, ALARM))?;
        let now = clock::now();
        Ok(Path {
            tick: settings.tick,
            usual_tick: settings.tick,
            commands,
            waker,
            epoll,
            alarm,
            channels: Vec::new(),
            dues: Vec::new(),
            busy: Vec::new(),
            places: Vec::new(),
            kit: Kit::new(now, settings),
            load: Load::new(now),
            floor: now,
            backlog: None,
            awaiting: Vec::new(),
            surveys: Surveys::new(now),
        })
    }

    fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EPOLL_EVENTS];
        let mut wait = self.wait();
        loop {
            let ready = match self.epoll.wait(&mut events, wait) {
                Ok(count) => &events[..count],
                Err(nix::errno::Errno::EINTR) => &[],
                Err(error) => panic!("epoll_wait: {error}"), // a descriptor that is no epoll: a bug
            };
            let clocks = ClockPair::read();
            let Some(rest) = self.turn(ready, clocks) else { return };
            // Datagrams that are still waiting are taken before the next sleep.
            wait = if rest { EpollTimeout::ZERO } else { self.wait() };
        }
    }

    /// Whether packets that came in time may still wait in a socket. This is limited in time:
    /// under overload deadlines must expire nevertheless. A stall before that does not count:
    /// packets that came during it are taken first.
    fn behind(&mut self, rest: bool, now: Instant) -> bool {
        let since = if rest { *self.backlog.get_or_insert(now) } else { now };
        let behind = rest && now.saturating_duration_since(since) < self.tick + BACKLOG_MAX;
        self.backlog.take_if(|_| !behind);
        behind
    }

    /// Under load, sleeps for a tick, and then only polls. Otherwise blocks until a packet or the
    /// next deadline.
    fn wait(&mut self) -> EpollTimeout {
        let now = clock::now();
        let due = self.dues.iter().flatten().copied().chain(self.surveys.due()).min();
        let left = due.map(|due| due.saturating_duration_since(now));
        if self.load.is_high() && !self.tick.is_zero() {
            // Paced release has a deadline for each packet.
            let least = self.tick.min(WAKE_MIN);
            thread::sleep(left.map_or(self.tick, |left| left.clamp(least, self.tick)));
            return EpollTimeout::ZERO;
        }
        if let Some(due) = due {
            self.alarm.ensure(due, now);
        }
        EpollTimeout::NONE
    }

    /// One turn of the loop. Returns whether sockets may hold more; `None` if the thread was told
    /// to stop.
    fn turn(&mut self, ready: &[EpollEvent], clocks: ClockPair) -> Option<bool> {
        let now = clocks.monotonic;
        let asked = ready.iter().any(|event| event.data() == WAKER);
        if ready.iter().any(|event| event.data() == ALARM) {
            self.alarm.rang();
        }
        let (received, rest) = self.receive_all(ready, clocks);
        self.load.turn(now, received, self.tick);
        // Deadlines expire only when all packets that came in time have been taken.
        let passed = if self.behind(rest, now) { self.floor } else { now };
        let due = |due: &Option<Instant>| due.is_some_and(|due| due <= now);
        self.busy.extend((0..self.dues.len()).filter(|place| due(&self.dues[*place])));
        while let Some(place) = self.busy.pop() {
            self.serve(place, now, passed);
        }
        self.floor = passed;
        // At this point every ready socket has been read.
        for reply in self.awaiting.drain(..) {
            // The caller may have stopped waiting.
            let _ = reply.send(());
        }
        let goes_on = !asked || self.obey(clocks);
        self.surveys.go_on(&mut self.channels, now);
        goes_on.then_some(rest || !self.awaiting.is_empty())
    }

    /// Takes the waiting datagrams, channel by channel. Returns their count, and whether sockets
    /// may hold more.
    fn receive_all(&mut self, ready: &[EpollEvent], clocks: ClockPair) -> (usize, bool) {
        let Path { channels, kit, busy, places, floor, .. } = self;
        for event in ready {
            let (place, port) = place_and_port(event.data());
            if let Some(Some(channel)) = channels.get_mut(place)
                && channel.note_ready(port)
            {
                places.push(place);
            }
        }
        busy.extend(&*places);
        let mut received = 0;
        let mut rest = ready.len() == EPOLL_EVENTS;
        places.retain(|place| {
            let Some(Some(channel)) = channels.get_mut(*place) else { return false };
            let taken = channel.receive_ready(kit, clocks, *floor);
            received += taken.datagrams;
            rest |= taken.rest;
            channel.keeps()
        });
        (received, rest)
    }

    /// Runs the turn of a channel.
    fn serve(&mut self, place: usize, now: Instant, passed: Instant) {
        let Some(Some(channel)) = self.channels.get_mut(place) else { return };
        channel.maintain(now, &mut self.kit.interfaces, |name, port, socket| {
            register(&self.epoll, token(place, port), name, socket)
        });
        let at_once = channel.tick().unwrap_or(self.usual_tick).is_zero();
        channel.turn(now, passed, at_once, &mut self.kit);
        self.dues[place] = channel.due();
    }

    fn obey(&mut self, clocks: ClockPair) -> bool {
        // Reset before the commands are taken, so that no command is overlooked.
        let _ = self.waker.read();
        let began = clock::now();
        loop {
            if clock::now().saturating_duration_since(began) > COMMANDS_SLICE {
                // The remaining commands wait until the sockets were read again.
                let _ = self.waker.write(1);
                return true;
            }
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(mpsc::TryRecvError::Empty) => return true,
                // The last handle is gone, so no further commands are possible.
                Err(mpsc::TryRecvError::Disconnected) => return false,
            };
            // A caller that has stopped waiting gets no answer.
            match command {
                Command::Add(spec, reply) => drop(reply.send(self.add(*spec, clocks))),
                Command::Remove(name, reply) => drop(reply.send(self.remove(&name, clocks, 0))),
                Command::Ask(name, question) => {
                    let place = self.find(&name);
                    let channel = place.and_then(|place| self.channels[place].as_mut());
                    question(channel, clocks.monotonic);
                }
                Command::Inject(name, source, datagrams) => {
                    self.inject(&name, source, datagrams, clocks.monotonic);
                }
                Command::Answer(reply) => self.awaiting.push(reply),
                Command::Survey(survey) => self.surveys.push(survey),
                Command::Stop(reply) => {
                    let names: Vec<String> =
                        self.channels.iter().flatten().map(|c| c.name().to_owned()).collect();
                    let states =
                        names.iter().filter_map(|name| self.remove(name, clocks, usize::MAX).ok()).collect();
                    drop(reply.send(states));
                    return false;
                }
            }
        }
    }

    /// The channel with the shortest tick decides.
    fn fit_tick(&mut self) {
        let ticks = self.channels.iter().flatten().map(|channel| channel.tick().unwrap_or(self.usual_tick));
        self.tick = ticks.min().unwrap_or(self.usual_tick);
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.channels.iter().position(|channel| channel.as_ref().is_some_and(|c| c.name() == name))
    }

    fn add(&mut self, spec: ChannelSpec, clocks: ClockPair) -> Result<Started, ThreadError> {
        if self.find(&spec.name).is_some() {
            return Err(ThreadError::NameTaken { name: spec.name });
        }
        let place = self.channels.iter().position(Option::is_none).unwrap_or(self.channels.len());
        self.kit.interfaces.read_again(clocks.monotonic);
        let mut channel = Channel::new(spec, clocks.monotonic, &mut self.kit);
        channel.maintain(clocks.monotonic, &mut self.kit.interfaces, |name, port, socket| {
            register(&self.epoll, token(place, port), name, socket)
        });
        let troubles = channel.troubles(true);
        if !troubles.is_empty() {
            return Err(ThreadError::Leg { troubles });
        }
        channel.warn_of_ports();
        let waiting = channel.troubles(false);
        if place == self.channels.len() {
            self.channels.push(None);
            self.dues.push(None);
        }
        self.dues[place] = channel.due();
        self.channels[place] = Some(channel);
        self.fit_tick();
        Ok(Started { waiting })
    }

    fn remove(
        &mut self,
        name: &str,
        clocks: ClockPair,
        flows_max: usize,
    ) -> Result<ChannelState, ThreadError> {
        let unknown = || ThreadError::Unknown { name: name.to_owned() };
        let place = self.find(name).ok_or_else(unknown)?;
        let mut channel = self.channels[place].take().ok_or_else(unknown)?;
        self.dues[place] = None;
        self.fit_tick();
        channel.finish(&mut self.kit, clocks, self.floor);
        Ok(channel.last_state(clocks.monotonic, flows_max))
    }

    fn inject(&mut self, name: &str, source: SocketAddr, datagrams: Vec<Buffer>, now: Instant) {
        let Some(place) = self.find(name) else { return };
        if let Some(channel) = self.channels[place].as_mut() {
            channel.inject(source, datagrams, now);
            // The next turn sends the resulting packets.
            self.dues[place] = Some(now);
        }
    }
}

fn register(epoll: &Epoll, token: u64, channel: &str, socket: BorrowedFd<'_>) {
    if let Err(error) = epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token)) {
        tracing::error!(channel, "cannot watch a socket: {error}");
    }
}

/// Whether enough packets come per tick to make sleeping for a tick worthwhile.
#[derive(Debug)]
struct Load {
    since: Instant,
    packets: usize,
    high: bool,
}

impl Load {
    fn new(now: Instant) -> Load {
        Load { since: now, packets: 0, high: false }
    }

    fn is_high(&self) -> bool {
        self.high
    }

    /// Counts the packets of a turn; decides again when a tick has passed.
    fn turn(&mut self, now: Instant, packets: usize, tick: Duration) {
        self.packets += packets;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < tick {
            return;
        }
        let ticks = elapsed.as_secs_f64() / tick.as_secs_f64().max(1e-6);
        self.high = self.packets as f64 > TICK_PACKETS as f64 * ticks;
        self.since = now;
        self.packets = 0;
    }
}

#[cfg(test)]
mod stall_tests;
#[cfg(test)]
mod survey_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_its_last_handle() {
        let (handle, thread) = PacketThread::spawn(0, PathSettings::default()).expect("a thread");
        let clone = handle.clone();
        drop(handle);
        assert!(!thread.is_finished());
        drop(clone);
        thread.join().expect("no panic");
    }

    #[test]
    fn the_load_is_high_with_more_than_two_packets_a_tick() {
        let start = clock::now();
        let tick = Duration::from_millis(5);
        let mut load = Load::new(start);
        load.turn(start + tick / 2, 3, tick);
        assert!(!load.is_high());
        load.turn(start + tick, 0, tick);
        assert!(load.is_high());
        load.turn(start + 2 * tick, 2, tick);
        assert!(!load.is_high());
        load.turn(start + 12 * tick, 20, tick);
        assert!(!load.is_high());
    }
}
