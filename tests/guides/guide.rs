//! Extracts the steps of a guide from its Markdown: code blocks by the words after their fence, and
//! by the paragraph before them, as a reader does.
//! | Block | Step |
//! |---|---|
//! | `sh` | typed into a shell; into a terminal that stays open with `# terminal: NAME` as the first line, or after a paragraph that begins with `Terminal NAME` |
//! | `LANGUAGE FILE` | a file to write; of `html`, also a page to open when a `text` block follows |
//! | `text` | what the step before it shows: see [`crate::shown`] |
//!
//! A command is typed once. It is repeated only where the paragraph before says `within N seconds`.
//! A heading of the third level is a new start: all terminals are closed.

use std::time::Duration;

/// One step.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Write { file: String, text: String },
    Open { file: String, shown: String },
    Type { script: String, shown: Option<String>, within: Duration },
    Start { terminal: String, script: String, shown: Option<String> },
    Interrupt { terminal: String },
    CloseAll,
}

impl Step {
    /// What is typed.
    pub(crate) fn script(&self) -> Option<&str> {
        match self {
            Step::Type { script, .. } | Step::Start { script, .. } => Some(script),
            _ => None,
        }
    }
}

pub(crate) fn steps(markdown: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut paragraph = String::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("### ") {
            steps.push(Step::CloseAll);
        }
        let Some(info) = line.strip_prefix("```") else {
            read_on(&mut paragraph, line);
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text: String = block.iter().map(|line| format!("{line}\n")).collect();
        match info.split_once(' ') {
            None if info == "sh" => steps.extend(command(&block, text, paragraph.trim())),
            None if info == "text" => show(&mut steps, text),
            None => panic!("a block of {info}: nobody says what the reader does with it"),
            Some((_, file)) => steps.push(Step::Write { file: file.to_owned(), text }),
        }
        paragraph.clear();
    }
    steps
}

/// Adds a line to the paragraph, or begins a new one.
fn read_on(paragraph: &mut String, line: &str) {
    if !line.is_empty() && paragraph.ends_with("\n\n") {
        paragraph.clear();
    }
    paragraph.push_str(line);
    paragraph.push('\n');
}

fn command(block: &[&str], script: String, paragraph: &str) -> Vec<Step> {
    let first = block.first().copied().unwrap_or("");
    let in_block = first.strip_prefix("# terminal: ");
    let in_words = paragraph.strip_prefix("Terminal ").and_then(|rest| rest.split([',', ':', '.']).next());
    if let Some(terminal) = in_block.or(in_words) {
        return vec![Step::Start { terminal: terminal.to_owned(), script, shown: None }];
    }
    let mut steps = Vec::new();
    if let Some(terminal) = first.strip_prefix("# Ctrl-C: ") {
        steps.push(Step::Interrupt { terminal: terminal.to_owned() });
    }
    steps.push(Step::Type { script, shown: None, within: within(paragraph) });
    steps
}

/// How long the paragraph lets the reader try: zero unless it says `within N seconds`.
fn within(paragraph: &str) -> Duration {
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let seconds = words.windows(3).find_map(|three| match three {
        [within, seconds, unit] if within.eq_ignore_ascii_case("within") && unit.starts_with("second") => {
            seconds.parse().ok()
        }
        _ => None,
    });
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Adds expected output to the step that shows it.
fn show(steps: &mut Vec<Step>, text: String) {
    match steps.last_mut() {
        Some(Step::Type { shown, .. } | Step::Start { shown, .. }) if shown.is_none() => *shown = Some(text),
        Some(Step::Write { file, .. }) if file.ends_with(".html") => {
            let file = file.clone();
            steps.push(Step::Open { file, shown: text });
        }
        step => panic!("nothing shows this:\n{text}\nbut: {step:?}"),
    }
}

#[test]
fn blocks_are_steps() {
    let guide = "# A guide\n\n```toml a.toml\nkey = 1\n```\n\n```sh\n# terminal: one\nsleep 9\n```\n\n```text\nready\n```\n\n\
                 ```sh\n# Ctrl-C: one\necho 1\n```\n\n```html a.html\n<p>\n```\n\n```text\nhello\n```\n";
    let text = |text: &str| text.to_owned();
    let expected = [
        Step::Write { file: text("a.toml"), text: text("key = 1\n") },
        Step::Start {
            terminal: text("one"),
            script: text("# terminal: one\nsleep 9\n"),
            shown: Some(text("ready\n")),
        },
        Step::Interrupt { terminal: text("one") },
        Step::Type { script: text("# Ctrl-C: one\necho 1\n"), shown: None, within: Duration::ZERO },
        Step::Write { file: text("a.html"), text: text("<p>\n") },
        Step::Open { file: text("a.html"), shown: text("hello\n") },
    ];
    assert_eq!(steps(guide), expected);
}

#[test]
fn the_words_before_a_block_count() {
    let guide = "### A door\n\nNo terminal here.\n\nTerminal 1, the relay: it\nruns.\n\n```sh\nsleep 9\n```\n\n\
                 It is there\nwithin 20 seconds:\n\n```sh\necho 1\n```\n\n```text\n1\n```\n";
    let text = |text: &str| text.to_owned();
    let expected = [
        Step::CloseAll,
        Step::Start { terminal: text("1"), script: text("sleep 9\n"), shown: None },
        Step::Type { script: text("echo 1\n"), shown: Some(text("1\n")), within: Duration::from_secs(20) },
    ];
    assert_eq!(steps(guide), expected);
}
