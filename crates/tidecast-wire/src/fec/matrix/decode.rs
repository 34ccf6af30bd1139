//! The receiving side: takes arrived packets, and returns recovered ones.
//!
//! Each repair packet is one equation over the numbers that it protects, for any matrix: so L and
//! D may have any value, and change. A repair packet with a single missing number recovers it at
//! once, which may leave another equation with a single missing number, and so on until nothing
//! more can be recovered. [`Decoder::rebuilt`] returns a recovered packet; the original replaces
//! it if it comes later.
//!
//! Any packet may be forged. A number with two contents counts as missing, one far ahead of all
//! others waits for a neighbour, and a recovered packet must look like its neighbours.

use super::{
    Sum,
    outlook::{Line, Outlooks, hopeless},
    window::{Content, Window},
};
use crate::{
    limits::{
        FEC_LEARN_PACKETS, ST2022_FIT_TICKS, ST2022_MATRICES_KEPT, ST2022_NEIGHBOURS, ST2022_NUMBERS_MAX,
        ST2022_REPAIRS_MAX, ST2022_SPAN_MAX, ST2022_WORK_MAX, ST2022_WORK_PER_BYTE,
    },
    st2022::{Fields, Repair, Shard},
};

/// Why a repair packet is useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The matrix is larger than [`ST2022_SPAN_MAX`], or its packets are far from the current
    /// ones: forged or damaged.
    Nonsense,
    /// The protected packets are too old.
    TooOld,
}

/// Consequences of one packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Recovered numbers: [`Decoder::rebuilt`] returns them.
    pub rebuilt: Vec<u64>,
    /// Numbers that no repair packet can recover, not even a future one.
    pub hopeless: Vec<u64>,
    /// Count of invalid recovered packets, or of those beyond the computation budget: the repair
    /// packets were forged or damaged.
    pub nonsense: u64,
}

/// A repair packet with missing media packets.
#[derive(Debug)]
pub(super) struct Equation {
    pub(super) line: Line,
    sum: Sum,
    missing: u64,
}

/// Packets of one stream and its repair packets, by extended numbers.
#[derive(Debug)]
pub struct Decoder {
    /// Larger than the kept range, so that a repair packet may run ahead of its media.
    window: Window,
    /// Sorted by base.
    equations: Vec<Equation>,
    /// Some equation may have at most one missing number.
    ripe: bool,
    /// The head: lower numbers are settled.
    head: u64,
    outlook: Outlooks,
    start: u64,
    /// The lowest number that is kept.
    floor: u64,
    /// Number after the highest received one.
    end: u64,
    /// Every lower number is known or unrecoverable.
    settled: u64,
    /// An isolated packet, far ahead.
    ahead: Option<(u64, Sum)>,
    /// Memory of the equations, in bytes.
    bytes: usize,
    credit: u64,
}

impl Decoder {
    /// A decoder for a stream whose first number is `start`.
    pub fn new(start: u64) -> Decoder {
        Decoder {
            window: Window::default(),
            equations: Vec::new(),
            ripe: false,
            head: u64::MAX,
            outlook: Outlooks::default(),
            start,
            floor: start,
            end: start,
            settled: start,
            ahead: None,
            bytes: 0,
            credit: ST2022_WORK_MAX,
        }
    }

