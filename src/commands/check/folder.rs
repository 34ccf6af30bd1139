//! Checks whether recordings can be written: by this user, or by the system's service if its
//! configuration is checked, whose sandbox ([`Sandbox`]) is stricter than a user's permissions.
//! Nothing is created or written for the check.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{AccessFlags, access};

use super::machine::{Line, Mark};
use crate::{
    config::{Channel, Config},
    serve::record::{Room, nearest},
};
use tidecast_net::address::Recording;

/// Configuration of the service.
const SERVICE_CONFIG: &str = "/etc/tidecast/tidecast.toml";
/// Its unit, as systemd-analyze finds it, including drop-ins.
const SERVICE_UNIT: &str = "systemd/system/tidecast.service";
/// Parent of the folders that systemd creates for services.
const STATE: &str = "/var/lib";
/// With `PrivateTmp=`, files there are deleted when the service stops.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// Mode bits that let others than the owner write.
const WRITE_OTHERS: u32 = 0o022;

/// Folders that systemd lets the service write to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// Created by systemd for the service's user.
    state: Vec<PathBuf>,
    /// Allowed by the administrator.
    allowed: Vec<PathBuf>,
}

impl Sandbox {
    /// The sandbox of the service, if this is its configuration and it is confined.
    pub(super) fn of(config: &Path) -> Option<Sandbox> {
        if fs::canonicalize(config).ok()? != fs::canonicalize(SERVICE_CONFIG).ok()? {
            return None;
        }
        // Reads the unit files, including those of the administrator: users without a bus may not
        // ask systemd itself.
        let mut cat = Command::new("systemd-analyze");
        let output = cat.args(["cat-config", "--no-pager", SERVICE_UNIT]).output().ok()?;
        Sandbox::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Of list settings all lines count, from the last empty one on.
    fn parse(unit: &str) -> Option<Sandbox> {
        let values = |name: &str| {
            let lines = unit.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            let mut all: Vec<&str> = Vec::new();
            for line in lines {
                all.extend(line.split_whitespace());
                if line.trim().is_empty() {
                    all.clear();
                }
            }
            all
        };
        let paths = |name: &str| values(name).into_iter().map(|path| path.trim_start_matches(['-', '+']));
        (values("ProtectSystem").last() == Some(&"strict")).then(|| Sandbox {
            state: paths("StateDirectory").map(|path| Path::new(STATE).join(path)).collect(),
            allowed: paths("ReadWritePaths").map(PathBuf::from).collect(),
        })
    }

    /// Whether the service may write there; otherwise what to do.
    fn judge(&self, folder: &Path) -> Result<(), (Mark, String)> {
        let is_below = |paths: &[PathBuf]| paths.iter().find(|path| folder.starts_with(path)).cloned();
        if folder.is_relative() {
            return Err((Mark::Fail, "the service's own folder is /: give the whole path".to_owned()));
        }
        if TEMPORARY.iter().any(|temporary| folder.starts_with(temporary)) {
            let text = "the service has a /tmp of its own, which goes when it stops: choose another folder";
            return Err((Mark::Warn, text.to_owned()));
        }
        if is_below(&self.state).is_some() {
            return Ok(());
        }
        match is_below(&self.allowed) {
            Some(allowed) => may_others_write(&allowed, folder),
            None => Err((Mark::Fail, self.advice(folder))),
        }
    }

    fn advice(&self, folder: &Path) -> String {
        let below = self.state.first().map(|state| format!("record below {}, or ", state.display()));
        format!(
            "the service may not write there: {}allow it with `systemctl edit tidecast`, ReadWritePaths={} below [Service]",
            below.unwrap_or_default(),
            folder.display()
        )
    }
}

/// The service's user owns nothing outside of its own folder.
fn may_others_write(allowed: &Path, folder: &Path) -> Result<(), (Mark, String)> {
    let Ok(about) = fs::metadata(nearest(folder)) else { return Ok(()) };
    if !allowed.exists() {
        let text =
            format!("{0} is missing, and the service does not start without: make it", allowed.display());
        return Err((Mark::Fail, text));
    }
    if about.mode() & WRITE_OTHERS != 0 || about.uid() != 0 {
        return Ok(());
    }
    let text = format!(
        "only root may write in {}: give it a group that may (chgrp, chmod g+ws), and the service that group, \
         SupplementaryGroups= beside ReadWritePaths=",
        nearest(folder).display()
    );
    Err((Mark::Fail, text))
}

/// One line for each recording, and another one if the disk has no room for everything that is
/// kept.
pub(super) fn lines(config: &Config, sandbox: Option<&Sandbox>) -> Vec<Line> {
    let all = |channel: &Channel| -> Vec<Line> {
        let each = channel.recordings.iter().map(|recording| lines_of(&channel.name, recording, sandbox));
        each.flatten().collect()
    };
    config.channels.iter().flat_map(all).collect()
}

fn lines_of(channel: &str, recording: &Recording, sandbox: Option<&Sandbox>) -> Vec<Line> {
    let say = |mark, text: String| Line::new(mark, format!("channel {channel}: {recording}: {text}"));
    let judged = match sandbox {
        Some(sandbox) => sandbox.judge(&recording.folder),
        None => try_here(&recording.folder),
    };
    match judged {
        Err((mark, text)) => vec![say(mark, text)],
        Ok(()) => {
            let who = if sandbox.is_some() { "the service may record there" } else { "can be written" };
            let room = room(channel, recording).map(|text| say(Mark::Warn, text));
            [Some(say(Mark::Ok, who.to_owned())), room].into_iter().flatten().collect()
        }
    }
}

/// Whether this user can create the folder and write there.
fn try_here(folder: &Path) -> Result<(), (Mark, String)> {
    let nearest = nearest(folder);
    let fail = |error: io::Error| {
        let what = if nearest == folder { "write in" } else { "make a folder in" };
        let text = format!(
            "cannot {what} {}: {error}; the user that runs the relay must be able to: give it a folder of its own, as with \
             `install -d -o USER {}`",
            nearest.display(),
            folder.display()
        );
        (Mark::Fail, text)
    };
    if !nearest.is_dir() {
        return Err(fail(io::ErrorKind::NotADirectory.into()));
    }
    let wanted = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(nearest, wanted).map_err(|error| fail(error.into()))
}

/// Advice if a disk is too small for what is kept; none for a folder that this user may not read.
fn room(channel: &str, recording: &Recording) -> Option<String> {
    let Room { free, recorded } = Room::of(&recording.folder, channel).ok()?;
    let kept = recording.rotate.saturating_mul(recording.keep as u64);
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let text = || {
        format!(
            "keeps up to {}, and there is room for {}: a full disk stops the recording; lower rotate or keep, or make room",
            megabytes(kept),
            megabytes(free + recorded)
        )
    };
    (free + recorded < kept).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = concat!(
        include_str!("../../../deploy/tidecast.service"),
        "# /etc/systemd/system/tidecast.service.d/override.conf\n[Service]\nReadWritePaths=/srv/gone\nReadWritePaths=\n\
         ReadWritePaths=/srv/recordings -/mnt/disk\nReadWritePaths=/nonexistent/tidecast"
    );

    fn recording(address: String) -> Vec<String> {
        let config = format!(
            "[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:5000\"\noutput = \"pcapng:{address}\"\n"
        );
        lines(&config.parse().expect("a good file"), None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_service_may_write_is_what_systemd_says() {
        assert_eq!(Sandbox::parse(""), None, "there is no service");
        assert_eq!(Sandbox::parse(&format!("{SERVICE}\nProtectSystem=full")), None, "it is not confined");
        let sandbox = Sandbox::parse(SERVICE).expect("a sandbox");
        for (folder, mark, words) in [
            ("/var/lib/tidecast/cam", None, ""),
            ("/var/lib/tidecastle", Some(Mark::Fail), "ReadWritePaths=/var/lib/tidecastle below [Service]"),
            (
                "/srv/other",
                Some(Mark::Fail),
                "record below /var/lib/tidecast, or allow it with `systemctl edit",
            ),
            ("cam", Some(Mark::Fail), "give the whole path"),
            ("/tmp/cam", Some(Mark::Warn), "a /tmp of its own"),
            ("/nonexistent/tidecast/cam", Some(Mark::Fail), "/nonexistent/tidecast is missing"),
        ] {
            let judged = sandbox.judge(Path::new(folder));
            assert_eq!(judged.as_ref().err().map(|(mark, _)| *mark), mark, "{folder}: {judged:?}");
            assert!(judged.err().is_none_or(|(_, text)| text.contains(words)), "{folder}");
        }
    }

    #[test]
    fn a_folder_of_root_alone_is_not_for_the_service() {
        let folder = tempfile::tempdir().expect("folder");
        let mode = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(folder.path(), mode).expect("its own");
        };
        let judged = || may_others_write(folder.path(), &folder.path().join("cam"));
        mode(0o770);
        assert_eq!(judged(), Ok(()));
        if fs::metadata(folder.path()).expect("there").uid() == 0 {
            mode(0o755);
            assert!(
                judged()
                    .is_err_and(|(mark, text)| mark == Mark::Fail && text.contains("SupplementaryGroups="))
            );
        }
    }

    #[test]
    fn a_folder_that_can_be_made_is_told_from_one_that_cannot_and_nothing_is_made() {
        let folder = tempfile::tempdir().expect("folder");
        let new = folder.path().join("new");
        let address = format!("{}?rotate=100kB&keep=1", new.display());
        assert_eq!(
            recording(address.clone()),
            [format!("ok    channel cam: pcapng:{address}: can be written")]
        );
        assert!(!new.exists());
        fs::write(&new, "a file").expect("write");
        let said = recording(format!("{}/below", new.display()));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("FAIL") && said[0].contains("cannot make a folder in"), "{said:?}");
        assert!(said[0].contains("not a directory") && said[0].contains("install -d -o USER"), "{said:?}");
    }

    #[test]
    fn a_disk_without_room_for_all_that_is_kept_is_a_warning() {
        let folder = tempfile::tempdir().expect("folder");
        let said = recording(format!("{}?rotate=1000GB&keep=100000", folder.path().display()));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].starts_with("warn") && said[1].contains("keeps up to 100000000000.0 MB"), "{said:?}");
    }
}
