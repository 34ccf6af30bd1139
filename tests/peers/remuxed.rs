//! The claims of docs/remuxing.md, in short form: after tidecast, a lost packet causes the same
//! damage as without a relay, or none with FEC, because the bytes are unchanged; remuxers write
//! different bytes, and VLC omits what it cannot repair.
//!
//! `cargo bench --bench remux` measures the same at length.

use std::thread;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tidecast_wire::ts::Continuity;

use super::{
    common::have,
    players::ALONE,
    remux::{Course, Damage, Delivered, Film, Frame, Subject, damage, decode},
};

const SUBJECTS: [Subject; 5] =
    [Subject::Nobody, Subject::Tidecast, Subject::TidecastFec, Subject::Ffmpeg, Subject::VlcHttp];
const SHOWINGS: usize = 3;
const SEED: u64 = 11;

/// Returns the damage in one showing, in the order of [`SUBJECTS`].
fn show(film: &Film, lost: usize) -> [Damage; SUBJECTS.len()] {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = Course { film, subjects: &SUBJECTS, lost: Some(lost) }.run(folder.path());
    let damage = |one: &Delivered| {
        let (bytes, name) = (&one.captured.bytes, one.subject.name());
        let untouched = *bytes == one.expected(film, Some(lost));
        let remuxes = matches!(one.subject, Subject::Ffmpeg | Subject::VlcHttp);
        assert_eq!(
            untouched,
            !remuxes,
            "without datagram {lost}, {name} has {} bytes: {}",
            bytes.len(),
            one.log
        );
        if one.subject == Subject::VlcHttp {
            let gaps = Continuity::default().check(bytes);
            assert_eq!(gaps, 0, "a new stream has counters of its own: nobody behind VLC sees the loss");
        }
        Damage::of(film, &decode::decode(bytes, folder.path(), &format!("{:?}", one.subject)))
    };
    let damages: Vec<Damage> = shown.delivered.iter().map(damage).collect();
    damages.try_into().expect("one for each")
}

#[test]
fn a_lost_packet_costs_no_more_behind_the_relay_than_without() {
    if !have("ffmpeg") || !have("cvlc") {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().expect("a folder");
    let film = Film::make(folder.path());
    let mut chances = Pcg64Mcg::seed_from_u64(SEED);
    let lost: [usize; SHOWINGS] = std::array::from_fn(|_| chances.random_range(film.losable()));
    println!("seed {SEED}: without datagrams {lost:?}");
    let shown = thread::scope(|scope| {
        let threads = lost.map(|lost| {
            scope.spawn({
                let film = &film;
                move || show(film, lost)
            })
        });
        threads.map(|thread| thread.join().expect("no panic"))
    });
    for ([nobody, relay, with_fec, _, vlc], lost) in shown.iter().zip(lost) {
        assert_eq!(relay, nobody, "the same bytes are the same pictures; datagram {lost}");
        let whole = Damage { pictures: 0, missing: 0, audio: 0, complaints: 0 };
        assert_eq!(*with_fec, whole, "what comes back is no loss; datagram {lost}");
        assert!(vlc.pictures >= nobody.pictures, "datagram {lost}: {vlc:?} of VLC, {nobody:?} without");
    }
    let sum = |of: fn(&[Damage; SUBJECTS.len()]) -> usize| shown.iter().map(of).sum::<usize>();
    assert!(sum(|all| all[0].pictures + all[0].audio) > 0, "nothing was damaged by losses: {shown:?}");
    let missing = [sum(|all| all[1].missing), sum(|all| all[4].missing)];
    assert!(missing[1] > missing[0], "pictures that never come, of tidecast and of VLC: {missing:?}");
}

/// Returns a film of 160 pictures; the altered ones have another content.
fn pictures(altered: &[usize], missing: &[usize]) -> Vec<Frame> {
    let there = (0..160).filter(|n| !missing.contains(n));
    let frame = |n: usize| Frame {
        pts: 3600 * n as i64,
        content: if altered.contains(&n) { format!("damaged {n}") } else { n.to_string() },
    };
    there.map(frame).collect()
}

#[test]
fn damaged_and_missing_pictures_are_told_apart() {
    let film = pictures(&[], &[]);
    let counts = |altered: &[usize], missing: &[usize]| damage::differing(&film, &pictures(altered, missing));
    assert_eq!(counts(&[], &[]), (0, 0));
    assert_eq!(counts(&[60, 61, 70], &[]), (3, 0));
    assert_eq!(counts(&[60], &[61, 62]), (3, 2));
    // The start and end of a relay do not count as damage: pictures are counted from 2.5 s to 15 s
    // of 16 s.
    assert_eq!(counts(&[24, 150], &[0, 1, 2, 159]), (0, 0));
    assert_eq!(counts(&[25, 149], &[]), (2, 0));
    let nothing_alike: Vec<usize> = (0..160).collect();
    assert_eq!(counts(&nothing_alike, &[]), (125, 125));
}
