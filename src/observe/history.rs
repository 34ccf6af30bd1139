//! Recent history of a channel: a sample for each tick, in a bounded ring.

use std::collections::VecDeque;

use crate::{channel::state::ChannelState, limits::RECENT_SAMPLES, registry::ChannelView};

/// Columns of a sample. Counts cover the time since the previous sample; other values are those at
/// the time of the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Column {
    /// Media datagrams received.
    Received,
    /// UDP payload bytes of all datagrams.
    Bytes,
    /// Packets delivered.
    Delivered,
    /// Numbers used by the producers.
    Expected,
    /// Numbers given up.
    Lost,
    /// Packets recovered by FEC.
    Fec,
    /// Packets recovered by retransmission.
    Retransmission,
    /// Packets that came after their number had been given up.
    Late,
    /// Datagrams that the kernel dropped.
    Kernel,
    /// Numbers missed on one leg and received on another.
    OtherLeg,
    /// Duplicate packets.
    Duplicate,
    /// Packets that subscribers or outputs did not get.
    NotSent,
    /// Current hold, in seconds.
    Hold,
    /// Interarrival jitter, in seconds.
    Jitter,
    /// Packets held back.
    Held,
    /// Subscribers.
    Clients,
}

/// Number of columns.
pub(super) const COLUMNS: usize = 16;

impl Column {
    /// All columns, in the order of a sample.
    pub const ALL: [Column; COLUMNS] = [
        Column::Received,
        Column::Bytes,
        Column::Delivered,
        Column::Expected,
        Column::Lost,
        Column::Fec,
        Column::Retransmission,
        Column::Late,
        Column::Kernel,
        Column::OtherLeg,
        Column::Duplicate,
        Column::NotSent,
        Column::Hold,
        Column::Jitter,
        Column::Held,
        Column::Clients,
    ];

    /// Name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Received => "received",
            Column::Bytes => "bytes",
            Column::Delivered => "delivered",
            Column::Expected => "expected",
            Column::Lost => "lost",
            Column::Fec => "recovered_fec",
            Column::Retransmission => "recovered_retransmission",
            Column::Late => "late",
            Column::Kernel => "kernel_drops",
            Column::OtherLeg => "other_leg",
            Column::Duplicate => "duplicate",
            Column::NotSent => "not_sent",
            Column::Hold => "hold_seconds",
            Column::Jitter => "jitter_seconds",
            Column::Held => "held",
            Column::Clients => "clients",
        }
    }

    /// What it says, for the description of the API.
    pub const fn about(self) -> &'static str {
        match self {
            Column::Received => "Media datagrams received, per second.",
            Column::Bytes => "UDP payload bytes of all datagrams, per second.",
            Column::Delivered => "Packets delivered, per second.",
            Column::Expected => "Numbers used by the producers, per second.",
            Column::Lost => "Numbers given up, per second.",
            Column::Fec => "Packets recovered by FEC, per second.",
            Column::Retransmission => "Packets recovered by retransmission, per second.",
            Column::Late => "Packets that came after their number had been given up, per second.",
            Column::Kernel => "Datagrams that the kernel dropped, per second.",
            Column::OtherLeg => "Numbers missed on one leg and received on another, per second.",
            Column::Duplicate => "Duplicate packets, per second.",
            Column::NotSent => "Packets that subscribers or outputs did not get, per second.",
            Column::Hold => "Hold, in seconds.",
            Column::Jitter => "Interarrival jitter, in seconds.",
            Column::Held => "Packets held back.",
            Column::Clients => "Subscribers.",
        }
    }

    /// Whether it counts events since the previous sample.
    pub fn is_count(self) -> bool {
        !matches!(self, Column::Hold | Column::Jitter | Column::Held | Column::Clients)
    }
}

/// Sample of a channel at one tick. Single precision suffices: a second has fewer than 16 million
/// packets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample([f32; COLUMNS]);

