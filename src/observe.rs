//! What happened lately, for people: a look at every channel once a second, from which come rates,
//! ten minutes of history, a verdict (ok, degraded, silent) with its reasons, and events.
//!
//! It asks [`crate::registry`] for plain numbers and stands beside a datagram's way. The HTTP
//! server shows what is found ([`crate::serve::http`]); nothing else depends on it.

mod content;
mod events;
mod explain;
mod findings;
mod history;
mod legs;
mod losses;
mod refused;
mod verdict;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::{
    channel::state::ChannelState,
    limits::{
        FLOW_TABLES_MAX, HISTORY_CHANNELS_MAX, HISTORY_SAMPLES, LOOK_TICKS, LOOKS_MAX, OBSERVE_INTERVAL,
        OBSERVE_YOUNG, RECENT_SAMPLES, TABLE_ROWS_MAX,
    },
    registry::{ChannelView, Registry, Stalled},
};
pub use content::Content;
pub use events::{Event, Level, Log};
pub use history::{Column, History, Recent, Sample, clients, share};
use legs::Legs;
pub use losses::{Told, told};
use refused::{News, Refusals};
use tidecast_net::{clock, log_limiter::LogLimiter};
pub use verdict::{Health, Verdict};

/// A channel, and what happened in it lately.
#[derive(Debug)]
pub struct Observed {
    /// Its last state, without flows.
    pub view: ChannelView,
    /// What its packets carry; `None`: not known yet.
    pub content: Option<Content>,
    /// Its last ten minutes.
    pub history: History,
    /// What became of the numbers of its last minute.
    pub recent: Recent,
    /// How it is.
    pub verdict: Verdict,
    /// While it is silent: why that may be, the likeliest first.
    pub causes: Vec<String>,
    /// When its last packet came, as seen at the ticks.
    heard: Option<Instant>,
    legs: Legs,
    refusals: Refusals,
    /// Flows whose first session has not begun yet.
    awaited: u64,
    /// A look may be taken from this tick on.
    look_from: u64,
}

/// One tick.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Seconds since the tick before.
    pub seconds: f64,
}

/// The groups on demand, in the log. Strangers join them, a thousand of them if they like: one has
/// its say now and then.
#[derive(Debug, Default)]
struct Crowd(LogLimiter);

impl Crowd {
    /// Whether a group may say something, and then what to add of the others.
    fn may_say(&mut self, now: Instant) -> Option<String> {
        let unsaid = self.0.admit(now)?;
        Some(if unsaid > 0 { format!(" ({unsaid} more of groups on demand before)") } else { String::new() })
    }
}

/// All that was seen.
#[derive(Debug)]
pub struct Observation {
    /// When the relay began, in milliseconds since the Unix epoch: tells its runs apart.
    pub run: u64,
    /// How many ticks there were.
    pub ticks: u64,
    /// The last ten minutes of them; each channel's newest sample belongs to the newest one.
    pub times: VecDeque<Tick>,
    /// The channels: the configured ones in their order, then the others by name.
    pub channels: Vec<Observed>,
    /// What happened.
    pub events: Log,
    last: Instant,
    crowd: Crowd,
}

/// Looks at the channels while the relay runs. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Observer {
    registry: Registry,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    observation: Mutex<Observation>,
    ticked: watch::Sender<u64>,
    /// The flows of channels that somebody has asked for since the last tick.
    flows: tokio::sync::Mutex<HashMap<String, (u64, Arc<ChannelState>)>>,
}

impl Observer {
    /// Begins to look. Must be called within a tokio runtime; ends with the last clone.
    pub fn start(registry: Registry) -> Observer {
        let observation = Observation {
            run: millis(clock::unix()),
            ticks: 0,
            times: VecDeque::new(),
            channels: Vec::new(),
            events: Log::default(),
            last: clock::now(),
            crowd: Crowd::default(),
        };
        let shared = Arc::new(Shared {
            observation: Mutex::new(observation),
            ticked: watch::channel(0).0,
            flows: Default::default(),
        });
        tokio::spawn(watch_over(registry.clone(), Arc::downgrade(&shared)));
        Observer { registry, shared }
    }

