//! The live display of `probe` in a terminal: figures on top, then flows, and the contents of the
//! first transport stream; as long as nothing comes, the likeliest causes instead.
//!
//! It displays a report. q, Esc or Ctrl-C ends it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Context;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::Line,
    widgets::{Block, Borders, Paragraph, Sparkline},
};

use super::Live;
use crate::{
    probe::{
        report::{FlowReport, NumbersReport, PidReport, Report, TsReport},
        text,
    },
    terminal::{
        grid::{Column, Grid, cut, wrap},
        screen::{self, Key, Screen},
    },
    words,
};
use tidecast_net::clock;

/// Interval at which the screen is redrawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Silence after which the causes are shown, and interval at which they are looked for again.
const CAUSES_EVERY: Duration = Duration::from_secs(1);
/// Pause after which it is said that packets no longer come.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum rates in the strip: 4 a second, for a wide terminal.
const RATES_MAX: usize = 512;

/// Whether it can be shown.
pub(super) fn available() -> bool {
    screen::available().is_ok()
}

/// Shows what comes until the end of the probe, or a key.
pub(super) fn show(live: &mut Live<'_>) -> anyhow::Result<()> {
    let mut screen = Screen::open().context("cannot use the terminal")?;
    let mut shown = Display::default();
    loop {
        let now = clock::now();
        if live.ended(now) || !screen.is_open() {
            return Ok(());
        }
        shown.look(live, now);
        screen.draw(|frame| shown.draw(frame)).context("cannot draw")?;
        while let Some(key) = screen.key(Duration::ZERO).context("cannot read the keyboard")? {
            if matches!(key, Key::Quit | Key::Interrupt) {
                return Ok(());
            }
            shown.press(key);
        }
        live.receive(now + DRAW_EVERY)?;
    }
}

/// What is on the screen.
#[derive(Debug, Default)]
struct Display {
    report: Report,
    rates: VecDeque<u64>,
    before: Option<(Instant, u64)>,
    /// When the number of packets last changed.
    heard: Option<Instant>,
    /// Time without a packet.
    quiet: Duration,
    left: Option<Duration>,
    causes: Vec<String>,
    causes_from: Option<Instant>,
    /// Index of the first flow (or line of the causes) that is shown.
    scroll: usize,
}

impl Display {
    /// Takes the figures of this moment.
    fn look(&mut self, live: &mut Live<'_>, now: Instant) {
        let mut report = live.probe.report(now, &live.name);
        report.kernel_drops = live.sockets.kernel_drops();
        self.left = live.args.duration.map(|duration| duration.saturating_sub(live.elapsed(now)));
        let heard = self.heard.get_or_insert(live.began);
        if report.packets > self.report.packets {
            *heard = now;
        }
        self.quiet = now.saturating_duration_since(*heard);
        self.take(now, report);
        if self.report.packets == 0 && self.quiet >= CAUSES_EVERY {
            let old = |at: Instant| now.saturating_duration_since(at) >= CAUSES_EVERY;
            if self.causes_from.is_none_or(old) {
                (self.causes, self.causes_from) = (live.causes(), Some(now));
            }
        }
    }

    fn take(&mut self, now: Instant, report: Report) {
        if let Some((at, bytes)) = self.before.replace((now, report.bytes)) {
            let seconds = now.saturating_duration_since(at).as_secs_f64().max(1e-3);
            self.rates.push_back(((report.bytes - bytes) as f64 * 8.0 / seconds) as u64);
            if self.rates.len() > RATES_MAX {
                self.rates.pop_front();
            }
        }
        self.report = report;
    }

