//! Who runs what: the packet threads, the configured channels, and those that exist while somebody
//! asks for them.
//!
//! Commands start it, the HTTP server subscribes through it, and state and metrics are asked here.
//! It stands beside a datagram's way: it hands out the readers of [`crate::channel::tap`], and
//! packets do not pass it.

pub mod audience;
mod common;
mod on_demand;
mod views;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::RwLock;

use self::audience::{ByTransport, ByTransportState, Client, ClientState, SubscriberGroup, Transport, Who};
use crate::{
    channel::{
        Channel, ChannelSpec, PathSettings,
        carries::Carries,
        state::{ChannelState, LegState, OutputState},
        tap::{Batch, Begin, Chunk, Piece, Select, TapReader},
        thread::{PacketThread, Started, ThreadError},
    },
    config,
    limits::SURVEY_PATIENCE,
    shares::{Caller, Refused, Shares},
};
pub use common::{CommonAnswer, Pause};
pub use on_demand::format_on_demand;
use on_demand::{ChannelPlace, Entered, OnDemand};
use tidecast_core::relay::Fec;
use tidecast_net::{address::Input, limits::RECEIVE_BUFFER_BYTES};
use tidecast_wire::Format;
use views::Answers;
pub use views::{Stalled, Views};

/// Why somebody cannot have a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No channel of this name is configured.
    #[error("there is no stream {name:?}: expected {}", known(names))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// As many groups on demand as there may be, or as one host may have.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The group cannot be joined at present.
    #[error("{}", reasons.join("; "))]
    Waiting {
        /// Each leg's address and reason.
        reasons: Vec<String>,
    },
    /// The packet path refuses.
    #[error(transparent)]
    PacketThread(#[from] ThreadError),
}

fn known(names: &[String]) -> String {
    match names {
        [] => "a group, as in /udp/GROUP:PORT (no stream has a name here)".to_owned(),
        names => names.join(", "),
    }
}

/// Owns the channels. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    packet_threads: Vec<PacketThread>,
    /// Channels per packet thread, to spread them.
    loads: Vec<AtomicUsize>,
    channels: Mutex<Vec<Arc<Configured>>>,
    on_demand: OnDemand,
    shares: Shares,
    telemetry: Arc<dyn Telemetry>,
    answers: Answers,
    /// Read while somebody adds up living and ended channels; written while one becomes the other.
    census: RwLock<()>,
}

/// A configured channel.
#[derive(Debug)]
struct Configured {
    name: String,
    thread: usize,
    channel: Arc<config::Channel>,
    subscribers: ByTransport,
    /// Those that run beside its packet thread.
    outputs: Mutex<Vec<Arc<dyn ExternalOutput>>>,
}

impl Configured {
    fn outputs(&self) -> MutexGuard<'_, Vec<Arc<dyn ExternalOutput>>> {
        // Only ever pushed to: no panic can leave it half changed.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What measures the channels, beside the states that they give.
pub trait Telemetry: fmt::Debug + Send + Sync {
    /// Where the packet path records how long packets of a channel waited behind a gap, in seconds.
    fn gap_wait(&self, _channel: &str, _on_demand: bool) -> ::metrics::Histogram {
        ::metrics::Histogram::noop()
    }

    /// Called when a channel on demand has ended, while no census runs. Later ones are without the
    /// channel.
    fn ended(&self, _last: &ChannelState, _subscribers: &ByTransportState) {}
}

/// Measures nothing.
impl Telemetry for () {}

/// An output of a channel that runs beside its packet thread, such as a recording.
pub trait ExternalOutput: fmt::Debug + Send + Sync {
    /// What it has sent on so far.
    fn state(&self) -> OutputState;
}

/// How a group on demand is received.
#[derive(Debug, Clone, Copy, Default)]
pub struct Joining {
    /// For RTP, where its repair packets come.
    pub fec: Fec,
    /// How often its membership is reported although nobody asks.
    pub rejoin: Option<Duration>,
}

/// One channel as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelView {
    /// The packet path's state.
    #[serde(flatten)]
    pub state: ChannelState,
    /// Where HTTP clients find it.
    pub path: String,
    /// Its subscribers, by transport.
    pub subscribers: ByTransportState,
}

