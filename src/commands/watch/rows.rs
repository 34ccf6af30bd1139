//! The channels of a view as rows, the worst first, and the rows as lines.

use ratatui::{
    style::{Color, Style},
    text::Line,
};

use crate::{
    observe::{Column as Figure, Health, Observation, Observed},
    terminal::grid::{Column, Grid, cut, wrap},
    words,
};
use tidecast_net::address::Input;

/// One channel.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) health: Health,
    pub(super) name: String,
    /// Its legs, as configured.
    pub(super) inputs: Vec<String>,
    pub(super) bits_per_second: f64,
    /// Packets of the last minute.
    pub(super) lost: u64,
    pub(super) recovered: u64,
    pub(super) lost_share: f64,
    pub(super) clients: u64,
    pub(super) reasons: Vec<String>,
}

/// All channels, the worst first, those of equal rank in the order of the configuration.
pub(super) fn of(seen: &Observation) -> Vec<Row> {
    let seconds = seen.times.back().map_or(1.0, |tick| tick.seconds);
    let mut rows: Vec<Row> = seen.channels.iter().map(|channel| Row::of(channel, seconds)).collect();
    rows.sort_by(|one, other| {
        other.health.cmp(&one.health).then(other.lost_share.total_cmp(&one.lost_share))
    });
    rows
}

/// `1 silent, 2 degraded, 61 ok`; empty without rows.
pub(super) fn states(rows: &[Row]) -> String {
    let counts = Health::ALL.into_iter().rev().map(|health| {
        let count = rows.iter().filter(|row| row.health == health).count();
        (count, health.as_str())
    });
    let counts = counts.filter(|(count, _)| *count > 0).map(|(count, health)| format!("{count} {health}"));
    counts.collect::<Vec<_>>().join(", ")
}

impl Row {
    fn of(channel: &Observed, seconds: f64) -> Row {
        let newest = channel.history.newest(1).next();
        let figure = |figure| newest.map_or(0.0, |sample| f64::from(sample.get(figure)));
        let recent = &channel.recent;
        Row {
            health: channel.verdict.health,
            name: channel.name().to_owned(),
            inputs: channel.view.state.legs.iter().map(|leg| leg.address.clone()).collect(),
            bits_per_second: figure(Figure::Bytes) * 8.0 / seconds.max(1e-3),
            lost: recent.lost as u64,
            recovered: (recent.fec + recent.retransmission + recent.other_leg) as u64,
            lost_share: recent.lost_share(),
            clients: figure(Figure::Clients) as u64,
            reasons: channel.verdict.reasons.clone(),
        }
    }

    /// The first leg's group and port, and how many legs there are besides.
    fn input(&self) -> String {
        let Some(first) = self.inputs.first() else { return String::new() };
        let short =
            first.parse::<Input>().map_or_else(|_| first.clone(), |input| input.socket_addr().to_string());
        match self.inputs.len() {
            1 => short,
            legs => format!("{short} +{}", legs - 1),
        }
    }

    /// The name in its column, which leaves room for the figures.
    fn shown_name(&self, width: usize) -> String {
        cut(&self.name, width / 4)
    }

    fn style(&self) -> Style {
        match self.health {
            Health::Ok => Style::new(),
            Health::Degraded => Style::new().fg(Color::Yellow),
            Health::Silent => Style::new().fg(Color::Red),
        }
    }

    fn cells(&self, width: usize) -> Vec<String> {
        vec![
            self.health.as_str().to_owned(),
            self.shown_name(width),
            self.input(),
            words::bits(self.bits_per_second),
            compact(self.lost),
            compact(self.recovered),
            compact(self.clients),
        ]
    }
}

/// A count in at most six columns up to a billion; millions above.
fn compact(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..10_000_000_000 => format!("{:.0}M", count as f64 / 1e6),
        10_000_000_000..10_000_000_000_000 => format!("{:.0}G", count as f64 / 1e9),
        _ => format!("{:.0e}", count as f64),
    }
}

const COLUMNS: [Column; 7] = [
    Column { title: "state", rank: 0, right: false, min: 8 },
    Column { title: "channel", rank: 1, right: false, min: 0 },
    Column { title: "input", rank: 6, right: false, min: 0 },
    Column { title: "rate", rank: 3, right: true, min: 13 },
    Column { title: "lost", rank: 2, right: true, min: 5 },
    Column { title: "recovered", rank: 5, right: true, min: 0 },
    Column { title: "clients", rank: 4, right: true, min: 0 },
];
/// Index of the input, which stands in a line of its own where it is too long.
const INPUT: usize = 2;

/// Rows as lines of a terminal.
#[derive(Debug)]
pub(super) struct Table<'a> {
    rows: &'a [Row],
    cells: Vec<Vec<String>>,
    grid: Grid<'static>,
    width: usize,
}

impl<'a> Table<'a> {
    pub(super) fn of(rows: &'a [Row], width: usize) -> Table<'a> {
        let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(width)).collect();
        let grid = Grid::fit(&COLUMNS, &cells, width);
        Table { rows, cells, grid, width }
    }

    pub(super) fn head(&self) -> String {
        cut(&self.grid.head(), self.width)
    }

    /// The lines of whole rows, beginning with the row `first`, in as many lines as there is room
    /// for; and the number of these rows. A first row that is higher is cut.
    pub(super) fn lines(&self, first: usize, room: usize) -> (Vec<Line<'static>>, usize) {
        let (mut lines, mut shown) = (Vec::new(), 0);
        for index in first..self.rows.len() {
            let row = self.row(index);
            if shown > 0 && lines.len() + row.len() > room {
                break;
            }
            lines.extend(row);
            shown += 1;
        }
        lines.truncate(room);
        (lines, shown)
    }

    fn row(&self, index: usize) -> Vec<Line<'static>> {
        let row = &self.rows[index];
        let mut lines = vec![Line::styled(cut(&self.grid.line(&self.cells[index]), self.width), row.style())];
        let mut below = |text: &str, style: Style| {
            let text = format!("  {text}");
            lines.extend(wrap(&text, self.width, 4).into_iter().map(|line| Line::styled(line, style)));
        };
        if row.shown_name(self.width) != row.name {
            below(&row.name, Style::new().dim());
        }
        if !self.grid.shows(INPUT) {
            below(&row.inputs.join(" + "), Style::new().dim());
        }
        row.reasons.iter().for_each(|reason| below(reason, Style::new()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let of = |count| compact(count);
        assert_eq!([0, 999_999, 1_000_000, 9_876_543_210].map(of), ["0", "999999", "1M", "9877M"]);
        assert!(compact(u64::MAX).len() <= 6, "{}", compact(u64::MAX));
        assert!((0..64).all(|bit| compact(1 << bit).len() <= 6));
    }

    #[test]
    fn inputs_are_named_by_their_group() {
        let row = |inputs: &[&str]| Row {
            health: Health::Ok,
            name: "a".to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            bits_per_second: 0.0,
            lost: 0,
            recovered: 0,
            lost_share: 0.0,
            clients: 0,
            reasons: Vec::new(),
        };
        assert_eq!(row(&["rtp://@239.1.1.1:5000?if=eth1"]).input(), "239.1.1.1:5000");
        assert_eq!(row(&["udp://@[ff15::1]:5000", "udp://@[ff15::2]:5000"]).input(), "[ff15::1]:5000 +1");
        assert_eq!(row(&[]).input(), "");
    }
}
