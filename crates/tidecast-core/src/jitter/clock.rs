//! Clock rate of a flow's RTP timestamps, by payload type: as described, as assigned by RFC 3551,
//! or as measured. The rate of the last payload type is cached, since the next packet probably has
//! the same.

use std::time::Duration;

use super::rates::Clocks;
use tidecast_wire::rtp::payload_types::{PayloadTypes, Purpose};

/// No payload type: valid ones are smaller.
const NONE: u8 = u8::MAX;

/// Clock rate of the last payload type, and the measured clocks.
#[derive(Debug)]
pub struct StampClock {
    /// Ticks per second; 0 if unknown.
    rate: u32,
    payload_type: u8,
    measured: Option<Box<Clocks>>,
}

impl Default for StampClock {
    fn default() -> StampClock {
        StampClock { rate: 0, payload_type: NONE, measured: None }
    }
}

impl StampClock {
    /// The clock rate of a payload type, if it is the last one and known.
    #[inline]
    pub fn rate_of(&self, payload_type: u8) -> Option<u32> {
        (payload_type == self.payload_type && self.rate != 0).then_some(self.rate)
    }

    /// Clock rate of any payload type, once known; `arrived` on any fixed scale. `None` for
    /// payload types that are not media: their timestamps repeat those of others, or do not move.
    #[cold]
    pub fn learn(
        &mut self,
        payload_type: u8,
        ticks: u32,
        arrived: Duration,
        types: &PayloadTypes,
    ) -> Option<u32> {
        let rate = match types.clock_rate(payload_type) {
            Some(rate) => (types.purpose(payload_type) == Purpose::Media).then_some(rate),
            None => {
                let arrived = i64::try_from(arrived.as_nanos()).unwrap_or(i64::MAX);
                self.measured.get_or_insert_default().rate(payload_type, ticks, arrived)
            }
        };
        (self.payload_type, self.rate) = (payload_type, rate.unwrap_or(0));
        rate
    }
}