/// What one client gets of a channel.
#[derive(Debug)]
pub struct Subscription<P: Piece = Chunk> {
    /// What comes from now on. Closed when the channel ends.
    pub reader: TapReader<P>,
    /// The client's share of the channel; it leaves when this is dropped.
    pub share: Share,
}

/// One client's share of a channel. A group on demand is left when nobody has one.
#[derive(Debug)]
pub struct Share {
    subscribers: Arc<SubscriberGroup>,
    client: Arc<Client>,
    _place: Option<ChannelPlace>,
}

impl Share {
    fn new(subscribers: Arc<SubscriberGroup>, place: Option<ChannelPlace>) -> Share {
        let client = subscribers.joined();
        Share { subscribers, client, _place: place }
    }

    /// A share of nothing.
    #[cfg(test)]
    pub(crate) fn detached(subscribers: Arc<SubscriberGroup>) -> Share {
        Share::new(subscribers, None)
    }

    /// Says who the client is.
    pub fn introduce(&self, who: Who) {
        self.client.introduce(who);
    }

    /// Packets went to the client.
    pub fn sent(&self, packets: u64, bytes: u64) {
        self.subscribers.sent(&self.client, packets, bytes);
    }

    /// The client skipped packets.
    pub fn lagged(&self, packets: u64) {
        self.subscribers.lagged(&self.client, packets);
    }

    /// Packets were waiting for the client when it went.
    pub fn cut(&self, packets: u64) {
        self.subscribers.cut(packets);
    }

    /// The client was cut off because it was behind for too long.
    pub fn cut_off_behind(&self) {
        self.subscribers.cut_off_behind();
    }

    /// The client was cut off because its stream was silent for too long.
    pub fn cut_off_idle(&self) {
        self.subscribers.cut_off_idle();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.subscribers.left(&self.client);
    }
}

impl Registry {
    /// Starts the packet threads. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A thread or its epoll cannot be made.
    pub fn start(
        threads: usize,
        settings: PathSettings,
        linger: Duration,
        shares: Shares,
        telemetry: Arc<dyn Telemetry>,
    ) -> io::Result<Registry> {
        let threads = threads.max(1);
        let packet_threads: io::Result<Vec<PacketThread>> = (0..threads)
            .map(|index| PacketThread::spawn(index, settings).map(|(thread, _)| thread))
            .collect();
        let shared = Arc::new(Shared {
            packet_threads: packet_threads?,
            loads: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            channels: Mutex::default(),
            on_demand: OnDemand::new(linger),
            shares,
            telemetry,
            answers: Answers::default(),
            census: RwLock::new(()),
        });
        Ok(Registry { shared })
    }

    /// Who has how many places.
    pub fn shares(&self) -> &Shares {
        &self.shared.shares
    }

    /// Starts a configured channel; answers when each leg was tried once.
    ///
    /// # Errors
    /// A leg cannot be opened and waiting does not help, or the name is taken.
    pub async fn add(&self, channel: &config::Channel) -> Result<Started, ThreadError> {
        let thread = self.shared.least_loaded();
        let gap_wait = self.shared.telemetry.gap_wait(&channel.name, false);
        let started = self.shared.packet_threads[thread].add(spec(channel, gap_wait)).await?;
        let configured = Configured {
            name: channel.name.clone(),
            thread,
            channel: Arc::new(channel.clone()),
            subscribers: ByTransport::default(),
            outputs: Mutex::default(),
        };
        self.shared.channels().push(Arc::new(configured));
        Ok(started)
    }

