//! A reader who follows a guide, in a folder that looks like a clone of the repository, on a
//! separate network, so that the ports of the guide are free. What the reader sees is what
//! terminals of 80 columns show.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tidecast_testkit::terminal::Terminal;

use crate::{
    common::now,
    guide::{Step, steps},
    shown,
};

/// Time that a reader takes from one step to the next.
const PACE: Duration = Duration::from_secs(3);

/// Interval at which a reader repeats a command, where the guide says that it takes a while.
const AGAIN: Duration = Duration::from_secs(1);

/// Rows and columns of a reader's terminal.
const SIZE: (u16, u16) = (24, 80);

/// What the test knows about a command, and the guide does not say.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    /// What must be shown by a command that goes on, where the guide shows nothing, or figures that
    /// differ from run to run.
    pub(crate) promised: Option<&'static str>,
    /// Why the command is left out.
    pub(crate) left_out: Option<&'static str>,
}

/// Follows a guide.
pub(crate) fn follow(guide: &str, known: fn(&str) -> Known) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let markdown = fs::read_to_string(root.join(guide)).expect("the guide");
    let mut reader = Reader::new(root, guide, known);
    for step in steps(&markdown) {
        println!("{guide}, {:.0?}: {step:?}", reader.began.elapsed());
        match step.script().and_then(|script| known(script).left_out) {
            Some(why) => println!("LEFT OUT: {why}"),
            None => reader.take(step),
        }
    }
    reader.close_all();
}

struct Reader {
    namespace: Namespace,
    root: PathBuf,
    folder: tempfile::TempDir,
    /// Where the terminals are recorded.
    recordings: PathBuf,
    /// Count of terminals opened so far.
    opened: usize,
    terminals: BTreeMap<String, Terminal>,
    known: fn(&str) -> Known,
    began: std::time::Instant,
}

impl Reader {
    fn new(root: &Path, guide: &str, known: fn(&str) -> Known) -> Reader {
        let folder = tempfile::tempdir().expect("a folder");
        for part in ["docs", "fixtures", "deploy"] {
            symlink(root.join(part), folder.path().join(part)).expect("a link");
        }
        put_vlc(&folder.path().join("bin"));
        let name = Path::new(guide).file_stem().expect("a name");
        let recordings = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recordings").join(name);
        if recordings.exists() {
            fs::remove_dir_all(&recordings).expect("the recordings of the last run");
        }
        fs::create_dir_all(&recordings).expect("a folder");
        let (root, terminals, began) = (root.to_owned(), BTreeMap::new(), now());
        Reader { namespace: Namespace::new(), root, folder, recordings, opened: 0, terminals, known, began }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write { file, text } => fs::write(self.folder.path().join(file), text).expect("a file"),
            Step::Type { script, shown, within } => self.type_in(&script, shown.as_deref(), within),
            Step::Start { terminal, script, shown } => self.start(&terminal, &script, shown.as_deref()),
            Step::Interrupt { terminal } => self.interrupt(&terminal),
            Step::CloseAll => self.close_all(),
            Step::Open { file, shown } => {
                let page = self.folder.path().join(file);
                let opener = self.root.join("tests/guides/open.mjs");
                let script = format!("node '{}' 'file://{}'", opener.display(), page.display());
                self.type_in(&script, Some(&shown), Duration::ZERO);
            }
        }
    }

    /// Starts a program in a terminal of its own, and waits until it shows what it should.
    fn start(&mut self, terminal: &str, script: &str, shown: Option<&str>) {
        self.interrupt(terminal);
        let opened = self.open(script);
        match ((self.known)(script).promised, shown) {
            (Some(promised), _) => opened.wait_until(promised, |text| text.contains(promised)),
            (None, Some(shown)) => opened.wait_until(shown, |text| shown::missing(shown, text).is_none()),
            (None, None) => {}
        }
        self.terminals.insert(terminal.to_owned(), opened);
    }

    /// Types a script, which must succeed and show what it should.
    fn type_in(&mut self, script: &str, shown: Option<&str>, within: Duration) {
        thread::sleep(PACE);
        let start = now();
        loop {
            let mut terminal = self.open(script);
            let status = terminal.script.wait();
            let text = terminal.text();
            let missing = shown.and_then(|shown| shown::missing(shown, &text));
            match (status.success(), missing) {
                (true, None) => return,
                (true, Some(_)) if start.elapsed() < within => thread::sleep(AGAIN),
                (_, missing) => panic!(
                    "{script}\nended with {status}, without the line {missing:?}, and showed:\n{text}\n{}",
                    self.terminals
                        .iter()
                        .map(|(name, t)| format!("{name}:\n{}\n", t.text()))
                        .collect::<String>()
                ),
            }
        }
    }

    /// Opens a terminal on the reader's network, in the clone: the repository itself for cargo,
    /// whose target folder is there, and a copy for what writes files.
    fn open(&mut self, script: &str) -> Terminal {
        self.opened += 1;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0]);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_tidecast"));
        let folders = [program.parent().expect("a folder"), &self.folder.path().join("bin")];
        let others = env::var("PATH").expect("PATH");
        let path = format!("{}:{}:{others}", folders[0].display(), folders[1].display());
        let folder = if script.starts_with("cargo ") { &self.root } else { self.folder.path() };
        command.env("PATH", path).current_dir(folder);
        let recording = self.recordings.join(format!("{:02}", self.opened));
        fs::write(recording.with_extension("sh"), script).expect("a file");
        let typed = format!("exec bash -eu '{}.sh'", recording.display());
        Terminal::open(command, SIZE, &typed, &recording)
    }

    /// Types Ctrl-C in a terminal, which must end every program of a guide.
    fn interrupt(&mut self, terminal: &str) {
        if let Some(mut terminal) = self.terminals.remove(terminal) {
            terminal.press("\x03");
            let status = terminal.script.wait();
            let ended = status.success() || status.code() == Some(INTERRUPTED);
            assert!(ended, "ended with {status}:\n{}", terminal.text());
        }
    }

    fn close_all(&mut self) {
        let names: Vec<String> = self.terminals.keys().cloned().collect();
        names.iter().for_each(|name| self.interrupt(name));
    }
}

/// Puts VLC into a folder as it runs without a screen. It refuses to run as root.
fn put_vlc(folder: &Path) {
    let vlc = "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent \
               cvlc -I dummy --vout vdummy --aout adummy --no-dbus --verbose 2 \"$@\"\n";
    fs::create_dir(folder).expect("a folder");
    fs::write(folder.join("vlc"), vlc).expect("a file");
    fs::set_permissions(folder.join("vlc"), fs::Permissions::from_mode(0o755)).expect("its owner");
}

/// Exit code of a program that Ctrl-C ended, as a shell reports it.
const INTERRUPTED: i32 = 130;

/// A network with nothing but loopback; deleted at the end, also of a test that panics.
struct Namespace(String);

impl Namespace {
    fn new() -> Namespace {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let namespace = Namespace(format!("tidecast-guide-{}-{number}", std::process::id()));
        ip(&["netns", "add", &namespace.0]);
        ip(&["-n", &namespace.0, "link", "set", "lo", "up"]);
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("cannot delete the network namespace {}", self.0);
        }
    }
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().expect("ip");
    assert!(status.success(), "ip {args:?}: {status}");
}
