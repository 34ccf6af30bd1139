//! Two producers with one id, and forged sessions.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
};

use tidecast_wire::native::{Kind, Repr};

use super::{
    common::{native, sender},
    rig::{MS, Rig, all_came, counted, counter, paced, rtp},
};

/// Returns a sender at another address of loopback.
fn sender_at(host: u8) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
    let address = Ipv4Addr::new(127, 0, 0, host);
    socket.bind(&SocketAddr::from((address, 0)).into()).expect("bind");
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("interface");
    socket.set_multicast_ttl_v4(0).expect("ttl");
    socket.into()
}

#[test]
fn of_two_hosts_with_one_ssrc_the_first_is_kept_and_both_are_named() {
    const COUNT: usize = 500;
    let rig = Rig::new("rtp", 1, "", &[]);
    let hosts = [sender_at(1), sender_at(2)];
    let packet = |host: usize, n: usize| {
        let payload = [&[host as u8][..], &(n as u32).to_be_bytes()].concat().repeat(40);
        rtp(96, 0x5a5a, ([1000, 30_000][host] + n) as u16, 900 * n as u32, &payload)
    };
    let sent: Vec<Vec<u8>> = (0..COUNT).map(|n| packet(0, n)).collect();
    paced(4 * MS, COUNT, |n| {
        rig.send(&hosts[0], &sent[n]);
        if n >= 10 {
            rig.send(&hosts[1], &packet(1, n));
        }
    });
    let (state, out, log) = rig.finish_with_log(COUNT);
    all_came("the first host", &sent, &out);
    counted("two hosts", &state, &[("lost", 0), ("sessions", 1), ("delivered", COUNT as u64)]);
    let others = COUNT as u64 - 10;
    assert_eq!(state["rejects"]["collision"], others, "{state}");
    let [first, other] = hosts.map(|host| host.local_addr().expect("address").to_string());
    let collision = &state["flows"][0]["collision"];
    assert_eq!((&collision["first"], &collision["other"]), (&first.clone().into(), &other.clone().into()));
    assert_eq!(collision["packets"], others);
    assert!(log.contains(&first) && log.contains(&other), "{log}");
}

/// Returns the datagrams to forge after the valid packet `n`.
type Forge = fn(usize) -> Vec<Vec<u8>>;

/// Runs a producer at 250 packets per second, and a forger, on a different port or on the
/// producer's.
fn forged(what: &str, own_port: bool, forge: Forge) {
    const COUNT: usize = 500;
    let what = format!("{what}, {}", if own_port { "another port" } else { "the same port" });
    let rig = Rig::of("native");
    let (good, bad) = (sender(), sender());
    let sent: Vec<Vec<u8>> = (0..COUNT as u64).map(|n| native(7, 1, n, &n.to_be_bytes())).collect();
    let mut made_up = 0;
    paced(4 * MS, COUNT, |n| {
        rig.send(&good, &sent[n]);
        for bytes in forge(n) {
            rig.send(if own_port { &bad } else { &good }, &bytes);
            made_up += 1;
        }
    });
    let (state, out) = rig.finish(COUNT);
    let (good, others): (Vec<_>, Vec<_>) = out.into_iter().partition(|bytes| sent.contains(bytes));
    all_came(&what, &sent, &good);
    assert_eq!(counter(&state, "lost"), 0, "{what}: {state}");
    // If the machine prevented the producer from sending for a while, its session ended.
    assert!(others.len() <= 2.max(made_up / 10), "{what}: {} of {made_up} came out", others.len());
}

fn session(n: usize) -> Vec<Vec<u8>> {
    (0..2).map(|number| native(7, 1000 + n as u32, number, b"made up")).collect()
}

fn control(kind: Kind, sequence: usize) -> Vec<u8> {
    let (mut out, sequence) = (Vec::new(), sequence as u64);
    Repr { kind, flags: 0, stream: 7, session: 1, sequence, timestamp: 0, payload: &[] }.emit(&mut out);
    out
}

#[test]
fn made_up_sessions_cost_a_living_producer_nothing() {
    thread::scope(|scope| {
        for own_port in [true, false] {
            scope.spawn(move || {
                forged("once", own_port, |n| if n == 100 { session(n) } else { Vec::new() });
            });
            scope.spawn(move || {
                forged("each time", own_port, |n| if n > 99 && n < 490 { session(n) } else { Vec::new() });
            });
        }
    });
}

#[test]
fn made_up_numbers_and_control_datagrams_from_elsewhere_cost_nothing() {
    let kinds: [(&str, Forge); 4] = [
        ("next numbers", |n| vec![native(7, 1, n as u64 + 1, b"made up")]),
        ("far numbers", |n| (0..2).map(|k| native(7, 1, (100_000 + 2 * n + k) as u64, b"made up")).collect()),
        ("ends", |n| vec![control(Kind::End, n + 1 + n % 2 * 200)]),
        ("heartbeats", |n| vec![control(Kind::Heartbeat, n + 60)]),
    ];
    thread::scope(|scope| {
        for (what, forge) in kinds {
            scope.spawn(move || forged(what, true, forge));
        }
    });
}