impl Sample {
    /// The sample between two observations of a channel.
    pub fn between(before: &ChannelView, after: &ChannelView) -> Sample {
        let (b, a) = (&before.state.counters, &after.state.counters);
        let count = |before: u64, after: u64| after.saturating_sub(before) as f32;
        let values = Column::ALL.map(|column| match column {
            Column::Received => count(b.media_received, a.media_received),
            Column::Bytes => count(b.bytes_received, a.bytes_received),
            Column::Delivered => count(b.delivered, a.delivered),
            Column::Expected => count(b.expected, a.expected),
            Column::Lost => count(b.lost, a.lost),
            Column::Fec => count(b.recovered_fec, a.recovered_fec),
            Column::Retransmission => count(b.recovered_retransmission, a.recovered_retransmission),
            Column::Late => count(b.late, a.late),
            Column::Kernel => count(kernel_drops(before), kernel_drops(after)),
            Column::OtherLeg => count(by_other_leg(&before.state), by_other_leg(&after.state)),
            Column::Duplicate => count(b.duplicate, a.duplicate),
            Column::NotSent => count(not_sent(before), not_sent(after)),
            Column::Hold => after.state.hold_seconds as f32,
            Column::Jitter => after.state.jitter_seconds as f32,
            Column::Held => after.state.held as f32,
            Column::Clients => clients(after) as f32,
        });
        Sample(values)
    }

    /// Value of a column.
    pub fn get(&self, column: Column) -> f32 {
        self.0[column as usize]
    }
}

/// Datagrams dropped by the kernel on any leg.
pub(super) fn kernel_drops(view: &ChannelView) -> u64 {
    view.state.legs.iter().map(|leg| leg.kernel_drops).sum()
}

/// Numbers missed on one leg and received on another. A lower bound with more than two legs, since
/// several may have missed the same number.
pub fn by_other_leg(state: &ChannelState) -> u64 {
    let missed = state.legs.iter().map(|leg| leg.counters.missed);
    if state.legs.len() > 2 { missed.max().unwrap_or(0) } else { missed.sum() }
}

/// Packets that an output could not send or a subscriber did not take.
pub(super) fn not_sent(view: &ChannelView) -> u64 {
    let outputs = view.state.outputs.iter().flat_map(|output| output.dropped.values()).sum::<u64>();
    let lagged = view.subscribers.iter().map(|(_, state)| state.dropped.lag).sum::<u64>();
    outputs + lagged
}

/// Current subscribers over all transports.
pub fn clients(view: &ChannelView) -> u64 {
    view.subscribers.iter().map(|(_, state)| state.clients).sum()
}

/// The latest samples of a channel, the newest last.
#[derive(Debug)]
pub struct History {
    samples: VecDeque<Sample>,
    max: usize,
}

impl History {
    /// An empty history for `max` samples.
    pub fn new(max: usize) -> History {
        History { samples: VecDeque::new(), max }
    }

    /// Adds the newest sample, and drops the oldest if necessary.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= self.max {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// The newest `count` samples at most, in order of time.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Sample> {
        self.samples.iter().skip(self.samples.len().saturating_sub(count))
    }

    /// The sum of a column over the newest `count` samples.
    pub fn sum(&self, column: Column, count: usize) -> f64 {
        self.newest(count).map(|sample| f64::from(sample.get(column))).sum()
    }
}

/// Outcome of the numbers that producers used in the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recent {
    /// Numbers that passed.
    pub expected: f64,
    /// Received on one leg only.
    pub other_leg: f64,
    /// Recovered by FEC.
    pub fec: f64,
    /// Recovered by retransmission.
    pub retransmission: f64,
    /// Lost, for any cause: the sum of the three below.
    pub lost: f64,
    /// Lost because they came after the hold.
    pub late: f64,
    /// Lost because the kernel's receive buffer was full, as far as that explains the losses.
    pub kernel: f64,
    /// Lost in the network.
    pub network: f64,
}

impl Recent {
    /// Splits the losses of a history by cause. The counters overlap (the kernel also drops
    /// duplicates), so a cause never explains more than the remaining losses.
    pub fn of(history: &History) -> Recent {
        let sum = |column| history.sum(column, RECENT_SAMPLES);
        let lost = sum(Column::Lost);
        let late = sum(Column::Late).min(lost);
        let kernel = sum(Column::Kernel).min(lost - late);
        Recent {
            expected: sum(Column::Expected),
            other_leg: sum(Column::OtherLeg),
            fec: sum(Column::Fec),
            retransmission: sum(Column::Retransmission),
            lost,
            late,
            kernel,
            network: lost - late - kernel,
        }
    }

    /// Share of lost numbers: 0 to 1.
    pub fn lost_share(&self) -> f64 {
        share(self.lost, self.expected)
    }
}

/// Ratio of a part to a whole: 0 to 1; 0 if the whole is empty.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 }
}
