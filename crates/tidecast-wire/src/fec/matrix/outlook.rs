//! Outlook: which repair packets may still come, judging by those that have.
//!
//! Repair packets come in the order of their bases, so one that came shows that earlier ones were
//! sent. The column of a number depends on where matrices start; that is learnt from two matrices
//! that start a whole number of matrices apart. As long as it is unknown, numbers are waited for
//! longer.
//!
//! A single repair packet may be forged: a shape counts when two have it, and the position of a
//! sender is its second newest column.

use super::{Axis, decode::Equation};

/// The numbers protected by one repair packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) axis: Axis,
    pub(super) base: u64,
    pub(super) offset: u64,
    pub(super) count: u64,
}

impl Line {
    pub(super) fn numbers(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |j| self.base + j * self.offset)
    }

    /// Number after the last one.
    pub(super) fn end(&self) -> u64 {
        self.base + (self.count - 1) * self.offset + 1
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        (self.base..self.end()).contains(&number) && (number - self.base).is_multiple_of(self.offset)
    }

    /// For a column, the media packets of its matrix; for a row, its own.
    fn span(&self) -> u64 {
        self.offset * self.count
    }

    fn same_shape(&self, other: &Line) -> bool {
        (self.offset, self.count) == (other.offset, other.count)
    }
}

/// Positions of the repair streams on all paths, each in its own order: a longer path may carry
/// repair packets that another one has lost.
#[derive(Debug, Default)]
pub(super) struct Outlooks {
    paths: Vec<Outlook>,
    /// Path of the latest repair packet.
    latest: usize,
}

impl Outlooks {
    /// L and D, from the latest repair packets.
    pub(super) fn shape(&self) -> Option<(u64, u64)> {
        self.paths.get(self.latest)?.shape()
    }

    /// The largest recent matrix.
    pub(super) fn span(&self) -> u64 {
        self.paths.iter().map(Outlook::span).max().unwrap_or(0)
    }

    /// Notes a repair packet on this path, when the media had reached `end`. Returns whether
    /// another one has had its shape.
    pub(super) fn saw(&mut self, path: usize, line: Line, end: u64) -> bool {
        if self.paths.len() <= path {
            self.paths.resize_with(path + 1, Outlook::default);
        }
        self.latest = path;
        self.paths[path].saw(line, end)
    }

    /// Whether a repair packet for this number may still come on any live path, when the media has
    /// reached `end`.
    pub(super) fn may_come(&self, number: u64, end: u64) -> bool {
        let mut seen = self.paths.iter().filter(|path| path.seen.is_some()).peekable();
        seen.peek().is_none() || seen.any(|path| path.lives(end) && path.may_come(number))
    }
}

/// Positions of the repair streams on one path.
#[derive(Debug, Default)]
struct Outlook {
    /// Position of the media at the latest repair packet.
    seen: Option<u64>,
    /// The column with the second highest base, and the row with the second highest base.
    column: Option<Line>,
    row: Option<Line>,
    /// The column and the row with the highest base.
    ahead: [Option<Line>; 2],
    /// One with another shape, by axis.
    other: [Option<Line>; 2],
    /// First number of a matrix, and whether another matrix has confirmed it.
    start: Option<(u64, bool)>,
    /// The largest matrix since `since`, and in the period before.
    span: u64,
    span_before: u64,
    since: u64,
}

impl Outlook {
    /// L and D.
    fn shape(&self) -> Option<(u64, u64)> {
        self.ahead[Axis::Column as usize].or(self.column).map(|column| (column.offset, column.count))
    }

    fn span(&self) -> u64 {
        self.span.max(self.span_before)
    }

    /// Whether it has carried a repair packet recently: columns come at least once per matrix.
    fn lives(&self, end: u64) -> bool {
        self.seen.is_some_and(|seen| end <= seen + 4 * self.span())
    }

    fn saw(&mut self, line: Line, end: u64) -> bool {
        if end > self.since + 4 * self.span() {
            (self.span_before, self.span, self.since) = (self.span, 0, end);
        }
        let known = self.is_known_shape(line);
        if known {
            self.seen = Some(end);
            self.saw_known(line, end);
        }
        known
    }