    /// Shows an output that runs beside the packet thread among those of a configured channel.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn show_output(&self, name: &str, output: Arc<dyn ExternalOutput>) -> Result<(), RegistryError> {
        self.configured(name)?.outputs().push(output);
        Ok(())
    }

    /// Subscribes to a configured channel.
    ///
    /// # Errors
    /// There is no such channel, or too many different flows of it are read one by one.
    pub async fn subscribe(
        &self,
        name: &str,
        transport: Transport,
        select: Select,
        begin: Begin,
    ) -> Result<Subscription, RegistryError> {
        let channel = self.configured(name)?;
        let reader = self.shared.tap(channel.thread, name, select, begin).await?;
        Ok(Subscription { reader, share: Share::new(channel.subscribers.of(transport), None) })
    }

    /// Subscribes to all that happens in a configured channel, packet by packet.
    ///
    /// # Errors
    /// There is no such channel.
    pub async fn subscribe_records(
        &self,
        name: &str,
        transport: Transport,
    ) -> Result<Subscription<Batch>, RegistryError> {
        let channel = self.configured(name)?;
        let thread = &self.shared.packet_threads[channel.thread];
        let reader = thread.with_channel(name, |channel, _| channel.packet_tap()).await?;
        Ok(Subscription { reader, share: Share::new(channel.subscribers.of(transport), None) })
    }

    /// The last value of each flow of a channel, configured or on demand, and a reader of all that
    /// happens in it from then on. Whoever takes it hands it on to subscribers, each of which has a
    /// share.
    ///
    /// # Errors
    /// There is no such channel.
    pub async fn follow(&self, name: &str) -> Result<(Batch, TapReader<Batch>), RegistryError> {
        self.with_channel(name, Channel::follow).await
    }

    /// Asks a channel, configured or on demand, on its packet thread. The question must be short:
    /// packets wait meanwhile.
    ///
    /// # Errors
    /// There is no such channel, or its packet thread has ended.
    pub async fn with_channel<T: Send + 'static>(
        &self,
        name: &str,
        question: impl FnOnce(&mut Channel, Instant) -> T + Clone + Send + 'static,
    ) -> Result<T, RegistryError> {
        let unknown = match self.configured(name) {
            Ok(channel) => {
                return Ok(self.shared.packet_threads[channel.thread].with_channel(name, question).await?);
            }
            Err(unknown) => unknown,
        };
        // One on demand.
        for thread in &self.shared.packet_threads {
            if let Ok(answer) = thread.with_channel(name, question.clone()).await {
                return Ok(answer);
            }
        }
        Err(unknown)
    }

    /// A subscriber's share of a configured channel that is followed already.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn share(&self, name: &str, transport: Transport) -> Result<Share, RegistryError> {
        Ok(Share::new(self.configured(name)?.subscribers.of(transport), None))
    }

    /// Subscribes to a group on demand: the first client joins it, and it is left a while after the
    /// last one is gone. `caller`: in whose share the group is.
    ///
    /// # Errors
    /// The group cannot be joined, or too many are.
    pub async fn subscribe_on_demand(
        &self,
        input: Input,
        select: Select,
        begin: Begin,
        joining: Joining,
        transport: Transport,
        caller: Caller,
    ) -> Result<Subscription, RegistryError> {
        let Entered { entry, thread, place } = on_demand::enter(&self.shared, input, joining, caller).await?;
        let reader = self.shared.tap(thread, &entry.name, select, begin).await?;
        Ok(Subscription { reader, share: Share::new(entry.subscribers.of(transport), Some(place)) })
    }

    /// A subscriber's share of a group on demand, and the name of its channel, which can be
    /// followed as long as there is a share. The first one joins the group.
    ///
    /// # Errors
    /// The group cannot be joined, or too many are.
    pub async fn join_on_demand(
        &self,
        input: Input,
        joining: Joining,
        transport: Transport,
        caller: Caller,
    ) -> Result<(String, Share), RegistryError> {
        let Entered { entry, place, .. } = on_demand::enter(&self.shared, input, joining, caller).await?;
        let share = Share::new(entry.subscribers.of(transport), Some(place));
        Ok((entry.name.clone(), share))
    }

    /// The format of a configured channel.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn format(&self, name: &str) -> Result<Format, RegistryError> {
        self.configured(name).map(|configured| configured.channel.format.clone())
    }

    /// A configured channel, as it was configured.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn channel(&self, name: &str) -> Result<Arc<config::Channel>, RegistryError> {
        self.configured(name).map(|configured| configured.channel.clone())
    }

    /// What was seen in a channel, configured or on demand. An answer may be a survey's interval
    /// old, since each stream that begins asks.
    pub async fn carries(&self, name: &str) -> Option<Carries> {
        let views = self.shared.answers.recent_views(&self.shared).await.ok()?;
        views.iter().find(|view| view.state.name == name).map(|view| view.state.carries)
    }

    /// The name of the channel of a group on demand; absent while nobody has it.
    pub fn name_on_demand(&self, input: &Input) -> Option<String> {
        self.shared.on_demand.entry_of(input).map(|entry| entry.name.clone())
    }

    /// The configured channels that carry streams of one session with this one, and this one, in
    /// the order of the configuration.
    pub fn session_of(&self, channel: &Arc<config::Channel>) -> Vec<Arc<config::Channel>> {
        if channel.session().is_none() {
            return vec![channel.clone()];
        }
        let channels = self.shared.channels();
        let all = channels.iter().map(|configured| &configured.channel);
        all.filter(|other| other.session() == channel.session()).cloned().collect()
    }

    /// What a configured channel keeps for players that begin, without being one.
    ///
    /// # Errors
    /// There is no such channel.
    pub async fn kept(&self, name: &str) -> Result<Vec<Arc<Chunk>>, RegistryError> {
        let channel = self.configured(name)?;
        let mut reader = self.shared.tap(channel.thread, name, Select::Auto, Begin::Picture).await?;
        Ok(reader.take_start())
    }

    /// The clients of a channel, configured or on demand, in no order; absent when there is none of
    /// this name.
    pub fn clients(&self, name: &str) -> Option<Vec<ClientState>> {
        if let Ok(channel) = self.configured(name) {
            return Some(channel.subscribers.clients());
        }
        let entries = self.shared.on_demand.entries();
        entries.iter().find(|entry| entry.name == name).map(|entry| entry.subscribers.clients())
    }

    /// Whether a channel of this name is configured.
    pub fn knows(&self, name: &str) -> bool {
        self.shared.channels().iter().any(|channel| channel.name == name)
    }

    /// The names of the configured channels, in the order of the configuration.
    pub fn names(&self) -> Vec<String> {
        self.shared.channels().iter().map(|channel| channel.name.clone()).collect()
    }

    fn configured(&self, name: &str) -> Result<Arc<Configured>, RegistryError> {
        let channel = self.shared.channels().iter().find(|channel| channel.name == name).cloned();
        channel.ok_or_else(|| RegistryError::Unknown { name: name.to_owned(), names: self.names() })
    }

    /// All channels as they stand after this call: the configured ones in their order, then the
    /// others by name. Each may have more flows than `flows_max`, if somebody else wants more of
    /// them at the same time.
    ///
    /// # Errors
    /// A packet thread has ended, or does not answer within [`SURVEY_PATIENCE`].
    pub async fn views(&self, flows_max: usize) -> Result<Views, Stalled> {
        self.shared.answers.views(&self.shared, flows_max).await
    }

    /// One channel, configured or on demand, with at most `flows_max` flows; absent when there is
    /// none of this name. Each call is a question to the packet threads.
    ///
    /// # Errors
    /// As of [`Registry::views`].
    pub async fn state(&self, name: &str, flows_max: usize) -> Result<Option<ChannelState>, Stalled> {
        for (index, thread) in self.shared.packet_threads.iter().enumerate() {
            match tokio::time::timeout(SURVEY_PATIENCE, thread.state(name, flows_max)).await {
                Ok(Ok(Some(mut state))) => {
                    self.shared.add_external_outputs(&mut state);
                    return Ok(Some(state));
                }
                Ok(Ok(None)) => {}
                _ => return Err(Stalled { threads: vec![index] }),
            }
        }
        Ok(None)
    }

    /// A look at what happens in a channel, configured or on demand, without being one of its
    /// subscribers: for the page, which shows what it is that others subscribe to.
    pub async fn look(&self, name: &str) -> Option<TapReader<Batch>> {
        self.with_channel(name, |channel, _| channel.packet_tap()).await.ok()
    }

    /// Why the relay is not ready: legs of configured channels that are not joined or whose
    /// interface is down, with the reason. Empty: ready.
    pub async fn not_ready(&self) -> Vec<String> {
        // Before the views: one that is added meanwhile may be in none of them.
        let names = self.names();
        let views = self.views(0).await.unwrap_or_default();
        let mut reasons: Vec<String> = Vec::new();
        for state in views.iter().map(|view| &view.state).filter(|state| !state.on_demand) {
            let troubles = state.legs.iter().filter_map(LegState::trouble);
            reasons.extend(troubles.map(|trouble| format!("{}: {trouble}", state.name)));
        }
        let missing = names.into_iter().filter(|name| !views.iter().any(|view| view.state.name == *name));
        reasons.extend(missing.map(|name| format!("{name}: its packet thread does not answer")));
        reasons
    }

    /// The packet threads, by number, that have not come round within this time, their sockets
    /// read. Empty: all of them work.
    pub async fn stalled(&self, patience: Duration) -> Vec<usize> {
        self.shared.stalled(patience).await
    }

    /// Whether packets pass: every packet thread has come round within
    /// [`HEALTH_PATIENCE`](crate::limits::HEALTH_PATIENCE).
    ///
    /// # Errors
    /// Some have not.
    pub async fn health(&self) -> Result<(), Stalled> {
        self.shared.answers.health(&self.shared).await
    }

    /// Calls `count` with all channels. No channel on demand ends meanwhile, so that each is either
    /// here or was handed to
    /// [`Telemetry::ended`].
    ///
    /// # Errors
    /// As of [`Registry::views`].
    pub async fn with_census<T>(&self, count: impl FnOnce(&[ChannelView]) -> T) -> Result<T, Stalled> {
        let _still = self.shared.census.read().await;
        let views = self.shared.answers.views(&self.shared, 0).await?;
        Ok(count(&views))
    }

    /// Ends all channels: leaves the groups, sends on what is held back, ends every subscription.
    /// Gives their last states. Whatever is asked later is refused.
    pub async fn stop(&self) -> Vec<ChannelState> {
        let mut states = Vec::new();
        for thread in &self.shared.packet_threads {
            states.extend(thread.stop().await);
        }
        states.iter_mut().for_each(|state| self.shared.add_external_outputs(state));
        states
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, Vec<Arc<Configured>>> {
        // Only ever pushed to: no panic can leave it half changed.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of the payloads of a channel of this packet thread.
    async fn tap(
        &self,
        thread: usize,
        name: &str,
        select: Select,
        begin: Begin,
    ) -> Result<TapReader, ThreadError> {
        let tap = move |channel: &mut Channel, now| channel.payload_tap(select, begin, now);
        Ok(self.packet_threads[thread].with_channel(name, tap).await??)
    }

    /// The packet thread with the fewest channels; it counts as given one.
    fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().enumerate();
        let (index, load) =
            loads.min_by_key(|(_, load)| load.load(Relaxed)).expect("there is a packet thread");
        load.fetch_add(1, Relaxed);
        index
    }

    fn unload(&self, thread: usize) {
        self.loads[thread].fetch_sub(1, Relaxed);
    }

    async fn stalled(&self, patience: Duration) -> Vec<usize> {
        let end = tokio::time::Instant::now() + patience;
        let answers: Vec<_> =
            self.packet_threads.iter().cloned().map(|thread| tokio::spawn(ask(thread, end))).collect();
        let mut stalled = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            if !answer.await.unwrap_or(false) {
                stalled.push(index);
            }
        }
        stalled
    }

    /// Adds the outputs that run beside the channel's packet thread.
    fn add_external_outputs(&self, state: &mut ChannelState) {
        let channel = self.channels().iter().find(|channel| channel.name == state.name).cloned();
        if let Some(channel) = channel {
            state.outputs.extend(channel.outputs().iter().map(|output| output.state()));
        }
    }
}

/// Whether a packet thread answers in time.
async fn ask(thread: PacketThread, end: tokio::time::Instant) -> bool {
    tokio::time::timeout_at(end, thread.answer()).await.is_ok_and(|answer| answer.is_ok())
}

/// What the packet path makes the channel from.
fn spec(channel: &config::Channel, gap_wait: ::metrics::Histogram) -> ChannelSpec {
    ChannelSpec {
        name: channel.name.clone(),
        retransmission: channel.retransmission,
        inputs: channel.legs.iter().map(|leg| leg.address.clone()).collect(),
        reports: channel.reports(),
        relay: channel.core(),
        outputs: channel.outputs.clone(),
        receive_buffer: channel.receive_buffer.unwrap_or(RECEIVE_BUFFER_BYTES),
        rejoin: channel.rejoin,
        failover: channel.failover,
        tick: Some(channel.tick),
        on_demand: false,
        gap_wait,
        sink: None,
    }
}

#[cfg(test)]
mod tests;
