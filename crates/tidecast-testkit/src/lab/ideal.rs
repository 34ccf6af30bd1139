//! An ideal decoder, by sets of numbers alone: it has all the time and memory that it wants, and
//! rebuilds everything that can be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The numbers that a repair packet protects: `base + i * offset` for `i` below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    pub base: u64,
    pub offset: u64,
    pub count: u64,
    /// Which of the repair packets for the same numbers it is, below 64.
    pub index: u32,
}

impl Line {
    fn numbers(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |i| self.base + i * self.offset)
    }
}

/// What came, and what can be made of it.
#[derive(Debug, Default)]
pub struct Ideal {
    came: Vec<u64>,
    /// Which repair packets came for the same numbers.
    lines: HashMap<Line, u64>,
}

impl Ideal {
    /// A media packet came.
    pub fn media(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if word >= self.came.len() {
            self.came.resize(word + 1, 0);
        }
        self.came[word] |= 1 << (number % 64);
    }

    /// A repair packet came; a second copy of it says nothing new.
    pub fn repair(&mut self, line: Line) {
        *self.lines.entry(Line { index: 0, ..line }).or_default() |= 1 << line.index;
    }

    fn has(&self, number: u64) -> bool {
        self.came.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The numbers of a range that are missing for good: a line with as many repair packets as
    /// unknown numbers gives them all, which may help the lines that cross it, until nothing more
    /// comes of it.
    pub fn left(&self, numbers: std::ops::Range<u64>) -> BTreeSet<u64> {
        let mut missing: BTreeSet<u64> = numbers.filter(|number| !self.has(*number)).collect();
        // What is missing outside of the range counts as unknown, too.
        let mut crossing: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let lines: Vec<(Line, u32)> =
            self.lines.iter().map(|(line, came)| (*line, came.count_ones())).collect();
        let mut unknown: Vec<u64> = Vec::with_capacity(lines.len());
        for (at, (line, _)) in lines.iter().enumerate() {
            let missing = line.numbers().filter(|number| !self.has(*number));
            unknown
                .push(missing.inspect(|number| crossing.entry(*number).or_default().push(at)).count() as u64);
        }
        let mut back = BTreeSet::new();
        let mut next: Vec<usize> = (0..lines.len()).collect();
        while let Some(at) = next.pop() {
            let (line, repairs) = lines[at];
            if unknown[at] == 0 || unknown[at] > repairs.into() {
                continue;
            }
            let solved: Vec<u64> =
                line.numbers().filter(|number| !self.has(*number) && !back.contains(number)).collect();
            for number in solved {
                back.insert(number);
                missing.remove(&number);
                for other in &crossing[&number] {
                    unknown[*other] -= 1;
                    next.push(*other);
                }
            }
        }
        missing
    }
}
