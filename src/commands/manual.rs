//! `tidecast man`: manual pages from the definition of the command line and from the sample
//! configuration.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::Failure;
use crate::{
    cli::{self, Cli},
    config::SAMPLE,
};
use tidecast_net::clock;

/// Text in the middle of a page's first line.
const MANUAL: &str = "tidecast";

/// Exit codes of all commands; see [`Failure::exit_code`].
const EXIT_STATUS: &str = "\
0    done
1    something failed
2    the command line makes no sense
3    more was lost than --max-loss allows
78   the configuration is wrong";

const ENVIRONMENT: &str = "\
TIDECAST_LOG   what is logged to standard error, for example debug or tidecast_net=trace
NO_COLOR       no colours in the log";

const FILES: &str = "\
/etc/tidecast/tidecast.toml   the configuration of the system service";

/// Writes the page of each command to `man1/`, and that of the configuration file to `man5/`.
///
/// # Errors
/// A file cannot be written.
pub(super) fn run(args: &cli::Man) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let folder = |section: &str| -> anyhow::Result<PathBuf> {
        let folder = args.folder.join(section);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    };
    let pages = folder("man1")?;
    let visible: Vec<Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    write(&pages.join("tidecast.1"), page(command))?;
    for command in visible {
        write(&pages.join(format!("tidecast-{}.1", command.get_name())), page(command))?;
    }
    write(&folder("man5")?.join("tidecast.toml.5"), configuration())?;
    Ok(())
}

fn write(path: &Path, page: io::Result<Vec<u8>>) -> anyhow::Result<()> {
    page.and_then(|page| fs::write(path, page)).with_context(|| format!("cannot write {}", path.display()))
}

/// The page of the program or of one command.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let is_top = command.has_subcommands();
    let reads_file = is_top || matches!(command.get_name(), "serve" | "check" | "config");
    let examples = command.get_after_help().map(ToString::to_string);
    let source = format!("tidecast {}", env!("CARGO_PKG_VERSION"));
    let command = command.version(env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).source(source).date(date()).manual(MANUAL);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if is_top {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(examples) = examples {
        let (heading, text) =
            if is_top { ("ADDRESSES", examples) } else { ("EXAMPLES", without_title(&examples)) };
        section(&mut out, heading, &text)?;
    }
    section(&mut out, "EXIT STATUS", EXIT_STATUS)?;
    section(&mut out, "ENVIRONMENT", ENVIRONMENT)?;
    if reads_file {
        section(&mut out, "FILES", FILES)?;
    }
    see_also(&mut out, is_top, reads_file)?;
    Ok(out)
}

/// The page of the configuration file.
fn configuration() -> io::Result<Vec<u8>> {
    let mut roff = Roff::default();
    let source = format!("tidecast {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["tidecast.toml", "5", &date(), &source, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("tidecast.toml - configuration of tidecast serve")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman("This is what tidecast config --sample prints.")]);
    let mut out = Vec::new();
    roff.to_writer(&mut out)?;
    section(&mut out, "SAMPLE", SAMPLE)?;
    see_also(&mut out, true, false)?;
    Ok(out)
}

/// The date, or that of `SOURCE_DATE_EPOCH`, so that packages can be built reproducibly.
fn date() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let seconds = given.unwrap_or_else(|| clock::unix_micros() / 1_000_000);
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string().chars().take_while(|c| *c != 'T').collect()
}

/// A section with preformatted lines.
fn section(out: &mut impl Write, heading: &str, text: &str) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in text.lines() {
        if line.is_empty() {
            roff.control("sp", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    roff.control("fi", []);
    roff.to_writer(out)
}

fn see_also(out: &mut impl Write, is_top: bool, reads_file: bool) -> io::Result<()> {
    let mut pages = Vec::new();
    if is_top {
        let command = Cli::command();
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        pages.extend(visible.map(|command| format!("tidecast-{}(1)", command.get_name())));
    } else {
        pages.push("tidecast(1)".to_owned());
    }
    if reads_file {
        pages.push("tidecast.toml(5)".to_owned());
    }
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
    roff.to_writer(out)
}

/// The examples of a help text without their heading.
fn without_title(help: &str) -> String {
    let mut lines = help.lines().peekable();
    lines.next_if(|line| line.trim_end_matches(':').trim_end_matches('s') == "Example");
    lines.collect::<Vec<_>>().join("\n")
}
