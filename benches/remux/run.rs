//! Runs all showings of the film, some at the same time, each with all subjects at once.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::{
    Options,
    remux::{Course, Damage, Delivered, Film, Shown, Subject, decode},
    traits::Traits,
};

/// Output of one subject in one showing.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) subject: Subject,
    /// The datagram that was left out.
    pub(crate) lost: Option<usize>,
    pub(crate) damage: Damage,
    /// Whether the bytes equal those received, or, with FEC, those sent.
    pub(crate) exact: bool,
    /// Traits of the output of a whole film.
    pub(crate) traits: Option<Traits>,
}

/// Results of all showings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) outcomes: Vec<Outcome>,
    /// Number of showings that do not count, because a socket's buffer was full and more datagrams
    /// were lost than intended.
    pub(crate) left_out: usize,
}

/// Shows the film as often as configured.
pub(crate) fn all(options: &Options, subjects: &[Subject]) -> Sheet {
    let folder = tempfile::tempdir().expect("a folder");
    let film = Film::make(folder.path());
    fs::create_dir_all(&options.out).expect("the output folder");
    fs::write(options.out.join("film.ts"), &film.bytes).expect("write");
    let mut chances = Pcg64Mcg::seed_from_u64(options.seed);
    let whole = (0..options.whole).map(|_| None);
    let lost = (0..options.positions).map(|_| Some(chances.random_range(film.losable())));
    let showings: Vec<Option<usize>> = whole.chain(lost).collect();
    let (next, done, sheet) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Sheet::default()));
    thread::scope(|scope| {
        for _ in 0..options.parallel {
            scope.spawn(|| {
                while let Some(lost) = showings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shown =
                        subjects.iter().copied().filter(|subject| lost.is_none() || subject.keeps_up());
                    let (outcomes, dropped) = showing(&film, &shown.collect::<Vec<_>>(), *lost);
                    let mut sheet = sheet.lock().expect("no panic");
                    if dropped == 0 {
                        sheet.outcomes.extend(outcomes);
                    } else {
                        sheet.left_out += 1;
                        println!("not counted: the kernel dropped {dropped} more datagrams at full buffers");
                    }
                    println!("{} of {} showings", done.fetch_add(1, Ordering::Relaxed) + 1, showings.len());
                }
            });
        }
    });
    sheet.into_inner().expect("no panic")
}

/// Shows the film once.
fn showing(film: &Film, subjects: &[Subject], lost: Option<usize>) -> (Vec<Outcome>, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let Shown { delivered, dropped } = Course { film, subjects, lost }.run(folder.path());
    let direct =
        delivered.iter().find(|one| one.subject == Subject::Nobody).expect("somebody without a relay");
    // Outputs with the same bytes have the same pictures.
    let without_relay = decode::decode(&direct.captured.bytes, folder.path(), "direct");
    let outcome = |one: &Delivered| {
        let name = format!("{:?}", one.subject);
        assert!(!one.captured.bytes.is_empty(), "{name} puts nothing out: {}", one.log);
        let decoded = match &one.captured.bytes {
            bytes if *bytes == direct.captured.bytes => without_relay.clone(),
            bytes => decode::decode(bytes, folder.path(), &name),
        };
        Outcome {
            subject: one.subject,
            lost,
            damage: Damage::of(film, &decoded),
            exact: one.captured.bytes == one.expected(film, lost),
            traits: lost.is_none().then(|| Traits::of(film, one, &decoded, direct)),
        }
    };
    (delivered.iter().map(outcome).collect(), dropped)
}
