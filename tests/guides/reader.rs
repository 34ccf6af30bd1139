//! A reader who follows a guide, in a folder that looks like a clone of the repository, on a
//! separate network, so that the ports of the guide are free.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    common::{PATIENCE, now, until},
    guide::{Step, steps},
    shown,
};

/// Maximum time until the output that a guide shows must be there; Prometheus's second scrape
/// comes after 30 s.
const READERS_PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn follow(guide: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let markdown = fs::read_to_string(root.join(guide)).expect("the guide");
    let mut reader = Reader::new(root);
    for step in steps(&markdown) {
        println!("{guide}: {step:?}");
        reader.take(step);
    }
    reader.leave();
}

struct Reader {
    namespace: Namespace,
    folder: tempfile::TempDir,
    terminals: BTreeMap<String, Terminal>,
}

impl Reader {
    fn new(root: &Path) -> Reader {
        let folder = tempfile::tempdir().expect("a folder");
        for part in ["docs", "fixtures", "deploy"] {
            symlink(root.join(part), folder.path().join(part)).expect("a link");
        }
        Reader { namespace: Namespace::new(), folder, terminals: BTreeMap::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write { file, text } => fs::write(self.folder.path().join(file), text).expect("a file"),
            Step::Type { script, shown } => self.type_in(&script, shown.as_deref()),
            Step::Start { terminal, script, shown } => {
                self.interrupt(&terminal);
                let opened = Terminal::open(self.shell(&script));
                if let Some(shown) = shown {
                    opened.wait_for(&shown);
                }
                self.terminals.insert(terminal, opened);
            }
            Step::Interrupt { terminal } => self.interrupt(&terminal),
            Step::Open { file, shown } => {
                let page = self.folder.path().join(file);
                let profile = self.folder.path().join("chromium");
                let script = format!(
                    "chromium --headless --no-sandbox --disable-gpu --user-data-dir={} --timeout=4000 --dump-dom file://{}",
                    profile.display(),
                    page.display()
                );
                self.type_in(&script, Some(&shown));
            }
        }
    }

    /// Runs the script, and repeats it while its output is not the expected one, because some
    /// state appears only after a while.
    fn type_in(&self, script: &str, shown: Option<&str>) {
        let start = now();
        loop {
            let output = self.shell(script).output().expect("bash");
            let text = String::from_utf8_lossy(&output.stdout);
            let missing = shown.and_then(|shown| shown::missing(shown, &text));
            match (output.status.success(), missing) {
                (true, None) => return,
                (_, Some(_)) if start.elapsed() < READERS_PATIENCE => {
                    thread::sleep(Duration::from_millis(500))
                }
                (_, missing) => panic!(
                    "{script}\nended with {}, without the line {missing:?}, and showed:\n{text}\n{}",
                    output.status,
                    self.terminals
                        .iter()
                        .map(|(name, t)| format!("{name}:\n{}\n", t.text()))
                        .collect::<String>()
                ),
            }
        }
    }

    /// Returns a shell on the reader's network and in its folder, in which an error ends the
    /// script.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0, "timeout", "--foreground", "120", "bash", "-eu"]);
        command.args(["-c", &format!("exec 2>&1\n{script}")]);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_tidecast"));
        let path =
            format!("{}:{}", program.parent().expect("a folder").display(), env::var("PATH").expect("PATH"));
        command.env("PATH", path).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn interrupt(&mut self, terminal: &str) {
        if let Some(mut terminal) = self.terminals.remove(terminal) {
            terminal.interrupt();
        }
    }

    /// Sends Ctrl-C to each terminal, which must end every program that a guide starts.
    fn leave(mut self) {
        for terminal in self.terminals.values_mut() {
            terminal.interrupt();
        }
    }
}

/// A long-running program, and its output so far.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(mut shell: Command) -> Terminal {
        let mut child = shell.process_group(0).stdout(Stdio::piped()).spawn().expect("bash");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let shown = Arc::new(Mutex::new(String::new()));
        let into = shown.clone();
        thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let mut text = into.lock().expect("no panic");
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        });
        Terminal { child, shown }
    }

    fn text(&self) -> String {
        self.shown.lock().expect("no panic").clone()
    }

    fn wait_for(&self, shown: &str) {
        let start = now();
        while let Some(line) = shown::missing(shown, &self.text()) {
            assert!(start.elapsed() < PATIENCE, "{line:?} was not shown, but:\n{}", self.text());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn interrupt(&mut self) {
        self.signal(Signal::SIGINT);
        until("the end after Ctrl-C", || self.child.try_wait().expect("wait"));
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        let _ = killpg(group, signal); // it may have ended already
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

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
