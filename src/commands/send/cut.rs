//! Cuts the bytes of a file or pipe into payloads with the time at which each is due.
//!
//! Pure: no clock and no I/O. The `send` command reads the bytes and sends the payloads; a
//! transport stream is timed by its PCR ([`super::pcr`]) or, like any other data, at a fixed rate
//! ([`super::pace`]).

use std::collections::VecDeque;

use tidecast_net::units::Rate;
use tidecast_wire::ts;

use super::{
    pace::RatePacer,
    pcr::{PcrError, PcrPacer, Splitter, Timed},
    seam::Seam,
};

/// Cuts bytes into timed payloads.
#[derive(Debug)]
pub struct Cutter {
    way: Way,
    ready: VecDeque<Timed>,
}

#[derive(Debug)]
enum Way {
    /// Whole transport packets, timed by their PCR.
    Pcr { splitter: Splitter, seam: Seam, pacer: PcrPacer },
    /// Timed by a fixed rate; with a splitter whole transport packets, without one any data.
    Rate { splitter: Option<(Splitter, Seam)>, rest: Vec<u8>, bytes: usize, pacer: RatePacer },
}

impl Cutter {
    /// Cuts a transport stream by its PCR, seven packets to a payload.
    pub fn by_pcr(splitter: Splitter) -> Cutter {
        Cutter::of(Way::Pcr { splitter, seam: Seam::default(), pacer: PcrPacer::new() })
    }

    /// Cuts a transport stream at a fixed rate into payloads of as many whole packets as fit into
    /// `size` bytes (at least one).
    pub fn packets(splitter: Splitter, rate: Rate, size: usize) -> Cutter {
        let bytes = (size / ts::PACKET).max(1) * ts::PACKET;
        Cutter::at_rate(Some(splitter), bytes, rate)
    }

    /// Cuts any data at a fixed rate into payloads of `size` bytes (at least 1).
    pub fn bytes(rate: Rate, size: usize) -> Cutter {
        Cutter::at_rate(None, size.max(1), rate)
    }

    fn at_rate(splitter: Option<Splitter>, bytes: usize, rate: Rate) -> Cutter {
        let splitter = splitter.map(|splitter| (splitter, Seam::default()));
        Cutter::of(Way::Rate { splitter, rest: Vec::new(), bytes, pacer: RatePacer::new(rate) })
    }

