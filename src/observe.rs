//! Observes every channel once a second: rates, ten minutes of history, a verdict (ok, degraded,
//! silent) with its reasons, and events.
//!
//! It reads plain numbers from [`crate::registry`], away from the path of packets. The HTTP server
//! shows the results ([`crate::serve::http`]); nothing else depends on it.

mod content;
mod events;
mod explain;
mod findings;
mod history;
mod legs;
mod lines;
mod losses;
mod refused;
mod verdict;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval_at},
};

use crate::{
    channel::state::ChannelState,
    limits::{
        FLOW_TABLES_MAX, HISTORY_CHANNELS_MAX, HISTORY_SAMPLES, LOOK_TICKS, LOOKS_MAX, OBSERVE_INTERVAL,
        OBSERVE_YOUNG, RECENT_SAMPLES, TABLE_ROWS_MAX,
    },
    registry::{ChannelView, Registry, Stalled},
};
pub use content::Content;
pub use events::{Event, EventKind, Level, Log};
pub use history::{Column, History, Recent, Sample, by_other_leg, clients, share};
use legs::Legs;
use lines::{Lines, Subject};
pub use losses::{Told, told};
use refused::{News, Refusals};
use tidecast_net::clock;
pub use verdict::{Health, Verdict};

/// A channel, with its recent observations.
#[derive(Debug)]
pub struct Observed {
    /// Its last state, without flows.
    pub view: ChannelView,
    /// Content of its packets; `None` if not known yet.
    pub content: Option<Content>,
    /// Samples of the last ten minutes.
    pub history: History,
    /// Outcome of the numbers of the last minute.
    pub recent: Recent,
    /// Its health.
    pub verdict: Verdict,
    /// Possible causes of its silence, the most likely first.
    pub causes: Vec<String>,
    /// When its last packet came, with the resolution of the ticks.
    heard: Option<Instant>,
    legs: Legs,
    refusals: Refusals,
    /// Flows whose first session has not started yet.
    awaited: u64,
    /// Earliest tick for examining its content.
    look_from: u64,
}

/// One observation.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Seconds since the previous tick.
    pub seconds: f64,
}

/// All observations.
#[derive(Debug)]
pub struct Observation {
    /// Start of the relay, in milliseconds since the Unix epoch: identifies a run.
    pub run: u64,
    /// Count of ticks.
    pub ticks: u64,
    /// Ticks of the last ten minutes; each channel's newest sample belongs to the newest tick.
    pub times: VecDeque<Tick>,
    /// The channels: the configured ones in their order, then the others by name.
    pub channels: Vec<Observed>,
    /// Events.
    pub events: Log,
    last: Instant,
    lines: Lines,
}

/// Observes the channels while the relay runs. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Observer {
    registry: Registry,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    observation: Mutex<Observation>,
    ticked: watch::Sender<u64>,
    /// Flows of channels that were requested since the last tick.
    flows: tokio::sync::Mutex<HashMap<String, (u64, Arc<ChannelState>)>>,
}

impl Observer {
    /// Observes the channels for the first time, so that all of them are known from the start, and
    /// goes on. Must be called within a tokio runtime; ends with the last clone.
    pub async fn start(registry: Registry) -> Observer {
        let observation = Observation {
            run: millis(clock::unix()),
            ticks: 0,
            times: VecDeque::new(),
            channels: Vec::new(),
            events: Log::default(),
            last: clock::now(),
            lines: Lines::default(),
        };
        let shared = Arc::new(Shared {
            observation: Mutex::new(observation),
            ticked: watch::channel(0).0,
            flows: Default::default(),
        });
        observe(&registry, &Arc::downgrade(&shared)).await;
        tokio::spawn(watch_over(registry.clone(), Arc::downgrade(&shared)));
        Observer { registry, shared }
    }

