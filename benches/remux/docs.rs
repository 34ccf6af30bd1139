//! Writes the results into docs/remuxing.md: everything between two marks is replaced.

use std::{fs, io, os::unix::process::CommandExt, path::PathBuf, process::Command};

use crate::{
    Options, marked,
    remux::{
        Subject,
        film::{GOP, PICTURES, RATE, SECONDS},
    },
    run::{Outcome, Sheet},
};

fn marks(name: &str) -> [String; 2] {
    [
        format!("<!-- {name}: begin, written by `cargo bench --bench remux -- --write-docs` -->"),
        format!("<!-- {name}: end -->"),
    ]
}

/// Writes both tables, and how they were measured.
pub(crate) fn write(cost: &str, whole: &str, options: &Options, sheet: &Sheet) -> io::Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/remuxing.md");
    let mut text = fs::read_to_string(&path)?;
    let of_one = |one: &&Outcome, lost| one.subject == Subject::Nobody && one.lost.is_some() == lost;
    let count = |lost| sheet.outcomes.iter().filter(|one| of_one(one, lost)).count();
    let cost = format!(
        "{} positions of the lost datagram, seed {}; {} showings do not count: at full buffers of somebody \
         the kernel dropped more. A film of {SECONDS} s, {:.1} Mbit/s, {PICTURES} pictures/s, a key frame \
         every {:.0} s. {}.\n\n{cost}",
        count(true),
        options.seed,
        sheet.left_out,
        RATE / 1e6,
        GOP as f64 / PICTURES as f64,
        versions()
    );
    let whole = format!("Medians of {} showings.\n\n{whole}", count(false));
    for (name, content) in [("cost", cost), ("whole", whole)] {
        let [begin, end] = marks(name);
        text = marked::replace(&text, [&begin, &end], &format!("{content}\n"), &path)?;
    }
    fs::write(&path, text)?;
    println!("written: {}", path.display());
    Ok(())
}

/// Returns the versions of all programs, in one line.
fn versions() -> String {
    let ffmpeg = word(Command::new("ffmpeg").arg("-version"), 2);
    let gstreamer = word(Command::new("gst-launch-1.0").arg("--version"), 2);
    // VLC refuses to run as root, so it runs as another user; a user other than root cannot change
    // the user, and need not.
    let vlc = word(Command::new("cvlc").arg("--version").uid(65_534).gid(65_534), 2);
    let vlc = vlc.or_else(|| word(Command::new("cvlc").arg("--version"), 2));
    let known = [("ffmpeg", ffmpeg), ("GStreamer", gstreamer), ("VLC", vlc)];
    let named =
        known.map(|(name, version)| format!("{name} {}", version.as_deref().unwrap_or("of unknown version")));
    named.join(", ")
}

/// Returns a word of the first line that a program prints.
fn word(command: &mut Command, place: usize) -> Option<String> {
    let output = command.env("HOME", "/tmp").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next()?.split_whitespace().nth(place)?.to_owned())
}
