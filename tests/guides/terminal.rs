//! A terminal of 80 columns in which a reader types: a shell under script(1), which records what is
//! shown.

use std::{
    fs,
    io::Write,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use crate::common::{PATIENCE, now, until};

/// Interval between two looks at a terminal.
const LOOK: Duration = Duration::from_millis(100);

/// Columns of a terminal, and how many lines can be scrolled back.
const COLUMNS: NonZero<u16> = NonZero::new(80).expect("not 0");
const LINES: NonZero<u16> = NonZero::new(2_000).expect("not 0");

/// A terminal, and the program in it.
pub(crate) struct Terminal {
    child: Child,
    recording: PathBuf,
}

impl Terminal {
    /// Opens a terminal and types a script, in which an error ends it. `inside` is the command that
    /// runs the terminal; the recording goes to `NAME.log`, and its timing to `NAME.timing`, which
    /// scriptreplay(1) plays.
    pub(crate) fn open(mut inside: Command, script: &str, folder: &Path, name: &str) -> Terminal {
        let file = |end: &str| folder.join(format!("{name}.{end}"));
        fs::write(file("sh"), script).expect("a file");
        let typed = format!("stty rows 24 cols {COLUMNS}; exec bash -eu '{}'", file("sh").display());
        // A shell starts programs in the background with SIGINT ignored, and the tests inherit
        // that.
        inside.args(["env", "--default-signal=INT,QUIT", "script"]).args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            &typed,
        ]);
        inside.arg("--log-timing").arg(file("timing")).arg("--log-out").arg(file("log"));
        let child = inside.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script");
        Terminal { child, recording: file("log") }
    }

    /// Returns what a reader sees when scrolling back.
    pub(crate) fn text(&self) -> String {
        let recorded = fs::read(&self.recording).unwrap_or_default(); // not created yet
        let mut screen = vt100::Parser::new(LINES, COLUMNS, 0);
        let heading = recorded.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1); // of script(1)
        screen.process(&recorded[heading..]);
        screen.screen().contents()
    }

    /// Returns how the script ended, or `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits until the script ends.
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the end of a command", || self.ended())
    }

    /// Waits until its text meets a condition.
    pub(crate) fn wait_for(&self, what: &str, mut shown: impl FnMut(&str) -> bool) {
        let start = now();
        while !shown(&self.text()) {
            assert!(start.elapsed() < PATIENCE, "{what} was not shown, but:\n{}", self.text());
            thread::sleep(LOOK);
        }
    }

    /// Types Ctrl-C, and waits for the end.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        let mut keyboard = self.child.stdin.as_ref().expect("piped");
        let _ = keyboard.write_all(b"\x03"); // it may have ended already
        self.end()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill(); // the terminal hangs up, and so ends what is in it
            let _ = self.child.wait();
        }
    }
}
