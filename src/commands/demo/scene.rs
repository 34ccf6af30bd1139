//! Scenes of the demo: producers, the bad links behind them, and the channels that recover the
//! losses.

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
use tidecast_link::Impairments;

/// A video of six seconds, played repeatedly.
const FILM: &[u8] = include_bytes!("../../../fixtures/test.ts");

/// One producer, its link and its channel.
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
    before: Ipv4Addr,
    after: Ipv4Addr,
    port: u16,
}

/// All scenes. Every run uses different groups, so that two demos do not interfere.
pub(super) fn all(port: u16) -> Vec<Scene> {
    let net = rand::random_range(1..=254);
    let group = |host| Ipv4Addr::new(239, 255, net, host);
    let scene = |number: u8, name, about, film, scheme, send| Scene {
        name,
        about,
        film,
        send,
        scheme,
        before: group(2 * number),
        after: group(2 * number + 1),
        port,
    };
    vec![
        scene(
            1,
            "sensors",
            "8 sensors, 100 readings/s each, FEC (4,2)",
            false,
            "udp",
            "--sensor 8 --interval 10ms --fec 4,2",
        ),
        scene(2, "film", "a film in native datagrams, FEC (10,3)", true, "udp", "--format native --fec 10,3"),
        scene(3, "film-rtp", "the same film as RTP, nothing protects it", true, "rtp", "--format rtp"),
    ]
}

/// Impairments of the links in all scenes.
fn impairments() -> Impairments {
    Impairments {
        loss: 0.03,
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
    link: Link,
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
        let Scene { name, scheme, after, port, .. } = self;
        format!("[[channel]]\nname = \"{name}\"\ninput = \"{scheme}://@{after}:{port}?if=127.0.0.1\"\n")
    }

    /// Starts the link, then the producer.
    pub(super) fn start(&self) -> anyhow::Result<Running> {
        let link = self.start_link().with_context(|| format!("{}: cannot start its link", self.name))?;
        let producer =
            self.start_producer().with_context(|| format!("{}: cannot start its producer", self.name))?;
        Ok(Running { producer, link })
    }

    fn start_link(&self) -> anyhow::Result<Link> {
        let Scene { before, after, port, .. } = self;
        let options = impair::Options {
            input: format!("udp://@{before}:{port}?if=127.0.0.1").parse()?,
            outputs: vec![format!("udp://{after}:{port}?if=127.0.0.1&ttl=0").parse()?],
            impairments: impairments(),
            seed: rand::random::<u32>().into(),
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
            impair::run(&options, &flag, joined)
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
    pub(super) fn end_producer(self) -> Link {
        let Producer { thread, stop, sleeper } = self.producer;
        stop.store(true, Ordering::Relaxed);
        sleeper.unpark();
        let _ = thread.join(); // a panic was already printed
        self.link
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