    fn press(&mut self, key: Key) {
        let last = self.report.flows.len().saturating_sub(1).max(self.causes.len());
        let moved = match key {
            Key::Scroll(lines) => self.scroll.saturating_add_signed(lines),
            Key::Page(pages) => self.scroll.saturating_add_signed(pages * 10),
            Key::First => 0,
            Key::Last => last,
            _ => return,
        };
        self.scroll = moved.min(last);
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let width = usize::from(area.width.saturating_sub(2));
        let head = self.head(width);
        let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
        frame.render_widget(
            Line::from(cut(" q: end and suggest a hold and an FEC   j, k: scroll", width + 2)).dim(),
            foot,
        );
        let head_height = head.len() as u16 + 2;
        if self.report.packets == 0 {
            let [top, causes] =
                Layout::vertical([Constraint::Length(head_height), Constraint::Min(0)]).areas(body);
            self.draw_head(frame, top, head);
            return self.draw_causes(frame, causes);
        }
        let ts = self.report.flows.iter().find_map(|flow| flow.ts.as_ref()).map(|ts| ts_lines(ts, width));
        let (flows, ts_lines) = (self.flow_lines(width), ts.unwrap_or_default());
        let strip = 3.min(body.height);
        let rest = body.height - strip;
        let head_height = head_height.min(rest / 2);
        let rest = rest - head_height;
        // What the flows do not need is for the transport stream.
        let flows_height = (flows.lines() as u16 + 2).min(rest.div_ceil(2));
        let ts_height =
            if ts_lines.is_empty() { 0 } else { (ts_lines.len() as u16 + 2).min(rest - flows_height) };
        let [top, strip, middle, bottom] = Layout::vertical([
            Constraint::Length(head_height),
            Constraint::Length(strip),
            Constraint::Min(0),
            Constraint::Length(ts_height),
        ])
        .areas(body);
        self.draw_head(frame, top, head);
        self.draw_rates(frame, strip);
        flows.draw(frame, middle, self.scroll);
        draw_block(frame, bottom, " transport stream ", ts_lines);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
        let left = self.left.map(|left| format!(" {} left ", words::clock(left))).unwrap_or_default();
        let room = usize::from(area.width).saturating_sub(left.len() + 4);
        let block = Block::new()
            .borders(Borders::ALL)
            .title(format!(" {} ", cut(&self.report.input, room)))
            .title(Line::from(left).right_aligned());
        frame.render_widget(Paragraph::new(fitting(lines, area)).block(block), area);
    }

    /// The most important answer first: whether anything is lost.
    fn head(&self, width: usize) -> Vec<Line<'static>> {
        let report = &self.report;
        let seconds = self.quiet.as_secs();
        if report.packets == 0 {
            let text = match seconds {
                0 => "waiting for the first packet".to_owned(),
                seconds => format!("nothing in {}", words::count(seconds, "second")),
            };
            return vec![Line::styled(cut(&text, width), Style::new().fg(Color::Yellow))];
        }
        let mut lines = Vec::new();
        let mut add = |text: &str, style: Style| {
            lines.extend(wrap(text, width, 2).into_iter().map(|line| Line::styled(line, style)));
        };
        add(&report.format, Style::new());
        match report.numbers.expected {
            0 => add("not numbered: losses cannot be told", Style::new()),
            _ => add(&text::numbers(&report.numbers), colour(&report.numbers).add_modifier(Modifier::BOLD)),
        }
        if self.quiet >= PAUSE {
            let pause = format!("nothing for {}", words::count(seconds, "second"));
            add(&pause, Style::new().fg(Color::Yellow));
        }
        add(&text::traffic(report), Style::new());
        text::extras(report).iter().for_each(|line| add(line, Style::new()));
        let bars = text::histogram(&report.numbers);
        bars.lines().map(str::trim).take(4).for_each(|bar| add(bar, Style::new()));
        lines
    }

    fn draw_causes(&self, frame: &mut Frame<'_>, area: Rect) {
        if self.causes.is_empty() {
            return;
        }
        let width = usize::from(area.width.saturating_sub(2));
        let lines = self.causes.iter().flat_map(|cause| wrap(&format!("- {cause}"), width, 2));
        let lines: Vec<Line<'_>> = lines.skip(self.scroll).map(Line::from).collect();
        draw_block(frame, area, " the likeliest causes ", lines);
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = usize::from(area.width.saturating_sub(2));
        let shown: Vec<u64> =
            self.rates.iter().copied().skip(self.rates.len().saturating_sub(width)).collect();
        let last = shown.last().map_or(String::new(), |rate| format!(" {} ", words::bits(*rate as f64)));
        let block =
            Block::new().borders(Borders::ALL).title(" rate ").title_bottom(Line::from(last).right_aligned());
        frame.render_widget(Sparkline::default().data(&shown).block(block), area);
    }

    fn flow_lines(&self, width: usize) -> Flows {
        let rows: Vec<Vec<String>> = self.report.flows.iter().map(flow_row).collect();
        let grid = Grid::fit(&FLOW_COLUMNS, &rows, width);
        let flows = self.report.flows.iter().zip(&rows).map(|(flow, row)| {
            let lost = flow.numbers.as_ref().is_some_and(|numbers| numbers.lost > 0);
            let style = if lost { Style::new().fg(Color::Red) } else { Style::new() };
            let mut lines = vec![Line::styled(cut(&grid.line(row), width), style)];
            if !grid.shows(SOURCE) {
                lines.push(Line::from(cut(&format!("  from {}", flow.source), width)).dim());
            }
            lines
        });
        Flows { head: cut(&grid.head(), width), flows: flows.collect() }
    }
}

