//! A jump of the numbers is a loss, whether packets were lost on the path or in this host's
//! receive buffer.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
};

use serde_json::Value;

use super::{
    common::{free_port, sender, until},
    rig::{MS, Rig, U32, all_came, counted, counter, paced, rtp, u32},
};

/// Returns a program's events of a stream until the relay ends, without the packets.
fn told(rig: &Rig, port: u16) -> thread::JoinHandle<Vec<Value>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.write_all(b"SUBSCRIBE main format=lines\n").expect("write");
    until("the subscriber", || {
        (rig.state()["subscribers"]["tcp"]["clients"].as_u64() == Some(1)).then_some(())
    });
    thread::spawn(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let told = lines.filter(|line| line.starts_with('{'));
        told.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"))
            .filter(|message| message["type"] != "packet")
            .collect()
    })
}

fn jump(by: usize) {
    const EACH: usize = 250;
    let port = free_port();
    let rig = Rig::new("udp", 1, "", &["--format", U32, "--tcp", &format!("127.0.0.1:{port}")]);
    let told = told(&rig, port);
    let sent: Vec<Vec<u8>> = (0..EACH).chain(EACH + by..2 * EACH + by).map(u32).collect();
    let socket = sender();
    paced(3 * MS, sent.len(), |n| rig.send(&socket, &sent[n]));
    let (state, out) = rig.finish(sent.len());
    let what = format!("a jump by {by}");
    all_came(&what, &sent, &out);
    counted(&what, &state, &[("lost", by as u64), ("sessions", 1), ("rejected", 0)]);
    let told = told.join().expect("no panic");
    let lost: u64 =
        told.iter().filter(|message| message["type"] == "lost").filter_map(|m| m["count"].as_u64()).sum();
    let started = told.iter().filter(|message| message["type"] == "started").count();
    assert!(lost == by as u64 && started <= 1, "{what}: {told:?}");
}

#[test]
fn a_jump_without_a_pause_is_a_loss_of_exactly_that_many() {
    thread::scope(|scope| {
        for by in [100, 200, 1000] {
            scope.spawn(move || jump(by));
        }
    });
}

/// Stops the relay while more datagrams arrive than its receive buffer holds.
fn overflow(what: &str, mut rig: Rig, packet: impl Fn(usize) -> Vec<u8>) {
    // More than twice 4 MiB, because the kernel doubles the requested size.
    const BURST: usize = 9000;
    let socket = sender();
    paced(2 * MS, 200, |n| rig.send(&socket, &packet(n)));
    until("all to be taken", || (counter(&rig.state(), "delivered") == 200).then_some(()));
    rig.relay.signal("STOP");
    (200..200 + BURST).for_each(|n| rig.send(&socket, &packet(n)));
    rig.relay.signal("CONT");
    until("what is left to be taken", || (counter(&rig.state(), "delivered") > 200).then_some(()));
    paced(2 * MS, 300, |n| rig.send(&socket, &packet(200 + BURST + n)));
    let total = (500 + BURST) as u64;
    until("all to be counted", || {
        let state = rig.state();
        (counter(&state, "delivered") + counter(&state, "lost") >= total).then_some(())
    });
    let state = rig.state();
    let drops = state["legs"][0]["kernel_drops"].as_u64().expect("a number");
    assert!(drops > 0, "{what}: nothing was dropped: {state}");
    counted(what, &state, &[("lost", drops), ("delivered", total - drops), ("sessions", 1)]);
    rig.relay.stop();
}

#[test]
fn what_the_kernel_drops_is_lost() {
    let payload = [7; 1200];
    overflow("u32", Rig::of(U32), |n| [&u32(n)[..], &payload].concat());
    overflow("RTP", Rig::new("rtp", 1, "", &[]), |n| rtp(96, 7, (5000 + n) as u16, 180 * n as u32, &payload));
}
