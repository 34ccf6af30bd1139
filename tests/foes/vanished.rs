//! UDP subscribers whose hosts have disappeared: no host responds at their addresses any more, and
//! datagrams to them wait in the kernel.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::Duration,
};

use tidecast_core::subscriber::{Heard, Subscriber};
use tidecast_net::clock;

use crate::{
    common::{
        is_root,
        namespace::{inside, run},
        now,
    },
    rig::Scene,
};

/// The relay's address on the network from which the hosts disappear.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 100 + number)
}

/// A namespace of this test, deleted when dropped.
struct Namespace(String);

impl Namespace {
    fn new() -> Namespace {
        let name = format!("foes-{}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Namespace(name);
        let ip = |args: &str| namespace.ip(args);
        ip("link set lo up");
        ip("link add near type veth peer name far");
        ip(&format!("addr add {RELAY}/24 dev near"));
        ip("link set near up");
        ip("link set far up");
        namespace
    }

    fn ip(&self, args: &str) {
        let args: Vec<&str> = args.split(' ').collect();
        run("ip", &[&["-n", &self.0][..], &args].concat());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run("ip", &["netns", "del", &self.0]);
    }
}

/// Subscribes from an address of this host, and waits until the stream arrives.
fn subscribe(from: Ipv4Addr, relay: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).expect("bind");
    socket.connect(relay).expect("connect");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    let mut subscriber = Subscriber::new("feed", "", clock::now(), Box::new(rand::random));
    let (start, mut bytes) = (now(), [0; 2048]);
    loop {
        assert!(start.elapsed() < Duration::from_secs(10), "{from} gets nothing");
        if let Some(request) = subscriber.poll(clock::now()) {
            socket.send(&request).expect("send");
        }
        if let Ok(length) = socket.recv(&mut bytes)
            && subscriber.handle(clock::now(), &bytes[..length]) == Heard::Stream
        {
            return socket;
        }
    }
}

#[test]
fn subscribers_whose_hosts_are_gone() {
    const HOSTS: u8 = 10;
    if !is_root() {
        return;
    }
    let namespace = Namespace::new();
    (0..HOSTS).for_each(|number| namespace.ip(&format!("addr add {}/32 dev lo", host(number))));
    inside(&namespace.0, || {
        let scene = Scene::with_udp_at(RELAY, "", "", "");
        scene.attack("vanished subscribers", 8 << 10, |over| {
            let mut sockets = Vec::new();
            for number in 0..HOSTS {
                // The socket stays open, so that no ICMP message reports a closed port before the
                // address disappears.
                sockets.push(subscribe(host(number), scene.udp));
                namespace.ip(&format!("addr del {}/32 dev lo", host(number)));
            }
            while !over.load(Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let lost =
            |reason| scene.metric(&["tidecast_output_dropped_packets_total{", "output=\"udp\"", reason]);
        let (lag, ended) = (lost("\"lag\""), scene.metric(&["tidecast_udp_requests_total{", "\"vanished\""]));
        println!("{lag} packets did not fit, {ended} leases ended");
        assert!(lag + ended > 0.0, "nobody has noticed that they are gone");
    });
}
