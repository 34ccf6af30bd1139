//! Tests that the program accepts the command lines in the documentation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;

use super::flags;
use crate::cli::{self, Cli};

/// All documents for users.
fn documents() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("deploy/README.md")];
    for folder in ["docs", "docs/guides"] {
        let entries =
            fs::read_dir(root.join(folder)).expect(folder).map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect()
}

/// The shell blocks of a document, with continued lines joined.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_shell = false;
    for line in text.replace("\\\n", " ").lines() {
        match line.trim() {
            "```sh" | "```console" => in_shell = true,
            "```" => in_shell = false,
            line if in_shell => lines.push(line.trim_start_matches("$ ").to_owned()),
            _ => {}
        }
    }
    lines
}

/// The arguments that a shell would pass to `tidecast`, for each call in the line, wherever its
/// output goes; files that the line writes are placed in `folder`.
fn calls(line: &str, folder: &Path) -> Vec<Vec<String>> {
    // The shell splits the words; everything except tidecast itself is replaced by a command
    // without effect.
    let script = format!(
        "exec 3>&1; tidecast() {{ printf '\\036' >&3; for word in \"$@\"; do printf '%s\\037' \"$word\" >&3; done; }}\n\
         sudo() {{ \"$@\"; }}; curl() {{ :; }}; vlc() {{ :; }}; ffplay() {{ :; }}; mpv() {{ :; }}\n{line} </dev/null"
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).env("PATH", "/nowhere").current_dir(folder);
    let output = shell.output().expect("sh");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split('\u{1e}')
        .skip(1)
        .map(|call| call.split_terminator('\u{1f}').map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let (mut count, folder) = (0, tempfile::tempdir().expect("a folder"));
    for (path, text) in documents() {
        for line in shell_lines(&text).iter().filter(|line| line.starts_with("tidecast ")) {
            // After a pipe the shell's own grammar applies; the words before it are enough.
            let line = line.split(" | ").next().unwrap_or(line);
            for words in calls(line, folder.path()) {
                count += 1;
                let here = format!("{}: {line}", path.display());
                let parsed = Cli::try_parse_from(std::iter::once("tidecast".to_owned()).chain(words));
                let cli = parsed.unwrap_or_else(|error| panic!("{here}\n{error}"));
                let valid = match &cli.command {
                    cli::Command::Relay(args) => flags::of_relay(args).map(drop),
                    cli::Command::Serve(args) if args.configuration.path().is_none() => {
                        flags::of_serve(args).map(drop)
                    }
                    _ => Ok(()),
                };
                valid.unwrap_or_else(|errors| panic!("{here}\n{errors}"));
            }
        }
    }
    assert!(count >= 8, "only {count} command lines were found: is the documentation read at all?");
}
