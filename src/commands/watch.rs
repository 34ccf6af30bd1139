//! `--watch`: the channels of a running relay as a live table in its terminal, the worst first,
//! with the latest log lines below.
//!
//! It reads what [`crate::observe`] has observed, never the packet path. q ends the view and not
//! the relay; Ctrl-C ends the relay, as without a view.

mod rows;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use nix::sys::signal::{Signal, raise};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style, Stylize as _},
    text::Line,
    widgets::{Block, Borders, Paragraph},
};

use super::Failure;
use crate::{
    limits::{KEYS_INTERVAL, SCREEN_END_MAX},
    observe::Observer,
    terminal::{
        grid::cut,
        screen::{self, Key, Screen},
    },
    words,
};
use rows::{Row, Table};

/// Log lines that are shown.
const LOG_LINES: u16 = 4;
/// Lines of the table that are left in a low terminal, before log lines are.
const TABLE_LINES_MIN: u16 = 6;

/// Checks that a view can be shown, before anything is started.
///
/// # Errors
/// [`Failure::Usage`] if standard output or input is no terminal.
pub(super) fn check() -> Result<(), Failure> {
    screen::available().map_err(|what| {
        Failure::Usage(format!(
            "--watch: {what} is no terminal, expected one; elsewhere, /api/v1/channels over HTTP has the same figures"
        ))
    })
}

/// A view of the relay; closed when dropped.
#[derive(Debug)]
pub(super) struct View {
    stop: Arc<AtomicBool>,
    closed: mpsc::Receiver<()>,
}

impl View {
    /// Opens the view of a relay, whose page has this address.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn open(observer: Observer, page: Option<String>) -> io::Result<View> {
        let screen = Screen::open()?;
        let stop = Arc::<AtomicBool>::default();
        let (end, closed) = mpsc::channel();
        let mut display = Display { page: page.unwrap_or_default(), ..Display::default() };
        let stopped = stop.clone();
        let run = move || {
            let result = display.show(screen, &observer, &stopped);
            match result {
                Ok(End::Left) => crate::log::say("tidecast: the relay goes on; Ctrl-C ends it"),
                Ok(End::Stopped) => {}
                Err(error) => tracing::warn!("the view has ended, and the relay goes on: {error}"),
            }
            let _ = end.send(()); // the relay may have ended
        };
        thread::Builder::new().name("view".to_owned()).spawn(run)?;
        Ok(View { stop, closed })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.closed.recv_timeout(SCREEN_END_MAX); // the terminal may take nothing
    }
}

/// Why a view has ended.
enum End {
    /// The user has left it.
    Left,
    /// The relay ends.
    Stopped,
}

/// What is on the screen.
#[derive(Debug, Default)]
struct Display {
    /// Address of the page; empty without HTTP.
    page: String,
    ticks: u64,
    rows: Vec<Row>,
    log: Vec<String>,
    /// Index of the first channel that is shown.
    scroll: usize,
    /// Number of channels that were shown last, for scrolling by pages.
    shown: usize,
}

impl Display {
    /// Draws what is new until a key or the end of the relay.
    fn show(&mut self, mut screen: Screen, observer: &Observer, stop: &AtomicBool) -> io::Result<End> {
        let ticks = observer.ticks();
        let mut pressed = true;
        while !stop.load(Ordering::Relaxed) && screen.is_open() {
            let tick = *ticks.borrow();
            let log = screen::newest(LOG_LINES.into());
            if pressed || tick != self.ticks || log != self.log {
                (self.ticks, self.log) = (tick, log);
                self.rows = rows::of(&observer.seen());
                screen.draw(|frame| self.draw(frame))?;
            }
            let key = screen.key(KEYS_INTERVAL)?;
            pressed = key.is_some();
            match key {
                Some(Key::Quit) => return Ok(End::Left),
                // Ctrl-C is no signal here; the relay waits for one.
                Some(Key::Interrupt) => raise(Signal::SIGINT)?,
                Some(key) => self.press(key),
                None => {}
            }
        }
        Ok(End::Stopped)
    }

