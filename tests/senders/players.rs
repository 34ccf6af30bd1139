//! Streams that replace each other: a player and an output of payloads continue with the stream
//! that starts where the previous one stops, and lose nothing of either.

use std::{net::UdpSocket, thread};

use super::{
    common::sender,
    rig::{MS, Player, Rig, all_came, counted, paced, rtp, stream},
};

const COUNT: usize = 450;

/// Sends this many datagrams by `send`, which creates and sends one. Checks that all payloads
/// arrive at a player and at an output.
fn all_payloads(what: &str, scheme: &str, mut send: impl FnMut(&Rig, usize)) {
    let rig = Rig::new(scheme, 1, "?payload=1", &[]);
    let player = Player::of(&rig);
    paced(4 * MS, COUNT, |n| send(&rig, n));
    let (state, out) = rig.finish(COUNT);
    let sent: Vec<Vec<u8>> = (0..COUNT).map(stream).collect();
    all_came(what, &sent, &out);
    assert!(player.got() == sent.concat(), "{what}: the player got something else");
    counted(what, &state, &[("lost", 0), ("delivered", COUNT as u64)]);
}

/// Encoders alternate, each with a different SSRC and its own numbers, which continue where they
/// stopped.
fn turns(every: usize, sockets: &[UdpSocket]) {
    let what = format!("turns of {every}, {} ports", sockets.len());
    let mut numbers = [1000, 40_000];
    all_payloads(&what, "rtp", |rig, n| {
        let turn = n / every % 2;
        let packet = rtp(33, 0xa0 + turn as u32, numbers[turn], 360 * n as u32, &stream(n));
        rig.send(&sockets[turn % sockets.len()], &packet);
        numbers[turn] += 1;
    });
}

#[test]
fn encoders_that_take_turns_are_followed_each_time() {
    thread::scope(|scope| {
        for ports in [1, 2] {
            for every in [150, 75, 25] {
                scope.spawn(move || turns(every, &[sender(), sender()][..ports]));
            }
        }
    });
}

#[test]
fn a_transport_stream_goes_on_from_another_port() {
    let sockets = [sender(), sender(), sender()];
    all_payloads("other ports", "udp", |rig, n| rig.send(&sockets[n / 160], &stream(n)));
}

#[test]
fn a_transport_stream_from_two_ports_in_turn_is_one() {
    let sockets = [sender(), sender()];
    all_payloads("two ports in turn", "udp", |rig, n| rig.send(&sockets[n % 2], &stream(n)));
}
