//! Control datagrams of custom formats: they reveal losses at the end, and are forwarded
//! unchanged.

use super::{
    common::sender,
    rig::{MS, Rig, all_came, counted, mold, paced},
};

/// Sends twenty packets, of which the last nine are lost, and control datagrams that reveal this.
fn tail(what: &str, control: &[Vec<u8>]) {
    let rig = Rig::of("moldudp64");
    let mut sent: Vec<Vec<u8>> = (0..20).map(|n| mold(1 + n, 1)).collect();
    sent.extend_from_slice(control);
    let socket = sender();
    paced(5 * MS, sent.len(), |n| rig.send(&socket, &sent[n]));
    let (state, out) = rig.finish(sent.len());
    all_came(what, &sent, &out);
    counted(
        what,
        &state,
        &[("lost", 9), ("delivered", 20), ("expected", 29), ("sessions", 1), ("rejected", 0)],
    );
}

#[test]
fn a_heartbeat_closes_the_tail_and_is_sent_on() {
    tail("heartbeats", &[mold(30, 0), mold(30, 0)]);
}

#[test]
fn an_end_of_session_closes_the_tail_and_is_sent_on() {
    tail("an end", &[mold(30, u16::MAX)]);
    tail("a heartbeat and ends", &[mold(30, 0), mold(30, u16::MAX), mold(30, u16::MAX)]);
}
