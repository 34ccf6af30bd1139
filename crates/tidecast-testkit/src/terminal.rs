//! A terminal, in which bash runs a line: a pseudo terminal of script(1), which records what is
//! shown, and an emulated screen.

use std::{
    fs::{self, File},
    io::Write,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use crate::common::{PATIENCE, Running, now, until};

/// Interval between two looks at a terminal.
const LOOK: Duration = Duration::from_millis(20);

/// Count of lines to which a reader can scroll back.
const LINES: u16 = 2_000;

/// A terminal, and the program in it. Both are killed when dropped.
pub struct Terminal {
    pub script: Running,
    /// Everything that was written to the terminal.
    written: PathBuf,
    rows: u16,
    columns: u16,
}

impl Terminal {
    /// Opens a terminal, in which bash runs `line`. `inside` is a command that runs the command
    /// that its further arguments are, such as `env` or `ip netns exec NAME`. The recording goes
    /// to `RECORDING.log`, and its timing to `RECORDING.timing`, which scriptreplay(1) plays.
    pub fn open(mut inside: Command, (rows, columns): (u16, u16), line: &str, recording: &Path) -> Terminal {
        let file = |end: &str| recording.with_extension(end);
        let written = file("screen");
        // A shell starts programs in the background with SIGINT ignored, and the tests inherit
        // that. Other shells than bash end with SIGINT where the program in them handled it.
        inside.args(["env", "--default-signal=INT,QUIT", "-u", "NO_COLOR"]);
        inside.args(["SHELL=/bin/bash", "TERM=xterm-256color", "script", "--quiet", "--return", "--flush"]);
        inside.arg("--log-timing").arg(file("timing")).arg("--log-out").arg(file("log"));
        inside.arg("--command").arg(format!("stty rows {rows} cols {columns}; {line}"));
        inside.stdout(File::create(&written).expect("a file"));
        Terminal { script: Running::start_with_input(inside), written, rows, columns }
    }

    /// Types keys. A program that has ended does not read them.
    pub fn press(&self, keys: &str) {
        let mut keyboard = self.script.child.stdin.as_ref().expect("piped");
        let _ = keyboard.write_all(keys.as_bytes());
    }

    /// Returns all bytes written to the terminal so far.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.written).expect("what was written")
    }

    /// Returns an emulated screen of so many rows after `bytes` were written to it.
    fn emulated(&self, rows: u16, bytes: &[u8]) -> vt100::Parser {
        let size = |count| NonZero::new(count).expect("not 0");
        let mut terminal = vt100::Parser::new(size(rows), size(self.columns), 0);
        terminal.process(bytes);
        terminal
    }

    /// Returns the rows of the screen, without the empty ones at its end.
    pub fn screen(&self) -> String {
        self.rows(&self.bytes())
    }

    /// Returns the rows of a screen after `bytes` were written to it, without the empty ones at
    /// its end.
    pub fn rows(&self, bytes: &[u8]) -> String {
        let terminal = self.emulated(self.rows, bytes);
        let rows = terminal.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned() + "\n");
        rows.collect::<String>().trim_end().to_owned()
    }

    /// Returns what a reader sees when scrolling back; lines that the terminal broke are whole.
    pub fn text(&self) -> String {
        self.emulated(LINES, &self.bytes()).screen().contents()
    }

    /// Waits for a text on the screen; returns the screen.
    pub fn wait_for(&self, text: &str) -> String {
        until(text, || Some(self.screen()).filter(|screen| screen.contains(text)))
    }

    /// Waits until the text meets a condition.
    pub fn wait_until(&self, what: &str, mut shown: impl FnMut(&str) -> bool) {
        let start = now();
        while !shown(&self.text()) {
            assert!(start.elapsed() < PATIENCE, "{what} was not shown, but:\n{}", self.text());
            thread::sleep(LOOK);
        }
    }

    /// Returns how the program ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.script.child.try_wait().expect("wait")
    }

    /// Waits for the end. The terminal is as it was before: the cursor is visible, at the
    /// beginning of a line.
    pub fn end(&mut self) -> ExitStatus {
        let status = self.script.wait();
        let terminal = self.emulated(self.rows, &self.bytes());
        let (screen, text) = (terminal.screen(), self.screen());
        assert!(!screen.hide_cursor() && !screen.alternate_screen(), "{text}");
        assert_eq!(screen.cursor_position().1, 0, "{text}");
        status
    }
}
