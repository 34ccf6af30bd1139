//! A full screen on standard output, with keys from standard input. Log lines are kept meanwhile
//! and printed after it, if they went to the same terminal.
//!
//! The terminal is restored when the screen is dropped, after a panic, and by [`give_back`].

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Stdout, Write},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

use crate::limits::KEPT_LINES_MAX;

/// State of the process's only screen.
static STATE: Mutex<State> = Mutex::new(State { open: false, kept: VecDeque::new(), missing: 0 });

#[derive(Debug)]
struct State {
    open: bool,
    /// Lines since the screen was opened, the newest last.
    kept: VecDeque<Vec<u8>>,
    /// Count of older lines that were not kept.
    missing: u64,
}

fn state() -> MutexGuard<'static, State> {
    // Plain lines, which a panic cannot leave inconsistent.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a screen can be shown, with keys; otherwise what is missing.
pub fn available() -> Result<(), &'static str> {
    match (io::stdout().is_terminal(), io::stdin().is_terminal()) {
        (false, _) => Err("standard output"),
        (true, false) => Err("standard input"),
        (true, true) => Ok(()),
    }
}

/// Keeps lines for the time after the screen. `false`: no screen is shown, or standard error is no
/// terminal, so that the caller writes them.
pub fn keeps(lines: &[u8]) -> bool {
    let mut state = state();
    if state.open {
        state.kept.push_back(lines.to_vec());
        if state.kept.len() > KEPT_LINES_MAX {
            state.kept.pop_front();
            state.missing += 1;
        }
    }
    state.open && io::stderr().is_terminal()
}

/// The newest `count` lines since the screen was opened, in order of time.
pub fn newest(count: usize) -> Vec<String> {
    let state = state();
    let lines = state.kept.iter().skip(state.kept.len().saturating_sub(count));
    lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Restores the terminal, if a screen is shown, and prints the lines that were kept.
pub fn give_back() {
    let mut state = state();
    if !std::mem::replace(&mut state.open, false) {
        return;
    }
    // Errors mean that the terminal is gone.
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let kept = std::mem::take(&mut state.kept);
    if !io::stderr().is_terminal() {
        return;
    }
    let mut err = io::stderr().lock();
    let missing = std::mem::take(&mut state.missing);
    if missing > 0 {
        let _ = writeln!(err, "tidecast: {missing} older log lines were not kept");
    }
    let _ = kept.iter().try_for_each(|line| err.write_all(line));
}

/// The terminal while a screen is shown.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// q or Esc.
    Quit,
    /// Ctrl-C, which is no signal on a screen.
    Interrupt,
    /// Scrolls by so many lines, down if positive.
    Scroll(isize),
    /// Scrolls by so many pages.
    Page(isize),
    /// The beginning of what scrolls.
    First,
    /// Its end.
    Last,
    /// Something has changed, such as the size of the terminal.
    Other,
}

impl Screen {
    /// Switches the terminal to a screen of its own.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub fn open() -> io::Result<Screen> {
        restore_after_panics();
        state().open = true;
        let opened = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        opened.map(|terminal| Screen { terminal }).inspect_err(|_| give_back())
    }

    /// Whether it is still shown: it may have been given back.
    pub fn is_open(&self) -> bool {
        state().open
    }

    /// Draws one frame.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(drop)
    }

    /// Waits for a key. `None`: there was none in this time.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn key(&mut self, patience: Duration) -> io::Result<Option<Key>> {
        if !event::poll(patience)? {
            return Ok(None);
        }
        Ok(Some(meaning(&event::read()?)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn meaning(event: &Event) -> Key {
    let Event::Key(key) = event else { return Key::Other };
    match key.code {
        _ if key.kind == KeyEventKind::Release => Key::Other,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('j') | KeyCode::Down => Key::Scroll(1),
        KeyCode::Char('k') | KeyCode::Up => Key::Scroll(-1),
        KeyCode::Char(' ') | KeyCode::PageDown => Key::Page(1),
        KeyCode::Char('b') | KeyCode::PageUp => Key::Page(-1),
        KeyCode::Char('g') | KeyCode::Home => Key::First,
        KeyCode::Char('G') | KeyCode::End => Key::Last,
        _ => Key::Other,
    }
}

/// A panic is printed to the terminal as it was before the screen.
fn restore_after_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}