/// The flows' table.
struct Flows {
    head: String,
    /// Lines of each flow.
    flows: Vec<Vec<Line<'static>>>,
}

impl Flows {
    fn lines(&self) -> usize {
        1 + self.flows.iter().map(Vec::len).sum::<usize>()
    }

    fn draw(self, frame: &mut Frame<'_>, area: Rect, scroll: usize) {
        let (count, room) = (self.flows.len(), usize::from(area.height.saturating_sub(3)));
        let scroll = scroll.min(count.saturating_sub(1));
        let per_flow = self.flows.first().map_or(1, Vec::len);
        let whole = (room / per_flow).max(1);
        let title = match count > whole {
            true => format!(" flows {} to {} of {count} ", scroll + 1, (scroll + whole).min(count)),
            false => format!(" {} ", words::count(count as u64, "flow")),
        };
        let head = Line::styled(self.head, Style::new().add_modifier(Modifier::BOLD));
        let rows = self.flows.into_iter().skip(scroll).take(whole).flatten();
        draw_block(frame, area, &title, std::iter::once(head).chain(rows).collect());
    }
}

fn colour(numbers: &NumbersReport) -> Style {
    Style::new().fg(if numbers.lost > 0 { Color::Red } else { Color::Green })
}

/// The lines for which a block has room; the last one says that there are more.
fn fitting(mut lines: Vec<Line<'_>>, area: Rect) -> Vec<Line<'_>> {
    let room = usize::from(area.height.saturating_sub(2));
    if lines.len() > room {
        lines.truncate(room.saturating_sub(1));
        lines.push(Line::from("...").dim());
    }
    lines
}

fn draw_block(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) {
    let block = Block::new().borders(Borders::ALL).title(title);
    frame.render_widget(Paragraph::new(fitting(lines, area)).block(block), area);
}

const fn column(title: &'static str, rank: u8, right: bool) -> Column {
    Column { title, rank, right, min: 0 }
}

const FLOW_COLUMNS: [Column; 9] = [
    column("flow", 0, false),
    column("source", 3, false),
    column("rate", 2, true),
    column("packets", 4, true),
    column("lost", 1, true),
    column("reordered", 6, true),
    column("late", 7, true),
    column("twice", 8, true),
    column("jitter", 5, true),
];
/// Index of the source, which stands in a line of its own where it is too long.
const SOURCE: usize = 1;

fn flow_row(flow: &FlowReport) -> Vec<String> {
    let numbers = flow.numbers.clone().unwrap_or_default();
    let of_numbers = |text: String| if flow.numbers.is_some() { text } else { "-".to_owned() };
    vec![
        flow.flow.clone(),
        flow.source.clone(),
        words::bits(flow.bits_per_second),
        flow.packets.to_string(),
        of_numbers(format!("{} ({:.2}%)", numbers.lost, numbers.loss * 100.0)),
        of_numbers(numbers.reordered.to_string()),
        of_numbers(milliseconds(numbers.lateness_max_seconds)),
        of_numbers(numbers.duplicates.to_string()),
        flow.jitter_seconds.map_or("-".to_owned(), milliseconds),
    ]
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

const PID_COLUMNS: [Column; 7] = [
    column("PID", 0, true),
    column("carries", 1, false),
    column("rate", 2, true),
    column("errors", 3, true),
    column("PCR interval", 4, true),
    column("jitter", 5, true),
    column("jumps", 6, true),
];

fn ts_lines(ts: &TsReport, width: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'_>> =
        text::ts_summary(ts).iter().flat_map(|line| wrap(line, width, 2)).map(Line::from).collect();
    // The most of it first: there may be no room for all.
    let mut pids: Vec<&PidReport> = ts.pids.iter().collect();
    pids.sort_by(|one, other| other.bits_per_second.total_cmp(&one.bits_per_second));
    let rows: Vec<Vec<String>> = pids.into_iter().map(pid_row).collect();
    let grid = Grid::fit(&PID_COLUMNS, &rows, width);
    lines.push(Line::styled(cut(&grid.head(), width), Style::new().add_modifier(Modifier::BOLD)));
    lines.extend(rows.iter().map(|row| Line::from(cut(&grid.line(row), width))));
    lines
}

fn pid_row(pid: &PidReport) -> Vec<String> {
    let of_clock =
        |text: fn(&crate::probe::report::PcrReport) -> String| pid.pcr.as_ref().map_or(String::new(), text);
    vec![
        pid.pid.to_string(),
        if pid.scrambled { format!("{}, scrambled", pid.kind) } else { pid.kind.clone() },
        words::bits(pid.bits_per_second),
        pid.continuity_errors.to_string(),
        of_clock(|pcr| format!("{:.0} ms", pcr.interval_max_seconds * 1e3)),
        of_clock(|pcr| milliseconds(pcr.jitter_seconds)),
        of_clock(|pcr| pcr.discontinuities.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::probe::{Probe, Role};
    use tidecast_wire::{Format, rtp};

    fn report() -> Report {
        let start = clock::now();
        let mut probe = Probe::new(Format::Auto);
        let file =
            std::fs::read(format!("{}/fixtures/test.ts", env!("CARGO_MANIFEST_DIR"))).expect("the fixture");
        for (i, payload) in file.chunks(1316).enumerate().filter(|(i, _)| *i != 20) {
            let (sequence, timestamp) = (i as u16, i as u32 * 1579);
            let mut bytes = Vec::new();
            rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc: 8, payload }
                .emit(&mut bytes);
            let at = start + Duration::from_micros(i as u64 * 17_546);
            probe.push(at, ([10, 0, 0, 7], 5000).into(), Role::Media, &bytes);
        }
        probe.report(start + Duration::from_secs(7), "rtp://@239.1.1.1:5000")
    }

    fn drawn(width: u16, height: u16, display: &Display) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no device");
        terminal.draw(|frame| display.draw(frame)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width).max(1));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn of(report: Report) -> Display {
        Display { report, rates: [1, 2, 600_000].into(), ..Display::default() }
    }

    #[test]
    fn the_answer_stands_on_top_and_the_programme_below() {
        let mut display = of(report());
        display.left = Some(Duration::from_secs(83));
        for (width, height) in [(120, 40), (80, 24)] {
            let text = drawn(width, height, &display);
            for expected in [
                "RTP with MPEG-TS",
                "lost 1 of",
                "00000008",
                "10.0.0.7:5000",
                "600.0 kbit/s",
                " 1 flow ",
                "1:23 left",
                "q: end",
            ] {
                assert!(text.contains(expected), "{expected} in\n{text}");
            }
        }
        assert!(drawn(120, 40, &display).contains("256  H.264 video"));
    }

    #[test]
    fn no_column_is_cut_at_80_by_24() {
        let one = report().flows.remove(0);
        let flow = |flow: &str, source: &str, factor: u64| {
            let mut numbers = one.numbers.clone().unwrap_or_default();
            (numbers.lost, numbers.reordered) = (numbers.lost * factor, 7 * factor);
            let (flow, source) = (flow.to_owned(), source.to_owned());
            let packets = one.packets * factor;
            FlowReport { flow, source, packets, numbers: Some(numbers), ..one.clone() }
        };
        let short = ("00000008", "10.0.0.7:5000", 1);
        let long = ("4294967295", "[2001:db8:1234:5678:9abc:def0:1234:5678]:50000", 1_000_000_000);
        for flows in [vec![short], vec![long], vec![short, long], vec![long; 40]] {
            let flows: Vec<_> = flows.into_iter().map(|(name, source, n)| flow(name, source, n)).collect();
            let rows: Vec<Vec<String>> = flows.iter().map(flow_row).collect();
            let display = of(Report { flows, ..report() });
            let text = drawn(80, 24, &display);
            let head = text.lines().find(|line| line.contains("flow  ")).expect("a head");
            let titles: Vec<&str> = head.trim_matches(['│', ' ']).split_whitespace().collect();
            for column in FLOW_COLUMNS.iter().enumerate().filter(|(_, c)| titles.contains(&c.title)) {
                assert!(text.contains(&rows[0][column.0]), "{} is cut:\n{text}", column.1.title);
            }
            for part in titles {
                assert!(FLOW_COLUMNS.iter().any(|column| column.title == part), "{part} is cut:\n{text}");
            }
            assert!(text.contains(&rows[0][SOURCE]), "no source in\n{text}");
            for title in ["flow", "lost", "rate", "packets"] {
                assert!(head.contains(title), "no {title} in\n{text}");
            }
            assert!(text.contains("H.264 video") && text.contains("q: end"), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_scrolls() {
        let one = report().flows.remove(0);
        let flows = (0..40).map(|n| FlowReport { flow: format!("flow-{n}"), ..one.clone() }).collect();
        let mut display = of(Report { flows, ..report() });
        let text = drawn(80, 24, &display);
        assert!(
            text.contains("flows 1 to ") && text.contains(" of 40") && text.contains("flow-0 "),
            "{text}"
        );
        display.press(Key::Scroll(3));
        let text = drawn(80, 24, &display);
        assert!(!text.contains("flow-2 ") && text.contains("flow-3 "), "{text}");
        display.press(Key::Last);
        display.press(Key::Page(1));
        assert!(drawn(80, 24, &display).contains("flow-39 "));
        display.press(Key::First);
        display.press(Key::Scroll(-1));
        assert!(drawn(80, 24, &display).contains("flow-0 "));
    }

    #[test]
    fn any_size_is_drawn() {
        let mut display = of(report());
        display.quiet = Duration::from_secs(4);
        for (width, height) in [(0, 0), (1, 1), (2, 2), (10, 5), (20, 60), (300, 3), (80, 24)] {
            drawn(width, height, &display);
        }
        assert!(drawn(80, 24, &display).contains("nothing for 4 seconds"));
    }

    #[test]
    fn silence_has_its_causes() {
        let empty = Probe::new(Format::Auto).report(clock::now(), "udp://@239.1.1.1:5000");
        let mut display = of(empty);
        assert!(drawn(80, 24, &display).contains("waiting for the first packet"));
        display.quiet = Duration::from_secs(1);
        let input = "udp://@239.1.1.1:5000".parse().expect("an address");
        display.causes = tidecast_net::diagnose::silence(&input, Some("eth0"));
        let text = drawn(80, 24, &display);
        assert!(text.contains("nothing in 1 second ") && text.contains("the likeliest causes"), "{text}");
        let words = text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        for cause in &display.causes {
            let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&cause.replace("│", "")), "{cause} is cut:\n{text}");
        }
        for (width, height) in [(1, 1), (10, 5), (30, 60)] {
            drawn(width, height, &display);
        }
    }
}
