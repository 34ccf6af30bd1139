//! Groups on demand: joined as long as clients request them.
//!
//! All clients of one group share its channel. The first one starts it; after the last one has
//! left, it continues for the linger and then ends, unless another client has come. A leaving last
//! client and a new first one are serialized by the entry's lock: the new one finds the channel
//! running, or ended and starts another one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as TableMutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{Joining, RegistryError, Shared, audience::ByTransport};
use crate::{
    channel::ChannelSpec,
    limits::FAILOVER,
    shares::{self, Caller, Refused, Resource},
};
use tidecast_core::relay::{self, Fec, Retransmission};
use tidecast_net::{
    address::{Input, Scheme, udpxy},
    clock,
    limits::RECEIVE_BUFFER_BYTES,
};
use tidecast_wire::Format;

/// The groups on demand.
#[derive(Debug)]
pub(super) struct OnDemand {
    linger: Duration,
    table: TableMutex<HashMap<Input, Arc<Entry>>>,
}

/// One group on demand.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) subscribers: ByTransport,
    input: Input,
    life: Mutex<Life>,
}

#[derive(Debug)]
enum Life {
    New {
        place: shares::Place,
    },
    Running {
        /// Taken from the share of one of the users, or of the last one.
        place: shares::Place,
        thread: usize,
        users: Vec<Caller>,
        /// When the last user left.
        idle_since: Instant,
        /// A task waits for the linger to pass.
        watched: bool,
    },
    /// No longer in the table: a caller that has waited for the lock must start again.
    Gone,
}

/// A client's place in an entry; dropping it returns it.
#[derive(Debug)]
pub(super) struct ChannelPlace {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    caller: Caller,
}

impl OnDemand {
    pub(super) fn new(linger: Duration) -> OnDemand {
        OnDemand { linger, table: TableMutex::default() }
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.table().values().cloned().collect()
    }

    /// The group's entry, if it is joined.
    pub(super) fn entry_of(&self, input: &Input) -> Option<Arc<Entry>> {
        self.table().get(input).cloned()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Input, Arc<Entry>>> {
        // Single insertions and removals, so a panic cannot leave it inconsistent.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(
        &self,
        input: &Input,
        shares: &shares::Shares,
        caller: Caller,
        taken: impl Fn(&str) -> bool,
    ) -> Result<Arc<Entry>, RegistryError> {
        let mut table = self.table();
        if let Some(entry) = table.get(input) {
            return Ok(entry.clone());
        }
        let place = shares.take(Resource::Groups, caller)?;
        let entry = Arc::new(Entry {
            name: name(input, taken),
            path: udpxy::path(input),
            subscribers: ByTransport::default(),
            input: input.clone(),
            life: Mutex::new(Life::New { place }),
        });
        table.insert(input.clone(), entry.clone());
        Ok(entry)
    }
}

/// Result of entering a group.
pub(super) struct Entered {
    pub(super) entry: Arc<Entry>,
    pub(super) thread: usize,
    pub(super) place: ChannelPlace,
}

/// Enters the group, and joins it if necessary.
pub(super) async fn enter(
    shared: &Arc<Shared>,
    input: Input,
    joining: Joining,
    caller: Caller,
) -> Result<Entered, RegistryError> {
    let shared = shared.clone();
    // Runs in a separate task, because a client that is cancelled meanwhile must not leave a
    // channel half started.
    let task = tokio::spawn(async move {
        loop {
            let taken = |name: &str| shared.channels().iter().any(|channel| channel.name == name);
            make_room(&shared, &input, caller).await;
            let entry = shared.on_demand.entry(&input, &shared.shares, caller, taken)?;
            if let Some((thread, place)) = take_place(&shared, &entry, joining, caller).await? {
                return Ok(Entered { entry, thread, place });
            }
        }
    });
    match task.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // the task is never aborted
    }
}

/// Takes a place in the entry and starts its channel if necessary. `None` if the entry has ended.
async fn take_place(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    joining: Joining,
    caller: Caller,
) -> Result<Option<(usize, ChannelPlace)>, RegistryError> {
    let mut life = entry.life.lock().await;
    if let Life::New { .. } = *life {
        let started = start(shared, entry, joining).await;
        let Life::New { place } = std::mem::replace(&mut *life, Life::Gone) else { return Ok(None) };
        match started {
            Ok(thread) => {
                let (users, idle_since) = (Vec::new(), clock::now());
                *life = Life::Running { place, thread, users, idle_since, watched: false }
            }
            Err(error) => {
                shared.on_demand.table().remove(&entry.input);
                return Err(error);
            }
        }
    }
    let Life::Running { place, thread, users, .. } = &mut *life else { return Ok(None) };
    if users.is_empty() {
        place.leave_to(caller);
    }
    users.push(caller);
    Ok(Some((*thread, ChannelPlace { shared: shared.clone(), entry: entry.clone(), caller })))
}

/// Ends a group without clients to make room: for a host that has used its share, one of its own;
/// for others, any. The one that was left first ends.
async fn make_room(shared: &Arc<Shared>, input: &Input, caller: Caller) {
    if shared.on_demand.table().contains_key(input) {
        return;
    }
    let Err(refused) = shared.shares.has_room(Resource::Groups, caller) else { return };
    let own = matches!(refused, Refused::Share { .. });
    let mut left = Vec::new();
    for entry in shared.on_demand.entries() {
        let Ok(life) = entry.life.try_lock() else { continue };
        if let Life::Running { place, users, idle_since, .. } = &*life
            && users.is_empty()
            && (!own || place.caller() == caller)
        {
            left.push((*idle_since, entry.clone()));
        }
    }
    let Some((_, entry)) = left.into_iter().min_by_key(|(since, _)| *since) else { return };
    let mut life = entry.life.lock().await;
    if let Life::Running { thread, users, .. } = &*life
        && users.is_empty()
    {
        end(shared, &entry, *thread).await;
        *life = Life::Gone;
        shared.on_demand.table().remove(&entry.input);
        tracing::debug!(channel = entry.name, "ended: nobody watches it, and another group needs its place");
    }
}

