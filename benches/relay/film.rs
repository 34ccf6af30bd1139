//! A film of constant bit rate for peers that parse the forwarded data; created by ffmpeg if it is
//! installed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Longer than a measurement, so that its end is not reached.
const SECONDS: u32 = 40;
/// Bits per second, padding included.
pub(crate) const BITS: f64 = 8e6;

/// Returns the file, which is created if it does not exist.
///
/// # Errors
/// ffmpeg is not installed, or fails.
pub(crate) fn file(folder: &Path) -> io::Result<PathBuf> {
    let (path, part) = (folder.join("film.ts"), folder.join("film.part"));
    if !path.exists() {
        let status = encode(&part).stdin(Stdio::null()).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("ffmpeg made no film: {status}")));
        }
        fs::rename(part, &path)?;
    }
    Ok(path)
}

fn encode(to: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"]);
    command.args(["testsrc2=size=640x360:rate=25,noise=alls=60:allf=t", "-t", &SECONDS.to_string()]);
    command.args(["-c:v", "mpeg2video", "-g", "12", "-b:v", "7M", "-minrate", "7M", "-maxrate", "7M"]);
    command.args(["-bufsize", "1M", "-muxrate", "8M", "-f", "mpegts"]).arg(to);
    command
}
