//! Datagrams that take many numbers: limits that are meant in packets are not reached sooner
//! because of that.

use std::thread;

use super::{
    common::{now, sender},
    rig::{MS, Rig, all_came, counted, mold, paced},
};

const CLEAN: [(&str, u64); 4] = [("lost", 0), ("late", 0), ("rejected", 0), ("sessions", 1)];

#[test]
fn a_flow_that_begins_fast_and_out_of_order_comes_out_whole() {
    const COUNT: usize = 500;
    for step in [20, 40, 100] {
        let rig = Rig::of("moldudp64");
        let sent: Vec<Vec<u8>> = (0..COUNT as u64).map(|n| mold(1 + n * u64::from(step), step)).collect();
        // Every tenth arrives after the three that follow it.
        let mut order: Vec<usize> = (0..COUNT).collect();
        order.sort_by_key(|n| if n % 10 == 5 { 2 * (n + 3) + 1 } else { 2 * n });
        let socket = sender();
        paced(2 * MS, COUNT / 10, |turn| {
            order[10 * turn..][..10].iter().for_each(|n| rig.send(&socket, &sent[*n]));
        });
        let (state, out) = rig.finish(COUNT);
        let what = format!("{step} messages each");
        counted(&what, &state, &CLEAN);
        counted(&what, &state, &[("delivered", COUNT as u64), ("expected", COUNT as u64 * u64::from(step))]);
        all_came(&what, &sent, &out);
    }
}

#[test]
fn two_legs_apart_fill_each_others_gaps() {
    const COUNT: usize = 750;
    thread::scope(|scope| {
        for step in [1, 20, 40] {
            scope.spawn(move || {
                let rig = Rig::new("udp", 2, "", &["--format", "moldudp64"]);
                let sent: Vec<Vec<u8>> =
                    (0..COUNT as u64).map(|n| mold(1 + n * u64::from(step), step)).collect();
                let sockets = [sender(), sender()];
                let start = now();
                // The first leg loses every tenth packet, the second one is delayed by 15 packets
                // (60 ms).
                paced(4 * MS, COUNT + 15, |n| {
                    if n < COUNT && (n % 10 != 5 || n < 250) {
                        sockets[0].send_to(&sent[n], rig.legs[0]).expect("send");
                    }
                    if n >= 15 {
                        sockets[1].send_to(&sent[n - 15], rig.legs[1]).expect("send");
                    }
                });
                let (state, out) = rig.finish(COUNT);
                let what = format!("{step} messages each, sent within {:?}", start.elapsed());
                counted(&what, &state, &CLEAN);
                all_came(&what, &sent, &out);
            });
        }
    });
}