/// Format of a group on demand: datagrams of `udp://` may be anything.
pub fn format_on_demand(scheme: Scheme) -> Format {
    if scheme.is_rtp() { Format::Rtp } else { Format::Auto }
}

async fn start(shared: &Arc<Shared>, entry: &Entry, joining: Joining) -> Result<usize, RegistryError> {
    let thread = shared.least_loaded();
    let format = format_on_demand(entry.input.scheme);
    // Other formats have no FEC on separate ports.
    let fec = if format == Format::Rtp { joining.fec } else { Fec::Off };
    let spec = ChannelSpec {
        name: entry.name.clone(),
        inputs: vec![entry.input.clone()],
        reports: Vec::new(),
        relay: relay::Config { format, fec, ..relay::Config::default() },
        retransmission: Retransmission::default(),
        outputs: Vec::new(),
        receive_buffer: RECEIVE_BUFFER_BYTES,
        rejoin: joining.rejoin,
        failover: FAILOVER,
        tick: None,
        on_demand: true,
        gap_wait: shared.telemetry.gap_wait(&entry.name, true),
        sink: None,
    };
    let started = shared.packet_threads[thread].add(spec).await;
    let reasons = match started {
        Ok(started) if started.waiting.is_empty() => {
            tracing::debug!(channel = entry.name, "started: {}", entry.input);
            return Ok(thread);
        }
        Ok(started) => started.waiting,
        Err(error) => {
            shared.unload(thread);
            return Err(error.into());
        }
    };
    // A player would wait in vain, so it is asked to retry; the interface may be there by then.
    end(shared, entry, thread).await;
    Err(RegistryError::Waiting { reasons })
}

/// Ends the channel; telemetry keeps its counters.
async fn end(shared: &Shared, entry: &Entry, thread: usize) {
    let _nobody_counts = shared.census.write().await;
    shared.unload(thread);
    match shared.packet_threads[thread].remove(&entry.name).await {
        Ok(state) => shared.telemetry.ended(&state, &entry.subscribers.state()),
        Err(error) => tracing::debug!(channel = entry.name, "cannot end the channel: {error}"), // the end of all
    }
}

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        let (shared, entry, caller) = (self.shared.clone(), self.entry.clone(), self.caller);
        // Without a runtime the whole program is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(leave(shared, entry, caller));
        }
    }
}

/// A client has left. After the last one, waits for the linger to pass and ends the channel.
async fn leave(shared: Arc<Shared>, entry: Arc<Entry>, caller: Caller) {
    {
        let mut life = entry.life.lock().await;
        let Life::Running { place, users, idle_since, watched, .. } = &mut *life else { return };
        if let Some(user) = users.iter().position(|user| *user == caller) {
            users.swap_remove(user);
        }
        if let Some(other) = users.first() {
            if place.caller() == caller && !users.contains(&caller) {
                place.leave_to(*other); // counts for a current client instead of the one that started it
            }
            return;
        }
        *idle_since = clock::now();
        if std::mem::replace(watched, true) {
            return;
        }
    }
    loop {
        let mut life = entry.life.lock().await;
        let Life::Running { thread, users, idle_since, watched, .. } = &mut *life else { return };
        if !users.is_empty() {
            *watched = false;
            return;
        }
        let left = (*idle_since + shared.on_demand.linger).saturating_duration_since(clock::now());
        if left.is_zero() {
            let thread = *thread;
            end(&shared, &entry, thread).await;
            *life = Life::Gone;
            shared.on_demand.table().remove(&entry.input);
            tracing::debug!(channel = entry.name, "ended: no client for {:?}", shared.on_demand.linger);
            return;
        }
        drop(life);
        tokio::time::sleep(left).await;
    }
}

/// `udp-239.1.1.1-5000`; differs from any configured channel's name.
fn name(input: &Input, taken: impl Fn(&str) -> bool) -> String {
    let mut name = format!("{}-", input.scheme);
    if let Some(source) = input.source {
        name.push_str(&format!("{source}@"));
    }
    name.push_str(&format!("{}-{}", input.group, input.port));
    while taken(&name) {
        name.push('+'); // no configured name can have it
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_tell_groups_apart() {
        let of = |url: &str| {
            let input: Input = url.parse().unwrap();
            (name(&input, |name| name == "udp-239.1.1.2-5000"), udpxy::path(&input))
        };
        for (url, name, path) in [
            ("udp://@239.1.1.1:5000", "udp-239.1.1.1-5000", "/udp/239.1.1.1:5000"),
            ("udp://@239.1.1.2:5000", "udp-239.1.1.2-5000+", "/udp/239.1.1.2:5000"),
            ("rtp://10.0.0.5@232.1.1.1:5000", "rtp-10.0.0.5@232.1.1.1-5000", "/rtp/10.0.0.5@232.1.1.1:5000"),
            ("udp://@[ff15::1]:5000", "udp-ff15::1-5000", "/udp/[ff15::1]:5000"),
        ] {
            assert_eq!(of(url), (name.to_owned(), path.to_owned()), "{url}");
        }
    }
}
