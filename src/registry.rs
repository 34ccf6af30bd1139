//! Registry of the packet threads, the configured channels, and the channels that exist while
//! clients request them.
//!
//! Commands start it, the HTTP server subscribes through it, and it returns states for display and
//! metrics. Packets do not pass it: it hands out readers of [`crate::channel::tap`].

pub mod audience;
mod common;
mod on_demand;
mod share;
mod views;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::RwLock;

use self::audience::{ByTransport, ByTransportState, ClientState, Transport};
use crate::{
    channel::{
        Channel, ChannelSpec, PathSettings,
        carries::Carries,
        state::{ChannelState, LegState, OutputState},
        tap::{Batch, Begin, Chunk, Select, TapReader},
        thread::{PacketThread, Started, ThreadError},
    },
    config,
    limits::SURVEY_PATIENCE,
    shares::{Caller, Refused, Shares},
};
pub use common::{CommonAnswer, Pause};
pub use on_demand::format_on_demand;
use on_demand::{ChannelPlace, Entered, OnDemand};
use share::{Leaving, OnLeaving};
pub use share::{Share, Subscription};
use tidecast_core::relay::Fec;
use tidecast_net::{address::Input, limits::RECEIVE_BUFFER_BYTES};
use tidecast_wire::{Format, seal::Keyring};
use views::Answers;
pub use views::{Stalled, Views};

/// Why a stream is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No channel of this name is configured.
    #[error("there is no stream {name:?}: expected {}", known(names))]
    Unknown {
        /// The requested name.
        name: String,
        /// The configured names.
        names: Vec<String>,
    },
    /// The maximum of groups on demand is reached, or that of one host.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The group cannot be joined at present.
    #[error("{}", reasons.join("; "))]
    Waiting {
        /// Each leg's address and reason.
        reasons: Vec<String>,
    },
    /// An error of the packet thread.
    #[error(transparent)]
    PacketThread(#[from] ThreadError),
}

/// What a client to disconnect lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoClient {
    /// No channel has this name.
    Channel,
    /// The channel has no client with this id.
    Client,
}

fn known(names: &[String]) -> String {
    match names {
        [] => "a group, as in /udp/GROUP:PORT (no stream has a name here)".to_owned(),
        names => names.join(", "),
    }
}

/// Owns the channels. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    packet_threads: Vec<PacketThread>,
    /// Channels per packet thread, used to distribute them.
    loads: Vec<AtomicUsize>,
    channels: Mutex<Vec<Arc<Configured>>>,
    on_demand: OnDemand,
    shares: Shares,
    telemetry: Arc<dyn Telemetry>,
    /// Who is told when a client leaves.
    leaving: Arc<Leaving>,
    answers: Answers,
    /// Locked for reading while running and ended channels are added up, and for writing while a
    /// channel ends.
    census: RwLock<()>,
}

/// A configured channel.
#[derive(Debug)]
struct Configured {
    name: String,
    thread: usize,
    channel: Arc<config::Channel>,
    subscribers: ByTransport,
    /// Outputs that run beside its packet thread.
    outputs: Mutex<Vec<Arc<dyn ExternalOutput>>>,
}

impl Configured {
    fn outputs(&self) -> MutexGuard<'_, Vec<Arc<dyn ExternalOutput>>> {
        // Only pushed to, so a panic cannot leave it inconsistent.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures the channels in addition to their states.
pub trait Telemetry: fmt::Debug + Send + Sync {
    /// Histogram for the packet path: how long packets of a channel waited behind a gap, in
    /// seconds.
    fn gap_wait(&self, _channel: &str, _on_demand: bool) -> ::metrics::Histogram {
        ::metrics::Histogram::noop()
    }

    /// Called when a channel has ended, while no census runs. Later censuses do not
    /// include the channel.
    fn ended(&self, _last: &ChannelState, _subscribers: &ByTransportState) {}
}

/// Measures nothing.
impl Telemetry for () {}

/// An output of a channel that runs beside its packet thread, such as a recording.
pub trait ExternalOutput: fmt::Debug + Send + Sync {
    /// State of the output, with what it has sent.
    fn state(&self) -> OutputState;
}

/// Settings for receiving a group on demand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Joining {
    /// For RTP, the ports of repair packets.
    pub fec: Fec,
    /// Interval at which the membership is reported without a query.
    pub rejoin: Option<Duration>,
}

