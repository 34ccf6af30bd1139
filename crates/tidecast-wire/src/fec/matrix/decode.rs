//! The receiving side: what arrived in, what can be rebuilt out.
//!
//! Each repair packet is one equation over the numbers that it protects, whatever the matrix: so L
//! and D may be anything, and change. A repair packet that misses one number gives it back at once,
//! which may leave another one with a single number missing, and so on until nothing more can be
//! rebuilt. Whoever needs a rebuilt packet fetches it with [`Decoder::rebuilt`]; the original
//! replaces it when it comes after all.
//!
//! Any packet may be forged. A number of which two contents came counts as missing, one far ahead
//! of all others waits for a neighbour, and what is rebuilt must look like the packets beside it.

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

/// Why a repair packet is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The matrix is larger than [`ST2022_SPAN_MAX`], or for packets far from those that come:
    /// forged, or damaged.
    Nonsense,
    /// What it protects is past.
    TooOld,
}

/// What one packet has brought to light.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Numbers that were rebuilt: [`Decoder::rebuilt`] has them.
    pub rebuilt: Vec<u64>,
    /// Numbers that no repair packet can bring back, not even those that may still come.
    pub hopeless: Vec<u64>,
    /// Rebuilt data that made no sense, or would have cost more than it is worth: forged or damaged
    /// repair packets.
    pub nonsense: u64,
}

/// A repair packet that misses packets.
#[derive(Debug)]
pub(super) struct Equation {
    pub(super) line: Line,
    sum: Sum,
    missing: u64,
}

/// Packets of one stream and its repair packets, by extended numbers.
#[derive(Debug)]
pub struct Decoder {
    /// Larger than what is kept, so that a repair packet may run ahead of its media.
    window: Window,
    /// In the order of their bases.
    equations: Vec<Equation>,
    /// An equation may miss no more than one number.
    ripe: bool,
    /// The lowest number that is still waited for.
    head: u64,
    outlook: Outlooks,
    start: u64,
    /// The lowest number that is kept.
    floor: u64,
    /// One past the highest number that came.
    end: u64,
    /// Below this every number is known or hopeless.
    settled: u64,
    /// A packet that stands alone, far ahead.
    ahead: Option<(u64, Sum)>,
    /// Bytes of the equations.
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

    /// Memory of the shards kept, and of a ring that had to grow for them.
    pub fn bytes(&self) -> usize {
        self.bytes + self.window.bytes() + self.window.overhead(2 * FEC_LEARN_PACKETS as usize)
    }

    /// L and D as the latest repair packets show them; none before the first column.
    pub fn shape(&self) -> Option<(u64, u64)> {
        self.outlook.shape()
    }

    /// Media packets of the largest matrix of late.
    pub fn span(&self) -> u64 {
        self.outlook.span()
    }

    /// How many numbers are kept at least, and how far a repair packet may run ahead.
    fn kept(&self) -> u64 {
        (ST2022_MATRICES_KEPT * self.span()).max(FEC_LEARN_PACKETS)
    }

    /// Nothing below `head` is waited for any more. The numbers from there on are kept, however
    /// long they wait for their repair packets, and as many below as share rows and columns with
    /// them. Without a call only the latest matrices are kept.
    pub fn waits_from(&mut self, head: u64) {
        self.head = head;
    }

    /// The lowest number to be kept when the media has come to `end`.
    fn lowest(&self, end: u64) -> u64 {
        let below = ((ST2022_MATRICES_KEPT - 1) * self.span()).max(FEC_LEARN_PACKETS);
        let usual = end.saturating_sub(self.kept());
        usual.min(self.head.saturating_sub(below)).max(end.saturating_sub(ST2022_NUMBERS_MAX))
    }

    /// A rebuilt packet; none if the original has come, or if it was forgotten.
    pub fn rebuilt(&self, number: u64) -> Option<Shard<'_>> {
        match self.window.get(number)? {
            Content::Rebuilt(sum) => Some(sum.shard()),
            _ => None,
        }
    }

    /// Whether this number was found hopeless, and has not come back since.
    pub fn is_hopeless(&self, number: u64) -> bool {
        matches!(self.window.get(number), Some(Content::Hopeless))
    }

    /// One past the last number that a kept repair packet says was sent, if that is beyond what
    /// came.
    pub fn announced(&self) -> Option<u64> {
        let reaching = self.equations.iter().filter(|equation| equation.line.base < self.end);
        reaching.map(|equation| equation.line.end()).max().filter(|end| *end > self.end)
    }

    /// A media packet came.
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

    /// A media packet came whose number had come before. If its content is another one, and the
    /// next one has not come since, nobody knows which is right.
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

    /// A repair packet came on the only path; see [`Decoder::repair_on`].
    ///
    /// # Errors
    /// One that protects numbers that cannot be, or that are past.
    pub fn repair(&mut self, base: u64, repair: &Repair<'_>) -> Result<News, Refused> {
        self.repair_on(0, base, repair)
    }

    /// A repair packet came, whose base was extended to `base`. Paths are counted from 0; each
    /// brings its repair packets in their order, however far it is behind another one.
    ///
    /// # Errors
    /// One that protects numbers that cannot be, or that are past.
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
        // A single one can claim to be packets that are still to come.
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
        // Two of the same line that are not alike: one is forged, and what it gives will not fit.
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

    /// A packet came that was not expected any more, late or on a longer path, and stands in one
    /// equation with what seemed hopeless: that is judged anew by the next repair packet, and all
    /// with it, since one helps others.
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

    /// Numbers below `end` have come, or will not in order.
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

    /// Makes the ring large enough for what is kept, and for what may run ahead of it. Little for a
    /// stream of few packets: there may be thousands, most of them made up.
    fn reserve(&mut self) {
        let few = if self.span() == 0 { self.end - self.start + 1 } else { u64::MAX };
        let kept = self.kept().max(self.end - self.lowest(self.end).max(self.floor));
        self.window.reserve(self.kept().min(few) + kept.min(few));
    }

    /// This number is known.
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

    /// Rebuilds until nothing more can be rebuilt. Each step uses one repair packet up.
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

    /// The one shard that is missing; none if it can be nobody's, or if nobody has paid for the
    /// work.
    fn solve(&mut self, equation: Equation) -> Option<Sum> {
        let Equation { line, mut sum, .. } = equation;
        self.credit = self.credit.checked_sub(line.count * sum.body.len() as u64)?;
        for known in line.numbers().filter_map(|number| self.window.sum(number)) {
            // Too short for a sum with this packet in it, and more work than was paid for.
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

    /// Whether this may be the packet of a number: of the payload type of its neighbours, and of
    /// about their time, if they agree in that.
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

    /// Finds out which numbers cannot come back any more.
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
