//! The live display of `probe` in a terminal: figures on top, then flows, and the contents of the
//! first transport stream.
//!
//! It displays a report. q, Esc or Ctrl-C ends it, and then, or after a panic, the terminal is
//! restored.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Row, Sparkline, Table, Wrap},
};

use crate::probe::{
    report::{FlowReport, NumbersReport, Report, TsReport},
    text,
};

/// Maximum rates in the strip: 4 a second, for a wide terminal.
const RATES_MAX: usize = 512;

/// The terminal while the display is shown.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    rates: VecDeque<u64>,
    before: Option<(Instant, u64)>,
    /// Index of the first flow that is shown.
    scroll: usize,
}

impl Screen {
    /// Switches the terminal to the display.
    pub(super) fn open() -> io::Result<Screen> {
        let terminal = ratatui::try_init()?;
        Ok(Screen { terminal, rates: VecDeque::new(), before: None, scroll: 0 })
    }

    /// Draws one report.
    pub(super) fn draw(&mut self, now: Instant, report: &Report) -> io::Result<()> {
        if let Some((at, bytes)) = self.before.replace((now, report.bytes)) {
            let seconds = now.saturating_duration_since(at).as_secs_f64().max(1e-3);
            self.rates.push_back(((report.bytes - bytes) as f64 * 8.0 / seconds) as u64);
            if self.rates.len() > RATES_MAX {
                self.rates.pop_front();
            }
        }
        self.scroll = self.scroll.min(report.flows.len().saturating_sub(1));
        let rates: Vec<u64> = self.rates.iter().copied().collect();
        self.terminal.draw(|frame| screen(frame, report, &rates, self.scroll))?;
        Ok(())
    }

    /// Reads the keyboard without waiting; returns whether the user has requested the end.
    pub(super) fn quits(&mut self) -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(true),
                KeyCode::Char('j') | KeyCode::Down => self.scroll += 1,
                KeyCode::Char('k') | KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
                _ => {}
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn screen(frame: &mut Frame<'_>, report: &Report, rates: &[u64], scroll: usize) {
    let ts = report.flows.iter().find_map(|flow| flow.ts.as_ref());
    let ts_height = ts.map_or(0, |ts| (text::ts_lines(ts).len() as u16 + 2).min(frame.area().height / 3));
    let [head, strip, flows, programme, foot] = Layout::vertical([
        Constraint::Length(head_lines(report).len() as u16 + 2),
        Constraint::Length(3),
        Constraint::Min(4),
        Constraint::Length(ts_height),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = format!(" {} ", report.input);
    let block = Block::new().borders(Borders::ALL).title(title);
    frame.render_widget(Paragraph::new(head_lines(report)).block(block).wrap(Wrap { trim: false }), head);
    draw_rates(frame, strip, rates);
    draw_flows(frame, flows, report, scroll);
    if let Some(ts) = ts {
        draw_ts(frame, programme, ts);
    }
    frame.render_widget(Line::from(" q: end and suggest a hold and an FEC   j, k: scroll").dim(), foot);
}

/// The most important answer first: whether anything is lost.
fn head_lines(report: &Report) -> Vec<Line<'static>> {
    let verdict = if report.packets == 0 {
        Span::styled("nothing yet", Style::new().fg(Color::Yellow))
    } else if report.numbers.expected == 0 {
        Span::raw("not numbered: losses cannot be told")
    } else {
        Span::styled(text::numbers(&report.numbers), colour(&report.numbers).add_modifier(Modifier::BOLD))
    };
    let mut lines =
        vec![Line::from(report.format.clone()), Line::from(verdict), Line::from(text::traffic(report))];
    let longest = text::histogram(&report.numbers);
    let bars: Vec<&str> = longest.lines().map(str::trim).take(4).collect();
    lines.extend(bars.into_iter().map(|bar| Line::from(format!("  {bar}"))));
    lines.extend(text::extras(report).into_iter().map(Line::from));
    lines
}

fn colour(numbers: &NumbersReport) -> Style {
    Style::new().fg(if numbers.lost > 0 { Color::Red } else { Color::Green })
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, rates: &[u64]) {
    let width = usize::from(area.width.saturating_sub(2));
    let shown = &rates[rates.len().saturating_sub(width)..];
    let last = shown.last().map_or(String::new(), |rate| format!(" {} ", text::bits(*rate as f64)));
    let block =
        Block::new().borders(Borders::ALL).title(" rate ").title_bottom(Line::from(last).right_aligned());
    frame.render_widget(Sparkline::default().data(shown).block(block), area);
}

fn draw_flows(frame: &mut Frame<'_>, area: Rect, report: &Report, scroll: usize) {
    let head =
        Row::new(["flow", "source", "rate", "packets", "lost", "reordered", "late", "twice", "jitter"]);
    let rows = report.flows.iter().skip(scroll).take(area.height.into()).map(flow_row);
    let widths = [
        Constraint::Min(10),
        Constraint::Min(18),
        Constraint::Length(14),
        Constraint::Length(10),
        Constraint::Length(16),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(9),
    ];
    let block = Block::new().borders(Borders::ALL).title(format!(" {} flows ", report.flows.len()));
    let head = head.style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn flow_row(flow: &FlowReport) -> Row<'static> {
    let numbers = flow.numbers.clone().unwrap_or_default();
    let of_numbers = |text: String| if flow.numbers.is_some() { text } else { "-".to_owned() };
    let milliseconds = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    let style = if numbers.lost > 0 { Style::new().fg(Color::Red) } else { Style::new() };
    Row::new([
        flow.flow.clone(),
        flow.source.clone(),
        text::bits(flow.bits_per_second),
        flow.packets.to_string(),
        of_numbers(format!("{} ({:.2}%)", numbers.lost, numbers.loss * 100.0)),
        of_numbers(numbers.reordered.to_string()),
        of_numbers(milliseconds(numbers.lateness_max_seconds)),
        of_numbers(numbers.duplicates.to_string()),
        flow.jitter_seconds.map_or("-".to_owned(), milliseconds),
    ])
    .style(style)
}

fn draw_ts(frame: &mut Frame<'_>, area: Rect, ts: &TsReport) {
    let lines: Vec<Line<'_>> = text::ts_lines(ts).into_iter().map(Line::from).collect();
    let block = Block::new().borders(Borders::ALL).title(" transport stream ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::probe::{Probe, Role};
    use tidecast_net::clock;
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

    fn drawn(width: u16, height: u16, report: &Report) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no device");
        terminal.draw(|frame| screen(frame, report, &[1, 2, 600_000], 0)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(width.into());
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn the_answer_stands_on_top_and_the_programme_below() {
        let text = drawn(120, 40, &report());
        for expected in ["RTP with MPEG-TS", "lost 1 of", "00000008", "H.264 video", "600.0 kbit/s", "q: end"]
        {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    #[test]
    fn any_size_is_drawn() {
        let report = report();
        for (width, height) in [(1, 1), (10, 5), (20, 60), (300, 3), (80, 24)] {
            drawn(width, height, &report);
        }
        let empty = Probe::new(Format::Auto).report(clock::now(), "udp://@239.1.1.1:5000");
        assert!(drawn(80, 24, &empty).contains("nothing yet"));
    }
}