    fn of(way: Way) -> Cutter {
        Cutter { way, ready: VecDeque::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A transport stream has no sync bytes, or no PCR from which the times follow.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), PcrError> {
        match &mut self.way {
            Way::Pcr { splitter, seam, pacer } => {
                let mut paced = Ok(());
                splitter.push(bytes, |packet| {
                    if paced.is_ok() {
                        paced = pacer.push(&seam.pass(packet));
                    }
                })?;
                paced?;
            }
            Way::Rate { splitter: Some((splitter, seam)), rest, .. } => {
                splitter.push(bytes, |packet| rest.extend_from_slice(&seam.pass(packet)))?;
            }
            Way::Rate { splitter: None, rest, .. } => rest.extend_from_slice(bytes),
        }
        self.collect();
        Ok(())
    }

    /// Ends a lap: the bytes that are pushed next continue without a break, a transport stream
    /// with its counters and clocks.
    ///
    /// # Errors
    /// A transport stream had no PCR from which the times follow.
    pub fn lap(&mut self) -> Result<(), PcrError> {
        match &mut self.way {
            Way::Pcr { splitter, seam, pacer } => {
                splitter.cut();
                if !seam.lap() {
                    pacer.interrupt()?;
                }
            }
            Way::Rate { splitter: Some((splitter, seam)), .. } => {
                splitter.cut();
                seam.lap();
            }
            Way::Rate { splitter: None, .. } => {}
        }
        self.collect();
        Ok(())
    }

    /// Ends the data: the last payload may be shorter.
    ///
    /// # Errors
    /// A transport stream had no PCR from which the times follow.
    pub fn finish(&mut self) -> Result<(), PcrError> {
        match &mut self.way {
            Way::Pcr { splitter, pacer, .. } => {
                splitter.cut();
                pacer.finish()?;
                self.collect();
            }
            Way::Rate { splitter, rest, pacer, .. } => {
                if let Some((splitter, _)) = splitter {
                    splitter.cut();
                }
                if !rest.is_empty() {
                    let bytes = std::mem::take(rest);
                    self.ready.push_back(Timed { due: pacer.due(bytes.len()), bytes });
                }
            }
        }
        Ok(())
    }

    /// Returns the next complete payload.
    pub fn pop(&mut self) -> Option<Timed> {
        self.ready.pop_front()
    }

    /// Returns the number of bytes that did not belong to a transport packet.
    pub fn skipped(&self) -> u64 {
        match &self.way {
            Way::Pcr { splitter, .. } | Way::Rate { splitter: Some((splitter, _)), .. } => splitter.skipped(),
            Way::Rate { splitter: None, .. } => 0,
        }
    }

    fn collect(&mut self) {
        match &mut self.way {
            Way::Pcr { pacer, .. } => self.ready.extend(std::iter::from_fn(|| pacer.pop())),
            Way::Rate { rest, bytes, pacer, .. } => {
                let whole = rest.len() / *bytes * *bytes;
                let later = rest.split_off(whole);
                for payload in rest.chunks_exact(*bytes) {
                    let due = pacer.due(payload.len());
                    self.ready.push_back(Timed { due, bytes: payload.to_vec() });
                }
                *rest = later;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(cutter: &mut Cutter) -> Vec<(u128, Vec<u8>)> {
        std::iter::from_fn(|| cutter.pop()).map(|t| (t.due.as_millis(), t.bytes)).collect()
    }

    #[test]
    fn any_data_is_cut_by_size_however_it_is_read() {
        let data: Vec<u8> = (0..=99).collect();
        for read in [1, 7, 30, 100] {
            let mut cutter = Cutter::bytes(Rate::Packets(10.0), 30);
            data.chunks(read).for_each(|part| cutter.push(part).expect("any data will do"));
            assert_eq!(drain(&mut cutter).len(), 3, "the rest waits for more");
            cutter.finish().expect("any data will do");
            assert_eq!(drain(&mut cutter), [(300, data[90..].to_vec())]);
            cutter.finish().expect("any data will do");
            assert_eq!(drain(&mut cutter), []);
        }
    }

    #[test]
    fn a_lap_continues_where_the_last_one_ended() {
        let mut cutter = Cutter::bytes(Rate::Bits(8_000.0), 100);
        for _ in 0..2 {
            cutter.push(&[1; 150]).expect("any data will do");
            cutter.lap().expect("any data will do");
        }
        assert_eq!(drain(&mut cutter), [(0, vec![1; 100]), (100, vec![1; 100]), (200, vec![1; 100])]);
    }

    #[test]
    fn a_transport_stream_at_a_rate_is_cut_between_packets() {
        let packet = |n: u8| {
            let mut packet = [n; ts::PACKET];
            packet[0] = ts::SYNC;
            packet
        };
        let stream: Vec<u8> = (1..=5).flat_map(packet).collect();
        let mut cutter = Cutter::packets(Splitter::default(), Rate::Packets(10.0), 2 * ts::PACKET + 50);
        stream.chunks(97).for_each(|part| cutter.push(part).expect("in sync"));
        cutter.push(&[ts::SYNC, 1, 2]).expect("in sync");
        cutter.finish().expect("in sync");
        let payloads = drain(&mut cutter);
        let bytes: Vec<usize> = payloads.iter().map(|(_, bytes)| bytes.len() / ts::PACKET).collect();
        assert_eq!(bytes, [2, 2, 1]);
        assert!(payloads.iter().all(|(_, bytes)| ts::looks_like(bytes)));
        assert_eq!(cutter.skipped(), 3);
    }

    #[test]
    fn what_is_no_transport_stream_says_so() {
        let mut cutter = Cutter::by_pcr(Splitter::default());
        let error = cutter.push(&[0; 100_000]).expect_err("no sync bytes");
        assert!(matches!(error, PcrError::NoSync { .. }), "{error}");
        let mut short = Cutter::by_pcr(Splitter::default());
        short.push(&[0; 50]).expect("too short to tell");
        assert_eq!(short.finish(), Err(PcrError::NoPcr { packets: 0 }));
    }
}