    /// Locks and returns the observations: hold the lock only to copy what is needed.
    pub fn seen(&self) -> MutexGuard<'_, Observation> {
        self.shared.seen()
    }

    /// Changes with each tick.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.shared.ticked.subscribe()
    }

    /// Notes what an operator did to a channel, as an event.
    pub fn operated(&self, channel: &str, text: String) {
        let finding = events::Finding {
            kind: EventKind::Operator,
            level: Level::Info,
            count: 0,
            text: events::Text::Whole(text),
            advice: String::new(),
        };
        self.seen().events.add(clock::unix(), channel, finding);
    }

    /// A channel with its flows, at most a tick old, shared by all callers; `None` if no channel
    /// has this name.
    ///
    /// # Errors
    /// A packet thread does not answer.
    pub async fn flows(&self, name: &str) -> Result<Option<Arc<ChannelState>>, Stalled> {
        let tick = *self.shared.ticked.borrow();
        let mut kept = self.shared.flows.lock().await;
        kept.retain(|_, (at, _)| *at == tick);
        if let Some((_, state)) = kept.get(name) {
            return Ok(Some(state.clone()));
        }
        let Some(state) = self.registry.state(name, TABLE_ROWS_MAX).await? else { return Ok(None) };
        let state = Arc::new(state);
        if kept.len() >= FLOW_TABLES_MAX {
            kept.clear();
        }
        kept.insert(name.to_owned(), (tick, state.clone()));
        Ok(Some(state))
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Observation> {
        // After a panic some channels may be a tick behind the others, which is harmless.
        self.observation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch_over(registry: Registry, shared: Weak<Shared>) {
    let mut interval = interval_at(tokio::time::Instant::now() + OBSERVE_INTERVAL, OBSERVE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shared.strong_count() > 0 {
        interval.tick().await;
        observe(&registry, &shared).await;
    }
}

/// Observes all channels. Without an answer there is no observation; `/healthz` and the
/// keep-alives report the failure.
async fn observe(registry: &Registry, shared: &Weak<Shared>) {
    let views = registry.views(0).await;
    let (Some(shared), Ok(views)) = (shared.upgrade(), views) else { return };
    let (ticks, unknown) = {
        let mut seen = shared.seen();
        seen.tick(views.to_vec(), clock::now(), clock::unix());
        (seen.ticks, seen.take_unknown())
    };
    shared.ticked.send_replace(ticks);
    for name in unknown {
        tokio::spawn(look_into(registry.clone(), Arc::downgrade(&shared), name));
    }
}

async fn look_into(registry: Registry, shared: Weak<Shared>, name: String) {
    let content = content::look(&registry, &name).await;
    let Some(shared) = shared.upgrade() else { return };
    let mut seen = shared.seen();
    if let Some(channel) = seen.channels.iter_mut().find(|channel| channel.name() == name) {
        channel.content = content;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Observed {
    fn new(view: ChannelView, samples: usize) -> Observed {
        let verdict = Verdict { health: Health::Ok, reasons: Vec::new() };
        Observed {
            view,
            content: None,
            history: History::new(samples),
            recent: Recent::default(),
            verdict,
            causes: Vec::new(),
            heard: None,
            legs: Legs::default(),
            refusals: Refusals::default(),
            awaited: 0,
            look_from: 0,
        }
    }

    /// Name of the channel.
    pub fn name(&self) -> &str {
        &self.view.state.name
    }

    /// Bits per second that each leg brings, in the order of the view; empty at the first
    /// observation.
    pub fn leg_bits(&self) -> impl Iterator<Item = f64> {
        self.legs.bits()
    }

    /// Refused datagrams, and players without data: each with its likely reason and what to do.
    pub fn refused(&self) -> &[String] {
        self.refusals.reasons()
    }

    /// Updates the channel with a new view; returns events.
    fn go_on(&mut self, view: ChannelView, now: Instant, lines: &mut Lines) -> Vec<events::Finding> {
        let mut found = findings::between(&self.view, &view);
        found.extend(self.legs.go_on(&self.view, &view, now));
        found.extend(findings::sessions(&self.view, &view, &mut self.awaited));
        found.extend(self.refuse(&view, now, lines));
        let sample = Sample::between(&self.view, &view);
        self.history.push(sample);
        self.view = view;
        let was_silent = self.verdict.health == Health::Silent;
        let quiet = self.heard.map(|heard| now.saturating_duration_since(heard));
        if sample.get(Column::Received) > 0.0 {
            self.heard = Some(now);
        }
        self.judge(now);
        match (was_silent, self.verdict.health == Health::Silent) {
            (false, true) => {
                self.causes = findings::causes(&self.view);
                let reason = self.verdict.reasons.first().map_or("no packets", String::as_str);
                let finding = findings::silent(&self.view, reason, &self.causes);
                if let Some(finding) = &finding {
                    self.say(Subject::Silent, format!("{reason}: {}", finding.advice), now, lines);
                }
                found.extend(finding);
            }
            (true, false) => {
                self.causes.clear();
                self.say(Subject::HeardAgain, Subject::HeardAgain.words().to_owned(), now, lines);
                let quiet = quiet.map_or(self.view.state.age_seconds, |quiet| quiet.as_secs_f64());
                found.push(findings::heard_again(quiet));
            }
            _ => {}
        }
        found
    }

    fn refuse(&mut self, view: &ChannelView, now: Instant, lines: &mut Lines) -> Vec<events::Finding> {
        let (found, news) = self.refusals.go_on(&self.view, view, now);
        match news {
            Some(News::Begins) => self.say(Subject::Refused, self.refused().join("; "), now, lines),
            Some(News::Ends) => self.say(Subject::PassedOn, Subject::PassedOn.words().to_owned(), now, lines),
            None => {}
        }
        found
    }

    fn say(&self, subject: Subject, text: String, now: Instant, lines: &mut Lines) {
        match self.view.state.on_demand {
            true => lines.on_demand(self.name(), subject, &text, now),
            false => lines.add(self.name(), subject, text),
        }
    }

    fn judge(&mut self, now: Instant) {
        self.recent = Recent::of(&self.history);
        let quiet = self.heard.map(|heard| now.saturating_duration_since(heard));
        self.verdict = verdict::judge(
            &self.view,
            &self.history,
            &self.recent,
            quiet,
            self.legs.reasons(&self.view, now),
            self.refusals.reasons(),
        );
        if self.verdict.health == Health::Silent
            && let Some(cause) = self.causes.first()
        {
            self.verdict.reasons.push(format!("most likely {cause}"));
        }
    }
}

impl Observation {
    fn tick(&mut self, views: Vec<ChannelView>, now: Instant, unix: Duration) {
        let since = now.saturating_duration_since(self.last);
        // The first observation comes at once, so its interval may be too short for rates.
        let seconds = if self.ticks == 0 { since.max(OBSERVE_INTERVAL) } else { since }.as_secs_f64();
        self.last = now;
        self.ticks += 1;
        if self.times.len() >= HISTORY_SAMPLES {
            self.times.pop_front();
        }
        self.times.push_back(Tick { at: millis(unix), seconds });
        let mut known: HashMap<String, Observed> =
            self.channels.drain(..).map(|channel| (channel.name().to_owned(), channel)).collect();
        for (order, view) in views.into_iter().enumerate() {
            let name = view.state.name.clone();
            // A group that was left and joined again starts with new counters.
            let same = |old: &Observed| old.view.state.age_seconds <= view.state.age_seconds;
            let (channel, found) = match known.remove(&name).filter(same) {
                Some(mut channel) => {
                    let found = channel.go_on(view, now, &mut self.lines);
                    (channel, found)
                }
                None => begin(view, order, now, &mut self.lines),
            };
            found.into_iter().for_each(|finding| self.events.add(unix, &name, finding));
            self.channels.push(channel);
        }
        for name in known.into_keys() {
            self.events.add(unix, &name, findings::gone());
        }
        self.lines.flush();
    }

    /// The channels whose content is unknown; they are not returned again for a while.
    fn take_unknown(&mut self) -> Vec<String> {
        let now = self.ticks;
        let unknown = |channel: &&mut Observed| {
            channel.content.is_none() && channel.heard.is_some() && channel.look_from <= now
        };
        let mut names = Vec::new();
        for channel in self.channels.iter_mut().filter(unknown).take(LOOKS_MAX) {
            channel.look_from = now + LOOK_TICKS;
            names.push(channel.name().to_owned());
        }
        names
    }

    /// The channel with this name.
    pub fn channel(&self, name: &str) -> Option<&Observed> {
        self.channels.iter().find(|channel| channel.name() == name)
    }
}

/// Adds a channel that was not there before.
fn begin(
    view: ChannelView,
    order: usize,
    now: Instant,
    lines: &mut Lines,
) -> (Observed, Vec<events::Finding>) {
    let samples = if order < HISTORY_CHANNELS_MAX { HISTORY_SAMPLES } else { RECENT_SAMPLES };
    let mut found = findings::first(&view);
    let heard = (view.state.counters.media_received > 0).then_some(now);
    let is_new = view.state.age_seconds < OBSERVE_YOUNG.as_secs_f64();
    let awaited = (view.state.flow_count as u64).saturating_sub(view.state.counters.sessions);
    let mut channel = Observed { heard, awaited, ..Observed::new(view, samples) };
    if is_new {
        // Everything before the first observation counts as happening now.
        let start = before_all(&channel.view);
        found.extend(findings::between(&start, &channel.view));
        channel.history.push(Sample::between(&start, &channel.view));
        let view = std::mem::replace(&mut channel.view, start);
        found.extend(channel.refuse(&view, now, lines));
        channel.view = view;
    }
    channel.judge(now);
    (channel, found)
}

/// Why a channel that ends has delivered nothing of the received datagrams.
pub fn why_nothing(state: &ChannelState) -> Option<String> {
    let view = ChannelView { state: state.clone(), path: String::new(), subscribers: Default::default() };
    let counts = refused::grown(&before_all(&view).state, state);
    (!counts.is_empty()).then(|| explain::explain_all(&counts, state, ""))
}

/// The channel as it was at its start.
fn before_all(view: &ChannelView) -> ChannelView {
    let mut view = view.clone();
    view.state.counters = Default::default();
    view.state.rejects.clear();
    view.state.followed = 0;
    view.subscribers = Default::default();
    for leg in &mut view.state.legs {
        leg.counters = Default::default();
        leg.kernel_drops = 0;
    }
    for output in &mut view.state.outputs {
        output.dropped.clear();
        output.fault = None;
    }
    view
}

#[cfg(test)]
mod tests;
