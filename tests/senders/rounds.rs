//! Captures that are sent again from the beginning, and numbers that never change.

use std::thread;

use super::{
    common::sender,
    rig::{MS, Rig, all_came, counted, counter, paced, rtp},
};

/// Plays a capture this many times at 50 packets per second, with pauses. Checks that every round
/// is output completely.
fn play(what: &str, scheme: &str, format: &str, rounds: usize, packet: impl Fn(usize) -> Vec<u8>) {
    const COUNT: usize = 50;
    let rig = Rig::new(scheme, 1, "", &["--format", format]);
    let capture: Vec<Vec<u8>> = (0..COUNT).map(packet).collect();
    let socket = sender();
    for _ in 0..rounds {
        paced(20 * MS, COUNT, |n| rig.send(&socket, &capture[n]));
        thread::sleep(800 * MS);
    }
    let what = format!("{what}, {rounds} rounds");
    let (state, out) = rig.finish(rounds * COUNT);
    let sent: Vec<Vec<u8>> = (0..rounds).flat_map(|_| capture.clone()).collect();
    all_came(&what, &sent, &out);
    counted(
        &what,
        &state,
        &[("lost", 0), ("duplicate", 0), ("rejected", 0), ("delivered", (rounds * COUNT) as u64)],
    );
}

#[test]
fn a_capture_that_is_played_again_slowly_comes_out_each_time() {
    let voice = |n: usize| rtp(0, 7, 100 + n as u16, 160 * n as u32, &(n as u32).to_be_bytes().repeat(40));
    let sensor = |n: usize| [&(n as u16).to_be_bytes()[..], b"the same reading"].concat();
    thread::scope(|scope| {
        for rounds in [2, 3] {
            scope.spawn(move || play("RTP", "rtp", "auto", rounds, voice));
            scope.spawn(move || play("a sensor", "udp", "seq=u16be@0", rounds, sensor));
        }
    });
}

#[test]
fn copies_that_come_at_once_are_still_duplicates() {
    const COUNT: usize = 200;
    let rig = Rig::of("seq=u16be@0");
    let sent: Vec<Vec<u8>> =
        (0..COUNT).map(|n| [&(n as u16).to_be_bytes()[..], b"the same"].concat()).collect();
    let socket = sender();
    // A copy of each packet arrives 10 packets later.
    paced(3 * MS, COUNT + 10, |n| {
        let original = sent.get(n);
        let copy = n.checked_sub(10).map(|n| &sent[n]);
        original.into_iter().chain(copy).for_each(|bytes| rig.send(&socket, bytes));
    });
    let (state, out) = rig.finish(COUNT);
    all_came("copies", &sent, &out);
    counted("copies", &state, &[("lost", 0), ("duplicate", COUNT as u64), ("sessions", 1)]);
}

#[test]
fn a_number_that_is_always_0_is_none() {
    const COUNT: usize = 700;
    let rig = Rig::new("rtp", 1, "", &[]);
    let sent: Vec<Vec<u8>> =
        (0..COUNT as u32).map(|n| rtp(96, 7, 0, 450 * n, &n.to_be_bytes().repeat(50))).collect();
    let socket = sender();
    paced(3 * MS, COUNT, |n| rig.send(&socket, &sent[n]));
    let (state, out, log) = rig.finish_with_log(COUNT);
    all_came("always 0", &sent, &out);
    assert_eq!(state["flows"][0]["unnumbered"], true, "{state}");
    assert_eq!(counter(&state, "delivered"), COUNT as u64);
    assert!(log.contains("its number never changes"), "{log}");
}
