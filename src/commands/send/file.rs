//! Sends a file or a pipe: each payload at its time, with heartbeats in between.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::carrier::Carrier;
use super::reader::{Reader, Step};
use super::{Job, seconds};
use super::{cut::Cutter, pace::Timeline, pcr::Timed};
use tidecast_net::clock;

/// Sends all of the input.
pub(super) fn run(job: &mut Job, reader: Reader, cutter: Cutter, carrier: Carrier) -> anyhow::Result<()> {
    let mut run = Run { job, reader, cutter, carrier, line: None, ended: false, place: Place::default() };
    while let Some(timed) = run.next()? {
        if !run.send(&timed)? {
            break;
        }
    }
    let Run { job, cutter, carrier, reader, .. } = run;
    job.link.repairs = carrier.finish(|datagram| job.link.transmit(datagram));
    if cutter.skipped() > 0 {
        tracing::warn!("{}: {} bytes were part of no transport packet", reader.name(), cutter.skipped());
    }
    job.link.check()
}

struct Run<'a> {
    job: &'a mut Job,
    reader: Reader,
    cutter: Cutter,
    carrier: Carrier,
    /// Set by the first payload: the time line, and when the first payload was sent.
    line: Option<(Timeline, Instant)>,
    ended: bool,
    place: Place,
}

/// How far the file is sent. The payloads that the cutter has belong to the last block that was
/// read, or to the end of the one before.
#[derive(Debug, Default)]
struct Place {
    /// End of the block before the last, and bytes sent since the last one was read.
    before: u64,
    sent: u64,
    /// End of the last block.
    read: u64,
    /// Completed laps.
    laps: u64,
}

impl Place {
    fn read(&mut self, bytes: usize) {
        *self = Place { before: self.read, sent: 0, read: self.read + bytes as u64, laps: self.laps };
    }

    fn lap(&mut self) {
        *self = Place { laps: self.laps + 1, ..Place::default() };
    }

    fn sent(&mut self, bytes: usize) -> u64 {
        self.sent += bytes as u64;
        (self.before + self.sent).min(self.read)
    }
}

impl Run<'_> {
    /// The next payload; waits for slow input. `None` at the end of the input or of the run.
    fn next(&mut self) -> anyhow::Result<Option<Timed>> {
        loop {
            if let Some(timed) = self.cutter.pop() {
                return Ok(Some(timed));
            }
            if self.ended {
                return Ok(None);
            }
            let cut = match self.reader.read()? {
                Step::Bytes(bytes) => {
                    self.place.read(bytes.len());
                    self.cutter.push(&bytes)
                }
                Step::Lap => {
                    self.place.lap();
                    self.cutter.lap()
                }
                Step::End => {
                    self.ended = true;
                    self.cutter.finish()
                }
                Step::Pending => {
                    if !self.wait(None)? {
                        return Ok(None);
                    }
                    Ok(())
                }
            };
            cut.with_context(|| self.reader.name().to_owned())?;
        }
    }

    /// Sends a payload at its time; `false` at the end of the run.
    fn send(&mut self, timed: &Timed) -> anyhow::Result<bool> {
        let now = clock::now();
        let (line, _) = self.line.get_or_insert_with(|| (Timeline::new(now), now));
        let due = line.instant(timed.due);
        if due.is_none_or(|due| due > now) && !self.wait_until(due)? {
            return Ok(false);
        }
        let now = clock::now();
        if self.job.is_over(now) {
            return Ok(false);
        }
        let at = self.settle(timed.due, now);
        let Run { job, carrier, .. } = self;
        carrier.push(now, at, &timed.bytes, |datagram| job.link.transmit(datagram))?;
        job.gauge.reached(self.place.sent(timed.bytes.len()), self.place.laps);
        job.sent();
        job.link.check()?;
        Ok(true)
    }

    /// Accounts for a stall; returns the payload's time since the first one.
    fn settle(&mut self, due: Duration, now: Instant) -> Duration {
        let Some((line, first)) = &mut self.line else { return Duration::ZERO };
        let moved = line.settle(due, now);
        if !moved.is_zero() {
            tracing::debug!("{} behind its rate: not caught up", seconds(moved));
        }
        line.instant(due).map_or(due, |at| at.saturating_duration_since(*first))
    }

    /// Waits for this time, or forever if it cannot be represented; `false` at the end of the run.
    fn wait_until(&mut self, due: Option<Instant>) -> anyhow::Result<bool> {
        while due.is_none_or(|due| clock::now() < due) {
            if !self.wait(due)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends what is due between payloads, and sleeps once, at most until `due`; `false` at the
    /// end of the run.
    fn wait(&mut self, due: Option<Instant>) -> anyhow::Result<bool> {
        let now = clock::now();
        if self.job.is_over(now) {
            return Ok(false);
        }
        let Run { job, carrier, .. } = self;
        carrier.poll(now, |datagram| job.link.transmit(datagram));
        job.link.check()?;
        job.sleep([due, carrier.next_deadline()]);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_a_file_goes_on_with_what_is_sent() {
        let mut place = Place::default();
        place.read(1000);
        assert_eq!([300, 300].map(|bytes| place.sent(bytes)), [300, 600]);
        place.read(1000); // the cutter still has 400 bytes
        assert_eq!([300, 300, 900].map(|bytes| place.sent(bytes)), [1300, 1600, 2000]);
        place.lap();
        assert_eq!((place.sent(100), place.laps), (0, 1));
        place.read(1000);
        assert_eq!(place.sent(100), 100);
    }
}
