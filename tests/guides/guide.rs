//! Extracts the steps of a guide from its Markdown: code blocks by the words after their fence.
//! | Block | Step |
//! |---|---|
//! | `sh` | typed into a shell; with `# terminal: NAME` as the first line, into a terminal that stays open |
//! | `LANGUAGE FILE` | a file to write; of `html`, also a page to open when a `text` block follows |
//! | `text` | what the step before it shows: see [`crate::shown`] |

/// One step.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Write { file: String, text: String },
    Open { file: String, shown: String },
    Type { script: String, shown: Option<String> },
    Start { terminal: String, script: String, shown: Option<String> },
    Interrupt { terminal: String },
}

pub(crate) fn steps(markdown: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text: String = block.iter().map(|line| format!("{line}\n")).collect();
        match info.split_once(' ') {
            None if info == "sh" => steps.extend(command(&block, text)),
            None if info == "text" => show(&mut steps, text),
            None => panic!("a block of {info}: nobody says what the reader does with it"),
            Some((_, file)) => steps.push(Step::Write { file: file.to_owned(), text }),
        }
    }
    steps
}

fn command(block: &[&str], script: String) -> Vec<Step> {
    let first = block.first().copied().unwrap_or("");
    if let Some(terminal) = first.strip_prefix("# terminal: ") {
        return vec![Step::Start { terminal: terminal.to_owned(), script, shown: None }];
    }
    let mut steps = Vec::new();
    if let Some(terminal) = first.strip_prefix("# Ctrl-C: ") {
        steps.push(Step::Interrupt { terminal: terminal.to_owned() });
    }
    steps.push(Step::Type { script, shown: None });
    steps
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
        Step::Type { script: text("# Ctrl-C: one\necho 1\n"), shown: None },
        Step::Write { file: text("a.html"), text: text("<p>\n") },
        Step::Open { file: text("a.html"), shown: text("hello\n") },
    ];
    assert_eq!(steps(guide), expected);
}
