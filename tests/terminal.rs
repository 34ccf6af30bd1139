//! The program in a terminal: progress, full screens and log lines, on a pseudo terminal whose
//! screen is emulated; and that none of it is in pipes.

use std::{
    fs,
    ops::{Deref, DerefMut},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tidecast_testkit::{
    common::{Running, binary, free_port, group, have, tidecast, until},
    terminal,
};

/// A terminal in which a shell runs a line.
struct Terminal {
    inner: terminal::Terminal,
    /// Where it is recorded.
    _folder: tempfile::TempDir,
}

impl Deref for Terminal {
    type Target = terminal::Terminal;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Terminal {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl Terminal {
    /// Runs the line; `tidecast` in it is the program.
    fn start(rows: u16, columns: u16, line: &str) -> Terminal {
        let folder = tempfile::tempdir().expect("a folder");
        let line = line.replace("tidecast ", &program());
        let recording = folder.path().join("terminal");
        let inner = terminal::Terminal::open(Command::new("env"), (rows, columns), &line, &recording);
        Terminal { inner, _folder: folder }
    }

    /// Waits for the end; returns the exit code and the screen.
    fn end(&mut self) -> (Option<i32>, String) {
        (self.inner.end().code(), self.screen())
    }
}

fn program() -> String {
    format!("{} ", binary().display())
}

/// A sender, which says nothing until its end.
fn started<const N: usize>(args: [&str; N]) -> Running {
    Running::start(tidecast(args))
}

fn fixture() -> String {
    format!("{}/fixtures/test.ts", env!("CARGO_MANIFEST_DIR"))
}

/// An output and the input that receives it.
fn address() -> (String, String) {
    let (group, port) = (group(), free_port());
    (format!("udp://{group}:{port}?if=127.0.0.1&ttl=0"), format!("udp://@{group}:{port}?if=127.0.0.1"))
}

/// The lines, without the numbers that differ from run to run.
fn shape(text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let mut shorter = text.replace('\r', "").trim_end().to_owned();
    while shorter.contains("00") {
        shorter = shorter.replace("00", "0");
    }
    shorter
}

#[test]
fn a_file_shows_how_far_it_is_and_leaves_its_summary_alone() {
    if !have("script") {
        return;
    }
    let (output, _) = address();
    let line = format!("tidecast send --file {} --for 2s '{output}'", fixture());
    let mut terminal = Terminal::start(24, 80, &line);
    let shown = terminal.wait_for(" left");
    let bar = shown.lines().last().expect("a line");
    assert!(bar.starts_with('[') && bar.contains("%  ") && bar.contains(" kB of 4"), "{shown}");
    assert!(bar.contains("bit/s") && bar.len() <= 80, "{shown}");
    let (code, text) = terminal.end();
    let piped = tidecast(["send", "--file", &fixture(), "--for", "2s", &output]).output().expect("tidecast");
    assert_eq!(code, Some(0));
    assert!(text.starts_with("sending to ") && text.lines().count() <= 4, "{text}");
    let piped = String::from_utf8(piped.stderr).expect("text");
    let joined = |text: &str| shape(text).replace(['\n', ' '], "");
    assert_eq!(joined(&text), joined(&piped));
}

#[test]
fn a_pipe_has_no_end_and_rounds_are_counted() {
    if !have("script") {
        return;
    }
    let (output, _) = address();
    let line = format!("cat {} - | tidecast send --file - --rate 800k '{output}'", fixture());
    let mut terminal = Terminal::start(24, 80, &line);
    let shown = terminal.wait_for("datagrams, ");
    assert!(!shown.contains('%') && !shown.contains("left"), "{shown}");
    terminal.press("\u{3}");
    let (code, text) = terminal.end();
    assert!(text.contains("sent to ") && !text.contains("bit/s, 0:"), "{text}");
    assert_eq!(code, Some(0), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("short");
    fs::write(&short, [7; 100_000]).expect("a file");
    let line = format!("tidecast send --file {} --rate 1M --loop '{output}'", short.display());
    let mut terminal = Terminal::start(24, 80, &line);
    let shown = terminal.wait_for("round 2");
    assert!(shown.contains(" of 100 kB, round 2, "), "{shown}");
    terminal.press("\u{3}");
    let (_, text) = terminal.end();
    assert!(text.contains("sent to ") && !text.contains("round"), "{text}");
}

#[test]
fn log_lines_and_progress_do_not_tear_each_other() {
    if !have("script") {
        return;
    }
    let (output, _) = address();
    // A sender that was stopped logs that it does not catch up.
    let line = format!(
        "TIDECAST_LOG=debug tidecast send --file {} --loop --for 5s '{output}' & sender=$!; \
         for i in 1 2 3 4 5 6 7 8; do sleep 0.2; kill -STOP $sender; sleep 0.3; kill -CONT $sender; done; wait",
        fixture()
    );
    let mut terminal = Terminal::start(400, 250, &line);
    let logged =
        |line: &str| line.starts_with("20") && line.contains("Z ") && line.ends_with(": not caught up");
    // At each moment all lines are whole, and the last one may be the progress.
    let mut bars = 0;
    while terminal.ended().is_none() {
        let bytes = terminal.bytes();
        // Not in the middle of what is being written.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = terminal.rows(&bytes[..end]);
        for line in text.lines() {
            assert!(
                logged(line)
                    || is_bar(line)
                    || ["sending to ", "sent to "].iter().any(|of| line.starts_with(of)),
                "torn: {line:?} in\n{text}"
            );
        }
        let shown = terminal.screen();
        assert!(shown.lines().filter(|line| is_bar(line)).count() <= 1, "{shown}");
        bars += usize::from(shown.lines().last().is_some_and(is_bar));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(bars > 10, "{bars}");
    let (_, text) = terminal.end();
    assert!(!text.lines().any(is_bar), "{text}");
    assert!(text.lines().filter(|line| logged(line)).count() >= 5, "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("sent to ")), "{text}");
}

fn is_bar(line: &str) -> bool {
    line.starts_with('[') && line.contains("%  ")
}

#[test]
fn nothing_is_shown_where_it_is_not_wanted() {
    if !have("script") {
        return;
    }
    let (output, input) = address();
    let _sender = started(["send", "--sensor", "1", "--interval", "20ms", &output]);
    for line in [
        format!("tidecast recv '{input}' --for 1s -q"),
        format!("tidecast recv '{input}' --for 1s --log-format json"),
        format!("TERM=dumb tidecast recv '{input}' --for 1s"),
        format!("tidecast recv '{input}' --for 1s 2>&1 | cat"),
        format!("tidecast recv '{input}' --for 1s -o - >/dev/null"),
        format!("tidecast impair '{input}' --to udp://127.0.0.1:9 --for 1s -q"),
    ] {
        let mut terminal = Terminal::start(24, 200, &line);
        terminal.end();
        let bytes = terminal.bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains('\u{1b}') && !text.contains("left"), "{line}: {text:?}");
    }
}

#[test]
fn a_link_and_a_probe_show_what_they_do() {
    if !have("script") {
        return;
    }
    let (output, input) = address();
    let _sender = started(["send", "--sensor", "10", "--interval", "10ms", &output]);
    let line = format!("tidecast impair '{input}' --to udp://127.0.0.1:9 --loss 10% --delay 50ms --for 2s");
    let mut terminal = Terminal::start(24, 80, &line);
    terminal.wait_for("ready: ");
    let shown = terminal.wait_for("passed 1");
    let bar = shown.lines().last().expect("a line");
    assert!(is_bar(bar) && bar.contains(", dropped ") && bar.ends_with(" left"), "{shown}");
    assert!(bar.contains("delayed "), "{shown}");
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.contains("forwarded") && !text.contains(" left"), "{text}");

    // The report goes to a program, so there is no screen for it.
    let line = format!("tidecast probe '{input}' --for 3s --json | wc -l");
    let mut terminal = Terminal::start(24, 80, &line);
    let shown = terminal.wait_for("packets/s");
    assert!(shown.lines().any(|line| is_bar(line) && line.contains(" left, ")), "{shown}");
    let (_, text) = terminal.end();
    assert!(text.trim_end().ends_with('1') && !text.contains("packets/s"), "{text}");
}

#[test]
fn a_silent_group_has_its_causes_on_the_screen_at_once() {
    if !have("script") {
        return;
    }
    let (_, input) = address();
    let mut terminal = Terminal::start(24, 80, &format!("tidecast probe '{input}' --for 1m"));
    let shown = terminal.wait_for("the likeliest causes");
    assert!(shown.contains("nothing in ") && shown.contains("nobody sends to "), "{shown}");
    assert!(shown.contains("a firewall drops it") && shown.contains(" left "), "{shown}");
    terminal.press("q");
    let (code, text) = terminal.end();
    assert!(code == Some(1) && text.contains("error: nothing came from "), "{text}");
}

/// A relay with a view of two channels, one of them silent.
fn watched(more: &str) -> (Terminal, Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relay.toml");
    let ((output, input), (_, silent)) = (address(), address());
    let channel = |name: &str, input: &str| format!("[[channel]]\nname = \"{name}\"\ninput = \"{input}\"\n");
    let text = format!(
        "http.listen = \"127.0.0.1:0\"\n{}{}",
        channel("weather", &input),
        channel("camera-without-a-sender", &silent)
    );
    fs::write(&file, text).expect("a file");
    let sender = started(["send", "--sensor", "10", "--interval", "10ms", &output]);
    let line = format!(
        "stty -a >before; tidecast serve relay.toml --watch{more}; code=$?; stty -a >after; exit $code"
    );
    let line = format!("cd {}; {line}", folder.path().display());
    (Terminal::start(24, 80, &line), sender, folder)
}

fn is_as_before(folder: &tempfile::TempDir) {
    let settings = |name| fs::read_to_string(folder.path().join(name)).expect("the terminal's settings");
    assert_eq!(settings("before"), settings("after"));
}

#[test]
fn a_view_shows_the_worst_channel_first_and_q_leaves_the_relay_alone() {
    if !have("script") {
        return;
    }
    let (mut terminal, _sender, folder) = watched("");
    terminal.wait_for("silent    camera");
    let shown = terminal.wait_for("  no packet in the ");
    let line = |text: &str| shown.lines().position(|line| line.contains(text)).expect(text);
    assert!(line("silent    camera") < line("ok        weather"), "{shown}");
    let head = shown.lines().nth(1).expect("a head");
    for column in ["state", "channel", "rate", "lost", "recovered", "clients"] {
        assert!(head.contains(column), "{shown}");
    }
    for text in ["2 channels: 1 silent, 1 ok", "bit/s", "http://127.0.0.1:", "tidecast: ready: 2 channels"] {
        assert!(shown.contains(text), "no {text:?} in\n{shown}");
    }
    assert!(shown.contains("q: leave this view") && shown.contains("j, k: scroll"), "{shown}");
    terminal.wait_for("WARN"); // the log tells of the silence a moment later
    terminal.press("q");
    // What was logged meanwhile is printed, in the order in which it came.
    let shown = terminal.wait_for("the relay goes on; Ctrl-C ends it");
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("no {text:?} in\n{shown}"));
    assert!(at("ready: 2 channels") < at("no packet in the ") && at("no packet in the ") < at("goes on"));
    assert!(terminal.ended().is_none(), "the relay goes on");
    terminal.press("\u{3}");
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.replace('\n', "").contains("was asked to end"), "{code:?} {text}");
    is_as_before(&folder);
}

#[test]
fn ctrl_c_in_a_view_ends_the_relay_in_order() {
    if !have("script") {
        return;
    }
    let (mut terminal, _sender, folder) = watched("");
    terminal.wait_for("2 channels: ");
    terminal.press("\u{3}");
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.contains("ready: 2 channels"), "{code:?} {text}");
    assert!(text.replace('\n', "").contains("was asked to end"), "{text}");
    is_as_before(&folder);
    // Where the log goes to a file, it is there at once and not printed.
    let (mut terminal, _sender, folder) = watched(" 2>log");
    terminal.wait_for("2 channels: ");
    until("the log", || {
        fs::read_to_string(folder.path().join("log")).ok().filter(|log| log.contains("ready: 2 channels"))
    });
    terminal.press("\u{3}");
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.trim().is_empty(), "{code:?} {text}");
}

