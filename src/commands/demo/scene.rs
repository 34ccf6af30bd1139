//! Scenes of the demo: one bad link, and the ways in which channels recover its losses.

use std::{
    fs::File,
    io::{Seek, Write},
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle, Thread},
};

use anyhow::Context;
use clap::Parser;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{
    cli::{Cli, Command},
    commands::{impair, send, shutdown::Stop},
};
use tidecast_link::{Fate, Impairments};
use tidecast_net::clock;

/// A video of 20 seconds, played repeatedly.
const FILM: &[u8] = include_bytes!("../../../fixtures/film.ts");
/// Number of its packets in ten minutes: during this time no packet is lost on both of two paths.
const APART_PACKETS: u64 = 10 * 60 * 73;

/// One producer, its links and its channel.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Description for the user.
    pub(super) about: &'static str,
    /// Whether [`FILM`] is sent.
    film: bool,
    /// Arguments of `send`.
    send: &'static str,
    scheme: &'static str,
    /// Keys of the channel besides its name and legs.
    settings: &'static str,
    before: Ipv4Addr,
    /// The group behind each link, and the link's seed.
    after: Vec<(Ipv4Addr, u64)>,
    port: u16,
}

/// All scenes. Every run uses different groups, so that two demos do not interfere.
pub(super) fn all(port: u16) -> Vec<Scene> {
    let net = rand::random_range(1..=254);
    // All links lose the same packets, as long as the same ones enter.
    let [seed, other] = apart(rand::random::<u32>().into());
    let scene = |number: u8, name, about, scheme, send| {
        let group = |host| Ipv4Addr::new(239, 255, net, 4 * number + host);
        let (before, after) = (group(0), vec![(group(1), seed)]);
        Scene { name, about, film: true, send, scheme, settings: "", before, after, port }
    };
    let unprotected =
        scene(1, "film-unprotected", "a film as RTP, nothing protects it", "rtp", "--format rtp");
    let fec = scene(2, "film-fec", "the same film, with FEC (10,4,2)", "udp", "--format native --fec 10,4,2");
    let mut paths = scene(3, "film-two-paths", "the same film over two such links", "rtp", "--format rtp");
    paths.after.push((Ipv4Addr::new(239, 255, net, 4 * 3 + 2), other));
    let mut asked = scene(
        4,
        "film-asked-again",
        "the same film, lost packets are asked for again",
        "udp",
        "--format native",
    );
    asked.settings = "retransmission = \"on\"\n";
    let about = "8 sensors, 100 readings/s each, with FEC (8,4)";
    let mut sensors = scene(5, "sensors", about, "udp", "--sensor 8 --interval 10ms --fec 8,4");
    sensors.film = false;
    vec![unprotected, fec, paths, asked, sensors]
}

/// Two seeds whose links lose no packet in common for [`APART_PACKETS`]: two paths rarely do, and a
/// demo is short.
fn apart(first: u64) -> [u64; 2] {
    let lost: Vec<u64> = losses(first).collect();
    let mut others = first + 1..;
    let other = others.find(|seed| losses(*seed).all(|number| lost.binary_search(&number).is_err()));
    [first, other.unwrap_or(first)]
}

/// The numbers of the first packets that a link with this seed loses, in order.
fn losses(seed: u64) -> impl Iterator<Item = u64> {
    let (mut link, now) = (tidecast_link::Link::new(impairments(), seed), clock::now());
    (0..APART_PACKETS).filter(move |_| {
        let fate = link.push(now, ());
        while link.pop(now).is_some() {}
        fate == Fate::Dropped
    })
}

/// Impairments of the links in all scenes.
fn impairments() -> Impairments {
    Impairments {
        loss: 0.01,
        burst: 1.5,
        reorder: 0.02,
        distance: 4,
        duplicate: 0.01,
        ..Impairments::default()
    }
}

/// A scene with a running producer and link.
pub(super) struct Running {
    producer: Producer,
    links: Vec<Link>,
}

struct Producer {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// Sleeps between two packets.
    sleeper: Thread,
}

/// A link that still forwards delayed packets.
pub(super) struct Link {
    thread: JoinHandle<anyhow::Result<impair::Report>>,
    stop: Arc<AtomicBool>,
}