    fn press(&mut self, key: Key) {
        let (last, page) = (self.rows.len().saturating_sub(1), self.shown.max(1) as isize);
        let moved = match key {
            Key::Scroll(rows) => self.scroll.saturating_add_signed(rows),
            Key::Page(pages) => self.scroll.saturating_add_signed(pages * page),
            Key::First => 0,
            Key::Last => last,
            _ => return,
        };
        self.scroll = moved.min(last);
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let log = (LOG_LINES + 1).min(area.height.saturating_sub(TABLE_LINES_MIN + 1));
        let [table, log, foot] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(log), Constraint::Length(1)])
                .areas(area);
        self.draw_table(frame, table);
        self.draw_log(frame, log);
        let keys = " q: leave this view, the relay goes on   Ctrl-C: end the relay   j, k: scroll";
        frame.render_widget(Line::from(cut(keys, area.width.into())).dim(), foot);
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        self.scroll = self.scroll.min(self.rows.len().saturating_sub(1));
        let table = Table::of(&self.rows, area.width.into());
        let room = usize::from(area.height.saturating_sub(2));
        let (lines, shown) = table.lines(self.scroll, room);
        self.shown = shown;
        let (count, first) = (self.rows.len(), self.scroll + 1);
        let part = match shown < count {
            true => format!(" {first} to {} of {count} ", self.scroll + shown),
            false => String::new(),
        };
        let title =
            cut(&format!(" {} ", self.title()), usize::from(area.width).saturating_sub(part.len() + 1));
        let block = Block::new()
            .borders(Borders::TOP)
            .title(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)))
            .title(Line::from(part).right_aligned());
        let head = Line::styled(table.head(), Style::new().add_modifier(Modifier::BOLD));
        let lines = match count {
            0 => vec![Line::from(cut(
                "groups on demand appear here when they are asked for",
                area.width.into(),
            ))],
            _ => std::iter::once(head).chain(lines).collect(),
        };
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    /// How many channels are in which state; counts are those of the last minute.
    fn title(&self) -> String {
        let channels = words::count(self.rows.len() as u64, "channel");
        match rows::states(&self.rows) {
            states if states.is_empty() => channels,
            states => format!("{channels}: {states} (lost and recovered: last minute)"),
        }
    }

    fn draw_log(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = usize::from(area.width);
        let page = match self.page.is_empty() {
            true => String::new(),
            false => cut(&format!(" {} ", self.page), width.saturating_sub(8)),
        };
        let block = Block::new().borders(Borders::TOP).title(" log ").title(Line::from(page).right_aligned());
        let room = usize::from(area.height.saturating_sub(1));
        let newest = self.log.iter().skip(self.log.len().saturating_sub(room));
        let lines: Vec<Line<'_>> =
            newest.map(|line| Line::from(cut(&shortened(line), width)).dim()).collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// A log line without colours and without its date.
fn shortened(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim_end();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let text = text.replace(|letter: char| letter.is_control(), " ");
    let is_time = text.get(..20).is_some_and(|start| start.as_bytes()[10] == b'T' && start.starts_with("20"));
    match (is_time, text.split_once("Z ")) {
        (true, Some((_, rest))) => format!("{} {}", &text[11..19], rest.trim_start()),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::observe::Health;

    fn row(name: &str, health: Health, reasons: &[&str]) -> Row {
        Row {
            health,
            name: name.to_owned(),
            inputs: vec!["rtp://@239.1.1.1:5000?if=eth1".to_owned()],
            bits_per_second: 12_345_678.0,
            lost: 3,
            recovered: 1_563,
            lost_share: 0.001,
            clients: 12,
            reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
        }
    }

    fn drawn(width: u16, height: u16, display: &mut Display) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no device");
        terminal.draw(|frame| display.draw(frame)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width).max(1));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn display() -> Display {
        let lost = "0.10 % of the packets were lost within the last minute";
        let rows = vec![
            row("camera-2", Health::Silent, &["no packet for 5 s", "most likely eth1 is down: plug it in"]),
            row("camera-3", Health::Degraded, &[lost]),
            row("camera-1", Health::Ok, &[]),
        ];
        let log = [
            "\u{1b}[2m2026-11-30T20:24:05.123456Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m tidecast::observe: no packet for 5 s\n",
            "tidecast: ready: 3 channels\n",
        ];
        let log = log.map(str::to_owned).to_vec();
        Display { page: "http://127.0.0.1:8080/".to_owned(), rows, log, ..Display::default() }
    }

    #[test]
    fn all_columns_and_reasons_are_there_at_80_by_24() {
        let text = drawn(80, 24, &mut display());
        for part in [
            " 3 channels: 1 silent, 1 degraded, 1 ok ",
            "state     channel   input                    rate   lost  recovered  clients",
            "silent    camera-2  239.1.1.1:5000  12.346 Mbit/s      3       1563       12",
            "  no packet for 5 s\n",
            "  most likely eth1 is down: plug it in",
            "http://127.0.0.1:8080/",
            "20:24:05 WARN tidecast::observe: no packet for 5 s",
            "q: leave this view, the relay goes on   Ctrl-C: end the relay   j, k: scroll",
        ] {
            let text = text.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn nothing_is_cut_with_long_names_and_addresses() {
        let mut display = display();
        let long = &mut display.rows[0];
        long.inputs = vec!["rtp://@[ff3e:30:3ffe:ffff:1:2:3:4]:50000?if=enp0s31f6".to_owned(); 2];
        long.name = "the-camera-above-the-main-entrance-of-the-building".to_owned();
        (long.lost, long.recovered, long.clients) = (9_876_543_210, u64::MAX, 100_000);
        long.reasons = vec!["a long reason that goes on and on ".repeat(5).trim_end().to_owned()];
        let text = drawn(80, 24, &mut display);
        for part in [
            "[ff3e:30:3ffe:ffff:1:2:3:4]:50000?if=enp0s31f6",
            "lost  recovered  clients",
            "9877M",
            "100000",
            "the-camera-above-th…",
            "  the-camera-above-the-main-entrance-of-the-building",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert_eq!(text.matches("reason").count(), 5, "{text}");
    }

    #[test]
    fn any_size_is_drawn_and_no_channel_is_said() {
        for (width, height) in [(0, 0), (1, 1), (2, 2), (10, 5), (20, 60), (300, 3)] {
            drawn(width, height, &mut display());
        }
        let empty = drawn(80, 24, &mut Display::default());
        assert!(empty.contains("0 channels") && empty.contains("groups on demand appear here"), "{empty}");
    }

    #[test]
    fn many_channels_scroll() {
        let rows = (0..64).map(|n| row(&format!("camera-{n:02}"), Health::Ok, &[])).collect();
        let mut display = Display { rows, ..Display::default() };
        let text = drawn(80, 24, &mut display);
        assert!(
            text.contains(" 1 to 16 of 64 ") && text.contains("camera-15") && !text.contains("camera-16")
        );
        display.press(Key::Scroll(1));
        display.press(Key::Page(1));
        assert!(drawn(80, 24, &mut display).contains(" 18 to 33 of 64 "));
        display.press(Key::Last);
        display.press(Key::Scroll(1));
        let text = drawn(80, 24, &mut display);
        assert!(text.contains("camera-63") && text.contains(" 64 to 64 of 64 "), "{text}");
        display.press(Key::First);
        assert!(drawn(80, 24, &mut display).contains("camera-00"));
    }

    #[test]
    fn log_lines_are_shown_without_date_and_colour() {
        for (line, expected) in [
            ("2026-11-30T20:24:05.123456Z  INFO tidecast: joined\n", "20:24:05 INFO tidecast: joined"),
            ("\u{1b}[2m2026-11-30T20:24:05.1Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m a\n", "20:24:05 INFO a"),
            ("tidecast: ready: 1 channel\n", "tidecast: ready: 1 channel"),
            ("umlauts, üüüüüüüüüüü, and a\ttab", "umlauts, üüüüüüüüüüü, and a tab"),
            ("\u{1b}", ""),
        ] {
            assert_eq!(shortened(line), expected);
        }
    }
}
