//! Runs many sensors on one thread, with a heap of the times at which one of them is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::carrier::{Carrier, Carriers};
use super::sensor::Sensor;
use super::{Failure, Job};
use crate::limits::PACE_CATCH_UP_MAX;
use tidecast_net::clock;

/// Sends the readings of `count` sensors, one of each per `interval`, spread evenly.
pub(super) fn run(job: &mut Job, carriers: &Carriers, count: u32, interval: Duration) -> Result<(), Failure> {
    let mut units = Vec::new();
    for index in 0..count {
        let sensor = Sensor::new(index, carriers.seed());
        let phase = interval.mul_f64(f64::from(index) / f64::from(count));
        let carrier = carriers.carrier(index, false)?;
        units.push(Unit { sensor, carrier, started: job.started, next: job.started + phase });
    }
    let mut heap: BinaryHeap<_> = units.iter().enumerate().map(|(i, unit)| Reverse((unit.next, i))).collect();
    let mut text = String::new();
    while let Some(&Reverse((at, index))) = heap.peek() {
        let now = clock::now();
        if job.is_over(now) {
            break;
        }
        if now < at {
            job.sleep([Some(at)]);
            continue;
        }
        heap.pop();
        units[index].act(job, now, interval, &mut text)?;
        heap.push(Reverse((units[index].deadline(), index)));
    }
    for unit in units {
        job.link.repairs += unit.carrier.finish(|datagram| job.link.transmit(datagram));
    }
    Ok(job.link.check()?)
}

struct Unit {
    sensor: Sensor,
    carrier: Carrier,
    started: Instant,
    /// When the next reading is due.
    next: Instant,
}

impl Unit {
    /// Sends a reading if it is due, and other datagrams that are due.
    fn act(
        &mut self,
        job: &mut Job,
        now: Instant,
        interval: Duration,
        text: &mut String,
    ) -> anyhow::Result<()> {
        self.carrier.poll(now, |datagram| job.link.transmit(datagram));
        if now >= self.next {
            self.sensor.read(text);
            let at = self.next.saturating_duration_since(self.started);
            self.carrier.push(now, at, text.as_bytes(), |datagram| job.link.transmit(datagram))?;
            job.sent();
            // After a stall only a short burst is sent, as for files.
            let oldest = now.checked_sub(PACE_CATCH_UP_MAX).unwrap_or(now);
            self.next = (self.next + interval).max(oldest);
        }
        job.link.check()
    }

    fn deadline(&self) -> Instant {
        self.carrier.next_deadline().map_or(self.next, |at| at.min(self.next))
    }
}
