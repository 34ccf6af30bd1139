//! A producer with FEC, a path that loses some of its packets, and a relay for programs after it.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use tidecast_core::encode::Encoder;
use tidecast_net::clock;
use tidecast_producer::Fec;

use crate::common::{Running, free_port, group, metric, sender, until};

/// A relay of one stream, `readings`.
pub(crate) struct Relay {
    _running: Running,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
    group: SocketAddr,
}

impl Relay {
    pub(crate) fn start(more: &[&str]) -> Relay {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (tcp, http) = (local(free_port()), local(free_port()));
        let group = SocketAddr::from((group(), free_port()));
        let input = format!("udp://@{group}?if=127.0.0.1");
        let (to_tcp, to_http) = (tcp.to_string(), http.to_string());
        let mut args = vec!["relay", &input, "--name", "readings", "--hold", "300ms"];
        args.extend(["--tcp", &to_tcp, "--http", &to_http]);
        args.extend(more);
        Relay { _running: Running::tidecast(args), tcp, http, group }
    }

    /// Sends a datagram to its group.
    pub(crate) fn send(&self, datagram: &[u8]) {
        sender().send_to(datagram, self.group).expect("send");
    }

    /// Waits until each of these transports has this many clients.
    pub(crate) fn until_clients(&self, transports: &[&str], count: usize) {
        for transport in transports {
            let label = format!("transport=\"{transport}\"");
            until(&format!("{count} clients over {transport}"), || {
                (metric(self.http, &["tidecast_subscribers{", &label]) == count as f64).then_some(())
            });
        }
    }
}

/// Loses 1 % at random, and some bursts that no FEC recovers.
#[derive(Debug)]
pub(crate) struct Losses {
    pub(crate) seed: u64,
    pub(crate) bursts: &'static [u64],
}

const BURST: u64 = 6;

/// The path to the relay's group.
struct Path<'a> {
    relay: &'a Relay,
    out: UdpSocket,
    losses: Losses,
    random: Pcg32,
    sent: u64,
    /// Whether the packet must not be lost: the first and the last ones arrive, so that every
    /// client knows where the stream starts and ends.
    safe: bool,
}

impl Path<'_> {
    fn carry(&mut self, datagram: &[u8]) {
        self.sent += 1;
        let in_burst = |from: &u64| (*from..from + BURST).contains(&self.sent);
        let burst = self.losses.bursts.iter().any(in_burst);
        // Drawn for each packet, so that the bursts do not shift the other decisions.
        let unlucky = self.random.random::<f64>() < 0.01;
        if self.safe || !(burst || unlucky) {
            self.out.send_to(datagram, self.relay.group).expect("send");
        }
    }
}

/// Sends `count` numbered payloads of `length` bytes with FEC, `rate` per second, over the lossy
/// path, until the end of the session.
pub(crate) fn produce(relay: &Relay, count: u64, length: usize, rate: u32, losses: Losses) {
    println!("{losses:?}");
    let random = Pcg32::seed_from_u64(losses.seed);
    let mut path = Path { relay, out: sender(), losses, random, sent: 0, safe: true };
    let mut encoder = Encoder::new(7, 1, Some(Fec::new(10, 2, 1).expect("a geometry")));
    let start = clock::now();
    for number in 0..count {
        let due = start + Duration::from_secs(number) / rate;
        thread::sleep(due.saturating_duration_since(clock::now()));
        path.safe = number < 50 || number + 50 > count;
        let text = format!("{number} ");
        let payload = text.clone() + &"x".repeat(length.saturating_sub(text.len()));
        let pushed = encoder.push(clock::now(), clock::unix_micros(), payload.as_bytes(), |d| path.carry(d));
        assert_eq!(pushed.expect("it fits"), number);
    }
    encoder.finish(|datagram| path.carry(datagram));
}
