//! Checks each output of a relay (content, order, no duplicate, nothing released after it was
//! given up, no gap that waited longer than the hold), and measures losses and delays.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tidecast_core::relay::{How, Output};

use super::sender::Sender;

/// Checks and measurements of the outputs for one range of numbers.
pub struct Observer {
    seed: u64,
    /// Maximum time that a gap may wait.
    hold: Duration,
    start: Instant,
    interval: Duration,
    /// Minimum delay of the links.
    transit: Duration,
    numbers: Range<u64>,
    /// The core's number for number 0.
    base: Option<u64>,
    next: u64,
    pub recovered: u64,
    pub lost: Vec<u64>,
    /// Delay of each packet beyond that of the links, in microseconds.
    pub delays: Vec<u32>,
    pub wait: Duration,
}

impl Observer {
    pub fn new(seed: u64, hold: Duration, start: Instant, interval: Duration) -> Observer {
        Observer {
            seed,
            hold,
            start,
            interval,
            transit: Duration::ZERO,
            numbers: 0..u64::MAX,
            base: None,
            next: 0,
            recovered: 0,
            lost: Vec::new(),
            delays: Vec::new(),
            wait: Duration::ZERO,
        }
    }

    /// Restricts the measurement to these numbers, over links with this delay.
    pub fn measuring(self, numbers: Range<u64>, transit: Duration) -> Observer {
        Observer { numbers, transit, ..self }
    }

    /// Returns the number below which everything has been delivered or given up.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn see(&mut self, now: Instant, output: &Output, sender: &Sender) {
        let seed = self.seed;
        match output {
            Output::Deliver(delivery) => {
                let number = Sender::number(delivery.packet.payload());
                let base = *self.base.get_or_insert_with(|| delivery.seq - number);
                assert_eq!(delivery.seq, base + number, "seed {seed}: the number of packet {number}");
                assert_eq!(number, self.next, "seed {seed}: in order, once, and none after it was given up");
                let sent = match delivery.how {
                    How::Retransmission => sender.media_again(number),
                    _ => sender.media(number),
                };
                assert_eq!(*delivery.packet.bytes, sent, "seed {seed}: packet {number}");
                self.next += 1;
                self.measure(now, number, delivery.how);
            }
            Output::Lost { from, count, .. } => {
                let from = from - self.base.expect("a first packet");
                assert_eq!(from, self.next, "seed {seed}: given up in order");
                self.next += count;
                self.lost.extend((from..from + count).filter(|number| self.numbers.contains(number)));
            }
            Output::GapClosed { waited, .. } => {
                self.wait = self.wait.max(*waited);
                assert!(*waited <= self.hold, "seed {seed}: a gap waited {waited:?}, hold {:?}", self.hold);
            }
            _ => {}
        }
    }

    fn measure(&mut self, now: Instant, number: u64, how: How) {
        self.recovered += u64::from(how != How::Received);
        if self.numbers.contains(&number) {
            let sent = self.start + self.interval * number as u32;
            let took = now.saturating_duration_since(sent + self.transit);
            self.delays.push(took.as_micros().min(u32::MAX.into()) as u32);
        }
    }

    /// Returns the number of runs of lost packets, their mean length and their maximum length.
    pub fn runs(&self) -> (u64, f64, u64) {
        let runs = self.lost.chunk_by(|a, b| a + 1 == *b);
        let (count, longest) = runs.fold((0_u64, 0), |(n, max), run| (n + 1, run.len().max(max)));
        (count, self.lost.len() as f64 / count.max(1) as f64, longest as u64)
    }
}
