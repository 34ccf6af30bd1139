//! One host that takes as many connections, streams, groups, pages, TCP clients and UDP leases as
//! it can. 127.0.0.1 is the relay's own host, which has no share; the attacker connects from
//! 127.0.0.2, and a legitimate client from 127.0.0.3.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::{
    common::{PATIENCE, group, metric},
    rig::Scene,
};

const FOE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FRIEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bind");
    socket.connect(&to.into()).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    Some(socket.into())
}

/// Sends a request and returns the status; the connection stays open.
fn ask(from: Ipv4Addr, to: SocketAddr, path: &str) -> Option<(u16, TcpStream)> {
    let mut stream = connect(from, to)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n").ok()?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).ok()?;
    let status = std::str::from_utf8(&first[9..]).ok()?.parse().ok()?;
    Some((status, stream))
}

#[test]
fn one_host_that_takes_all_places() {
    // Of 264 connections the attacker gets 66; 80 are those of the honest clients.
    let scene = Scene::start("", "clients_max = 200\nlinger = \"1s\"\ninterface = \"127.0.0.1\"", "");
    let group = group();
    scene.attack("all places", 64 << 10, |over| {
        let mut taken = Vec::new();
        for n in 0..12 {
            taken.extend(ask(FOE, scene.http, "/api/v1/live"));
            taken.extend(ask(FOE, scene.http, &format!("/udp/{group}:{}", 20_000 + n)));
            taken.extend(ask(FOE, scene.http, "/streams/feed"));
        }
        let mut idle: Vec<TcpStream> = (0..200).filter_map(|_| connect(FOE, scene.http)).collect();
        idle.extend((0..300).filter_map(|_| connect(FOE, scene.tcp)));
        let of_share = |resource: &str| {
            let label = format!("resource=\"{resource}\"");
            metric(scene.http, &["tidecast_refused_total{", &label, "reason=\"share\""])
        };
        while !over.load(Relaxed) {
            let (status, _) = ask(FRIEND, scene.http, "/healthz").expect("an answer for a friend");
            assert_eq!(status, 200);
            let (status, _stream) = ask(FRIEND, scene.http, "/streams/feed").expect("a stream for a friend");
            assert_eq!(status, 200);
            idle.extend(connect(FOE, scene.http));
            thread::sleep(Duration::from_millis(50));
        }
        for resource in ["connections", "pages", "tcp"] {
            assert!(of_share(resource) > 0.0, "{resource}");
        }
    });
}
