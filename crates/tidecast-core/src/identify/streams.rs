//! The RTP streams that a source seems to send, and whether their packets are consistent.

use std::time::Instant;

use super::look::Header;
use crate::limits::{IDENTIFY_NUMBERS, IDENTIFY_STREAMS};

/// Maximum clock rate of media.
const TICKS_PER_SECOND: u64 = 200_000;
/// Tolerance of a timestamp in seconds, in either direction.
const SLACK_SECONDS: u64 = 10;
/// Score at which usual packets count as consistent: two consecutive ones, or five near ones.
const AGREED: i8 = 4;
/// The same score for packets with padding or contributing sources: three consecutive ones.
const AGREED_UNUSUAL: i8 = 8;

/// Streams by SSRC and payload type, the most recent last.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: Vec<Last>,
}

/// The last packet of a stream, and the score of its packets.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Instant,
    ssrc: u32,
    ticks: u32,
    number: u16,
    payload_type: u8,
    score: i8,
}

impl From<Header> for Last {
    fn from(header: Header) -> Last {
        let Header { at, ssrc, payload_type, number, ticks, .. } = header;
        Last { at, ssrc, ticks, number, payload_type, score: 0 }
    }
}

/// Relation of a packet to previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// `true`: it is the next packet of its stream. `false`: it contradicts that this is a stream.
    /// `None`: neither.
    pub(super) continues: Option<bool>,
    /// The packets of the stream are consistent.
    pub(super) agreed: bool,
    /// They are, even if there is other doubt.
    pub(super) certain: bool,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Compares a packet with the previous one of its stream.
    pub(super) fn note(&mut self, header: Header) -> Link {
        let same = |last: &Last| (last.ssrc, last.payload_type) == (header.ssrc, header.payload_type);
        let Some(place) = self.known.iter().position(same) else {
            if self.known.len() >= IDENTIFY_STREAMS {
                self.known.remove(0);
            }
            self.known.push(header.into());
            return Link { continues: Some(false), agreed: false, certain: false };
        };
        let before = self.known.remove(place);
        let step = step(&before, &header);
        let score = if step == Step::Elsewhere { 0 } else { before.score.saturating_add(step.score()) };
        // A late packet does not move the position back.
        let last = if step == Step::Behind { Last { at: header.at, ..before } } else { header.into() };
        self.known.push(Last { score, ..last });
        let needed = if header.usual { AGREED } else { AGREED_UNUSUAL };
        Link {
            continues: match step {
                Step::Next => Some(true),
                Step::Near | Step::Copy => None,
                Step::Behind | Step::Standing | Step::Elsewhere => Some(false),
            },
            agreed: score >= needed,
            certain: score >= AGREED_UNUSUAL,
        }
    }
}

/// Step from one packet of a stream to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next number, at a plausible time.
    Next,
    /// A slightly higher number.
    Near,
    /// A slightly lower number.
    Behind,
    /// The same packet again.
    Copy,
    /// The same number with other content.
    Standing,
    /// A distant number.
    Elsewhere,
}

impl Step {
    fn score(self) -> i8 {
        match self {
            Step::Next => 4,
            Step::Near => 1,
            Step::Copy | Step::Elsewhere => 0,
            Step::Behind => -1,
            Step::Standing => -4,
        }
    }
}

fn step(before: &Last, header: &Header) -> Step {
    let ahead = header.number.wrapping_sub(before.number) as i16;
    let elapsed = header.at.saturating_duration_since(before.at).as_secs();
    let ticks = u64::from((header.ticks.wrapping_sub(before.ticks) as i32).unsigned_abs());
    let timely = ticks <= (elapsed + SLACK_SECONDS) * TICKS_PER_SECOND;
    match ahead {
        0 if header.ticks == before.ticks => Step::Copy,
        0 => Step::Standing,
        1 if timely => Step::Next,
        // A jump of the clock does not occur in streams whose numbers are continuous.
        1 => Step::Near,
        _ if !timely => Step::Elsewhere,
        2..=IDENTIFY_NUMBERS => Step::Near,
        _ if -IDENTIFY_NUMBERS < ahead && ahead < 0 => Step::Behind,
        _ => Step::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn agreed(packets: &[(u16, u32)], usual: bool) -> Vec<bool> {
        let (mut streams, now) = (Streams::default(), clock::now());
        let header = |(i, (number, ticks)): (usize, &(u16, u32))| Header {
            at: now + Duration::from_millis(20) * i as u32,
            ssrc: 7,
            payload_type: 96,
            number: *number,
            ticks: *ticks,
            usual,
            wraps_ts: false,
            start: 12,
        };
        packets.iter().enumerate().map(header).map(|header| streams.note(header).agreed).collect()
    }

    #[test]
    fn two_neighbours_agree_across_the_wrap_and_more_with_losses() {
        assert_eq!(agreed(&[(65_535, 5), (0, 165)], true), [false, true]);
        assert_eq!(agreed(&[(10, 5), (13, 165), (19, 325), (20, 485)], true), [false, false, false, true]);
        let halved: Vec<_> = (0..5).map(|i| (2 * i, u32::from(i) * 320)).collect();
        assert_eq!(agreed(&halved, true), [false, false, false, false, true]);
        assert_eq!(agreed(&[(11, 165), (10, 5), (12, 325), (13, 485)], true), [false, false, false, true]);
        assert_eq!(agreed(&[(10, 5), (11, 165), (12, 325)], false), [false, false, true]);
    }

    #[test]
    fn fields_of_readings_do_not() {
        assert!(!agreed(&[(7, 1000), (7, 2000), (7, 3000), (7, 4000)], true).contains(&true), "a constant");
        assert!(!agreed(&[(300, 0), (3, 0), (40_000, 0), (9, 0)], true).contains(&true), "noise");
        let stamps: Vec<_> = (0..8).map(|i| (1000 + 400 * i, u32::from(i) * 20)).collect();
        assert!(!agreed(&stamps, true).contains(&true), "milliseconds in steps of 400");
        assert!(!agreed(&[(5, 0), (6, 0x7fff_0000)], true)[1], "a number by chance");
    }

    #[test]
    fn streams_are_bounded_and_those_heard_last_stay() {
        let (mut streams, at) = (Streams::default(), clock::now());
        let header = |ssrc, number| Header {
            at,
            ssrc,
            payload_type: 0,
            number,
            ticks: 0,
            usual: true,
            wraps_ts: false,
            start: 12,
        };
        for number in 0..3 {
            for ssrc in 0..IDENTIFY_STREAMS as u32 {
                assert_eq!(streams.note(header(ssrc, number)).continues, Some(number > 0));
            }
        }
        for ssrc in 1000..1100 {
            streams.note(header(ssrc, 0));
        }
        assert_eq!(streams.known.len(), IDENTIFY_STREAMS);
        assert_eq!(streams.note(header(0, 3)).continues, Some(false));
    }
}