    fn saw_known(&mut self, line: Line, end: u64) {
        self.span = self.span.max(line.span());
        // A repair packet that runs ahead of its media, or is forged, proves nothing about earlier
        // ones.
        if line.end() > end {
            return;
        }
        let place = line.axis as usize;
        let ahead = self.ahead[place].filter(|ahead| ahead.same_shape(&line));
        if ahead.is_some_and(|ahead| ahead.base == line.base) {
            return;
        }
        // The second newest one is certainly the sender's position.
        let newer = ahead.is_none_or(|ahead| line.base > ahead.base);
        let sure = if newer {
            self.ahead[place].replace(line).filter(|ahead| ahead.same_shape(&line))
        } else {
            Some(line)
        };
        match (sure, line.axis) {
            (None, _) => {}
            (Some(line), Axis::Column) => self.saw_column(line),
            (Some(line), Axis::Row) => {
                let newer = self.row.is_none_or(|row| line.base > row.base || !row.same_shape(&line));
                self.row = if newer { Some(line) } else { self.row };
            }
        }
    }

    /// Whether two lines had this shape.
    fn is_known_shape(&mut self, line: Line) -> bool {
        let place = line.axis as usize;
        if self.ahead[place].is_some_and(|ahead| ahead.same_shape(&line)) {
            return true;
        }
        let other = self.other[place].replace(line);
        let known = other.is_some_and(|other| other.same_shape(&line) && other.base != line.base);
        if known {
            // State of the previous shape no longer applies.
            self.ahead[place] = other;
        }
        known
    }

    fn saw_column(&mut self, line: Line) {
        let Some(before) = self.column.filter(|column| column.same_shape(&line)) else {
            (self.column, self.start) = (Some(line), None);
            return;
        };
        if line.base <= before.base {
            return;
        }
        self.column = Some(line);
        // From one column to the next it is one number; from the last of a matrix to the first of
        // the next it is more.
        let first = line.offset == 1 || line.base - before.base == line.span() - line.offset + 1;
        match self.start {
            Some((start, _)) if (line.base - start) % line.span() >= line.offset => self.start = None,
            Some((start, false)) if first && (line.base - start).is_multiple_of(line.span()) => {
                self.start = Some((start, true));
            }
            None if first => self.start = Some((line.base, false)),
            _ => {}
        }
        // The sender has stopped sending rows.
        let silent = |row: &Line| row.base + 2 * line.span() < line.base;
        self.row = self.row.filter(|row| !silent(row));
    }

    /// Whether a repair packet for this number may still come.
    fn may_come(&self, number: u64) -> bool {
        let Some(column) = self.column else { return true };
        let row_may = self.row.is_some_and(|row| number >= row.base + row.count);
        row_may || self.column_base(number, &column) > column.base
    }

    /// The base of a number's column; an upper bound if that is unknown.
    fn column_base(&self, number: u64, column: &Line) -> u64 {
        match self.start {
            Some((start, true)) if number >= start => {
                number - (number - start) % column.span() / column.offset * column.offset
            }
            _ => number,
        }
    }
}

/// Those of the `closed` numbers (sorted, unknown, no more repair packets will come) that the
/// present equations cannot solve either, even if all other missing numbers come.
pub(super) fn hopeless(
    mut closed: Vec<u64>,
    equations: &[Equation],
    given_up: impl Fn(u64) -> bool,
) -> Vec<u64> {
    let mut before = usize::MAX;
    while !closed.is_empty() && closed.len() < before {
        before = closed.len();
        for equation in equations {
            let mut stuck = equation.line.numbers().filter_map(|number| {
                let place = closed.binary_search(&number).ok();
                (place.is_some() || given_up(number)).then_some(place)
            });
            if let (Some(Some(place)), None) = (stuck.next(), stuck.next()) {
                closed.remove(place);
            }
        }
    }
    closed
}
