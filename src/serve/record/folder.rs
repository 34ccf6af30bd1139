//! The folder of a recording: names of its files, existing files, and free space.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use nix::sys::statvfs::statvfs;

/// Extension of all files.
const EXTENSION: &str = ".pcapng";
/// Length of the time in a file's name: 20261120T165135.123Z.
const TIME_BYTES: usize = 20;

/// A channel's file. Sorts by creation time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    /// Creation time, as in its name.
    pub(super) time: String,
    /// Distinguishes files with the same creation time.
    pub(super) count: u32,
    pub(super) path: PathBuf,
}

/// Disk space of a channel's recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write to the disk.
    pub free: u64,
    /// Bytes of the channel's files, which are deleted one by one when there are too many.
    pub recorded: u64,
}

impl Room {
    /// Examines a folder, or the place where it would be created.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(folder: &Path, channel: &str) -> io::Result<Room> {
        let recorded = match known(folder, channel) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            files => bytes(&files?),
        };
        Ok(Room { free: Room::free(nearest(folder))?, recorded })
    }

    pub(super) fn free(folder: &Path) -> io::Result<u64> {
        let disk =
            statvfs(folder).map_err(|error| named(&error.into(), "cannot read the disk of", folder))?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }
}

/// The folder, or its nearest existing parent.
pub fn nearest(folder: &Path) -> &Path {
    let found = folder.ancestors().find(|path| path.exists());
    found.unwrap_or(Path::new(".")) // a relative path's first part
}

/// The channel's files, the oldest first.
pub(super) fn known(folder: &Path, channel: &str) -> io::Result<Vec<Known>> {
    let entries = fs::read_dir(folder).map_err(|error| named(&error, "cannot read the folder", folder))?;
    let known = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let (time, count) = place(path.file_name()?.to_str()?, channel)?;
        Some(Known { time, count, path })
    });
    let mut known: Vec<Known> = known.collect();
    known.sort();
    Ok(known)
}

/// Total size of these files; a deleted one counts as zero.
pub(super) fn bytes(files: &[Known]) -> u64 {
    files.iter().filter_map(|known| fs::metadata(&known.path).ok()).map(|about| about.len()).sum()
}

/// Name of the `count`th file with this time.
pub(super) fn name(channel: &str, at: Duration, count: u32) -> String {
    let again = if count == 0 { String::new() } else { format!("_{count}") };
    format!("{channel}-{}{again}{EXTENSION}", time(at))
}

/// Creation time of a channel's file, and its number among the files of that time. `None` if the
/// name is not that of a recording of this channel.
fn place(name: &str, channel: &str) -> Option<(String, u32)> {
    let rest = name.strip_prefix(channel)?.strip_prefix('-')?.strip_suffix(EXTENSION)?;
    let (time, again) = rest.split_at_checked(TIME_BYTES)?;
    let shape = time.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if !shape.eq(*b"00000000T000000.000Z") {
        return None;
    }
    let count = match again.strip_prefix('_') {
        Some(count) => count.parse().ok()?,
        None if again.is_empty() => 0,
        None => return None,
    };
    Some((time.to_owned(), count))
}

/// `20261120T165135.123Z`
pub(super) fn time(at: Duration) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + at).to_string().replace(['-', ':'], "")
}

pub(super) fn named(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_channels_own_files_count() {
        let at = Duration::from_millis(1_795_193_495_123);
        assert_eq!(time(at), "20261120T165135.123Z");
        let of = |name| place(name, "cam").map(|(_, count)| count);
        assert_eq!(of("cam-20261120T165135.123Z.pcapng"), Some(0));
        assert_eq!(of("cam-20261120T165135.123Z_12.pcapng"), Some(12));
        for other in [
            "cam-2-20261120T165135.123Z.pcapng",
            "cam-20261120T165135.123Z.pcap",
            "cam-20261120T165135.123Zx.pcapng",
            "cam-20261120T165135.123Z_.pcapng",
            "cam-holiday.pcapng",
            "camera-20261120T165135.123Z.pcapng",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
