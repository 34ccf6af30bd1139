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
    let mut run = Run { job, reader, cutter, carrier, line: None, ended: false };
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
                Step::Bytes(bytes) => self.cutter.push(&bytes),
                Step::Lap => self.cutter.lap(),
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
