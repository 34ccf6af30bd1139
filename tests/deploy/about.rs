//! Completions and manual pages in the form of packages, read by the programs that use them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    common::{have, tidecast},
    said,
};

const COMMANDS: [&str; 13] = [
    "serve",
    "relay",
    "send",
    "recv",
    "probe",
    "impair",
    "demo",
    "check",
    "key",
    "token",
    "config",
    "completions",
    "man",
];

/// Writes the completions of a shell into a file.
fn completions(folder: &Path, shell: &str) -> PathBuf {
    let path = folder.join(shell);
    fs::write(&path, said(&mut tidecast(["completions", shell]))).unwrap();
    path
}

#[test]
fn bash_completes_commands_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let path = completions(folder.path(), "bash");
    let complete = |line: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD=$(({} - 1)); COMPREPLY=(); \
             _tidecast tidecast \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            path.display(),
            line.split_whitespace().count(),
        );
        said(Command::new("bash").args(["--norc", "-c", &script]))
    };
    assert_eq!(complete("tidecast se").trim(), "serve send");
    assert_eq!(complete("tidecast recv --max").trim(), "--max-loss");
    assert_eq!(complete("tidecast send --format n").trim(), "native");
    said(Command::new("bash").arg("-n").arg(&path));
}

#[test]
fn zsh_and_fish_take_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"].into_iter().filter(|shell| have(shell)) {
        let path = completions(folder.path(), shell);
        assert_eq!(said(Command::new(shell).arg("-n").arg(&path)), "", "{shell}");
        let text = fs::read_to_string(&path).unwrap();
        for command in COMMANDS {
            assert!(text.contains(command), "{shell}: {command}");
        }
    }
    if have("fish") {
        let script = format!("source {}; complete -C 'tidecast se'", folder.path().join("fish").display());
        let answers = said(Command::new("fish").args(["--no-config", "-c", &script]));
        let words: Vec<&str> = answers.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, ["send", "serve"]);
    }
}

#[test]
fn an_unknown_shell_is_told_the_known_ones() {
    let output = tidecast(["completions", "tcsh"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && text.contains("bash") && text.contains("zsh"), "{text}");
}

#[test]
fn every_command_has_a_page_and_man_has_no_complaint() {
    let folder = tempfile::tempdir().unwrap();
    said(tidecast(["man"]).arg(folder.path()).env("SOURCE_DATE_EPOCH", "1700000000"));
    let mut pages: Vec<PathBuf> = COMMANDS.map(|c| folder.path().join(format!("man1/tidecast-{c}.1"))).into();
    pages.extend(["man1/tidecast.1", "man5/tidecast.toml.5"].map(|page| folder.path().join(page)));
    let files = |section: &str| fs::read_dir(folder.path().join(section)).unwrap().count();
    assert_eq!(files("man1") + files("man5"), pages.len());
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains("2023-11-14"), "{}: the date", page.display());
        if have("man") {
            let mut man = Command::new("man");
            man.args(["--warnings", "--encoding=UTF-8", "--local-file"]).arg(page).env("LC_ALL", "C.UTF-8");
            let output = man.env("MANWIDTH", "80").env("MANROFFOPT", "-rHY=0").output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", page.display());
            assert!(String::from_utf8_lossy(&output.stdout).contains("SEE ALSO"), "{}", page.display());
        }
        if have("mandoc") {
            said(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(page));
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let output = tidecast(["man", "/dev/null/pages"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("cannot make /dev/null/pages/man1"), "{text}");
}
