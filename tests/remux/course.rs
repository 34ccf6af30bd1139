//! One showing of the film: all subjects receive, the film is sent with one datagram left out, and
//! the output of each is stored.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, thread, time::Duration};

use tidecast_net::clock;

use super::{
    Captured, Film, Subject,
    capture::Capture,
    sender::{self, Place},
};
use crate::common::{self, Running};

/// Maximum time from the creation of a relay's socket until the relay reads it.
const SETTLE: Duration = Duration::from_millis(500);
/// VLC holds two seconds back; after this time without data there is none left.
const QUIET: Duration = Duration::from_millis(2500);

/// The film of a showing and its subjects.
#[derive(Debug)]
pub struct Course<'a> {
    pub film: &'a Film,
    pub subjects: &'a [Subject],
    /// The datagram that is left out.
    pub lost: Option<usize>,
}

/// Results of a showing.
#[derive(Debug)]
pub struct Shown {
    pub delivered: Vec<Delivered>,
    /// Datagrams that the kernel dropped because the buffer of a socket was full: more were lost
    /// than intended.
    pub dropped: u64,
}

/// Output of one subject.
#[derive(Debug)]
pub struct Delivered {
    pub subject: Subject,
    pub captured: Captured,
    /// Its log.
    pub log: String,
    /// Time from the first datagram sent to the first byte of output.
    pub first_byte: Option<Duration>,
}

impl Delivered {
    /// Returns the output of a relay that leaves the bytes unchanged.
    pub fn expected(&self, film: &Film, lost: Option<usize>) -> Vec<u8> {
        let lost = lost.filter(|_| !self.subject.recovers());
        let kept = film.datagrams().enumerate().filter(|(number, _)| lost != Some(*number));
        kept.flat_map(|(_, bytes)| bytes).copied().collect()
    }
}

impl Course<'_> {
    /// Runs the showing; takes as long as the film and some seconds.
    pub fn run(&self, folder: &Path) -> Shown {
        // VLC does not run as root, and needs a home folder.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("permissions");
        let place = Place::free();
        let started: Vec<(Subject, Capture, Option<Running>)> = self
            .subjects
            .iter()
            .map(|subject| {
                let (capture, running) = subject.start(place, folder);
                (*subject, capture, running)
            })
            .collect();
        for port in [place.ts.port(), place.rtp.port()] {
            let expected = self.subjects.iter().filter(|subject| subject.listens(place) == port).count();
            common::until("everybody listens", || (sockets(port).len() == expected).then_some(()));
        }
        thread::sleep(SETTLE);
        let begun = sender::send(self.film, place, self.lost);
        until_quiet(&started);
        let outputs = started.iter().filter_map(|(_, capture, _)| capture.address).map(|at| at.port());
        let dropped = outputs.chain([place.ts.port(), place.rtp.port()]).collect::<BTreeSet<u16>>();
        let dropped = dropped.into_iter().flat_map(sockets).sum();
        let finish = |(subject, capture, running): (Subject, Capture, Option<Running>)| {
            let captured = capture.finish();
            let first = captured.arrivals.first().map(|(_, when)| when.saturating_duration_since(begun));
            let log = running.map(|running| running.stderr()).unwrap_or_default();
            Delivered { subject, captured, log, first_byte: first }
        };
        Shown { delivered: started.into_iter().map(finish).collect(), dropped }
    }
}

fn until_quiet(started: &[(Subject, Capture, Option<Running>)]) {
    common::until("the end of the film", || {
        let last = started.iter().filter_map(|(_, capture, _)| capture.last()).max();
        let quiet = |last| clock::now().saturating_duration_since(last) > QUIET;
        last.is_none_or(quiet).then_some(())
    });
}

/// Returns, for each socket bound to a UDP port, how many datagrams the kernel dropped.
fn sockets(port: u16) -> Vec<u64> {
    let table = fs::read_to_string("/proc/net/udp").expect("/proc");
    let local = format!(":{port:04X}");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let bound = lines.filter(|words| words.get(1).is_some_and(|address| address.ends_with(&local)));
    bound.map(|words| words[words.len() - 1].parse().expect("drops")).collect()
}
