//! An ideal decoder that works on sets of numbers only: it has unlimited time and memory, and
//! recovers every packet that can be recovered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The numbers that a repair packet protects: `base + i * offset` for `i` below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    pub base: u64,
    pub offset: u64,
    pub count: u64,
    /// Index of this repair packet among those for the same numbers, below 64.
    pub index: u32,
}

impl Line {
    fn numbers(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |i| self.base + i * self.offset)
    }
}

/// The received packets, from which the recoverable ones follow.
#[derive(Debug, Default)]
pub struct Ideal {
    came: Vec<u64>,
    /// Bit set of the repair packets received for the same numbers.
    lines: HashMap<Line, u64>,
}

impl Ideal {
    /// Records a received media packet.
    pub fn media(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if word >= self.came.len() {
            self.came.resize(word + 1, 0);
        }
        self.came[word] |= 1 << (number % 64);
    }

    /// Records a received repair packet; a second copy adds nothing.
    pub fn repair(&mut self, line: Line) {
        *self.lines.entry(Line { index: 0, ..line }).or_default() |= 1 << line.index;
    }

    fn has(&self, number: u64) -> bool {
        self.came.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Returns the numbers of a range that cannot be recovered. A line with as many repair packets
    /// as unknown numbers recovers all of them, which may help the lines that cross it; this is
    /// repeated until nothing more is recovered.
    pub fn left(&self, numbers: std::ops::Range<u64>) -> BTreeSet<u64> {
        let mut missing: BTreeSet<u64> = numbers.filter(|number| !self.has(*number)).collect();
        // Missing numbers outside the range also count as unknown.
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