impl Scene {
    /// The channel, as in a configuration file.
    pub(super) fn channel(&self) -> String {
        let Scene { name, scheme, port, settings, .. } = self;
        let leg = |(group, _): &(Ipv4Addr, u64)| format!("\"{scheme}://@{group}:{port}?if=127.0.0.1\"");
        let legs: Vec<String> = self.after.iter().map(leg).collect();
        format!("[[channel]]\nname = \"{name}\"\ninput = [{}]\n{settings}", legs.join(", "))
    }

    /// Starts the links, then the producer.
    pub(super) fn start(&self) -> anyhow::Result<Running> {
        let links = self.after.iter().map(|(group, seed)| self.start_link(*group, *seed));
        let links: anyhow::Result<Vec<Link>> = links.collect();
        let links = links.with_context(|| format!("{}: cannot start its link", self.name))?;
        let producer =
            self.start_producer().with_context(|| format!("{}: cannot start its producer", self.name))?;
        Ok(Running { producer, links })
    }

    fn start_link(&self, after: Ipv4Addr, seed: u64) -> anyhow::Result<Link> {
        let Scene { before, port, .. } = self;
        let options = impair::Options {
            input: format!("udp://@{before}:{port}?if=127.0.0.1").parse()?,
            outputs: vec![format!("udp://{after}:{port}?if=127.0.0.1&ttl=0").parse()?],
            impairments: impairments(),
            seed,
            duration: None,
            count: None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let (ready, joined) = mpsc::channel();
        let run = move || {
            let joined = || {
                let _ = ready.send(()); // the demo waits for it
            };
            impair::run(&options, &flag, &impair::Gauge::default(), joined)
        };
        let thread = thread::Builder::new().name(format!("link-{}", self.name)).spawn(run)?;
        if joined.recv().is_err() {
            return Err(end(thread).err().context("it ended at once")?);
        }
        Ok(Link { thread, stop })
    }

    fn start_producer(&self) -> anyhow::Result<Producer> {
        let Scene { before, port, scheme, .. } = self;
        let target = format!("{scheme}://{before}:{port}?if=127.0.0.1&ttl=0");
        let input = if self.film { "--file film --loop " } else { "" };
        let words = format!("tidecast send {input}{} {target}", self.send);
        let Command::Send(args) = Cli::try_parse_from(words.split(' '))?.command else {
            unreachable!("the words say send")
        };
        let film = self.film.then(film).transpose()?;
        let (started, stop) = mpsc::channel();
        let name = self.name;
        let run = move || {
            let (stop, flag, thread) = Stop::pair();
            let _ = started.send((flag, thread)); // the demo waits for it
            if let Err(failure) = send::run_until(&args, film, stop) {
                tracing::error!("{name}: its producer has ended: {failure}");
            }
        };
        let thread = thread::Builder::new().name(format!("send-{name}")).spawn(run)?;
        let (stop, sleeper) = stop.recv()?;
        Ok(Producer { thread, stop, sleeper })
    }
}

/// The video as an anonymous file.
fn film() -> anyhow::Result<File> {
    let mut file = File::from(memfd_create("film", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(FILM)?;
    file.rewind()?;
    Ok(file)
}

impl Running {
    /// Ends the producer, which ends its sessions.
    pub(super) fn end_producer(self) -> Vec<Link> {
        let Producer { thread, stop, sleeper } = self.producer;
        stop.store(true, Ordering::Relaxed);
        sleeper.unpark();
        let _ = thread.join(); // a panic was already printed
        self.links
    }
}

impl Link {
    /// Ends the link; returns its report.
    pub(super) fn end(self) -> anyhow::Result<impair::Report> {
        self.stop.store(true, Ordering::Relaxed);
        end(self.thread)
    }
}

fn end<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_lose_nothing_in_common() {
        for first in [1, 7, 1_000] {
            let [first, other] = apart(first).map(|seed| losses(seed).collect::<Vec<u64>>());
            assert!(first.len() > 300 && other.len() > 300, "{} and {} lost", first.len(), other.len());
            assert!(other.iter().all(|number| !first.contains(number)));
        }
    }

    #[test]
    fn the_channels_are_a_configuration() {
        let all: String = all(5000).iter().map(Scene::channel).collect();
        assert!(all.parse::<crate::config::Config>().is_ok(), "{all}");
    }
}
