//! Progress of a command: one line at the bottom of standard error, if that is a terminal.
//!
//! A thread draws it, so that a slow terminal delays nothing else.

use std::{
    io::{self, IsTerminal, Write as _},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use ratatui::crossterm::terminal::size;

use super::{Shown, grid::columns_of};
use crate::limits::{PROGRESS_INTERVAL, TERMINAL_PATIENCE};

/// Steps of a full bar: more than it has columns.
const STEPS: u64 = 1000;
/// Plain ASCII, which every terminal and every font has.
const SPINNER: &str = "-\\|/ ";
const BAR: &str = "=> ";

/// The lines at the bottom of the terminal, once there are any.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Whether commands may show progress.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Lets commands show progress, if standard error is a terminal that can.
pub fn allow() {
    ALLOWED.store(true, Relaxed);
}

/// The bottom of the terminal; `None` if standard error is none that can move its cursor.
fn bars() -> Option<&'static MultiProgress> {
    let named = std::env::var_os("TERM").is_some_and(|name| name != "dumb");
    if !named || !io::stderr().is_terminal() {
        return None;
    }
    let target = || ProgressDrawTarget::term_like(Box::<Bottom>::default());
    let bars = BARS.get_or_init(|| MultiProgress::with_draw_target(target()));
    (!bars.is_hidden()).then_some(bars)
}

/// Standard error, which gets each frame at once. It is narrower than the terminal: what is typed,
/// such as `^C`, has room behind the last line, and does not begin another one, which nobody would
/// remove.
#[derive(Debug, Default)]
struct Bottom(Mutex<Drawn>);

#[derive(Debug, Default)]
struct Drawn {
    frame: String,
    /// Column of the cursor.
    column: usize,
}

/// Columns that are left for what is typed.
const TYPED: u16 = 4;

impl Bottom {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the cursor, in the direction of an ANSI escape sequence.
    fn go(&self, count: usize, direction: char) -> io::Result<()> {
        if count > 0 {
            self.drawn().frame.push_str(&format!("\x1b[{count}{direction}"));
        }
        Ok(())
    }
}

impl TermLike for Bottom {
    fn width(&self) -> u16 {
        size().map_or(80, |(columns, _)| columns).saturating_sub(TYPED).max(1)
    }

    fn height(&self) -> u16 {
        size().map_or(24, |(_, rows)| rows)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.go(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.go(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.go(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.go(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        let mut drawn = self.drawn();
        drawn.frame.push('\n');
        drawn.column = 0;
        Ok(())
    }

    /// A full line is followed by the next one, as if the terminal had this width.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let width = usize::from(self.width());
        let mut drawn = self.drawn();
        if drawn.column >= width && !text.is_empty() && text != "\r" {
            drawn.frame.push('\n');
            drawn.column = 0;
        }
        drawn.frame.push_str(text);
        drawn.column = if text == "\r" { 0 } else { drawn.column + columns_of(text) };
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        drawn.frame.push_str("\r\x1b[2K");
        drawn.column = 0;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.drawn().frame);
        io::stderr().write_all(frame.as_bytes())
    }
}

/// Writes to standard error above the progress.
pub fn above(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match BARS.get().filter(|bars| !bars.is_hidden()) {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Removes the progress for good.
pub fn give_back() {
    if let Some(bars) = BARS.get() {
        let _ = bars.clear(); // the terminal may be gone
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// The progress of a command; removed when dropped.
#[derive(Debug)]
pub struct Progress {
    stop: Option<mpsc::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Progress {
    /// Shows what `look` returns, several times a second. `None`: progress is not shown here.
    pub fn start(look: impl FnMut() -> Shown + Send + 'static) -> Option<Progress> {
        let bars = bars().filter(|_| ALLOWED.load(Relaxed))?;
        let ((stop, stopped), (end, ended)) = (mpsc::channel(), mpsc::channel());
        let run = move || {
            draw(bars, look, &stopped);
            let _ = end.send(()); // the command may have ended
        };
        thread::Builder::new().name("progress".to_owned()).spawn(run).ok()?;
        Some(Progress { stop: Some(stop), ended })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.ended.recv_timeout(TERMINAL_PATIENCE); // the terminal may take nothing
    }
}

/// Lines at the bottom of the terminal, redrawn in place; removed when dropped.
#[derive(Debug)]
pub struct Lines {
    bars: &'static MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Lines {
    /// `None`: standard output or standard error is no terminal that can show them.
    pub fn open() -> Option<Lines> {
        let bars = bars().filter(|_| io::stdout().is_terminal())?;
        Some(Lines { bars, lines: Vec::new() })
    }

    /// Draws these lines in place of the last ones.
    pub fn set(&mut self, lines: &[String]) {
        while self.lines.len() > lines.len() {
            self.lines.pop().inspect(|line| self.bars.remove(line));
        }
        while self.lines.len() < lines.len() {
            let style = ProgressStyle::with_template("{wide_msg}").expect("a valid template");
            self.lines.push(self.bars.add(ProgressBar::no_length().with_style(style)));
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            bar.set_message(line.clone());
            bar.tick();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.bars.clear(); // the terminal may be gone
        self.lines.iter().for_each(|line| self.bars.remove(line));
    }
}

/// Draws until the sender of `stopped` is gone.
fn draw(bars: &MultiProgress, mut look: impl FnMut() -> Shown, stopped: &mpsc::Receiver<()>) {
    let mut bar = None;
    while stopped.recv_timeout(PROGRESS_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
        let Shown { share, text } = look();
        // Added with its first text, so that it is never shown without.
        let bar = bar.get_or_insert_with(|| bars.add(ProgressBar::new(STEPS).with_style(style(share))));
        bar.set_position(share.map_or(0, |share| (share.clamp(0.0, 1.0) * STEPS as f64) as u64));
        bar.set_message(text);
        bar.tick();
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// A bar where the share that is done is known, and a spinner where not.
fn style(share: Option<f64>) -> ProgressStyle {
    let template = match share {
        Some(_) => "[{bar:12}] {percent:>3}%  {wide_msg}",
        None => "{spinner} {wide_msg}",
    };
    let style = ProgressStyle::with_template(template).expect("a valid template");
    style.progress_chars(BAR).tick_chars(SPINNER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        style(None);
        style(Some(0.5));
    }
}
