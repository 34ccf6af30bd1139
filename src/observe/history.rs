//! What happened in a channel lately: a sample for each tick, in a ring of bounded length.

use std::collections::VecDeque;

use crate::{limits::RECENT_SAMPLES, registry::ChannelView};

/// What a sample says. Counts are those since the sample before; the others are as they were at its
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Column {
    /// Media datagrams received.
    Received,
    /// UDP payload bytes of all datagrams.
    Bytes,
    /// Packets passed on.
    Delivered,
    /// Numbers that the producers used.
    Expected,
    /// Numbers given up.
    Lost,
    /// Packets rebuilt from FEC.
    Fec,
    /// Packets that came as a retransmission.
    Retransmission,
    /// Packets that came after their number had been given up.
    Late,
    /// Datagrams that the kernel dropped.
    Kernel,
    /// Numbers that one leg missed and another brought.
    OtherLeg,
    /// Packets that were there before.
    Duplicate,
    /// Packets that subscribers or outputs did not get.
    NotSent,
    /// The hold in force, in seconds.
    Hold,
    /// The interarrival jitter, in seconds.
    Jitter,
    /// Packets held back.
    Held,
    /// Subscribers.
    Clients,
}

/// How many columns there are.
pub(super) const COLUMNS: usize = 16;

impl Column {
    /// All of them, in the order of a sample.
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

    /// Its name in the API.
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

    /// Whether it counts what happened since the sample before.
    pub fn is_count(self) -> bool {
        !matches!(self, Column::Hold | Column::Jitter | Column::Held | Column::Clients)
    }
}

/// One tick of a channel. Single precision: a second has fewer than 16 million packets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample([f32; COLUMNS]);

impl Sample {
    /// What happened between two looks at a channel.
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
            Column::OtherLeg => count(by_other_leg(before), by_other_leg(after)),
            Column::Duplicate => count(b.duplicate, a.duplicate),
            Column::NotSent => count(not_sent(before), not_sent(after)),
            Column::Hold => after.state.hold_seconds as f32,
            Column::Jitter => after.state.jitter_seconds as f32,
            Column::Held => after.state.held as f32,
            Column::Clients => clients(after) as f32,
        });
        Sample(values)
    }

    /// One value.
    pub fn get(&self, column: Column) -> f32 {
        self.0[column as usize]
    }
}

/// Datagrams that the kernel dropped on any leg.
pub(super) fn kernel_drops(view: &ChannelView) -> u64 {
    view.state.legs.iter().map(|leg| leg.kernel_drops).sum()
}

/// Numbers that a leg missed and another one brought. Of more than two legs it is a lower bound:
/// several may have missed the same one.
pub(super) fn by_other_leg(view: &ChannelView) -> u64 {
    let missed = view.state.legs.iter().map(|leg| leg.counters.missed);
    if view.state.legs.len() > 2 { missed.max().unwrap_or(0) } else { missed.sum() }
}

/// Packets that an output could not send or a subscriber did not take.
pub(super) fn not_sent(view: &ChannelView) -> u64 {
    let outputs = view.state.outputs.iter().flat_map(|output| output.dropped.values()).sum::<u64>();
    let lagged = view.subscribers.iter().map(|(_, state)| state.dropped.lag).sum::<u64>();
    outputs + lagged
}

/// Subscribers at present, of all transports.
pub fn clients(view: &ChannelView) -> u64 {
    view.subscribers.iter().map(|(_, state)| state.clients).sum()
}

/// The last samples of a channel, the newest at the end.
#[derive(Debug)]
pub struct History {
    samples: VecDeque<Sample>,
    max: usize,
}

impl History {
    /// An empty one that keeps so many.
    pub fn new(max: usize) -> History {
        History { samples: VecDeque::new(), max }
    }

    /// Adds the newest sample; the oldest makes room.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() >= self.max {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// The newest `count` of them, or as many as there are, in the order of time.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Sample> {
        self.samples.iter().skip(self.samples.len().saturating_sub(count))
    }

    /// The sum of a column over the newest `count` samples.
    pub fn sum(&self, column: Column, count: usize) -> f64 {
        self.newest(count).map(|sample| f64::from(sample.get(column))).sum()
    }
}

/// What became of the numbers that producers used within the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recent {
    /// Numbers that passed.
    pub expected: f64,
    /// Came by one leg only.
    pub other_leg: f64,
    /// Rebuilt from FEC.
    pub fec: f64,
    /// Came as a retransmission.
    pub retransmission: f64,
    /// Lost, all causes together: the sum of the three below.
    pub lost: f64,
    /// Lost, because they came after the hold.
    pub late: f64,
    /// Lost, as far as the kernel's full receive buffer accounts for it.
    pub kernel: f64,
    /// Lost on the way here.
    pub network: f64,
}

impl Recent {
    /// Splits what a history says was lost by its cause. The counters overlap (the kernel also
    /// drops duplicates), so a cause never accounts for more than is left.
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

    /// The share of numbers that is lost: 0 to 1.
    pub fn lost_share(&self) -> f64 {
        share(self.lost, self.expected)
    }
}

/// A part of a whole: 0 to 1, and 0 of nothing.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 }
}
