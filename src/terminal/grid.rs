//! Tables on a screen: columns as wide as what is in them, and none cut. A column for which there
//! is no room is left out, or stands in a line of its own below the row.

use ratatui::text::Span;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Its rank among the others: those with low numbers get their room first.
    pub rank: u8,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
    /// Width that it has at least, so that others do not move with its content.
    pub min: usize,
}

/// Spaces between two columns.
const GAP: usize = 2;

/// The columns for which there is room, with their widths, from left to right.
#[derive(Debug)]
pub struct Grid<'a> {
    columns: &'a [Column],
    shown: Vec<(usize, usize)>,
}

impl<'a> Grid<'a> {
    /// Finds room for the columns of these rows.
    pub fn fit(columns: &'a [Column], rows: &[Vec<String>], width: usize) -> Grid<'a> {
        let widths: Vec<usize> = (0..columns.len()).map(|index| needed(columns, rows, index)).collect();
        let mut by_rank: Vec<usize> = (0..columns.len()).collect();
        by_rank.sort_by_key(|index| columns[*index].rank);
        let (mut shown, mut used) = (Vec::new(), 0);
        for index in by_rank {
            let more = widths[index] + if shown.is_empty() { 0 } else { GAP };
            if shown.is_empty() || used + more <= width {
                shown.push((index, widths[index]));
                used += more;
            }
        }
        shown.sort_unstable();
        Grid { columns, shown }
    }

    /// Whether there is room for the column.
    pub fn shows(&self, index: usize) -> bool {
        self.shown.iter().any(|(shown, _)| *shown == index)
    }

    /// The titles in one line.
    pub fn head(&self) -> String {
        self.cells(|index| self.columns[index].title)
    }

    /// A row in one line.
    pub fn line(&self, row: &[String]) -> String {
        self.cells(|index| row.get(index).map_or("", String::as_str))
    }

    fn cells<'t>(&self, text: impl Fn(usize) -> &'t str) -> String {
        let cells = self.shown.iter().map(|(index, width)| {
            let text = text(*index);
            let pad = " ".repeat(width.saturating_sub(columns_of(text)));
            if self.columns[*index].right { format!("{pad}{text}") } else { format!("{text}{pad}") }
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    }
}

/// Width of the column's title and of all its cells.
fn needed(columns: &[Column], rows: &[Vec<String>], index: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| columns_of(cell));
    cells.max().unwrap_or(0).max(columns_of(columns[index].title)).max(columns[index].min)
}

/// Columns that a text takes in a terminal.
pub fn columns_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// Breaks a text into lines of at most `width` columns, between words where possible; the further
/// ones are indented.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let width = width.max(1);
    let margin = " ".repeat(indent.min(width - 1));
    let (mut lines, mut line) = (Vec::new(), String::new());
    let mut begun = false;
    for word in text.split(' ') {
        if begun && columns_of(&line) + 1 + columns_of(word) > width {
            lines.push(std::mem::replace(&mut line, margin.clone()));
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        begun = true;
        for letter in word.chars() {
            let columns = columns_of(letter.encode_utf8(&mut [0; 4]));
            if columns_of(&line) + columns > width && columns_of(&line) > margin.len() {
                lines.push(std::mem::replace(&mut line, margin.clone()));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

/// Cuts a text to `width` columns, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if columns_of(text) <= width {
        return text.to_owned();
    }
    let mut shorter = String::new();
    for letter in text.chars() {
        if columns_of(&shorter) + columns_of(letter.encode_utf8(&mut [0; 4])) + 1 > width {
            break;
        }
        shorter.push(letter);
    }
    shorter + if width > 0 { "…" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "flow", rank: 0, right: false, min: 0 },
        Column { title: "source", rank: 2, right: false, min: 0 },
        Column { title: "rate", rank: 1, right: true, min: 0 },
        Column { title: "late", rank: 3, right: true, min: 0 },
    ];

    fn rows(source: &str) -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![row(["00000008", source, "600.0 kbit/s", "1.0 ms"]), row(["9", "-", "8 bit/s", "-"])]
    }

    #[test]
    fn columns_get_their_room_by_rank_and_none_is_cut() {
        let rows = rows("10.0.0.7:5000");
        let wide = Grid::fit(&COLUMNS, &rows, 80);
        assert_eq!(wide.head(), "flow      source                 rate    late");
        assert_eq!(wide.line(&rows[0]), "00000008  10.0.0.7:5000  600.0 kbit/s  1.0 ms");
        assert_eq!(wide.line(&rows[1]), "9         -                   8 bit/s       -");
        let narrow = Grid::fit(&COLUMNS, &rows, wide.line(&rows[0]).len() - 1);
        assert_eq!(narrow.head(), "flow      source                 rate");
        let tiny = Grid::fit(&COLUMNS, &rows, 3);
        assert_eq!((tiny.head(), tiny.shows(2)), ("flow".to_owned(), false));
    }

    #[test]
    fn a_long_column_leaves_the_room_to_those_behind_it() {
        let rows = rows("[2001:db8:1234:5678:9abc:def0:1234:5678]:50000");
        let grid = Grid::fit(&COLUMNS, &rows, 40);
        assert_eq!(grid.head(), "flow              rate    late");
        assert!(!grid.shows(1) && grid.shows(3));
    }

    #[test]
    fn text_is_broken_between_words_and_long_words_within() {
        assert_eq!(wrap("one two three", 8, 2), ["one two", "  three"]);
        assert_eq!(wrap("abcdefghij kl", 4, 1), ["abcd", " efg", " hij", " kl"]);
        assert_eq!(wrap("", 4, 1), [""]);
        for width in 1..40 {
            let text = "the bridge br0 snoops IGMP, with ümläuts and 漢字 in it";
            let lines = wrap(text, width, 2);
            assert!(lines.iter().all(|line| columns_of(line) <= width.max(4)), "{width}: {lines:?}");
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!((cut("abcdef", 6), cut("abcdefg", 6)), ("abcdef".to_owned(), "abcde…".to_owned()));
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("abc", 0), "");
    }
}