    /// What was seen so far. Locks it: for no longer than it takes to copy what is needed.
    pub fn seen(&self) -> MutexGuard<'_, Observation> {
        self.shared.seen()
    }

    /// Changes with each tick.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.shared.ticked.subscribe()
    }

    /// A channel with its flows, at most a tick old, whoever else asks for it; absent when there is
    /// none of this name.
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
        // A panic in between leaves some channels a tick behind the others, and nothing worse.
        self.observation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch_over(registry: Registry, shared: std::sync::Weak<Shared>) {
    let mut interval = tokio::time::interval(OBSERVE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Without an answer there is nothing to see; that it stays out is told by /healthz and the
        // keep-alives.
        let views = registry.views(0).await;
        let Some(shared) = shared.upgrade() else { return };
        let Ok(views) = views else { continue };
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
}

async fn look_into(registry: Registry, shared: std::sync::Weak<Shared>, name: String) {
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.view.state.name
    }

    /// What comes and is not passed on, and players who get nothing: each with its likely reason
    /// and what to do.
    pub fn refused(&self) -> &[String] {
        self.refusals.reasons()
    }

    /// Takes in what has become of it; tells what has happened.
    fn go_on(&mut self, view: ChannelView, now: Instant, crowd: &mut Crowd) -> Vec<events::Finding> {
        let mut found = findings::between(&self.view, &view);
        found.extend(self.legs.go_on(&self.view, &view, now));
        found.extend(findings::sessions(&self.view, &view, &mut self.awaited));
        found.extend(self.refuse(&view, now, crowd));
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
                    self.say(&format!("{reason}: {}", finding.advice), Level::Warning, now, crowd);
                }
                found.extend(finding);
            }
            (true, false) => {
                self.causes.clear();
                self.say("packets come again", Level::Info, now, crowd);
                let quiet = quiet.map_or(self.view.state.age_seconds, |quiet| quiet.as_secs_f64());
                found.push(findings::heard_again(quiet));
            }
            _ => {}
        }
        found
    }

    fn refuse(&mut self, view: &ChannelView, now: Instant, crowd: &mut Crowd) -> Vec<events::Finding> {
        let (found, news) = self.refusals.go_on(&self.view, view, now);
        match news {
            Some(News::Begins) => self.say(&self.refused().join("; "), Level::Warning, now, crowd),
            Some(News::Ends) => {
                self.say("what comes is passed on again, or nothing comes", Level::Info, now, crowd)
            }
            None => {}
        }
        found
    }

    /// Logs it.
    fn say(&self, what: &str, level: Level, now: Instant, crowd: &mut Crowd) {
        let channel = self.name();
        let more = if self.view.state.on_demand {
            let Some(unsaid) = crowd.may_say(now) else { return debug!(channel, "{what}") };
            unsaid
        } else {
            String::new()
        };
        match level {
            Level::Info => info!(channel, "{what}{more}"),
            Level::Warning | Level::Problem => warn!(channel, "{what}{more}"),
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
        // The first look comes at once, and nothing is a rate in no time.
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
            // A group that was left and joined again counts anew.
            let same = |old: &Observed| old.view.state.age_seconds <= view.state.age_seconds;
            let (channel, found) = match known.remove(&name).filter(same) {
                Some(mut channel) => {
                    let found = channel.go_on(view, now, &mut self.crowd);
                    (channel, found)
                }
                None => begin(view, order, now, &mut self.crowd),
            };
            found.into_iter().for_each(|finding| self.events.add(unix, &name, finding));
            self.channels.push(channel);
        }
        for name in known.into_keys() {
            self.events.add(unix, &name, findings::gone());
        }
    }

    /// The channels that carry something unknown; they are not named again at once.
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

    /// The channel of this name.
    pub fn channel(&self, name: &str) -> Option<&Observed> {
        self.channels.iter().find(|channel| channel.name() == name)
    }
}

/// A channel that was not there before.
fn begin(
    view: ChannelView,
    order: usize,
    now: Instant,
    crowd: &mut Crowd,
) -> (Observed, Vec<events::Finding>) {
    let samples = if order < HISTORY_CHANNELS_MAX { HISTORY_SAMPLES } else { RECENT_SAMPLES };
    let mut found = findings::first(&view);
    let heard = (view.state.counters.media_received > 0).then_some(now);
    let is_new = view.state.age_seconds < OBSERVE_YOUNG.as_secs_f64();
    let awaited = (view.state.flow_count as u64).saturating_sub(view.state.counters.sessions);
    let mut channel = Observed { heard, awaited, ..Observed::new(view, samples) };
    if is_new {
        // What happened before the first look happened now.
        let start = before_all(&channel.view);
        found.extend(findings::between(&start, &channel.view));
        channel.history.push(Sample::between(&start, &channel.view));
        let view = std::mem::replace(&mut channel.view, start);
        found.extend(channel.refuse(&view, now, crowd));
        channel.view = view;
    }
    channel.judge(now);
    (channel, found)
}

/// Why a channel has passed nothing on of what came, in words, as of its end.
pub fn why_nothing(state: &ChannelState) -> Option<String> {
    let view = ChannelView { state: state.clone(), path: String::new(), subscribers: Default::default() };
    let counts = refused::grown(&before_all(&view).state, state);
    (!counts.is_empty()).then(|| explain::explain_all(&counts, state, ""))
}

/// The channel as it was when it began.
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