/// State of one channel for display.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChannelView {
    /// State from its packet thread.
    #[serde(flatten)]
    pub state: ChannelState,
    /// Its URL path.
    pub path: String,
    /// Its subscribers, by transport.
    pub subscribers: ByTransportState,
}

impl Registry {
    /// Starts the packet threads. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A thread or its epoll cannot be created.
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
            leaving: Arc::default(),
            answers: Answers::default(),
            census: RwLock::new(()),
        });
        Ok(Registry { shared })
    }

    /// Calls `told` with a channel's name and what one of its clients has received, when a client
    /// that subscribes from now on leaves. Only the first one counts.
    pub fn on_leaving(&self, told: OnLeaving) {
        self.shared.leaving.call(told);
    }

    fn new_share(
        &self,
        name: &str,
        subscribers: &ByTransport,
        transport: Transport,
        place: Option<ChannelPlace>,
    ) -> Share {
        Share::new(&self.shared.leaving, name, subscribers, transport, place)
    }

    /// The table of places.
    pub fn shares(&self) -> &Shares {
        &self.shared.shares
    }

    /// Starts a configured channel; returns when each leg was tried once.
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

    /// Ends a configured channel, and with it the streams of its clients. Its counters stay in the
    /// metrics.
    ///
    /// # Errors
    /// There is no such channel, or the relay is ending.
    pub async fn remove(&self, name: &str) -> Result<(), RegistryError> {
        let channel = self.configured(name)?;
        let _nobody_counts = self.shared.census.write().await;
        let mut state = self.shared.packet_threads[channel.thread].remove(name).await?;
        self.shared.add_external_outputs(&mut state);
        self.shared.channels().retain(|known| known.name != name);
        self.shared.unload(channel.thread);
        self.shared.telemetry.ended(&state, &channel.subscribers.state());
        Ok(())
    }

    /// Exchanges the keys of a configured channel that takes sealed datagrams alone.
    ///
    /// # Errors
    /// There is no such channel, or the relay is ending.
    pub async fn rekey(&self, name: &str, keyring: Arc<Keyring>) -> Result<(), RegistryError> {
        let channel = self.configured(name)?;
        let thread = &self.shared.packet_threads[channel.thread];
        Ok(thread.with_channel(name, move |channel, _| channel.rekey(keyring)).await?)
    }

    /// Puts the configured channels into this order.
    pub fn arrange(&self, names: &[&str]) {
        let place = |channel: &Arc<Configured>| names.iter().position(|name| **name == channel.name);
        self.shared.channels().sort_by_key(place);
    }

    /// Disconnects all clients of all channels whose user is meant; returns their number.
    pub fn disconnect_users(&self, is_meant: impl Fn(Option<&str>) -> bool) -> usize {
        let meant = |client: &ClientState| is_meant(client.who.user.as_deref());
        let of = |subscribers: &ByTransport| {
            let clients = subscribers.clients();
            clients
                .iter()
                .filter(|client| meant(client) && subscribers.disconnect(client.id).is_some())
                .count()
        };
        let configured: Vec<Arc<Configured>> = self.shared.channels().clone();
        let on_demand = self.shared.on_demand.entries();
        configured.iter().map(|channel| of(&channel.subscribers)).sum::<usize>()
            + on_demand.iter().map(|entry| of(&entry.subscribers)).sum::<usize>()
    }

    /// Adds an output that runs beside the packet thread to the state of a configured channel.
    ///
    /// # Errors
    /// The channel does not exist.
    pub fn show_output(&self, name: &str, output: Arc<dyn ExternalOutput>) -> Result<(), RegistryError> {
        self.configured(name)?.outputs().push(output);
        Ok(())
    }

    /// Subscribes to a configured channel.
    ///
    /// # Errors
    /// The channel does not exist, or too many different selections of its flows are being read.
    pub async fn subscribe(
        &self,
        name: &str,
        transport: Transport,
        select: Select,
        begin: Begin,
    ) -> Result<Subscription, RegistryError> {
        let channel = self.configured(name)?;
        let reader = self.shared.tap(channel.thread, name, select, begin).await?;
        Ok(Subscription {
            reader,
            share: self.new_share(&channel.name, &channel.subscribers, transport, None),
        })
    }

    /// Subscribes to all records of a configured channel.
    ///
    /// # Errors
    /// The channel does not exist.
    pub async fn subscribe_records(
        &self,
        name: &str,
        transport: Transport,
    ) -> Result<Subscription<Batch>, RegistryError> {
        let channel = self.configured(name)?;
        let thread = &self.shared.packet_threads[channel.thread];
        let reader = thread.with_channel(name, |channel, _| channel.packet_tap()).await?;
        Ok(Subscription {
            reader,
            share: self.new_share(&channel.name, &channel.subscribers, transport, None),
        })
    }

    /// The last value of each flow of a channel, configured or on demand, and a reader of all
    /// records from then on. For a hub that passes them to subscribers, each of which has its own
    /// share.
    ///
    /// # Errors
    /// The channel does not exist.
    pub async fn follow(&self, name: &str) -> Result<(Batch, TapReader<Batch>), RegistryError> {
        self.with_channel(name, Channel::follow).await
    }

    /// Runs `question` on a channel, configured or on demand, on its packet thread. It must be
    /// short, because packets wait meanwhile.
    ///
    /// # Errors
    /// The channel does not exist, or its packet thread has ended.
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
        // It may be a channel on demand.
        for thread in &self.shared.packet_threads {
            if let Ok(answer) = thread.with_channel(name, question.clone()).await {
                return Ok(answer);
            }
        }
        Err(unknown)
    }

    /// A subscriber's share of a configured channel that is already followed.
    ///
    /// # Errors
    /// The channel does not exist.
    pub fn share(&self, name: &str, transport: Transport) -> Result<Share, RegistryError> {
        let channel = self.configured(name)?;
        Ok(self.new_share(&channel.name, &channel.subscribers, transport, None))
    }

    /// Subscribes to a group on demand: the first client joins it, and it is left a while after
    /// the last one has gone. `caller`: owner of the share that the group is taken from.
    ///
    /// # Errors
    /// The group cannot be joined, or too many are joined.
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
        Ok(Subscription {
            reader,
            share: self.new_share(&entry.name, &entry.subscribers, transport, Some(place)),
        })
    }

    /// A subscriber's share of a group on demand, and the name of its channel, which can be
    /// followed as long as there is a share. The first client joins the group.
    ///
    /// # Errors
    /// The group cannot be joined, or too many are joined.
    pub async fn join_on_demand(
        &self,
        input: Input,
        joining: Joining,
        transport: Transport,
        caller: Caller,
    ) -> Result<(String, Share), RegistryError> {
        let Entered { entry, place, .. } = on_demand::enter(&self.shared, input, joining, caller).await?;
        let share = self.new_share(&entry.name, &entry.subscribers, transport, Some(place));
        Ok((entry.name.clone(), share))
    }

    /// Format of a configured channel.
    ///
    /// # Errors
    /// The channel does not exist.
    pub fn format(&self, name: &str) -> Result<Format, RegistryError> {
        self.configured(name).map(|configured| configured.channel.format.clone())
    }

    /// Configuration of a configured channel.
    ///
    /// # Errors
    /// The channel does not exist.
    pub fn channel(&self, name: &str) -> Result<Arc<config::Channel>, RegistryError> {
        self.configured(name).map(|configured| configured.channel.clone())
    }

    /// Content of a channel, configured or on demand. An answer may be as old as the interval of
    /// surveys, because each new stream asks.
    pub async fn carries(&self, name: &str) -> Option<Carries> {
        let views = self.shared.answers.recent_views(&self.shared).await.ok()?;
        views.iter().find(|view| view.state.name == name).map(|view| view.state.carries)
    }

    /// Name of the channel of a group on demand; `None` while it is not joined.
    pub fn name_on_demand(&self, input: &Input) -> Option<String> {
        self.shared.on_demand.entry_of(input).map(|entry| entry.name.clone())
    }

    /// This configured channel and those that carry streams of the same session, in configured
    /// order.
    pub fn session_of(&self, channel: &Arc<config::Channel>) -> Vec<Arc<config::Channel>> {
        if channel.session().is_none() {
            return vec![channel.clone()];
        }
        let channels = self.shared.channels();
        let all = channels.iter().map(|configured| &configured.channel);
        all.filter(|other| other.session() == channel.session()).cloned().collect()
    }

    /// Data that a configured channel keeps for new players, without becoming one.
    ///
    /// # Errors
    /// The channel does not exist.
    pub async fn kept(&self, name: &str) -> Result<Vec<Arc<Chunk>>, RegistryError> {
        let channel = self.configured(name)?;
        let mut reader = self.shared.tap(channel.thread, name, Select::Auto, Begin::Picture).await?;
        Ok(reader.take_start())
    }

    /// Clients of a channel, configured or on demand, in no particular order; `None` if no channel
    /// has this name.
    pub fn clients(&self, name: &str) -> Option<Vec<ClientState>> {
        if let Ok(channel) = self.configured(name) {
            return Some(channel.subscribers.clients());
        }
        let entries = self.shared.on_demand.entries();
        entries.iter().find(|entry| entry.name == name).map(|entry| entry.subscribers.clients())
    }

    /// Disconnects a client of a channel, by its id in [`Registry::clients`]; returns what it was.
    /// A connection with several subscriptions ends as a whole.
    ///
    /// # Errors
    /// There is no such channel, or no such client.
    pub fn disconnect(&self, name: &str, id: u64) -> Result<ClientState, NoClient> {
        let found = if let Ok(channel) = self.configured(name) {
            channel.subscribers.disconnect(id)
        } else {
            let entries = self.shared.on_demand.entries();
            let entry = entries.iter().find(|entry| entry.name == name).ok_or(NoClient::Channel)?;
            entry.subscribers.disconnect(id)
        };
        found.ok_or(NoClient::Client)
    }

    /// Whether a channel with this name is configured.
    pub fn knows(&self, name: &str) -> bool {
        self.shared.channels().iter().any(|channel| channel.name == name)
    }

    /// Names of the configured channels, in configured order.
    pub fn names(&self) -> Vec<String> {
        self.shared.channels().iter().map(|channel| channel.name.clone()).collect()
    }

    fn configured(&self, name: &str) -> Result<Arc<Configured>, RegistryError> {
        let channel = self.shared.channels().iter().find(|channel| channel.name == name).cloned();
        channel.ok_or_else(|| RegistryError::Unknown { name: name.to_owned(), names: self.names() })
    }

    /// States of all channels, not older than this call: the configured ones in their order, then
    /// the others by name. Each may have more flows than `flows_max`, if another caller requests
    /// more at the same time.
    ///
    /// # Errors
    /// A packet thread has ended, or does not answer within [`SURVEY_PATIENCE`].
    pub async fn views(&self, flows_max: usize) -> Result<Views, Stalled> {
        self.shared.answers.views(&self.shared, flows_max).await
    }

    /// State of one channel, configured or on demand, with at most `flows_max` flows; `None` if no
    /// channel has this name. Each call queries the packet threads.
    ///
    /// # Errors
    /// As for [`Registry::views`].
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

    /// A reader of the records of a channel, configured or on demand, that does not count as a
    /// subscriber: for the page, which shows what others subscribe to.
    pub async fn look(&self, name: &str) -> Option<TapReader<Batch>> {
        self.with_channel(name, |channel, _| channel.packet_tap()).await.ok()
    }

    /// Why the relay is not ready: legs of configured channels that are not joined or whose
    /// interface is down, with the reason. Empty if it is ready.
    pub async fn not_ready(&self) -> Vec<String> {
        // Read before the views: a channel added meanwhile may be in neither.
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

    /// Indices of the packet threads that have not completed a turn within this time, with their
    /// sockets read. Empty if all of them work.
    pub async fn stalled(&self, patience: Duration) -> Vec<usize> {
        self.shared.stalled(patience).await
    }

    /// Whether packets pass: every packet thread has completed a turn within
    /// [`HEALTH_PATIENCE`](crate::limits::HEALTH_PATIENCE).
    ///
    /// # Errors
    /// Some threads have not.
    pub async fn health(&self) -> Result<(), Stalled> {
        self.shared.answers.health(&self.shared).await
    }

    /// Calls `count` with all channels. No channel on demand ends meanwhile, so each is either
    /// included or was passed to [`Telemetry::ended`].
    ///
    /// # Errors
    /// As for [`Registry::views`].
    pub async fn with_census<T>(&self, count: impl FnOnce(&[ChannelView]) -> T) -> Result<T, Stalled> {
        let _still = self.shared.census.read().await;
        let views = self.shared.answers.views(&self.shared, 0).await?;
        Ok(count(&views))
    }

    /// Ends all channels: leaves the groups, sends packets that are held back, and ends every
    /// subscription. Returns their last states. Later requests are refused.
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
        // Single insertions and removals, so a panic cannot leave it inconsistent.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of the payloads of a channel on this packet thread.
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

    /// The packet thread with the fewest channels; counts one more for it.
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

/// Specification of the channel for the packet thread.
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