#[test]
fn a_view_without_a_terminal_is_an_error() {
    for args in [&["serve", "--watch"][..], &["relay", "udp://@239.1.1.1:5000", "--http", "off", "--watch"]] {
        let ended = tidecast(args).stdin(Stdio::null()).output().expect("tidecast");
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: --watch: standard output is no terminal, expected one"), "{error}");
    }
}

#[test]
fn the_demo_draws_its_table_below_the_log() {
    if !have("script") {
        return;
    }
    let mut terminal = Terminal::start(40, 100, "TIDECAST_LOG=debug tidecast demo --http 127.0.0.1:0");
    // The table's last line; its head has the word "rescued", too.
    let shown = terminal.wait_for(" in the protected channels");
    let last: Vec<&str> = shown.lines().rev().take(7).collect();
    assert!(last[0].starts_with("rescued ") && last[6].starts_with("channel "), "{shown}");
    terminal.press("\u{3}");
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.contains("link lost"), "{text}");
    assert!(!text.contains("packets/s  "), "{text}");
}

#[test]
fn a_second_ctrl_c_leaves_no_half_line() {
    if !have("script") {
        return;
    }
    let mut terminal = Terminal::start(40, 100, "tidecast demo --http 127.0.0.1:0");
    terminal.wait_for("rescued ");
    terminal.press("\u{3}");
    thread::sleep(Duration::from_millis(50));
    terminal.press("\u{3}");
    assert_eq!(terminal.script.wait().code(), Some(130));
    let text = terminal.screen();
    assert!(text.contains("end it with Ctrl-C") && !text.contains("packets/s  "), "{text}");
    assert!(!text.contains("link lost"), "it has ended at once: {text}");
}