    /// Memory of the kept shards, and of a ring beyond its minimum, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.window.bytes() + self.window.overhead(2 * FEC_LEARN_PACKETS as usize)
    }

    /// L and D, from the latest repair packets; `None` before the first column.
    pub fn shape(&self) -> Option<(u64, u64)> {
        self.outlook.shape()
    }

    /// Media packets of the largest recent matrix.
    pub fn span(&self) -> u64 {
        self.outlook.span()
    }

    /// Minimum of numbers kept, and how far a repair packet may run ahead.
    fn kept(&self) -> u64 {
        (ST2022_MATRICES_KEPT * self.span()).max(FEC_LEARN_PACKETS)
    }

    /// Moves the head to `head`. The numbers from there on are kept, however long they wait for
    /// their repair packets, and as many lower ones as may share rows and columns with them.
    /// Without a call only the latest matrices are kept.
    pub fn waits_from(&mut self, head: u64) {
        self.head = head;
    }

    /// The lowest number to keep when the media has reached `end`.
    fn lowest(&self, end: u64) -> u64 {
        let below = ((ST2022_MATRICES_KEPT - 1) * self.span()).max(FEC_LEARN_PACKETS);
        let usual = end.saturating_sub(self.kept());
        usual.min(self.head.saturating_sub(below)).max(end.saturating_sub(ST2022_NUMBERS_MAX))
    }

    /// A recovered packet; `None` if the original has come, or if it was dropped.
    pub fn rebuilt(&self, number: u64) -> Option<Shard<'_>> {
        match self.window.get(number)? {
            Content::Rebuilt(sum) => Some(sum.shard()),
            _ => None,
        }
    }

    /// Whether this number was found unrecoverable, and has not been recovered since.
    pub fn is_hopeless(&self, number: u64) -> bool {
        matches!(self.window.get(number), Some(Content::Hopeless))
    }

    /// Number after the last one that a kept repair packet shows to have been sent, if that is
    /// above all received ones.
    pub fn announced(&self) -> Option<u64> {
        let reaching = self.equations.iter().filter(|equation| equation.line.base < self.end);
        reaching.map(|equation| equation.line.end()).max().filter(|end| *end > self.end)
    }

    /// Takes a new media packet.
    pub fn media(&mut self, number: u64, shard: Sum) -> News {
        let mut news = News::default();
        let far = number > self.end + ST2022_NEIGHBOURS && self.end > self.start;
        match self.ahead.take() {
            Some((other, sum)) if number.abs_diff(other) <= ST2022_NEIGHBOURS => {
                self.take(other, sum, &mut news)
            }
            _ if far => {
                self.ahead = Some((number, shard));
                return news;
            }
            alone => self.ahead = alone,
        }
        self.take(number, shard, &mut news);
        news
    }

    fn take(&mut self, number: u64, shard: Sum, news: &mut News) {
        if number < self.floor {
            return;
        }
        self.advance(number + 1);
        self.credit = (self.credit + ST2022_WORK_PER_BYTE * shard.body.len() as u64).min(ST2022_WORK_MAX);
        let known = self.window.sum(number).is_some();
        self.window.put(number, Content::Original(shard));
        if !known && !self.equations.is_empty() {
            self.found(number);
            self.peel(news);
        }
    }

    /// Takes a media packet whose number is known. If the contents differ, and the next packet has
    /// not come in between, it is undecided which one is genuine.
    pub fn media_again(&mut self, number: u64, shard: &Sum) {
        self.ahead = self.ahead.take().filter(|(other, sum)| *other != number || sum == shard);
        let in_its_turn = self.window.sum(number + 1).is_some();
        match self.window.get(number) {
            Some(Content::Original(known)) if known != shard && !in_its_turn => {}
            _ => return,
        }
        self.window.put(number, Content::Disputed);
        for equation in self.equations.iter_mut().filter(|equation| equation.line.contains(number)) {
            equation.missing += 1;
        }
    }

    /// Takes a repair packet on the only path; see [`Decoder::repair_on`].
    ///
    /// # Errors
    /// It protects numbers that are implausible or too old.
    pub fn repair(&mut self, base: u64, repair: &Repair<'_>) -> Result<News, Refused> {
        self.repair_on(0, base, repair)
    }

    /// Takes a repair packet, whose base was extended to `base`. Paths are counted from 0; each
    /// one carries its repair packets in order, however far it is behind another one.
    ///
    /// # Errors
    /// It protects numbers that are implausible or too old.
    pub fn repair_on(&mut self, path: usize, base: u64, repair: &Repair<'_>) -> Result<News, Refused> {
        let line = Line { axis: repair.axis(), base, offset: repair.offset(), count: repair.count() };
        if line.offset * line.count > ST2022_SPAN_MAX || base > self.end + ST2022_SPAN_MAX {
            return Err(Refused::Nonsense);
        }
        let known = self.outlook.saw(path, line, self.end);
        self.reserve();
        if base < self.floor {
            return Err(Refused::TooOld);
        }
        let mut news = News::default();
        // A single repair packet could pretend to be media packets that are still to come.
        if !known && line.count == 1 && line.end() > self.end {
            return Ok(news);
        }
        if line.end() <= self.end + self.kept() {
            self.add(line, repair.shard());
            self.peel(&mut news);
            self.give_up(&mut news);
        }
        Ok(news)
    }

    fn add(&mut self, line: Line, shard: Shard<'_>) {
        let missing = line.numbers().filter(|number| self.window.sum(*number).is_none()).count() as u64;
        let mut place = self.equations.partition_point(|equation| equation.line.base < line.base);
        let same = self.equations[place..].iter().take_while(|equation| equation.line.base == line.base);
        // If two of the same line differ, one is forged, and its result will not fit.
        let alike: Vec<&Equation> = same.into_iter().filter(|equation| equation.line == line).collect();
        let known = alike.len() > 1 || alike.iter().any(|equation| equation.sum.shard() == shard);
        if missing == 0 || known {
            return;
        }
        if self.equations.len() >= ST2022_REPAIRS_MAX {
            self.drop_equation(0);
            place = place.saturating_sub(1);
        }
        self.bytes += shard.body.len();
        self.ripe |= missing <= 1;
        self.equations.insert(place, Equation { line, sum: Sum::from(shard), missing });
        if line.numbers().any(|number| self.is_hopeless(number)) {
            self.hope_again();
        }
    }

    /// An unexpected packet came, late or on a longer path, and shares an equation with a number
    /// that seemed unrecoverable. That number is judged again at the next repair packet, together
    /// with all others, since one may help to recover another.
    fn hope_again(&mut self) {
        for number in self.floor..self.end {
            if self.is_hopeless(number) {
                self.window.forget(number..number + 1);
                self.settled = self.settled.min(number);
            }
        }
    }

    fn drop_equation(&mut self, place: usize) -> Equation {
        let equation = self.equations.remove(place);
        self.bytes -= equation.sum.body.len();
        equation
    }

    /// Numbers below `end` have come, or will not come in order any more.
    fn advance(&mut self, end: u64) {
        if end <= self.end {
            return;
        }
        let past = self.floor;
        self.end = end;
        self.reserve();
        self.floor = self.floor.max(self.lowest(end));
        self.window.forget(past..self.floor);
        self.settled = self.settled.max(self.floor);
        let past = self.equations.partition_point(|equation| equation.line.base < self.floor);
        let freed: usize = self.equations.drain(..past).map(|equation| equation.sum.body.len()).sum();
        self.bytes -= freed;
    }

    /// Makes the ring large enough for the kept numbers and for those that may run ahead. Small
    /// for a stream with few packets: there may be thousands, most of them forged.
    fn reserve(&mut self) {
        let few = if self.span() == 0 { self.end - self.start + 1 } else { u64::MAX };
        let kept = self.kept().max(self.end - self.lowest(self.end).max(self.floor));
        self.window.reserve(self.kept().min(few) + kept.min(few));
    }

    /// Notes that this number is known.
    fn found(&mut self, number: u64) {
        let mut hopes = false;
        let end = self.equations.partition_point(|equation| equation.line.base <= number);
        let from = number.saturating_sub(ST2022_SPAN_MAX);
        let begin = self.equations[..end].partition_point(|equation| equation.line.base < from);
        let near = self.equations[begin..end].iter_mut();
        for equation in near.filter(|equation| equation.line.contains(number)) {
            equation.missing -= 1;
            self.ripe |= equation.missing <= 1;
            let is_hopeless = |number| matches!(self.window.get(number), Some(Content::Hopeless));
            hopes |= equation.line.numbers().any(is_hopeless);
        }
        if hopes {
            self.hope_again();
        }
    }

    /// Recovers until nothing more can be recovered. Each step consumes one repair packet.
    fn peel(&mut self, news: &mut News) {
        while let Some(place) = self.next_ripe() {
            let equation = self.drop_equation(place);
            if equation.missing == 0 {
                continue;
            }
            let missing = equation.line.numbers().find(|number| self.window.sum(*number).is_none());
            let solved = missing.and_then(|number| Some((number, self.solve(equation)?)));
            let Some((number, sum)) = solved.filter(|(number, sum)| self.fits(*number, sum)) else {
                news.nonsense += 1;
                continue;
            };
            self.window.put(number, Content::Rebuilt(sum));
            self.found(number);
            news.rebuilt.push(number);
        }
    }

    fn next_ripe(&mut self) -> Option<usize> {
        let ripe = || self.equations.iter().position(|equation| equation.missing <= 1);
        let place = self.ripe.then(ripe).flatten();
        self.ripe = place.is_some();
        place
    }

    /// The missing shard; `None` if it is invalid, or if the computation budget is used up.
    fn solve(&mut self, equation: Equation) -> Option<Sum> {
        let Equation { line, mut sum, .. } = equation;
        self.credit = self.credit.checked_sub(line.count * sum.body.len() as u64)?;
        for known in line.numbers().filter_map(|number| self.window.sum(number)) {
            // The sum is too short to contain this packet, or the computation exceeds the budget.
            if known.body.len() > sum.body.len() {
                return None;
            }
            sum.add(known.shard());
        }
        let length = usize::from(sum.fields.length);
        let padding = sum.body.get(length..)?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        sum.body.truncate(length);
        Some(sum)
    }

    /// Whether this may be the packet of a number: it must have the payload type of its neighbours
    /// and a similar timestamp, as far as these agree among themselves.
    fn fits(&self, number: u64, sum: &Sum) -> bool {
        let original = |number| match self.window.get(number) {
            Some(Content::Original(sum)) => Some(sum.fields),
            _ => None,
        };
        let before = (number.saturating_sub(ST2022_NEIGHBOURS)..number).rev().find_map(original);
        let after = (number + 1..=number + ST2022_NEIGHBOURS).find_map(original);
        let Some((before, after)) = before.zip(after) else { return true };
        let near = |a: u32, b: u32| a.wrapping_sub(b).cast_signed().unsigned_abs() < ST2022_FIT_TICKS;
        let kind = |fields: Fields| fields.marker_and_type & 0x7f;
        let agree = kind(before) == kind(after) && near(before.timestamp, after.timestamp);
        !agree || (kind(sum.fields) == kind(before) && near(sum.fields.timestamp, before.timestamp))
    }

    /// Finds the numbers that can no longer be recovered.
    fn give_up(&mut self, news: &mut News) {
        while self.settled < self.end && self.window.get(self.settled).is_some() {
            self.settled += 1;
        }
        let unknown = (self.settled..self.end).filter(|number| self.window.get(*number).is_none());
        let closed: Vec<u64> = unknown.filter(|number| !self.outlook.may_come(*number, self.end)).collect();
        let work: u64 = self.equations.iter().map(|equation| equation.line.count).sum();
        let Some(credit) = self.credit.checked_sub(work * closed.len() as u64) else { return };
        self.credit = credit;
        for number in hopeless(closed, &self.equations, |number| self.is_hopeless(number)) {
            self.window.put(number, Content::Hopeless);
            news.hopeless.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::st2022::{Axis, PAYLOAD_TYPE, Repr};

    fn shard(number: u64) -> Sum {
        let fields = Fields { length: 5, timestamp: number as u32, ..Fields::default() };
        Sum { fields, body: vec![number as u8; 5] }
    }

    /// A decoder that has received packets 0 to 11 without number 6.
    fn decoder() -> Decoder {
        let mut decoder = Decoder::new(0);
        for number in (0..12).filter(|number| *number != 6) {
            assert_eq!(decoder.media(number, shard(number)), News::default());
        }
        decoder
    }

    /// The repair packet of numbers `offset` apart.
    fn repair(decoder: &mut Decoder, base: u64, offset: u8, count: u8) -> Result<News, Refused> {
        let mut sum = Sum::default();
        (0..u64::from(count)).for_each(|j| sum.add(shard(base + j * u64::from(offset)).shard()));
        let mut bytes = Vec::new();
        let (sequence, timestamp, ssrc, shard) = (0, 0, 0, sum.shard());
        let (axis, payload_type) = (Axis::Column, PAYLOAD_TYPE);
        Repr { axis, payload_type, sequence, timestamp, ssrc, base: base as u16, offset, count, shard }
            .emit(&mut bytes);
        decoder.repair(base, &Repair::parse(&bytes).unwrap())
    }

    #[test]
    fn one_packet_far_ahead_moves_nothing_and_two_do() {
        for (ahead, expected) in [
            (&[5000][..], Ok(News { rebuilt: vec![6], ..News::default() })),
            (&[5000, 9000], Ok(News { rebuilt: vec![6], ..News::default() })),
            (&[5000, 5001], Err(Refused::TooOld)),
        ] {
            let mut decoder = decoder();
            for number in ahead {
                assert_eq!(decoder.media(*number, shard(*number)), News::default());
            }
            assert_eq!(repair(&mut decoder, 0, 3, 4), expected, "{ahead:?}");
        }
    }

    #[test]
    fn a_repair_packet_makes_up_no_media_far_ahead() {
        let mut decoder = decoder();
        let before = decoder.bytes();
        // its second number is beyond what is kept
        assert_eq!(repair(&mut decoder, 11, 130, 2), Ok(News::default()));
        assert_eq!((decoder.announced(), decoder.bytes()), (None, before));
        assert_eq!(repair(&mut decoder, 11, 100, 2), Ok(News { rebuilt: vec![111], ..News::default() }));
    }

    /// Once the start of the matrices is known, a number's column is, too. Of two columns one may
    /// be forged.
    #[test]
    fn losses_of_one_column_are_given_up_when_the_next_two_columns_have_come() {
        let mut decoder = Decoder::new(0);
        for matrix in 0..4 {
            let lost = |number: &u64| matrix == 3 && [49, 53, 58].contains(number);
            for number in (16 * matrix..16 * (matrix + 1)).filter(|number| !lost(number)) {
                assert_eq!(decoder.media(number, shard(number)), News::default());
            }
            for column in 16 * matrix..16 * matrix + 4 {
                let expected = match column {
                    50 => News { rebuilt: vec![58], hopeless: vec![49, 53], ..News::default() },
                    _ => News::default(),
                };
                assert_eq!(repair(&mut decoder, column, 4, 4), Ok(expected), "{column}");
            }
        }
        assert!(decoder.is_hopeless(49) && !decoder.is_hopeless(58));
    }
}
